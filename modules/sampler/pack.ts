import { type Cbor, encodeCbor, encodeHead } from "../record/cbor.js";
import { BASE_STEPS_PER_SECOND, OFFSET_STEPS_PER_SECOND, PACK_MAX_ENTRIES, SenmlLabel } from "../record/senml.js";
import type { Fault } from "../sensors/sensor.js";

/** SenML-CBOR packs (RFC 8428) out of readings, in the one form that record/SPEC.md gives them. */

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

  /** In the order in which they were added. */
  get readings(): readonly Reading[] {
    return this.#readings;
  }

  get full(): boolean {
    return this.#readings.length >= this.maxReadings;
  }

  /**
   * False where the reading, which then is not in it, needs another pack: this one has no room, or has a later reading
   * of the same quantity, or one in another unit.
   */
  add(reading: Reading): boolean {
    const before = this.#last(reading.name);
    if (before && (before.uptimeMs > reading.uptimeMs || before.unit !== reading.unit)) return false;
    const bytes = encodeCbor(entryOf(reading, before)).length + TIME_BYTES;
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
    const readings = this.#byQuantity();
    const originMs = wallOffsetMs === undefined ? uptimeMs : readings[0]!.uptimeMs;
    // One entry at a time into the bytes that add() has counted: a board has no room for all of them as maps.
    const bytes = new Uint8Array(this.#bytes);
    let part = encodeHead(4, readings.length);
    bytes.set(part);
    let length = part.length;
    for (let i = 0; i < readings.length; i++) {
      part = encodeCbor(entryAt(readings, i, originMs, wallOffsetMs));
      bytes.set(part, length);
      length += part.length;
    }
    return bytes.slice(0, length);
  }

  /** All of one quantity together, the quantities in the order in which they first came. */
  #byQuantity(): Reading[] {
    const ordered: Reading[] = [];
    for (const { name } of this.#readings) {
      if (ordered.some((reading) => reading.name === name)) continue;
      for (const reading of this.#readings) if (reading.name === name) ordered.push(reading);
    }
    return ordered;
  }

  /** The newest reading of a quantity. */
  #last(name: string): Reading | undefined {
    for (let i = this.#readings.length - 1; i >= 0; i--) if (this.#readings[i]!.name === name) return this.#readings[i];
    return undefined;
  }
}

/** The multiple of a step that is nearest. */
function toSeconds(ms: number, stepsPerSecond: number): number {
  return Math.round((ms * stepsPerSecond) / 1000) / stepsPerSecond;
}

/** The entry of `readings[i]`, with the base fields that hold from it on. */
function entryAt(
  readings: readonly Reading[],
  i: number,
  originMs: number,
  wallOffsetMs: number | undefined,
): Map<number, Cbor> {
  const reading = readings[i]!;
  const entry = entryOf(reading, i > 0 ? readings[i - 1] : undefined);
  const offsetS = toSeconds(reading.uptimeMs - originMs, OFFSET_STEPS_PER_SECOND);
  if (offsetS !== 0) entry.set(SenmlLabel.time, offsetS);
  if (i === 0 && wallOffsetMs !== undefined)
    entry.set(SenmlLabel.baseTime, toSeconds(reading.uptimeMs + wallOffsetMs, BASE_STEPS_PER_SECOND));
  return entry;
}

/** An entry without its time, after that of `before`. */
function entryOf({ name, unit, value }: Reading, before: Reading | undefined): Map<number, Cbor> {
  const entry = new Map<number, Cbor>();
  if (typeof value === "number") entry.set(SenmlLabel.value, value);
  else entry.set(SenmlLabel.textValue, value.fault);
  if (name !== before?.name) entry.set(SenmlLabel.baseName, name);
  if (unit !== before?.unit) entry.set(SenmlLabel.baseUnit, unit);
  return entry;
}
