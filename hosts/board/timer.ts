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
export function sdkTimersOver(timers: Timers) {
  let lastId = 0;

  const arm = (entry: Entry, delayMs: number): void => {
    entry.timer = timers.after(delayMs, () => {
      entry.timer = undefined;
      if (entry.repeatMs !== undefined) arm(entry, entry.repeatMs);
      entry.callback(entry);
    });
  };

  const make = (callback: (timer: SDKTimer) => void, delayMs: number, repeatMs: number | undefined): SDKTimer => {
    const entry: Entry = { id: ++lastId, callback, repeatMs, timer: undefined };
    arm(entry, delayMs);
    return entry;
  };

  return {
    /** Calls back after `delayMs`, and then every `repeatMs` where that is given and not 0. */
    set: (callback: (timer: SDKTimer) => void, delayMs = 0, repeatMs = 0): SDKTimer =>
      make(callback, delayMs, repeatMs === 0 ? undefined : repeatMs),
    repeat: (callback: (timer: SDKTimer) => void, intervalMs: number): SDKTimer =>
      make(callback, intervalMs, intervalMs),
    /** Sets a timer anew; without a delay it stays, but does not fire until it is scheduled again. */
    schedule: (timer: SDKTimer, delayMs?: number, repeatMs = 0): void => {
      const entry = timer as Entry;
      entry.timer?.cancel();
      entry.timer = undefined;
      entry.repeatMs = repeatMs === 0 ? undefined : repeatMs;
      if (delayMs !== undefined) arm(entry, delayMs);
    },
    clear: (timer: SDKTimer | undefined | null): void => {
      const entry = timer as Entry | undefined | null;
      if (!entry) return;
      entry.repeatMs = undefined;
      entry.timer?.cancel();
      entry.timer = undefined;
    },
  };
}
