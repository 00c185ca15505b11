import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import type { AppendState, Tail } from "./append.js";
import { FrameType, isWhole, linkOf, nothingReleased, type Released, readFrameHeader, readReleased } from "./frame.js";
import { BAD_SECTORS_MAX, FRAME_HEADER_BYTES, POSITION_BODY_BYTES, SECTOR_HEADER_BYTES } from "./layout.js";
import { findNewest, type NewestSector } from "./mount.js";
import type { MountReport } from "./report.js";
import type { Ring } from "./ring.js";
import { type Candidate, isErased, type SectorScan } from "./scan.js";
import { type SectorHeader, TAIL_ID_BYTES } from "./sector.js";
import { type EarlierEnd, type Named, type OpenTail, openTails, type TailReader, type TailVerdict } from "./tail.js";

/**
 * How a mount comes from what it finds at the end of the journal to what it may go on with. The steps stand beside each
 * other and not within: a board's stack is short. Nothing here writes.
 */

/** Reads the end of the journal. The codes are those of `Journal.mount` where nothing was written. */
export function recover(ring: Ring, sha256: Sha256, tails: TailReader): Result<Recovered> {
  const newest = findNewest(ring, sha256);
  if (!newest.ok) return newest;
  const open = newestOpen(ring, tails, newest.value);
  const scan = open.ordinal >= ring.geometry.sectors ? tails.scan(open.ordinal, open.header) : undefined;
  // What the newest sector does not tell, those before it do.
  const asks = scan !== undefined && (!scan.decided || scan.settled === undefined);
  const earlier = asks ? tails.before(open.ordinal, namedBy(open.header, scan.settled)) : undefined;
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

/** What the sectors before one are asked for: the record that it carries, or else the one that its header names. */
function namedBy(header: SectorHeader | undefined, carried: Candidate | undefined): Named | undefined {
  if (carried?.id === undefined || carried.seq === undefined) return header;
  return { tailId: carried.id.slice(0, TAIL_ID_BYTES), firstSeq: carried.seq + 1 };
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
  return before.opened && before.verdict === linkOf(header.tailId);
}

/** What the walks say of the journal's end. Where it is open, `verdict` says what is to be decided before anything is told. */
function conclude(
  ring: Ring,
  tails: TailReader,
  { ordinal: newest, header }: NewestSector,
  { scan, earlier, open, judged, last, disposable }: Ends,
  linear: boolean,
): Result<Recovered> {
  const { geometry } = ring;
  // Cells from the end on are as erased, but for a slot that a start may have begun to write. Where they are not, the sector
  // is closed.
  const usable =
    last === newest &&
    scan !== undefined &&
    (geometry.unitBytes !== 1 || isErasedFrom(ring, newest, scan.end + geometry.slotBytes));
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
  const state = {
    head: newest,
    last,
    chain: chainOf(ring, newest, header, before.ok ? before.value : undefined),
    end: scan?.end ?? 0,
    usable,
    durable: scan?.released ?? releasedBefore(ring, newest),
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
  // A verdict that nothing proves is said again before it is told.
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

/** What the sectors before say was released: the newest position frame of those that openings write. */
function releasedBefore(ring: Ring, newest: number): Released {
  const { geometry } = ring;
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + POSITION_BODY_BYTES);
  const oldest = Math.max(geometry.sectors, newest - POSITION_SECTORS_MAX);
  for (let ordinal = newest - 1; ordinal >= oldest; ordinal--) {
    ring.read(ring.at(ordinal) + SECTOR_HEADER_BYTES, bytes);
    const frame = readFrameHeader(bytes, 0);
    if (frame?.type === FrameType.position && isWhole({ ordinal, offset: SECTOR_HEADER_BYTES }, bytes, 0, frame))
      return readReleased(bytes, FRAME_HEADER_BYTES);
  }
  return nothingReleased();
}

function isErasedFrom(ring: Ring, ordinal: number, offset: number): boolean {
  const bytes = ring.sector(ordinal);
  return isErased(bytes, offset, bytes.length);
}
