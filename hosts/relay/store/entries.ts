import { equalBytes, toHex } from "tallystick/bytes/bytes";
import type { Crypto } from "tallystick/identity/crypto";
import { kidOf } from "tallystick/identity/key";
import { readGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import type { EntrySource, LoggedEntry } from "../log/sequencer.js";
import { type Database, plainBytes } from "./database.js";
import { type NewRecord, type Store, StoredRecordDamaged } from "./store.js";

/**
 * The store as the log's source: records enter the log in the order in which they became durable, and each is told its
 * index once the checkpoint that covers it is published.
 */
export class StoreEntries implements EntrySource {
  readonly #store: Store;
  readonly #crypto: Crypto;
  readonly #nowMs: () => number;
  readonly #statements: ReturnType<typeof prepare>;
  /** Of the entries that were given out last those that stand where they will be logged. */
  #inPlace: ReadonlySet<LoggedEntry> = new Set();

  constructor(store: Store, crypto: Crypto, nowMs: () => number) {
    this.#store = store;
    this.#statements = prepare(store.database);
    this.#crypto = crypto;
    this.#nowMs = nowMs;
  }

  integratedSize(): number {
    return this.#store.loggedSize;
  }

  /** Each entry is seen to be what its id names: a bit that changed in the database never gets into the log. */
  next(fromIndex: number, limit: number): LoggedEntry[] {
    const rows = this.#statements.unlogged.all(limit) as Row[];
    const entries = rows.map((row) => {
      const [id, bytes] = [plainBytes(row.id), plainBytes(row.bytes)];
      if (!equalBytes(recordId(this.#crypto.sha256, bytes), id)) throw new StoredRecordDamaged({ id, seq: row.seq });
      return { id, bytes };
    });
    this.#inPlace = new Set(entries.filter((_, i) => rows[i]!.entry === fromIndex + i));
    return entries;
  }

  /**
   * One transaction. Records stand where they will be logged as long as the database is the log's own; entries that an
   * older copy of it does not hold are taken in from the log, and what was never logged makes room for them.
   */
  integrated(fromIndex: number, entries: readonly LoggedEntry[]): void {
    const inPlace = this.#inPlace;
    this.#inPlace = new Set();
    this.#store.transaction(() => {
      if (entries.every((entry) => inPlace.has(entry))) {
        this.#store.setLogged(fromIndex + entries.length);
        return;
      }
      const held = this.#statements.from.all(fromIndex, entries.length) as Pick<Row, "entry" | "id">[];
      let isOwn = true;
      for (const [i, { id, bytes }] of entries.entries()) {
        const found = held[i];
        isOwn &&= found?.entry === fromIndex + i && equalBytes(plainBytes(found.id), id);
        // What stood behind the first that differs has been moved.
        if (!isOwn) this.#place(fromIndex + i, id, bytes);
      }
      this.#store.setLogged(fromIndex + entries.length);
    });
  }

  /** Puts a logged record at its index, wherever it stands now. */
  #place(index: number, id: Uint8Array, bytes: Uint8Array): void {
    this.#statements.makeRoom.run({ index });
    if (bytes.length === 0) {
      this.#placeErased(index, id);
      return;
    }
    const record = parseRecord(bytes);
    if (!record.ok) throw new LogDiffers(`entry ${toHex(id)} is no record: ${record.failure.detail}`);
    const { kid, seq } = record.value.header;
    const device = this.#store.deviceByKid(kid);
    const held = device && this.#store.recordAt(device.device, seq);
    if (held && equalBytes(held.id, id)) this.#statements.move.run(index, device.device, seq);
    else this.#takeBack(record.value, id, index);
  }

  /** Of an erased record nothing but its names comes back; it is none that began or ended a chain. */
  #placeErased(index: number, id: Uint8Array): void {
    const kept = this.#store.erasures.record(id);
    const device = kept && this.#store.deviceByKid(kept.kid);
    if (!device)
      throw new LogDiffers(`entry ${toHex(id)} was erased, and the database does not know of which chain it was`);
    const held = this.#store.recordAt(device.device, kept.seq);
    if (held && equalBytes(held.id, id)) {
      this.#statements.move.run(index, device.device, kept.seq);
      return;
    }
    this.#takeBackHole(device.device, kept.seq, kept.kid);
    const entry: NewRecord = { seq: kept.seq, id, bytes: new Uint8Array(0), closesChain: false };
    this.#store.takeBack(device.device, entry, index, this.#nowMs());
  }

  /** The log has only what was verified on its way in, so that its order is each chain's own. */
  #takeBack(record: Record, id: Uint8Array, index: number): void {
    const { kid, seq, kind } = record.header;
    const known = this.#store.deviceByKid(kid);
    const entry: NewRecord = { seq, id, bytes: record.bytes, closesChain: kind === Kind.rotate };
    if (known) {
      this.#takeBackHole(known.device, seq, kid);
      this.#store.takeBack(known.device, entry, index, this.#nowMs());
      return;
    }
    const genesis = kind === Kind.genesis ? readGenesis(record.payload) : undefined;
    if (!genesis?.ok || !equalBytes(kidOf(this.#crypto.sha256, genesis.value.publicKey), kid))
      throw new LogDiffers(`the log has seq ${seq} of ${toHex(kid)}, whose genesis the database does not hold`);
    const { predecessor } = genesis.value;
    const former = predecessor && this.#store.deviceByKid(predecessor.kid);
    // The log does not know of tenants: whose a first key is, an operator has to say again.
    const nowMs = this.#nowMs();
    const { device } = this.#store.addDevice(kid, genesis.value.publicKey, entry, nowMs, index, former?.tenant);
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

interface Row {
  readonly entry: number;
  readonly seq: number;
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
}

function prepare(database: Database) {
  return {
    unlogged: database.prepare(
      "SELECT entry, seq, id, bytes FROM records WHERE entry >= (SELECT size FROM logged) ORDER BY entry LIMIT ?",
    ),
    from: database.prepare("SELECT entry, id FROM records WHERE entry >= ? ORDER BY entry LIMIT ?"),
    // Whatever stands there was not logged, and has no place yet: behind everything, in the order in which it came.
    makeRoom: database.prepare(
      "UPDATE records SET entry = entry + (SELECT max(entry) FROM records) - :index + 1 " +
        "WHERE entry >= :index AND EXISTS (SELECT 1 FROM records WHERE entry = :index)",
    ),
    move: database.prepare("UPDATE records SET entry = ? WHERE device = ? AND seq = ?"),
  };
}

/** Database and log tell different chains: neither is changed. */
export class LogDiffers extends Error {
  override readonly name = "LogDiffers";
}
