import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Code, type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { FrameType, linkOf, nothingReleased, type Released, readReleased } from "tallystick/journal/frame";
import { Journal } from "tallystick/journal/journal";
import { BAD_SECTORS_MAX, FRAME_HEADER_BYTES, type Geometry, SECTOR_BYTES_MIN } from "tallystick/journal/layout";
import type { JournalUsage, MountReport } from "tallystick/journal/report";
import { isErased } from "tallystick/journal/scan";
import { openTails } from "tallystick/journal/tail";
import { KIND_WORDS, parseRecord, recordId } from "tallystick/record/record";
import { checkLength, findGeometry, openedSectors, readSectors, type SectorImage } from "../inspect/journal-image.js";
import { type Frame, type Piece, walkSector } from "../inspect/walk.js";
import { ImageFlash } from "./image-flash.js";
import { ImageSigners, isPlaceholder, isSignedBy, type KnownKey, keysOf, sha256 } from "./keys.js";
import { type Step, stepsOf } from "./steps.js";

/** A record, or a part of the partition, that is not as it was committed. */
export interface Damage {
  readonly seq?: number;
  readonly sector?: number;
  /** Of a sector's header there is none: the journal reads on without. */
  readonly code?: Code;
  readonly detail: string;
}

/** A place in the image. */
export interface Place {
  readonly sector: number;
  readonly offset: number;
}

/** What the next start would do about an image, and what it would find. */
export interface Examination {
  readonly geometry: Geometry;
  readonly keys: readonly KnownKey[];
  /** kids of records that no key is known for. */
  readonly unknownKids: readonly Uint8Array[];
  readonly tail: MountReport["tail"];
  /** What recovery would write. */
  readonly steps: readonly Step[];
  /** What it would write instead if a signature that cannot be verified here turned out to be none; absent where the same. */
  readonly ifUnsigned: { readonly tail: MountReport["tail"]; readonly steps: readonly Step[] } | undefined;
  /** The record that the journal ends with and that nothing names. */
  readonly open: (Place & { readonly whole: boolean }) | undefined;
  /** The newest sector that has a header. Where recovery opens its ordinal, it does so again. */
  readonly newest:
    | {
        readonly ordinal: number;
        readonly sector: number;
        readonly opened: boolean;
        readonly holds: string;
        /** A bit behind its last frame is programmed: the device appends nothing there. */
        readonly closed: boolean;
      }
    | undefined;
  readonly head: { readonly seq: number; readonly kind: string; readonly id: Uint8Array | undefined } | undefined;
  readonly firstSeq: number;
  readonly released: Released;
  /** Ordinal of the sector that the head's chain began in. */
  readonly chain: number;
  readonly usage: JournalUsage;
  readonly readBack: number;
  readonly verified: number;
  /** Positions of records that stand if the signature that the device makes again is the one that a frame names. */
  readonly presumed: readonly number[];
  readonly damage: readonly Damage[];
  readonly notes: readonly string[];
}

/**
 * Runs the journal's own mount on a copy of the image, then reads every record that it holds. Fails with what the device
 * would fail with, or FILE_UNREADABLE where the image is not a whole partition.
 */
export function examine(image: Uint8Array, given: readonly KnownKey[]): Result<Examination> {
  const found = findGeometry(image);
  if (found !== undefined && !found.ok) return found;
  // Without a header that says more: as a blank or a destroyed partition of plain flash.
  const geometry = found?.value ?? PLAIN;
  if (found !== undefined && image.length < geometry.sectors * geometry.sectorBytes) {
    const length = checkLength(image, geometry);
    if (!length.ok) return length;
  }
  const inImage = found === undefined ? { kids: [], keys: [], records: [] } : keysOf(image, geometry);
  const keys = given.length > 0 ? given : inImage.keys;
  const unknownKids = inImage.kids.filter((kid) => !keys.some((key) => equalBytes(key.kid, kid)));
  // Where a key is named, the journal is to be that key's: another's is JOURNAL_FOREIGN, as on the device.
  const blind = given.length > 0 ? [] : unknownKids;
  const { records } = inImage;
  const run = recover(image, geometry, new ImageSigners(records, keys, blind, true));
  if (!run.ok) return run;
  const other = run.value.signers.blind
    ? recover(image, geometry, new ImageSigners(records, keys, blind, false))
    : undefined;
  return ok(report(image, geometry, keys, unknownKids, run.value, other?.ok ? other.value : undefined));
}

const PLAIN: Geometry = {
  sectors: 0,
  sectorBytes: SECTOR_BYTES_MIN,
  unitBytes: 1,
  alignBytes: 4,
  slotBytes: 12,
};

interface Run {
  readonly journal: Journal;
  readonly steps: readonly Step[];
  readonly signers: ImageSigners;
}

