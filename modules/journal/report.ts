import type { Kind } from "../record/record.js";

/** What the journal tells of itself. */

/** A record's place and name. */
export interface Position {
  readonly seq: number;
  readonly id: Uint8Array;
}

/** The newest record, as far as the next one depends on it. */
export interface JournalHead extends Position {
  readonly kid: Uint8Array;
  readonly boot: number;
  readonly uptimeMs: number;
  readonly kind: Kind;
}

/** What mount found, and what it did about the end of the journal. */
export interface MountReport {
  /**
   * `none`: no record yet. `settled`: named by what was written after it. `stands`: whole and signed. `signed`: its
   * signature was missing and was made again. `voided`: bytes behind it were torn. `undecided`: there was no room to say
   * what becomes of the bytes behind it; nothing is appended until there is. `damaged`: a committed record has changed.
   */
  readonly tail: "none" | "settled" | "stands" | "signed" | "voided" | "undecided" | "damaged";
  /** Where `tail` is damaged: what has changed. */
  readonly damage?: string;
  /** Bytes of frames in the newest sector that do not stand. */
  readonly voidBytes: number;
  /** Every sector's header was read, because one did not fit. */
  readonly linear: boolean;
  readonly reads: number;
  readonly bytesRead: number;
}

/** How full the journal is. */
export interface JournalUsage {
  /** Sectors that ordinary records may fill. */
  readonly sectors: number;
  /** Of them, those that hold what is not released, the newest included. */
  readonly used: number;
  /** `warning` from 75 %, `critical` from 90 %, `full` where another record like the newest is refused. */
  readonly level: "normal" | "warning" | "critical" | "full";
}

/** Of the sectors that ordinary records may fill. */
export const WARNING_FRACTION = 0.75;
export const CRITICAL_FRACTION = 0.9;
