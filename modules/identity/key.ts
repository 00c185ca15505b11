import { concatBytes, equalBytes } from "../bytes/bytes.js";
import type { Sha256 } from "./crypto.js";
import { isAcceptablePublicKey } from "./ed25519.js";

/** Names of a public key: its COSE_Key, its kid, its did:key and its fingerprint for eyes. */

// The deterministic CBOR of a COSE_Key (RFC 9053 §7.2) up to the key: {1: 1 (OKP), -1: 6 (Ed25519), -2: h'...'}.
const COSE_KEY_PREFIX = [0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20];

/** The deterministic COSE_Key of a public key. */
export function coseKeyBytes(publicKey: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.from(COSE_KEY_PREFIX), publicKey);
}

/** First 8 bytes of SHA-256 over the COSE_Key's bytes. Names a key; does not prove one. */
export function kidOf(sha256: Sha256, publicKey: Uint8Array): Uint8Array {
  return sha256(coseKeyBytes(publicKey)).slice(0, 8);
}

/** Crockford's base32: no I, L, O and U, which eyes and voices take for others. */
const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const FINGERPRINT_GROUPS = 5;
const FINGERPRINT_GROUP = 4;

/**
 * A key's name for eyes, to compare on a label and a screen: the first 100 bits of SHA-256 over the COSE_Key, five groups of
 * four characters with hyphens between. The kid is the first 64 of the same bits.
 */
export function fingerprint(sha256: Sha256, publicKey: Uint8Array): string {
  const hash = sha256(coseKeyBytes(publicKey));
  let text = "";
  for (let n = 0; n < FINGERPRINT_GROUPS * FINGERPRINT_GROUP; n++) {
    if (n > 0 && n % FINGERPRINT_GROUP === 0) text += "-";
    const byte = (5 * n) >> 3;
    const pair = (hash[byte]! << 8) | hash[byte + 1]!;
    text += BASE32.charAt((pair >> (11 - ((5 * n) & 7))) & 31);
  }
  return text;
}

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/** Multicodec ed25519-pub as a varint. */
const MULTICODEC_ED25519 = [0xed, 0x01];
const DID_PREFIX = "did:key:z";

/** `did:key:z` + base58btc(0xed01 ‖ key) (W3C did:key method, Ed25519). */
export function didKey(publicKey: Uint8Array): string {
  const digits: number[] = [];
  for (const byte of concatBytes(Uint8Array.from(MULTICODEC_ED25519), publicKey)) {
    let carry = byte;
    for (let i = 0; i < digits.length || carry > 0; i++) {
      carry += (digits[i] ?? 0) * 256;
      digits[i] = carry % 58;
      carry = Math.floor(carry / 58);
    }
  }
  return (
    DID_PREFIX +
    digits
      .reverse()
      .map((digit) => BASE58.charAt(digit))
      .join("")
  );
}

/** The Ed25519 key of a did:key; undefined for anything else. */
export function fromDidKey(did: string): Uint8Array | undefined {
  if (!did.startsWith(DID_PREFIX) || did.length > DID_PREFIX.length + 48) return undefined;
  const bytes: number[] = [];
  for (const character of did.slice(DID_PREFIX.length)) {
    let carry = BASE58.indexOf(character);
    if (carry < 0) return undefined;
    for (let i = 0; i < bytes.length || carry > 0; i++) {
      carry += (bytes[i] ?? 0) * 58;
      bytes[i] = carry & 0xff;
      carry >>= 8;
    }
  }
  const whole = Uint8Array.from(bytes.reverse());
  if (whole.length !== 34 || !equalBytes(whole.subarray(0, 2), Uint8Array.from(MULTICODEC_ED25519))) return undefined;
  return isAcceptablePublicKey(whole.subarray(2)) ? whole.slice(2) : undefined;
}
