/**
 * Expected failures: typed results with stable codes. This table feeds device log, command line, HTTP and dashboard.
 * Programmer errors throw; what bytes, flash, network or people can cause is a Failure.
 */

/** What a code means, what to do about it, and the HTTP status that the relay answers it with. */
export interface CodeEntry {
  readonly means: string;
  readonly todo: string;
  readonly status: number;
}

function entry(status: number, means: string, todo: string): CodeEntry {
  return { status, means, todo };
}

export const CODES = {
  CBOR_INVALID: entry(
    400,
    "the bytes are not strict deterministic CBOR",
    "send what the encoder of this project, or any RFC 8949 §4.2.1 encoder, makes",
  ),
  RECORD_MALFORMED: entry(400, "the bytes are not a Tallystick record", "compare them with modules/record/SPEC.md"),
  RECORD_TOO_LARGE: entry(
    413,
    "the record is longer than a journal sector holds",
    "put fewer readings into one record",
  ),
  SIGNATURE_INVALID: entry(
    422,
    "the signature does not verify by the one rule",
    "the record was changed, or another key signed it",
  ),
  CHAIN_GAP: entry(409, "a record between the head and this one is missing", "send the records from the head on"),
  CHAIN_FORK: entry(
    409,
    "another record already stands at this position",
    "two devices use one key, or a device was cloned: keep both records as evidence",
  ),
  CHAIN_BROKEN: entry(409, "the record does not name its predecessor", "send the records in the order of the chain"),
  TRANSPORT_FAILED: entry(
    502,
    "the relay could not be reached",
    "check the network; the device keeps its records and tries again",
  ),
} as const satisfies Record<string, CodeEntry>;

export type Code = keyof typeof CODES;

export interface Failure {
  readonly code: Code;
  /** What was expected and what came, in one sentence without a full stop. */
  readonly detail: string;
}

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

export function ok<T>(value: T): Result<T> {
  return { ok: true, value };
}

export function fail(code: Code, detail: string): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure: { code, detail } };
}

/** One line for a person: code, meaning, what was seen, what to do. */
export function explain(failure: Failure): string {
  const { means, todo } = CODES[failure.code];
  return `${failure.code}: ${means} (${failure.detail}); ${todo}`;
}
