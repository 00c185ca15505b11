import { toHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { portableCrypto } from "tallystick/identity/portable";
import { FrameType, readReleased, signatureOffset } from "tallystick/journal/frame";
import { FRAME_HEADER_BYTES, type Geometry } from "tallystick/journal/layout";
import { recordAt } from "tallystick/journal/scan";
import type { SectorHeader } from "tallystick/journal/sector";
import { KIND_WORDS, parseRecord } from "tallystick/record/record";
import { pieceHex, sectorHeaderHex } from "./hex.js";
import type { Inspection } from "./inspect.js";
import { checkLength, isOpened, type OpenedSector, readSectors } from "./journal-image.js";
import { type Frame, hex, type Piece, type Stretch, walkSector } from "./walk.js";

const TYPE_WORDS = { 1: "record", 2: "copy", 3: "void", 4: "position" } as const;

/** Sectors in the order of the journal, with all that stands in them, what is void and why. Nothing is changed. */
export function inspectJournal(image: Uint8Array, geometry: Geometry, withBytes = false): Inspection {
  const { sectors, sectorBytes, unitBytes } = geometry;
  const read = readSectors(image, geometry);
  const opened = read.filter(isOpened).sort((a, b) => a.ordinal - b.ordinal);
  const blank = read.filter(({ state }) => state === "formatted").length;
  const strange = read.filter((sector) => sector.state !== "formatted" && !isOpened(sector));
  const described = opened.map((sector, n) => describeSector(geometry, sector, opened[n + 1]?.header));
  const lines = [
    `journal of ${sectors} sectors of ${sectorBytes} bytes, ${unitBytes === 1 ? "plain NOR" : `write units of ${unitBytes} bytes`}`,
    `${opened.length} opened, ${blank} formatted and not yet opened`,
    ...strange.map(({ slot, problem }) => `sector ${slot} (image ${hex(slot * sectorBytes)}): ${problem}`),
    ...described.flatMap((sector) => ["", ...sectorLines(geometry, sector, withBytes)]),
  ];
  const length = checkLength(image, geometry);
  return {
    lines,
    json: {
      kind: "journal",
      sectors,
      sector_bytes: sectorBytes,
      write_unit_bytes: unitBytes,
      formatted: blank,
      strange: strange.map(({ slot, state, problem }) => ({ slot, state, problem })),
      opened: described.map((sector) => sectorJson(geometry, sector, withBytes)),
    },
    ...(!length.ok && { failure: explain(length.failure) }),
  };
}

interface DescribedSector {
  readonly sector: OpenedSector;
  readonly pieces: readonly Piece[];
}

/** The sector's pieces; of what it ends with, what the next sector's header says. */
function describeSector(geometry: Geometry, sector: OpenedSector, next: SectorHeader | undefined): DescribedSector {
  const { ordinal, header, bytes } = sector;
  const { pieces } = walkSector({ geometry, sha256: portableCrypto.sha256, ordinal, header, bytes });
  return { sector, pieces: pieces.map((piece) => (isOpen(piece) ? decided(piece, next) : piece)) };
}

function isOpen(piece: Piece): piece is Frame {
  return piece.kind === "frame" && piece.verdict === "open";
}

function decided(frame: Frame, next: SectorHeader | undefined): Frame {
  if (next === undefined)
    return { ...frame, why: `${frame.why}: the next mount decides, and tallystick fsck says how` };
  if (frame.id !== undefined && next.tailId.every((byte, i) => byte === frame.id![i]))
    return { ...frame, verdict: "stands", why: `the header of sector ordinal ${next.ordinal} names it` };
  return { ...frame, why: `${frame.why}, and the next sector's header names another: void, or written again there` };
}

function sectorLines(geometry: Geometry, { sector, pieces }: DescribedSector, withBytes: boolean): string[] {
  const { slot, ordinal, header, bytes, problem } = sector;
  const where = `sector ${slot} (image ${hex(slot * geometry.sectorBytes)})`;
  const lines = [
    header
      ? `${where}: ordinal ${ordinal}, chain from ${header.chain}, first seq ${header.firstSeq}, tail before ${toHex(header.tailId)}`
      : `${where}: ${problem}; its frames are those of ordinal ${ordinal}`,
    ...(withBytes ? sectorHeaderHex(bytes) : []),
  ];
  for (const piece of pieces) {
    const [first, ...more] = pieceText(geometry, bytes, piece);
    lines.push(`  ${at(piece.offset)} ${first}`, ...more.map((line) => `       ${line}`));
    if (withBytes && piece.kind !== "erased") lines.push(...pieceHex(geometry, bytes, piece));
  }
  const voided = pieces.filter(isVoided);
  if (voided.length > 0) {
    lines.push(`  void: ${voided.reduce((sum, piece) => sum + piece.bytes, 0)} bytes`);
    for (const piece of voided) lines.push(`    ${at(piece.offset)} ${piece.bytes} bytes: ${voidReason(piece)}`);
  }
  return lines;
}

/** Takes room and says nothing. Behind the last frame of an encrypted sector nobody can tell. */
function isVoided(piece: Piece, n: number, pieces: readonly Piece[]): boolean {
  if (piece.kind === "frame") return piece.verdict === "void" || piece.verdict === "ignored";
  return piece.kind === "spent" || (piece.kind === "illegible" && n < pieces.length - 1);
}

function voidReason(piece: Piece): string {
  if (piece.kind !== "frame") return `${piece.kind === "spent" ? "spent slot" : "no legible header"}: ${piece.why}`;
  return piece.why || "nothing names it";
}

/** A line, and of a record another about what it is. */
function pieceText(geometry: Geometry, sector: Uint8Array, piece: Piece): string[] {
  if (piece.kind !== "frame") return [stretchText(piece)];
  const { header, bytes, offset, relation, crcHolds, id, verdict, why } = piece;
  const type = TYPE_WORDS[header.type];
  const parts = [`${type}, ${bytes} bytes`];
  if (header.type === FrameType.record || header.type === FrameType.copy)
    parts.push(`body ${header.bodyBytes}, signature at ${hex(offset + signatureOffset(geometry, header.bodyBytes))}`);
  parts.push(
    `link ${word(header.link)} ${relation}`,
    `CRC ${word(header.crc)} ${crcHolds ? "holds" : "does not hold"}`,
  );
  const content = contentOf(geometry, sector, piece);
  const said = [verdict === "heeded" ? "" : verdict, why].filter((text) => text !== "").join(": ");
  const about = [content, said].filter((text) => text !== "").join("; ");
  const fields = parts.join(", ");
  if (id !== undefined) return [fields, about];
  return [about === "" ? fields : `${fields}; ${about}`];
}

function stretchText({ kind, bytes, why }: Stretch): string {
  if (kind === "erased") return `${bytes} bytes erased`;
  return kind === "spent" ? `spent slot, ${bytes} bytes of zeros` : `${bytes} bytes without a legible header: ${why}`;
}

/** What a frame is about: a record's place and id, a released position. */
function contentOf(geometry: Geometry, sector: Uint8Array, frame: Frame): string {
  const { header, offset, crcHolds, id, seq } = frame;
  if (header.type === FrameType.void) return "";
  if (header.type === FrameType.position) {
    if (!crcHolds) return "";
    const { chain, count } = readReleased(sector, offset + FRAME_HEADER_BYTES);
    return count === 0 ? "nothing released" : `released: chain ${chain}, ${count} records`;
  }
  if (id === undefined) return seq === undefined ? "" : `would be seq ${seq}`;
  const record = parseRecord(recordAt(geometry, sector, offset, header.bodyBytes));
  if (!record.ok) return `no record: ${explain(record.failure)}`;
  return `seq ${record.value.header.seq} ${KIND_WORDS[record.value.header.kind]}, id ${toHex(id)}`;
}

function sectorJson(geometry: Geometry, { sector, pieces }: DescribedSector, withBytes: boolean) {
  const { slot, ordinal, header, bytes, problem } = sector;
  const spelled = (from: number, length: number) => withBytes && { hex: toHex(bytes.subarray(from, from + length)) };
  return {
    slot,
    image_offset: slot * geometry.sectorBytes,
    ordinal,
    header: header ? { chain: header.chain, first_seq: header.firstSeq, tail_id: toHex(header.tailId) } : { problem },
    void_bytes: pieces.filter(isVoided).reduce((sum, piece) => sum + piece.bytes, 0),
    pieces: pieces.map((piece) =>
      piece.kind === "frame"
        ? {
            offset: piece.offset,
            bytes: piece.bytes,
            kind: TYPE_WORDS[piece.header.type],
            body_bytes: piece.header.bodyBytes,
            link: word(piece.header.link),
            relation: piece.relation,
            crc: word(piece.header.crc),
            crc_holds: piece.crcHolds,
            ...recordJson(geometry, bytes, piece),
            verdict: piece.verdict,
            why: piece.why,
            ...spelled(piece.offset, piece.bytes),
          }
        : { ...piece, ...spelled(piece.offset, piece.bytes) },
    ),
  };
}

function recordJson(geometry: Geometry, sector: Uint8Array, { header, offset, id, seq, crcHolds }: Frame) {
  if (header.type === FrameType.position && crcHolds) {
    const { chain, count } = readReleased(sector, offset + FRAME_HEADER_BYTES);
    return { released: { chain, count } };
  }
  if (id === undefined) return seq === undefined ? {} : { seq };
  const record = parseRecord(recordAt(geometry, sector, offset, header.bodyBytes));
  if (!record.ok) return { failure: record.failure };
  return { seq: record.value.header.seq, kind_of_record: KIND_WORDS[record.value.header.kind], id: toHex(id) };
}

const at = (offset: number): string => offset.toString(16).padStart(4, "0");
const word = (value: number): string => value.toString(16).padStart(8, "0");
