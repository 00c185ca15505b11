import type { LedgerView } from "../anchoring.js";
import { isDatabaseError } from "../store/database.js";
import type { Sql as Database } from "../store/sql.js";
import { ANVIL_CHAIN_ID } from "./anvil.js";
import { type AnchorRow, OutboxTables } from "./outbox-tables.js";

/**
 * The ledger as a process knows it that has none: another one, beside it on the same database in PostgreSQL, takes checkpoints
 * there, and keeps what it has learnt in the outbox's tables.
 */
export class FollowedLedger {
  readonly #database: Database;
  readonly #tables = new Map<string, OutboxTables>();
  #isThere = false;
  #described: LedgerView | undefined;

  /** The tables may come to be there while this process runs. */
  constructor(database: Database) {
    this.#database = database;
  }

  /** The first final anchor whose tree has at least `size` entries. */
  finalFor(size: number): AnchorRow | undefined {
    return this.#newest()?.tables.firstFinalFrom(size);
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
    const { name, tables } = this.#newest() ?? {};
    const chain = tables?.identity()?.chain;
    if (name === undefined || chain === undefined) return undefined;
    const id = Number(/^eip155:([0-9]+):/.exec(chain)?.[1]);
    return {
      name: id === ANVIL_CHAIN_ID ? "anvil development chain" : "evm",
      contract: name.slice(name.indexOf(":") + 1),
      ...(Number.isSafeInteger(id) && { chain_id: id }),
    };
  }

  /** That to which something was sent last; each is found by its index, however many anchors there are. */
  #newest(): { readonly name: string; readonly tables: OutboxTables } | undefined {
    this.#isThere ||= this.#database.prepare("SELECT to_regclass('public.anchor') IS NOT NULL").pluck().get() === true;
    if (!this.#isThere) return undefined;
    const name = this.#database
      .prepare(
        "SELECT l.ledger FROM anchor_ledger AS l LEFT JOIN LATERAL " +
          "(SELECT opened_ms FROM anchor WHERE ledger = l.ledger ORDER BY slot DESC LIMIT 1) AS a ON true " +
          "ORDER BY a.opened_ms DESC NULLS LAST, l.ledger LIMIT 1",
      )
      .pluck()
      .get() as string | undefined;
    if (name === undefined) return undefined;
    const tables = this.#tables.get(name) ?? new OutboxTables(this.#database, name);
    this.#tables.set(name, tables);
    return { name, tables };
  }
}
