import type { I2CChip } from "./i2c.js";

/** One I2C bus with its chips. A chip can be taken off and put back while boards run. */
export class I2CBus {
  readonly #chips = new Map<number, I2CChip>();

  constructor(chips: readonly I2CChip[] = []) {
    for (const chip of chips) this.attach(chip);
  }

  attach(chip: I2CChip): void {
    if (this.#chips.has(chip.address)) throw new RangeError(`two chips at address 0x${chip.address.toString(16)}`);
    this.#chips.set(chip.address, chip);
  }

  detach(address: number): void {
    this.#chips.delete(address);
  }

  /** One transfer as the wire has it: write, then read; undefined where the chip is not there or refuses. */
  transfer(address: number, write: Uint8Array, readLength: number): Uint8Array | undefined {
    const chip = this.#chips.get(address);
    if (chip === undefined) return undefined;
    if ((write.length > 0 || readLength === 0) && !chip.write(write)) return undefined;
    if (readLength === 0) return new Uint8Array(0);
    const bytes = chip.read(readLength);
    if (bytes !== undefined && bytes.length !== readLength)
      throw new Error(`chip 0x${address.toString(16)} answered ${bytes.length} bytes in place of ${readLength}`);
    return bytes;
  }
}
