import { type Failure, fail } from "../codes/codes.js";
import type { JournalUsage } from "../journal/report.js";

/** What a device does about a journal that fills: it warns once at each level on the way up, and may sample less often. */

/** From the warning on (75 %), and from the critical level on (90 %), each sensor is read so many times less often. */
export const THIN_WARNING = 2;
export const THIN_CRITICAL = 8;

type Level = JournalUsage["level"];
const LEVELS: readonly Level[] = ["normal", "warning", "critical", "full"];

/** How many times longer the intervals are while the journal is this full. */
export function thinningAt(level: Level): number {
  return level === "normal" ? 1 : level === "warning" ? THIN_WARNING : THIN_CRITICAL;
}

/** What genesis says of thinning: the shortest planned interval, and the longest that it makes of any. */
export function samplingBounds(planned: readonly { readonly everyMs: number }[]): {
  readonly minMs: number;
  readonly maxMs: number;
} {
  const intervals = planned.map(({ everyMs }) => everyMs);
  return { minMs: Math.min(...intervals), maxMs: Math.max(...intervals) * THIN_CRITICAL };
}

/**
 * The level that was told last. It rises with what is recorded, and falls with what is released: between records of
 * different lengths, of which one has room and the next one does not, it does not move.
 */
export class Fullness {
  level: Level = "normal";
  #used = 0;

  /** Takes what the journal says; true where the level has changed. */
  update({ level, used }: JournalUsage): boolean {
    const rises = LEVELS.indexOf(level) > LEVELS.indexOf(this.level);
    const released = used < this.#used;
    this.#used = used;
    if (level === this.level || !(rises || released)) return false;
    this.level = level;
    return true;
  }

  /** What the application is told when the level has risen; undefined where nothing is wrong. */
  warning({ level, used, sectors }: JournalUsage): Failure | undefined {
    if (level !== "warning" && level !== "critical") return undefined;
    return fail("JOURNAL_FILLING", `${used} of ${sectors} sectors hold what is not released (${level})`).failure;
  }
}
