/**
 * Sensors as ECMA-419 names them (3rd edition and later): the Sensor Class Pattern (§13) with the Provenance Sensor
 * Class Pattern (§31). A maker's own driver is any class of this shape; what is optional here, the standard leaves out.
 */

/** What a driver's constructor takes: where the chip sits. `io` is the host's ECMA-419 I2C or SMBus class, the rest its options. */
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

/** ECMA-419 §10 I2C, synchronous, buffers only. A missing acknowledge throws. */
export interface I2C {
  /** Reads `byteLength` bytes, or fills the buffer given. */
  read(byteLengthOrBuffer: number | ArrayBuffer | Uint8Array, stop?: boolean): ArrayBuffer | Uint8Array;
  write(bytes: ArrayBuffer | Uint8Array, stop?: boolean): void;
  close(): void;
}

/** Constructor options of the drivers here. */
export interface SensorOptions {
  readonly sensor: I2COptions;
  /** §31: called when `configure` has changed something. */
  readonly onConfiguration?: () => void;
}

/**
 * What can be wrong with a sample: the registered fault words of sampler/SPEC.md. They go into signed records as they
 * stand, so a word never changes its meaning.
 */
export const FAULTS = {
  "no-ack": "the chip does not acknowledge on its bus",
  crc: "the chip's checksum does not match its data",
  range: "the value is outside what the chip can measure",
  "not-ready": "the chip does not finish its conversion in time",
  skipped: "the chip has not measured this quantity: it lost its configuration, or was told not to",
  identity: "another chip, or a stuck bus, answers at the address",
  calibration: "the chip's calibration words are blank or impossible",
  "no-value": "the driver gave neither a finite number nor a registered fault",
  driver: "the driver threw",
  missed: "one or more planned samples before this time were not taken",
} as const;
export type Fault = keyof typeof FAULTS;

/** §31 `faults`: the fault by the sensor kind that yields no value now (`thermometer`, `hygrometer`, `barometer`, …). */
export type SampleFaults = { [kind: string]: Fault };

/**
 * One sample (§13): a new object each time. A sensor of one kind has its properties at the top (`temperature`), a
 * compound sensor in one object a kind (`thermometer: { temperature }`; §14 names them).
 */
export interface Sample {
  /** degrees Celsius */
  temperature?: number;
  /** relative, 0 to 1 */
  humidity?: number;
  /** pascal */
  pressure?: number;
  thermometer?: { temperature: number };
  hygrometer?: { humidity: number };
  barometer?: { pressure: number };
  faults?: SampleFaults;
  [property: string]: unknown;
}

/** §31 `identification`. */
export interface Identification {
  /** Manufacturer and part number. */
  readonly model: string;
  /** The §14 classes that the sensor implements, with `-` between them: `Humidity-Temperature`. */
  readonly classification: string;
  /** Serial number in hexadecimal, where the chip has one and has told it. */
  readonly uniqueID?: string;
}

export interface Sensor {
  readonly identification: Identification;
  /** §31: what differs from the chip's defaults, for people and for the genesis record; numbers, strings, booleans and arrays of them. */
  readonly configuration: object;
  configure(options: object): void;
  /**
   * The sample, or undefined while there is none yet: the caller asks again `conversionMs` later. Never waits and
   * never throws for what a chip or bus does; that is in `faults`.
   */
  sample(): Sample | undefined;
  close(): void;

  /** Starts a conversion. Without it `sample()` starts one by itself where none runs, or the chip converts all the time. */
  trigger?(): void;
  /** Milliseconds from the last `trigger()` or undefined `sample()` until `sample()` is worth calling (again). */
  readonly conversionMs?: number;
  /** By sensor kind, the step that its numbers are rounded to when recorded: a power of two (sampler/SPEC.md says why). */
  readonly resolution?: { readonly [kind: string]: number };
  /** By sensor kind, least and greatest value of the data sheet, in the recorded unit: insight watches what has one. */
  readonly range?: { readonly [kind: string]: readonly [minimum: number, maximum: number] };
  /**
   * By sensor kind, the RMS noise of a sample as configured, in the recorded unit, where each sample has its own: a value
   * that stands still in spite of it is stuck (insight/SPEC.md).
   */
  readonly noise?: { readonly [kind: string]: number };
}
