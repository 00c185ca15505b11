import { readFileSync } from "node:fs";
import { Command } from "commander";
import { fromHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { readBundle } from "tallystick/evidence/bundle";
import { inspectEvidence } from "./evidence.js";
import { inspectJournal, looksLikeJournal } from "./journal.js";
import { inspectRecords } from "./record.js";

/** The first bytes of a tagged COSE_Sign1. */
const SIGN1 = [0xd2, 0x84];

export const inspectCommand = new Command("inspect")
  .description("print a record, a sequence of records, a journal image or an evidence file, field by field")
  .argument("<file>", "file of bytes, or of hexadecimal; - for standard input")
  .addHelpText(
    "after",
    "\nNothing is verified: `tallystick verify` does that. Exit status: 0, or 2 for unreadable input.",
  )
  .action((file: string) => {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(file === "-" ? 0 : file);
    } catch (error) {
      console.error(`tallystick inspect: ${(error as Error).message}; name a file that can be read`);
      process.exitCode = 2;
      return;
    }
    const { lines, failure } = inspect(bytes);
    if (lines.length > 0) console.log(lines.join("\n"));
    if (failure) {
      console.error(`tallystick inspect: ${file}: ${failure}`);
      process.exitCode = 2;
    }
  });

/** What stands in the bytes, one field a line; `failure` where they end in something unreadable or are of no known kind. */
export interface Inspection {
  readonly lines: readonly string[];
  readonly failure?: string;
}

export function inspect(input: Uint8Array): Inspection {
  const text = Buffer.from(input).toString("latin1").replace(/\s+/g, "");
  const spelled = text.length > 0 ? fromHex(text) : undefined;
  const bytes = spelled ?? input;
  if (bytes[0] === SIGN1[0] && bytes[1] === SIGN1[1]) return inspectRecords(bytes);
  if (looksLikeJournal(bytes)) return inspectJournal(bytes);
  const bundle = readBundle(bytes);
  if (bundle.ok) return { lines: inspectEvidence(bundle.value) };
  return {
    lines: [],
    failure: `expected a record (d2 84 …), a journal image or an evidence file; as evidence: ${explain(bundle.failure)}`,
  };
}
