import { fail, ok, type Result } from "tallystick/codes/codes";
import { portableCrypto } from "tallystick/identity/portable";
import {
  FORMATTING_ORDINAL,
  type Geometry,
  geometryOf,
  SECTOR_BYTES_MIN,
  SECTOR_HEADER_BYTES,
} from "tallystick/journal/layout";
import { scanSector } from "tallystick/journal/scan";
import { readSectorHeader, type SectorHeader } from "tallystick/journal/sector";

/**
 * A journal's partition in a file: its bytes as the device reads them. Of an encrypted partition that is the decrypted
 * content, which a dump through the device, or a decrypted one, holds; what the chip's cells hold is of no use to anyone
 * without the key.
 */

/** Bytes 0 and 1 of every sector header (modules/journal/SPEC.md); the second of a sector that carries a record. */
const MAGIC = [0x54, 0x6a];
const MAGIC_CARRIES = 0x6b;

/** Any that `readSectorHeader` takes: magic, version and CRC are found before a header's shape is looked at. */
const ANY_GEOMETRY: Geometry = { sectors: 0, sectorBytes: 0, unitBytes: 1, alignBytes: 4, slotBytes: 12 };

/**
 * The geometry that the first sound sector header of the image states; undefined where there is none. JOURNAL_NEWER where
 * it is of a later format.
 */
export function findGeometry(image: Uint8Array): Result<Geometry> | undefined {
  for (let at = 0; at + SECTOR_HEADER_BYTES <= image.length; at += SECTOR_BYTES_MIN) {
    const bytes = image.subarray(at, at + SECTOR_HEADER_BYTES);
    if (!hasMagic(bytes)) continue;
    const reading = readSectorHeader(ANY_GEOMETRY, bytes);
    if (reading.kind === "newer")
      return fail("JOURNAL_NEWER", `the header at 0x${at.toString(16)} is of format ${reading.version}; this reads 1`);
    if (reading.kind !== "other") continue;
    const sectorBytes = 256 << (bytes[3]! >> 4);
    const sectors = (bytes[4]! << 8) | bytes[5]!;
    const geometry = geometryOf({
      sizeBytes: sectors * sectorBytes,
      sectorBytes,
      writeUnitBytes: 1 << (bytes[3]! & 15),
      ...NO_CELLS,
    });
    if (geometry.ok) return geometry;
  }
  return undefined;
}

/** A geometry is told by numbers alone. */
const NO_CELLS = { read: noCells, write: noCells, erase: noCells };

function noCells(): never {
  throw new TypeError("no cells here");
}

/** One sector of an image. */
export interface SectorImage {
  readonly slot: number;
  readonly state: "opened" | "formatted" | "formatting" | "misplaced" | "other" | "newer" | "damaged" | "erased";
  /** What the sector's frames are bound to: the header's, or where that is damaged the one that their CRCs fit. */
  readonly ordinal: number | undefined;
  readonly header: SectorHeader | undefined;
  readonly bytes: Uint8Array;
  /** What is wrong with the header; empty where it is sound. */
  readonly problem: string;
}

/** The sectors that the image holds whole, by slot. */
export function readSectors(image: Uint8Array, geometry: Geometry): SectorImage[] {
  const { sectors, sectorBytes } = geometry;
  const read: SectorImage[] = [];
  const held = Math.min(sectors, Math.floor(image.length / sectorBytes));
  for (let slot = 0; slot < held; slot++) {
    // A copy: a record's parts are taken out of it as of a board's buffer.
    const bytes = new Uint8Array(image.subarray(slot * sectorBytes, (slot + 1) * sectorBytes));
    read.push(sectorImage(geometry, slot, bytes));
  }
  const newest = Math.max(sectors - 1, ...read.map((sector) => (sector.header ? sector.header.ordinal : 0)));
  // What does not hold a header of the round before may be newer than the newest that has one.
  let last = newest;
  while (last < newest + sectors - 1 && read[(last + 1) % sectors]?.header === undefined) last++;
  return read.map((sector) =>
    sector.state === "damaged" ? withOrdinalOfFrames(geometry, sector, newest, last) : sector,
  );
}

/** A sector that holds frames, bound to its ordinal. */
export interface OpenedSector extends SectorImage {
  readonly ordinal: number;
}

/** The sectors that were opened, oldest first; also those whose header is damaged and whose frames tell their ordinal. */
export function openedSectors(image: Uint8Array, geometry: Geometry): OpenedSector[] {
  return readSectors(image, geometry)
    .filter(isOpened)
    .sort((a, b) => a.ordinal - b.ordinal);
}

export function isOpened(sector: SectorImage): sector is OpenedSector {
  return sector.state === "opened" || (sector.state === "damaged" && sector.ordinal !== undefined);
}

function sectorImage(geometry: Geometry, slot: number, bytes: Uint8Array): SectorImage {
  const reading = readSectorHeader(geometry, bytes);
  const none = { slot, ordinal: undefined, header: undefined, bytes };
  if (reading.kind === "newer")
    return { ...none, state: "newer", problem: `header of format ${reading.version}; this reads 1` };
  if (reading.kind === "other")
    return { ...none, state: "other", problem: `header of another partition: ${reading.detail}` };
  if (reading.kind === "none") {
    const erased = geometry.unitBytes === 1 && bytes.every((byte) => byte === 0xff);
    return { ...none, state: erased ? "erased" : "damaged", problem: headerProblem(geometry, bytes) };
  }
  const { header } = reading;
  const { ordinal } = header;
  if (ordinal === FORMATTING_ORDINAL)
    return { ...none, state: "formatting", problem: "the mark of a formatting that did not end" };
  if (ordinal % geometry.sectors !== slot)
    return {
      ...none,
      state: "misplaced",
      problem: `ordinal ${ordinal} belongs into slot ${ordinal % geometry.sectors}: it counts for nothing here`,
    };
  return { slot, state: ordinal < geometry.sectors ? "formatted" : "opened", ordinal, header, bytes, problem: "" };
}

function headerProblem(geometry: Geometry, bytes: Uint8Array): string {
  const header = bytes.subarray(0, SECTOR_HEADER_BYTES);
  if (geometry.unitBytes === 1 && header.every((byte) => byte === 0xff)) return "no header: erased, not opened";
  if (!hasMagic(header)) return "damaged header: it begins neither with 54 6a nor with 54 6b";
  return "damaged header: its CRC does not hold";
}

function hasMagic(header: Uint8Array): boolean {
  return header[0] === MAGIC[0] && (header[1] === MAGIC[1] || header[1] === MAGIC_CARRIES);
}

/** What a damaged header hides: the ordinal that the sector's frames are bound to, by their CRCs. */
function withOrdinalOfFrames(geometry: Geometry, sector: SectorImage, newest: number, last: number): SectorImage {
  const { sectors } = geometry;
  const round = newest - ((newest - sector.slot) % sectors);
  for (const ordinal of [round + sectors, round, round - sectors]) {
    if (ordinal < sectors || ordinal > last) continue;
    const view = { geometry, sha256: portableCrypto.sha256, ordinal, header: undefined, bytes: sector.bytes };
    if (scanSector(view).opened) return { ...sector, ordinal };
  }
  return sector;
}

/** An image of the size that its headers state. FILE_UNREADABLE. */
export function checkLength(image: Uint8Array, { sectors, sectorBytes }: Geometry): Result<void> {
  const expected = sectors * sectorBytes;
  return image.length === expected
    ? ok(undefined)
    : fail("FILE_UNREADABLE", `expected ${expected} bytes, received ${image.length}; read the whole partition`);
}
