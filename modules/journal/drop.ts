import { fail, ok, type Result } from "../codes/codes.js";
import { readGap } from "../record/gap.js";
import { Kind, parseRecord } from "../record/record.js";
import type { Appender } from "./append.js";
import type { Released } from "./frame.js";
import { GAP_MARGIN_SECTORS, RESERVED_SECTORS } from "./layout.js";
import type { Ring } from "./ring.js";
import { TAIL_ID_BYTES } from "./sector.js";

/**
 * What a signed gap record must name before the ring may go on: the oldest records that are not released, in whole
 * sectors. Nothing here writes. Until the gap is committed its records are as safe as any other.
 */

/** Positions of records that have to go, both ends included. */
export interface DropRange {
  readonly first: number;
  readonly last: number;
}

/** Sectors that the gap's own record may open. */
const GAP_OPENS = 1;

/**
 * The records that a gap must name so that a body of `bodyBytes` fits behind it; undefined where it fits already.
 * JOURNAL_FULL where no gap helps: genesis is not released, or the ring is too small.
 */
export function planDrop(ring: Ring, appender: Appender, bodyBytes: number): Result<DropRange | undefined> {
  const { head, tail, chain, released } = appender;
  const kept = RESERVED_SECTORS + GAP_MARGIN_SECTORS;
  const opens = appender.opensFor(bodyBytes);
  if (tail === undefined || appender.spare >= kept + opens) return ok(undefined);
  // An older chain counts as released with the first record of this one, so that this asks for both.
  if (released.chain !== chain || released.count === 0)
    return fail("JOURNAL_FULL", "the relay has not acknowledged genesis, which no gap may name");
  const oldestKept = appender.newestAfter(GAP_OPENS) + kept + opens + 1 - ring.geometry.sectors;
  for (let ordinal = oldestKept; ordinal <= Math.min(head, tail.ordinal); ordinal++) {
    const header = ring.header(ordinal);
    if (header === undefined || header.chain !== chain) continue;
    const last = header.firstSeq - 1;
    if (last < released.count || last >= tail.header.seq) break;
    return ok({ first: released.count, last });
  }
  return fail("JOURNAL_FULL", `no gap makes room in ${ring.geometry.sectors} sectors`);
}

/** The position that a committed gap record releases to; undefined where as much is released. RECORD_MALFORMED. */
export function releasedBy(bytes: Uint8Array, { chain, released }: Appender): Result<Released | undefined> {
  const record = parseRecord(bytes);
  if (!record.ok) return record;
  const { kind, seq } = record.value.header;
  const gap = kind === Kind.gap ? readGap(record.value.payload) : fail("RECORD_MALFORMED", `seq ${seq} is no gap`);
  if (!gap.ok) return gap;
  const { last, lastId } = gap.value;
  if (last >= seq) return fail("RECORD_MALFORMED", `the gap at seq ${seq} names itself`);
  if (released.chain === chain && last < released.count) return ok(undefined);
  return ok({ chain, count: last + 1, id: lastId.slice(0, TAIL_ID_BYTES) });
}
