import { type Flash, FlashError } from "tallystick/journal/flash";
import { PowerCut } from "../board.js";
import { BLOCK_BYTES, decipher, encipher } from "./flash-cipher.js";
import { SeededRandom } from "./random.js";
import { eraseTear, programTear, type Tear, tearErase, tearProgram } from "./tear.js";
import type { TearableCells } from "./world.js";

/**
 * The cells of one NOR flash partition. A cell is 1, 0, or unstable: what a program or an erase that lost its power left
 * between the two, read anew at random each time until it is driven again. Programming clears bits, within a page of 256
 * bytes; erasing sets a sector of them. On an encrypted partition the cells hold ciphertext: whole units are programmed,
 * each once between two erases (a second time throws), and what is erased or torn reads as garbage.
 *
 * Faults are part of it: a cut of the power at a chosen operation and in a chosen way, sectors that wear out silently or
 * with a report, stuck cells. Everything is a function of the calls and the seed.
 */
export const FLASH_PAGE_BYTES = 256;

export interface NorFlashOptions {
  readonly sizeBytes: number;
  /** Default 4,096. */
  readonly sectorBytes?: number;
  /** 1 for plain NOR (default); 16 or 32: encrypted, in units of so many bytes. */
  readonly writeUnitBytes?: 1 | 16 | 32;
  /** What unstable cells and torn operations do follows from it. Default 0. */
  readonly seed?: number;
  /** Key of the encrypted modes. Default 1. */
  readonly key?: number;
  /** Erases that a sector takes; from then on programs and erases of it do nothing. Default: without end. */
  readonly enduranceErases?: number;
  /** Whether a worn sector reports the fault or keeps silent. Default silent. */
  readonly wornReports?: boolean;
  /** Called after each operation with what the cells hold now, for a file. Unstable cells are told as one reading of them. */
  readonly onDriven?: (offset: number, cells: Uint8Array) => void;
  /** Cells to begin with; default all erased. Of an encrypted partition: ciphertext. */
  readonly cells?: Uint8Array;
}

/** Everything that a cut leaves behind; for tests that start again from the same point. */
export interface FlashSnapshot {
  readonly cells: Uint8Array;
  readonly unstable: Uint8Array;
  readonly touched: Uint8Array;
  readonly erased: Uint32Array;
}

export interface FlashCounters {
  reads: number;
  bytesRead: number;
  /** Page programs. */
  programs: number;
  bytesProgrammed: number;
  erases: number;
  /** Programs of a unit that had been programmed since its erase, on encrypted partitions. */
  refusals: number;
}

/** Cut the power at the `operation`-th program or erase from now on, counting from 1. */
export interface FlashCut {
  readonly operation: number;
  /** What is left where that is a program; nothing driven where it is not given. */
  readonly program?: Tear;
  /** What is left where that is an erase. */
  readonly erase?: Tear;
}

export class NorFlash implements Flash, TearableCells {
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  readonly writeUnitBytes: number;
  readonly counters: FlashCounters = noOperations();
  /** Called before each program and erase with its number since `cutAt`, for recording a workload. */
  onOperation: ((kind: "program" | "erase", offset: number, length: number) => void) | undefined;
  readonly #options: NorFlashOptions;
  readonly #random: SeededRandom;
  readonly #cells: Uint8Array;
  /** Bits set here are unstable. */
  readonly #unstable: Uint8Array;
  #unstableBytes = 0;
  /** Per write unit: programmed since the last erase, to the end or not. */
  readonly #touched: Uint8Array;
  readonly #erases: Uint32Array;
  #stuck: { readonly mask: Uint8Array; readonly value: Uint8Array } | undefined;
  #cut: FlashCut | undefined;
  #operations = 0;

