import { ResetReason } from "../board/wire.js";
import type { Instance, Lane } from "./lane.js";
import type { Trace } from "./trace.js";
import { Start, type StartEnd } from "./world/start.js";
import type { World } from "./world/world.js";

/** After a crash a board is started again this much later, as a boot loader takes its time. */
export const CRASH_RESTART_MS = 1_000;
/** So many crashes in a row, each within CRASH_LOOP_MS of its start, and the board stays off. */
export const CRASHES_MAX = 5;
export const CRASH_LOOP_MS = 60_000;
/** Events that wait while a board is busy. Only edges can be more than this; they are dropped and counted. */
export const EVENTS_WAITING_MAX = 256;

/** How a start ended; a crash is an exception or a rejection that nobody handled, or the engine's own limits. */
export type End = StartEnd | { readonly kind: "crash"; readonly error: unknown };

export type SimulationState =
  /** No power: before `powerOn`, after a cut or `stop`. */
  | "off"
  | "running"
  /** Deep sleep, or between a reset and the next start. */
  | "waiting"
  /** Crashed too often; `powerOn` tries again. */
  | "halted";

export interface SimulationOptions {
  readonly world: World;
  readonly lane: Lane;
  readonly trace?: Trace;
  readonly onPrint?: (line: string) => void;
  /** Told of each end of a start, after the instance is gone and before the next start. */
  readonly onEnd?: (end: End) => void;
}

/** One simulated board in its world: it boots, delivers events, and starts again after resets, sleeps and crashes. */
export class Simulation {
  readonly #options: SimulationOptions;
  #state: SimulationState = "off";
  #start: Start | undefined;
  #instance: Instance | undefined;
  #startedAtMs = 0;
  #uptimeFromMs = 0;
  #crashes = 0;
  #cancelNext: (() => void) | undefined;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** Starts so far. */
  starts = 0;
  /** Edges that came faster than the board took them. */
  eventsDropped = 0;
  lastEnd: End | undefined;

  constructor(options: SimulationOptions) {
    this.#options = options;
  }

  get state(): SimulationState {
    return this.#state;
  }

  /** Milliseconds since this start; undefined while none runs. */
  get uptimeMs(): number | undefined {
    return this.#start?.uptimeMs();
  }

  /** The running instance, for what a lane tells beyond the wire; undefined while none runs. */
  get instance(): Instance | undefined {
    return this.#instance;
  }

  /** Turns the board on; resolves when its start is idle, or has ended. */
  powerOn(): Promise<void> {
    return this.#then(async () => {
      if (this.#state !== "off" && this.#state !== "halted") return;
      this.#crashes = 0;
      const { world } = this.#options;
      if (world.entropy.reproducible) this.#options.onPrint?.("entropy is seeded: this board's keys protect nothing");
      await this.#boot(ResetReason.powerOn, world.time.nowMs());
    });
  }

  /** Cuts the power between two events. World.power cuts it within an operation. */
  cutPower(): Promise<void> {
    return this.#then(() => {
      if (this.#state !== "off") this.#ended({ kind: "power-cut" });
    });
  }

  /** Resolves when everything that was delivered so far is done. */
  idle(): Promise<void> {
    return this.#work;
  }

  #then(work: () => void | Promise<void>): Promise<void> {
    this.#work = this.#work.then(work);
    return this.#work;
  }

  async #boot(resetReason: number, uptimeFromMs: number): Promise<void> {
    const { world, lane, trace } = this.#options;
    const start = new Start(world, {
      resetReason,
      uptimeFromMs,
      deliver: (event) => this.#deliver(start, event),
      onPrint: (line) => this.#options.onPrint?.(line),
    });
    this.#start = start;
    this.#startedAtMs = world.time.nowMs();
    this.#uptimeFromMs = uptimeFromMs;
    this.#state = "running";
    this.starts += 1;
    trace?.add(`start ${resetReason}`);
    await this.#run(start, async () => {
      this.#instance = await lane.boot(trace === undefined ? start.call : trace.recording(start.call));
    });
  }

  #deliver(start: Start, event: Uint8Array): Promise<void> {
    if (this.#waiting >= EVENTS_WAITING_MAX) {
      this.eventsDropped += 1;
      return Promise.resolve();
    }
    this.#waiting += 1;
    return this.#then(async () => {
      this.#waiting -= 1;
      const instance = this.#instance;
      if (this.#start !== start || instance === undefined) return;
      this.#options.trace?.event(event);
      await this.#run(start, () => instance.event(event));
    });
  }

  /** Whatever way a start ended, the wire knows best: what it threw has travelled through the board's own code. */
  async #run(start: Start, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#ended(start.end ?? { kind: "crash", error });
      return;
    }
    if (start.end !== undefined) this.#ended(start.end);
  }

  #ended(end: End): void {
    const { world, trace } = this.#options;
    const nowMs = world.time.nowMs();
    this.#instance?.discard();
    this.#instance = undefined;
    this.#start?.close();
    this.#start = undefined;
    this.#cancelNext?.();
    this.#cancelNext = undefined;
    this.lastEnd = end;
    trace?.add(`end ${end.kind}`);
    switch (end.kind) {
      case "power-cut":
        world.clock = undefined;
        this.#state = "off";
        break;
      case "restart":
        this.#bootAt(nowMs, ResetReason.software, undefined);
        break;
      case "sleep":
        this.#bootAt(nowMs + end.durationMs, ResetReason.deepSleep, this.#uptimeFromMs);
        break;
      case "crash":
        this.#crashes = nowMs - this.#startedAtMs < CRASH_LOOP_MS ? this.#crashes + 1 : 1;
        if (this.#crashes >= CRASHES_MAX) this.#state = "halted";
        else this.#bootAt(nowMs + CRASH_RESTART_MS, ResetReason.crash, undefined);
    }
    this.#options.onEnd?.(end);
  }

  #bootAt(timeMs: number, resetReason: number, uptimeFromMs: number | undefined): void {
    this.#state = "waiting";
    this.#cancelNext = this.#options.world.time.at(timeMs, () =>
      this.#then(async () => {
        if (this.#state !== "waiting") return;
        this.#cancelNext = undefined;
        await this.#boot(resetReason, uptimeFromMs ?? this.#options.world.time.nowMs());
      }),
    );
  }
}
