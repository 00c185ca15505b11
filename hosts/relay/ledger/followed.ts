import type { LedgerView } from "../anchoring.js";
import { isDatabaseError } from "../store/database.js";
import type { Sql as Database, SqlStatement } from "../store/sql.js";
import { ANVIL_CHAIN_ID } from "./anvil.js";
import { type AnchorRow, OutboxTables } from "./outbox-tables.js";

/** Ledgers that are looked into for an anchor, the one that was used last first. */
const LEDGERS_MAX = 16;

/**
 * Ledgers as a process knows them that has none: what whoever took checkpoints there, before this process or beside it on the
 * same database in PostgreSQL, has learnt and kept in the outbox's tables.
 */
export class FollowedLedger {
  readonly #database: Database;
  readonly #tables = new Map<string, OutboxTables>();
  /** Undefined while the tables are not there. */
  #names: SqlStatement | undefined;
  readonly #isThere: SqlStatement;
  #described: LedgerView | undefined;

  /** The tables may come to be there while this process runs. */
  constructor(database: Database) {
    this.#database = database;
    this.#isThere = database
      .prepare(
        database.dialect === "postgres"
          ? "SELECT 1 WHERE to_regclass('public.anchor') IS NOT NULL"
          : "SELECT 1 FROM sqlite_schema WHERE name = 'anchor'",
      )
      .pluck();
  }

  /** The first final anchor whose tree has at least `size` entries, of the ledger that was used last among those that have one. */
  finalFor(size: number): AnchorRow | undefined {
    for (const { tables } of this.#ledgers()) {
      const anchor = tables.firstFinalFrom(size);
      if (anchor) return anchor;
    }
    return undefined;
  }

  /** The name of the ledger that was used last; undefined where none ever was. */
  get name(): string | undefined {
    return this.#ledgers()[0]?.name;
  }

  /**
   * As the other process describes it; undefined before it has heard of its ledger for the first time. While the database is
   * away as it was told last: who the relay is does not depend on that.
   */
  describe(): LedgerView | undefined {
    try {
      this.#described = this.#describe();
    } catch (error) {
      if (!isDatabaseError(error)) throw error;
    }
    return this.#described;
  }

  #describe(): LedgerView | undefined {
    const [newest] = this.#ledgers();
    const chain = newest?.tables.identity()?.chain;
    if (newest === undefined || chain === undefined) return undefined;
    const { name } = newest;
    const id = Number(/^eip155:([0-9]+):/.exec(chain)?.[1]);
    return {
      name: id === ANVIL_CHAIN_ID ? "anvil development chain" : "evm",
      contract: name.slice(name.indexOf(":") + 1),
      ...(Number.isSafeInteger(id) && { chain_id: id }),
    };
  }

  /** That to which something was sent last comes first; each is found by its index, however many anchors there are. */
  #ledgers(): readonly { readonly name: string; readonly tables: OutboxTables }[] {
    if (!this.#names && this.#isThere.get() === undefined) return [];
    this.#names ??= this.#database
      .prepare(
        "SELECT l.ledger FROM anchor_ledger AS l ORDER BY " +
          "(SELECT opened_ms FROM anchor WHERE ledger = l.ledger ORDER BY slot DESC LIMIT 1) DESC NULLS LAST, l.ledger " +
          `LIMIT ${LEDGERS_MAX}`,
      )
      .pluck();
    const names = this.#names.all() as string[];
    return names.map((name) => {
      const tables = this.#tables.get(name) ?? new OutboxTables(this.#database, name);
      this.#tables.set(name, tables);
      return { name, tables };
    });
  }
}
