import { fail, ok, type Result } from "../codes/codes.js";
import { BAD_SECTORS_MAX, FORMATTING_ORDINAL, SECTOR_HEADER_BYTES } from "./layout.js";
import type { Ring } from "./ring.js";
import { isErased } from "./scan.js";
import { encodeSectorHeader, type SectorHeader, type SectorReading, TAIL_ID_BYTES } from "./sector.js";
import type { TailReader } from "./tail.js";

/**
 * Finds the newest sector. Ordinals rise around the ring and fall once, so a binary search finds where, also beside
 * openings that were cut; where anything else does not fit, every header is read. Finding writes nothing.
 */
export interface NewestSector {
  /** Below the number of sectors where the journal was formatted and nothing was ever appended. */
  readonly ordinal: number;
  /** undefined where the header is damaged and the sector's frames told its ordinal. */
  readonly header: SectorHeader | undefined;
  /** Every header was read, because one did not fit. */
  readonly linear: boolean;
}

/** JOURNAL_BLANK, _FORMAT_CUT, _UNREADABLE, _GEOMETRY or _NEWER where there is no journal that this code may touch. */
export function findNewest(ring: Ring, tails: TailReader): Result<NewestSector> {
  const found = bySearch(ring) ?? byReadingAll(ring);
  if ("ok" in found) return found;
  const { header, linear } = found;
  // The slot of the next sector holds the round before, or nothing whole: an opening that was cut. Where it holds whole
  // frames of the next ordinal it was opened, and its header is damaged: it must not be taken for free.
  for (let ahead = found.suspects; ahead > 0; ahead--)
    if (tails.hasFrames(header.ordinal + ahead))
      return ok({ ordinal: header.ordinal + ahead, header: undefined, linear });
  return ok({ ordinal: header.ordinal, header, linear });
}

/** Openings that leave no header: one that is erased again, and one behind it; each may have passed over bad sectors. */
const FIRST_OPENINGS_MAX = 2 + BAD_SECTORS_MAX;

interface Found {
  readonly header: SectorHeader;
  /** Slots behind that do not hold a sound header of the round before. */
  readonly suspects: number;
  readonly linear: boolean;
}

/**
 * Binary search. Openings that were cut leave headers that cannot be read right behind the newest sector: so many are
 * passed over. undefined where anything else does not fit.
 */
function bySearch(ring: Ring): Found | undefined {
  const { sectors } = ring.geometry;
  let low = 0;
  let first = headerOrGap(ring, low);
  while (first === "gap" && low < FIRST_OPENINGS_MAX) first = headerOrGap(ring, ++low);
  if (typeof first !== "object" || (first.ordinal - low) % sectors !== 0) return undefined;
  const round = first.ordinal - low;
  const firstSlot = low;
  let high = sectors - 1;
  let header = first;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    let slot = middle;
    let found = headerOrGap(ring, slot);
    while (found === "gap" && middle - slot < FIRST_OPENINGS_MAX && slot > low) found = headerOrGap(ring, --slot);
    if (typeof found !== "object") return undefined;
    if (found.ordinal === round + slot - sectors) high = slot - 1;
    else if (found.ordinal !== round + slot) return undefined;
    else {
      low = slot;
      header = found;
      if (slot === middle) continue;
      if (gapsBehind(ring, slot, round) === undefined) return undefined;
      high = slot;
    }
  }
  const suspects = gapsBehind(ring, low, round);
  // Behind the last slot comes the first one, and what could not be read there.
  if (suspects === undefined || (firstSlot > 0 && low < sectors - 1)) return undefined;
  return { header, suspects: suspects + firstSlot, linear: false };
}

/**
 * Headers behind a slot that cannot be read, where the round before goes on behind them: openings that were cut, or damage.
 * undefined where something else follows, or too many.
 */
function gapsBehind(ring: Ring, slot: number, round: number): number | undefined {
  const { sectors } = ring.geometry;
  for (let gaps = 0; gaps <= FIRST_OPENINGS_MAX; gaps++) {
    const next = slot + 1 + gaps;
    if (next >= sectors) return gaps;
    const header = headerOrGap(ring, next);
    // Right behind `slot` the search has read none: one that is there this time was not driven to its end.
    if (header === "gap" || (gaps === 0 && header?.ordinal === round + next)) continue;
    return header?.ordinal === round + next - sectors ? gaps : undefined;
  }
  return undefined;
}

/** A slot's header; "gap" where it has none; undefined where it has one that no search may pass over. */
function headerOrGap(ring: Ring, slot: number): SectorHeader | "gap" | undefined {
  const reading = ring.headerInSlot(slot);
  if (reading.kind === "none") return "gap";
  return sound(reading);
}

