import { Command, InvalidArgumentError } from "commander";

export const eraseCommand = new Command("erase")
  .description("erase bodies of records on request: their hashes stay, and with them the proofs of all others")
  .argument("<dir>", "the relay's data folder; the relay may run")
  .requiredOption("--device <device>", "kid, 16 hexadecimal digits, or did:key")
  .requiredOption("--from <seq>", "the first position", position)
  .requiredOption("--to <seq>", "the last position", position)
  .requiredOption("--reason <text>", "told to who asks for a record, at most 256 bytes")
  .option("--by <name>", "who decides it; default the system's user")
  .option("--yes", "do it; without it only what would be done is said")
  .option("--json", "one object of JSON")
  .addHelpText(
    "after",
    `
Never erased: genesis, rotate and gap records, the newest record of an open chain, and what stands right above a hole.
Backups and mirrors that were made before still have the bodies. It cannot be undone.

Exit status: 0 done, or said what would be, 1 refused, 3 decided, and not carried out yet.`,
  )
  .action(async (dir: string, options: EraseArguments) => {
    const { erase } = await import("./erase.js");
    process.exitCode = await erase(dir, options);
  });

export const erasuresCommand = new Command("erasures")
  .description("what was erased in a relay's data folder: when, by whom and why")
  .argument("<dir>", "the relay's data folder; the relay may run")
  .option("--json", "one line of JSON an erasure")
  .action(async (dir: string, { json }: { json?: true }) => {
    const { list } = await import("./erase.js");
    process.exitCode = await list(dir, json === true);
  });

export interface EraseArguments {
  readonly device: string;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  readonly by?: string;
  readonly yes?: true;
  readonly json?: true;
}

function position(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(number))
    throw new InvalidArgumentError(`expected a position from 0 to ${Number.MAX_SAFE_INTEGER}`);
  return number;
}
