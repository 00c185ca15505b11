import { equalBytes, toHex } from "../bytes/bytes.js";
import type { ClockState } from "../clock/clock.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { encodeBody, ID_BYTES, Kind, type Record, recordId } from "../record/record.js";

/** The chain of one device key: what may follow what, for the device that appends and for everyone who checks. */

/** The newest record of a chain, as far as the next one depends on it. */
export interface Head {
  readonly kid: Uint8Array;
  readonly seq: number;
  readonly id: Uint8Array;
  readonly boot: number;
  readonly uptimeMs: number;
  readonly kind: Kind;
}

export interface NextRecord {
  readonly kind: Kind;
  readonly payload: Uint8Array;
  readonly uptimeMs: number;
  readonly clock: ClockState;
}

/** The body of the record that follows `head`; of genesis, where there is no head. */
export function nextBody(kid: Uint8Array, head: Head | undefined, next: NextRecord): Uint8Array {
  return encodeBody(
    {
      kid,
      kind: next.kind,
      boot: head ? head.boot + (next.kind === Kind.boot ? 1 : 0) : 0,
      seq: head ? head.seq + 1 : 0,
      prev: head ? head.id : new Uint8Array(ID_BYTES),
      uptimeMs: next.uptimeMs,
      clock: next.clock,
    },
    next.payload,
  );
}

/** The head that a record makes; `id` is the record's, where it is known already. */
export function headOf(sha256: Sha256, record: Record, id = recordId(sha256, record.bytes)): Head {
  const { kid, seq, boot, uptimeMs, kind } = record.header;
  return { kid: kid.slice(), seq, id, boot, uptimeMs, kind };
}

/**
 * Whether `record` follows `head` (undefined: an empty chain). The signature is not looked at. On success the new head.
 * `known` is the record's id, where the caller has it.
 * CHAIN_REPEATED: it is the head itself. CHAIN_FORK: another record at a held position. CHAIN_GAP: one between is
 * missing. CHAIN_BROKEN: it contradicts its predecessor. CHAIN_CLOSED: nothing follows a rotation. KEY_MISMATCH: other chain.
 */
export function follow(sha256: Sha256, head: Head | undefined, record: Record, known?: Uint8Array): Result<Head> {
  const { kid, seq, prev, boot, uptimeMs, kind } = record.header;
  if (head === undefined) {
    if (seq !== 0) return fail("CHAIN_GAP", `expected genesis at seq 0, received seq ${seq}`);
    return ok(headOf(sha256, record, known));
  }
  if (!equalBytes(kid, head.kid))
    return fail("KEY_MISMATCH", `expected kid ${toHex(head.kid)}, received ${toHex(kid)}`);
  if (seq === head.seq) {
    const id = known ?? recordId(sha256, record.bytes);
    return equalBytes(id, head.id)
      ? fail("CHAIN_REPEATED", `seq ${seq} is held already`)
      : fail("CHAIN_FORK", `at seq ${seq} expected ${toHex(head.id)}, received ${toHex(id)}`);
  }
  if (seq < head.seq) return fail("CHAIN_REPEATED", `expected seq ${head.seq + 1}, received ${seq}`);
  if (seq > head.seq + 1) return fail("CHAIN_GAP", `expected seq ${head.seq + 1}, received ${seq}`);
  if (head.kind === Kind.rotate) return fail("CHAIN_CLOSED", `the rotation at seq ${head.seq} ends the chain`);
  if (!equalBytes(prev, head.id))
    return fail("CHAIN_BROKEN", `seq ${seq} names ${toHex(prev)} as its predecessor, expected ${toHex(head.id)}`);
  const started = kind === Kind.boot;
  if (boot !== head.boot + (started ? 1 : 0))
    return fail("CHAIN_BROKEN", `seq ${seq} counts start ${boot}, expected ${head.boot + (started ? 1 : 0)}`);
  if (!started && uptimeMs < head.uptimeMs)
    return fail("CHAIN_BROKEN", `uptime fell from ${head.uptimeMs} to ${uptimeMs} ms within one start`);
  return ok(headOf(sha256, record, known));
}