function byReadingAll(ring: Ring): Found | Result<NewestSector> {
  const { sectors } = ring.geometry;
  let newest: SectorHeader | undefined;
  let strange: SectorReading | undefined;
  let formatted = 0;
  let firstFormatted = sectors;
  for (let slot = 0; slot < sectors; slot++) {
    const reading = ring.headerInSlot(slot);
    if (reading.kind === "header" && reading.header.ordinal === FORMATTING_ORDINAL)
      return fail("JOURNAL_FORMAT_CUT", `slot ${slot} says that the partition is being formatted`);
    if (reading.kind === "newer" || (reading.kind === "other" && strange === undefined)) strange = reading;
    if (reading.kind !== "header" || reading.header.ordinal % sectors !== slot) continue;
    if (reading.header.ordinal < sectors) {
      formatted++;
      firstFormatted = Math.min(firstFormatted, slot);
    }
    if (newest === undefined || reading.header.ordinal > newest.ordinal) newest = reading.header;
  }
  if (strange?.kind === "newer")
    return fail("JOURNAL_NEWER", `a sector header of format ${strange.version}; this firmware reads 1`);
  if (newest === undefined && strange?.kind === "other")
    return fail(
      "JOURNAL_GEOMETRY",
      `the journal was made for ${strange.detail}, this partition has ${sectors} sectors`,
    );
  if (newest === undefined)
    return isBlank(ring)
      ? fail("JOURNAL_BLANK", `${sectors} erased sectors`)
      : fail("JOURNAL_UNREADABLE", `none of ${sectors} sectors has a sound header`);
  if (newest.ordinal < sectors) {
    // The last step of formatting may have been cut: then one header is missing. Or the first openings were: the first are.
    const missing = sectors - formatted;
    if (missing > 1 && (missing !== firstFormatted || missing > FIRST_OPENINGS_MAX))
      return fail("JOURNAL_UNREADABLE", `${formatted} of ${sectors} sectors are formatted, and none was opened`);
    return { header: { ...newest, ordinal: sectors - 1 }, suspects: firstFormatted, linear: true };
  }
  let suspects = 0;
  while (suspects < sectors - 1) {
    const next = newest.ordinal + 1 + suspects;
    if (sound(ring.headerInSlot(next % sectors))?.ordinal === next - sectors) break;
    suspects++;
  }
  return { header: newest, suspects, linear: true };
}

function sound(reading: SectorReading): SectorHeader | undefined {
  return reading.kind === "header" && reading.header.ordinal !== FORMATTING_ORDINAL ? reading.header : undefined;
}

/**
 * All ones everywhere, but for the header in slot 0, which a formatting may have begun with. An encrypted partition never
 * reads like that, so there it is JOURNAL_UNREADABLE.
 */
function isBlank(ring: Ring): boolean {
  for (let slot = 0; slot < ring.geometry.sectors; slot++) {
    const bytes = ring.sector(slot);
    if (!isErased(bytes, slot === 0 ? SECTOR_HEADER_BYTES : 0, bytes.length)) return false;
  }
  return true;
}

/**
 * Makes an empty journal and ends whatever was there. First a mark goes into the slot behind the newest sector, where a
 * mount always looks; then the sectors are erased, the newest last. So a formatting that is cut is never taken for the
 * journal before, with some of its sectors gone. The mark's slot gets its header last.
 */
export function formatRing(ring: Ring): Result<void> {
  const { geometry } = ring;
  const { sectors } = geometry;
  const found = bySearch(ring) ?? byReadingAll(ring);
  const marked = "header" in found ? (found.header.ordinal + 1) % sectors : 0;
  const tailId = new Uint8Array(TAIL_ID_BYTES);
  const write = (slot: number, ordinal: number): boolean =>
    ring.program(
      ring.at(slot),
      encodeSectorHeader(geometry, { carries: false, ordinal, chain: 0, firstSeq: 0, tailId }),
    );
  const isBlankNow = "ok" in found && !found.ok && found.failure.code === "JOURNAL_BLANK";
  if (!(isBlankNow && write(marked, FORMATTING_ORDINAL)) && !(ring.erase(marked) && write(marked, FORMATTING_ORDINAL)))
    return fail("JOURNAL_FLASH_FAILED", `sector ${marked} could not be marked`);
  for (let n = 1; n < sectors; n++)
    if (!ring.erase((marked + n) % sectors))
      return fail("JOURNAL_FLASH_FAILED", `sector ${(marked + n) % sectors} could not be erased`);
  for (let n = 1; n < sectors; n++) {
    const slot = (marked + n) % sectors;
    if (!write(slot, slot)) return fail("JOURNAL_FLASH_FAILED", `the header of sector ${slot} could not be written`);
  }
  if (!ring.erase(marked) || !write(marked, marked))
    return fail("JOURNAL_FLASH_FAILED", `the header of sector ${marked} could not be written`);
  return ok(undefined);
}
