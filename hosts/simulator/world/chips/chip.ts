import type { Surroundings } from "../surroundings.js";

/** What every simulated chip is made of. */
export interface ChipOptions {
  /** 7-bit address; the chip's first one by default. */
  readonly address?: number;
  readonly surroundings: Surroundings;
  /** The world's wall time, milliseconds since 1970-01-01T00:00Z. */
  readonly nowMs: () => number;
  /** Tells two chips of one model apart: noise, serial number. */
  readonly seed: number;
  /** False leaves the data sheet's noise out. */
  readonly noise?: boolean;
}
