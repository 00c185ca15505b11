/** NOR flash as the journal sees it: one partition, raw. No file system stands in between. */
export interface Flash {
  /** Bytes in the partition; a multiple of `sectorBytes`. */
  readonly sizeBytes: number;
  /** Smallest unit of erasing: 4,096 bytes on the boards' flash. */
  readonly sectorBytes: number;
  /** 1 on plain NOR (bits go from 1 to 0 only); 16 or 32 where the partition is encrypted: aligned units, each written once between two erases. */
  readonly writeUnitBytes: number;
  /** Fills `into` from `offset`; throws FlashError where the chip reports a fault. */
  read(offset: number, into: Uint8Array): void;
  /** Programs `bytes` at `offset`; throws FlashError where the chip reports a fault. On return the cells were driven, no more: read back. */
  write(offset: number, bytes: Uint8Array): void;
  /** Erases one sector (by number) to all ones; on encrypted partitions erased units read as garbage. */
  erase(sector: number): void;
}

/** The chip, or its driver, reported a fault. The journal turns it into a typed result. */
export class FlashError extends Error {
  override name = "FlashError";
  constructor(
    readonly operation: "read" | "write" | "erase",
    readonly offset: number,
    detail: string,
  ) {
    super(`flash ${operation} at ${offset}: ${detail}`);
  }
}
