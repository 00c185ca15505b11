/**
 * Cryptography on the relay: libsodium for Ed25519 (its verifier is the one rule itself), OpenSSL for SHA-256, and OpenSSL's
 * Ed25519 as a second implementation.
 */
import { createPrivateKey, createPublicKey, hash, sign, verify } from "node:crypto";
import sodium from "sodium-native";
import type { Crypto, Ed25519Engine, Sha256 } from "tallystick/identity/crypto";
import { PUBLIC_KEY_BYTES, SEED_BYTES } from "tallystick/identity/ed25519";

const SIGNATURE_BYTES = 64;
const SECRET_KEY_BYTES = SEED_BYTES + PUBLIC_KEY_BYTES;

export const sodiumEngine: Ed25519Engine = {
  name: "sodium-native",
  publicKey(seed) {
    const publicKey = new Uint8Array(PUBLIC_KEY_BYTES);
    const secretKey = new Uint8Array(SECRET_KEY_BYTES);
    sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
    sodium.sodium_memzero(secretKey);
    return publicKey;
  },
  sign(message, seed, publicKey) {
    const signature = new Uint8Array(SIGNATURE_BYTES);
    const secretKey = new Uint8Array(SECRET_KEY_BYTES);
    secretKey.set(seed);
    secretKey.set(publicKey, SEED_BYTES);
    sodium.crypto_sign_detached(signature, message, secretKey);
    sodium.sodium_memzero(secretKey);
    return signature;
  },
  equation: (signature, message, publicKey) => sodium.crypto_sign_verify_detached(signature, message, publicKey),
};

// DER of RFC 8410, up to the key's 32 bytes: SubjectPublicKeyInfo, and PrivateKeyInfo with the seed.
const PUBLIC_KEY_DER = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);
const PRIVATE_KEY_DER = Uint8Array.of(
  ...[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20],
);

/** OpenSSL's, by Node: the cofactorless equation; S above the order it refuses itself. */
export const nodeEngine: Ed25519Engine = {
  name: "node:crypto",
  publicKey(seed) {
    const spki = createPublicKey(privateKeyOf(seed)).export({ format: "der", type: "spki" });
    return new Uint8Array(spki.subarray(PUBLIC_KEY_DER.length));
  },
  sign: (message, seed) => new Uint8Array(sign(null, message, privateKeyOf(seed))),
  equation(signature, message, publicKey) {
    const key = Buffer.concat([PUBLIC_KEY_DER, publicKey]);
    return verify(null, message, createPublicKey({ key, format: "der", type: "spki" }), signature);
  },
};

function privateKeyOf(seed: Uint8Array) {
  const key = Buffer.concat([PRIVATE_KEY_DER, seed]);
  try {
    return createPrivateKey({ key, format: "der", type: "pkcs8" });
  } finally {
    key.fill(0);
  }
}

/** A plain Uint8Array, not a Buffer: a Buffer's `slice` shares memory where the modules expect a copy. */
const sha256: Sha256 = (bytes) => new Uint8Array(hash("sha256", bytes, "buffer"));

export const relayCrypto: Crypto = { sha256, ed25519: sodiumEngine };
