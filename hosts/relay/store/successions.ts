import { type Database, plainBytes } from "./database.js";
import type { NewRecord } from "./store.js";

/**
 * Chains that a succession has closed, and what arrives for them afterwards. Trusted: losing the first opens closed
 * chains again, until the log has told of their successors; losing the second costs the late records. One row a closed
 * chain; late records follow it one after the other, and never enter it or the log.
 */
export const SUCCESSIONS_SCHEMA = `
CREATE TABLE IF NOT EXISTS successions (
  device       INTEGER PRIMARY KEY REFERENCES devices,
  seq          INTEGER NOT NULL,
  successor    INTEGER NOT NULL UNIQUE REFERENCES devices,
  -- Empty where the log told of the successor and not a device.
  statement    BLOB NOT NULL,
  closed_at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS late (
  device         INTEGER NOT NULL REFERENCES successions,
  seq            INTEGER NOT NULL,
  id             BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL,
  PRIMARY KEY (device, seq)
) STRICT, WITHOUT ROWID;
`;

/** Late records kept of one chain: what a device sends in some days, at most 64 MiB. */
export const LATE_MAX_PER_DEVICE = 16_384;

/** How one chain was ended by its key. */
export interface StoredSuccession {
  /** The closed position that the statement names. */
  readonly seq: number;
  /** The store's number of the device that goes on. */
  readonly successor: number;
}

export interface LateRecord {
  readonly seq: number;
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
}

export class Successions {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    // PostgreSQL lets nobody ask for a table on a connection that only reads, be it there or not.
    const isThere =
      database.dialect === "postgres" &&
      database.prepare("SELECT to_regclass('public.late') IS NOT NULL").pluck().get() === true;
    if (!isThere) database.exec(SUCCESSIONS_SCHEMA);
    this.#statements = prepare(database);
  }

  /** Which succession closed the chain of `device`; undefined where it is open. */
  of(device: number): StoredSuccession | undefined {
    return this.#statements.of.get(device) as StoredSuccession | undefined;
  }

  /** Which chain `device` goes on from, and where that was closed; undefined where its key is a first one. */
  before(device: number): { readonly device: number; readonly seq: number } | undefined {
    return this.#statements.before.get(device) as { device: number; seq: number } | undefined;
  }

  /** Closes the chain of `device`. Call inside a transaction, after the successor was added. */
  close(device: number, succession: StoredSuccession, statement: Uint8Array, nowMs: number): void {
    this.#statements.add.run(device, succession.seq, succession.successor, statement, nowMs);
    this.#statements.markClosed.run(device);
  }

  /** The newest late record of a chain. */
  lateHead(device: number): LateRecord | undefined {
    return lateOf(this.#statements.lateHead.get(device) as LateRow | undefined);
  }

  lateAt(device: number, seq: number): LateRecord | undefined {
    return lateOf(this.#statements.lateAt.get(device, seq) as LateRow | undefined);
  }

  /** Late records of a chain from position `from` on, in their order, at most `limit`. */
  lateFrom(device: number, from: number, limit: number): LateRecord[] {
    return (this.#statements.lateFrom.all(device, from, limit) as LateRow[]).map((row) => lateOf(row)!);
  }

  countLate(device: number): number {
    return this.#statements.countLate.get(device) as number;
  }

  /** Keeps records that follow the closed chain and the late ones before them. Call inside a transaction. */
  keepLate(device: number, records: readonly NewRecord[], nowMs: number): void {
    for (const { seq, id, bytes } of records) this.#statements.addLate.run(device, seq, id, bytes, nowMs);
  }
}

interface LateRow {
  seq: number;
  id: Uint8Array;
  bytes: Uint8Array;
}

function lateOf(row: LateRow | undefined): LateRecord | undefined {
  return row && { seq: row.seq, id: plainBytes(row.id), bytes: plainBytes(row.bytes) };
}

function prepare(database: Database) {
  return {
    of: database.prepare("SELECT seq, successor FROM successions WHERE device = ?"),
    before: database.prepare("SELECT device, seq FROM successions WHERE successor = ?"),
    add: database.prepare(
      "INSERT INTO successions (device, seq, successor, statement, closed_at_ms) VALUES (?, ?, ?, ?, ?)",
    ),
    markClosed: database.prepare("UPDATE devices SET state = 'closed' WHERE device = ? AND state = 'active'"),
    lateHead: database.prepare("SELECT seq, id, bytes FROM late WHERE device = ? ORDER BY seq DESC LIMIT 1"),
    lateAt: database.prepare("SELECT seq, id, bytes FROM late WHERE device = ? AND seq = ?"),
    lateFrom: database.prepare("SELECT seq, id, bytes FROM late WHERE device = ? AND seq >= ? ORDER BY seq LIMIT ?"),
    countLate: database.prepare("SELECT count(*) FROM late WHERE device = ?").pluck(),
    addLate: database.prepare("INSERT INTO late (device, seq, id, bytes, received_at_ms) VALUES (?, ?, ?, ?, ?)"),
  };
}
