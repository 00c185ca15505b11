import { ClockState } from "../clock/clock.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { type Cbor, decodeCbor } from "./cbor.js";
import { isMap } from "./record.js";

/**
 * SenML-CBOR packs (RFC 8428 §6) as readings records carry them: the one form that SPEC.md gives to a set of readings.
 * Entries stand by quantity; the first of a quantity has its name, and its unit where that changes, as base fields.
 */
export const SenmlLabel = { baseName: -2, baseTime: -3, baseUnit: -4, value: 2, textValue: 3, time: 6 } as const;

/** More would not fit a record. */
export const PACK_MAX_ENTRIES = 200;
/** Characters of a name. */
export const PACK_NAME_MAX = 64;
/** Offsets are whole counts of 1/64 s: exact in binary, and half a minute of them fits the shortest floats. */
export const OFFSET_STEPS_PER_SECOND = 64;
/** The base time is a long float anyway: it is a whole count of 1/1024 s. */
export const BASE_STEPS_PER_SECOND = 1024;
/** RFC 8428 §4.5.3: an earlier time (July 1978) is relative to now, not absolute. */
export const ABSOLUTE_TIME_MIN_S = 2 ** 28;
/** No later time (year 6325): calendars have it, and it is exact with its fraction. */
export const ABSOLUTE_TIME_END_S = 2 ** 37;

/** One entry of a pack with what it inherits resolved. */
export interface Reading {
  readonly name: string;
  /** Of the quantity; a fault has it too. */
  readonly unit: string;
  /** The measured value, or the fault word where there was none. */
  readonly value: number | { readonly fault: string };
  /** Seconds: since 1970 where the pack has a base time, else relative to the record's uptime (at most 0). */
  readonly timeS: number;
}

/** Whether a name is one of RFC 8428 §4.5.1, and not too long. */
export function isSenmlName(name: string): boolean {
  return name.length <= PACK_NAME_MAX && NAME.test(name);
}

/**
 * The readings of a pack, resolved and in the order of time (RFC 8428 §4.6); those of one time stay as they stand.
 * RECORD_MALFORMED where it is no pack of the profile in SPEC.md.
 */
export function readPack(payload: Uint8Array, clock: ClockState): Result<Reading[]> {
  const readings = readEntries(payload, clock);
  if (readings.ok) readings.value.sort((a, b) => a.timeS - b.timeS);
  return readings;
}

/** Whether a payload is a pack of the profile. */
export function checkPack(payload: Uint8Array, clock: ClockState): Result<void> {
  const readings = readEntries(payload, clock);
  return readings.ok ? ok(undefined) : readings;
}

function readEntries(payload: Uint8Array, clock: ClockState): Result<Reading[]> {
  const decoded = decodeCbor(payload);
  if (!decoded.ok) return decoded;
  const entries = decoded.value;
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > PACK_MAX_ENTRIES)
    return malformed(`an array of 1 to ${PACK_MAX_ENTRIES} entries`);
  const readings: Reading[] = [];
  const bases = new Bases(clock);
  for (const [i, entry] of (entries as Cbor[]).entries()) {
    if (!isMap(entry)) return malformed(`entry ${i} as a map`);
    for (const label of entry.keys())
      if (!LABELS.includes(label as number)) return malformed(`a known label in entry ${i}, not ${label}`);
    const wrong =
      bases.takeName(entry.get(SenmlLabel.baseName), entry.get(SenmlLabel.baseUnit)) ??
      bases.takeTime(i, entry.get(SenmlLabel.baseTime), entry.get(SenmlLabel.time));
    if (wrong) return malformed(`entry ${i} with ${wrong}`);
    const value = entry.get(SenmlLabel.value);
    const fault = entry.get(SenmlLabel.textValue);
    if ((value === undefined) === (fault === undefined)) return malformed(`entry ${i} with one value or one fault`);
    if (value !== undefined && typeof value !== "number") return malformed(`entry ${i} with a number as value`);
    if (fault !== undefined && !isWord(fault)) return malformed(`entry ${i} with a word as fault`);
    const { name, unit, timeS } = bases;
    readings.push({ name, unit, value: value !== undefined ? value : { fault: fault as string }, timeS });
  }
  return ok(readings);
}

/** What the entries so far hand down to the next one. Its methods say what was expected where a field does not fit. */
class Bases {
  name = "";
  unit = "";
  /** Of the entry that was taken last. */
  timeS = Number.NEGATIVE_INFINITY;
  #baseTimeS = 0;
  readonly #names: string[] = [];

  constructor(private readonly clock: ClockState) {}

  takeName(name: Cbor | undefined, unit: Cbor | undefined): string | undefined {
    if (name === undefined) {
      if (this.#names.length === 0) return "a base name, since it is the first";
      return unit === undefined ? undefined : "a base unit only where a quantity begins";
    }
    if (typeof name !== "string" || !isSenmlName(name)) return "a SenML name";
    if (this.#names.includes(name)) return `the name of another quantity, since ${name} was before`;
    if (unit === undefined ? this.unit === "" : !isWord(unit) || unit === this.unit)
      return "a base unit where it changes, and only there";
    this.name = name;
    if (unit !== undefined) this.unit = unit as string;
    this.#names.push(name);
    this.timeS = Number.NEGATIVE_INFINITY;
    return undefined;
  }

  takeTime(index: number, base: Cbor | undefined, offset: Cbor | undefined): string | undefined {
    const set = this.clock !== ClockState.unset;
    if ((base !== undefined) !== (set && index === 0))
      return "a base time if it is the first and the clock is set, and only then";
    if (base !== undefined) {
      if (!isCount(base, BASE_STEPS_PER_SECOND) || offset !== undefined)
        return "a base time in 1/1024 s, which is its own time";
      this.#baseTimeS = base;
    }
    if (offset !== undefined && (!isCount(offset, OFFSET_STEPS_PER_SECOND) || offset === 0))
      return "an offset in 1/64 s other than 0";
    const timeS = this.#baseTimeS + ((offset as number | undefined) ?? 0);
    if (set ? timeS < ABSOLUTE_TIME_MIN_S || timeS >= ABSOLUTE_TIME_END_S : timeS > 0 || timeS <= -ABSOLUTE_TIME_END_S)
      return set ? "an absolute time" : "an offset of at most 0";
    if (timeS < this.timeS) return `a time that is not before the one in front of it of ${this.name}`;
    this.timeS = timeS;
    return undefined;
  }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9\-:./_]*$/;
const WORD = /^[!-~]{1,64}$/;
const LABELS: readonly number[] = Object.values(SenmlLabel);

/** Whether a value is a whole count of steps. */
function isCount(value: Cbor, stepsPerSecond: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value * stepsPerSecond);
}

/** Units and faults are shown on terminals: nothing but visible ASCII. */
function isWord(value: Cbor): value is string {
  return typeof value === "string" && WORD.test(value);
}

function malformed(expected: string): Result<never> {
  return fail("RECORD_MALFORMED", `expected ${expected}`);
}
