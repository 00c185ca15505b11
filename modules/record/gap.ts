import { utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { type Cbor, decodeCbor, encodeCbor } from "./cbor.js";
import { ID_BYTES, isMap, isUint } from "./record.js";

/**
 * The gap record's payload: which records may be missing on purpose, and what they said. SPEC.md has the bytes and what
 * each number must be to the others; this file is that table.
 */

/** What the readings of one quantity come to. */
export interface GapSummary {
  readonly name: string;
  readonly minimum: number;
  readonly maximum: number;
  readonly mean: number;
  /** How many values that is; faults are none. */
  readonly values: number;
}

/** An earlier gap record whose records this one names too. */
export interface TakenOver {
  /** Position and id of the earlier gap record. */
  readonly seq: number;
  readonly id: Uint8Array;
  /** The first position that the earlier one does not name and this one does: `root` begins there. */
  readonly from: number;
}

export interface Gap {
  /** Every record from `first` to `last` may be missing. */
  readonly first: number;
  readonly last: number;
  /** Records that were dropped: all of them, but for those between two gaps that the relay had acknowledged. */
  readonly count: number;
  /** Id of the record at `last`: the `prev` of the record after it. */
  readonly lastId: Uint8Array;
  /** RFC 9162 root over the ids from `first`, or from `takenOver.from`, to `last`; an id is a leaf hash. */
  readonly root: Uint8Array;
  /** By quantity, in the order in which they first came. */
  readonly summaries: readonly GapSummary[];
  readonly takenOver?: TakenOver;
}

/** Quantities that a gap sums up; a record has room for as many names of 64 bytes. */
export const GAP_SUMMARIES_MAX = 32;
const NAME_MAX_BYTES = 64;

export function encodeGap(gap: Gap): Uint8Array {
  const { takenOver } = gap;
  const map = new Map<number, Cbor>([
    [1, gap.first],
    [2, gap.last],
    [3, gap.count],
    [4, gap.lastId],
    [5, gap.root],
    [6, gap.summaries.map(({ name, minimum, maximum, mean, values }) => [name, minimum, maximum, mean, values])],
  ]);
  if (takenOver) map.set(7, [takenOver.seq, takenOver.id, takenOver.from]);
  return encodeCbor(map);
}

/** Reads a gap record's payload. RECORD_MALFORMED names the label that did not fit. */
export function readGap(payload: Uint8Array): Result<Gap> {
  const decoded = decodeCbor(payload);
  if (!decoded.ok) return decoded;
  const map = decoded.value;
  if (!isMap(map)) return fail("RECORD_MALFORMED", "expected a map as payload, received another type");
  for (const label of map.keys())
    if (!LABELS.includes(label as number))
      return fail("RECORD_MALFORMED", `label ${label} is not of this kind of payload`);
  const [first, last, count] = [map.get(1), map.get(2), map.get(3)];
  // Genesis is position 0: it is never dropped.
  if (!isUint(first) || first < 1) return malformed(1, "a position after genesis");
  if (!isUint(last) || last < first) return malformed(2, `a position from ${first} on`);
  const lastId = map.get(4);
  if (!isHash(lastId)) return malformed(4, "the id of the last record");
  const root = map.get(5);
  if (!isHash(root)) return malformed(5, "the root over the ids");
  const takenOver = map.has(7) ? takenOverOf(map.get(7)) : undefined;
  if (map.has(7) && (!takenOver || takenOver.from <= first || takenOver.from > last || takenOver.seq < takenOver.from))
    return malformed(7, "position and id of an earlier gap record, and where this one goes on");
  // Of the records before `from` the earlier gap counted some, at least one and at most all.
  const most = last - first + 1;
  const least = takenOver ? last - takenOver.from + 2 : most;
  if (!isUint(count) || count < least || count > most) return malformed(3, `a count from ${least} to ${most}`);
  const summaries = summariesOf(map.get(6));
  if (!summaries) return malformed(6, `at most ${GAP_SUMMARIES_MAX} summaries, one a quantity`);
  return ok({ first, last, count, lastId, root, summaries, ...(takenOver && { takenOver }) });
}

const LABELS: readonly number[] = [1, 2, 3, 4, 5, 6, 7];

function summariesOf(value: Cbor | undefined): GapSummary[] | undefined {
  if (!Array.isArray(value) || value.length > GAP_SUMMARIES_MAX) return undefined;
  const summaries: GapSummary[] = [];
  for (const item of value as Cbor[]) {
    if (!Array.isArray(item) || item.length !== 5) return undefined;
    const [name, minimum, maximum, mean, values] = item as Cbor[];
    if (typeof name !== "string" || name.length === 0 || utf8(name).length > NAME_MAX_BYTES) return undefined;
    if (typeof minimum !== "number" || typeof maximum !== "number" || typeof mean !== "number") return undefined;
    if (!isUint(values) || values === 0 || minimum > mean || mean > maximum) return undefined;
    if (summaries.some((summary) => summary.name === name)) return undefined;
    summaries.push({ name, minimum, maximum, mean, values });
  }
  return summaries;
}

function takenOverOf(value: Cbor | undefined): TakenOver | undefined {
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const [seq, id, from] = value as Cbor[];
  return isUint(seq) && isHash(id) && isUint(from) ? { seq, id, from } : undefined;
}

function isHash(value: Cbor | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === ID_BYTES;
}

function malformed(label: number, expected: string): Result<never> {
  return fail("RECORD_MALFORMED", `label ${label}: expected ${expected}`);
}
