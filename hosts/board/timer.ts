import type { Timer, Timers } from "tallystick/clock/clock";

/** What `Timer.set` and `Timer.repeat` of the SDK give back. */
export interface SDKTimer {
  readonly id: number;
}

interface Entry extends SDKTimer {
  readonly callback: (timer: SDKTimer) => void;
  repeatMs: number | undefined;
  timer: Timer | undefined;
}

/** The SDK's `timer` module over a board's timers. It has no `delay`: a simulated board's time passes between events only. */
export class SDKTimers {
  readonly #timers: Timers;
  #lastId = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Calls back after `delayMs`, and then every `repeatMs` where that is given and not 0. */
  set(callback: (timer: SDKTimer) => void, delayMs = 0, repeatMs = 0): SDKTimer {
    const entry: Entry = {
      id: ++this.#lastId,
      callback,
      repeatMs: repeatMs === 0 ? undefined : repeatMs,
      timer: undefined,
    };
    this.#arm(entry, delayMs);
    return entry;
  }

  repeat(callback: (timer: SDKTimer) => void, intervalMs: number): SDKTimer {
    return this.set(callback, intervalMs, intervalMs);
  }

  /** Sets a timer anew; without a delay it stays, but does not fire until it is scheduled again. */
  schedule(timer: SDKTimer, delayMs?: number, repeatMs = 0): void {
    const entry = timer as Entry;
    this.clear(entry);
    entry.repeatMs = repeatMs === 0 ? undefined : repeatMs;
    if (delayMs !== undefined) this.#arm(entry, delayMs);
  }

  clear(timer: SDKTimer | undefined | null): void {
    const entry = timer as Entry | undefined | null;
    if (!entry) return;
    entry.repeatMs = undefined;
    entry.timer?.cancel();
    entry.timer = undefined;
  }

  #arm(entry: Entry, delayMs: number): void {
    entry.timer = this.#timers.after(delayMs, () => {
      entry.timer = undefined;
      if (entry.repeatMs !== undefined) this.#arm(entry, entry.repeatMs);
      entry.callback(entry);
    });
  }
}
