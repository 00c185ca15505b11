import type { Failure } from "tallystick/codes/codes";
import type { RelayEvents } from "../events.js";
import type { Figures } from "../store/figures.js";
import type { Ladder } from "../store/ladder.js";
import { Fleet } from "./fleet.js";

/**
 * Looks after what no request shows: devices that are not heard, chains with more missing, a log or a ledger that does not
 * go on. Each finding is told when it begins, and again only after it had ended.
 */

/** Between two looks. */
export const WATCH_INTERVAL_MS = 5000;

export interface WatchLimits {
  /** Mark intervals for which a device may be quiet. Default 1. */
  readonly silenceIntervals?: number;
  /** Seconds for which a record may wait for its checkpoint. Default 120. */
  readonly logStuckS?: number;
  /** Seconds for which a checkpoint may wait to be final. Default 3600. */
  readonly ledgerStuckS?: number;
}

export const SILENCE_INTERVALS = 1;
/** What a mark may take on its way, beside its interval: this share of it, and no more than so many seconds. */
const MARK_DELAY_SHARE = 0.1;
const MARK_DELAY_MAX_S = 60;
export const LOG_STUCK_S = 120;
export const LEDGER_STUCK_S = 3600;

export interface WatchOptions extends WatchLimits {
  readonly figures: Figures;
  readonly ladder: Ladder;
  readonly events: RelayEvents;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Why nothing is taken in any more; undefined in health. */
  readonly logTrouble: () => Failure | undefined;
  /** What stands in the way of anchoring; null where there is no ledger. */
  readonly ledgerTrouble: () => Failure | undefined | null;
  readonly onFault: (error: unknown) => void;
}

/** For how long a device may be quiet that has announced this interval. */
export function quietMaxS(markIntervalS: number, silenceIntervals = SILENCE_INTERVALS): number {
  return silenceIntervals * markIntervalS + Math.min(MARK_DELAY_MAX_S, MARK_DELAY_SHARE * markIntervalS);
}

export class Watch {
  readonly fleet: Fleet;
  readonly #options: WatchOptions;
  readonly #silent = new Set<string>();
  #missing: ReadonlyMap<string, number> | undefined;
  #stuck = { log: false, ledger: false };
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.fleet = new Fleet(options.figures, options.nowMs());
  }

  /** Looks now, and every WATCH_INTERVAL_MS until it is closed. */
  start(): void {
    void this.look();
    this.#timer = setInterval(() => void this.look(), WATCH_INTERVAL_MS);
    // Nothing is lost where the process ends between two looks.
    this.#timer.unref();
  }

  /** One look. Calls at the same time share one; never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error) => this.#options.onFault(error))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    await this.fleet.look();
    if (this.#closed) return;
    this.#findSilence();
    this.#findGaps();
    this.#findStuckLog();
    this.#findStuckLedger();
  }

  #findSilence(): void {
    const { events, nowMs, silenceIntervals = SILENCE_INTERVALS } = this.#options;
    const silent = new Set<string>();
    for (const { kid, quietS, markIntervalS } of this.fleet.quiet(nowMs())) {
      if (quietS <= quietMaxS(markIntervalS, silenceIntervals)) continue;
      silent.add(kid);
      if (!this.#silent.has(kid)) events.emit({ event: "silence", kid, quietS: Math.floor(quietS), markIntervalS });
    }
    for (const kid of this.#silent) if (!silent.has(kid)) this.#silent.delete(kid);
    for (const kid of silent) this.#silent.add(kid);
  }

  /** What was missing when the relay started was told before, or is shown by the device's own page. */
  #findGaps(): void {
    const missing = this.#options.figures.missing();
    for (const [kid, count] of missing)
      if (this.#missing && count > (this.#missing.get(kid) ?? 0))
        this.#options.events.emit({ event: "gap", kid, missing: count });
    this.#missing = missing;
  }

  #findStuckLog(): void {
    const { events, figures, nowMs, logTrouble, logStuckS = LOG_STUCK_S } = this.#options;
    const { oldestMs } = figures.unlogged();
    const waitingS = oldestMs === undefined ? 0 : Math.floor((nowMs() - oldestMs) / 1000);
    const trouble = logTrouble();
    const isStuck = waitingS > logStuckS || trouble !== undefined;
    if (isStuck && !this.#stuck.log)
      events.emit({ event: "log-stuck", waitingS, ...(trouble && { code: trouble.code }) });
    this.#stuck.log = isStuck;
  }

  #findStuckLedger(): void {
    const { events, nowMs, ledgerTrouble, ledgerStuckS = LEDGER_STUCK_S } = this.#options;
    const trouble = ledgerTrouble();
    if (trouble === null) return;
    const waitingS = Math.floor(this.waitingS("final", nowMs()));
    const isStuck = waitingS > ledgerStuckS;
    if (isStuck && !this.#stuck.ledger)
      events.emit({ event: "ledger-stuck", waitingS, ...(trouble && { code: trouble.code }) });
    this.#stuck.ledger = isStuck;
  }

  /** For how long the oldest checkpoint that has not come to `step` has waited; 0 where none does. */
  waitingS(step: "submitted" | "final", nowMs: number): number {
    const { figures, ladder } = this.#options;
    const sinceMs = figures.loggedAfter(ladder.sizeAt(step));
    return sinceMs === undefined ? 0 : Math.max(0, nowMs - sinceMs) / 1000;
  }

  /** Ends the look under way. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#looking;
  }
}
