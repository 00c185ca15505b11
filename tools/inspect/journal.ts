import { toHex } from "tallystick/bytes/bytes";
import { portableCrypto } from "tallystick/identity/portable";
import {
  alignUp,
  FRAME_HEADER_BYTES,
  type Geometry,
  PLAIN_ALIGN_BYTES,
  SECTOR_BYTES_MIN,
  SECTOR_HEADER_BYTES,
} from "tallystick/journal/layout";
import { type Candidate, isErased, recordAt, scanSector } from "tallystick/journal/scan";
import { readSectorHeader, type SectorHeader } from "tallystick/journal/sector";
import { KIND_WORDS, parseRecord } from "tallystick/record/record";
import type { Inspection } from "./inspect.js";

/** Bytes 0 and 1 of every sector header (modules/journal/SPEC.md). */
const MAGIC = [0x54, 0x6a];

export function looksLikeJournal(image: Uint8Array): boolean {
  return findGeometry(image) !== undefined;
}

/** Sectors in the order of the journal, with their frames, what stands, what is void and why. Nothing is changed. */
export function inspectJournal(image: Uint8Array): Inspection {
  const geometry = findGeometry(image)!;
  const { sectors, sectorBytes, unitBytes } = geometry;
  const lines = [
    `journal of ${sectors} sectors of ${sectorBytes} bytes, ${unitBytes === 1 ? "plain NOR" : `write units of ${unitBytes} bytes`}`,
  ];
  const opened: { slot: number; header: SectorHeader }[] = [];
  let blank = 0;
  // A file may end early, even within a sector, or go on behind the partition.
  const whole = Math.min(sectors, Math.floor(image.length / sectorBytes));
  for (let slot = 0; slot < whole; slot++) {
    const bytes = image.subarray(slot * sectorBytes, (slot + 1) * sectorBytes);
    const reading = readSectorHeader(geometry, bytes);
    if (reading.kind === "header" && reading.header.ordinal >= sectors) opened.push({ slot, header: reading.header });
    else if (reading.kind === "header") blank++;
    else lines.push(`sector ${slot}: ${reading.kind === "none" ? "no sound header" : reading.kind}`);
  }
  lines.push(`${opened.length} opened, ${blank} formatted and not yet opened`);
  opened.sort((a, b) => a.header.ordinal - b.header.ordinal);
  for (const { slot, header } of opened) {
    const bytes = image.slice(slot * sectorBytes, (slot + 1) * sectorBytes);
    lines.push("", ...sectorLines(geometry, slot, header, bytes));
  }
  const complete = image.length === sectors * sectorBytes;
  if (complete) return { lines };
  return {
    lines,
    failure: `expected ${sectors * sectorBytes} bytes, received ${image.length}; read the whole partition`,
  };
}

function sectorLines(geometry: Geometry, slot: number, header: SectorHeader, bytes: Uint8Array): string[] {
  const { ordinal, chain, firstSeq, tailId } = header;
  const lines = [
    `sector ${slot}: ordinal ${ordinal}, chain from ${chain}, first seq ${firstSeq}, tail before ${toHex(tailId)}`,
  ];
  const view = { geometry, sha256: portableCrypto.sha256, ordinal, header, bytes };
  const scan = scanSector(view, (record, named) => {
    lines.push(`  ${offset(record.offset)} ${recordText(geometry, bytes, record, named)}`);
    return false;
  });
  if (scan.released) lines.push(`  released: chain ${scan.released.chain}, ${scan.released.count} records`);
  if (scan.voidBytes > 0) lines.push(`  void: ${scan.voidBytes} bytes of frames that no later frame names`);
  const erased = geometry.unitBytes === 1 && isErased(bytes, scan.end, bytes.length);
  lines.push(`  ${offset(scan.end)} ${bytes.length - scan.end} bytes ${erased ? "erased" : "not written, or torn"}`);
  return lines;
}

function recordText(geometry: Geometry, bytes: Uint8Array, candidate: Candidate, named: boolean): string {
  const size = candidate.bodyBytes + FRAME_HEADER_BYTES;
  if (!candidate.whole) return `torn record, ${size} bytes: its body does not match its CRC`;
  const parsed = parseRecord(recordAt(geometry, bytes, candidate.offset, candidate.bodyBytes));
  const state = named ? "stands" : "newest, or void if the next sector does not name it";
  if (!parsed.ok) return `record: ${parsed.failure.code} ${parsed.failure.detail}`;
  const { seq, kind } = parsed.value.header;
  return `seq ${seq} ${KIND_WORDS[kind]}, ${parsed.value.bytes.length} bytes, id ${toHex(candidate.id!)}: ${state}`;
}

function offset(at: number): string {
  return at.toString(16).padStart(4, "0");
}

/** The geometry that a sound sector header anywhere in the image states. */
function findGeometry(image: Uint8Array): Geometry | undefined {
  for (let at = 0; at + SECTOR_HEADER_BYTES <= image.length; at += SECTOR_BYTES_MIN) {
    const bytes = image.subarray(at, at + SECTOR_HEADER_BYTES);
    if (bytes[0] !== MAGIC[0] || bytes[1] !== MAGIC[1]) continue;
    const unitBytes = 1 << (bytes[3]! & 15);
    const alignBytes = Math.max(PLAIN_ALIGN_BYTES, unitBytes);
    const geometry = {
      sectors: (bytes[4]! << 8) | bytes[5]!,
      sectorBytes: 256 << (bytes[3]! >> 4),
      unitBytes,
      alignBytes,
      slotBytes: alignUp(FRAME_HEADER_BYTES, alignBytes),
    };
    if (readSectorHeader(geometry, bytes).kind === "header") return geometry;
  }
  return undefined;
}
