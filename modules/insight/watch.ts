import type { Alert } from "../record/payload.js";
import type { Bounds } from "./bounds.js";

/** One quantity's samples, looked at one by one in constant memory; SPEC.md has the rules that this file is. */

/** The record that readings are to go into, and once that is known its id. */
export interface Holder {
  isSettled: boolean;
  /** Absent also after it is settled: the record was refused, and its readings are in none. */
  id: Uint8Array | undefined;
}

interface Finding {
  readonly word: string;
  /** In the order of the chain. */
  readonly holders: readonly Holder[];
  readonly text: string;
}

/** So many equal values in a row are needed, however long they take. */
export const STUCK_SAMPLES = 64;
/** So many values in a row are within, until a quantity is. */
export const RANGE_END_SAMPLES = 16;
/** Alerts of one quantity, in any hour and in any 24 hours, and jumps among those of 24 hours. */
export const ALERTS_PER_HOUR = 2;
export const ALERTS_PER_DAY = 8;
export const JUMPS_PER_DAY = 4;
/** Jumps of one quantity that wait to be told: there, and back. */
export const JUMPS_WAITING_MAX = 2;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** Bytes of a text in a record; what is written here is ASCII. */
const TEXT_MAX = 64;

/** What lasts: told at its begin and at its end, each of them only while it is so. */
class Condition {
  isTrue = false;
  pending: Finding | undefined;
  #isTold = false;

  /** Gives how many findings will not be told: a begin and an end that have come before either was. */
  turn(isTrue: boolean, finding: Finding): number {
    this.isTrue = isTrue;
    const isNews = isTrue !== this.#isTold;
    this.pending = isNews ? finding : undefined;
    return isNews ? 0 : 2;
  }

  told(): void {
    this.#isTold = this.isTrue;
    this.pending = undefined;
  }
}

export class Watch {
  #value = 0;
  /** Of the newest value; undefined before the first. */
  #newest: Holder | undefined;
  #newestMs = 0;
  /** The run of equal values that the newest one ends. */
  #first: Holder | undefined;
  #firstMs = 0;
  #equal = 0;
  /** The newest sample beyond the range, and how many values in a row have been within since. */
  #beyond: Holder | undefined;
  #beyondMs = 0;
  #within = 0;
  readonly #stuck = new Condition();
  readonly #range = new Condition();
  readonly #conditions = [this.#stuck, this.#range];
  readonly #jumps: Finding[] = [];
  #withheld = 0;
  /** Uptimes of the newest alerts, and of the newest jumps among them. */
  readonly #toldMs: number[] = [];
  readonly #jumpsMs: number[] = [];

  constructor(
    readonly name: string,
    private readonly unit: string,
    private readonly bounds: Bounds,
  ) {}

