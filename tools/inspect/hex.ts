import { type FrameHeader, FrameType, signatureOffset } from "tallystick/journal/frame";
import { FRAME_HEADER_BYTES, type Geometry, SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import { SIGNATURE_BYTES } from "tallystick/record/record";
import type { Piece } from "./walk.js";

/** A journal's bytes beside the fields that modules/journal/SPEC.md gives them. */

const LINE_BYTES = 16;
const BYTES_COLUMN = LINE_BYTES * 3;
/** Of what is no frame: enough to see what it is. */
const STRETCH_BYTES_MAX = 2 * LINE_BYTES;

const SECTOR_FIELDS: readonly (readonly [name: string, bytes: number])[] = [
  ["magic", 2],
  ["ver, shape", 2],
  ["N sectors", 2],
  ["first seq", 6],
  ["ordinal", 4],
  ["chain ordinal", 4],
  ["tail id", 8],
  ["CRC of 0–27", 4],
];

const FRAME_FIELDS: readonly (readonly [name: string, bytes: number])[] = [
  ["word: type, body length", 2],
  ["~word", 2],
  ["link", 4],
  ["CRC", 4],
];

const POSITION_FIELDS: readonly (readonly [name: string, bytes: number])[] = [
  ["chain ordinal", 4],
  ["count", 6],
  ["id of the record at count − 1", 8],
  ["zeros", 2],
];

export function sectorHeaderHex(sector: Uint8Array): string[] {
  return fields(sector.subarray(0, SECTOR_HEADER_BYTES), 0, SECTOR_FIELDS);
}

export function pieceHex(geometry: Geometry, sector: Uint8Array, piece: Piece): string[] {
  const { offset, bytes } = piece;
  if (piece.kind === "frame")
    return fields(sector.subarray(offset, offset + bytes), offset, frameFields(geometry, piece.header));
  const shown = Math.min(bytes, STRETCH_BYTES_MAX);
  const more = bytes > shown ? `${bytes - shown} more` : "";
  return fields(sector.subarray(offset, offset + shown), offset, [[more, shown]]);
}

function frameFields(geometry: Geometry, { type, bodyBytes }: FrameHeader): readonly (readonly [string, number])[] {
  if (type === FrameType.void) return [...FRAME_FIELDS, ["padding", geometry.slotBytes - FRAME_HEADER_BYTES]];
  if (type === FrameType.position) return [...FRAME_FIELDS, ...POSITION_FIELDS];
  const padding = signatureOffset(geometry, bodyBytes) - FRAME_HEADER_BYTES - bodyBytes;
  return [...FRAME_FIELDS, ["body", bodyBytes], ["padding", padding], ["signature", SIGNATURE_BYTES]];
}

function fields(bytes: Uint8Array, offset: number, names: readonly (readonly [string, number])[]): string[] {
  const lines: string[] = [];
  let at = 0;
  for (const [name, length] of names) {
    for (let done = 0; done < length; done += LINE_BYTES) {
      const part = bytes.subarray(at + done, at + Math.min(done + LINE_BYTES, length));
      const shown = Buffer.from(part).toString("hex").replace(/../g, "$& ").padEnd(BYTES_COLUMN);
      lines.push(
        `      ${(offset + at + done).toString(16).padStart(4, "0")}  ${shown}${done === 0 ? ` ${name}` : ""}`,
      );
    }
    at += length;
  }
  return lines.map((line) => line.trimEnd());
}