function recover(image: Uint8Array, geometry: Geometry, signers: ImageSigners): Result<Run> {
  const flash = new ImageFlash(image, geometry);
  const mounted = Journal.mount({ flash, sha256: signers.sha256, signers: signers.signers });
  if (!mounted.ok) return mounted;
  return ok({ journal: mounted.value, steps: stepsOf(flash.takeOperations(), geometry), signers });
}

function report(
  image: Uint8Array,
  geometry: Geometry,
  keys: readonly KnownKey[],
  unknownKids: readonly Uint8Array[],
  run: Run,
  other: Run | undefined,
): Examination {
  const { journal, steps, signers } = run;
  const { tail } = journal.report;
  const { head } = journal;
  const { firstSeq, usage } = journal;
  const signedAgain = new Set(tail === "signed" && head ? [head.seq] : []);
  const records = readAll(journal, keys, signedAgain);
  const opened = openedSectors(image, geometry);
  return {
    geometry,
    keys,
    unknownKids,
    tail,
    steps,
    ifUnsigned:
      other && JSON.stringify(other.steps) !== JSON.stringify(steps)
        ? { tail: other.journal.report.tail, steps: other.steps }
        : undefined,
    open: openEnd(geometry, opened, tail === "signed"),
    newest: newestSector(geometry, opened.at(-1)),
    head: head && {
      seq: head.seq,
      kind: KIND_WORDS[head.kind],
      // Of a record whose signature has to be made again only the device can tell it.
      id: signers.unsigned.has(head.seq) ? undefined : head.id,
    },
    firstSeq,
    released: releasedIn(geometry, opened),
    chain: newestChain(opened) ?? 0,
    usage,
    readBack: records.readBack,
    verified: records.verified,
    presumed: records.presumed,
    damage: [
      ...(tail === "damaged" ? [{ code: "JOURNAL_TAIL_DAMAGED", detail: journal.report.damage ?? "" } as const] : []),
      ...records.damage,
      ...damagedSectors(image, geometry),
    ],
    notes: [...comparisons(signers, signedAgain, records.presumed), ...earlierChains(opened)],
  };
}

interface ReadRecords {
  readonly readBack: number;
  readonly verified: number;
  readonly presumed: readonly number[];
  readonly damage: readonly Damage[];
}

/** Every record of the head's chain that the journal holds: its bytes, its signature, and that it names the one before. */
function readAll(journal: Journal, keys: readonly KnownKey[], signedAgain: ReadonlySet<number>): ReadRecords {
  const damage: Damage[] = [];
  const presumed: number[] = [];
  let readBack = 0;
  let verified = 0;
  let before: { readonly seq: number; readonly id: Uint8Array } | undefined;
  const last = journal.head?.seq ?? -1;
  for (let seq = journal.head ? journal.firstSeq : 0; seq <= last; seq++) {
    const bytes = journal.record(seq);
    const record = bytes.ok ? parseRecord(bytes.value) : bytes;
    if (!record.ok) {
      damage.push({ seq, ...record.failure });
      continue;
    }
    const { kid, prev } = record.value.header;
    if (before?.seq === seq - 1 && !equalBytes(prev, before.id))
      damage.push({
        seq,
        code: "CHAIN_BROKEN",
        detail: `its prev is ${toHex(prev)}, seq ${seq - 1} is ${toHex(before.id)}`,
      });
    // What it will read as only the device can tell.
    if (isPlaceholder(record.value.signature)) {
      if (!signedAgain.has(seq)) presumed.push(seq);
      continue;
    }
    readBack++;
    before = { seq, id: recordId(sha256, record.value.bytes) };
    const key = keys.find((known) => equalBytes(known.kid, kid));
    if (key === undefined) continue;
    if (isSignedBy(key, record.value)) verified++;
    else damage.push({ seq, code: "SIGNATURE_INVALID", detail: `it was not signed by the key with kid ${toHex(kid)}` });
  }
  return { readBack, verified, presumed, damage };
}

/**
 * The record that the newest sectors end with and that nothing in them names; a whole one where that is `wanted`. Where the
 * newest names or carries a record, it is one behind that.
 */
function openEnd(
  geometry: Geometry,
  opened: ReturnType<typeof openedSectors>,
  wanted: boolean,
): (Place & { readonly whole: boolean }) | undefined {
  const found: (Place & { readonly whole: boolean })[] = [];
  let before: number | undefined;
  for (const { slot, ordinal, header, bytes } of opened.toReversed()) {
    const { scan } = walkSector({ geometry, sha256, ordinal, header, bytes });
    if (!scan.opened) continue;
    before ??= scan.settled ? linkOf(scan.settled.id) : header && linkOf(header.tailId);
    for (const { candidate } of openTails(ordinal, scan))
      if (before === undefined || candidate.link === before)
        found.push({ sector: slot, offset: candidate.offset, whole: candidate.whole });
    if (scan.decided) break;
  }
  return found.find(({ whole }) => whole === wanted) ?? found[0];
}

