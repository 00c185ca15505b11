import { type Clock, ClockState, type Timer, type Timers } from "../clock/clock.js";
import { isSenmlName, PACK_NAME_MAX } from "../record/senml.js";
import { FAULTS, type Fault, type Sample, type Sensor } from "../sensors/sensor.js";
import { PACK_MAX_BYTES, PackBuilder, type Reading } from "./pack.js";
import { type Quantity, quantitiesOf } from "./quantities.js";

/** When to read which sensor, and which readings stand in one pack. SPEC.md has the rules. */

/** One sensor of a device. */
export interface PlannedSensor {
  readonly sensor: Sensor;
  readonly everyMs: number;
  /** In front of the quantity's name: `outside` makes `outside/temperature`. Needed where two sensors measure the same. */
  readonly name?: string;
}

/** Readings that are ready to become the payload of one record. */
export interface Pack {
  /** SenML-CBOR. */
  readonly payload: Uint8Array;
  /** The record's uptime and clock state: the payload's times count from them. */
  readonly uptimeMs: number;
  readonly clock: ClockState;
  readonly readings: readonly Reading[];
}

export interface SamplerOptions {
  readonly sensors: readonly PlannedSensor[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly onPack: (pack: Pack) => void;
  /** Sees every reading before it is recorded. */
  readonly onReading?: (reading: Reading) => void;
  /** A pack is closed when it holds as many; at most 200. Default 32. */
  readonly maxReadings?: number;
  /** A pack is closed when its oldest reading is as old: what a cut of the power can take. Default 60,000. */
  readonly maxAgeMs?: number;
  /** A pack is closed before it would be longer. Default and maximum `PACK_MAX_BYTES`. */
  readonly maxBytes?: number;
}

export const MAX_SENSORS = 16;
const DEFAULT_READINGS = 32;
const DEFAULT_AGE_MS = 60_000;
/** A day; longer would be a loss that nobody expects. */
export const MAX_AGE_MS = 86_400_000;
/** Looks at a sensor, start-up steps included, until it counts as not ready. */
export const MAX_LOOKS = 8;
/** Between looks at a sensor that does not say how long it takes. */
const LOOK_MS = 10;
/** Wall time that moves by more against uptime was set anew: the pack before has its own base. */
export const CLOCK_STEP_MS = 1000;
/**
 * 1980 and 5138: a clock that says an earlier or later time is not set. A record takes 1978 to 6325, so that a time
 * which a later correction moves, as the whole pack moves, still has a place.
 */
const WALL_MIN_MS = 315_532_800_000;
const WALL_MAX_MS = 100_000_000_000_000;

/** What has happened since the start. */
export interface SamplerStatistics {
  readonly samples: number;
  readonly faults: number;
  /** Planned samples that were not taken, because the sensor or the board was busy. */
  readonly missed: number;
}

interface Line {
  readonly sensor: Sensor;
  readonly quantities: readonly Quantity[];
  readonly prefix: string;
  /** As planned; what holds now is `everyMs`. */
  plannedMs: number;
  everyMs: number;
  /** Slot n is due at `anchorMs` + n · `everyMs`. */
  anchorMs: number;
  slot: number;
  startedMs: number;
  /** Slots passed over just before the sample that runs. */
  missed: number;
  timer: Timer | undefined;
  converting: boolean;
}

export class Sampler {
  readonly #options: SamplerOptions;
  readonly #lines: Line[];
  readonly #maxReadings: number;
  readonly #maxAgeMs: number;
  readonly #maxBytes: number;
  #builder: PackBuilder;
  #clockState: ClockState = ClockState.unset;
  #wallOffsetMs: number | undefined;
  #ageTimer: Timer | undefined;
  #running = false;
  #thinning = 1;
  #samples = 0;
  #faults = 0;
  #missed = 0;

