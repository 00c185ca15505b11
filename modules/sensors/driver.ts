import { BusChip } from "./bus.js";
import type { Fault, Identification, Sample, SampleFaults, Sensor, SensorOptions } from "./sensor.js";

/** What a step of a driver came to, where it is not done: "again" asks for the same step `conversionMs` later. */
export type Unfinished = Fault | "again";

/**
 * The course of every driver here: reset, identify, then measure and collect for each sample. A driver fills in the
 * four steps; none of them waits. After a fault the next `trigger()` starts over with a reset, because by then the chip
 * may have lost its supply or be another one.
 */
export abstract class Driver implements Sensor {
  protected readonly chip: BusChip;
  /** Set by each step to the time that the next one has to wait for. */
  conversionMs = 0;
  #onConfiguration: (() => void) | undefined;
  #state: "cold" | "starting" | "idle" | "measuring" = "cold";
  #fault: Fault | undefined;

  constructor(options: SensorOptions, defaults: { readonly address: number; readonly hz: number }) {
    this.chip = new BusChip(options.sensor, defaults);
    this.#onConfiguration = options.onConfiguration;
  }

  abstract get identification(): Identification;
  abstract get configuration(): object;
  abstract get resolution(): { readonly [kind: string]: number };
  abstract configure(options: object): void;

  /** Puts the chip into its initial state. */
  protected abstract reset(): Fault | undefined;
  /** Reads what the chip is, and what is needed to understand it. */
  protected abstract identify(): Unfinished | undefined;
  /** Starts one conversion. */
  protected abstract measure(): Fault | undefined;
  /** Reads the conversion's result; a single fault stands for every kind of the sensor. */
  protected abstract collect(): Sample | Unfinished;
  /** The sensor kinds that a sample has now. */
  protected abstract kinds(): readonly string[];

  /** §13: the constructor resets the chip. One that does not answer is tried again with each `trigger()`. */
  protected begin(): void {
    this.#advance(this.reset(), "starting");
    this.#fault = undefined;
  }

  protected configured(): void {
    this.#onConfiguration?.();
  }

  trigger(): void {
    if (this.#state === "cold") this.#advance(this.reset(), "starting");
    else if (this.#state !== "starting") this.#advance(this.measure(), "measuring");
  }

  sample(): Sample | undefined {
    if (this.#state === "measuring") return this.#collect();
    if (this.#state === "starting") {
      if (this.#advance(this.identify(), "idle")) this.#advance(this.measure(), "measuring");
    } else if (this.#fault === undefined) this.trigger();
    return this.#faulty();
  }

  close(): void {
    this.chip.close();
  }

  /** True when the step is done and the state reached. */
  #advance(step: Unfinished | undefined, state: "starting" | "idle" | "measuring"): boolean {
    if (step === "again") return false;
    this.#state = step === undefined ? state : "cold";
    this.#fault = step;
    return step === undefined;
  }

  #collect(): Sample | undefined {
    const result = this.collect();
    if (typeof result === "object") {
      this.#state = "idle";
      return result;
    }
    this.#advance(result, "idle");
    return this.#faulty();
  }

  #faulty(): Sample | undefined {
    const fault = this.#fault;
    if (fault === undefined) return undefined;
    this.#fault = undefined;
    const faults: SampleFaults = {};
    for (const kind of this.kinds()) faults[kind] = fault;
    return { faults };
  }
}
