/**
 * The curve of Ed25519 by its equation (RFC 8032 §5.1), in plain big integers: for making signatures that no signer makes, and
 * for saying what each of them is. Slow, and nothing here is secret.
 */
import { createHash } from "node:crypto";
import { concatBytes } from "tallystick/bytes/bytes";

export const P = 2n ** 255n - 19n;
/** The base point's order. */
export const L = 2n ** 252n + 27742317777372353535851937790883648493n;

/** Extended coordinates (RFC 8032 §5.1.4): x = X/Z, y = Y/Z, T = XY/Z. */
export interface Point {
  readonly x: bigint;
  readonly y: bigint;
  readonly z: bigint;
  readonly t: bigint;
}

const mod = (a: bigint): bigint => {
  const rest = a % P;
  return rest < 0n ? rest + P : rest;
};

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = mod(b * b)) if (e & 1n) result = mod(result * b);
  return result;
}

const inverse = (a: bigint): bigint => power(a, P - 2n);
const D = mod(-121665n * inverse(121666n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);

const affine = (x: bigint, y: bigint): Point => ({ x, y, z: 1n, t: mod(x * y) });
export const NEUTRAL = affine(0n, 1n);

export function add(a: Point, b: Point): Point {
  const one = mod((a.y - a.x) * (b.y - b.x));
  const two = mod((a.y + a.x) * (b.y + b.x));
  const three = mod(2n * a.t * D * b.t);
  const four = mod(2n * a.z * b.z);
  const [e, f, g, h] = [two - one, four - three, four + three, two + one];
  return { x: mod(e * f), y: mod(g * h), z: mod(f * g), t: mod(e * h) };
}

export const negate = ({ x, y, z, t }: Point): Point => ({ x: mod(-x), y, z, t: mod(-t) });

export function times(scalar: bigint, point: Point): Point {
  let sum = NEUTRAL;
  for (let q = point, e = scalar; e > 0n; e >>= 1n, q = add(q, q)) if (e & 1n) sum = add(sum, q);
  return sum;
}

/** One of the two x of this y; undefined where the curve has none. */
function xOf(y: bigint): bigint | undefined {
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  let x = mod(u * v ** 3n * power(u * v ** 7n, (P - 5n) / 8n));
  if (mod(v * x * x) !== u) x = mod(x * ROOT_OF_MINUS_ONE);
  return mod(v * x * x) === u ? x : undefined;
}

export function little(value: bigint, length = 32): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
}

export function fromLittle(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => value * 256n + BigInt(byte), 0n);
}

/** 32 bytes with this y, which need not be below the prime, and this sign bit, which need not be an x's. */
export function encode(y: bigint, sign: bigint): Uint8Array {
  return little(y | (sign << 255n));
}

export function compress({ x, y, z }: Point): Uint8Array {
  const scale = inverse(z);
  return encode(mod(y * scale), mod(x * scale) & 1n);
}

/** The point of 32 bytes, as leniently as anyone reads them: y taken modulo the prime, x = 0 with either sign. */
export function decompress(bytes: Uint8Array): Point | undefined {
  const value = fromLittle(bytes);
  const y = mod(value & (2n ** 255n - 1n));
  const x = xOf(y);
  if (x === undefined) return undefined;
  return affine((x & 1n) === value >> 255n ? x : mod(-x), y);
}

export const BASE: Point = decompress(encode(mod(4n * inverse(5n)), 0n))!;

const isNeutral = ({ x, y, z }: Point): boolean => x === 0n && y === z;

/** The points of order 1, 2, 4 and 8: multiples of one of order 8, which any point times L is or is not. */
export const LOW_ORDER: readonly Point[] = (() => {
  for (let y = 2n; ; y++) {
    const point = decompress(encode(y, 0n));
    const torsion = point && times(L, point);
    if (torsion !== undefined && !isNeutral(times(4n, torsion)))
      return Array.from({ length: 8 }, (_, i) => times(BigInt(i), torsion));
  }
})();

/** k of RFC 8032 §5.1.7. */
export function challenge(r: Uint8Array, publicKey: Uint8Array, message: Uint8Array): bigint {
  return (
    fromLittle(
      createHash("sha512")
        .update(concatBytes(r, publicKey, message))
        .digest(),
    ) % L
  );
}

/** What the equations say of a signature, whatever else is wrong with it; undefined where A or R is no point at all. */
export function equations(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): { readonly cofactorless: boolean; readonly cofactored: boolean } | undefined {
  const encodedR = signature.subarray(0, 32);
  const [a, r] = [decompress(publicKey), decompress(encodedR)];
  if (a === undefined || r === undefined) return undefined;
  const k = challenge(encodedR, publicKey, message);
  const rest = add(times(fromLittle(signature.subarray(32)), BASE), negate(add(r, times(k, a))));
  return { cofactorless: isNeutral(rest), cofactored: isNeutral(times(8n, rest)) };
}

/** The rule, by the words of its specification (modules/identity/SPEC.md). */
export function byTheBook(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false;
  for (const bytes of [publicKey, signature.subarray(0, 32)]) {
    const point = decompress(bytes);
    if (point === undefined || compress(point).some((byte, i) => byte !== bytes[i])) return false;
    if (isNeutral(times(8n, point))) return false;
  }
  return fromLittle(signature.subarray(32)) < L && equations(signature, message, publicKey)!.cofactorless;
}
