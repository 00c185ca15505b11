import { fail, type Result } from "../codes/codes.js";
import { type Flash, FlashError } from "./flash.js";
import type { Released } from "./frame.js";
import { type Geometry, PAGE_BYTES, SECTOR_HEADER_BYTES } from "./layout.js";
import { readSectorHeader, type SectorHeader, type SectorReading } from "./sector.js";

/**
 * The partition as a ring of sectors: sector ordinal `n` stands in slot `n` modulo the number of sectors, so every sector
 * is erased as often as every other. Programs go out in pages and are read back; faults of the chip become `false`.
 */
export class Ring {
  /** Reads and bytes read since the mount began. */
  reads = 0;
  bytesRead = 0;
  readonly #flash: Flash;
  readonly #scratch = new Uint8Array(PAGE_BYTES);
  readonly #sectorBuffer: Uint8Array;
  #buffered: number | undefined;

  constructor(
    flash: Flash,
    readonly geometry: Geometry,
  ) {
    this.#flash = flash;
    this.#sectorBuffer = new Uint8Array(geometry.sectorBytes);
  }

  /** Offset of a sector in the partition. */
  at(ordinal: number): number {
    return (ordinal % this.geometry.sectors) * this.geometry.sectorBytes;
  }

  read(offset: number, into: Uint8Array): void {
    this.reads++;
    this.bytesRead += into.length;
    this.#flash.read(offset, into);
  }

  /** What the header in a slot says. */
  headerInSlot(slot: number): SectorReading {
    const bytes = this.#scratch.subarray(0, SECTOR_HEADER_BYTES);
    this.reads++;
    this.bytesRead += bytes.length;
    // Not through `read`, as in `#holds`: calls on a long chain.
    this.#flash.read(slot * this.geometry.sectorBytes, bytes);
    return readSectorHeader(this.geometry, bytes);
  }

  /** The header of the sector with this ordinal, undefined where the slot holds none or another's. */
  header(ordinal: number): SectorHeader | undefined {
    const reading = this.headerInSlot(ordinal % this.geometry.sectors);
    return reading.kind === "header" && reading.header.ordinal === ordinal ? reading.header : undefined;
  }

  /** The whole sector, in the one buffer there is: it holds until the next call. */
  sector(ordinal: number): Uint8Array {
    if (this.#buffered !== ordinal) {
      this.#buffered = undefined;
      this.read(this.at(ordinal), this.#sectorBuffer);
      this.#buffered = ordinal;
    }
    return this.#sectorBuffer;
  }

  /**
   * Programs `bytes`, page by page, and reads them back; the first `headBytes` of them stand before anything behind is
   * touched. False where the chip reported a fault or the cells hold something else: what is there then is nothing to
   * build on.
   */
  program(offset: number, bytes: Uint8Array, headBytes = bytes.length): boolean {
    if (
      this.#buffered !== undefined &&
      Math.floor(offset / this.geometry.sectorBytes) * this.geometry.sectorBytes === this.at(this.#buffered)
    )
      this.#buffered = undefined;
    try {
      for (let from = 0, to = Math.min(headBytes, bytes.length); from < bytes.length; from = to, to = bytes.length) {
        this.#drive(offset, bytes, from, to);
        if (!this.#holds(offset, bytes, from, to)) return false;
      }
      return true;
    } catch (error) {
      if (error instanceof FlashError) return false;
      throw error;
    }
  }

  #drive(offset: number, bytes: Uint8Array, from: number, to: number): void {
    for (let done = from; done < to; ) {
      const length = Math.min(to - done, PAGE_BYTES - ((offset + done) % PAGE_BYTES));
      this.#flash.write(offset + done, bytes.subarray(done, done + length));
      done += length;
    }
  }

  /** Whether the cells from `offset` on read as `bytes`, between `from` and `to`. */
  #holds(offset: number, bytes: Uint8Array, from: number, to: number): boolean {
    for (let done = from; done < to; done += PAGE_BYTES) {
      const part = this.#scratch.subarray(0, Math.min(PAGE_BYTES, to - done));
      this.reads++;
      this.bytesRead += part.length;
      // Not through `read`: the longest chain of calls ends here, and a board's stack is short.
      this.#flash.read(offset + done, part);
      for (let i = 0; i < part.length; i++) if (part[i] !== bytes[done + i]) return false;
    }
    return true;
  }

  /**
   * Erases the slot of a sector; false where the chip reports a fault. It is not read back: what an erase leaves undone
   * shows when a frame is programmed there and read back.
   */
  erase(ordinal: number): boolean {
    this.#buffered = undefined;
    try {
      this.#flash.erase(ordinal % this.geometry.sectors);
      return true;
    } catch (error) {
      if (error instanceof FlashError) return false;
      throw error;
    }
  }

  /**
   * Whether all that the sector of this ordinal can have held is released. What it held lies below where the next sector
   * begins; sectors of the formatting never held anything. `newest` is the last ordinal whose header may be asked.
   */
  isCovered(ordinal: number, released: Released, newest: number): boolean {
    if (ordinal < this.geometry.sectors) return true;
    for (let next = ordinal + 1; next <= newest; next++) {
      const header = this.header(next);
      if (header === undefined) continue;
      if (released.chain !== header.chain) return released.chain > header.chain;
      return released.count >= header.firstSeq;
    }
    return false;
  }
}

/** The typed failure that a fault of the chip on reading is; anything else is thrown on. */
export function flashFault(error: unknown): Result<never> {
  if (error instanceof FlashError) return fail("JOURNAL_FLASH_FAILED", error.message);
  throw error;
}
