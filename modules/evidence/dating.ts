import { toHex } from "../bytes/bytes.js";
import { readMark } from "../record/payload.js";
import { Kind, type Record } from "../record/record.js";
import { readPack } from "../record/senml.js";

/** Whether a record is dated before a beacon that its chain holds before it: SPEC.md, Dates. */

/**
 * By how much a date may lie before a beacon: a reading may wait a day to be committed (sampler/SPEC.md, Limits), so that a
 * mark may come between, and clocks may differ by an hour.
 */
export const DATE_TOLERANCE_S = 90_000;

/** What a mark says of the newest acknowledgement: a tree that nobody could name before the log had signed it. */
export interface Beacon {
  readonly logSize: number;
  readonly logRoot: Uint8Array;
  /** When the relay acknowledged, by the device's word: seconds since 1970. */
  readonly timeS: number;
}

/** The beacon in a record; undefined where it has none. */
export function beaconOf({ header, payload }: Record): Beacon | undefined {
  const mark = header.kind === Kind.mark ? readMark(payload) : undefined;
  return mark?.ok ? mark.value.acknowledgement : undefined;
}

/**
 * The time that a record states, milliseconds since 1970: of readings that of the newest, of a mark that of its
 * acknowledgement. Undefined where it states none, as while the clock is unset.
 */
export function dateOf(record: Record): number | undefined {
  const { kind, clock } = record.header;
  if (kind !== Kind.readings) {
    const beacon = beaconOf(record);
    return beacon && beacon.timeS * 1000;
  }
  const readings = clock > 0 ? readPack(record.payload, clock) : undefined;
  const newest = readings?.ok ? readings.value[readings.value.length - 1] : undefined;
  return newest && newest.timeS * 1000;
}

/** Whether a record that states `datedMs` contradicts a beacon before it that was not there before `notBeforeMs`. */
export function isBackdated(datedMs: number, notBeforeMs: number): boolean {
  return datedMs < notBeforeMs - DATE_TOLERANCE_S * 1000;
}

/** The mark whose time is the latest of those at or before a position. */
export interface Said {
  readonly seq: number;
  readonly timeMs: number;
}

/** Records by the key that signed them, in the order in which they come. */
export function byChain(records: Iterable<Record>): Map<string, Record[]> {
  const chains = new Map<string, Record[]>();
  for (const record of records) {
    const kid = toHex(record.header.kid);
    const chain = chains.get(kid);
    if (chain) chain.push(record);
    else chains.set(kid, [record]);
  }
  return chains;
}

/**
 * What the marks of one chain say of time, by the device's own word alone: for whoever has its records and no log. Records
 * in any order.
 */
export class OwnWord {
  readonly #marks: readonly Said[];

  constructor(records: Iterable<Record>) {
    const marks: Said[] = [];
    for (const record of records) {
      const beacon = beaconOf(record);
      if (beacon) marks.push({ seq: record.header.seq, timeMs: beacon.timeS * 1000 });
    }
    marks.sort((a, b) => a.seq - b.seq);
    this.#marks = marks.filter(raises());
  }

  /** The latest time that a mark at or before `seq` names; undefined where there is none. */
  before(seq: number): Said | undefined {
    for (let i = this.#marks.length - 1; i >= 0; i--) if (this.#marks[i]!.seq <= seq) return this.#marks[i];
    return undefined;
  }

  /** The mark that a record's date contradicts; undefined where there is none. */
  against(record: Record): Said | undefined {
    const datedMs = dateOf(record);
    const said = datedMs === undefined ? undefined : this.before(record.header.seq);
    return said && isBackdated(datedMs!, said.timeMs) ? said : undefined;
  }
}

/** Keeps those that name a later time than all before them. */
function raises(): (said: Said) => boolean {
  let latestMs = Number.NEGATIVE_INFINITY;
  return ({ timeMs }) => {
    if (timeMs <= latestMs) return false;
    latestMs = timeMs;
    return true;
  };
}
