import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, Entropy, KeyStore } from "./crypto.js";
import { verifySignature } from "./ed25519.js";
import { kidOf } from "./key.js";
import { drawReference, type SeedSource, seedOf, storedSeeds } from "./seeds.js";

/**
 * A device's key: made once, on the device; only its seed's reference is stored, the rest derived at each start. Nothing
 * here ever makes a key because something else failed: `create` is an act of provisioning.
 */
export const SEED_NAME = "seed";

export interface IdentityOptions {
  readonly keys: KeyStore;
  readonly crypto: Crypto;
  /** Makes the seeds of what the store holds. By default the store holds the seeds themselves. */
  readonly seeds?: SeedSource;
}

/** What making a key takes beyond opening one: seeds are drawn from `entropy` where no source is named. */
export type DrawOptions = IdentityOptions & { readonly entropy: Entropy };

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

  /** The key of a seed of 32 bytes. */
  static ofSeed(seed: Uint8Array, crypto: Crypto): Identity {
    return new Identity(seed, crypto);
  }

  /**
   * The key that the store names, undefined where it names none. KEY_UNREADABLE where what it holds is no reference to a
   * seed; KEY_FUSES_FAILED.
   */
  static open({ keys, crypto, seeds = storedSeeds() }: IdentityOptions): Result<Identity | undefined> {
    const reference = keys.read(SEED_NAME);
    if (reference === undefined) return ok(undefined);
    const seed = seedOf(seeds, reference);
    return seed.ok ? ok(new Identity(seed.value, crypto)) : seed;
  }

  /**
   * Makes the device's key: its reference is stored, and read back, before its seed is made. KEY_EXISTS where the store
   * already holds one; KEY_FUSES_USED_UP, KEY_FUSES_FAILED. Throws what `entropy` throws.
   */
  static create({ keys, crypto, entropy, seeds = storedSeeds(entropy) }: DrawOptions): Result<Identity> {
    if (keys.read(SEED_NAME) !== undefined) return fail("KEY_EXISTS", "the key store already holds a seed");
    const drawn = drawReference(seeds);
    if (!drawn.ok) return drawn;
    keys.write(SEED_NAME, drawn.value);
    const stored = keys.read(SEED_NAME);
    if (stored === undefined || !equalBytes(stored, drawn.value))
      return fail("KEY_UNREADABLE", "the key store does not give back what was written");
    const seed = seedOf(seeds, stored);
    return seed.ok ? ok(new Identity(seed.value, crypto)) : seed;
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
