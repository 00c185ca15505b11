import { fail, ok, type Result } from "../codes/codes.js";
import type { AppendState, Tail } from "./append.js";
import { isWholeButForHeader, linkOf, nothingReleased, type Released } from "./frame.js";
import { BAD_SECTORS_MAX } from "./layout.js";
import { findNewest, type NewestSector } from "./mount.js";
import type { MountReport } from "./report.js";
import type { Ring } from "./ring.js";
import { isErased, type SectorScan } from "./scan.js";
import type { SectorHeader } from "./sector.js";
import { type EarlierEnd, type OpenTail, openTails, type TailReader, type TailVerdict } from "./tail.js";

/**
 * How a mount comes from what it finds at the end of the journal to what it may go on with. The steps stand beside each
 * other and not within: a board's stack is short. Nothing here writes.
 */

/** Reads the end of the journal. The codes are those of `Journal.mount` where nothing was written. */
export function recover(ring: Ring, tails: TailReader): Result<Recovered> {
  const newest = findNewest(ring, tails);
  if (!newest.ok) return newest;
  const open = newestOpen(ring, tails, newest.value);
  const scan = open.ordinal >= ring.geometry.sectors ? tails.scan(open.ordinal, open.header) : undefined;
  // What the newest sector does not tell, those before it do.
  const asks = scan !== undefined && (!scan.decided || scan.settled === undefined);
  const earlier = asks ? tails.before(open.ordinal, open.header) : undefined;
  const ends = scan === undefined ? [] : openTails(open.ordinal, scan);
  if (earlier && !scan?.decided) ends.push(...earlier.open);
  const judged = tails.judge(ends);
  const last = newest.value.ordinal;
  const disposable = open.ordinal === last && holdsNothing(ring, tails, open, scan);
  return conclude(ring, tails, open, { scan, earlier, open: ends, judged, last, disposable }, newest.value.linear);
}

/** Sectors before the newest that are asked for a position frame. */
const POSITION_SECTORS_MAX = 4;

/** What the walks found at the end of the journal. */
interface Ends {
  /** Of the newest sector, where one was ever opened. */
  readonly scan: SectorScan | undefined;
  readonly earlier: EarlierEnd | undefined;
  readonly open: readonly OpenTail[];
  readonly judged: TailVerdict | undefined;
  /** Highest ordinal that a header has: above the newest open sector where openings were not finished. */
  readonly last: number;
  /** Erasing the newest sector takes nothing away. */
  readonly disposable: boolean;
}

/** What follows from that, and what is still to be decided before anything is told. */
export interface Recovered {
  readonly state: AppendState;
  /** A committed record has changed: nothing is appended. */
  readonly damage?: string;
  readonly report: MountReport;
  readonly verdict?: { readonly open: readonly OpenTail[]; readonly judged: TailVerdict };
}

/**
 * The newest sector that was opened to the end: something legible stands behind its position frame. Without that,
 * header or position may be the last that was written, and their cells not driven to the end. Nothing depends on them
 * yet; the sector is opened again, and nothing is appended to the one before, lest they be believed later.
 */
function newestOpen(ring: Ring, tails: TailReader, newest: NewestSector): NewestSector {
  let open = newest;
  const { sectors } = ring.geometry;
  for (let n = 0; n <= BAD_SECTORS_MAX && open.ordinal >= sectors; n++) {
    if (tails.scan(open.ordinal, open.header).opened) return open;
    open = { ...open, ordinal: open.ordinal - 1, header: ring.header(open.ordinal - 1) };
  }
  return open;
}

/**
 * Nothing in the sector stands or may have been signed, and what is said in it, a sector before says too: erasing it
 * takes nothing away.
 */
function holdsNothing(
  ring: Ring,
  tails: TailReader,
  { ordinal, header }: NewestSector,
  scan: SectorScan | undefined,
): boolean {
  if (header === undefined || scan === undefined) return false;
  if (scan.settled !== undefined || scan.tail?.whole || scan.tries.length > 0) return false;
  if (!scan.decided) return true;
  const before = tails.scan(ordinal - 1, ring.header(ordinal - 1));
  // What is proved here stays until it is proved there as well.
  return before.opened && before.verdict === linkOf(header.tailId) && (!scan.proved || !before.unproved);
}

