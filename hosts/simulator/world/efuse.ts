import { createHmac } from "node:crypto";
import { SeededRandom } from "./random.js";

/** What a cut of the power within a burn leaves of the fuse. */
export type TornFuse = "unburned" | "burned" | "unstable";
export const TORN_FUSES: readonly TornFuse[] = ["unburned", "burned", "unstable"];

export interface EFusesOptions {
  /** What a person burned into the key block, and protected from being read: 32 bytes. */
  readonly key: Uint8Array;
  /** For what a torn fuse reads as. Default 1. */
  readonly seed?: number;
}

/** Fuses that count generations of keys, as an ESP32-C3's hosts/esp32/efuse.c has them. */
export const GENERATION_FUSES = 8;

/** The chip did not burn what it was told to. */
export class EFuseFault extends Error {
  override name = "EFuseFault";
}

/**
 * The one-way fuses of one chip, and the HMAC peripheral beside them: what of the chip a board can neither set back nor
 * lose. It outlives the board's starts, its flash and its key store.
 *
 * A bit goes from 0 to 1 and never back; burning one that is burned changes nothing. The key block is protected from being
 * read: nothing gives its bytes away, only HMACs under it come out. A burn is cut as a program is: the fuse is then
 * unburned, burned, or conducts badly and reads as either, until it is burned again. (Chips keep each of these bits four
 * times, which makes the last rare; it is modelled all the same.)
 */
export class EFuses {
  readonly #key: Uint8Array;
  readonly #random: SeededRandom;
  readonly #bits: (0 | 1 | "unstable")[] = new Array(GENERATION_FUSES).fill(0);
  /** Set to make every following burn fail: a supply too low for the chip to burn, or fuses protected from it. */
  broken = false;
  /** What the next torn burn leaves. */
  torn: TornFuse = "unstable";

  constructor({ key, seed = 1 }: EFusesOptions) {
    if (key.length !== 32) throw new RangeError(`key: expected 32 bytes, got ${key.length}`);
    this.#key = key.slice();
    this.#random = new SeededRandom(seed);
  }

  /** Bits as they read now, lowest first. */
  read(): readonly (0 | 1)[] {
    return this.#bits.map((bit) => (bit === "unstable" ? (this.#random.below(2) as 0 | 1) : bit));
  }

  /** Burns one bit. Throws EFuseFault where the chip fails to. */
  burn(bit: number): void {
    if (!(bit >= 0 && bit < GENERATION_FUSES)) throw new RangeError(`bit: expected 0 to ${GENERATION_FUSES - 1}`);
    if (this.broken) throw new EFuseFault("the fuse did not burn");
    this.#bits[bit] = 1;
  }

  /** The same, cut within. */
  burnTorn(bit: number): void {
    if (this.broken || this.#bits[bit] === 1 || this.torn === "unburned") return;
    this.#bits[bit] = this.torn === "burned" ? 1 : "unstable";
  }

  /** HMAC-SHA256 of the message under the key block: 32 bytes. */
  hmac(message: Uint8Array): Uint8Array {
    return new Uint8Array(createHmac("sha256", this.#key).update(message).digest());
  }
}
