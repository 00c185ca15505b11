import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * The challenge that a device signs to enrol. The relay keeps none of those it has given out: each carries its expiry
 * and an HMAC under a key that this process made at its start, or shares with the others of its relay, so that asking for millions of them costs no memory and
 * none outlives the process. That one is used once follows from the token, which is spent with it.
 *
 * Layout: 6 bytes expiry in milliseconds, big-endian ‖ 10 random bytes ‖ first 16 bytes of HMAC-SHA256 over both.
 */

export const CHALLENGE_LIFETIME_S = 120;
const EXPIRY_BYTES = 6;
const RANDOM_BYTES = 10;
const MAC_BYTES = 16;
const CHALLENGE_BYTES = EXPIRY_BYTES + RANDOM_BYTES + MAC_BYTES;

export class Challenges {
  readonly #key: Uint8Array;
  readonly #nowMs: () => number;

  /** `key`: one that all processes of the relay have, where there are several. */
  constructor(nowMs: () => number, key: Uint8Array = randomBytes(32)) {
    this.#key = key;
    this.#nowMs = nowMs;
  }

  /** A fresh challenge of 32 bytes, good for CHALLENGE_LIFETIME_S. */
  issue(): Uint8Array {
    const stated = Buffer.alloc(EXPIRY_BYTES + RANDOM_BYTES);
    stated.writeUIntBE(this.#nowMs() + CHALLENGE_LIFETIME_S * 1000, 0, EXPIRY_BYTES);
    randomBytes(RANDOM_BYTES).copy(stated, EXPIRY_BYTES);
    return new Uint8Array(Buffer.concat([stated, this.#mac(stated)]));
  }

  /** Whether this process, or another of its relay, gave the challenge out and its time has not passed. */
  isCurrent(challenge: Uint8Array): boolean {
    if (challenge.length !== CHALLENGE_BYTES) return false;
    const stated = Buffer.from(challenge.subarray(0, EXPIRY_BYTES + RANDOM_BYTES));
    if (!timingSafeEqual(this.#mac(stated), challenge.subarray(EXPIRY_BYTES + RANDOM_BYTES))) return false;
    return stated.readUIntBE(0, EXPIRY_BYTES) >= this.#nowMs();
  }

  #mac(stated: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(stated).digest().subarray(0, MAC_BYTES);
  }
}
