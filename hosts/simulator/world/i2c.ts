/** A chip on a simulated I²C bus, at the level of its bytes. */
export interface I2CChip {
  /** 7 bits. */
  readonly address: number;
  /** True where the chip acknowledges all of `bytes`; an empty write only probes the address. */
  write(bytes: Uint8Array): boolean;
  /** Exactly `length` bytes; undefined where the chip does not acknowledge its address. */
  read(length: number): Uint8Array | undefined;
}
