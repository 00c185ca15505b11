import { type Failure, fail } from "tallystick/codes/codes";
import type { Log } from "./log/log.js";
import { isCorruption, isDatabaseError, tellable } from "./store/database.js";

/** Keeps the log going while the relay runs: new records enter it in rounds, and a failed round is tried again. */

/** Least time between two checkpoints. */
export const BATCH_INTERVAL_MS = 1000;

export interface PublicationOptions {
  readonly log: Log;
  /** Looks for records by itself, each interval, since others write them without a word. */
  readonly looks?: boolean;
  readonly intervalMs: number;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly onFailure: (failure: Failure) => void;
  /** Something was thrown: answers what it shows of damage, against which no retry helps. */
  readonly onFault: (error: unknown) => Failure | undefined;
}

export class Publication {
  /** Why the last round failed; undefined while rounds succeed. */
  failure: Failure | undefined;
  #failingSinceMs = 0;
  readonly #options: PublicationOptions;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PublicationOptions) {
    this.#options = options;
  }

  /** There are records to log: they will be, within an interval. */
  wake(): void {
    if (this.#timer || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#round();
    }, this.#options.intervalMs);
  }

  /**
   * What has kept the log from advancing for half of the time within which it promises to: a record that is taken in
   * now would be promised what nobody can tell will be kept.
   */
  overdue(nowMs: number, logWithinMs: number): Failure | undefined {
    return this.failure && nowMs - this.#failingSinceMs > logWithinMs / 2 ? this.failure : undefined;
  }

  async #round(): Promise<void> {
    if (this.#closed) return;
    const result = await this.#sequence();
    if (!result.ok && this.failure === undefined) this.#failingSinceMs = this.#options.nowMs();
    this.failure = result.ok ? undefined : result.failure;
    if (result.ok ? this.#options.looks : result.passes) this.wake();
  }

  /** `passes`: trying again may help. */
  async #sequence(): Promise<{ ok: true } | { ok: false; failure: Failure; passes: boolean }> {
    const { log, onFailure, onFault } = this.#options;
    try {
      const result = await log.sequence();
      if (result.ok) return { ok: true };
      onFailure(result.failure);
      return { ok: false, failure: result.failure, passes: true };
    } catch (error) {
      // A full disk, or a server that is away: it passes, a damaged record does not.
      if (isDatabaseError(error) && !isCorruption(error)) {
        const { failure } = fail("STORE_FAILED", tellable(error));
        onFailure(failure);
        return { ok: false, failure, passes: true };
      }
      const damage = onFault(error);
      return { ok: false, failure: damage ?? fail("RELAY_FAULT", "see the relay's log").failure, passes: !damage };
    }
  }

  /** Logs what is durable now and stops. A failure is told, not thrown: what is not logged is logged at the next start. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    // A run under way may have looked before the last record came: only the second is sure to have seen all.
    await this.#round();
    await this.#round();
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
