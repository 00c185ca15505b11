import { toHex, utf8 } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { KIND_WORDS, Kind, parseRecord } from "tallystick/record/record";
import { ERASED_MAX_RECORDS, ERASURE_MAX_RECORDS, type ErasedRecord } from "./log/erasures.js";
import { checkedBytes } from "./routes/shapes.js";
import { isErased } from "./store/erasures.js";
import type { Store, StoredDevice, StoredRecord } from "./store/store.js";

/**
 * What an operator may have erased. Nothing that the proof of another record needs: its chain's genesis binds the key, a
 * rotate record hands it on, a gap record says what its chain lacks, and what stands right above a hole is how a record that
 * comes for it is known. The head of an open chain stays until another follows: a device that has lost its flash fetches it.
 */

/** Bytes of UTF-8 of a reason. It is not public, but told to who asks for the record. */
export const ERASURE_REASON_MAX_BYTES = 256;
/** Positions that are read at once. */
const POSITIONS_AT_ONCE = 1024;

export interface ErasureRequest {
  readonly kid: Uint8Array;
  /** Positions, both included. */
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  readonly by: string;
}

/** What a request comes to: `records` are there and would be erased, `already` were before. */
export interface ErasurePlan {
  readonly request: ErasureRequest;
  readonly records: readonly ErasedRecord[];
  readonly already: number;
}

export interface ErasePlanOptions {
  readonly store: Store;
  readonly crypto: Crypto;
}

/** DEVICE_UNKNOWN, ERASURE_REFUSED; RECORD_NOT_LOGGED where a record has no leaf yet; nothing is changed. */
export function planErasure(options: ErasePlanOptions, request: ErasureRequest): Result<ErasurePlan> {
  const { store } = options;
  const { kid, from, to, reason } = request;
  const device = store.deviceByKid(kid);
  if (!device) return fail("DEVICE_UNKNOWN", `expected an enrolled kid, received ${toHex(kid)}`);
  const length = utf8(reason).length;
  if (length === 0 || length > ERASURE_REASON_MAX_BYTES)
    return refused(`a reason of 1 to ${ERASURE_REASON_MAX_BYTES} bytes`, `${length} bytes`);
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from)
    return refused("positions from the lower to the higher", `${from} to ${to}`);
  if (from === 0) return refused("positions above genesis, which binds the key of all others", "seq 0");
  const waiting = store.gaps.pending(device.device).find(({ seq }) => seq >= from && seq <= to);
  if (waiting) return refused("no gap record, which says what its chain lacks", `one at seq ${waiting.seq}`);
  const found = collect(options, device, request);
  if (!found.ok) return found;
  const { records, already } = found.value;
  if (records.length + already === 0) return refused("a record in the range", `none from seq ${from} to ${to}`);
  const all = store.erasures.countRecords() + records.length;
  if (all > ERASED_MAX_RECORDS) return refused(`at most ${ERASED_MAX_RECORDS} erased records in all`, String(all));
  return ok({ request, records, already });
}

/** Decides it: durable on return, and for all readers of the records so at once. The number of the erasure. */
export function decideErasure(store: Store, { request, records }: ErasurePlan, nowMs: number): number {
  return store.transaction(() => {
    const number = store.erasures.nextNumber();
    store.erasures.add({ ...request, number, records, askedAtMs: nowMs });
    return number;
  });
}

/** Positions of a chain in the range, late ones behind it, and other branches beside it. */
function collect(
  { store, crypto }: ErasePlanOptions,
  { device, state }: StoredDevice,
  { from, to }: ErasureRequest,
): Result<Pick<ErasurePlan, "records" | "already">> {
  const records: ErasedRecord[] = [];
  let already = 0;
  const take = (stored: Pick<StoredRecord, "seq" | "id" | "bytes">, entry: number | undefined): Result<true> => {
    if (isErased(stored) || store.erasures.record(stored.id)) {
      already++;
      return ok(true);
    }
    const record = parseRecord(checkedBytes(crypto, stored));
    if (!record.ok) return record;
    const { prev, kind, boot, uptimeMs } = record.value.header;
    const kept = entry !== undefined && KEPT_KINDS.get(kind);
    if (kept) return refused(`no ${KIND_WORDS[kind]} record, which ${kept}`, `one at seq ${stored.seq}`);
    if (records.length >= ERASURE_MAX_RECORDS)
      return refused(`at most ${ERASURE_MAX_RECORDS} records at once`, "more: erase them in parts");
    records.push({ seq: stored.seq, id: stored.id, entry, prev: prev.slice(), kind, boot, uptimeMs });
    return ok(true);
  };
  const head = store.head(device).seq;
  const isOpen = store.successions.of(device) === undefined;
  const { loggedSize } = store;
  if (isOpen && state !== "closed" && from <= head && to >= head)
    return refused("positions below the newest, which its device may have to fetch", `seq ${head}`);
  const above = new Set(store.gaps.holes(device).map(({ last }) => last + 1));
  for (let next = from; next <= Math.min(to, head); next += POSITIONS_AT_ONCE)
    for (const stored of [...store.recordsBetween(device, next, Math.min(to, head, next + POSITIONS_AT_ONCE - 1))]) {
      if (stored.logIndex === undefined)
        return fail("RECORD_NOT_LOGGED", `seq ${stored.seq} is not in the log of ${loggedSize} entries`);
      if (above.has(stored.seq))
        return refused("no record right above a hole, which names what belongs there", `seq ${stored.seq}`);
      const taken = take(stored, stored.logIndex);
      if (!taken.ok) return taken;
    }
  const lateEnd = Math.min(to, store.successions.lateHead(device)?.seq ?? head);
  for (let seq = Math.max(from, head + 1); seq <= lateEnd; seq++) {
    const late = store.successions.lateAt(device, seq);
    const taken = late && take(late, undefined);
    if (taken && !taken.ok) return taken;
  }
  for (const fork of store.forks(device)) {
    const taken = fork.seq >= from && fork.seq <= to ? take(fork, undefined) : ok(true);
    if (!taken.ok) return taken;
  }
  return ok({ records, already });
}

/** What stands in a chain and is never erased, and why. */
const KEPT_KINDS: ReadonlyMap<Kind, string> = new Map([
  [Kind.genesis, "binds the key of all others"],
  [Kind.rotate, "hands the key on"],
  [Kind.gap, "says what its chain lacks"],
]);

function refused(expected: string, received: string): Result<never> {
  return fail("ERASURE_REFUSED", `expected ${expected}, received ${received}`);
}