  /** Throws where the options are no plan: that is a mistake in the application. */
  constructor(options: SamplerOptions) {
    this.#options = options;
    this.#maxReadings = options.maxReadings ?? DEFAULT_READINGS;
    this.#maxAgeMs = options.maxAgeMs ?? DEFAULT_AGE_MS;
    this.#maxBytes = options.maxBytes ?? PACK_MAX_BYTES;
    checkMs("maxAgeMs", this.#maxAgeMs, MAX_AGE_MS);
    this.#builder = new PackBuilder(this.#maxReadings, this.#maxBytes);
    if (options.sensors.length > MAX_SENSORS)
      throw new RangeError(`sensors: expected at most ${MAX_SENSORS}, received ${options.sensors.length}`);
    this.#lines = options.sensors.map(({ sensor, everyMs, name }) => {
      checkMs("everyMs", everyMs, Number.MAX_SAFE_INTEGER);
      return {
        sensor,
        quantities: quantitiesOf(sensor),
        prefix: name === undefined ? "" : `${name}/`,
        plannedMs: everyMs,
        everyMs,
        anchorMs: 0,
        slot: 0,
        startedMs: 0,
        missed: 0,
        timer: undefined,
        converting: false,
      };
    });
    const names = new Set<string>();
    for (const { name } of this.quantities) {
      if (!isSenmlName(name))
        throw new RangeError(`${name}: expected a SenML name (RFC 8428 §4.5.1) of at most ${PACK_NAME_MAX} characters`);
      if (names.has(name)) throw new RangeError(`${name}: two sensors have this name; give one a name of its own`);
      names.add(name);
    }
  }

  /** SenML names and units of all that will be recorded, in the order of the sensors. */
  get quantities(): readonly { readonly name: string; readonly unit: string }[] {
    return this.described.map(({ name, unit }) => ({ name, unit }));
  }

