import type { ClockState } from "tallystick/clock/clock";
import type { Alert } from "tallystick/record/payload";
import type { Reading } from "tallystick/record/senml";

/** Readings as people read them. Programs get them exactly, as JSON. */

/**
 * Two decimals, or three digits below 1: what lies beyond is the binary step that values are recorded in, not something
 * that a sensor resolves (modules/sampler/SPEC.md).
 */
export function valueText(value: number): string {
  return String(Math.abs(value) < 1 ? Number(value.toPrecision(3)) : Number(value.toFixed(2)));
}

/** `21.37 Cel`, or `fault crc`. */
export function measuredText({ value, unit }: Pick<Reading, "value" | "unit">): string {
  return typeof value === "number" ? `${valueText(value)} ${unit}` : `fault ${value.fault}`;
}

/** `temperature stuck: 21.5 Cel, 64 times in 63 min`. */
export function alertText({ finding, quantity, text, withheld }: Alert): string {
  const what = `${quantity === undefined ? "" : `${quantity} `}${finding}`;
  const more = withheld === undefined ? "" : ` (${withheld} not told before)`;
  return `${what}${text === undefined ? "" : `: ${text}`}${more}`;
}

/** Wall time to the millisecond, or how long before its record a reading was taken while the clock was unset. */
export function timeText(timeS: number, clock: ClockState): string {
  return clock > 0 ? new Date(timeS * 1000).toISOString() : `${valueText(-timeS)} s before the record, clock unset`;
}

/** A reading for programs: nothing is rounded. */
export function readingJson({ name, unit, value, timeS }: Reading) {
  return { name, unit, ...(typeof value === "number" ? { value } : value), time_s: timeS };
}
