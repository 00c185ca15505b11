import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { follow, type Head, headOf } from "tallystick/chain/chain";
import { type NamedGap, overGap, readNamedGap } from "tallystick/chain/gap";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { Kind, parseRecord, type Record } from "tallystick/record/record";
import { isErased } from "./store/erasures.js";
import type { Hole, PendingGap } from "./store/gaps.js";
import type { NewRecord, Store } from "./store/store.js";

/**
 * What one batch makes of a device's holes. A gap record that comes before its own position is kept until that comes; a
 * record behind what it names may then follow the head, and the positions between are a hole. A record that comes for a
 * hole after all fills it, where a neighbour that is held shows that it is the chain's own.
 */

/** Gap records of a device that may wait for their position. Each new one takes the place of those that it names whole. */
export const GAPS_MAX_PER_DEVICE = 16;

interface Pending extends PendingGap {
  readonly named: NamedGap;
}

export class Gaps {
  readonly #crypto: Crypto;
  readonly #store: Store;
  readonly #device: number;
  readonly #fresh: ReadonlyMap<number, NewRecord>;
  #pending: Pending[];
  #holes: Hole[];
  #changed = false;

  /** `fresh`: records of this batch by position, as far as they were taken. */
  constructor(crypto: Crypto, store: Store, device: number, fresh: ReadonlyMap<number, NewRecord>) {
    this.#crypto = crypto;
    this.#store = store;
    this.#device = device;
    this.#fresh = fresh;
    this.#pending = store.gaps.pending(device).map((pending) => ({ ...pending, named: this.#named(pending.bytes) }));
    this.#holes = store.gaps.holes(device);
  }

  /** Something has to be written. */
  get changed(): boolean {
    return this.#changed;
  }

  /** The id of the gap record that waits for this position. */
  idAt(seq: number): Uint8Array | undefined {
    return this.#pending.find((pending) => pending.seq === seq)?.id;
  }

  /**
   * Takes a gap record, its signature and payload checked, that is not next in its chain. CHAIN_GAP where what is before it
   * is neither held nor named, GAP_FALSE where it contradicts what is held, CHAIN_BROKEN, CHAIN_CLOSED.
   */
  take(head: Head, record: Record, id: Uint8Array): Result<void> {
    const named = readNamedGap(this.#crypto, record);
    if (!named.ok) return named;
    const { gap } = named.value;
    const { seq, boot, uptimeMs } = record.header;
    if (this.idAt(seq) !== undefined) return ok(undefined);
    if (head.kind === Kind.rotate) return fail("CHAIN_CLOSED", `the rotation at seq ${head.seq} ends the chain`);
    if (gap.first > head.seq + 1)
      return fail("CHAIN_GAP", `expected seq ${head.seq + 1}, received a gap from ${gap.first} on`);
    if (boot < head.boot || (boot === head.boot && uptimeMs < head.uptimeMs))
      return fail("CHAIN_BROKEN", `seq ${seq} is of an earlier moment than the head`);
    const held = this.#recordId(gap.last);
    if (held && !equalBytes(held, gap.lastId))
      return fail("GAP_FALSE", `at seq ${gap.last} expected ${toHex(held)}, received ${toHex(gap.lastId)}`);
    const contradiction = this.#checkTakenOver(named.value);
    if (contradiction) return { ok: false, failure: contradiction };
    // All of it is held, or in a hole: there is nothing that it could let through.
    if (gap.last <= head.seq) return ok(undefined);
    // Of a fork both branches are kept.
    const { state } = this.#store.deviceByNumber(this.#device);
    const others = this.#pending.filter(
      (other) =>
        state === "forked" || other.seq > seq || other.named.gap.first < gap.first || other.named.gap.last > gap.last,
    );
    if (others.length >= GAPS_MAX_PER_DEVICE)
      return fail("GAP_FALSE", `expected at most ${GAPS_MAX_PER_DEVICE} gap records that wait for their position`);
    this.#pending = [...others, { seq, id, bytes: record.bytes, named: named.value }];
    this.#changed = true;
    return ok(undefined);
  }

