import { crc32c } from "./crc32c.js";
import { type Geometry, SECTOR_HEADER_BYTES } from "./layout.js";

/**
 * The sector header (SPEC.md): written right after the erase, it says that the erase finished, and which record was the
 * journal's newest at that moment. It decides nothing about what stood open then.
 */

export const FORMAT_VERSION = 1;
/** Bytes of a record id that a header keeps: enough against accident, and the successor's `prev` has them all. */
export const TAIL_ID_BYTES = 8;
const MAGIC_FIRST = 0x54;
const MAGIC_SECOND = 0x6a;
/** In place of the second byte: the sector carries a record. */
const MAGIC_CARRIES = 0x6b;

export interface SectorHeader {
  /**
   * The sector was opened to give a record that was there before fresh cells: it stands first, and the opening ends with
   * the position frame, whose link is its CRC. Without that frame the sector is not open.
   */
  readonly carries: boolean;
  /** The journal's own count of opened sectors; those below the number of sectors were formatted, never opened. */
  readonly ordinal: number;
  /** Ordinal of the sector that this sector's chain began in. */
  readonly chain: number;
  /** Position of the first new record in this sector. */
  readonly firstSeq: number;
  /** First 8 bytes of the id of the journal's newest record when the sector was opened; zeros before the first. */
  readonly tailId: Uint8Array;
}

export type SectorReading =
  | { readonly kind: "header"; readonly header: SectorHeader }
  | { readonly kind: "newer"; readonly version: number }
  /** A sound header for another size of partition, of sectors, or of write units. */
  | { readonly kind: "other"; readonly detail: string }
  | { readonly kind: "none" };

export function encodeSectorHeader(geometry: Geometry, header: SectorHeader): Uint8Array {
  const bytes = new Uint8Array(SECTOR_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = MAGIC_FIRST;
  bytes[1] = header.carries ? MAGIC_CARRIES : MAGIC_SECOND;
  bytes[2] = FORMAT_VERSION;
  bytes[3] = shapeOf(geometry);
  view.setUint16(4, geometry.sectors);
  view.setUint16(6, Math.floor(header.firstSeq / 0x100000000));
  view.setUint32(8, header.firstSeq % 0x100000000);
  view.setUint32(12, header.ordinal);
  view.setUint32(16, header.chain);
  bytes.set(header.tailId, 20);
  view.setUint32(28, crc32c(bytes, 0, 28));
  return bytes;
}

/** What the first 32 bytes of a sector are. Every version keeps magic, version and the CRC where they are. */
export function readSectorHeader(geometry: Geometry, bytes: Uint8Array): SectorReading {
  const carries = bytes[1] === MAGIC_CARRIES;
  if (bytes[0] !== MAGIC_FIRST || !(carries || bytes[1] === MAGIC_SECOND)) return { kind: "none" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, SECTOR_HEADER_BYTES);
  if (view.getUint32(28) !== crc32c(bytes, 0, 28)) return { kind: "none" };
  const version = bytes[2]!;
  if (version !== FORMAT_VERSION) return { kind: "newer", version };
  const shape = bytes[3]!;
  const sectors = view.getUint16(4);
  if (shape !== shapeOf(geometry) || sectors !== geometry.sectors)
    return {
      kind: "other",
      detail: `${sectors} sectors of ${256 << (shape >> 4)} bytes in units of ${1 << (shape & 15)}`,
    };
  return {
    kind: "header",
    header: {
      carries,
      ordinal: view.getUint32(12),
      chain: view.getUint32(16),
      firstSeq: view.getUint16(6) * 0x100000000 + view.getUint32(8),
      tailId: bytes.slice(20, 28),
    },
  };
}

/** Sector size and write unit as two powers of two. */
function shapeOf(geometry: Geometry): number {
  return ((Math.log2(geometry.sectorBytes) - 8) << 4) | Math.log2(geometry.unitBytes);
}