  constructor(options: NorFlashOptions) {
    const { sizeBytes, sectorBytes = 4096, writeUnitBytes = 1, seed = 0, cells } = options;
    if (sizeBytes <= 0 || sizeBytes % sectorBytes !== 0)
      throw new RangeError(`sizeBytes: expected a multiple of ${sectorBytes}, got ${sizeBytes}`);
    if (cells !== undefined && cells.length !== sizeBytes)
      throw new RangeError(`cells: expected ${sizeBytes} bytes, got ${cells.length}`);
    this.#options = options;
    this.sizeBytes = sizeBytes;
    this.sectorBytes = sectorBytes;
    this.writeUnitBytes = writeUnitBytes;
    this.#random = new SeededRandom(seed);
    // A copy as a plain Uint8Array: a Buffer would slice into views.
    this.#cells = cells === undefined ? new Uint8Array(sizeBytes).fill(0xff) : new Uint8Array(cells);
    this.#unstable = new Uint8Array(sizeBytes);
    this.#touched = new Uint8Array(sizeBytes / writeUnitBytes);
    this.#erases = new Uint32Array(sizeBytes / sectorBytes);
    if (writeUnitBytes > 1)
      for (let i = 0; i < sizeBytes; i++)
        if (this.#cells[i] !== 0xff) this.#touched[Math.floor(i / writeUnitBytes)] = 1;
  }

  /** No cell is unstable: reading again reads the same. */
  get isStable(): boolean {
    return this.#unstableBytes === 0;
  }

  /** Programs and erases since the last `cutAt`, or since the beginning. */
  get operations(): number {
    return this.#operations;
  }

  /** Plans a cut, in place of the one before; the count of operations starts anew. */
  cutAt(cut: FlashCut | undefined): void {
    this.#cut = cut;
    this.#operations = 0;
  }

  read(offset: number, into: Uint8Array): void;
  read(offset: number, length: number): Uint8Array;
  read(offset: number, target: Uint8Array | number): Uint8Array {
    const into = typeof target === "number" ? new Uint8Array(target) : target;
    this.#inside("read", offset, into.length);
    this.counters.reads++;
    this.counters.bytesRead += into.length;
    if (this.writeUnitBytes === 1) {
      into.set(this.#reading(offset, into.length));
      return into;
    }
    const start = offset - (offset % BLOCK_BYTES);
    const end = Math.ceil((offset + into.length) / BLOCK_BYTES) * BLOCK_BYTES;
    const blocks = this.#reading(start, end - start).slice();
    decipher(blocks, start / BLOCK_BYTES, this.#options.key ?? 1);
    into.set(blocks.subarray(offset - start, offset - start + into.length));
    return into;
  }

  /** Programs any range, page after page. */
  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const room = FLASH_PAGE_BYTES - ((offset + done) % FLASH_PAGE_BYTES);
      const part = bytes.subarray(done, done + room);
      this.program(offset + done, part);
      done += part.length;
    }
  }

  /** One page program. */
  program(offset: number, bytes: Uint8Array): void {
    this.#program(offset, bytes, undefined);
  }

  /** One page program that the power left in a way that the seed chooses. */
  programTorn(offset: number, bytes: Uint8Array): void {
    this.#program(offset, bytes, programTear(this.#random));
  }

  erase(sector: number): void {
    this.#erase(sector, undefined);
  }

  /** An erase that the power left in a way that the seed chooses. */
  eraseTorn(sector: number): void {
    this.#erase(sector, eraseTear(this.#random));
  }

  #program(offset: number, plain: Uint8Array, given: Tear | undefined): void {
    const unit = this.writeUnitBytes;
    this.#inside("program", offset, plain.length);
    if ((offset % FLASH_PAGE_BYTES) + plain.length > FLASH_PAGE_BYTES)
      throw new RangeError(`program: ${plain.length} bytes at ${offset} cross a page of ${FLASH_PAGE_BYTES}`);
    if (offset % unit !== 0 || plain.length % unit !== 0)
      throw new RangeError(`program: expected whole units of ${unit}, got ${plain.length} bytes at ${offset}`);
    this.onOperation?.("program", offset, plain.length);
    const tear = given ?? this.#tearNow("program");
    this.counters.programs++;
    this.counters.bytesProgrammed += plain.length;
    if (tear?.kind === "before") throw new PowerCut(`before the program at ${offset}`);
    if (unit > 1)
      for (let at = offset; at < offset + plain.length; at += unit)
        if (this.#touched[at / unit] !== 0) {
          this.counters.refusals++;
          throw new FlashError("write", at, `the unit of ${unit} bytes was programmed since its erase`);
        }
    if (this.#isWorn(offset, "write")) return;
    const bytes = plain.slice();
    if (unit > 1) {
      encipher(bytes, offset / BLOCK_BYTES, this.#options.key ?? 1);
      this.#touched.fill(1, offset / unit, (offset + bytes.length) / unit);
    }
    if (tear === undefined || tear.kind === "after") {
      for (let i = 0; i < bytes.length; i++) {
        // A cell that is driven to 0 is stable; one that is left alone stays as it was.
        this.#setUnstable(offset + i, this.#unstable[offset + i]! & bytes[i]!);
        this.#cells[offset + i]! &= bytes[i]!;
      }
    } else
      tearProgram(tear, bytes, this.#cells, offset, (at, mask) => this.#setUnstable(at, this.#unstable[at]! | mask));
    this.#driven(offset, bytes.length);
    if (tear !== undefined && given === undefined) throw new PowerCut(`in the program at ${offset}`);
  }

  #erase(sector: number, given: Tear | undefined): void {
    const offset = sector * this.sectorBytes;
    this.#inside("erase", offset, this.sectorBytes);
    this.onOperation?.("erase", offset, this.sectorBytes);
    const tear = given ?? this.#tearNow("erase");
    this.counters.erases++;
    if (tear?.kind === "before") throw new PowerCut(`before the erase of sector ${sector}`);
    this.#erases[sector]!++;
    if (this.#isWorn(offset, "erase")) return;
    const units = this.sectorBytes / this.writeUnitBytes;
    const cells = this.#cells.subarray(offset, offset + this.sectorBytes);
    for (let i = 0; i < cells.length; i++) this.#setUnstable(offset + i, 0);
    if (tear === undefined || tear.kind === "after") {
      cells.fill(0xff);
      this.#touched.fill(0, sector * units, (sector + 1) * units);
    } else {
      tearErase(tear, cells, (at, mask) => this.#setUnstable(offset + at, mask));
      // A driver that counts units cannot know of an erase that was cut: what it takes for erased is another question.
      this.#touched.fill(1, sector * units, (sector + 1) * units);
    }
    this.#driven(offset, this.sectorBytes);
    if (tear !== undefined && given === undefined) throw new PowerCut(`in the erase of sector ${sector}`);
  }

  /** The tear of this operation, where the power goes in it. */
  #tearNow(kind: "program" | "erase"): Tear | undefined {
    this.#operations++;
    if (this.#cut?.operation !== this.#operations) return undefined;
    const tear = this.#cut[kind] ?? { kind: "before" };
    this.#cut = undefined;
    return tear;
  }

  #isWorn(offset: number, operation: "write" | "erase"): boolean {
    const { enduranceErases, wornReports } = this.#options;
    if (enduranceErases === undefined) return false;
    if (this.#erases[Math.floor(offset / this.sectorBytes)]! <= enduranceErases) return false;
    if (wornReports) throw new FlashError(operation, offset, "the sector is worn out");
    return true;
  }

  /** The cells as one reading gives them. */
  #reading(offset: number, length: number): Uint8Array {
    const plain = this.#cells.subarray(offset, offset + length);
    if (this.#unstableBytes === 0 && this.#stuck === undefined) return plain;
    const reading = plain.slice();
    for (let i = 0; i < length; i++) {
      const mask = this.#unstable[offset + i]!;
      if (mask !== 0) reading[i] = (reading[i]! & ~mask) | (this.#random.below(256) & mask);
      if (this.#stuck) {
        const stuck = this.#stuck.mask[offset + i]!;
        reading[i] = (reading[i]! & ~stuck) | (this.#stuck.value[offset + i]! & stuck);
      }
    }
    return reading;
  }

  #setUnstable(at: number, mask: number): void {
    const before = this.#unstable[at]!;
    if (before === mask) return;
    this.#unstableBytes += (mask !== 0 ? 1 : 0) - (before !== 0 ? 1 : 0);
    this.#unstable[at] = mask;
  }

  #driven(offset: number, length: number): void {
    this.#options.onDriven?.(offset, this.#reading(offset, length));
  }

  #inside(operation: string, offset: number, length: number): void {
    if (!Number.isInteger(offset) || offset < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`${operation}: ${length} bytes at ${offset} are not in the partition's ${this.sizeBytes}`);
  }

  /** How often a sector was erased. */
  erasesOf(sector: number): number {
    return this.#erases[sector]!;
  }

  /** Turns one stable cell over, as radiation or age does. */
  flip(offset: number, bit: number): void {
    this.#cells[offset]! ^= 1 << bit;
    this.#driven(offset, 1);
  }

  /** Makes a cell read as `value` whatever is done to it. */
  stick(offset: number, bit: number, value: 0 | 1): void {
    this.#stuck ??= { mask: new Uint8Array(this.sizeBytes), value: new Uint8Array(this.sizeBytes) };
    this.#stuck.mask[offset]! |= 1 << bit;
    if (value === 1) this.#stuck.value[offset]! |= 1 << bit;
    else this.#stuck.value[offset]! &= ~(1 << bit);
  }

  /** Replaces the cells as they are; nothing is counted. */
  fill(cells: Uint8Array): void {
    this.restore({
      cells,
      unstable: new Uint8Array(this.sizeBytes),
      touched: new Uint8Array(this.#touched.length).fill(1),
      erased: this.#erases,
    });
  }

  snapshot(): FlashSnapshot {
    return {
      cells: this.#cells.slice(),
      unstable: this.#unstable.slice(),
      touched: this.#touched.slice(),
      erased: this.#erases.slice(),
    };
  }

  restore({ cells, unstable, touched, erased }: FlashSnapshot): void {
    this.#cells.set(cells);
    this.#unstable.set(unstable);
    this.#touched.set(touched);
    this.#erases.set(erased);
    this.#unstableBytes = 0;
    for (let i = 0; i < unstable.length; i++) if (unstable[i] !== 0) this.#unstableBytes++;
    this.#driven(0, this.sizeBytes);
  }

  resetCounters(): void {
    Object.assign(this.counters, noOperations());
  }
}

function noOperations(): FlashCounters {
  return { reads: 0, bytesRead: 0, programs: 0, bytesProgrammed: 0, erases: 0, refusals: 0 };
}
