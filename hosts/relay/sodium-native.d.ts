/** The part of sodium-native 5 that the relay calls; the package carries no types. Every array is read or filled in place. */
declare module "sodium-native" {
  interface Sodium {
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
    sodium_memzero(bytes: Uint8Array): void;
  }
  const sodium: Sodium;
  export default sodium;
}
