import type { Sha256 } from "../identity/crypto.js";
import { recordId, SIGNATURE_BYTES } from "../record/record.js";
import {
  FrameType,
  frameBytes,
  isWhole,
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
  /** By offset, the ids of records with the signature that their key gives them; undefined for what no key here signs. */
  readonly signed?: ReadonlyMap<number, Uint8Array | undefined>;
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
  /** Something here was written after all that sectors before left open had been decided: a verdict, or a named record. */
  readonly decided: boolean;
  /**
   * The last word is a verdict with nothing right behind it: the start that wrote it may have been cut in it, and its
   * cells read as something else tomorrow.
   */
  readonly unproved: boolean;
  /** The last word is a verdict, on what stands behind the record that this link names. */
  readonly verdict: number | undefined;
  /** The opening was finished: what it wrote last has its effect, or something stands behind it. */
  readonly opened: boolean;
  /** Bytes of frames that do not stand. */
  readonly voidBytes: number;
  /** The newest position frame. */
  readonly released: Released | undefined;
  /** Behind the last legible frame. */
  readonly end: number;
  /**
   * The walk ended here: a frame behind this whole record names neither it nor the one before. Perhaps the cells do not
   * hold the record's signature: `scanSigned` has it made again, and walks anew.
   */
  readonly unresolved: Candidate | undefined;
}

/** What a walk tells of each record: `named` where a later frame's link names it. Return true to stop the walk. */
export type RecordVisitor = (record: Candidate, named: boolean, resume: Resume) => boolean;

/** The id of a record with the signature that its key gives it; undefined where no key here signs it. */
export type Resign = (record: Candidate) => Uint8Array | undefined;

/**
 * Walks a sector whose records' signatures may be damaged: a body that is whole has one signature, and its key makes it
 * again. Outside of the walk, since a board's stack is short; `visit` may be told of the first records more than once.
 */
export function scanSigned(view: SectorView, resign: Resign, visit?: RecordVisitor, from?: Resume): SectorScan {
  let scan = scanSector(view, visit, from);
  if (scan.unresolved === undefined) return scan;
  const signed = new Map<number, Uint8Array | undefined>();
  while (scan.unresolved !== undefined) {
    signed.set(scan.unresolved.offset, resign(scan.unresolved));
    scan = scanSector({ ...view, signed }, visit, from);
  }
  return scan;
}

export function scanSector(view: SectorView, visit?: RecordVisitor, from?: Resume): SectorScan {
  const { geometry, sha256, ordinal, header, bytes, signed } = view;
  let link = from ? from.link : header && linkOf(header.tailId);
  let seq = from ? from.seq : header && header.firstSeq - 1;
  let offset = from ? from.offset : SECTOR_HEADER_BYTES;
  let settled: Candidate | undefined;
  let tail: Candidate | undefined;
  let resume: Resume = { offset, link, seq };
  let tries: Candidate[] = [];
  let decided = false;
  let voidEnd: number | undefined;
  let unproved = false;
  let verdict: number | undefined;
  let carried: number | undefined;
  let opened = false;
  let voidBytes = 0;
  let released: Released | undefined;
  let end = offset;
  let stopped = false;
  let unresolved: Candidate | undefined;

  /** The tail is named, or left behind: its fate is known. */
  const pass = (named: boolean): void => {
    if (tail === undefined) return;
    if (visit?.(tail, named, resume)) stopped = true;
    tries = [];
    if (named) {
      settled = tail;
      link = linkOf(tail.id);
      seq = tail.seq;
    }
    tail = undefined;
  };

  while (!stopped && offset + geometry.slotBytes <= bytes.length) {
    const frame = readFrameHeader(bytes, offset);
    const size = frame ? frameBytes(geometry, frame.type, frame.bodyBytes) : 0;
    if (frame === undefined || offset + size > bytes.length) {
      if (isBurnt(bytes, offset, geometry.slotBytes)) {
        offset += geometry.slotBytes;
        end = offset;
        continue;
      }
      if (geometry.unitBytes === 1 && isErased(bytes, offset, bytes.length)) break;
      offset += geometry.alignBytes;
      continue;
    }
    const follows = tail?.id !== undefined && frame.link === linkOf(tail.id);
    const passes = link !== undefined && frame.link === link;
    const linked = follows || passes;
    const whole = isWhole({ ordinal, offset }, bytes, offset, frame);
    if (!linked && tail?.whole && (whole || frame.type === FrameType.record) && !signed?.has(tail.offset)) {
      unresolved = tail;
      break;
    }
    if (frame.type === FrameType.record && !whole && passes && tail !== undefined) {
      // A torn try to give the tail fresh cells: what may have been signed is not void because of it.
      voidBytes += size;
    } else if (frame.type === FrameType.record && (whole || linked)) {
      if (follows) {
        decided = true;
        pass(true);
      } else if (passes && tail?.whole) tries.push(tail);
      else if (passes) voidBytes += sizeOf(geometry, tail);
      else if (tail !== undefined) pass(false);
      const known = linked && seq !== undefined;
      resume = { offset, link: linked ? link : undefined, seq: linked ? seq : undefined };
      if (!linked) link = undefined;
      tail = {
        offset,
        bodyBytes: frame.bodyBytes,
        whole,
        id: whole ? (signed?.get(offset) ?? idAt(sha256, geometry, bytes, offset, frame.bodyBytes)) : undefined,
        seq: known ? seq! + 1 : undefined,
        link: frame.link,
        afterDamage: !linked,
      };
      verdict = undefined;
      unproved = false;
      if (carried !== undefined && offset === RECORDS_OFFSET && whole) {
        if (linkOf(tail.id) === carried) pass(true);
        else if (!signed?.has(offset)) {
          unresolved = tail;
          break;
        }
      }
    } else if (whole && frame.type === FrameType.void) {
      if (linked) {
        // A start that goes on appending does so right behind; a later one spends a slot first.
        unproved = !follows && voidEnd !== offset;
        verdict = frame.link;
        voidEnd = offset + size;
        if (follows) pass(true);
        else {
          voidBytes += sizeOf(geometry, tail);
          tail = undefined;
        }
        decided = true;
        tries = [];
      }
    } else if (frame.type === FrameType.position && (whole || linked)) {
      // A position tells nothing about the records around it, but the one that a carrying sector's opening ends with.
      const carries = header?.carries === true && offset === SECTOR_HEADER_BYTES;
      if (whole && carries) carried = frame.link;
      if (whole && voidEnd === offset) unproved = false;
      if (whole && (linked || carries)) released = readReleased(bytes, offset + FRAME_HEADER_BYTES);
      else voidBytes += size;
    } else {
      offset += geometry.alignBytes;
      continue;
    }
    if (carried !== undefined || offset > RECORDS_OFFSET || (offset === RECORDS_OFFSET && !header?.carries))
      opened = true;
    offset += size;
    end = offset;
  }
  if (!stopped && unresolved === undefined && tail !== undefined && visit !== undefined)
    for (const open of [...tries, tail]) visit(open, false, resume);
  return {
    settled,
    tail,
    tries,
    decided,
    unproved,
    verdict,
    opened,
    voidBytes,
    released,
    end,
    unresolved,
  };
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
