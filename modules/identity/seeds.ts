import { concatBytes, toHex, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Entropy } from "./crypto.js";
import { SEED_BYTES } from "./ed25519.js";

/**
 * Where seeds come from. What a key store keeps is a *reference*, and only the source makes the seed of it: where seeds are
 * drawn from entropy the reference is the seed, where a chip makes them of its fuses it is a number (SPEC.md).
 */
export interface SeedSource {
  /**
   * A reference that no key in use was ever made of. To be stored before it is resolved: a cut between the two then costs
   * nothing, and leaves no key that is used and not stored. Throws where none can be had: FuseError, or no entropy.
   */
  draw(): Uint8Array;
  /**
   * The 32-byte seed of a reference; undefined where it is none of this source's. What the source counts of its seeds it
   * has counted, durably, before it returns. Throws FuseError where it cannot.
   */
  resolve(reference: Uint8Array): Uint8Array | undefined;
  /**
   * The references that were resolved last, as the source itself remembers them: newest first, two at the most, for of
   * these one may have been planned and never been used. None where it remembers none.
   */
  newest(): readonly Uint8Array[];
}

/** One-way bits that count the generations of a chip's keys, lowest first, beside a key that never leaves the chip. */
export interface Fuses {
  /** How many generations there are bits for. */
  readonly generationsMax: number;
  /** Of the highest burned bit: the newest generation. 0 where none is burned. */
  generation(): number;
  /** Burns the bit of a generation. Durable when it returns; throws FuseError where the chip does not take it. */
  burn(generation: number): void;
  /** HMAC-SHA256 (FIPS 198-1) of the message under the chip's key: 32 bytes. */
  hmac(message: Uint8Array): Uint8Array;
}

/** Fuses that can count no further key, or did not take a burn. Expected: its code is the failure's. */
export class FuseError extends Error {
  override name = "FuseError";
  constructor(
    readonly code: "KEY_FUSES_USED_UP" | "KEY_FUSES_FAILED",
    message: string,
  ) {
    super(message);
  }
}

/** Seeds from entropy: the reference is the seed, and nothing but the key store remembers it. */
export function storedSeeds(entropy?: Entropy): SeedSource {
  return {
    draw() {
      if (entropy === undefined) throw new Error("expected entropy to draw a seed from, received none");
      return entropy.bytes(SEED_BYTES);
    },
    resolve: (reference) => (reference.length === SEED_BYTES ? reference.slice() : undefined),
    newest: () => [],
  };
}

const FUSED_KIND = 1;
const FUSED_BYTES = 5;
/** Before the generation: no other use of the chip's key has messages that begin like this. */
const FUSED_DOMAIN = "tallystick/seed/v1";

/**
 * Seeds that a chip makes of a key in its fuses, by number. The fuses count: a generation's bit is burned when it is first
 * resolved, so that no loss of the key store makes a number come again that a key was made of.
 */
export function fusedSeeds(fuses: Fuses): SeedSource {
  return {
    draw() {
      const next = fuses.generation() + 1;
      if (next > fuses.generationsMax)
        throw new FuseError("KEY_FUSES_USED_UP", `all ${fuses.generationsMax} generations of keys were drawn`);
      return fusedReference(next);
    },
    resolve(reference) {
      const generation = generationOf(reference);
      if (generation === undefined || generation < 1 || generation > fuses.generationsMax) return undefined;
      const burned = fuses.generation();
      // What is further on than the next was never drawn here.
      if (generation > burned + 1) return undefined;
      if (generation > burned) fuses.burn(generation);
      return fuses.hmac(concatBytes(utf8(FUSED_DOMAIN), reference.subarray(1)));
    },
    newest() {
      const generation = fuses.generation();
      return [generation, generation - 1].filter((each) => each > 0).map(fusedReference);
    },
  };
}

/** Draws from `first`, and keeps making the seeds of `second`: for a board that had a key before its fuses did. */
export function eitherSeeds(first: SeedSource, second: SeedSource): SeedSource {
  return {
    draw: () => first.draw(),
    resolve: (reference) => first.resolve(reference) ?? second.resolve(reference),
    newest: () => [...first.newest(), ...second.newest()].slice(0, 2),
  };
}

/** True for bytes of a reference's length and kind. Whose it is only its source knows. */
export function isReference(bytes: Uint8Array): boolean {
  return bytes.length === SEED_BYTES || generationOf(bytes) !== undefined;
}

/** As `draw`, with what is expected as a failure: KEY_FUSES_USED_UP, KEY_FUSES_FAILED. */
export function drawReference(seeds: SeedSource): Result<Uint8Array> {
  try {
    return ok(seeds.draw());
  } catch (error) {
    return refusal(error);
  }
}

/** As `resolve`: KEY_UNREADABLE where the reference is none of the source's, KEY_FUSES_FAILED. */
export function seedOf(seeds: SeedSource, reference: Uint8Array): Result<Uint8Array> {
  try {
    const seed = seeds.resolve(reference);
    return seed === undefined ? fail("KEY_UNREADABLE", unresolved(reference)) : ok(seed);
  } catch (error) {
    return refusal(error);
  }
}

function unresolved(reference: Uint8Array): string {
  const generation = generationOf(reference);
  return generation === undefined
    ? `expected a seed of ${SEED_BYTES} bytes, or the number of one, received ${reference.length} bytes`
    : `expected a seed of this board, received the number ${generation} (${toHex(reference)})`;
}

function refusal(error: unknown): Result<never> {
  if (error instanceof FuseError) return fail(error.code, error.message);
  throw error;
}

function fusedReference(generation: number): Uint8Array {
  const reference = new Uint8Array(FUSED_BYTES);
  reference[0] = FUSED_KIND;
  new DataView(reference.buffer).setUint32(1, generation);
  return reference;
}

function generationOf(reference: Uint8Array): number | undefined {
  if (reference.length !== FUSED_BYTES || reference[0] !== FUSED_KIND) return undefined;
  return new DataView(reference.buffer, reference.byteOffset, FUSED_BYTES).getUint32(1);
}
