import { KEY_RECORDS_PER_SECOND, type KeyBudgetOptions, type KeyBudgets, refusalOf } from "../../key-budgets.js";
import type { Refusal } from "../../problem.js";
import type { Sql, SqlStatement } from "../sql.js";

/**
 * What keys have brought, for all processes of a relay together: a row for each device that ever brought a record, written in
 * the transaction that stores it, so that it costs a statement and no wait.
 *
 * Unlogged: after a crash of the server it is empty, and every key begins anew, as it does with a process that has it in its
 * memory. No proof and no promise rests on it, and so it is no step of the schema.
 */
export const KEY_BUDGETS =
  "CREATE UNLOGGED TABLE IF NOT EXISTS key_budgets " +
  "(device BIGINT PRIMARY KEY, owed DOUBLE PRECISION NOT NULL, at_ms DOUBLE PRECISION NOT NULL)";

/** Unless a caller brings a clock, the server's, which all processes share; where it is set back, nothing is paid meanwhile. */
const NOW_MS = "coalesce(CAST(? AS DOUBLE PRECISION), extract(epoch FROM clock_timestamp()) * 1000)";
/** Debts come back in thousandths: whole numbers are what the store reads. */
const PARTS = 1000;

export interface SharedKeyBudgetOptions extends KeyBudgetOptions {
  readonly nowMs?: () => number;
}

export class SharedKeyBudgets implements KeyBudgets {
  readonly #options: SharedKeyBudgetOptions;
  readonly #perMs: number;
  readonly #read: SqlStatement;
  readonly #add: SqlStatement;

  constructor(database: Sql, options: SharedKeyBudgetOptions = {}) {
    this.#options = options;
    this.#perMs = (options.perSecond ?? KEY_RECORDS_PER_SECOND) / 1000;
    const left = (now: string) =>
      `greatest(0, key_budgets.owed - greatest(0, ${now} - key_budgets.at_ms) * CAST(? AS DOUBLE PRECISION))`;
    this.#read = database
      .prepare(
        `SELECT CAST(ceil(${left("now.ms")} * ${PARTS}) AS BIGINT) ` +
          `FROM key_budgets, (SELECT ${NOW_MS} AS ms) AS now WHERE device = ?`,
      )
      .pluck();
    this.#add = database.prepare(
      `INSERT INTO key_budgets (device, owed, at_ms) VALUES (?, ?, ${NOW_MS}) ON CONFLICT (device) DO UPDATE SET ` +
        `owed = ${left("excluded.at_ms")} + excluded.owed, at_ms = greatest(key_budgets.at_ms, excluded.at_ms)`,
    );
  }

  refusal(device: number): Refusal | undefined {
    const parts = this.#read.get(this.#perMs, this.#nowMs(), device) as number | undefined;
    return parts === undefined ? undefined : refusalOf(parts / PARTS, this.#options);
  }

  owe(device: number, records: number): undefined {
    if (records > 0) this.#add.run(device, records, this.#nowMs(), this.#perMs);
    return undefined;
  }

  #nowMs(): number | null {
    return this.#options.nowMs?.() ?? null;
  }
}
