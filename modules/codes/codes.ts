import { BACKUP_CODES } from "./backup.js";
import { CONFIG_CODES } from "./config.js";
import { type CodeEntry, entry } from "./entry.js";
import { ERASURE_CODES } from "./erasure.js";
import { JOURNAL_CODES } from "./journal.js";
import { KEY_CODES } from "./key.js";
import { LEDGER_CODES } from "./ledger.js";
import { LOG_CODES } from "./log.js";
import { OPERATOR_CODES } from "./operator.js";
import { RELAY_CODES } from "./relay.js";
import { RELAY_KEY_CODES } from "./relay-key.js";
import { WITNESS_CODES } from "./witness.js";

/**
 * Expected failures: typed results with stable codes. This table feeds device log, command line, HTTP and dashboard.
 * Programmer errors throw; what bytes, flash, network or people can cause is a Failure.
 */

export const CODES = Object.freeze({
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
  STATEMENT_MALFORMED: entry(
    400,
    "the bytes are not a signed statement of the expected kind",
    "compare them with modules/record/SPEC.md and the statement's own",
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
  CHAIN_BROKEN: entry(
    409,
    "the record contradicts its predecessor",
    "send the records in the order of the chain, unchanged",
  ),
  CHAIN_REPEATED: entry(200, "the position is held already", "nothing: sending a record again changes nothing"),
  CHAIN_CLOSED: entry(409, "the chain has ended", "the device goes on with its next key's chain"),
  GAP_FALSE: entry(
    409,
    "the gap record contradicts its chain",
    "it is signed, so keep it as evidence: the device names other records than it has sent",
  ),
  RECORD_BACKDATED: entry(
    200,
    "the record is dated before its chain's newest beacon",
    "it is kept, and its date is not to be believed: look at the device's clock, and where many are at the relay's",
  ),
  FORK_UNPROVED: entry(
    422,
    "the two records do not prove a fork",
    "a proof is two different records of one key at one position, both signed",
  ),
  FORK_MALFORMED: entry(400, "the file is not a proof of a fork", "compare it with modules/chain/SPEC.md"),
  FILE_EXISTS: entry(409, "there is a file already", "name another, or move that one away: nothing is written over"),
  FILE_UNWRITABLE: entry(500, "the file cannot be written", "name a file in a folder that you may write"),
  FILE_UNREADABLE: entry(400, "the file cannot be read", "name a file that can be read, of the size that is expected"),
  MESSAGE_MALFORMED: entry(400, "the message is not one of the sync protocol", "compare it with modules/sync/SPEC.md"),
  BODY_TOO_LARGE: entry(413, "the body is longer than the limit", "send fewer records at once"),
  DEVICE_UNKNOWN: entry(404, "no device with this key is enrolled here", "enrol it with a token: tallystick enrol"),
  ACKNOWLEDGEMENT_FALSE: entry(
    422,
    "the acknowledgement does not hold",
    "nothing is released; check that the relay is the one that the device was enrolled with",
  ),
  DEVICE_NOT_PROVISIONED: entry(
    500,
    "the device holds neither a key nor leave to make one",
    "provision it: write an enrolment token, or the leave to wait for its maker, into its key store",
  ),
  DEVICE_BEHIND: entry(
    409,
    "the relay acknowledges records that the device does not know of",
    "its flash and key store were set back together, or a copy of it runs: nothing is recorded until they are fetched back",
  ),
  DEVICE_BUSY: entry(
    503,
    "the device has more to commit than it can hold",
    "sample less often, or put more readings into one record",
  ),
  RELAY_BEHIND: entry(
    409,
    "the relay has lost records that it had acknowledged",
    "the device keeps what it has; restore the relay from its log",
  ),
  RECEIPT_MALFORMED: entry(
    400,
    "the bytes are not a receipt of this log's kind",
    "compare them with RFC 9942 and modules/receipt/SPEC.md",
  ),
  EVIDENCE_MALFORMED: entry(400, "the file is not Tallystick evidence", "compare it with modules/evidence/SPEC.md"),
  POLICY_MALFORMED: entry(400, "the policy cannot be read", "compare it with modules/evidence/SPEC.md"),
  TRANSPORT_FAILED: entry(
    502,
    "the relay could not be reached",
    "check the network; the device keeps its records and tries again",
  ),
  ...JOURNAL_CODES,
  ...KEY_CODES,
  ...LOG_CODES,
  ...LEDGER_CODES,
  ...RELAY_CODES,
  ...RELAY_KEY_CODES,
  ...WITNESS_CODES,
  ...BACKUP_CODES,
  ...CONFIG_CODES,
  ...ERASURE_CODES,
  ...OPERATOR_CODES,
} as const satisfies Record<string, CodeEntry>);

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
