import { Command, InvalidArgumentError } from "commander";
import { utf8 } from "tallystick/bytes/bytes";
import { REASON_MAX_BYTES } from "tallystick/chain/revocation";
import { fromDidKey } from "tallystick/identity/key";

interface RevokeOptions {
  readonly key: string;
  readonly device: Uint8Array;
  readonly from: number;
  readonly reason?: string;
  readonly out: string;
}

export const ownerCommand = new Command("owner").description(
  "what an owner signs for devices whose genesis names the owner's key: the end of a key's word",
);

ownerCommand
  .command("key")
  .description("make an owner's key, and print its did:key, which the maker puts into the statement for each device")
  .requiredOption("--out <file>", "a new file, for your eyes alone; nothing is ever written over")
  .action(async ({ out }: { out: string }) => {
    const owner = await import("./owner.js");
    process.exitCode = owner.key(out);
  });

ownerCommand
  .command("revoke")
  .description(
    "sign that a device's key does not count from a position on; give it to the relay, and to whoever verifies",
  )
  .requiredOption("--key <file>", "the owner's key")
  .requiredOption("--device <did:key>", "the device's key", didKey)
  .requiredOption("--from <seq>", "the first position that does not count", position)
  .option("--reason <text>", "for people, at most 64 bytes; it is signed and public", reason)
  .requiredOption("--out <file>", "a new file for the statement; - for standard output")
  .addHelpText(
    "after",
    "\nIt is for good: tallystick device revoke --statement <file> puts it in force at a relay, as does\nPOST /v1/devices/{kid}/revocation.",
  )
  .action(async ({ key, device, from, reason, out }: RevokeOptions) => {
    const owner = await import("./owner.js");
    process.exitCode = owner.revoke(key, { device, fromSeq: from, ...(reason !== undefined && { reason }) }, out);
  });

function didKey(text: string): Uint8Array {
  const key = fromDidKey(text);
  if (!key) throw new InvalidArgumentError("expected did:key:z… of an Ed25519 key");
  return key;
}

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
