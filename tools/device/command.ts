import { Command, InvalidArgumentError } from "commander";
import { utf8 } from "tallystick/bytes/bytes";
import { REASON_MAX_BYTES } from "tallystick/chain/revocation";

const DATA = ["--data <dir>", "the relay's data folder", "tallystick-relay"] as const;
const JSON_OPTION = ["--json", "one line of JSON a device"] as const;
const KID = ["<device>", "its kid, 16 hexadecimal digits, or its did:key"] as const;

interface Options {
  readonly data: string;
  readonly json?: true;
}

interface RevokeCommandOptions extends Options {
  readonly from?: number;
  readonly reason?: string;
  readonly statement?: string;
  readonly yes?: true;
}

export const deviceCommand = new Command("device").description(
  "look at a relay's devices, and decide about keys that have signed two histories; works while the relay runs",
);

deviceCommand
  .command("list")
  .description("every device, how far its chain has come, and whether its key counts")
  .option(...DATA)
  .option("--tenant <name>", "those of one tenant")
  .option(...JSON_OPTION)
  .action(async ({ data, tenant, json }: Options & { tenant?: string }) => {
    const { list } = await import("./device.js");
    process.exitCode = list(data, tenant, json === true);
  });

deviceCommand
  .command("assign")
  .description("give a device to another tenant, as after its database was taken back from the log")
  .argument(...KID)
  .argument("<tenant>", "its name")
  .option(...DATA)
  .option(...JSON_OPTION)
  .action(async (device: string, tenant: string, { data, json }: Options) => {
    const { assign } = await import("./device.js");
    process.exitCode = assign(data, device, tenant, json === true);
  });

deviceCommand
  .command("show")
  .description("one device: its key's names, its forks, what was decided")
  .argument(...KID)
  .option(...DATA)
  .option(...JSON_OPTION)
  .action(async (device: string, { data, json }: Options) => {
    const { show } = await import("./device.js");
    process.exitCode = show(data, device, json === true);
  });

deviceCommand
  .command("hold")
  .description("take nothing more of a key for now: its device keeps what it records, and asks again")
  .argument(...KID)
  .option(...DATA)
  .option(...JSON_OPTION)
  .action(async (device: string, { data, json }: Options) => {
    const { decide } = await import("./device.js");
    process.exitCode = decide(data, device, "hold", json === true);
  });

deviceCommand
  .command("continue")
  .description("take records of a key again that was held back; of a fork, the branch that the relay holds goes on")
  .argument(...KID)
  .option(...DATA)
  .option(...JSON_OPTION)
  .action(async (device: string, { data, json }: Options) => {
    const { decide } = await import("./device.js");
    process.exitCode = decide(data, device, "continue", json === true);
  });

deviceCommand
  .command("revoke")
  .description("end a key's word from a position on, for good; what it said before stays")
  .argument(...KID)
  .option(...DATA)
  .option("--from <seq>", "the first position that does not count", position)
  .option("--reason <text>", "for people, at most 64 bytes; it is signed and public", reason)
  .option("--statement <file>", "the owner's statement instead, where genesis names an owner; - for standard input")
  .option("--yes", "do it; without it only what would be done is said")
  .option(...JSON_OPTION)
  .action(async (device: string, options: RevokeCommandOptions) => {
    const { revoke } = await import("./device.js");
    const { data, json, from, reason, statement, yes } = options;
    if ((from === undefined) === (statement === undefined))
      deviceCommand.error("error: revoke takes either --from <seq> or --statement <file>");
    const how =
      statement === undefined ? { fromSeq: from!, ...(reason !== undefined && { reason }) } : { file: statement };
    process.exitCode = revoke(data, device, { how, asJson: json === true, decided: yes === true });
  });

function position(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(number))
    throw new InvalidArgumentError(`expected a position from 0 to ${Number.MAX_SAFE_INTEGER}`);
  return number;
}

function reason(text: string): string {
  if (text === "" || utf8(text).length > REASON_MAX_BYTES)
    throw new InvalidArgumentError(`expected 1 to ${REASON_MAX_BYTES} bytes of UTF-8`);
  return text;
}
