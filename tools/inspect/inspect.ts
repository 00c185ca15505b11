import { fromHex } from "tallystick/bytes/bytes";
import { visibleLines } from "tallystick/bytes/visible";
import { explain } from "tallystick/codes/codes";
import { readBundle } from "tallystick/evidence/bundle";
import { readInput } from "../file.js";
import { inspectEvidence } from "./evidence.js";
import { inspectJournal } from "./journal.js";
import { findGeometry } from "./journal-image.js";
import { inspectRecords } from "./record.js";
import { forkLines, statementLinesOf } from "./statement.js";

const KINDS = "a record or a statement (d2 84 …), the proof of a fork, a journal image or an evidence file";

/** The first bytes of a tagged COSE_Sign1. */
const SIGN1 = [0xd2, 0x84];

/** A journal's partition on the largest flash of the boards is less; in hexadecimal it is twice that. */
export const INPUT_MAX_BYTES = 32 * 1024 * 1024;

export interface InspectOptions {
  /** Beside a journal's fields, their bytes. */
  readonly hex?: boolean;
  /** One JSON document, of a journal image. */
  readonly json?: boolean;
}

/** Prints what stands in the file, and answers with the exit status: 0, or 2 where some of it is unreadable. */
export function inspectFile(file: string, options: InspectOptions = {}): number {
  const input = readInput(file, INPUT_MAX_BYTES);
  const inspected = input.ok ? inspect(input.value, options) : { lines: [], failure: explain(input.failure) };
  const { lines, failure } = withJson(inspected, options, file);
  if (lines.length > 0) console.log(options.json ? lines.join("\n") : visibleLines(lines.join("\n")));
  if (failure === undefined) return 0;
  console.error(`tallystick inspect: ${file}: ${failure}`);
  return 2;
}

function withJson(inspected: Inspection, { json, hex }: InspectOptions, file: string): Inspection {
  const { failure } = inspected;
  if (inspected.json !== undefined) {
    if (!json) return inspected;
    const document = { file, ...inspected.json, ...(failure !== undefined && { failure }) };
    return { lines: [JSON.stringify(document, null, 2)], ...(failure !== undefined && { failure }) };
  }
  if ((json || hex) && failure === undefined)
    return { lines: [], failure: `it is no journal image: --${json ? "json" : "hex"} is for those alone` };
  return inspected;
}

/** What stands in the bytes, one field a line; `failure` where they end in something unreadable or are of no known kind. */
export interface Inspection {
  readonly lines: readonly string[];
  readonly json?: Readonly<Record<string, unknown>>;
  readonly failure?: string;
}

export function inspect(input: Uint8Array, options: InspectOptions = {}): Inspection {
  if (input.length === 0) return { lines: [], failure: `it is empty; expected ${KINDS}` };
  const bytes = spelledOut(input);
  if (bytes[0] === SIGN1[0] && bytes[1] === SIGN1[1]) {
    const statement = statementLinesOf(bytes);
    return statement ? { lines: statement } : inspectRecords(bytes);
  }
  const fork = forkLines(bytes);
  if (fork) return { lines: fork };
  const geometry = findGeometry(bytes);
  if (geometry?.ok) return inspectJournal(bytes, geometry.value, options.hex);
  if (geometry !== undefined) return { lines: [], failure: explain(geometry.failure) };
  const bundle = readBundle(bytes);
  if (bundle.ok) return { lines: inspectEvidence(bundle.value) };
  return {
    lines: [],
    failure: `expected ${KINDS}; as evidence: ${explain(bundle.failure)}`,
  };
}

/** What hexadecimal digits say, where the input is nothing but those and white space. */
export function spelledOut(input: Uint8Array): Uint8Array {
  const text = Buffer.from(input).toString("latin1").replace(/\s+/g, "");
  return (text.length > 0 ? fromHex(text) : undefined) ?? input;
}
