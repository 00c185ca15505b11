import type { Sha256 } from "../identity/crypto.js";
import { recordId, SIGNATURE_BYTES } from "../record/record.js";
import {
  crcOf,
  type FrameHeader,
  FrameType,
  frameBytes,
  isWhole,
  isWholeButForHeader,
  linkOf,
  type Released,
  readFrameHeader,
  readReleased,
  signatureOffset,
} from "./frame.js";
import { FRAME_HEADER_BYTES, type Geometry, RECORDS_OFFSET, SECTOR_HEADER_BYTES } from "./layout.js";
import type { SectorHeader } from "./sector.js";

/**
 * Reads one sector's frames in their order and tells which records stand. The successor decides: a record that a later
 * frame's link names stands; one that a later frame passes over, by naming the record before it, is void; the last one is
 * the tail, about which this sector alone says nothing.
 *
 * A frame whose header is legible and whose link is expected is taken by its length, whole or not, so that nothing inside
 * of a torn body is ever taken for a frame. Where a header is not legible there was never a body behind it, and the walk
 * goes on slot by slot.
 */

export interface SectorView {
  readonly geometry: Geometry;
  readonly sha256: Sha256;
  readonly ordinal: number;
  /** undefined where the header is damaged: then the first whole frame is taken as it is. */
  readonly header: SectorHeader | undefined;
  /** The whole sector. */
  readonly bytes: Uint8Array;
  /** By offset, records with the signature that their key gives them; undefined for what no key here signs. */
  readonly signed?: ReadonlyMap<number, SignedAgain | undefined>;
}

/** A record whose signature was made again. */
export interface SignedAgain {
  readonly id: Uint8Array;
  /** Its cells hold the same signature. */
  readonly held: boolean;
}

/** A record's frame in a sector. Offsets only: the bytes stay in the sector's buffer. */
export interface Candidate {
  readonly offset: number;
  readonly bodyBytes: number;
  /** Header and body are whole. The signature is covered by the id alone. */
  readonly whole: boolean;
  /** Of the bytes as they were read, or with the signature made again; undefined where the body is not whole. */
  readonly id: Uint8Array | undefined;
  /** Position by counting from the header; undefined behind damage. */
  readonly seq: number | undefined;
  /** What the frame links to: the record before. */
  readonly link: number;
  /** The frame does not link to what was read before it: something there is damaged. */
  readonly afterDamage: boolean;
  /** It is torn, and a whole frame behind it names something else than the record before it: it was whole once. */
  readonly changed: boolean;
}

/** Where a walk may start again: before `offset`, after the record that `link` and `seq` tell. */
export interface Resume {
  readonly offset: number;
  readonly link: number | undefined;
  readonly seq: number | undefined;
}

export interface SectorScan {
  /** The last record that a later frame names, undefined where none of this sector is. */
  readonly settled: Candidate | undefined;
  /** The record after it that nothing names yet, whole or torn. */
  readonly tail: Candidate | undefined;
  /** Whole records at the tail's position before it, oldest first: the same record, which a recovery gave fresh cells. */
  readonly tries: readonly Candidate[];
  /** Something here was written after all that sectors before left open had been decided: a verdict, or a record that stands. */
  readonly decided: boolean;
  /**
   * The last word is a frame that the start that wrote it may have been cut in, so that its cells read as something else
   * tomorrow: a verdict with nothing right behind it, or the position frame that alone names the record that is carried.
   */
  readonly unproved: boolean;
  /** A verdict here was written to the end: something stands right behind it, or a start went on behind it. */
  readonly proved: boolean;
  /**
   * The last word decides that nothing stands behind the record that this link names: a verdict, or the position frame that
   * alone names the record that is carried.
   */
  readonly verdict: number | undefined;
  /** A void or position frame names a record behind the last one that stands, of which nothing can be read. */
  readonly missing: boolean;
  /** The opening was finished: what it wrote last has its effect, or something stands behind it. */
  readonly opened: boolean;
  /** Bytes of frames that do not stand. */
  readonly voidBytes: number;
  /** By the newest position frame: that of the opening, or one that a frame stands right behind. */
  readonly released: Released | undefined;
  /** Behind the last legible frame. */
  readonly end: number;
  /**
   * The walk ended here: a frame behind this whole record names neither it nor the one before. Perhaps the cells do not
   * hold the record's signature: TailReader has it made again, and walks anew.
   */
  readonly unresolved: Candidate | undefined;
}

/** What a walk tells of each record: `named` where a later frame's link names it. Return true to stop the walk. */
export type RecordVisitor = (record: Candidate, named: boolean, resume: Resume) => boolean;

