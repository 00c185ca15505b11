import { fromHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { readBundle } from "tallystick/evidence/bundle";
import { readInput } from "../file.js";
import { inspectEvidence } from "./evidence.js";
import { inspectJournal, looksLikeJournal } from "./journal.js";
import { inspectRecords } from "./record.js";

const KINDS = "a record (d2 84 …), a journal image or an evidence file";

/** The first bytes of a tagged COSE_Sign1. */
const SIGN1 = [0xd2, 0x84];

/** A journal's partition on the largest flash of the boards is less; in hexadecimal it is twice that. */
const INPUT_MAX_BYTES = 32 * 1024 * 1024;

/** Prints what stands in the file, and answers with the exit status: 0, or 2 where some of it is unreadable. */
export function inspectFile(file: string): number {
  const input = readInput(file, INPUT_MAX_BYTES);
  const { lines, failure } = input.ok ? inspect(input.value) : { lines: [], failure: explain(input.failure) };
  if (lines.length > 0) console.log(lines.join("\n"));
  if (failure === undefined) return 0;
  console.error(`tallystick inspect: ${file}: ${failure}`);
  return 2;
}

/** What stands in the bytes, one field a line; `failure` where they end in something unreadable or are of no known kind. */
export interface Inspection {
  readonly lines: readonly string[];
  readonly failure?: string;
}

export function inspect(input: Uint8Array): Inspection {
  if (input.length === 0) return { lines: [], failure: `it is empty; expected ${KINDS}` };
  const text = Buffer.from(input).toString("latin1").replace(/\s+/g, "");
  const spelled = text.length > 0 ? fromHex(text) : undefined;
  const bytes = spelled ?? input;
  if (bytes[0] === SIGN1[0] && bytes[1] === SIGN1[1]) return inspectRecords(bytes);
  if (looksLikeJournal(bytes)) return inspectJournal(bytes);
  const bundle = readBundle(bytes);
  if (bundle.ok) return { lines: inspectEvidence(bundle.value) };
  return {
    lines: [],
    failure: `expected ${KINDS}; as evidence: ${explain(bundle.failure)}`,
  };
}
