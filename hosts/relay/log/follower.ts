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
import type { SignedHead } from "./sequencer.js";
import type { LogSigner } from "./signer.js";

/** What follows a log in place of sequencing it. */
export class Follower {
  readonly #crypto: Crypto;
  readonly #path: string;
  readonly #key: VerifierKey;
  #head: SignedHead | undefined;

  constructor(crypto: Crypto, publicFolder: string, key: VerifierKey) {
    this.#crypto = crypto;
    this.#path = join(publicFolder, CHECKPOINT_PATH);
    this.#key = key;
  }

  /** The newest one; what cannot be read, or is less than before, leaves it as it was. */
  get head(): SignedHead | undefined {
    this.#look();
    return this.#head;
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
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(readFileSync(this.#path));
    } catch (error) {
      return fail("LOG_IO_FAILED", (error as Error).message);
    }
    if (this.#head && equalBytes(bytes, this.#head.checkpoint)) return ok(true);
    const opened = openCheckpoint(this.#crypto, bytes, this.#key);
    if (!opened.ok) return opened;
    const { size, root } = opened.value;
    if (size < (this.#head?.size ?? 0))
      return fail("LOG_BEHIND", `expected at least ${this.#head?.size} entries, received ${size}`);
    this.#head = { size, root, checkpoint: bytes, receiptSignature: new Uint8Array(0) };
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
