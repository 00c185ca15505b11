/** Cryptography as the modules see it: one object that a host hands in, native or portable, giving the same bytes. */

/** SHA-256 (FIPS 180-4) of the bytes: 32 bytes. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** One Ed25519 implementation (RFC 8032, pure). Only identity/ed25519.ts decides what is accepted. */
export interface Ed25519Engine {
  readonly name: string;
  /** The 32-byte public key of a 32-byte seed. */
  publicKey(seed: Uint8Array): Uint8Array;
  /** The deterministic 64-byte signature of RFC 8032 §5.1.6. `publicKey` must belong to `seed`. */
  sign(message: Uint8Array, seed: Uint8Array, publicKey: Uint8Array): Uint8Array;
  /** The cofactorless equation S·B = R + k·A by comparing R's bytes. Called only after the rule's own checks. */
  equation(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** An implementation that answers later, as a browser's does. Only identity/ed25519.ts decides what is accepted. */
export interface AsyncEd25519Engine {
  readonly name: string;
  /** As `Ed25519Engine.equation`. */
  equation(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean | Promise<boolean>;
}

export interface Crypto {
  readonly sha256: Sha256;
  readonly ed25519: Ed25519Engine;
}

/** Randomness that may make keys: a hardware generator with its entropy source running, or nothing. */
export interface Entropy {
  /** `length` random bytes; throws where real entropy cannot be had. Never a seeded or default generator. */
  bytes(length: number): Uint8Array;
}

/** Small durable values by name (at most 15 ASCII characters, as NVS). Each write is durable when it returns. */
export interface KeyStore {
  read(name: string): Uint8Array | undefined;
  write(name: string, value: Uint8Array): void;
  delete(name: string): void;
}
