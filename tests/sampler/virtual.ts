import { type Clock, ClockState, type Timer, type Timers } from "tallystick/clock/clock";
import type { Sample, Sensor } from "tallystick/sensors/sensor";

/** Uptime, wall clock and timers of a board on which time passes only when a test says so. */
export class VirtualBoard implements Clock, Timers {
  state: ClockState = ClockState.unset;
  #nowMs = 0;
  #wallOffsetMs = 0;
  #order = 0;
  readonly #timers: { dueMs: number; order: number; callback: () => void }[] = [];

  uptimeMs(): number {
    return this.#nowMs;
  }

  wallMs(): number | undefined {
    return this.state === ClockState.unset ? undefined : this.#nowMs + this.#wallOffsetMs;
  }

  set(wallMs: number, state: ClockState): void {
    this.#wallOffsetMs = wallMs - this.#nowMs;
    this.state = state;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        const at = this.#timers.indexOf(timer);
        if (at >= 0) this.#timers.splice(at, 1);
      },
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Lets `ms` pass and runs what falls due, in order, each `lateMs()` after it was due. */
  run(ms: number, lateMs: () => number = () => 0): void {
    const untilMs = this.#nowMs + ms;
    for (let steps = 0; steps < 1_000_000; steps++) {
      this.#timers.sort((a, b) => a.dueMs - b.dueMs || a.order - b.order);
      const next = this.#timers[0];
      if (!next || next.dueMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return;
      }
      this.#timers.shift();
      this.#nowMs = Math.max(this.#nowMs, next.dueMs + lateMs());
      next.callback();
    }
    throw new Error("timers without end");
  }

  /** The board is busy with something else: time passes and no timer runs. */
  block(ms: number): void {
    this.#nowMs += ms;
  }
}

/** A maker's own driver: ECMA-419 and nothing more. */
export class Thermometer implements Sensor {
  readonly identification = { model: "Test T1", classification: "Temperature" };
  readonly configuration = {};
  closed = 0;
  constructor(public next: () => Sample | undefined = () => ({ temperature: 21.5 })) {}
  configure(): void {}
  sample(): Sample | undefined {
    return this.next();
  }
  close(): void {
    this.closed++;
  }
}

/** One that has to be triggered and takes its time, as the drivers here do. */
export class SlowThermometer extends Thermometer {
  triggeredMs: number[] = [];
  constructor(
    private readonly board: VirtualBoard,
    readonly conversionMs: number,
  ) {
    super();
  }
  trigger(): void {
    this.triggeredMs.push(this.board.uptimeMs());
  }
  override sample(): Sample | undefined {
    return this.board.uptimeMs() - this.triggeredMs.at(-1)! >= this.conversionMs ? this.next() : undefined;
  }
}