export function scanSector(view: SectorView, visit?: RecordVisitor, from?: Resume): SectorScan {
  const { geometry, header, bytes, signed } = view;
  // What the walk knows is in two objects and not in variables: each takes a slot of a board's stack, all the way down.
  const walk: Walk = {
    link: from ? from.link : header && linkOf(header.tailId),
    seq: from ? from.seq : header && header.firstSeq - 1,
    resume: from ?? { offset: SECTOR_HEADER_BYTES, link: undefined, seq: undefined },
    voidEnd: undefined,
    said: undefined,
    carried: undefined,
    stopped: false,
  };
  let offset = walk.resume.offset;
  const scan: Mutable<SectorScan> = {
    settled: undefined,
    tail: undefined,
    tries: [],
    decided: false,
    unproved: false,
    proved: false,
    verdict: undefined,
    missing: false,
    opened: false,
    voidBytes: 0,
    released: undefined,
    end: offset,
    unresolved: undefined,
  };

  while (!walk.stopped && offset + geometry.slotBytes <= bytes.length) {
    const frame = readFrameHeader(bytes, offset);
    const size = frame ? frameBytes(geometry, frame.type, frame.bodyBytes) : 0;
    if (frame === undefined || offset + size > bytes.length) {
      if (isBurnt(bytes, offset, geometry.slotBytes)) {
        offset += geometry.slotBytes;
        scan.end = offset;
        continue;
      }
      if (geometry.unitBytes === 1 && isErased(bytes, offset, bytes.length)) break;
      offset += geometry.alignBytes;
      continue;
    }
    const { tail } = scan;
    const follows = tail?.id !== undefined && frame.link === linkOf(tail.id);
    const passes = walk.link !== undefined && frame.link === walk.link;
    const linked = follows || passes;
    const whole = isWhole({ ordinal: view.ordinal, offset }, bytes, offset, frame);
    if (!linked && tail?.whole && (whole || isBegun(geometry, bytes, offset, frame)) && !signed?.has(tail.offset)) {
      scan.unresolved = tail;
      break;
    }
    // What names neither a torn record nor the one before was written when that record was whole.
    if (!linked && whole && tail !== undefined && !tail.whole) scan.tail = { ...tail, changed: true };
    // And where nothing at all can be read between, the record that it names was there.
    const known = tail === undefined ? walk.link !== undefined : signed?.get(tail.offset) !== undefined;
    if (!linked && whole && known && offset > SECTOR_HEADER_BYTES) scan.missing = frame.type !== FrameType.record;
    else if (linked && frame.type === FrameType.record) scan.missing = false;
    if (frame.type === FrameType.record && !whole && passes && tail !== undefined) {
      // A torn try to give the tail fresh cells: what may have been signed is not void because of it.
      scan.voidBytes += size;
    } else if (frame.type === FrameType.record && (whole || linked)) {
      if (follows) {
        scan.decided = true;
        pass(walk, scan, true, visit);
      } else if (passes && tail?.whole) scan.tries.push(tail);
      else if (passes) scan.voidBytes += sizeOf(geometry, tail);
      else if (tail !== undefined) pass(walk, scan, false, visit);
      walk.resume = { offset, link: linked ? walk.link : undefined, seq: linked ? walk.seq : undefined };
      // Behind damage the record itself tells what it comes after; its position is not known.
      if (!linked) {
        walk.link = frame.link;
        walk.seq = undefined;
      }
      scan.tail = {
        offset,
        bodyBytes: frame.bodyBytes,
        whole,
        id: whole
          ? (signed?.get(offset)?.id ?? idAt(view.sha256, geometry, bytes, offset, frame.bodyBytes))
          : undefined,
        seq: linked && walk.seq !== undefined ? walk.seq + 1 : undefined,
        link: frame.link,
        afterDamage: !linked,
        changed: false,
      };
      scan.verdict = undefined;
      scan.unproved = false;
      scan.proved ||= walk.voidEnd !== undefined;
    } else if (whole && frame.type === FrameType.void) {
      if (linked) {
        // A start that goes on appending does so right behind; a later one spends a slot first.
        scan.unproved = walk.voidEnd !== offset && (!follows || isOnlyCarried(view, tail!.offset));
        scan.proved ||= walk.voidEnd === offset;
        scan.verdict = frame.link;
        walk.voidEnd = offset + size;
        if (follows) pass(walk, scan, true, visit);
        else scan.voidBytes += sizeOf(geometry, tail);
        scan.tail = undefined;
        scan.decided = true;
        scan.tries = [];
      }
    } else if (frame.type === FrameType.position && (whole || linked)) {
      // A position tells nothing about the records around it, but the one that a carrying sector's opening ends with.
      const carries = header?.carries === true && offset === SECTOR_HEADER_BYTES;
      if (whole && carries) walk.carried = frame.link;
      if (whole && walk.voidEnd === offset) {
        scan.unproved = false;
        scan.proved = true;
      }
      const released = whole && (linked || carries) ? readReleased(bytes, offset + FRAME_HEADER_BYTES) : undefined;
      if (released === undefined) scan.voidBytes += size;
      else if (offset === SECTOR_HEADER_BYTES) scan.released = released;
      else walk.said = { end: offset + size, released };
    } else {
      offset += geometry.alignBytes;
      continue;
    }
    if (walk.carried !== undefined || offset > RECORDS_OFFSET || (offset === RECORDS_OFFSET && !header?.carries))
      scan.opened = true;
    // It was written to the end: it is said twice.
    if (walk.said?.end === offset) scan.released = walk.said.released;
    offset += size;
    scan.end = offset;
  }
  // A record stands first, and its frame's header has changed since: a cut does not leave that, so the opening was finished.
  if (!scan.opened && header?.carries === false && geometry.unitBytes === 1)
    scan.opened = isFirstHidden(view, linkOf(header.tailId));
  // The record that the opening names, and nothing behind it: its id is that of the signature that its key makes.
  const first = !walk.stopped && scan.tail?.offset === RECORDS_OFFSET && scan.tail.whole;
  if (first && walk.carried === crcOf(bytes.subarray(RECORDS_OFFSET))) {
    if (signed?.has(RECORDS_OFFSET)) {
      scan.unproved = isOnlyCarried(view, RECORDS_OFFSET);
      scan.verdict = linkOf(scan.tail?.id);
      scan.decided = true;
      pass(walk, scan, true, visit);
    } else scan.unresolved ??= scan.tail;
  }
  if (!walk.stopped && scan.unresolved === undefined && scan.tail !== undefined && visit !== undefined)
    for (const open of [...scan.tries, scan.tail]) visit(open, false, walk.resume);
  return scan;
}

