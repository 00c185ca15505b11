import { type Cbor, encodeCbor } from "../record/cbor.js";
import { PACK_MAX_ENTRIES, SenmlLabel } from "../record/senml.js";
import type { Fault } from "../sensors/sensor.js";

/** SenML-CBOR packs (RFC 8428) out of readings, by the profile in SPEC.md. */

/** One value or one fault, as a sensor gave it. */
export interface Reading {
  readonly name: string;
  /** SenML unit. */
  readonly unit: string;
  readonly value: number | { readonly fault: Fault };
  /** When the conversion was started. */
  readonly uptimeMs: number;
}

/** A record of 4,000 bytes less the most that its header, heads and signature take. */
export const PACK_MAX_BYTES = 3800;

/** Times are recorded to 1/64 s: an exact binary fraction, finer than the timers of a board. */
const STEPS_PER_SECOND = 64;
/** The array's head, and the base time in the first entry. */
const FIXED_BYTES = 2 + 10;
/** A time offset with its label, at most. */
const TIME_BYTES = 10;

/** Readings that are to become one pack. Its encoded size is bounded before a reading goes in. */
export class PackBuilder {
  #readings: Reading[] = [];
  #bytes = FIXED_BYTES;

  constructor(
    private readonly maxReadings: number,
    private readonly maxBytes: number,
  ) {
    if (!(maxReadings >= 1 && maxReadings <= PACK_MAX_ENTRIES))
      throw new RangeError(`maxReadings: expected 1 to ${PACK_MAX_ENTRIES}, received ${maxReadings}`);
    if (!(maxBytes >= 256 && maxBytes <= PACK_MAX_BYTES))
      throw new RangeError(`maxBytes: expected 256 to ${PACK_MAX_BYTES}, received ${maxBytes}`);
  }

  get readings(): readonly Reading[] {
    return this.#readings;
  }

  get full(): boolean {
    return this.#readings.length >= this.maxReadings;
  }

  /** False where the pack has no room for the reading, which then is not in it. */
  add(reading: Reading): boolean {
    const bytes = encodeCbor(entryOf(reading)).length + TIME_BYTES;
    if (this.full || this.#bytes + bytes > this.maxBytes) return false;
    this.#readings.push(reading);
    this.#bytes += bytes;
    return true;
  }

  /**
   * The pack's bytes. With `wallOffsetMs` (wall time less uptime) the first entry has the base time, its own; without
   * it offsets count back from `uptimeMs`, the uptime of the record.
   */
  encode(uptimeMs: number, wallOffsetMs: number | undefined): Uint8Array {
    const first = this.#readings[0]!;
    // Each time is rounded once: with its base it is within half a step of the true time.
    const offsetOf =
      wallOffsetMs === undefined
        ? (ms: number) => steps(ms - uptimeMs)
        : (ms: number) => steps(ms + wallOffsetMs) - steps(first.uptimeMs + wallOffsetMs);
    const entries = this.#readings.map((reading) => {
      const entry = entryOf(reading);
      const offset = offsetOf(reading.uptimeMs) / STEPS_PER_SECOND;
      if (offset !== 0) entry.set(SenmlLabel.time, offset);
      return entry;
    });
    if (wallOffsetMs !== undefined)
      entries[0]!.set(SenmlLabel.baseTime, steps(first.uptimeMs + wallOffsetMs) / STEPS_PER_SECOND);
    return encodeCbor(entries);
  }
}

function steps(ms: number): number {
  return Math.round((ms * STEPS_PER_SECOND) / 1000);
}

function entryOf({ name, unit, value }: Reading): Map<number, Cbor> {
  const entry = new Map<number, Cbor>([[SenmlLabel.name, name]]);
  if (typeof value === "number") {
    entry.set(SenmlLabel.unit, unit);
    entry.set(SenmlLabel.value, value);
  } else entry.set(SenmlLabel.textValue, value.fault);
  return entry;
}
