import type { AsyncEd25519Engine, Ed25519Engine } from "./crypto.js";

/**
 * The one signature rule. Ed25519 verifiers disagree on crafted signatures; here is what every part of Tallystick
 * accepts, whatever engine computes it: canonical A and R, neither of low order, S below the group's order, and the
 * cofactorless equation (RFC 8032 §5.1.7, its stricter reading; libsodium's rule).
 */
export const PUBLIC_KEY_BYTES = 32;
export const SEED_BYTES = 32;

/** True if and only if `signature` over `message` is accepted by the rule. */
export function verifySignature(
  engine: Ed25519Engine,
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  return isAcceptable(signature, publicKey) && engine.equation(signature, message, publicKey);
}

/** The same by an engine that answers later. */
export async function verifySignatureLater(
  engine: AsyncEd25519Engine,
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): Promise<boolean> {
  return isAcceptable(signature, publicKey) && (await engine.equation(signature, message, publicKey));
}

/** All of the rule but the equation. */
function isAcceptable(signature: Uint8Array, publicKey: Uint8Array): boolean {
  return (
    signature.length === 64 &&
    isAcceptablePublicKey(publicKey) &&
    isAcceptablePoint(signature, 0) &&
    isReducedScalar(signature, 32)
  );
}

/** True where 32 bytes are a public key that the rule could ever accept a signature of. */
export function isAcceptablePublicKey(publicKey: Uint8Array): boolean {
  return publicKey.length === PUBLIC_KEY_BYTES && isAcceptablePoint(publicKey, 0);
}

// The order L of the base point, little-endian (RFC 8032 §5.1): 2^252 + 27742317777372353535851937790883648493.
const ORDER = [
  0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

// The y coordinates of the 8 points of low order, little-endian, without the sign bit. y = 1 and y = -1 have x = 0, so
// leaving them out also leaves out "negative zero". The tests compute this table anew from the curve's equation.
const LOW_ORDER_Y = [
  [0, ...new Array<number>(31).fill(0)],
  [1, ...new Array<number>(31).fill(0)],
  [0xec, ...new Array<number>(30).fill(0xff), 0x7f],
  [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac,
    0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
  ],
  [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53,
    0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
  ],
];

function isAcceptablePoint(bytes: Uint8Array, offset: number): boolean {
  return isCanonicalY(bytes, offset) && !LOW_ORDER_Y.some((y) => sameY(bytes, offset, y));
}

/** y below the field's prime 2^255 - 19. */
function isCanonicalY(bytes: Uint8Array, offset: number): boolean {
  if ((bytes[offset + 31]! & 0x7f) !== 0x7f) return true;
  for (let i = 30; i > 0; i--) if (bytes[offset + i] !== 0xff) return true;
  return bytes[offset]! < 0xed;
}

function sameY(bytes: Uint8Array, offset: number, y: readonly number[]): boolean {
  for (let i = 0; i < 31; i++) if (bytes[offset + i] !== y[i]) return false;
  return (bytes[offset + 31]! & 0x7f) === y[31];
}

function isReducedScalar(bytes: Uint8Array, offset: number): boolean {
  for (let i = 31; i >= 0; i--) {
    const difference = bytes[offset + i]! - ORDER[i]!;
    if (difference !== 0) return difference < 0;
  }
  return false;
}
