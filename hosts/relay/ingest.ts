import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { follow, type Head, headOf } from "tallystick/chain/chain";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { CborReader } from "tallystick/record/cbor";
import { Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import { BATCH_MAX_BYTES, type Request, readRequest } from "tallystick/sync/messages";
import { type Backdated, noteDates } from "./dating.js";
import { Gaps } from "./gaps.js";
import type { Refusal } from "./problem.js";
import { revocationsOf } from "./standing.js";
import { isErased } from "./store/erasures.js";
import { type NewRecord, type Store, type StoredDevice, StoredRecordDamaged } from "./store/store.js";
import { LATE_MAX_PER_DEVICE, type LateRecord } from "./store/successions.js";
import type { VerifiedBatch, VerifiedRecord } from "./verify/verified.js";

/**
 * Verified records of one known device (verify/verified.ts) enter its chain: check the chain → store, in one durable
 * transaction. Whoever sent the batch is acknowledged only after that is on the disk.
 *
 * It is taken in order up to the first record that does not fit; nothing of that record enters the chain. Gap records
 * that are not next in the chain may stand first: what they name may then be missing (gaps.ts). Of a chain that a
 * succession has closed, what follows is kept beside it as late: it was under way, and is neither an alarm nor a fork.
 */

export interface IngestOptions {
  readonly store: Store;
  readonly crypto: Crypto;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
}

export interface Ingested {
  /** Records that the chain grew by, or, of a closed one, that were kept as late. */
  readonly stored: number;
  /** The alert records among them, in the order of the chain; absent where there are none. */
  readonly alerts?: readonly { readonly seq: number; readonly id: Uint8Array; readonly payload: Uint8Array }[];
  /** Records that were held already, byte for byte. */
  readonly repeated: number;
  /** Of those that the chain grew by: dated before their chain's newest beacon. */
  readonly backdated: readonly Backdated[];
  /** Why the record after these was not taken; undefined where all were. */
  readonly refusal: Refusal | undefined;
}

/** The request item that a batch begins with, and what follows it. MESSAGE_MALFORMED, CBOR_INVALID, BODY_TOO_LARGE. */
export function openBatch(body: Uint8Array): Result<{ readonly request: Request; readonly records: Uint8Array }> {
  if (body.length > BATCH_MAX_BYTES)
    return fail("BODY_TOO_LARGE", `expected at most ${BATCH_MAX_BYTES} bytes, received ${body.length}`);
  const reader = new CborReader(body);
  const first = reader.item();
  if (!first.ok) return first;
  const request = readRequest(body.subarray(0, reader.offset));
  return request.ok ? ok({ request: request.value, records: body.subarray(reader.offset) }) : request;
}

/** Takes verified records of `device`. Throws what the database throws; then nothing was stored. */
export function ingest(options: IngestOptions, device: StoredDevice, { records, failure }: VerifiedBatch): Ingested {
  const { store, crypto } = options;
  const fresh = new Map<number, NewRecord>();
  const entering: VerifiedRecord[] = [];
  const gaps = new Gaps(crypto, store, device.device, fresh);
  const revokedAt = revocationsOf(store, device.device);
  const isLate = store.successions.of(device.device) !== undefined;
  let head = headOfStored(
    options,
    (isLate ? store.successions.lateHead(device.device) : undefined) ?? store.head(device.device),
  );
  const headSeq = head.seq;
  let room = isLate ? LATE_MAX_PER_DEVICE - store.successions.countLate(device.device) : Number.POSITIVE_INFINITY;
  // Nothing that a closed chain lacks is let be any more.
  let leading = !isLate;
  let repeated = 0;
  let fork: NewRecord | undefined;
  const alerts: { seq: number; id: Uint8Array; payload: Uint8Array }[] = [];
  let refusal: Refusal | undefined;
  let backdated: readonly Backdated[] = [];
  for (const verified of records) {
    const { record, id } = verified;
    const { seq, kind } = record.header;
    // What is above the head nobody holds yet.
    const held = seq > head.seq ? undefined : heldAt(store, device, fresh, seq);
    if (held && equalBytes(held, id)) {
      leading = false;
      repeated++;
      continue;
    }
    const revoked = revokedAt(seq);
    // A gap record that came before has this position, as a record in the chain has its own.
    const other = held ?? gaps.idAt(seq);
    if (revoked) refusal = { failure: revoked };
    else if (other && !equalBytes(other, id)) {
      fork = newRecord(record, id);
      refusal = forkRefusal(seq, other, id);
    } else if (leading && kind === Kind.gap && seq > head.seq + 1) {
      const taken = gaps.take(head, record, id);
      if (!taken.ok) refusal = chainRefusal(taken.failure, head, record);
    } else {
      leading = false;
      const next = isLate ? followLate(crypto, room, head, record, id) : enter(crypto, gaps, head, record, id);
      if (next.ok) {
        room--;
        fresh.set(seq, newRecord(record, id));
        if (kind === Kind.alert) alerts.push({ seq, id, payload: record.payload });
        if (verified.datedMs !== undefined || kind === Kind.mark) entering.push(verified);
        gaps.arrived(seq);
        head = next.value;
      } else refusal = chainRefusal(next.failure, head, record);
    }
    if (refusal) break;
  }
  if (!refusal && failure) refusal = { failure };
  if (fresh.size > 0 || fork || gaps.changed)
    store.transaction(() => {
      const nowMs = options.nowMs();
      if (isLate) store.successions.keepLate(device.device, [...fresh.values()], nowMs);
      else {
        store.append(device.device, [...fresh.values()], nowMs);
        backdated = noteDates(store, device.device, headSeq, entering, nowMs);
      }
      if (gaps.changed) gaps.write(nowMs);
      if (fork) store.keepFork(device.device, fork, nowMs);
    });
  return { stored: fresh.size, repeated, backdated, refusal, ...(alerts.length > 0 && { alerts }) };
}

/** The head after a record has entered the chain: behind the head, behind a gap, or into a hole. */
function enter(crypto: Crypto, gaps: Gaps, head: Head, record: Record, id: Uint8Array): Result<Head> {
  const { seq } = record.header;
  if (seq > head.seq + 1) return gaps.over(head, record);
  if (seq > head.seq) return follow(crypto.sha256, head, record, id);
  const filled = gaps.fill(record, id);
  return filled.ok ? ok(head) : filled;
}

/** The head after a late record: right behind the closed chain and the late ones before it. */
function followLate(crypto: Crypto, room: number, head: Head, record: Record, id: Uint8Array): Result<Head> {
  return room > 0
    ? follow(crypto.sha256, head, record, id)
    : fail("CHAIN_CLOSED", `expected at most ${LATE_MAX_PER_DEVICE} late records of one chain, received another`);
}

export function newRecord(record: Record, id: Uint8Array): NewRecord {
  const { seq, kind } = record.header;
  return { seq, id, bytes: record.bytes, closesChain: kind === Kind.rotate };
}

/** A fork's refusal tells both ids, so that the sender learns which branch stands. */
export function forkRefusal(seq: number, held: Uint8Array, received: Uint8Array): Refusal {
  const members = { held: toHex(held), received: toHex(received), seq };
  return {
    ...fail("CHAIN_FORK", `at seq ${seq} record ${members.held} is held, received ${members.received}`),
    members,
  };
}

function chainRefusal(failure: Failure, head: Head, record: Record): Refusal {
  if (failure.code !== "CHAIN_GAP") return { failure };
  return { failure, members: { expected_seq: head.seq + 1, received_seq: record.header.seq } };
}

/** The id of the record that stands at `seq`, if one does. */
function heldAt(
  store: Store,
  { device }: StoredDevice,
  fresh: ReadonlyMap<number, NewRecord>,
  seq: number,
): Uint8Array | undefined {
  return (fresh.get(seq) ?? store.recordAt(device, seq) ?? store.successions.lateAt(device, seq))?.id;
}

/** The head that a stored record makes; of an erased one by what is kept of it. */
function headOfStored({ store, crypto }: Omit<IngestOptions, "nowMs">, stored: LateRecord): Head {
  const erased = isErased(stored) ? store.erasures.headOf(stored.id) : undefined;
  if (erased) return erased;
  const record = parseRecord(stored.bytes);
  if (!record.ok || !equalBytes(recordId(crypto.sha256, stored.bytes), stored.id))
    throw new StoredRecordDamaged(stored);
  return headOf(crypto.sha256, record.value);
}