  /** Takes the next sample: a value, or undefined where the driver has found it beyond the range. */
  see(value: number | undefined, atMs: number, holder: Holder): void {
    this.#seeRange(value, atMs, holder);
    if (value === undefined) return;
    if (this.#newest) this.#seeStep(value, atMs, this.#newest, holder);
    this.#seeRun(value, atMs, holder);
    this.#value = value;
    this.#newest = holder;
    this.#newestMs = atMs;
  }

  /** The next alert that may be told now, as told; undefined where there is none. */
  next(nowMs: number): Alert | undefined {
    for (const condition of this.#conditions) {
      const { pending } = condition;
      if (!pending?.holders.every(isSettled)) continue;
      const records = idsOf(pending);
      // A begin is found anew with the next sample; an end without a record ends in silence.
      if (records.length === 0 && !condition.isTrue) {
        condition.told();
        this.#withheld++;
      } else if (records.length > 0 && this.#mayTell(nowMs)) {
        condition.told();
        return this.#tell(pending, records, nowMs);
      }
    }
    while (this.#jumps[0]?.holders.every(isSettled)) {
      const jump = this.#jumps.shift()!;
      const records = idsOf(jump);
      if (records.length > 0 && this.#mayTell(nowMs) && hasRoom(this.#jumpsMs, JUMPS_PER_DAY, DAY_MS, nowMs)) {
        remember(this.#jumpsMs, JUMPS_PER_DAY, nowMs);
        return this.#tell(jump, records, nowMs);
      }
      this.#withheld++;
    }
    return undefined;
  }

  #seeRange(value: number | undefined, atMs: number, holder: Holder): void {
    const { minimum, maximum } = this.bounds;
    const range = this.#range;
    if (value === undefined || value < minimum || value > maximum) {
      const received = value === undefined ? "no value" : this.#figure(value);
      if (!range.isTrue || isLost(range))
        this.#turn(range, true, "range", [holder], `${received}, beyond ${short(minimum)} to ${short(maximum)}`);
      this.#beyond = holder;
      this.#beyondMs = atMs;
      this.#within = 0;
    } else if (range.isTrue && ++this.#within >= RANGE_END_SAMPLES) {
      const text = `within ${short(minimum)} to ${short(maximum)} for ${minutes(atMs - this.#beyondMs)}`;
      this.#turn(range, false, "range-end", [this.#beyond!, holder], text);
    }
  }

  #seeStep(value: number, atMs: number, before: Holder, holder: Holder): void {
    const { jump, jumpPerMinute } = this.bounds;
    const elapsedMs = atMs - this.#newestMs;
    const most = jump + (jumpPerMinute * elapsedMs) / MINUTE_MS;
    if (Math.abs(value - this.#value) <= most) return;
    if (this.#jumps.length >= JUMPS_WAITING_MAX) {
      this.#withheld++;
      return;
    }
    const text = `${short(this.#value)} to ${this.#figure(value)} in ${short(elapsedMs / 1000)} s, at most ${short(most)}`;
    this.#jumps.push({ word: "jump", holders: [before, holder], text: text.slice(0, TEXT_MAX) });
  }

  #seeRun(value: number, atMs: number, holder: Holder): void {
    const { minimum, maximum, stuckMs } = this.bounds;
    const stuck = this.#stuck;
    if (this.#equal === 0 || value !== this.#value) {
      if (stuck.isTrue) {
        const text = `${this.#figure(value)} after ${short(this.#value)} for ${minutes(this.#newestMs - this.#firstMs)}`;
        this.#turn(stuck, false, "stuck-end", [this.#newest!, holder], text);
      }
      this.#first = holder;
      this.#firstMs = atMs;
      // At the end of its range a sensor has nothing more to tell.
      this.#equal = value > minimum && value < maximum ? 1 : 0;
      return;
    }
    this.#equal++;
    if (this.#equal < STUCK_SAMPLES || atMs - this.#firstMs < stuckMs || (stuck.isTrue && !isLost(stuck))) return;
    const text = `${this.#figure(value)}, ${this.#equal} times in ${minutes(atMs - this.#firstMs)}`;
    this.#turn(stuck, true, "stuck", [this.#first!, holder], text);
  }

  #turn(condition: Condition, isTrue: boolean, word: string, holders: readonly Holder[], text: string): void {
    this.#withheld += condition.turn(isTrue, { word, holders, text: text.slice(0, TEXT_MAX) });
  }

  #mayTell(nowMs: number): boolean {
    return (
      hasRoom(this.#toldMs, ALERTS_PER_HOUR, HOUR_MS, nowMs) && hasRoom(this.#toldMs, ALERTS_PER_DAY, DAY_MS, nowMs)
    );
  }

  #tell({ word, text }: Finding, records: readonly Uint8Array[], nowMs: number): Alert {
    remember(this.#toldMs, ALERTS_PER_DAY, nowMs);
    const withheld = this.#withheld;
    this.#withheld = 0;
    return { finding: word, records, text, quantity: this.name, ...(withheld > 0 && { withheld }) };
  }

  #figure(value: number): string {
    return `${short(value)} ${this.unit}`;
  }
}

function isSettled(holder: Holder): boolean {
  return holder.isSettled;
}

/** The finding waits for records of which none was committed. */
function isLost({ pending }: Condition): boolean {
  return pending?.holders.every(({ isSettled, id }) => isSettled && id === undefined) ?? false;
}

/** Of what was committed, each once. */
function idsOf({ holders }: Finding): Uint8Array[] {
  const ids: Uint8Array[] = [];
  for (const { id } of holders) if (id && !ids.includes(id)) ids.push(id);
  return ids;
}

/** Fewer than `most` of these times are in the span that ends now. */
function hasRoom(timesMs: readonly number[], most: number, spanMs: number, nowMs: number): boolean {
  return timesMs.length < most || nowMs - timesMs[timesMs.length - most]! >= spanMs;
}

function remember(timesMs: number[], most: number, nowMs: number): void {
  if (timesMs.length >= most) timesMs.shift();
  timesMs.push(nowMs);
}

/** For people: six digits are more than any sensor here has. */
function short(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function minutes(ms: number): string {
  return `${Math.round(ms / MINUTE_MS)} min`;
}
