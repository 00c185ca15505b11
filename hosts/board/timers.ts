import type { Timer, Timers } from "tallystick/clock/clock";
import type { WirePort } from "./wire.js";

/** Timers set at one time. */
export const TIMERS_MAX = 64;

/** A timer that was set. */
class Entry implements Timer {
  readonly #timers: BoardTimers;
  readonly dueMs: number;
  #callback: (() => void) | undefined;

  constructor(timers: BoardTimers, dueMs: number, callback: () => void) {
    this.#timers = timers;
    this.dueMs = dueMs;
    this.#callback = callback;
  }

  /** The callback, if it was neither called nor cancelled; from then on it is. */
  take(): (() => void) | undefined {
    const callback = this.#callback;
    this.#callback = undefined;
    return callback;
  }

  cancel(): void {
    if (this.take() !== undefined) this.#timers.forget(this);
  }
}

/** All timers of a board over the wire's one: the earliest is told to the world whenever it changes. */
export class BoardTimers implements Timers {
  readonly #port: WirePort;
  /** By due time, then in the order of setting. */
  #entries: Entry[] = [];
  #announcedMs: number | undefined;
  #running = false;

  constructor(port: WirePort) {
    this.#port = port;
  }

  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs >= 0 && delayMs <= Number.MAX_SAFE_INTEGER))
      throw new RangeError(`delay: expected milliseconds, got ${delayMs}`);
    if (this.#entries.length >= TIMERS_MAX) throw new RangeError(`more than ${TIMERS_MAX} timers`);
    const dueMs = Math.min(this.#port.clock().uptimeMs + Math.ceil(delayMs), Number.MAX_SAFE_INTEGER);
    const entry = new Entry(this, dueMs, callback);
    let at = this.#entries.length;
    while (at > 0 && this.#entries[at - 1]!.dueMs > entry.dueMs) at--;
    this.#entries.splice(at, 0, entry);
    this.#announce();
    return entry;
  }

  /**
   * What is due now, for the `timer` event to call one after the other, and then to `announce`. What they set anew waits
   * for the next event, however short its delay.
   */
  takeDue(): readonly Entry[] {
    this.#announcedMs = undefined;
    const nowMs = this.#port.clock().uptimeMs;
    let count = 0;
    while (count < this.#entries.length && this.#entries[count]!.dueMs <= nowMs) count++;
    this.#running = true;
    return this.#entries.splice(0, count);
  }

  /** Tells the world the earliest time, where it is another than before. */
  announce(): void {
    this.#running = false;
    this.#announce();
  }

  /** What a timer's `cancel` calls. */
  forget(entry: Entry): void {
    const at = this.#entries.indexOf(entry);
    if (at >= 0) this.#entries.splice(at, 1);
    this.#announce();
  }

  #announce(): void {
    if (this.#running) return;
    const earliestMs = this.#entries[0]?.dueMs;
    if (earliestMs === this.#announcedMs) return;
    this.#announcedMs = earliestMs;
    this.#port.wake(earliestMs);
  }
}
