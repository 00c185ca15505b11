import { closeSync, existsSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { NorFlash, type NorFlashOptions } from "./nor.js";

/**
 * A simulated board's flash in a file: the cells, byte for byte, written through at each operation, so that what the board
 * was told to be driven is in the file even if the simulator's process is killed. What is unstable settles when the
 * process ends: the file keeps one reading.
 */
export class FileFlash extends NorFlash {
  readonly #file: number;

  constructor(file: number, options: NorFlashOptions) {
    super({ ...options, onDriven: (offset, cells) => writeAll(file, cells, offset) });
    this.#file = file;
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Opens the file, or makes one of erased cells. Throws where a file of another size is there, or none can be made. */
export function openFlashFile(path: string, options: Omit<NorFlashOptions, "cells" | "onDriven">): FileFlash {
  const isNew = !existsSync(path);
  const file = openSync(path, isNew ? "wx+" : "r+");
  try {
    if (isNew) writeAll(file, Buffer.alloc(options.sizeBytes, 0xff), 0);
    const size = fstatSync(file).size;
    if (size !== options.sizeBytes)
      throw new RangeError(`${path}: expected flash cells of ${options.sizeBytes} bytes, the file has ${size}`);
    const cells = Buffer.alloc(options.sizeBytes);
    for (let done = 0; done < cells.length; ) {
      const count = readSync(file, cells, done, cells.length - done, done);
      if (count === 0) throw new Error(`${path}: the file ends at ${done}`);
      done += count;
    }
    return new FileFlash(file, { ...options, cells });
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function writeAll(file: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, offset + done);
}
