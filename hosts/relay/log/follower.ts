/**
 * The log as a process sees it that only takes records in: what another process, the sequencer, has published. It has no
 * key, holds no lock, and writes nothing; the newest checkpoint is read, and believed by the log's key, each time that it is
 * asked for. So nothing that a device was told by one process of a relay is unknown to the next one.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { equalBytes } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { kidOf } from "tallystick/identity/key";
import { openCheckpoint } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { CHECKPOINT_PATH } from "tallystick/log/tile";
import { FollowedHeads } from "./heads.js";
import type { SignedHead } from "./sequencer.js";
import type { LogSigner } from "./signer.js";

/** How often checkpoint and signature are looked for together, where the log goes on between the two looks. */
const LOOKS_MAX = 3;

/** What follows a log in place of sequencing it. */
export class Follower {
  readonly #crypto: Crypto;
  readonly #path: string;
  readonly #key: VerifierKey;
  readonly #heads: FollowedHeads;
  #head: SignedHead | undefined;

  /** `headsPath`: where the sequencer writes down what proofs need (heads.ts). */
  constructor(crypto: Crypto, publicFolder: string, headsPath: string, key: VerifierKey) {
    this.#crypto = crypto;
    this.#path = join(publicFolder, CHECKPOINT_PATH);
    this.#key = key;
    this.#heads = new FollowedHeads(crypto, headsPath, key);
  }

  /** The newest one; what cannot be read, or is less than before, leaves it as it was. */
  get head(): SignedHead | undefined {
    this.#look();
    return this.#head;
  }

  /** The tree to prove the log's first `size` entries with, as the sequencer's `cosignedHead` is. */
  cosignedHead(size: number): SignedHead | undefined {
    const { head } = this;
    return head && this.#heads.best(size, head);
  }

  /** LOG_LOCK_MISSING where there is no checkpoint yet, and what is wrong with one that is no checkpoint of this log. */
  async recover(): Promise<Result<true>> {
    return this.#look();
  }

  /** Another process gives entries their places. */
  async step(): Promise<Result<number>> {
    return ok(0);
  }

  async publishAgain(): Promise<void> {}

  #look(): Result<true> {
    for (let left = LOOKS_MAX; ; left--) {
      const before = this.#head;
      const looked = this.#lookOnce();
      // The signature is written before the checkpoint, and gone when two more were published since that was read.
      const isWhole = this.#head === before || this.#head!.receiptSignature.length > 0;
      if (!looked.ok || isWhole || left === 1) return looked;
    }
  }

  #lookOnce(): Result<true> {
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(readFileSync(this.#path));
    } catch (error) {
      return fail("LOG_IO_FAILED", (error as Error).message);
    }
    const last = this.#head;
    if (last && equalBytes(bytes, last.checkpoint)) {
      const receiptSignature = last.receiptSignature.length > 0 ? undefined : this.#heads.signatureOf(last);
      if (receiptSignature) this.#head = { ...last, receiptSignature };
      return ok(true);
    }
    const opened = openCheckpoint(this.#crypto, bytes, this.#key);
    if (!opened.ok) return opened;
    const { size, root } = opened.value;
    if (size < (last?.size ?? 0))
      return fail("LOG_BEHIND", `expected at least ${last?.size} entries, received ${size}`);
    const receiptSignature = this.#heads.signatureOf({ size, root }) ?? new Uint8Array(0);
    this.#head = { size, root, checkpoint: bytes, receiptSignature };
    return ok(true);
  }
}

/** Signs nothing: LOG_SIGNER_REFUSED. */
export function followingSigner({ sha256 }: Crypto, key: VerifierKey): LogSigner {
  const refuse = <T>(): Result<T> => fail("LOG_SIGNER_REFUSED", "this process follows the log and signs nothing");
  return {
    key,
    kid: kidOf(sha256, key.publicKey),
    last: () => undefined,
    sign: async () => refuse(),
    signOpening: () => refuse(),
  };
}
