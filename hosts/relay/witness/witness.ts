/**
 * A witness (C2SP tlog-witness): cosigns the checkpoints of logs that it was told of, each only where it continues the one
 * that it cosigned last. It holds no entries, and vouches for nothing but that: that it was shown one history.
 */
import { join } from "node:path";
import { equalBytes } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { type Checkpoint, parseCheckpoint } from "tallystick/log/checkpoint";
import {
  formatNote,
  formatSignatureLine,
  type OpenedNote,
  openNote,
  parseNote,
  SignatureType,
  type VerifierKey,
} from "tallystick/log/note";
import { type AddCheckpoint, makeCosignature, originHash, readAddCheckpoint } from "tallystick/log/witness";
import { emptyRoot } from "tallystick/merkle/merkle";
import { verifyConsistency } from "tallystick/merkle/proof";
import { type Disk, DiskError, makeFolderDurable, PRIVATE_MODE, writeDurable } from "../log/disk.js";
import { drawKey, KEY_PREFIX, readKeyFile, signVerified } from "../log/key-file.js";
import { type Cosigned, LogMemory } from "./memory.js";

/** Characters of a stranger's log name, and of what is wrong with a checkpoint, that are repeated to a person. */
const SHOWN_ORIGIN_MAX = 200;
const SHOWN_DETAIL_MAX = 500;

/** Most logs that one witness is told of. */
export const WITNESSED_LOGS_MAX = 1024;
/** Most keys that it may be told for one log: a log's key can be succeeded by another. */
export const LOG_KEYS_MAX = 8;

const KEY_FILE = "witness.key";
const HOLDER_FILE = "witness.lock";
const MEMORY_FOLDER = "logs";

export interface WitnessOptions {
  readonly disk: Disk;
  readonly crypto: Crypto;
  readonly folder: string;
  /** Keys of the logs that are witnessed; several of one name are keys of one log. */
  readonly logs: readonly VerifierKey[];
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** The name that the folder's witness must have; default whatever it has. */
  readonly name?: string;
}

/** `heldSize`: the request's old size is not the size of what was cosigned last. */
export type Answer = { readonly cosignature: string } | { readonly heldSize: number } | { readonly failure: Failure };

interface WitnessedLog {
  readonly keys: VerifierKey[];
  readonly memory: LogMemory;
}

export class Witness {
  readonly key: VerifierKey;
  readonly #options: WitnessOptions;
  readonly #seed: Uint8Array;
  readonly #holder: { release(): void };
  readonly #logs = new Map<string, WitnessedLog>();

