/**
 * What a witness knows of one log: the newest checkpoint that it cosigned, in a file of its own. The file is that
 * checkpoint's note, the witness's own line in it, so that a changed bit is found by the witness's own key.
 *
 * A cosignature leaves only once the file that holds it is durable. After a write that failed nobody knows which of the
 * two checkpoints the file has: the next call reads it, and makes durable what it read, before it is built upon.
 */
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { parseCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { openNote, type VerifierKey } from "tallystick/log/note";
import { type Disk, PRIVATE_MODE, writeDurable } from "../log/disk.js";

export interface LogMemoryOptions {
  readonly disk: Disk;
  readonly crypto: Crypto;
  readonly path: string;
  /** The witness's own. */
  readonly key: VerifierKey;
  readonly origin: string;
}

/** A checkpoint that the witness cosigned, durable. */
export interface Cosigned extends TreeHead {
  /** The note, with the log's line and the witness's. */
  readonly note: Uint8Array;
}

export class LogMemory {
  readonly #options: LogMemoryOptions;
  #newest: Cosigned | undefined;
  /** False until the file was read, and after a write that failed. */
  #settled = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: LogMemoryOptions) {
    this.#options = options;
  }

  /** The newest that was ever durable; undefined before the first. */
  get newest(): Cosigned | undefined {
    return this.#newest;
  }

  /**
   * Runs `decide` with the newest checkpoint and makes durable what it answers with, with no other decision about this
   * log in between. WITNESS_MEMORY_CORRUPT, and whatever `decide` refuses; throws DiskError, and nothing is cosigned.
   */
  advance(decide: (newest: Cosigned | undefined) => Result<Cosigned>): Promise<Result<Cosigned>> {
    const turn = this.#turn.then(() => this.#advance(decide));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #advance(decide: (newest: Cosigned | undefined) => Result<Cosigned>): Promise<Result<Cosigned>> {
    const settled = await this.#settle();
    if (!settled.ok) return settled;
    const next = decide(this.#newest);
    if (!next.ok) return next;
    await this.#write(next.value);
    return next;
  }

  /** Reads the file. WITNESS_MEMORY_CORRUPT; throws DiskError. */
  settle(): Promise<Result<true>> {
    const turn = this.#turn.then(() => this.#settle());
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #settle(): Promise<Result<true>> {
    if (this.#settled) return ok(true);
    const { disk, path } = this.#options;
    const note = await disk.read(path);
    if (note !== undefined) {
      const read = this.#read(note);
      if (!read.ok) return fail("WITNESS_MEMORY_CORRUPT", `${path}: ${read.failure.detail}`);
      // An fsync that failed may have left the page cache ahead of the disk.
      await this.#write(read.value);
    } else if (this.#newest !== undefined) {
      return fail("WITNESS_MEMORY_CORRUPT", `${path}: expected a tree of ${this.#newest.size}, received no file`);
    }
    this.#settled = true;
    return ok(true);
  }

  #read(note: Uint8Array): Result<Cosigned> {
    const { crypto, key, origin } = this.#options;
    const opened = openNote(crypto, note, [key]);
    if (!opened.ok) return opened;
    const checkpoint = parseCheckpoint(opened.value.text, "passed over");
    if (!checkpoint.ok) return checkpoint;
    if (checkpoint.value.origin !== origin)
      return fail("CHECKPOINT_MALFORMED", `expected the origin ${origin}, received ${checkpoint.value.origin}`);
    return ok({ size: checkpoint.value.size, root: checkpoint.value.root, note });
  }

  async #write(next: Cosigned): Promise<void> {
    this.#settled = false;
    await writeDurable(this.#options.disk, this.#options.path, next.note, PRIVATE_MODE);
    this.#newest = next;
    this.#settled = true;
  }
}
