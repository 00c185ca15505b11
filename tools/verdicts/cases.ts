import { concatBytes } from "tallystick/bytes/bytes";
import { sodiumEngine } from "../../hosts/relay/crypto.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import {
  add,
  BASE,
  challenge,
  compress,
  encode,
  fromLittle,
  L,
  LOW_ORDER,
  little,
  P,
  type Point,
  times,
} from "./curve.js";

/**
 * Signatures that verifiers disagree about: an edge set that is computed from the curve, each combination of it, and
 * mutations, of which the n-th of a seed is always the same.
 */
export interface Case {
  /** For people. */
  readonly what: string;
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Each y of low order, canonical and not, with both signs: 14 encodings, of which 8 are the points' own, and -0 twice over. */
export const LOW_ORDER_ENCODINGS: readonly Uint8Array[] = [
  ...new Set(LOW_ORDER.map((point) => fromLittle(compress(point)) & (2n ** 255n - 1n))),
]
  .flatMap((y) => (y + P < 2n ** 255n ? [y, y + P] : [y]))
  .flatMap((y) => [encode(y, 0n), encode(y, 1n)]);

/** Every encoding of a y that is not below the prime. */
const NOT_CANONICAL: readonly Uint8Array[] = Array.from({ length: 19 }, (_, i) => P + BigInt(i)).flatMap((y) => [
  encode(y, 0n),
  encode(y, 1n),
]);

/** S at the limits that verifiers draw. */
const LIMITS: readonly bigint[] = [
  ...[0n, 1n, L - 1n, L, L + 1n, 2n * L - 1n, 2n * L, 8n * L, 15n * L],
  ...[2n ** 252n, 2n ** 253n - 1n, 2n ** 253n, 2n ** 255n - 1n, 2n ** 255n, 2n ** 256n - 1n],
];

const LENGTHS_MOST = 100;

/** A signer whose secret scalar is known, so that it can sign for keys and with nonces that no signer has. */
interface Signer {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly secret: bigint;
  readonly point: Point;
}

function signer(random: SeededRandom): Signer {
  const seed = random.bytes(32);
  const secret = 1n + (fromLittle(random.bytes(32)) % (L - 1n));
  return { seed, publicKey: sodiumEngine.publicKey(seed), secret, point: times(secret, BASE) };
}

/** S for a key and an R whose parts along the base are known; whatever else of low order is in the two. */
function signatureOf(nonce: bigint, r: Uint8Array, secret: bigint, key: Uint8Array, message: Uint8Array): Uint8Array {
  return concatBytes(r, little((nonce + challenge(r, key, message) * secret) % L));
}

export function edgeCases(): Case[] {
  const random = new SeededRandom(1);
  const { seed, publicKey, secret, point } = signer(random);
  const cases: Case[] = [];
  const push = (what: string, signature: Uint8Array, message: Uint8Array, key: Uint8Array) =>
    void cases.push({ what, signature, message, publicKey: key });
  for (const message of [new Uint8Array(0), random.bytes(3), random.bytes(160)]) {
    const good = sodiumEngine.sign(message, seed, publicKey);
    const [r, s] = [good.slice(0, 32), good.slice(32)];
    push("a good one", good, message, publicKey);
    for (const low of LOW_ORDER_ENCODINGS) {
      push("R of low order", concatBytes(low, s), message, publicKey);
      push("a key of low order", good, message, low);
      for (const limit of [0n, 1n, L])
        for (const other of [...LOW_ORDER_ENCODINGS, compress(BASE)])
          push("key and R of low order", concatBytes(other, little(limit)), message, low);
    }
    for (const other of NOT_CANONICAL) {
      push("R not below the prime", concatBytes(other, s), message, publicKey);
      push("a key not below the prime", good, message, other);
    }
    for (const limit of LIMITS) push(`S = ${limit}`, concatBytes(r, little(limit)), message, publicKey);
    for (let n = 1n; fromLittle(s) + n * L < 2n ** 256n; n++)
      push(`S and ${n} times the order`, concatBytes(r, little(fromLittle(s) + n * L)), message, publicKey);
    // Each part of low order in the key, in R and in both. Some verify, by the cofactorless equation too.
    const nonce = 1n + (fromLittle(random.bytes(32)) % (L - 1n));
    const other = times(nonce, BASE);
    for (const [i, inKey] of LOW_ORDER.entries())
      for (const [j, inR] of LOW_ORDER.entries()) {
        const [key, mixed] = [compress(add(point, inKey)), compress(add(other, inR))];
        const what = `low-order part ${i} of 8 in the key, ${j} in R`;
        push(what, signatureOf(nonce, mixed, secret, key, message), message, key);
      }
    for (let length = 0; length < LENGTHS_MOST; length++) {
      if (length !== 64) push(`a signature of ${length} bytes`, lengthened(good, length), message, publicKey);
      if (length !== 32) push(`a key of ${length} bytes`, good, message, lengthened(publicKey, length));
    }
  }
  return cases;
}

function lengthened(bytes: Uint8Array, length: number): Uint8Array {
  const longer = new Uint8Array(length);
  longer.set(bytes.subarray(0, length));
  return longer;
}

/** Signers and nonces that mutations draw from: to multiply points here takes milliseconds. */
const POOL = 24;

export class Mutations {
  readonly #signers: readonly Signer[];
  readonly #nonces: readonly { readonly scalar: bigint; readonly point: Point }[];

