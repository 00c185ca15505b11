import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { follow, type Head, headOf } from "tallystick/chain/chain";
import { readRevocation } from "tallystick/chain/revocation";
import type { Crypto } from "tallystick/identity/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
import { parseRecord, type Record, recordId, toBeSigned } from "tallystick/record/record";
import type { Finding } from "../log/tree-check.js";
import { erasedFollows, isErased } from "./erasures.js";
import type { Hole } from "./gaps.js";
import { nameOfStore } from "./sql.js";
import type { Store, StoredDevice, StoredRecord } from "./store.js";

/**
 * One device's rows as somebody sees them who believes nothing but signatures: its chain from genesis on, what it lacks, the
 * branches and statements beside it.
 */

/** Positions that are read at once, so that no read of the database stays open for long. */
const POSITIONS_AT_ONCE = 1024;

export interface ChainCheckOptions {
  readonly store: Store;
  readonly crypto: Crypto;
}

/** What is wrong with a device's rows; `records` of them were seen. */
export interface CheckedChain {
  readonly findings: readonly Finding[];
  readonly records: number;
}

export function checkChain(options: ChainCheckOptions, device: StoredDevice): CheckedChain {
  return new ChainCheck(options, device).run();
}

class ChainCheck {
  readonly #store: Store;
  readonly #crypto: Crypto;
  readonly #device: StoredDevice;
  readonly #findings: Finding[] = [];

  constructor({ store, crypto }: ChainCheckOptions, device: StoredDevice) {
    this.#store = store;
    this.#crypto = crypto;
    this.#device = device;
  }

