/** A chip on a simulated I²C bus, at the level of its bytes. */
export interface I2CChip {
  /** 7 bits. */
  readonly address: number;
  /** True where the chip acknowledges all of `bytes`; an empty write only probes the address. */
  write(bytes: Uint8Array): boolean;
  /** Exactly `length` bytes; undefined where the chip does not acknowledge its address. */
  read(length: number): Uint8Array | undefined;
}

/** One I²C bus of a simulated board. */
export class I2CBus {
  readonly #chips = new Map<number, I2CChip>();

  /** Throws RangeError where the address is not one of 7 bits or another chip has it. */
  attach(chip: I2CChip): void {
    const { address } = chip;
    if (!Number.isInteger(address) || address < 0 || address > 127)
      throw new RangeError(`address: expected 0 to 127, got ${address}`);
    if (this.#chips.has(address)) throw new RangeError(`two chips at address 0x${address.toString(16)}`);
    this.#chips.set(address, chip);
  }

  /** The chip is pulled off: its address no longer acknowledges. */
  detach(address: number): void {
    this.#chips.delete(address);
  }

  /**
   * Writes, then reads after a repeated start. What the two are for an empty part: nothing to read is no read, nothing
   * to write before a read is no write, neither is a probe of the address. Undefined where nothing acknowledges.
   */
  transfer(address: number, write: Uint8Array, readLength: number): Uint8Array | undefined {
    const chip = this.#chips.get(address);
    if (chip === undefined) return undefined;
    if ((write.length > 0 || readLength === 0) && !chip.write(write)) return undefined;
    return readLength === 0 ? new Uint8Array(0) : chip.read(readLength);
  }
}
