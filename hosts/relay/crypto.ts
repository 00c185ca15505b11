/** Cryptography on the relay: libsodium for Ed25519 (its verifier is the one rule itself), OpenSSL for SHA-256. */
import { hash } from "node:crypto";
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

/** A plain Uint8Array, not a Buffer: a Buffer's `slice` shares memory where the modules expect a copy. */
const sha256: Sha256 = (bytes) => new Uint8Array(hash("sha256", bytes, "buffer"));

export const relayCrypto: Crypto = { sha256, ed25519: sodiumEngine };
