import { equalBytes, toHex } from "tallystick/bytes/bytes";
import type { Crypto } from "tallystick/identity/crypto";
import { kidOf } from "tallystick/identity/key";
import { readGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, recordId } from "tallystick/record/record";
import type { EntrySource, LoggedEntry } from "../log/sequencer.js";
import { plainBytes } from "./database.js";
import { type NewRecord, type Store, StoredRecordDamaged } from "./store.js";

/**
 * The store as the log's source: records enter the log in the order in which they became durable, and each is told its
 * index once the checkpoint that covers it is published.
 */
export class StoreEntries implements EntrySource {
  readonly #store: Store;
  readonly #crypto: Crypto;
  readonly #nowMs: () => number;

  constructor(store: Store, crypto: Crypto, nowMs: () => number) {
    this.#store = store;
    this.#crypto = crypto;
    this.#nowMs = nowMs;
  }

  integratedSize(): number {
    const highest = this.#store.database.prepare("SELECT max(log_index) FROM records").pluck().get() as number | null;
    return highest === null ? 0 : highest + 1;
  }

  /** Each entry is seen to be what its id names: a bit that changed in the database never gets into the log. */
  next(_fromIndex: number, limit: number): Uint8Array[] {
    const rows = this.#store.database
      .prepare("SELECT seq, id, bytes FROM records WHERE log_index IS NULL ORDER BY arrival LIMIT ?")
      .all(limit) as { seq: number; id: Buffer; bytes: Buffer }[];
    return rows.map((row) => {
      const [id, bytes] = [plainBytes(row.id), plainBytes(row.bytes)];
      if (!equalBytes(recordId(this.#crypto.sha256, bytes), id)) throw new StoredRecordDamaged({ id, seq: row.seq });
      return bytes;
    });
  }

  /** One transaction. Entries that an older copy of the database does not hold are taken in from the log. */
  integrated(fromIndex: number, entries: readonly LoggedEntry[]): void {
    const assign = this.#store.database.prepare("UPDATE records SET log_index = ? WHERE id = ?");
    this.#store.transaction(() => {
      entries.forEach(({ id, bytes }, i) => {
        if (assign.run(fromIndex + i, id).changes === 1) return;
        this.#takeBack(bytes, id);
        assign.run(fromIndex + i, id);
      });
    });
  }

  /** The log has only what was verified on its way in, so that its order is each chain's own. */
  #takeBack(bytes: Uint8Array, id: Uint8Array): void {
    const record = parseRecord(bytes);
    if (!record.ok) throw new LogDiffers(`entry ${toHex(id)} is no record: ${record.failure.detail}`);
    const { kid, seq, kind } = record.value.header;
    const known = this.#store.deviceByKid(kid);
    const entry: NewRecord = { seq, id, bytes, closesChain: kind === Kind.rotate };
    if (known) {
      this.#takeBackHole(known.device, seq, kid);
      this.#store.append(known.device, [entry], this.#nowMs());
      return;
    }
    const genesis = kind === Kind.genesis ? readGenesis(record.value.payload) : undefined;
    if (!genesis?.ok || !equalBytes(kidOf(this.#crypto.sha256, genesis.value.publicKey), kid))
      throw new LogDiffers(`the log has seq ${seq} of ${toHex(kid)}, whose genesis the database does not hold`);
    const { device } = this.#store.addDevice(kid, genesis.value.publicKey, entry, this.#nowMs());
    const { predecessor } = genesis.value;
    const former = predecessor && this.#store.deviceByKid(predecessor.kid);
    // It got into the log by its predecessor's word, which the older copy does not hold.
    if (former && !this.#store.successions.of(former.device))
      this.#store.successions.close(
        former.device,
        { seq: predecessor.seq, successor: device },
        new Uint8Array(0),
        this.#nowMs(),
      );
  }

  /**
   * A record that does not follow the head came in behind a gap, or into the hole that one left. The gap record itself
   * enters the log at its own position only, which may be later.
   */
  #takeBackHole(device: number, seq: number, kid: Uint8Array): void {
    const { gaps } = this.#store;
    const head = this.#store.head(device).seq;
    const holes = gaps.holes(device);
    if (seq <= head && !holes.some(({ first, last }) => seq >= first && seq <= last))
      throw new LogDiffers(`of ${toHex(kid)} the log has seq ${seq} next, the database holds another record there`);
    if (seq > head + 1) holes.push({ first: head + 1, last: seq - 1 });
    const left = holes.flatMap(({ first, last }) =>
      seq < first || seq > last
        ? [{ first, last }]
        : [
            { first, last: seq - 1 },
            { first: seq + 1, last },
          ].filter((part) => part.first <= part.last),
    );
    const pending = gaps.pending(device).filter((waiting) => waiting.seq !== seq);
    gaps.replace(device, pending, left, this.#nowMs());
  }
}

/** Database and log tell different chains: neither is changed. */
export class LogDiffers extends Error {
  override readonly name = "LogDiffers";
}
