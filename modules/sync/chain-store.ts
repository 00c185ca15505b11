import type { Result } from "../codes/codes.js";
import type { Position } from "./messages.js";

/** The device's own chain, as its journal holds it. */
export interface ChainStore {
  readonly head: Position | undefined;
  /** The oldest position that is still held. */
  readonly firstSeq: number;
  record(seq: number): Result<Uint8Array>;
  /** Appends one of the device's own records, byte for byte, that the relay still had. */
  restore(bytes: Uint8Array): Result<unknown>;
  /** All up to here may be erased when room is needed; what a former key's chain has left before this one, too. */
  release(position: Position): Result<unknown>;
}

/** A committed gap record, and what it names. */
export interface NamingGap {
  readonly seq: number;
  readonly last: number;
  readonly bytes: Uint8Array;
}
