import { fail, ok, type Result } from "../codes/codes.js";
import type { Flash } from "./flash.js";

/** Sizes and limits of the journal's bytes (SPEC.md), and what they come to on one partition. */

export const SECTOR_HEADER_BYTES = 32;
export const FRAME_HEADER_BYTES = 12;
export const POSITION_BODY_BYTES = 20;
/** Where a sector's records start: after its header and the position frame that every opening writes. */
export const RECORDS_OFFSET = 64;
/** The most that one program reaches on the boards' flash. */
export const PAGE_BYTES = 256;
/** Frames on plain flash start at multiples of this; on encrypted partitions at multiples of the write unit. */
export const PLAIN_ALIGN_BYTES = 4;

/** Fewest sectors: two in use, two in reserve, and two that can be released meanwhile. */
export const SECTORS_MIN = 6;
export const SECTORS_MAX = 65_535;
export const SECTOR_BYTES_MIN = 4096;
export const SECTOR_BYTES_MAX = 32_768;
/** Sectors that ordinary records leave alone, so that recovery, a gap or a rotation always finds room. */
export const RESERVED_SECTORS = 2;
/** Sectors that they leave beside the reserve where gaps are written: recovering a gap that was cut may open one. */
export const GAP_MARGIN_SECTORS = 1;
/** Sectors that one opening passes over because they fail, before it gives up. */
export const BAD_SECTORS_MAX = 2;
/** Highest position that a sector header can name. */
export const SEQ_MAX = 2 ** 48 - 1;
/** Highest sector ordinal. */
export const ORDINAL_MAX = 2 ** 32 - 2;
/** Stands in a sector header while the partition is being formatted. */
export const FORMATTING_ORDINAL = 2 ** 32 - 1;

export interface Geometry {
  readonly sectors: number;
  readonly sectorBytes: number;
  /** 1 on plain NOR, 16 or 32 where the partition is encrypted. */
  readonly unitBytes: number;
  /** Frames start at multiples of this. */
  readonly alignBytes: number;
  /** Bytes of the first program of a frame: its header, whole units. */
  readonly slotBytes: number;
}

/** What the partition comes to. JOURNAL_GEOMETRY where no journal can be on it. */
export function geometryOf(flash: Flash): Result<Geometry> {
  const { sizeBytes, sectorBytes, writeUnitBytes } = flash;
  const sectors = sizeBytes / sectorBytes;
  if (
    sectorBytes < SECTOR_BYTES_MIN ||
    sectorBytes > SECTOR_BYTES_MAX ||
    Math.log2(sectorBytes) % 1 !== 0 ||
    (writeUnitBytes !== 1 && writeUnitBytes !== 16 && writeUnitBytes !== 32) ||
    !Number.isInteger(sectors) ||
    sectors < SECTORS_MIN ||
    sectors > SECTORS_MAX
  )
    return fail(
      "JOURNAL_GEOMETRY",
      `expected ${SECTORS_MIN} to ${SECTORS_MAX} sectors of ${SECTOR_BYTES_MIN} to ${SECTOR_BYTES_MAX} bytes in write units of 1, 16 or 32, received ${sizeBytes} bytes in sectors of ${sectorBytes} and units of ${writeUnitBytes}`,
    );
  const alignBytes = Math.max(PLAIN_ALIGN_BYTES, writeUnitBytes);
  return ok({
    sectors,
    sectorBytes,
    unitBytes: writeUnitBytes,
    alignBytes,
    slotBytes: alignUp(FRAME_HEADER_BYTES, alignBytes),
  });
}

/** The next multiple of `align` (a power of two), `bytes` itself where it is one. */
export function alignUp(bytes: number, align: number): number {
  return (bytes + align - 1) & -align;
}
