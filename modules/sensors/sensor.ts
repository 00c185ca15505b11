/**
 * Sensors as ECMA-419 (2nd edition and later) names them: the Sensor Class Pattern (§13) with the Provenance Sensor
 * Class Pattern (§31). A maker's own driver is any class of this shape.
 */

/** What a driver's constructor takes: where the chip sits. `io` is the host's ECMA-419 I2C class, the rest its options. */
export interface I2COptions {
  readonly io: I2CConstructor;
  readonly bus?: number | string;
  readonly data?: number | string;
  readonly clock?: number | string;
  readonly hz?: number;
  /** 7-bit address; drivers default to their chip's. */
  readonly address?: number;
}

export type I2CConstructor = new (options: Omit<I2COptions, "io">) => I2C;

/** ECMA-419 §11 I2C, buffers only. A missing acknowledge throws. */
export interface I2C {
  /** Reads `byteLength` bytes, or fills the buffer given. */
  read(byteLengthOrBuffer: number | ArrayBuffer | Uint8Array, stop?: boolean): ArrayBuffer | Uint8Array;
  write(bytes: ArrayBuffer | Uint8Array, stop?: boolean): void;
  close(): void;
}

/** One sample: an object a sensor kind (`thermometer`, `hygrometer`, `barometer`, …), and the provenance properties. */
export interface Sample {
  readonly thermometer?: { /** degrees Celsius */ readonly temperature: number };
  readonly hygrometer?: { /** relative, 0 to 1 */ readonly humidity: number };
  readonly barometer?: { /** pascal */ readonly pressure: number };
  /** Provenance: what went wrong in this sample, by the registered fault words of sampler/SPEC.md; absent when nothing did. */
  readonly faults?: readonly SensorFault[];
}

export interface SensorFault {
  /** The sensor kind that yields no value now: `thermometer`, `hygrometer`, `barometer`, or `*` for all of the chip. */
  readonly kind: string;
  /** `no-ack`, `crc`, `range`, `not-ready`, `stuck`. */
  readonly fault: string;
}

/** ECMA-419 Sensor Class Pattern, as the sampler uses it. */
export interface Sensor {
  /** What the chip is: model, and where the chip has them serial number and revision. */
  readonly identification: { readonly model: string; readonly classification: string; readonly uniqueID?: string };
  /** SenML names and units of what a sample holds, by sensor kind, in a fixed order. */
  configure(options: object): void;
  /**
   * The newest sample; undefined while the first conversion runs. A chip that needs time is started by one call and
   * read by the next, or sampled over `conversionMs`.
   */
  sample(): Sample | undefined;
  /** Milliseconds that a conversion takes once triggered; 0 where the chip converts continuously. */
  readonly conversionMs: number;
  /** Starts a conversion where the chip needs to be told; `sample()` is valid `conversionMs` later. */
  trigger(): void;
  close(): void;
}