  private constructor(options: WitnessOptions, key: VerifierKey, seed: Uint8Array, holder: { release(): void }) {
    this.#options = options;
    this.key = key;
    this.#seed = seed;
    this.#holder = holder;
    const { disk, crypto, folder } = options;
    for (const log of options.logs) {
      const origin = log.name;
      const path = join(folder, MEMORY_FOLDER, originHash(crypto.sha256, origin));
      const known = this.#logs.get(origin) ?? {
        keys: [],
        memory: new LogMemory({ disk, crypto, path, key, origin }),
      };
      if (!known.keys.some(({ id }) => equalBytes(id, log.id))) known.keys.push(log);
      this.#logs.set(origin, known);
    }
  }

  /**
   * Makes a new witness in a folder that holds none. An act of setting up, never an answer to an error: WITNESS_KEY_MISSING
   * where there is a memory without its key, WITNESS_IO_FAILED. A key that is there stays.
   */
  static create(
    options: Pick<WitnessOptions, "disk" | "crypto" | "folder"> & { readonly entropy: Entropy },
    name: string,
  ): Promise<Result<true>> {
    return guarded(async () => {
      const { disk, folder } = options;
      await makeFolderDurable(disk, folder);
      const holder = await disk.hold(join(folder, HOLDER_FILE));
      if (holder === undefined) return held(folder);
      try {
        const path = join(folder, KEY_FILE);
        if ((await disk.read(path)) !== undefined) return ok(true);
        if ((await disk.list(join(folder, MEMORY_FOLDER))).length > 0)
          return fail("WITNESS_KEY_MISSING", `expected ${path}, received a memory of logs without it`);
        await makeFolderDurable(disk, join(folder, MEMORY_FOLDER));
        await writeDurable(disk, path, drawKey(options, name, SignatureType.cosignature).file, PRIVATE_MODE);
        return ok(true);
      } finally {
        holder.release();
      }
    });
  }

  /**
   * Opens the witness in `folder` for this process alone, with its memory of every log read. WITNESS_FOLDER_BLANK,
   * WITNESS_FOLDER_HELD, WITNESS_KEY_*, WITNESS_MEMORY_CORRUPT, WITNESS_IO_FAILED.
   */
  static open(options: WitnessOptions): Promise<Result<Witness>> {
    return guarded(async () => {
      const { disk, folder } = options;
      // What is not there is not made here: a mistyped path would else pass for a witness that knows of nothing.
      const found = await disk.list(folder);
      if (!found.includes(KEY_FILE)) {
        return found.includes(MEMORY_FOLDER) && (await disk.list(join(folder, MEMORY_FOLDER))).length > 0
          ? fail("WITNESS_KEY_MISSING", `expected ${join(folder, KEY_FILE)}, received a memory of logs without it`)
          : fail("WITNESS_FOLDER_BLANK", `expected ${KEY_FILE} in ${folder}, received none`);
      }
      const holder = await disk.hold(join(folder, HOLDER_FILE));
      if (holder === undefined) return held(folder);
      let opened: Result<Witness> | undefined;
      try {
        opened = await Witness.#openHeld(options, holder);
        return opened;
      } finally {
        if (!opened?.ok) holder.release();
      }
    });
  }

  static async #openHeld(options: WitnessOptions, holder: { release(): void }): Promise<Result<Witness>> {
    const { disk, crypto, folder, name } = options;
    const path = join(folder, KEY_FILE);
    const mode = await disk.mode(path);
    if (mode !== undefined && (mode & 0o077) !== 0)
      return fail("WITNESS_KEY_UNSAFE", `expected mode 600 of ${path}, received ${mode.toString(8)}`);
    const file = await disk.read(path);
    const read = file && readKeyFile(crypto, file, SignatureType.cosignature, name);
    if (!read)
      return fail(
        "WITNESS_KEY_MALFORMED",
        `expected one line ${KEY_PREFIX}${name ?? "<name>"}+… in ${path}, received something else`,
      );
    await makeFolderDurable(disk, join(folder, MEMORY_FOLDER));
    const witness = new Witness(options, read.key, read.seed, holder);
    for (const { memory } of witness.#logs.values()) {
      const settled = await memory.settle();
      if (!settled.ok) return settled;
    }
    return ok(witness);
  }

  /** Answers a body of add-checkpoint. What it cosigns is durable in its memory when it returns. */
  async add(body: Uint8Array): Promise<Answer> {
    let heldSize: number | undefined;
    const added = await guarded(async () => {
      const request = readAddCheckpoint(body);
      if (!request.ok) return request;
      const found = this.#find(request.value.checkpoint);
      if (!found.ok) return found;
      const { log, note, checkpoint } = found.value;
      const { oldSize } = request.value;
      if (oldSize > checkpoint.size)
        return fail(
          "WITNESS_REQUEST_MALFORMED",
          `expected an old size of at most ${checkpoint.size}, received ${oldSize}`,
        );
      return log.memory.advance((newest) => {
        const size = newest?.size ?? 0;
        if (oldSize === size) return this.#continue(newest, request.value, note, checkpoint);
        heldSize = size;
        return fail("WITNESS_SIZE_DIFFERS", `expected the old size ${size}, received ${oldSize}`);
      });
    });
    if (heldSize !== undefined) return { heldSize };
    return added.ok ? { cosignature: this.#ownLine(added.value) } : { failure: added.failure };
  }

  /** Which log it is, and that a key of it that is known here signed. */
  #find(
    bytes: Uint8Array,
  ): Result<{ readonly log: WitnessedLog; readonly note: OpenedNote; readonly checkpoint: Checkpoint }> {
    const note = parseNote(bytes);
    if (!note.ok) return fail("WITNESS_REQUEST_MALFORMED", note.failure.detail);
    const checkpoint = parseCheckpoint(note.value.text, "passed over");
    if (!checkpoint.ok) return fail("WITNESS_REQUEST_MALFORMED", checkpoint.failure.detail);
    const { origin } = checkpoint.value;
    const log = this.#logs.get(origin);
    if (!log) return fail("WITNESS_LOG_UNKNOWN", `received a checkpoint of ${origin.slice(0, SHOWN_ORIGIN_MAX)}`);
    const opened = openNote(this.#options.crypto, bytes, log.keys);
    if (!opened.ok) return fail("WITNESS_LOG_UNSIGNED", opened.failure.detail.slice(0, SHOWN_DETAIL_MAX));
    return ok({ log, note: opened.value, checkpoint: checkpoint.value });
  }

  /** The checkpoint with the witness's line, where it continues the one that was cosigned last. */
  #continue(
    newest: Cosigned | undefined,
    { path }: AddCheckpoint,
    { text, verified }: OpenedNote,
    { size, root }: Checkpoint,
  ): Result<Cosigned> {
    const { crypto, nowMs } = this.#options;
    const older = newest ?? { size: 0, root: emptyRoot(crypto.sha256) };
    const consistent = verifyConsistency(crypto.sha256, older.size, older.root, size, root, path);
    if (!consistent.ok)
      return fail("WITNESS_PROOF_FALSE", `from ${older.size} to ${size}: ${consistent.failure.detail}`);
    let faulty = false;
    const line = makeCosignature(this.key, text, Math.floor(nowMs() / 1000), (message) => {
      const signature = signVerified(crypto, this.key, this.#seed, message);
      faulty = signature === undefined;
      return signature ?? new Uint8Array(64);
    });
    if (faulty) return fail("SIGNER_FAULT", "a signature just made does not verify");
    // Of the lines only those that were verified here: whoever reads the memory has to rely on each.
    const own = verified.map(({ name, id, signature }) => ({ name, id, signature }));
    return ok({ size, root, note: formatNote({ text, signatures: [...own, line] }) });
  }

  #ownLine({ note }: Cosigned): string {
    const parsed = parseNote(note);
    if (!parsed.ok) throw new Error(parsed.failure.detail);
    return formatSignatureLine(parsed.value.signatures.at(-1)!);
  }

  /** The newest checkpoint that was cosigned of the log of which this is the hash; undefined where there is none. */
  newest(hash: string): Uint8Array | undefined {
    for (const [origin, { memory }] of this.#logs)
      if (originHash(this.#options.crypto.sha256, origin) === hash) return memory.newest?.note;
    return undefined;
  }

  /** Lets another process have the folder. */
  close(): void {
    this.#holder.release();
  }
}

function held(folder: string): Result<never> {
  return fail("WITNESS_FOLDER_HELD", `another process holds ${join(folder, HOLDER_FILE)}`);
}

/** What the disk refuses is an expected failure; anything else thrown is a defect and stays thrown. */
async function guarded<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof DiskError) return fail("WITNESS_IO_FAILED", error.message);
    throw error;
  }
}
