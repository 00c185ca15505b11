import assert from "node:assert/strict";
import { createHash, createPublicKey, verify as nodeVerify, randomBytes } from "node:crypto";
import fc from "fast-check";
import sodium from "sodium-native";
import { concatBytes, toHex } from "tallystick/bytes/bytes";
import type { Ed25519Engine } from "tallystick/identity/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
import { tweetnaclEngine } from "tallystick/identity/tweetnacl";

/** The rule over three engines and libsodium's own verdict, on edge cases that this test computes from the curve. */

const p = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const mod = (a: bigint) => ((a % p) + p) % p;
function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = mod(b * b)) if (e & 1n) result = mod(result * b);
  return result;
}
const inverse = (a: bigint) => power(a, p - 2n);
const d = mod(-121665n * inverse(121666n));
const rootOfMinusOne = power(2n, (p - 1n) / 4n);

type Point = readonly [x: bigint, y: bigint];
function add([x1, y1]: Point, [x2, y2]: Point): Point {
  const k = mod(d * x1 * x2 * y1 * y2);
  return [mod((x1 * y2 + x2 * y1) * inverse(1n + k)), mod((y1 * y2 + x1 * x2) * inverse(1n - k))];
}
function times(scalar: bigint, point: Point): Point {
  let sum: Point = [0n, 1n];
  for (let q = point, e = scalar; e > 0n; e >>= 1n, q = add(q, q)) if (e & 1n) sum = add(sum, q);
  return sum;
}
function xOf(y: bigint): bigint | undefined {
  const u = mod(y * y - 1n);
  const v = mod(d * y * y + 1n);
  let x = mod(u * v ** 3n * power(u * v ** 7n, (p - 5n) / 8n));
  if (mod(v * x * x) !== u) x = mod(x * rootOfMinusOne);
  return mod(v * x * x) === u ? x : undefined;
}
function little(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
}
function encodePoint(y: bigint, sign: bigint): Uint8Array {
  return little(y | (sign << 255n));
}
const compress = ([x, y]: Point) => encodePoint(y, x & 1n);

/** All points of order 1, 2, 4 and 8: multiples of one of order 8, found by multiplying any point by L. */
function lowOrderPoints(): Point[] {
  for (let y = 2n; ; y++) {
    const x = xOf(y);
    if (x === undefined) continue;
    const torsion = times(L, [x, y]);
    if (compress(times(4n, torsion)).join() !== compress([0n, 1n]).join())
      return Array.from({ length: 8 }, (_, i) => times(BigInt(i), torsion));
  }
}

const base: Point = (() => {
  const y = mod(4n * inverse(5n));
  const x = xOf(y)!;
  return [x & 1n ? p - x : x, y];
})();

const nodeEngine: Ed25519Engine = {
  ...tweetnaclEngine,
  name: "node:crypto",
  equation: (signature, message, publicKey) => {
    const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]);
    try {
      return nodeVerify(null, message, createPublicKey({ key: spki, format: "der", type: "spki" }), signature);
    } catch {
      return false;
    }
  },
};
const sodiumVerdict = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) =>
  sodium.crypto_sign_verify_detached(Buffer.from(signature), Buffer.from(message), Buffer.from(publicKey));
const sodiumEngine: Ed25519Engine = { ...tweetnaclEngine, name: "sodium-native", equation: sodiumVerdict };
const engines = [tweetnaclEngine, nodeEngine, sodiumEngine];

function verdict(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array, what: string): boolean {
  const expected =
    signature.length === 64 && publicKey.length === 32 ? sodiumVerdict(signature, message, publicKey) : false;
  for (const engine of engines)
    assert.equal(
      verifySignature(engine, signature, message, publicKey),
      expected,
      `${engine.name} on ${what}: key ${toHex(publicKey)} signature ${toHex(signature)} message ${toHex(message)}`,
    );
  return expected;
}

