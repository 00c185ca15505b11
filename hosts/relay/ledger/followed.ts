import type { Sql as Database } from "../store/sql.js";
import { type AnchorRow, OutboxTables } from "./outbox-tables.js";

/**
 * Final anchors as a process reads them that has no ledger: another one, beside it on the same database, takes checkpoints
 * there and keeps the proofs in the outbox's tables.
 */
export class FollowedAnchors {
  readonly #database: Database;
  readonly #tables = new Map<string, OutboxTables>();
  #isThere = false;

  /** `database`: in PostgreSQL, where the tables may come to be there while this process runs. */
  constructor(database: Database) {
    this.#database = database;
  }

  /** The first final anchor whose tree has at least `size` entries, of the ledger that was written to last. */
  finalFor(size: number): AnchorRow | undefined {
    this.#isThere ||= this.#database.prepare("SELECT to_regclass('public.anchor') IS NOT NULL").pluck().get() === true;
    if (!this.#isThere) return undefined;
    const ledger = this.#database
      .prepare("SELECT ledger FROM anchor ORDER BY opened_ms DESC, ledger LIMIT 1")
      .pluck()
      .get() as string | undefined;
    if (ledger === undefined) return undefined;
    const tables = this.#tables.get(ledger) ?? new OutboxTables(this.#database, ledger);
    this.#tables.set(ledger, tables);
    return tables.firstFinalFrom(size);
  }
}