  constructor(readonly seed: number) {
    const random = new SeededRandom(seed);
    this.#signers = Array.from({ length: POOL }, () => signer(random));
    this.#nonces = Array.from({ length: POOL }, () => {
      const scalar = 1n + (fromLittle(random.bytes(32)) % (L - 1n));
      return { scalar, point: times(scalar, BASE) };
    });
  }

  caseAt(n: number): Case {
    const random = new SeededRandom(Math.imul(this.seed, 1_000_003) + n);
    const { seed, publicKey, secret, point } = random.pick(this.#signers);
    const message = random.bytes(random.below(200));
    const good = sodiumEngine.sign(message, seed, publicKey);
    const [r, s] = [good.slice(0, 32), good.slice(32)];
    switch (random.below(12)) {
      case 0:
        return { what: "a good one", signature: good, message, publicKey };
      case 1:
        return { what: "a bit of the signature", signature: flipped(good, 1, random), message, publicKey };
      case 2:
        return { what: "a bit of the key", signature: good, message, publicKey: flipped(publicKey, 1, random) };
      case 3:
        return { what: "a bit of the message", signature: good, message: flipped(message, 1, random), publicKey };
      case 4: {
        const all = flipped(concatBytes(good, publicKey, message), 2 + random.below(7), random);
        const signature = all.slice(0, 64);
        return { what: "bits anywhere", signature, message: all.slice(96), publicKey: all.slice(64, 96) };
      }
      case 5: {
        const other = random.pick(random.oneIn(2) ? LOW_ORDER_ENCODINGS : NOT_CANONICAL);
        return { what: "an R from the edge", signature: concatBytes(other, s), message, publicKey };
      }
      case 6: {
        const other = random.pick(random.oneIn(2) ? LOW_ORDER_ENCODINGS : NOT_CANONICAL);
        return { what: "a key from the edge", signature: good, message, publicKey: other };
      }
      case 7: {
        const value = fromLittle(s) + BigInt(1 + random.below(14)) * L;
        return { what: "S and some orders", signature: concatBytes(r, little(value)), message, publicKey };
      }
      case 8: {
        const value = random.oneIn(2) ? little(random.pick(LIMITS)) : random.bytes(32);
        return { what: "another S", signature: concatBytes(r, value), message, publicKey };
      }
      case 9: {
        const key = random.oneIn(2) ? publicKey : random.bytes(32);
        return { what: "random bytes", signature: random.bytes(64), message, publicKey: key };
      }
      case 10: {
        const cut = random.oneIn(2);
        return {
          what: "another length",
          signature: cut ? good.slice(0, random.below(64)) : good,
          message,
          publicKey: cut ? publicKey : lengthened(publicKey, random.below(LENGTHS_MOST)),
        };
      }
      default: {
        const nonce = random.pick(this.#nonces);
        const key = compress(add(point, random.pick(LOW_ORDER)));
        const mixed = compress(add(nonce.point, random.pick(LOW_ORDER)));
        const signature = signatureOf(nonce.scalar, mixed, secret, key, message);
        return { what: "parts of low order", signature, message, publicKey: key };
      }
    }
  }
}

/** With `bits` bits turned over; nothing of no bytes. */
function flipped(bytes: Uint8Array, bits: number, random: SeededRandom): Uint8Array {
  const changed = bytes.slice();
  for (let n = 0; n < bits && changed.length > 0; n++) changed[random.below(changed.length)]! ^= 1 << random.below(8);
  return changed;
}
