import { equalBytes, toHex } from "../bytes/bytes.js";
import { type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { type Gap, readGap } from "../record/gap.js";
import { Kind, parseRecord, type Record, recordId, toBeSigned } from "../record/record.js";
import { follow, type Head, headOf } from "./chain.js";

/** A chain of which records are missing, and the gap records that name them. */

/** A gap record, apart from its bytes. */
export interface NamedGap {
  readonly seq: number;
  readonly id: Uint8Array;
  readonly boot: number;
  readonly gap: Gap;
}

/** Reads what a gap record names. RECORD_MALFORMED where it is none. Its signature is the caller's to check. */
export function readNamedGap(crypto: Crypto, record: Record): Result<NamedGap> {
  const { kind, seq, boot } = record.header;
  if (kind !== Kind.gap) return fail("RECORD_MALFORMED", `expected a gap record, received kind ${kind} at seq ${seq}`);
  const gap = readGap(record.payload);
  if (!gap.ok) return gap;
  if (gap.value.last >= seq) return fail("RECORD_MALFORMED", `the gap at seq ${seq} names itself`);
  return ok({ seq, id: recordId(crypto.sha256, record.bytes), boot, gap: gap.value });
}

/**
 * Whether `record` may stand behind `head` where `named` says what is missing between them. Right behind the gap its `prev`
 * must be the gap's last id. The uptime may have begun anew only where a start was missed. On success the new head. Codes
 * as `follow`'s.
 */
export function followOver(crypto: Crypto, head: Head, named: NamedGap, record: Record): Result<Head> {
  const { kid, kind, seq, prev, boot, uptimeMs } = record.header;
  const { first, last, lastId } = named.gap;
  if (!equalBytes(kid, head.kid))
    return fail("KEY_MISMATCH", `expected kid ${toHex(head.kid)}, received ${toHex(kid)}`);
  if (first > head.seq + 1 || seq <= head.seq + 1 || last < seq - 1 || seq >= named.seq)
    return fail("CHAIN_GAP", `expected seq ${head.seq + 1}, received ${seq}; the gap names ${first} to ${last}`);
  if (head.kind === Kind.rotate) return fail("CHAIN_CLOSED", `the rotation at seq ${head.seq} ends the chain`);
  if (seq === last + 1 && !equalBytes(prev, lastId))
    return fail("CHAIN_BROKEN", `seq ${seq} names ${toHex(prev)} as its predecessor, the gap ${toHex(lastId)}`);
  const least = head.boot + (kind === Kind.boot ? 1 : 0);
  if (boot < least || boot > named.boot)
    return fail("CHAIN_BROKEN", `seq ${seq} counts start ${boot}, expected ${least} to ${named.boot}`);
  if (boot === head.boot && uptimeMs < head.uptimeMs)
    return fail("CHAIN_BROKEN", `uptime fell from ${head.uptimeMs} to ${uptimeMs} ms within one start`);
  return ok(headOf(crypto.sha256, record));
}

/** Positions that a chain does not have, and the gap record that names them. */
export interface Hole {
  readonly first: number;
  readonly last: number;
  readonly named: NamedGap;
}

export interface VerifiedRun {
  readonly head: Head;
  readonly holes: readonly Hole[];
}

/**
 * Verifies a run of one key's chain from genesis on: each signature, each link, and over each hole a gap record out of
 * the run itself or of `gaps`, records that came before their own position. Of what a gap names no more may be missing
 * than it counts. Codes as `follow`'s, SIGNATURE_INVALID, and what the records do not parse with.
 */
export function verifyRun(
  crypto: Crypto,
  publicKey: Uint8Array,
  records: readonly Uint8Array[],
  gaps: readonly Uint8Array[] = [],
): Result<VerifiedRun> {
  const run: Record[] = [];
  const named: NamedGap[] = [];
  for (const bytes of [...records, ...gaps]) {
    const record = parseRecord(bytes);
    if (!record.ok) return record;
    if (!verifySignature(crypto.ed25519, record.value.signature, toBeSigned(record.value), publicKey))
      return fail("SIGNATURE_INVALID", `the record at seq ${record.value.header.seq} is not signed by the key`);
    if (run.length < records.length) run.push(record.value);
    if (record.value.header.kind !== Kind.gap) continue;
    const gap = readNamedGap(crypto, record.value);
    if (!gap.ok) return gap;
    named.push(gap.value);
  }
  let head: Head | undefined;
  const holes: Hole[] = [];
  for (const record of run) {
    let next = follow(crypto.sha256, head, record);
    if (!next.ok && next.failure.code === "CHAIN_GAP" && head !== undefined) {
      const over = overGap(crypto, head, named, record);
      if (over.ok) holes.push({ first: head.seq + 1, last: record.header.seq - 1, named: over.value.named });
      next = over.ok ? ok(over.value.head) : over;
    }
    if (!next.ok) return next;
    head = next.value;
  }
  for (const { seq, gap } of named) {
    let missing = 0;
    for (const { first, last } of holes)
      missing += Math.max(0, Math.min(last, gap.last) - Math.max(first, gap.first) + 1);
    if (missing > gap.count)
      return fail("CHAIN_GAP", `the gap at seq ${seq} counts ${gap.count} dropped records, ${missing} are missing`);
  }
  return head ? ok({ head, holes }) : fail("CHAIN_GAP", "expected genesis, received no record");
}

/**
 * Follows over one of `gaps` that lets `record` stand: the first that ends right before it, else one that names more. The
 * failure is of the one that came nearest.
 */
export function overGap(
  crypto: Crypto,
  head: Head,
  gaps: readonly NamedGap[],
  record: Record,
): Result<{ readonly head: Head; readonly named: NamedGap }> {
  const { seq } = record.header;
  let failure: Failure = fail("CHAIN_GAP", `expected seq ${head.seq + 1}, received ${seq}`).failure;
  let wider: { readonly head: Head; readonly named: NamedGap } | undefined;
  for (const named of gaps) {
    const next = followOver(crypto, head, named, record);
    if (next.ok && named.gap.last === seq - 1) return ok({ head: next.value, named });
    if (next.ok) wider ??= { head: next.value, named };
    else if (next.failure.code !== "CHAIN_GAP") failure = next.failure;
  }
  return wider ? ok(wider) : { ok: false, failure };
}
