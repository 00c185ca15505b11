import { fail } from "tallystick/codes/codes";
import type { Refusal } from "./problem.js";

/** What a key may bring: whoever holds it, or has stolen it, fills the disk no faster. */

/** Records of one key at once: a month of a device that records each half minute. Then so many a second. */
export const KEY_BURST_RECORDS = 100_000;
export const KEY_RECORDS_PER_SECOND = 50;

export interface KeyBudgetOptions {
  /** Default KEY_BURST_RECORDS. */
  readonly burst?: number;
  /** Default KEY_RECORDS_PER_SECOND. */
  readonly perSecond?: number;
}

export interface KeyBudgets {
  /** Why nothing of the device is taken now. KEY_BUDGET_SPENT, with when to come again. */
  refusal(device: number): Refusal | undefined;
  /**
   * The device has brought `records`. Called inside of the transaction that stores them; what is returned is called once that
   * is durable.
   */
  owe(device: number, records: number): (() => void) | undefined;
}

/** Undefined where there is room for one record at least. */
export function refusalOf(
  owed: number,
  { burst = KEY_BURST_RECORDS, perSecond = KEY_RECORDS_PER_SECOND }: KeyBudgetOptions,
): Refusal | undefined {
  const over = owed - (burst - 1);
  if (over <= 0) return undefined;
  const detail = `expected at most ${burst} records of one key at once, and ${perSecond} a second`;
  return { ...fail("KEY_BUDGET_SPENT", detail), retryAfterS: Math.ceil(over / perSecond) };
}

/** Of one process: a debt of records that time pays back, an entry for each device that owes. */
export class OwnKeyBudgets implements KeyBudgets {
  readonly #nowMs: () => number;
  readonly #options: KeyBudgetOptions;
  readonly #debts = new Map<number, { owed: number; atMs: number }>();

  /** `nowMs`: of a clock that is never set back. */
  constructor(nowMs: () => number, options: KeyBudgetOptions = {}) {
    this.#nowMs = nowMs;
    this.#options = options;
  }

  refusal(device: number): Refusal | undefined {
    return refusalOf(this.#owed(device), this.#options);
  }

  owe(device: number, records: number): (() => void) | undefined {
    if (records === 0) return undefined;
    return () => this.#debts.set(device, { owed: this.#owed(device) + records, atMs: this.#nowMs() });
  }

  #owed(device: number): number {
    const debt = this.#debts.get(device);
    if (!debt) return 0;
    const { perSecond = KEY_RECORDS_PER_SECOND } = this.#options;
    const owed = debt.owed - (Math.max(0, this.#nowMs() - debt.atMs) / 1000) * perSecond;
    if (owed <= 0) this.#debts.delete(device);
    return Math.max(0, owed);
  }
}
