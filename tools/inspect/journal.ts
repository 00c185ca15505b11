import { toHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { portableCrypto } from "tallystick/identity/portable";
import { FrameType, linkOf, readReleased, signatureOffset } from "tallystick/journal/frame";
import { FRAME_HEADER_BYTES, type Geometry, RECORDS_OFFSET } from "tallystick/journal/layout";
import { recordAt, type SectorScan } from "tallystick/journal/scan";
import type { SectorHeader } from "tallystick/journal/sector";
import { KIND_WORDS, parseRecord, readBody } from "tallystick/record/record";
import { pieceHex, sectorHeaderHex } from "./hex.js";
import type { Inspection } from "./inspect.js";
import { checkLength, isOpened, type OpenedSector, readSectors } from "./journal-image.js";
import { type Frame, hex, type Piece, type Stretch, walkSector } from "./walk.js";

const TYPE_WORDS = { 1: "record", 3: "void", 4: "position" } as const;

/** Sectors in the order of the journal, with all that stands in them, what is void and why. Nothing is changed. */
export function inspectJournal(image: Uint8Array, geometry: Geometry, withBytes = false): Inspection {
  const { sectors, sectorBytes, unitBytes } = geometry;
  const read = readSectors(image, geometry);
  const opened = read.filter(isOpened).sort((a, b) => a.ordinal - b.ordinal);
  const blank = read.filter(({ state }) => state === "formatted").length;
  const strange = read.filter((sector) => sector.state !== "formatted" && !isOpened(sector));
  const described = describeSectors(geometry, opened);
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
  readonly scan: SectorScan;
}

/** The sectors' pieces; of what one ends with that it does not decide, what the sectors behind it say. */
function describeSectors(geometry: Geometry, opened: readonly OpenedSector[]): DescribedSector[] {
  const walked = opened.map((sector) => {
    const { ordinal, header, bytes } = sector;
    return { sector, ...walkSector({ geometry, sha256: portableCrypto.sha256, ordinal, header, bytes }) };
  });
  return walked.map((one, n) => {
    const isLast = (frame: Frame) => [one.scan.tail, ...one.scan.tries].some((open) => open?.offset === frame.offset);
    const decide = (piece: Piece): Piece =>
      piece.kind === "frame" && piece.verdict === "open" && isLast(piece)
        ? decided(one.sector, piece, walked.slice(n + 1))
        : piece;
    return { ...one, pieces: one.pieces.map(decide) };
  });
}

/** What becomes of a record that its sector ends with. */
function decided(sector: OpenedSector, frame: Frame, later: readonly DescribedSector[]): Frame {
  const start = frame.offset + FRAME_HEADER_BYTES;
  const parts = frame.crcHolds ? readBody(sector.bytes.subarray(start, start + frame.header.bodyBytes)) : undefined;
  const seq = parts?.ok ? parts.value.header.seq : undefined;
  for (const { sector: next, pieces, scan } of later) {
    const { header, ordinal } = next;
    if (header === undefined) return { ...frame, why: `${frame.why}, and the next sector's header is damaged` };
    const carried = header.carries ? pieces.find(({ offset }) => offset === RECORDS_OFFSET) : undefined;
    if (scan.opened && carried?.kind === "frame" && carried.header.link === frame.header.link)
      return { ...frame, verdict: "void", why: `superseded: the sector of ordinal ${ordinal} carries this record` };
    if (frame.id !== undefined && header.tailId.every((byte, i) => byte === frame.id![i]))
      return { ...frame, verdict: "stands", why: `the header of sector ordinal ${ordinal} names it` };
    if (!header.carries && seq !== undefined && seq === header.firstSeq - 1) {
      const why = `the header of sector ordinal ${ordinal} names it, with another signature than its cells hold: its key makes that again, and tells`;
      return { ...frame, verdict: "presumed", presumed: linkOf(header.tailId), why };
    }
    if (seq !== undefined && seq < header.firstSeq - 1 && header.chain === sector.header?.chain)
      return { ...frame, why: `${frame.why}, and of seq ${seq + 1} nothing can be read` };
    if (scan.decided)
      return {
        ...frame,
        verdict: "void",
        why: `${frame.why}, and the sector of ordinal ${ordinal} goes on without it`,
      };
  }
  return { ...frame, why: `${frame.why}: the next mount decides, and tallystick fsck says how` };
}

function sectorLines(geometry: Geometry, { sector, pieces, scan }: DescribedSector, withBytes: boolean): string[] {
  const { slot, ordinal, header, bytes, problem } = sector;
  const where = `sector ${slot} (image ${hex(slot * geometry.sectorBytes)})`;
  const first = header?.carries ? "carries seq" : "first seq";
  const lines = [
    header
      ? `${where}: ordinal ${ordinal}, chain from ${header.chain}, ${first} ${header.firstSeq}, tail before ${toHex(header.tailId)}`
      : `${where}: ${problem}; its frames are those of ordinal ${ordinal}`,
    ...(scan.opened ? [] : [`  not open: ${notOpen(header)}`]),
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

/** Why nothing in a sector is believed. */
function notOpen(header: SectorHeader | undefined): string {
  return header?.carries
    ? "no position frame says that the record which it was to carry is whole, and nothing stands behind that: its opening was cut"
    : "nothing legible stands behind its position frame: its opening may have been cut";
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
  if (header.type === FrameType.record)
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
  const { header, offset, crcHolds, id, presumed, seq } = frame;
  if (header.type === FrameType.void) return "";
  if (header.type === FrameType.position) {
    if (!crcHolds) return "";
    const { chain, count } = readReleased(sector, offset + FRAME_HEADER_BYTES);
    return count === 0 ? "nothing released" : `released: chain ${chain}, ${count} records`;
  }
  if (id === undefined) return seq === undefined ? "" : `would be seq ${seq}`;
  const record = parseRecord(recordAt(geometry, sector, offset, header.bodyBytes));
  if (!record.ok) return `no record: ${explain(record.failure)}`;
  const { seq: position, kind } = record.value.header;
  // The id of the bytes in the cells is not the record's.
  return `seq ${position} ${KIND_WORDS[kind]}, id ${presumed === undefined ? toHex(id) : `${word(presumed)}…`}`;
}

function sectorJson(geometry: Geometry, { sector, pieces, scan }: DescribedSector, withBytes: boolean) {
  const { slot, ordinal, header, bytes, problem } = sector;
  const spelled = (from: number, length: number) => withBytes && { hex: toHex(bytes.subarray(from, from + length)) };
  return {
    slot,
    image_offset: slot * geometry.sectorBytes,
    ordinal,
    header: header
      ? {
          carries: header.carries,
          chain: header.chain,
          first_seq: header.firstSeq,
          tail_id: toHex(header.tailId),
        }
      : { problem },
    opened: scan.opened,
    ends_with_verdict_behind: scan.verdict === undefined ? null : word(scan.verdict),
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

function recordJson(geometry: Geometry, sector: Uint8Array, frame: Frame) {
  const { header, offset, id, presumed, seq, crcHolds } = frame;
  if (header.type === FrameType.position && crcHolds) {
    const { chain, count } = readReleased(sector, offset + FRAME_HEADER_BYTES);
    return { released: { chain, count } };
  }
  if (id === undefined) return seq === undefined ? {} : { seq };
  const record = parseRecord(recordAt(geometry, sector, offset, header.bodyBytes));
  if (!record.ok) return { failure: record.failure };
  return {
    seq: record.value.header.seq,
    kind_of_record: KIND_WORDS[record.value.header.kind],
    ...(presumed === undefined ? { id: toHex(id) } : { id_begins_with: word(presumed) }),
  };
}

const at = (offset: number): string => offset.toString(16).padStart(4, "0");
const word = (value: number): string => value.toString(16).padStart(8, "0");
