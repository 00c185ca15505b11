import { Command, InvalidArgumentError } from "commander";
import { fromHex, utf8 } from "tallystick/bytes/bytes";
import { fromDidKey } from "tallystick/identity/key";
import { CHIP_MAX_BYTES, CHIP_MIN_BYTES, MAKER_TEXT_MAX_BYTES } from "tallystick/record/maker";

const FIRMWARE_BYTES = 32;

interface VouchOptions {
  readonly key: string;
  readonly device: Uint8Array;
  readonly chip: Uint8Array;
  readonly firmware: Uint8Array;
  readonly owner?: Uint8Array;
  readonly text?: string;
  readonly out: string;
}

export const makerCommand = new Command("maker").description(
  "sign for devices that you have made: a relay that trusts you lets them in without a token",
);

makerCommand
  .command("key")
  .description("make a maker's key, and print its did:key, which relays and policies name")
  .requiredOption("--out <file>", "a new file, for your eyes alone; nothing is ever written over")
  .action(async ({ out }: { out: string }) => {
    const maker = await import("./maker.js");
    process.exitCode = maker.key(out);
  });

makerCommand
  .command("vouch")
  .description("sign for one device: its first start prints key, chip and firmware beside MAKER_AWAITED")
  .requiredOption("--key <file>", "the maker's key")
  .requiredOption("--device <did:key>", "the device's key", key)
  .requiredOption("--chip <hex>", "what its chip calls itself", chip)
  .requiredOption("--firmware <hex>", "SHA-256 of its firmware", firmware)
  .option("--owner <did:key>", "whose device it is", key)
  .option("--text <text>", "a batch or a serial number", text)
  .requiredOption("--out <file>", "a new file for the statement; - for standard output")
  .action(async ({ key: keyFile, device, chip, firmware, owner, text, out }: VouchOptions) => {
    const maker = await import("./maker.js");
    const vouched = { publicKey: device, chip, firmwareSha256: firmware, ...(owner && { ownerKey: owner }) };
    process.exitCode = maker.vouch(keyFile, { ...vouched, ...(text !== undefined && { text }) }, out);
  });

makerCommand
  .command("show")
  .description("read a maker's statement, check its form, and with --maker its signature")
  .argument("<file>", "the statement; - for standard input")
  .option("--maker <did:key>", "who should have signed it", key)
  .option("--json", "one line of JSON")
  .addHelpText(
    "after",
    "\nExit status: 0 it holds as far as it was checked, 1 it is not signed so, 2 unreadable input.",
  )
  .action(async (file: string, options: { maker?: Uint8Array; json?: true }) => {
    const maker = await import("./maker.js");
    process.exitCode = maker.show(file, options.maker, options.json === true);
  });

function key(text: string): Uint8Array {
  const key = fromDidKey(text);
  if (!key) throw new InvalidArgumentError("expected did:key:z… of an Ed25519 key");
  return key;
}

function chip(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (!bytes || bytes.length < CHIP_MIN_BYTES || bytes.length > CHIP_MAX_BYTES)
    throw new InvalidArgumentError(`expected ${CHIP_MIN_BYTES} to ${CHIP_MAX_BYTES} bytes in hexadecimal`);
  return bytes;
}

function firmware(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes?.length !== FIRMWARE_BYTES)
    throw new InvalidArgumentError(`expected ${FIRMWARE_BYTES} bytes in hexadecimal`);
  return bytes;
}

function text(value: string): string {
  if (value === "" || utf8(value).length > MAKER_TEXT_MAX_BYTES)
    throw new InvalidArgumentError(`expected 1 to ${MAKER_TEXT_MAX_BYTES} bytes of UTF-8`);
  return value;
}