  run(): CheckedChain {
    const records = this.#chain();
    this.#forks();
    this.#beside();
    return { findings: this.#findings, records };
  }

  #chain(): number {
    const { device } = this.#device;
    const holes = this.#store.gaps.holes(device);
    // A device whose genesis is gone has no head either; the scrub's own look at devices says so.
    const last = this.#store.recordAt(device, 0) ? this.#store.head(device).seq : -1;
    let head: Head | undefined;
    let records = 0;
    for (let from = 0; from <= last; from += POSITIONS_AT_ONCE) {
      const stored = [...this.#store.recordsBetween(device, from, from + POSITIONS_AT_ONCE - 1)];
      for (const each of stored) {
        records++;
        if (isErased(each)) {
          head = this.#erased(head, each);
          continue;
        }
        const record = this.#record(each);
        if (!record) {
          // What follows a record that cannot be read is held against nothing but its own signature.
          head = undefined;
          continue;
        }
        if (head || each.seq === 0) this.#follows(head, record, holes);
        head = headOf(this.#crypto.sha256, record);
      }
    }
    for (const { first, last: end } of holes) {
      const held = [...this.#store.recordsBetween(device, first, Math.min(end, first + POSITIONS_AT_ONCE))];
      if (held[0]) this.#incoherent(held[0].seq, "expected no record where a hole is told of, received one");
      if (end >= last) this.#incoherent(end, `expected holes below the head at seq ${last}, received one up to ${end}`);
    }
    return records;
  }

  /** The head that an erased record makes, of what is kept of it; undefined where it was not erased but lost. */
  #erased(head: Head | undefined, { seq, id }: Pick<StoredRecord, "seq" | "id">): Head | undefined {
    const kept = this.#store.erasures.record(id);
    if (!kept) this.#find("STORE_CORRUPT", seq, `expected the bytes of record ${toHex(id)}, received none`);
    else if (kept.seq !== seq || !equalBytes(kept.kid, this.#device.kid) || !erasedFollows(head, kept))
      this.#incoherent(seq, "what is kept of the erased record does not fit its place in the chain");
    return this.#store.erasures.headOf(id);
  }

  /** Parsed, its id and signature right; undefined where they are not, which is said. */
  #record({ seq, id, bytes }: Pick<StoredRecord, "seq" | "id" | "bytes">): Record | undefined {
    const { kid, publicKey } = this.#device;
    const received = recordId(this.#crypto.sha256, bytes);
    if (!equalBytes(received, id)) {
      this.#find(
        "STORE_CORRUPT",
        seq,
        `the stored bytes are those of ${toHex(received)}, expected record ${toHex(id)}`,
      );
      return undefined;
    }
    const record = parseRecord(bytes);
    if (!record.ok) this.#incoherent(seq, `${record.failure.code}: ${record.failure.detail}`);
    else if (record.value.header.seq !== seq || !equalBytes(record.value.header.kid, kid))
      this.#incoherent(seq, `the record says seq ${record.value.header.seq} of ${toHex(record.value.header.kid)}`);
    else if (!verifySignature(this.#crypto.ed25519, record.value.signature, toBeSigned(record.value), publicKey))
      this.#incoherent(seq, `SIGNATURE_INVALID: it is not signed by ${toHex(kid)}`);
    else return record.value;
    return undefined;
  }

  #follows(head: Head | undefined, record: Record, holes: readonly Hole[]): void {
    const { seq } = record.header;
    if (!head || seq === head.seq + 1) {
      const next = follow(this.#crypto.sha256, head, record);
      if (!next.ok && !this.#startsAnew(head, record, holes))
        this.#incoherent(seq, `${next.failure.code}: ${next.failure.detail}`);
      return;
    }
    const [first, last] = [head.seq + 1, seq - 1];
    if (covers(holes, first, last)) return;
    this.#incoherent(first, `CHAIN_GAP: seq ${first} to ${last} are neither held nor told of as a hole`);
  }

  /** Right behind a record that stands behind a hole, start and uptime may differ by more than one record tells. */
  #startsAnew(head: Head | undefined, record: Record, holes: readonly Hole[]): boolean {
    if (!head || !equalBytes(record.header.prev, head.id)) return false;
    return holes.some(({ last }) => last === head.seq - 1) && record.header.boot >= head.boot;
  }

  #forks(): void {
    const { device, state } = this.#device;
    const forks = this.#store.forks(device);
    for (const fork of forks) {
      if (isErased(fork)) this.#erased(undefined, fork);
      else if (!this.#record(fork)) continue;
      const held = this.#store.recordAt(device, fork.seq);
      if (held && equalBytes(held.id, fork.id))
        this.#incoherent(fork.seq, "a fork's other branch is the chain's own record");
    }
    if (forks.length > 0 && state !== "forked")
      this.#incoherent(forks[0]!.seq, `expected the state forked of a device with another branch, received ${state}`);
  }

  /** Gap records that wait, the revocation, the successor. */
  #beside(): void {
    const { device, kid, state } = this.#device;
    for (const pending of this.#store.gaps.pending(device)) this.#record(pending);
    const revocation = this.#store.standing.revocation(device);
    if (revocation) {
      const read = readRevocation(revocation.statement);
      const stated = read.ok ? read.value.revocation : undefined;
      if (!read.ok) this.#incoherent(revocation.fromSeq, `its revocation: ${read.failure.detail}`);
      if (stated && !(equalBytes(stated.kid, kid) && stated.fromSeq === revocation.fromSeq))
        this.#incoherent(revocation.fromSeq, `its revocation states seq ${stated.fromSeq} of ${toHex(stated.kid)}`);
    }
    const succession = this.#store.successions.of(device);
    if (succession && state === "active")
      this.#incoherent(succession.seq, "expected the state closed of a chain that has a successor, received active");
  }

  #incoherent(seq: number, detail: string): void {
    this.#find("STORE_INCOHERENT", seq, detail);
  }

  #find(code: Finding["code"], seq: number, detail: string): void {
    this.#findings.push({
      code,
      where: `${nameOfStore(this.#store.database)} device ${toHex(this.#device.kid)} seq ${seq}`,
      detail,
    });
  }
}

function covers(holes: readonly Hole[], first: number, last: number): boolean {
  let next = first;
  for (const hole of holes) if (hole.first <= next && hole.last >= next) next = hole.last + 1;
  return next > last;
}
