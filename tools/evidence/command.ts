import { Command, InvalidArgumentError } from "commander";
import { fromHex } from "tallystick/bytes/bytes";
import { ID_BYTES } from "tallystick/record/record";

interface Options {
  readonly seq?: number;
  readonly id?: Uint8Array;
  readonly relay: string;
  readonly out: string;
  readonly policyOut?: string;
  readonly json?: true;
}

export const evidenceCommand = new Command("evidence")
  .description("fetch the evidence file of one record from a relay: tallystick verify says what it proves")
  .argument("<device>", "its kid, 16 hexadecimal digits, or its did:key")
  .option("--seq <n>", "the record at this position of the device's chain", position)
  .option("--id <hex>", "or the record with this id, 64 hexadecimal digits", recordId)
  .requiredOption("--relay <url>", "the relay's address")
  .requiredOption("--out <file>", "a new file for the evidence; - for standard output")
  .option(
    "--policy-out <file>",
    "a new file for a policy that names what the relay says of itself: to be compared first",
  )
  .option("--json", "what was fetched as one line of JSON, where it goes to a file; also what was refused")
  .addHelpText(
    "after",
    `
Anyone may ask. Nothing is verified here but that the file is about that record:
  tallystick verify <file> --policy <file>
shows what it proves. A policy is what you trust, and comes from elsewhere: what --policy-out writes is the relay's own word
until you have compared log key, device and witnesses with what you know.

Exit status: 0 kept, 1 refused, or not kept, 2 what was typed, 3 the record is not in the log yet.`,
  )
  .action(async (device: string, options: Options, command: Command) => {
    const { seq, id, relay, out, policyOut, json } = options;
    if ((seq === undefined) === (id === undefined))
      command.error("error: name the record by --seq <n> or by --id <hex>");
    if (policyOut === "-") command.error("error: --policy-out takes the name of a new file");
    const { evidence } = await import("./evidence.js");
    process.exitCode = await evidence({
      device,
      record: id ?? seq!,
      relay,
      out,
      ...(policyOut !== undefined && { policyOut }),
      asJson: json === true,
    });
  });

function position(text: string): number {
  const seq = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(seq)) throw new InvalidArgumentError("expected a position, 0 or more");
  return seq;
}

function recordId(text: string): Uint8Array {
  const id = fromHex(text);
  if (id?.length !== ID_BYTES) throw new InvalidArgumentError("expected 64 hexadecimal digits");
  return id;
}
