/** Time as the modules see it. Hosts provide both; nothing here reaches for `Date` or a global timer. */

/** Where wall time came from; the numbers are those of a record's `clock` field (record/SPEC.md). */
export const ClockState = { unset: 0, retained: 1, network: 2, relay: 3 } as const;
export type ClockState = (typeof ClockState)[keyof typeof ClockState];

export interface Clock {
  /** Whole milliseconds since this start of the board, monotonic; deep sleep does not restart it. */
  uptimeMs(): number;
  /** Wall time, whole milliseconds since 1970-01-01T00:00Z; undefined while `state` is unset. */
  wallMs(): number | undefined;
  readonly state: ClockState;
  /** Sets wall time, as told by `state`'s source. */
  set(wallMs: number, state: ClockState): void;
}

/** A timer that has been set; `cancel` after it fired does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls `callback` once, not before `delayMs` milliseconds have passed. */
  after(delayMs: number, callback: () => void): Timer;
}
