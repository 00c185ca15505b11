import type { Flash } from "tallystick/journal/flash";
import type { Geometry } from "tallystick/journal/layout";

/** A program or an erase that the journal asked for. */
export type Operation =
  | { readonly kind: "program"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "erase"; readonly sector: number };

/** What erased units of an encrypted partition read as: anything that is neither ones, nor zeros, nor a frame. */
const GARBAGE = 0xa5;

/**
 * A copy of a partition's image in memory that the journal is let loose on, and the list of what it did. The image holds
 * what the device reads, so that programs clear bits on plain flash, and set units of an encrypted one.
 *
 * The simulator's flash is not of use here: its encrypted cells hold ciphertext, and which units were programmed, and
 * neither is in an image. So a unit behind the last legible frame is taken for erased. Where a cut has touched it, the
 * device finds that out by reading back, and goes on in the next sector.
 */
export class ImageFlash implements Flash {
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  readonly writeUnitBytes: number;
  readonly #cells: Uint8Array;
  #operations: Operation[] = [];

  constructor(image: Uint8Array, { sectorBytes, unitBytes }: Pick<Geometry, "sectorBytes" | "unitBytes">) {
    this.#cells = new Uint8Array(image);
    this.sizeBytes = image.length;
    this.sectorBytes = sectorBytes;
    this.writeUnitBytes = unitBytes;
  }

  /** Operations since this was last asked. */
  takeOperations(): readonly Operation[] {
    const taken = this.#operations;
    this.#operations = [];
    return taken;
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.#cells.subarray(offset, offset + into.length));
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#operations.push({ kind: "program", offset, bytes: bytes.slice() });
    for (let i = 0; i < bytes.length; i++)
      this.#cells[offset + i] = this.writeUnitBytes === 1 ? this.#cells[offset + i]! & bytes[i]! : bytes[i]!;
  }

  erase(sector: number): void {
    this.#operations.push({ kind: "erase", sector });
    const start = sector * this.sectorBytes;
    this.#cells.fill(this.writeUnitBytes === 1 ? 0xff : GARBAGE, start, start + this.sectorBytes);
  }
}
