import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, Entropy, KeyStore } from "./crypto.js";
import { SEED_BYTES, verifySignature } from "./ed25519.js";
import { kidOf } from "./key.js";

/**
 * A device's key: made once, on the device, from gated entropy; only the seed is stored, the rest derived at each start.
 * Nothing here ever makes a key because something else failed: `create` is an act of provisioning.
 */
export const SEED_NAME = "seed";

export interface IdentityOptions {
  readonly keys: KeyStore;
  readonly crypto: Crypto;
}

export class Identity {
  readonly publicKey: Uint8Array;
  readonly kid: Uint8Array;
  readonly #seed: Uint8Array;
  readonly #crypto: Crypto;

  private constructor(seed: Uint8Array, crypto: Crypto) {
    this.#seed = seed;
    this.#crypto = crypto;
    this.publicKey = crypto.ed25519.publicKey(seed);
    this.kid = kidOf(crypto.sha256, this.publicKey);
  }

  /** The key of a seed of 32 bytes, which a key store gave or is about to keep. */
  static ofSeed(seed: Uint8Array, crypto: Crypto): Identity {
    return new Identity(seed, crypto);
  }

  /** The key that the store holds, undefined where it holds none. KEY_UNREADABLE where what it holds is no seed. */
  static open({ keys, crypto }: IdentityOptions): Result<Identity | undefined> {
    const seed = keys.read(SEED_NAME);
    if (seed === undefined) return ok(undefined);
    if (seed.length !== SEED_BYTES)
      return fail("KEY_UNREADABLE", `expected a seed of ${SEED_BYTES} bytes, received ${seed.length}`);
    return ok(new Identity(seed, crypto));
  }

  /** Makes the device's key and stores its seed. KEY_EXISTS where the store already holds one. Throws what `entropy` throws. */
  static create({ keys, crypto, entropy }: IdentityOptions & { readonly entropy: Entropy }): Result<Identity> {
    if (keys.read(SEED_NAME) !== undefined) return fail("KEY_EXISTS", "the key store already holds a seed");
    const seed = entropy.bytes(SEED_BYTES);
    keys.write(SEED_NAME, seed);
    const stored = keys.read(SEED_NAME);
    if (stored === undefined || stored.length !== SEED_BYTES || stored.some((byte, i) => byte !== seed[i]))
      return fail("KEY_UNREADABLE", "the key store does not give back what was written");
    return ok(new Identity(stored, crypto));
  }

  /**
   * Signs, and verifies before the signature leaves: a signature made under a flipped bit can give the key away.
   * SIGNER_FAULT where the signature does not verify.
   */
  sign(message: Uint8Array): Result<Uint8Array> {
    const signature = this.#crypto.ed25519.sign(message, this.#seed, this.publicKey);
    if (!verifySignature(this.#crypto.ed25519, signature, message, this.publicKey))
      return fail("SIGNER_FAULT", "the signature just made does not verify");
    return ok(signature);
  }

  verify(message: Uint8Array, signature: Uint8Array): boolean {
    return verifySignature(this.#crypto.ed25519, signature, message, this.publicKey);
  }
}
