/**
 * The log's key, and the one place that signs with it. The signer trusts nobody, the log included: it remembers the last
 * tree it signed and signs only what a consistency path shows to continue it. Its memory is durable before a signature
 * leaves, so whatever is lost elsewhere, the key has never signed two histories.
 */
import { dirname } from "node:path";
import { equalBytes, toHex, utf8 } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { kidOf } from "tallystick/identity/key";
import { formatCheckpoint, openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { formatNote, SignatureType, type VerifierKey } from "tallystick/log/note";
import { makeOpening, type Opening } from "tallystick/log/opening";
import { verifyConsistency } from "tallystick/merkle/proof";
import { receiptToBeSigned } from "tallystick/receipt/receipt";
import { type Disk, makeFolderDurable, PRIVATE_MODE, writeDurable } from "./disk.js";
import { type DrawnKey, drawKey, KEY_PREFIX, readKeyFile, signVerified } from "./key-file.js";

/** Signatures over one tree: made together or not at all. */
export interface SignedTree {
  /** The checkpoint as a note with the log's line. */
  readonly checkpoint: Uint8Array;
  /** Over the root as a COSE Receipt's detached payload. */
  readonly receiptSignature: Uint8Array;
}

/** The log's key as the log sees it. Another implementation may keep it on another machine. */
export interface LogSigner {
  /** Its name is the log's origin. */
  readonly key: VerifierKey;
  readonly kid: Uint8Array;
  /** The last tree signed; undefined where there was none. */
  last(): TreeHead | undefined;
  /**
   * Signs `tree`, which must continue `last()` by `path`, or be it. LOG_SIGNER_REFUSED where it does not,
   * CONSISTENCY_FALSE and PROOF_MALFORMED where the path does not show it, SIGNER_FAULT; LOG_SIGNER_STATE_CORRUPT where
   * its memory is not what it was, and no signature leaves.
   */
  sign(tree: TreeHead, path: readonly Uint8Array[]): Promise<Result<SignedTree>>;
  /** Signs leaf 0, as long as no tree was signed. LOG_SIGNER_REFUSED afterwards. */
  signOpening(opening: Omit<Opening, "origin" | "logKey">): Result<Uint8Array>;
}

/** Where a key file's memory is. */
export function memoryPath(keyPath: string): string {
  return `${keyPath}.signed`;
}

/**
 * Makes the key of a new log: `PRIVATE+KEY+<origin>+<id>+<base64 of type ‖ seed>`, readable by its owner alone. An act of
 * setting up, never an answer to an error: LOG_KEY_EXISTS where the file, or a memory of one, is there.
 */
export async function createLogKey(
  { disk, crypto, entropy }: { disk: Disk; crypto: Crypto; entropy: Entropy },
  path: string,
  origin: string,
): Promise<Result<VerifierKey>> {
  for (const each of [path, memoryPath(path)]) {
    if ((await disk.read(each)) !== undefined) return fail("LOG_KEY_EXISTS", `${each} is there`);
  }
  const { key, file } = drawKey({ crypto, entropy }, origin, SignatureType.ed25519);
  await makeFolderDurable(disk, dirname(path));
  await writeDurable(disk, path, file, PRIVATE_MODE);
  return ok(key);
}

/** A key that is to go on where another has stopped; nothing of it is on the disk yet. */
export interface SucceedingLogKey extends Omit<DrawnKey, "seed"> {
  /** The tree where the other stopped, signed by this one: its memory, and the log's newest checkpoint. */
  readonly checkpoint: Uint8Array;
}

/**
 * Draws the key that succeeds a log's key at `tree`, the last that was signed. It begins with that tree as its memory, so
 * that it too signs nothing but what continues it. SIGNER_FAULT.
 */
export function drawSucceedingKey(
  { crypto, entropy }: { crypto: Crypto; entropy: Entropy },
  origin: string,
  tree: TreeHead,
): Result<SucceedingLogKey> {
  const { key, seed, file } = drawKey({ crypto, entropy }, origin, SignatureType.ed25519);
  const checkpoint = signCheckpoint(crypto, key, seed, tree);
  return checkpoint ? ok({ key, file, checkpoint }) : fail("SIGNER_FAULT", FAULT);
}

const FAULT = "a signature of the log's key just made does not verify";

function signCheckpoint(crypto: Crypto, key: VerifierKey, seed: Uint8Array, tree: TreeHead): Uint8Array | undefined {
  const { name, id } = key;
  const text = formatCheckpoint({ origin: name, size: tree.size, root: tree.root });
  const signature = signVerified(crypto, key, seed, utf8(text));
  return signature && formatNote({ text, signatures: [{ name, id, signature }] });
}

/**
 * The signer of a key file. LOG_KEY_MISSING, LOG_KEY_UNSAFE where others may read it, LOG_KEY_MALFORMED where it is not
 * the key of `origin`, LOG_SIGNER_STATE_CORRUPT where its memory cannot be read.
 */
export async function openFileSigner(
  { disk, crypto }: { disk: Disk; crypto: Crypto },
  path: string,
  origin: string,
): Promise<Result<LogSigner>> {
  const mode = await disk.mode(path);
  if (mode !== undefined && (mode & 0o077) !== 0) {
    return fail("LOG_KEY_UNSAFE", `expected mode 600 of ${path}, received ${mode.toString(8)}`);
  }
  const file = await disk.read(path);
  if (file === undefined) return fail("LOG_KEY_MISSING", `expected a key in ${path}, received no file`);
  const found = readKeyFile(crypto, file, SignatureType.ed25519, origin);
  if (found === undefined) {
    return fail("LOG_KEY_MALFORMED", `expected one line ${KEY_PREFIX}${origin}+… in ${path}, received something else`);
  }
  const signer = new FileSigner(disk, crypto, memoryPath(path), found.key, found.seed);
  const remembered = await signer.remember();
  return remembered.ok ? ok(signer) : remembered;
}

class FileSigner implements LogSigner {
  readonly key: VerifierKey;
  readonly kid: Uint8Array;
  readonly #disk: Disk;
  readonly #crypto: Crypto;
  readonly #memory: string;
  readonly #seed: Uint8Array;
  #last: TreeHead | undefined;
  /** What the memory holds: what was read or written last, and what a write that failed may have put there. */
  #remembered: (Uint8Array | undefined)[] = [undefined];
  #writing: Promise<unknown> = Promise.resolve();

  constructor(disk: Disk, crypto: Crypto, memory: string, key: VerifierKey, seed: Uint8Array) {
    this.#disk = disk;
    this.#crypto = crypto;
    this.#memory = memory;
    this.#seed = seed;
    this.key = key;
    this.kid = kidOf(crypto.sha256, this.key.publicKey);
  }

  /** Reads the memory, which is the last checkpoint itself: its own signature shows a changed bit. */
  async remember(): Promise<Result<true>> {
    const bytes = await this.#disk.read(this.#memory);
    if (bytes === undefined) return ok(true);
    const checkpoint = openCheckpoint(this.#crypto, bytes, this.key);
    if (!checkpoint.ok) {
      return fail("LOG_SIGNER_STATE_CORRUPT", `${this.#memory}: ${checkpoint.failure.detail}`);
    }
    this.#last = { size: checkpoint.value.size, root: checkpoint.value.root };
    this.#remembered = [bytes];
    return ok(true);
  }

  /** Another process that signs with this key, or a changed bit, shows in the memory: then this one knows too little. */
  async #checkMemory(): Promise<Result<true>> {
    const found = await this.#disk.read(this.#memory);
    const same = this.#remembered.some((bytes) =>
      bytes === undefined || found === undefined ? bytes === found : equalBytes(bytes, found),
    );
    if (same) return ok(true);
    return fail(
      "LOG_SIGNER_STATE_CORRUPT",
      `expected in ${this.#memory} what was put there last, received something else`,
    );
  }

  last(): TreeHead | undefined {
    return this.#last;
  }

  async sign({ size, root }: TreeHead, path: readonly Uint8Array[]): Promise<Result<SignedTree>> {
    const last = this.#last;
    if (size < 1 || (last !== undefined && size < last.size)) {
      return fail("LOG_SIGNER_REFUSED", `expected a tree of at least ${last?.size ?? 1}, received one of ${size}`);
    }
    if (last !== undefined) {
      if (size === last.size && !equalBytes(root, last.root)) {
        return fail("LOG_SIGNER_REFUSED", `expected the root ${toHex(last.root)} at ${size}, received ${toHex(root)}`);
      }
      const consistent = verifyConsistency(this.#crypto.sha256, last.size, last.root, size, root, path);
      if (!consistent.ok) return consistent;
    }
    const checkpoint = signCheckpoint(this.#crypto, this.key, this.#seed, { size, root });
    const receiptSignature = this.#signature(receiptToBeSigned(this.kid, root));
    if (checkpoint === undefined || receiptSignature === undefined) return fail("SIGNER_FAULT", FAULT);
    // Remembered before anything is awaited, so that a second call in the meantime is held against this tree; durable
    // before it leaves, also when it is the same tree again, since an earlier attempt may have failed half-way.
    this.#last = { size, root };
    const written = this.#writing.then(async () => {
      const unchanged = await this.#checkMemory();
      if (!unchanged.ok) return unchanged;
      // A write that fails may have put it there, or not; it is tried again before another is.
      this.#remembered = [this.#remembered[0], checkpoint];
      await writeDurable(this.#disk, this.#memory, checkpoint, PRIVATE_MODE);
      this.#remembered = [checkpoint];
      return ok(true);
    });
    this.#writing = written.catch(() => undefined);
    const remembered = await written;
    if (!remembered.ok) return remembered;
    return ok({ checkpoint, receiptSignature });
  }

  signOpening(opening: Omit<Opening, "origin" | "logKey">): Result<Uint8Array> {
    if (this.#last !== undefined) {
      return fail("LOG_SIGNER_REFUSED", `expected no tree signed yet, received one of ${this.#last.size}`);
    }
    let faulty = false;
    const whole: Opening = { ...opening, origin: this.key.name, logKey: this.key.publicKey };
    const bytes = makeOpening(this.#crypto.sha256, whole, (message) => {
      const signature = this.#signature(message);
      faulty = signature === undefined;
      return signature ?? new Uint8Array(64);
    });
    return faulty ? fail("SIGNER_FAULT", FAULT) : ok(bytes);
  }

  #signature(message: Uint8Array): Uint8Array | undefined {
    return signVerified(this.#crypto, this.key, this.#seed, message);
  }
}