/** What the walks say of the journal's end. Where it is open, `verdict` says what is to be decided before anything is told. */
function conclude(
  ring: Ring,
  tails: TailReader,
  { ordinal: newest, header }: NewestSector,
  { scan, earlier, open, judged, last, disposable }: Ends,
  linear: boolean,
): Result<Recovered> {
  // Where a bit is programmed behind the end, a frame may be legible to one start and not to another, and one that it was
  // legible to may have touched cells anywhere behind it. Units of an encrypted partition that were touched refuse.
  const written = scan !== undefined && ring.geometry.unitBytes === 1 && !isErasedFrom(ring, newest, scan.end);
  if (judged?.kind === "foreign") return fail("JOURNAL_FOREIGN", judged.detail);
  const before =
    judged?.kind === "stands"
      ? ok(judged.tail)
      : scan?.settled !== undefined
        ? tails.standing(newest, scan.settled)
        : (earlier?.tail ?? ok(undefined));
  let damage: string | undefined;
  if (!before.ok) {
    if (before.failure.code !== "JOURNAL_TAIL_DAMAGED") return before;
    damage = before.failure.detail;
  }
  if (judged?.kind === "damaged") damage = judged.detail;
  else if (scan?.missing) damage = `sector ${newest} names a record that cannot be read`;
  else if (written && before.ok && isHidden(ring, newest, scan!.end, before.value))
    damage = `the header of the frame at sector ${newest}, byte ${scan!.end} has changed since its record was written`;
  const state = {
    head: newest,
    last,
    chain: chainOf(ring, newest, header, before.ok ? before.value : undefined),
    end: scan?.end ?? 0,
    usable: last === newest && scan !== undefined && !written,
    durable: scan?.released ?? releasedBefore(ring, tails, newest),
    tail: before.ok ? before.value : undefined,
    disposable: disposable && damage === undefined,
  };
  const report = { voidBytes: scan?.voidBytes ?? 0, linear, reads: ring.reads, bytesRead: ring.bytesRead };
  if (damage !== undefined) return ok({ state, damage, report: { ...report, tail: "damaged", damage } });
  if (judged?.kind === "unsigned" || judged?.kind === "void") {
    const tail = judged.kind === "void" ? "voided" : "signed";
    return ok({ state, report: { ...report, tail }, verdict: { open, judged } });
  }
  const tail = state.tail === undefined ? "none" : judged?.kind === "stands" ? "stands" : "settled";
  // What nothing proves is said again before it is told.
  return ok({
    state,
    report: { ...report, tail },
    ...(scan?.unproved && { verdict: { open: [], judged: { kind: "void" } } }),
  });
}

/**
 * Ordinal of the sector that the tail's chain began in. The newest sector may have been opened for another chain, of which
 * a cut has left nothing; where a header is damaged, the nearest sound one before tells.
 */
function chainOf(ring: Ring, newest: number, header: SectorHeader | undefined, tail: Tail | undefined): number {
  const { sectors } = ring.geometry;
  if (header !== undefined && (tail === undefined || tail.ordinal === newest)) return header.chain;
  const last = tail?.ordinal ?? newest;
  for (let ordinal = last; ordinal > newest - sectors && ordinal >= sectors; ordinal--) {
    const sound = ring.header(ordinal);
    if (sound !== undefined) return sound.chain;
  }
  return last;
}

/** What the sectors before say was released, by their newest position frame. */
function releasedBefore(ring: Ring, tails: TailReader, newest: number): Released {
  const oldest = Math.max(ring.geometry.sectors, newest - POSITION_SECTORS_MAX);
  for (let ordinal = newest - 1; ordinal >= oldest; ordinal--) {
    const { released } = tails.scan(ordinal, ring.header(ordinal));
    if (released !== undefined) return released;
  }
  return nothingReleased();
}

/** Whether the record behind the newest that can be read stands there, behind a header that has changed. */
function isHidden(ring: Ring, ordinal: number, offset: number, newest: Tail | undefined): boolean {
  return isWholeButForHeader({ ordinal, offset }, ring.sector(ordinal), offset, linkOf(newest?.id));
}

function isErasedFrom(ring: Ring, ordinal: number, offset: number): boolean {
  const bytes = ring.sector(ordinal);
  return isErased(bytes, offset, bytes.length);
}
