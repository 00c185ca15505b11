import { closeSync, openSync, readSync } from "node:fs";
import { fail, ok, type Result } from "tallystick/codes/codes";

const CHUNK_BYTES = 65_536;

/** A whole file, or standard input where `path` is `-`, but no more than `maxBytes`. FILE_UNREADABLE. */
export function readInput(path: string, maxBytes: number): Result<Uint8Array> {
  let file: number | undefined;
  try {
    file = path === "-" ? 0 : openSync(path, "r");
    const chunks: Buffer[] = [];
    let length = 0;
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const count = readChunk(file, chunk);
      if (count === 0) return ok(new Uint8Array(Buffer.concat(chunks, length)));
      length += count;
      if (length > maxBytes) return fail("FILE_UNREADABLE", `expected at most ${maxBytes} bytes`);
      chunks.push(chunk.subarray(0, count));
    }
  } catch (error) {
    return fail("FILE_UNREADABLE", (error as Error).message);
  } finally {
    if (file !== undefined && file !== 0) closeSync(file);
  }
}

function readChunk(file: number, chunk: Buffer): number {
  for (;;) {
    try {
      return readSync(file, chunk);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The end of a pipe on Windows; a terminal or pipe that has nothing yet.
      if (code === "EOF") return 0;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}
