import { type Clock, ClockState, type Timers } from "tallystick/clock/clock";
import Time from "time";
import Timer from "timer";
import { board } from "./board.js";

/** No board was built before this: a clock that shows less has lost its time (2026-01-01T00:00Z). */
const EARLIEST_WALL_MS = 1_767_225_600_000;
/** The SDK's timers count 31 bits of milliseconds; half of that leaves room for its own arithmetic. */
const LONGEST_TIMER_MS = 0x3fffffff;

/** Wall time that the chip's RTC kept over a restart is `retained`; it is lost with the power. */
export function boardClock(): Clock {
  const startedAtMs = Date.now();
  let offsetMs = startedAtMs - board.uptimeMs();
  let state: ClockState = startedAtMs >= EARLIEST_WALL_MS ? ClockState.retained : ClockState.unset;
  return {
    uptimeMs: () => board.uptimeMs(),
    wallMs: () => (state === ClockState.unset ? undefined : offsetMs + board.uptimeMs()),
    get state() {
      return state;
    },
    set(wallMs, source) {
      offsetMs = wallMs - board.uptimeMs();
      state = source;
      // Whole seconds are all that Time.set takes: enough for a restart, not used while running.
      Time.set(Math.floor(wallMs / 1000));
    },
  };
}

export const boardTimers: Timers = {
  after(delayMs, callback) {
    let remainingMs = delayMs;
    let timer: Timer | undefined;
    const arm = (): void => {
      const stepMs = Math.min(remainingMs, LONGEST_TIMER_MS);
      remainingMs -= stepMs;
      timer = Timer.set(() => {
        timer = undefined;
        if (remainingMs > 0) arm();
        else callback();
      }, stepMs);
    };
    arm();
    return {
      cancel() {
        // The SDK throws on clearing a timer that has fired.
        if (timer !== undefined) Timer.clear(timer);
        timer = undefined;
      },
    };
  },
};
