import { equalBytes } from "tallystick/bytes/bytes";
import type { Head } from "tallystick/chain/chain";
import type { Kind } from "tallystick/record/record";
import type { ErasedRecord, Erasure } from "../log/erasures.js";
import { type Database, plainBytes, type SqliteDatabase } from "./database.js";

/**
 * Records whose bytes were erased on request: who decided what and why, and what is kept of each record. A decision is in
 * here before anything of it is done, and `doneAtMs` when nothing of the bytes is left; between the two it is carried out,
 * by whichever process has the folder. Trusted; log/lock/erasures says the same once a decision is carried out in the log.
 */

/** One decision, as operators see it. */
export interface ErasureSummary extends Omit<Erasure, "records"> {
  readonly records: number;
  readonly doneAtMs: number | undefined;
}

/** What is known of one erased record. */
export interface KeptRecord extends ErasedRecord {
  readonly kid: Uint8Array;
  readonly reason: string;
  readonly askedAtMs: number;
}

export class ErasureStore {
  readonly #database: Database;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#database = database;
    this.#statements = prepare(database);
  }

  /** Every decision, oldest first. */
  summaries(): ErasureSummary[] {
    return (this.#statements.erasures.all() as ErasureRow[]).map(({ done_at_ms, records, ...row }) => ({
      ...erasureOf(row),
      records,
      doneAtMs: done_at_ms ?? undefined,
    }));
  }

  /** Decisions that are carried out, or still to be, with their records. */
  all(which: "done" | "unfinished"): Erasure[] {
    const wanted = this.summaries().filter(({ doneAtMs }) => (doneAtMs !== undefined) === (which === "done"));
    return wanted.map(({ doneAtMs: _, ...erasure }) => ({ ...erasure, records: this.#recordsOf(erasure.number) }));
  }

  get hasUnfinished(): boolean {
    return this.#statements.unfinished.get() !== undefined;
  }

  has(number: number): boolean {
    return this.#statements.has.get(number) !== undefined;
  }

  nextNumber(): number {
    return (this.#statements.newest.get() as number) + 1;
  }

  countRecords(): number {
    return this.#statements.count.get() as number;
  }

  /** Keeps a decision; records that an earlier one has erased stay its own. Call inside `Store.transaction`. */
  add({ number, kid, from, to, reason, by, askedAtMs, records }: Erasure): void {
    this.#statements.add.run(number, kid, from, to, reason, by, askedAtMs);
    for (const { id, seq, entry, prev, kind, boot, uptimeMs } of records)
      this.#statements.addRecord.run(id, number, kid, seq, entry ?? null, prev, kind, boot, uptimeMs);
  }

  /** What is kept of a record that was erased, or is about to be; undefined of any other. */
  record(id: Uint8Array): KeptRecord | undefined {
    const row = this.#statements.record.get(id) as (RecordRow & { reason: string; asked_at_ms: number }) | undefined;
    return row && { ...recordOf(row), kid: plainBytes(row.kid), reason: row.reason, askedAtMs: row.asked_at_ms };
  }

  /** The lowest position of a chain above `head` and up to `last` that was erased, or is about to be; undefined without one. */
  lowestBetween(kid: Uint8Array, head: number, last: number): number | undefined {
    return (this.#statements.lowestBetween.get(kid, head, last) as number | null) ?? undefined;
  }

  /** What the record that follows an erased one is held against. */
  headOf(id: Uint8Array): Head | undefined {
    const kept = this.record(id);
    return kept && { ...kept, kind: kept.kind as Kind };
  }

  /** Leaves nothing of the bytes of these erasures in any row. Call inside `Store.transaction`. */
  blank(erasures: readonly Erasure[]): void {
    for (const { kid, records } of erasures) {
      const device = this.#statements.device.get(kid) as number | undefined;
      for (const { id, seq } of records) {
        this.#statements.blankFork.run(NOTHING, id);
        if (device === undefined) continue;
        this.#statements.blankRecord.run(NOTHING, device, seq, id);
        this.#statements.blankLate.run(NOTHING, device, seq, id);
      }
    }
  }

  /** Nothing is left of them. Call inside `Store.transaction`. */
  finished(erasures: readonly Erasure[], nowMs: number): void {
    for (const { number } of erasures) this.#statements.finish.run(nowMs, number);
  }

  /**
   * Writes the database anew, without what its free pages and the slack of others still hold, and empties the write-ahead
   * log. False where another connection reads just now: then it is to be done again. Call outside of any transaction.
   * In PostgreSQL only tables of up to COMPACTED_MAX_BYTES: a larger one would be locked for longer than a statement may take,
   * and is the operator's to write anew, as is what is archived of the server's write-ahead log.
   */
  compact(): boolean {
    if (this.#database.dialect === "postgres") {
      for (const table of TABLES_WITH_BYTES) {
        const bytes = this.#database.prepare(`SELECT pg_total_relation_size('${table}')`).pluck().get() as number;
        if (bytes <= COMPACTED_MAX_BYTES) this.#database.exec(`VACUUM FULL ${table}`);
      }
      return true;
    }
    this.#database.exec("VACUUM");
    const [checkpoint] = (this.#database as SqliteDatabase).pragma("wal_checkpoint(TRUNCATE)") as { busy: number }[];
    return checkpoint?.busy === 0;
  }

  #recordsOf(number: number): ErasedRecord[] {
    return (this.#statements.recordsOf.all(number) as RecordRow[]).map(recordOf);
  }
}

/** A row whose bytes were erased has none: a record never is empty. */
export function isErased({ bytes }: { readonly bytes: Uint8Array }): boolean {
  return bytes.length === 0;
}

/** Whether an erased record names `prev` as its predecessor, and follows `head` in starts and uptime. */
export function erasedFollows(head: Head | undefined, { prev, seq, boot, uptimeMs }: KeptRecord): boolean {
  if (head?.seq !== seq - 1) return true;
  return equalBytes(prev, head.id) && (boot > head.boot || (boot === head.boot && uptimeMs >= head.uptimeMs));
}

const NOTHING = Buffer.alloc(0);
/** Of a table in PostgreSQL that the relay itself writes anew: about a second's work. */
const COMPACTED_MAX_BYTES = 64 * 1024 * 1024;
const TABLES_WITH_BYTES = ["records", "late", "forks"] as const;

interface ErasureRow {
  erasure: number;
  kid: Buffer;
  first: number;
  last: number;
  reason: string;
  by_whom: string;
  asked_at_ms: number;
  done_at_ms: number | null;
  records: number;
}

interface RecordRow {
  id: Buffer;
  kid: Buffer;
  seq: number;
  entry: number | null;
  prev: Buffer;
  kind: number;
  boot: number;
  uptime_ms: number;
}

function erasureOf(row: Omit<ErasureRow, "records" | "done_at_ms">): Omit<Erasure, "records"> {
  return {
    number: row.erasure,
    kid: plainBytes(row.kid),
    from: row.first,
    to: row.last,
    reason: row.reason,
    by: row.by_whom,
    askedAtMs: row.asked_at_ms,
  };
}

function recordOf(row: RecordRow): ErasedRecord {
  return {
    seq: row.seq,
    id: plainBytes(row.id),
    entry: row.entry ?? undefined,
    prev: plainBytes(row.prev),
    kind: row.kind,
    boot: row.boot,
    uptimeMs: row.uptime_ms,
  };
}

function prepare(database: Database) {
  return {
    erasures: database.prepare(
      "SELECT erasures.*, (SELECT count(*) FROM erased WHERE erased.erasure = erasures.erasure) AS records " +
        "FROM erasures ORDER BY erasure",
    ),
    unfinished: database.prepare("SELECT 1 FROM erasures WHERE done_at_ms IS NULL LIMIT 1"),
    has: database.prepare("SELECT 1 FROM erasures WHERE erasure = ?"),
    newest: database.prepare("SELECT coalesce(max(erasure), 0) FROM erasures").pluck(),
    count: database.prepare("SELECT count(*) FROM erased").pluck(),
    add: database.prepare(
      "INSERT INTO erasures (erasure, kid, first, last, reason, by_whom, asked_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    addRecord: database.prepare(
      "INSERT INTO erased (id, erasure, kid, seq, entry, prev, kind, boot, uptime_ms) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    ),
    record: database.prepare(
      "SELECT erased.*, reason, asked_at_ms FROM erased JOIN erasures ON erasures.erasure = erased.erasure WHERE id = ?",
    ),
    // What is erased beside a chain at one of its positions goes with the chain's own record there.
    lowestBetween: database.prepare("SELECT min(seq) FROM erased WHERE kid = ? AND seq > ? AND seq <= ?").pluck(),
    recordsOf: database.prepare("SELECT * FROM erased WHERE erasure = ? ORDER BY seq, id"),
    device: database.prepare("SELECT device FROM devices WHERE kid = ?").pluck(),
    blankRecord: database.prepare("UPDATE records SET bytes = ? WHERE device = ? AND seq = ? AND id = ?"),
    blankLate: database.prepare("UPDATE late SET bytes = ? WHERE device = ? AND seq = ? AND id = ?"),
    blankFork: database.prepare("UPDATE forks SET bytes = ? WHERE id = ?"),
    finish: database.prepare("UPDATE erasures SET done_at_ms = ? WHERE erasure = ?"),
  };
}