  /** The head that `record` makes right behind what a gap record names: CHAIN_GAP, or `followOver`'s codes. */
  over(head: Head, record: Record): Result<Head> {
    const ending = this.#pending.filter(({ named }) => named.gap.last === record.header.seq - 1);
    const next = overGap(
      this.#crypto,
      head,
      ending.map(({ named }) => named),
      record,
    );
    if (!next.ok) return next;
    this.#holes.push({ first: head.seq + 1, last: record.header.seq - 1 });
    this.#changed = true;
    return ok(next.value.head);
  }

  /** Takes a record for a position in a hole. CHAIN_GAP where no neighbour is held, else what does not fit. */
  fill(record: Record, id: Uint8Array): Result<void> {
    const { seq } = record.header;
    const hole = this.#holes.find(({ first, last }) => seq >= first && seq <= last);
    if (hole === undefined || (seq !== hole.first && seq !== hole.last))
      return fail("CHAIN_GAP", `neither seq ${seq - 1} nor seq ${seq + 1} is held`);
    if (seq === hole.first) {
      const before = follow(this.#crypto.sha256, this.#headAt(seq - 1), record);
      if (!before.ok) return before;
    }
    if (seq === hole.last) {
      const { prev } = this.#record(seq + 1).header;
      if (!equalBytes(prev, id))
        return fail("CHAIN_BROKEN", `seq ${seq + 1} names ${toHex(prev)} as its predecessor, received ${toHex(id)}`);
    }
    const left = { first: seq === hole.first ? seq + 1 : hole.first, last: seq === hole.first ? hole.last : seq - 1 };
    this.#holes = this.#holes.flatMap((other) => (other !== hole ? [other] : left.first > left.last ? [] : [left]));
    this.#changed = true;
    return ok(undefined);
  }

  /** The record at `seq` has entered the chain: a gap record waits for its position no longer. */
  arrived(seq: number): void {
    const waiting = this.#pending.filter((pending) => pending.seq !== seq);
    if (waiting.length === this.#pending.length) return;
    this.#pending = waiting;
    this.#changed = true;
  }

  /** Call inside `Store.transaction`. */
  write(nowMs: number): void {
    this.#store.gaps.replace(this.#device, this.#pending, this.#holes, nowMs);
  }

  /** What a gap says of the one that it takes over, where that one is here. */
  #checkTakenOver({ gap }: NamedGap): Failure | undefined {
    const { takenOver } = gap;
    if (!takenOver) return undefined;
    const pending = this.#pending.find(({ seq }) => seq === takenOver.seq);
    const id = pending?.id ?? this.#recordId(takenOver.seq);
    if (id === undefined) return undefined;
    const earlier = pending?.named ?? (equalBytes(id, takenOver.id) ? this.#earlierAt(takenOver.seq) : undefined);
    const count = earlier && earlier.gap.count + gap.last - takenOver.from + 1;
    if (equalBytes(id, takenOver.id) && earlier?.gap.first === gap.first && count === gap.count) return undefined;
    return fail("GAP_FALSE", `it is not what the gap record at seq ${takenOver.seq} comes to with what follows`)
      .failure;
  }

  #earlierAt(seq: number): NamedGap | undefined {
    const named = readNamedGap(this.#crypto, this.#record(seq));
    return named.ok ? named.value : undefined;
  }

  #recordId(seq: number): Uint8Array | undefined {
    return this.#fresh.get(seq)?.id ?? this.#store.recordAt(this.#device, seq)?.id;
  }

  #headAt(seq: number): Head {
    const stored = this.#fresh.get(seq) ?? this.#store.recordAt(this.#device, seq);
    const erased = stored && isErased(stored) ? this.#store.erasures.headOf(stored.id) : undefined;
    return erased ?? headOf(this.#crypto.sha256, this.#record(seq));
  }

  #record(seq: number): Record {
    const bytes = this.#fresh.get(seq)?.bytes ?? this.#store.recordAt(this.#device, seq)?.bytes;
    const record = bytes && parseRecord(bytes);
    if (!record?.ok) throw new Error(`the record at seq ${seq} beside a hole cannot be read`);
    return record.value;
  }

  #named(bytes: Uint8Array): NamedGap {
    const record = parseRecord(bytes);
    const named = record.ok ? readNamedGap(this.#crypto, record.value) : record;
    if (!named.ok) throw new Error(`a gap record that waits cannot be read: ${named.failure.detail}`);
    return named.value;
  }
}
