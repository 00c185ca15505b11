import { toHex } from "../../bytes/bytes.js";
import { Driver, type Unfinished } from "../driver.js";
import type { Fault, Identification, Sample, SampleFaults, SensorOptions } from "../sensor.js";

/**
 * Sensirion SHT40, SHT41, SHT43, SHT45: humidity and temperature (SHT4x data sheet, version 6). One-byte commands; each
 * 16-bit word of an answer is followed by its CRC-8. While it measures, the chip does not acknowledge a read.
 */

// Data sheet §4.5, command overview.
const COMMAND_RESET = 0x94;
const COMMAND_SERIAL = 0x89;
const PRECISIONS = {
  high: { command: 0xfd, maximumMs: 8.3, celsius: 0.04, percent: 0.08 },
  medium: { command: 0xf6, maximumMs: 4.5, celsius: 0.07, percent: 0.15 },
  low: { command: 0xe0, maximumMs: 1.7, celsius: 0.1, percent: 0.25 },
} as const;
export type Precision = keyof typeof PRECISIONS;

/** §3.1: soft reset and power-up, and the time the serial number takes, are at most 1 ms each. */
const START_UP_MS = 1;
const ANSWER_BYTES = 6;
/** Reads refused in a row, each `conversionMs` after the one before, until the conversion counts as failed. */
const MAX_REFUSALS = 3;

// §2.2: operating range.
const MIN_CELSIUS = -40;
const MAX_CELSIUS = 125;

export interface SHT4xConfiguration {
  readonly precision: Precision;
}

export class SHT4x extends Driver {
  #precision: Precision = "high";
  #serial: string | undefined;
  #asked = false;
  #refusals = 0;

  constructor(options: SensorOptions) {
    super(options, { address: 0x44, hz: 400_000 });
    this.begin();
  }

  get identification(): Identification {
    const identification = { model: "Sensirion SHT4x", classification: "Humidity-Temperature" };
    return this.#serial === undefined ? identification : { ...identification, uniqueID: this.#serial };
  }

  get configuration(): SHT4xConfiguration {
    return { precision: this.#precision };
  }

  /** The data sheet resolves 0.01 °C and 0.01 %RH (§2.1, §2.2). */
  get resolution(): { readonly [kind: string]: number } {
    return { thermometer: 1 / 128, hygrometer: 1 / 128 };
  }

  /** §2.2, and §2.1 with what §4.6 crops. */
  get range(): { readonly [kind: string]: readonly [number, number] } {
    return { thermometer: [MIN_CELSIUS, MAX_CELSIUS], hygrometer: [0, 100] };
  }

  /** §2.1, §2.2: the repeatability is three standard deviations. */
  get noise(): { readonly [kind: string]: number } {
    const { celsius, percent } = PRECISIONS[this.#precision];
    return { thermometer: celsius / 3, hygrometer: percent / 3 };
  }

  configure(options: Partial<SHT4xConfiguration>): void {
    const { precision = this.#precision } = options;
    if (PRECISIONS[precision] === undefined)
      throw new RangeError(`precision: expected high, medium or low, received ${precision}`);
    this.#precision = precision;
    this.configured();
  }

  protected kinds(): readonly string[] {
    return ["thermometer", "hygrometer"];
  }

  protected reset(): Fault | undefined {
    this.conversionMs = START_UP_MS;
    this.#asked = false;
    return this.chip.write(COMMAND_RESET) ? undefined : "no-ack";
  }

  /** Twice: once to ask for the serial number, once to read it. */
  protected identify(): Unfinished | undefined {
    if (!this.#asked) {
      this.#asked = true;
      return this.chip.write(COMMAND_SERIAL) ? "again" : "no-ack";
    }
    const answer = this.chip.read(ANSWER_BYTES);
    if (!answer) return "no-ack";
    const first = checkedWord(answer, 0);
    const second = checkedWord(answer, 3);
    if (first === undefined || second === undefined) return "crc";
    this.#serial = toHex(Uint8Array.of(first >> 8, first & 0xff, second >> 8, second & 0xff));
    return undefined;
  }

  protected measure(): Fault | undefined {
    const { command, maximumMs } = PRECISIONS[this.#precision];
    this.conversionMs = Math.ceil(maximumMs);
    this.#refusals = 0;
    return this.chip.write(command) ? undefined : "no-ack";
  }

  protected collect(): Sample | Unfinished {
    const answer = this.chip.read(ANSWER_BYTES);
    if (!answer) return ++this.#refusals < MAX_REFUSALS ? "again" : "not-ready";
    const temperatureWord = checkedWord(answer, 0);
    const humidityWord = checkedWord(answer, 3);
    const sample: Sample = {};
    const faults: SampleFaults = {};
    if (temperatureWord === undefined) faults["thermometer"] = "crc";
    else {
      const temperature = -45 + (175 * temperatureWord) / 65535;
      if (temperature < MIN_CELSIUS || temperature > MAX_CELSIUS) faults["thermometer"] = "range";
      else sample.thermometer = { temperature };
    }
    if (humidityWord === undefined) faults["hygrometer"] = "crc";
    else {
      // §4.6: values below 0 and above 100 %RH come up near the ends of the range and are cropped.
      const percent = -6 + (125 * humidityWord) / 65535;
      sample.hygrometer = { humidity: Math.min(Math.max(percent, 0), 100) / 100 };
    }
    if (Object.keys(faults).length > 0) sample.faults = faults;
    return sample;
  }
}

/** The big-endian word at `at`, or undefined where the CRC in the third byte is not its own. */
function checkedWord(bytes: Uint8Array, at: number): number | undefined {
  return crc8(bytes.subarray(at, at + 2)) === bytes[at + 2] ? bytes[at]! * 256 + bytes[at + 1]! : undefined;
}

/** §4.4: polynomial 0x31 (x⁸ + x⁵ + x⁴ + 1), start 0xFF, nothing reflected, no final XOR; 0xBEEF gives 0x92. */
export function crc8(bytes: Uint8Array): number {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x31) & 0xff : crc << 1;
  }
  return crc;
}
