import { SIGNATURE_BYTES } from "../record/record.js";
import { crc32c } from "./crc32c.js";
import { alignUp, FRAME_HEADER_BYTES, type Geometry, POSITION_BODY_BYTES } from "./layout.js";
import { TAIL_ID_BYTES } from "./sector.js";

/**
 * Frames (SPEC.md): what a sector holds after its header. Type and length stand twice, once complemented, so that every
 * bit of them is a pair of which programming clears exactly one: a torn header is never taken for another one, and
 * neither all ones nor all zeros pass. The link names the record that the frame comes after.
 */

export const FrameType = {
  /** A record's body, and in the units after it the signature. */
  record: 1,
  /** Verdict of a recovery: what stands between the linked record and this frame is void. */
  void: 3,
  /** How far the relay has acknowledged. */
  position: 4,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export interface FrameHeader {
  readonly type: FrameType;
  /** Bytes under the CRC after the header: a record's body without its signature; 20 for a position, 0 for a verdict. */
  readonly bodyBytes: number;
  /** First 4 bytes of a record id, as a number. */
  readonly link: number;
  readonly crc: number;
}

/** A released position: everything of chains before `chain`, and of `chain` the records below `count`. */
export interface Released {
  /** Ordinal of the sector that the chain began in. */
  readonly chain: number;
  readonly count: number;
  /** First 8 bytes of the id of the record at `count - 1`; zeros while nothing is released. */
  readonly id: Uint8Array;
}

/** The position of a journal that nothing was released from. */
export function nothingReleased(): Released {
  return { chain: 0, count: 0, id: new Uint8Array(TAIL_ID_BYTES) };
}

/** Offset of the signature in a record's frame. */
export function signatureOffset(geometry: Geometry, bodyBytes: number): number {
  return alignUp(FRAME_HEADER_BYTES + bodyBytes, geometry.alignBytes);
}

/** Bytes that a frame takes of its sector. */
export function frameBytes(geometry: Geometry, type: FrameType, bodyBytes: number): number {
  if (type === FrameType.record) return signatureOffset(geometry, bodyBytes) + SIGNATURE_BYTES;
  return alignUp(FRAME_HEADER_BYTES + bodyBytes, geometry.alignBytes);
}

/** Where a frame stands: bound into its CRC, so that what an earlier round of the ring left never passes. */
export interface Place {
  readonly ordinal: number;
  readonly offset: number;
}

/** Header and body, padded with zeros to whole units where the partition is encrypted. The signature is not part of it. */
export function encodeFrame(
  geometry: Geometry,
  place: Place,
  type: FrameType,
  link: number,
  body: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(alignUp(FRAME_HEADER_BYTES + body.length, geometry.unitBytes));
  const view = new DataView(bytes.buffer);
  writeHeader(view, (type << 12) | body.length, link);
  bytes.set(body, FRAME_HEADER_BYTES);
  view.setUint32(8, frameCrc(place, bytes, 0, body.length));
  return bytes;
}

/** The CRC in an encoded frame's header. */
export function crcOf(frame: Uint8Array): number {
  return uint32(frame, 8);
}

/** The header at `at`, or undefined where no frame can start. The CRC is for `isWhole`. */
export function readFrameHeader(bytes: Uint8Array, at: number): FrameHeader | undefined {
  const word = (bytes[at]! << 8) | bytes[at + 1]!;
  if ((word ^ 0xffff) !== ((bytes[at + 2]! << 8) | bytes[at + 3]!)) return undefined;
  const type = word >> 12;
  const bodyBytes = word & 0xfff;
  if (type !== FrameType.record && type !== FrameType.void && type !== FrameType.position) return undefined;
  if (type === FrameType.void ? bodyBytes !== 0 : type === FrameType.position && bodyBytes !== POSITION_BODY_BYTES)
    return undefined;
  return { type: type as FrameType, bodyBytes, link: uint32(bytes, at + 4), crc: uint32(bytes, at + 8) };
}

/** Whether header and body of the frame at `at` are as they were written, at this place. */
export function isWhole(place: Place, bytes: Uint8Array, at: number, header: FrameHeader): boolean {
  return frameCrc(place, bytes, at, header.bodyBytes) === header.crc;
}

/**
 * Whether a record that links to `link` stands whole at `at` but for bits of its header, which have changed: one of the two
 * copies of its word is what it was, and with that the CRC holds. A cut leaves no such frame, for the body is not begun
 * before the header reads back.
 */
export function isWholeButForHeader(place: Place, bytes: Uint8Array, at: number, link: number): boolean {
  if (at + FRAME_HEADER_BYTES > bytes.length) return false;
  const words = uint32(bytes, at);
  for (const word of [words >>> 16, ~words & 0xffff]) {
    const bodyBytes = word & 0xfff;
    const end = at + FRAME_HEADER_BYTES + bodyBytes;
    if (word >> 12 !== FrameType.record || end > bytes.length) continue;
    const frame = bytes.slice(at, end);
    writeHeader(new DataView(frame.buffer), word, link);
    if (frameCrc(place, frame, 0, bodyBytes) === crcOf(frame)) return true;
  }
  return false;
}

/** The header but for its CRC. */
function writeHeader(view: DataView, word: number, link: number): void {
  view.setUint16(0, word);
  view.setUint16(2, ~word & 0xffff);
  view.setUint32(4, link);
}

function frameCrc(place: Place, bytes: Uint8Array, at: number, bodyBytes: number): number {
  const where = new Uint8Array(8);
  const view = new DataView(where.buffer);
  view.setUint32(0, place.ordinal);
  view.setUint32(4, place.offset);
  const start = crc32c(bytes, at, at + 8, crc32c(where));
  return crc32c(bytes, at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + bodyBytes, start);
}

/** The link that names a record: the first 4 bytes of its id; 0 before the first record. */
export function linkOf(id: Uint8Array | undefined): number {
  return id === undefined ? 0 : uint32(id, 0);
}

export function encodeReleased(released: Released): Uint8Array {
  const bytes = new Uint8Array(POSITION_BODY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, released.chain);
  view.setUint16(4, Math.floor(released.count / 0x100000000));
  view.setUint32(6, released.count % 0x100000000);
  bytes.set(released.id, 10);
  return bytes;
}

/** The position in the body at `at`. */
export function readReleased(bytes: Uint8Array, at: number): Released {
  return {
    chain: uint32(bytes, at),
    count: ((bytes[at + 4]! << 8) | bytes[at + 5]!) * 0x100000000 + uint32(bytes, at + 6),
    id: bytes.slice(at + 10, at + 10 + TAIL_ID_BYTES),
  };
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