  /** The same with all that is known of each: by its class, and by its sensor's data sheet. */
  get described(): readonly Quantity[] {
    const all = [];
    for (const line of this.#lines)
      for (const quantity of line.quantities) all.push({ ...quantity, name: line.prefix + quantity.name });
    return all;
  }

  get statistics(): SamplerStatistics {
    return { samples: this.#samples, faults: this.#faults, missed: this.#missed };
  }

  /** Uptime at which the next sample is due; undefined while stopped. A board may sleep until then. */
  get nextDueMs(): number | undefined {
    if (!this.#running) return undefined;
    const due = this.#lines.map((line) => line.anchorMs + line.slot * line.everyMs);
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  /** Samples every sensor now, then each at its own interval from now. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    const now = this.#options.clock.uptimeMs();
    for (const line of this.#lines) {
      line.anchorMs = now;
      line.slot = 0;
      this.#plan(line);
    }
  }

  /** Stops sampling and hands over what there is. A conversion that runs is given up. */
  stop(): void {
    this.#running = false;
    for (const line of this.#lines) {
      line.timer?.cancel();
      line.timer = undefined;
      line.converting = false;
    }
    this.flush();
  }

  close(): void {
    this.stop();
    for (const line of this.#lines) line.sensor.close();
  }

  /** Adaptive sampling: from its last sample on, `sensor` is read at another interval. */
  setEveryMs(sensor: Sensor, everyMs: number): void {
    checkMs("everyMs", everyMs, Number.MAX_SAFE_INTEGER);
    const line = this.#lines.find((candidate) => candidate.sensor === sensor);
    if (!line) throw new Error("the sensor is not in the plan");
    line.plannedMs = everyMs;
    this.#apply(line);
  }

  /** Thinning: from its last sample on, every sensor is read at `factor` times its planned interval; 1 is the plan. */
  thin(factor: number): void {
    if (!Number.isInteger(factor) || factor < 1) throw new RangeError(`factor: expected 1 or more, received ${factor}`);
    if (factor === this.#thinning) return;
    this.#thinning = factor;
    for (const line of this.#lines) this.#apply(line);
  }

  #apply(line: Line): void {
    line.everyMs = line.plannedMs * this.#thinning;
    line.anchorMs = line.startedMs;
    // Slots of the new plan that have passed were never due: the newest of them is taken now, and none is missed.
    line.slot = Math.max(1, Math.floor((this.#options.clock.uptimeMs() - line.startedMs) / line.everyMs));
    if (!this.#running || line.converting) return;
    line.timer?.cancel();
    this.#plan(line);
  }

  /** Closes the pack now, if anything is in it. */
  flush(): void {
    this.#ageTimer?.cancel();
    this.#ageTimer = undefined;
    const { readings } = this.#builder;
    if (readings.length === 0) return;
    const uptimeMs = this.#options.clock.uptimeMs();
    const payload = this.#builder.encode(uptimeMs, this.#wallOffsetMs);
    this.#builder = new PackBuilder(this.#maxReadings, this.#maxBytes);
    this.#options.onPack({ payload, uptimeMs, clock: this.#clockState, readings });
  }

  /** From the plan, never from when the last timer fired: no drift adds up. */
  #plan(line: Line): void {
    const delayMs = line.anchorMs + line.slot * line.everyMs - this.#options.clock.uptimeMs();
    line.timer = this.#options.timers.after(Math.max(delayMs, 0), () => this.#trigger(line));
  }

  #trigger(line: Line): void {
    const now = this.#options.clock.uptimeMs();
    const slot = Math.floor((now - line.anchorMs) / line.everyMs);
    line.missed = slot - line.slot;
    line.slot = slot + 1;
    line.startedMs = now;
    line.converting = true;
    try {
      line.sensor.trigger?.();
      this.#look(line, 1, line.sensor.trigger ? (line.sensor.conversionMs ?? 0) : 0);
    } catch {
      this.#finish(line, allOf(line, "driver"));
    }
  }

  #look(line: Line, looks: number, delayMs: number): void {
    line.timer = this.#options.timers.after(delayMs, () => {
      let sample: Sample | undefined;
      try {
        sample = line.sensor.sample();
      } catch {
        sample = allOf(line, "driver");
      }
      if (sample !== undefined) this.#finish(line, sample);
      else if (looks >= MAX_LOOKS) this.#finish(line, allOf(line, "not-ready"));
      else this.#look(line, looks + 1, line.sensor.conversionMs || LOOK_MS);
    });
  }

  #finish(line: Line, sample: Sample): void {
    line.converting = false;
    this.#samples++;
    // Planned before anything is handed out: what a hook throws must not end the sampling.
    if (this.#running) this.#plan(line);
    const { quantities, startedMs, missed } = line;
    this.#missed += missed;
    if (missed > 0) {
      const lastMs = line.anchorMs + (line.slot - 2) * line.everyMs;
      for (const quantity of quantities) this.#record(line, quantity, { fault: "missed" }, lastMs);
    }
    for (const quantity of quantities) {
      const value = recordedValue(quantity, sample);
      if (typeof value !== "number") this.#faults++;
      this.#record(line, quantity, value, startedMs);
    }
  }

  #record(line: Line, { name, unit }: Quantity, value: Reading["value"], takenMs: number): void {
    const reading = { name: line.prefix + name, unit, value, uptimeMs: takenMs };
    this.#options.onReading?.(reading);
    const { clock } = this.#options;
    const uptimeMs = clock.uptimeMs();
    const wallMs = clock.state === ClockState.unset ? undefined : clock.wallMs();
    const takenWallMs = wallMs === undefined ? 0 : wallMs - uptimeMs + takenMs;
    const set = takenWallMs >= WALL_MIN_MS && takenWallMs <= WALL_MAX_MS;
    const state = set ? clock.state : ClockState.unset;
    const wallOffsetMs = set ? takenWallMs - takenMs : undefined;
    const stepped = Math.abs((wallOffsetMs ?? 0) - (this.#wallOffsetMs ?? 0)) > CLOCK_STEP_MS;
    if (state !== this.#clockState || stepped) this.flush();
    if (!this.#builder.add(reading)) {
      this.flush();
      if (!this.#builder.add(reading)) throw new RangeError(`${reading.name}: one reading is longer than a pack`);
    }
    this.#clockState = state;
    this.#wallOffsetMs = wallOffsetMs;
    if (this.#builder.full) this.flush();
    else this.#ageTimer ??= this.#options.timers.after(this.#maxAgeMs, () => this.flush());
  }
}

function checkMs(name: string, ms: number, most: number): void {
  if (!Number.isInteger(ms) || ms < 1 || ms > most)
    throw new RangeError(`${name}: expected whole milliseconds from 1 to ${most}, received ${ms}`);
}

function allOf(line: Line, fault: Fault): Sample {
  const faults: { [kind: string]: Fault } = {};
  for (const { kind } of line.quantities) faults[kind] = fault;
  return { faults };
}

/** The value in the recorded unit and step, or why there is none. A value that its driver doubts is none. */
function recordedValue({ kind, property, factor, step }: Quantity, sample: Sample): number | { readonly fault: Fault } {
  const fault = sample.faults?.[kind];
  if (fault !== undefined) return { fault: FAULTS[fault] === undefined ? "no-value" : fault };
  const part = sample[kind] as { readonly [name: string]: unknown } | undefined;
  const value = typeof part === "object" && part !== null ? part[property] : sample[property];
  if (typeof value !== "number" || !Number.isFinite(value)) return { fault: "no-value" };
  const count = Math.round((value * factor) / step);
  return Number.isSafeInteger(count) ? (count || 0) * step : { fault: "range" };
}