describe("identity/ed25519: one rule", () => {
  const low = lowOrderPoints();

  it("knows the curve: eight points of low order, five y coordinates", () => {
    assert.equal(new Set(low.map((point) => toHex(compress(point)))).size, 8);
    assert.equal(new Set(low.map(([, y]) => y)).size, 5);
    assert.equal(toHex(compress(times(L, base))), toHex(compress([0n, 1n])));
  });

  // Canonical and non-canonical encodings of every low-order y, both signs: as key, as R, as both, with S = 0 and 1.
  const encodings = [...new Set(low.map(([, y]) => y))]
    .flatMap((y) => (y + p < 2n ** 255n ? [y, y + p] : [y]))
    .flatMap((y) => [encodePoint(y, 0n), encodePoint(y, 1n)]);

  it("gives libsodium's verdict with every engine on low-order and non-canonical keys and R: never accepted", () => {
    const seed = new Uint8Array(32).fill(5);
    const publicKey = tweetnaclEngine.publicKey(seed);
    for (const message of [new Uint8Array(0), Uint8Array.of(1, 2, 3)]) {
      const good = tweetnaclEngine.sign(message, seed, publicKey);
      for (const a of encodings) {
        assert(!verdict(concatBytes(a, good.slice(32)), message, publicKey, "low-order R"));
        for (const s of [0n, 1n])
          for (const r of [...encodings, compress(base), compress(times(s, base))])
            assert(!verdict(concatBytes(r, little(s)), message, a, "low-order key"));
      }
    }
  });

  it("refuses S at and above the order, and R and keys at and above the prime", () => {
    const seed = new Uint8Array(32).fill(6);
    const publicKey = tweetnaclEngine.publicKey(seed);
    const message = Uint8Array.of(9);
    const good = tweetnaclEngine.sign(message, seed, publicKey);
    assert(verdict(good, message, publicKey, "a good signature"));
    const s = good.slice(32).reduceRight((value, byte) => value * 256n + BigInt(byte), 0n);
    for (const other of [s + L, L, L + 1n, L - 1n, 2n ** 253n, 2n ** 256n - 1n])
      assert(!verdict(concatBytes(good.slice(0, 32), little(other)), message, publicKey, `S = ${other}`));
    for (let y = p; y < 2n ** 255n; y++)
      for (const sign of [0n, 1n]) {
        assert(!verdict(concatBytes(encodePoint(y, sign), good.slice(32)), message, publicKey, "R above p"));
        assert(!verdict(good, message, encodePoint(y, sign), "key above p"));
      }
  });

  it("judges keys of mixed order by the cofactorless equation", () => {
    let accepted = 0;
    for (let i = 0; i < 8; i++) {
      const secret = BigInt(`0x${randomBytes(31).toString("hex")}`) + 1n;
      const key = compress(add(times(secret, base), low[1 + (i % 7)]!));
      const nonce = BigInt(`0x${randomBytes(31).toString("hex")}`) + 1n;
      const r = compress(times(nonce, base));
      const message = randomBytes(8);

      const digest = createHash("sha512").update(r).update(key).update(message).digest();
      const k = digest.reduceRight((value, byte) => value * 256n + BigInt(byte), 0n) % L;
      if (verdict(concatBytes(r, little((nonce + k * secret) % L)), message, key, "a key of mixed order")) accepted++;
    }
    // The torsion part vanishes where k is a multiple of its order: some of these verify, most do not.
    assert(accepted < 8);
  });

  it("refuses every other length", () => {
    const seed = new Uint8Array(32).fill(7);
    const publicKey = tweetnaclEngine.publicKey(seed);
    const good = tweetnaclEngine.sign(new Uint8Array(0), seed, publicKey);
    for (let n = 0; n < 100; n++) {
      if (n !== 64) assert(!verifySignature(tweetnaclEngine, new Uint8Array(n), new Uint8Array(0), publicKey));
      if (n !== 32) assert(!verifySignature(tweetnaclEngine, good, new Uint8Array(0), new Uint8Array(n)));
    }
  });

  it("gives one verdict on seeded mutations of good signatures", () => {
    const seed = new Uint8Array(32).fill(8);
    const publicKey = tweetnaclEngine.publicKey(seed);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, flip) => {
        const whole = concatBytes(tweetnaclEngine.sign(message, seed, publicKey), publicKey, message);
        const changed = whole.slice();
        changed[at % changed.length]! ^= flip;
        const parts = [changed.slice(0, 64), changed.slice(96), changed.slice(64, 96)] as const;
        assert(!verdict(...parts, "a mutation"));
      }),
      { numRuns: 150 },
    );
  });
});
