import type { Crypto } from "tallystick/identity/crypto";

/**
 * The engine's native module `tallystick-native`: C behind every function, views respected, results in new buffers.
 * `sign` throws where the public key does not belong to the seed; wrong lengths throw.
 */
export interface NativeCrypto {
  sha256(bytes: Uint8Array): ArrayBuffer;
  readonly ed25519: {
    publicKey(seed: Uint8Array): ArrayBuffer;
    sign(message: Uint8Array, seed: Uint8Array, publicKey: Uint8Array): ArrayBuffer;
    /** S·B = R + k·A by comparing R's bytes, and nothing else: identity/ed25519.ts has the rule's other conditions. */
    verifyEquation(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
  };
}

/** The board's cryptography over the engine's C. */
export function createCrypto(native: NativeCrypto): Crypto {
  const { ed25519 } = native;
  return {
    sha256: (bytes) => new Uint8Array(native.sha256(bytes)),
    ed25519: {
      name: "native C",
      publicKey: (seed) => new Uint8Array(ed25519.publicKey(seed)),
      sign: (message, seed, publicKey) => new Uint8Array(ed25519.sign(message, seed, publicKey)),
      equation: (signature, message, publicKey) => ed25519.verifyEquation(signature, message, publicKey),
    },
  };
}