function newestSector(
  geometry: Geometry,
  sector: ReturnType<typeof openedSectors>[number] | undefined,
): Examination["newest"] {
  if (sector === undefined) return undefined;
  const { slot, ordinal, header, bytes } = sector;
  const { pieces, scan } = walkSector({ geometry, sha256, ordinal, header, bytes });
  // Of an encrypted partition no dump tells.
  const closed = geometry.unitBytes === 1 && !isErased(bytes, scan.end, bytes.length);
  return { ordinal, sector: slot, opened: scan.opened, holds: contentWords(pieces), closed };
}

/** What a sector holds in which nothing stands. */
function contentWords(pieces: readonly Piece[]): string {
  const count = (type: FrameType) =>
    pieces.filter((piece) => piece.kind === "frame" && piece.header.type === type).length;
  const records = count(FrameType.record);
  return [
    ...(records > 0 ? [records === 1 ? "a torn record" : `${records} torn records`] : []),
    ...(count(FrameType.void) > 0 ? ["a verdict that the sector before it ends with as well"] : []),
  ].join(" and ");
}

/** The newest position frame of a sector that was opened to the end: that is what the next start goes by. */
function releasedIn(geometry: Geometry, opened: ReturnType<typeof openedSectors>): Released {
  for (const { ordinal, header, bytes } of [...opened].reverse()) {
    const { pieces, scan } = walkSector({ geometry, sha256, ordinal, header, bytes });
    const position = pieces
      .filter((piece): piece is Frame => piece.kind === "frame" && piece.header.type === FrameType.position)
      .filter(({ verdict }) => verdict === "heeded")
      .at(-1);
    if (position !== undefined && scan.opened) return readReleased(bytes, position.offset + FRAME_HEADER_BYTES);
  }
  return nothingReleased();
}

/** Openings behind the newest sector that may have been cut: of it, of the next one, and of bad ones passed over. */
const CUT_OPENINGS_MAX = 2 + BAD_SECTORS_MAX;

/** Sectors without a sound header. Those right behind the newest are openings that were cut: the next ones erase them. */
function damagedSectors(image: Uint8Array, geometry: Geometry): Damage[] {
  const sectors = readSectors(image, geometry);
  const isStrange = ({ state }: SectorImage) => state !== "opened" && state !== "formatted";
  const newest = Math.max(geometry.sectors - 1, ...sectors.map(({ ordinal }) => ordinal ?? -1));
  const cut = new Set<number>();
  for (let ahead = 1; ahead <= CUT_OPENINGS_MAX; ahead++) {
    const sector = sectors[(newest + ahead) % geometry.sectors]!;
    if (!isStrange(sector) || sector.ordinal !== undefined) break;
    cut.add(sector.slot);
  }
  return sectors
    .filter((sector) => isStrange(sector) && !cut.has(sector.slot))
    .map(({ slot, ordinal, problem }) => ({
      sector: slot,
      detail: `${problem}; ${ordinal === undefined ? "what it held is not read" : "its frames are read all the same"}, and the next round of the ring writes it anew`,
    }));
}

/** Records whose signature the device would make, to have it or to compare it with what a frame's link names. */
function comparisons(
  { unsigned }: ImageSigners,
  signedAgain: ReadonlySet<number>,
  presumed: readonly number[],
): string[] {
  return [...unsigned]
    .filter((seq) => !signedAgain.has(seq))
    .map(
      (seq) =>
        `seq ${seq}: its cells do not hold its signature; the device makes it again, which this command cannot: ${presumed.includes(seq) ? "a frame says that it stands, which is believed here" : "it may stand there"}`,
    );
}

function earlierChains(opened: ReturnType<typeof openedSectors>): string[] {
  const chain = newestChain(opened);
  const earlier = opened.filter(({ header }) => header !== undefined && header.chain !== chain);
  if (earlier.length === 0) return [];
  const hold = earlier.length === 1 ? "1 sector holds" : `${earlier.length} sectors hold`;
  return [`${hold} records of an earlier chain: tallystick inspect shows them, they are not read here`];
}

/** Of the newest sector whose header can be read. */
function newestChain(opened: ReturnType<typeof openedSectors>): number | undefined {
  return opened.findLast(({ header }) => header !== undefined)?.header?.chain;
}

/** The failure of a file that is no journal, with what may be the reason. */
export function unreadable(failure: Failure): Failure {
  if (failure.code !== "JOURNAL_UNREADABLE") return failure;
  const hint = "of an encrypted partition, dump what the device reads, or decrypt the dump";
  return fail(failure.code, `${failure.detail}; ${hint}`).failure;
}