function isFirstHidden({ ordinal, bytes }: SectorView, link: number): boolean {
  return isWholeButForHeader({ ordinal, offset: RECORDS_OFFSET }, bytes, RECORDS_OFFSET, link);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

/** What a walk carries from frame to frame, beside what it finds. */
interface Walk {
  /** Of the record that stands before the tail; undefined behind damage. */
  link: number | undefined;
  seq: number | undefined;
  /** Before the tail. */
  resume: Resume;
  /** Behind the last void frame. */
  voidEnd: number | undefined;
  /** The last position frame behind the opening: its end, and what it says. */
  said: { readonly end: number; readonly released: Released } | undefined;
  /** CRC of the record that this sector carries, once its opening's last frame was read. */
  carried: number | undefined;
  stopped: boolean;
}

/**
 * Whether this is the carried record and its cells do not hold its signature, which is programmed once the position frame
 * reads back: with it, the frame's cells were driven to the end.
 */
function isOnlyCarried({ header, signed }: SectorView, offset: number): boolean {
  return header?.carries === true && offset === RECORDS_OFFSET && signed?.get(offset)?.held === false;
}

/**
 * Whether a record's body was begun: then its header was read back before, and its link is what was written. On plain flash
 * a header that was cut may have a sound first word alone; of an encrypted one nothing would be left to read.
 */
function isBegun(
  { unitBytes }: Geometry,
  bytes: Uint8Array,
  offset: number,
  { type, bodyBytes }: FrameHeader,
): boolean {
  const body = offset + FRAME_HEADER_BYTES;
  return type === FrameType.record && (unitBytes !== 1 || !isErased(bytes, body, body + bodyBytes));
}

/** The tail is named, or left behind: its fate is known. */
function pass(walk: Walk, scan: Mutable<SectorScan>, named: boolean, visit: RecordVisitor | undefined): void {
  const { tail } = scan;
  if (tail === undefined) return;
  if (visit?.(tail, named, walk.resume)) walk.stopped = true;
  scan.tries = [];
  if (named) {
    scan.settled = tail;
    walk.link = linkOf(tail.id);
    walk.seq = tail.seq;
  }
  scan.tail = undefined;
}

function sizeOf(geometry: Geometry, candidate: Candidate | undefined): number {
  return candidate === undefined ? 0 : frameBytes(geometry, FrameType.record, candidate.bodyBytes);
}

/** Id of the record in the frame at `offset`, from the bytes as they stand there. */
export function idAt(
  sha256: Sha256,
  geometry: Geometry,
  bytes: Uint8Array,
  offset: number,
  bodyBytes: number,
): Uint8Array {
  return recordId(sha256, recordAt(geometry, bytes, offset, bodyBytes));
}

/** Body and signature of the frame at `offset`, joined: the record's bytes. */
export function recordAt(geometry: Geometry, bytes: Uint8Array, offset: number, bodyBytes: number): Uint8Array {
  const record = new Uint8Array(bodyBytes + SIGNATURE_BYTES);
  const start = offset + FRAME_HEADER_BYTES;
  record.set(bytes.subarray(start, start + bodyBytes));
  const signature = offset + signatureOffset(geometry, bodyBytes);
  record.set(bytes.subarray(signature, signature + SIGNATURE_BYTES), bodyBytes);
  return record;
}

/** A slot of zeros: a start has spent it before it appended. */
function isBurnt(bytes: Uint8Array, offset: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[offset + i] !== 0) return false;
  return true;
}

/** All ones from `start` up to `end`. On plain flash only: erased units of an encrypted partition read as anything. */
export function isErased(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0xff) return false;
  return true;
}
