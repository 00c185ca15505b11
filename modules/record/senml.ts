import { ClockState } from "../clock/clock.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { type Cbor, decodeCbor } from "./cbor.js";
import { isMap } from "./record.js";

/** SenML-CBOR packs (RFC 8428 §6) as readings records carry them: the labels, and what a pack may hold here. */
export const SenmlLabel = { baseTime: -3, baseName: -2, name: 0, unit: 1, value: 2, textValue: 3, time: 6 } as const;

/** More would not fit a record. */
export const PACK_MAX_ENTRIES = 200;
const NAME_MAX_CHARACTERS = 64;
/** RFC 8428 §4.5.3: times below 2^28 are relative to now, so a base time must be above. */
const ABSOLUTE_TIME_S = 2 ** 28;

/** One entry of a pack with what it inherits resolved. */
export interface Reading {
  readonly name: string;
  readonly unit?: string;
  /** The measured value, or the fault word where there was none. */
  readonly value: number | { readonly fault: string };
  /** Seconds: since 1970 where the pack has a base time, else relative to the record's uptime (at most 0). */
  readonly timeS: number;
}

/** The readings of a pack. RECORD_MALFORMED where it is no pack of the profile in SPEC.md. */
export function readPack(payload: Uint8Array, clock: ClockState): Result<Reading[]> {
  const decoded = decodeCbor(payload);
  if (!decoded.ok) return decoded;
  const entries = decoded.value;
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > PACK_MAX_ENTRIES)
    return malformed(`an array of 1 to ${PACK_MAX_ENTRIES} entries`);
  const readings: Reading[] = [];
  let baseTimeS = 0;
  for (const [i, entry] of (entries as Cbor[]).entries()) {
    if (!isMap(entry)) return malformed(`entry ${i} as a map`);
    for (const label of entry.keys())
      if (!LABELS.includes(label as number)) return malformed(`a known label in entry ${i}, not ${label}`);
    const base = entry.get(SenmlLabel.baseTime);
    if (base !== undefined) {
      if (i !== 0 || clock === ClockState.unset || typeof base !== "number" || base < ABSOLUTE_TIME_S)
        return malformed("a base time in the first entry only, absolute, and only while the clock is set");
      baseTimeS = base;
    } else if (i === 0 && clock !== ClockState.unset) return malformed("a base time, since the clock is set");
    const time = entry.get(SenmlLabel.time) ?? 0;
    if (typeof time !== "number" || (clock === ClockState.unset && time > 0))
      return malformed(`entry ${i} with a time offset${clock === ClockState.unset ? " of at most 0" : ""}`);
    const name = entry.get(SenmlLabel.name);
    if (typeof name !== "string" || !NAME.test(name) || name.length > NAME_MAX_CHARACTERS)
      return malformed(`entry ${i} with a SenML name`);
    const unit = entry.get(SenmlLabel.unit);
    if (unit !== undefined && typeof unit !== "string") return malformed(`entry ${i} with a text unit`);
    const value = entry.get(SenmlLabel.value);
    const text = entry.get(SenmlLabel.textValue);
    if ((value === undefined) === (text === undefined)) return malformed(`entry ${i} with one value or one fault`);
    if (value !== undefined && typeof value !== "number") return malformed(`entry ${i} with a number as value`);
    if (text !== undefined && typeof text !== "string") return malformed(`entry ${i} with a word as fault`);
    readings.push({
      name,
      ...(unit !== undefined && { unit }),
      value: value !== undefined ? value : { fault: text as string },
      timeS: baseTimeS + time,
    });
  }
  return ok(readings);
}

/** Whether a payload is a pack of the profile. */
export function checkPack(payload: Uint8Array, clock: ClockState): Result<void> {
  const readings = readPack(payload, clock);
  return readings.ok ? ok(undefined) : readings;
}

const LABELS: readonly number[] = Object.values(SenmlLabel).filter((label) => label !== SenmlLabel.baseName);
/** RFC 8428 §4.5.1. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9\-:./_]*$/;

function malformed(expected: string): Result<never> {
  return fail("RECORD_MALFORMED", `expected ${expected}`);
}
