import { toHex } from "../../bytes/bytes.js";
import { Driver, type Unfinished } from "../driver.js";
import type { Fault, Identification, Sample, SensorOptions } from "../sensor.js";

/** Texas Instruments TMP117: temperature (data sheet SNOSD82). One-shot mode: the chip is shut down between conversions. */

// Data sheet §7.6, register map; 16-bit registers, big-endian.
const REG_TEMPERATURE = 0x00;
const REG_CONFIGURATION = 0x01;
const REG_EEPROM = [0x05, 0x06, 0x08] as const;
const REG_DEVICE_ID = 0x0f;

const DEVICE_ID = 0x117;
const SOFT_RESET = 0x0002;
const DATA_READY = 0x2000;
const MODE_MASK = 0x0c00;
const MODE_CONTINUOUS = 0x0000;
const MODE_ONE_SHOT = 0x0c00;
/** §7.6.1: what the result register holds until the first conversion ends. */
const NO_RESULT = 0x8000;
const CELSIUS_PER_BIT = 1 / 128;
/** §6.5: a reset takes 2 ms, one conversion at most 17.5 ms. */
const START_UP_MS = 2;
const ONE_CONVERSION_MS = 17.5;

// §6.3: operating range.
const MIN_CELSIUS = -55;
const MAX_CELSIUS = 150;

/** §6.5, repeatability: ±1 bit with eight conversions averaged, taken for three standard deviations. */
const NOISE_EIGHT_CELSIUS = CELSIUS_PER_BIT / 3;

const AVERAGING: readonly number[] = [1, 8, 32, 64];

export interface TMP117Configuration {
  /** Conversions averaged to one result (§7.3.2). */
  readonly averaging: 1 | 8 | 32 | 64;
}

export class TMP117 extends Driver {
  #averaging: TMP117Configuration["averaging"] = 8;
  #uniqueID: string | undefined;

  constructor(options: SensorOptions) {
    super(options, { address: 0x48, hz: 400_000 });
    this.begin();
  }

  get identification(): Identification {
    const identification = { model: "Texas Instruments TMP117", classification: "Temperature" };
    return this.#uniqueID === undefined ? identification : { ...identification, uniqueID: this.#uniqueID };
  }

  get configuration(): TMP117Configuration & { readonly mode: string } {
    return { mode: "one-shot", averaging: this.#averaging };
  }

  get resolution(): { readonly [kind: string]: number } {
    return { thermometer: CELSIUS_PER_BIT };
  }

  /** §6.3. */
  get range(): { readonly [kind: string]: readonly [number, number] } {
    return { thermometer: [MIN_CELSIUS, MAX_CELSIUS] };
  }

  get noise(): { readonly [kind: string]: number } {
    return { thermometer: NOISE_EIGHT_CELSIUS * Math.sqrt(8 / this.#averaging) };
  }

  configure(options: Partial<TMP117Configuration>): void {
    const { averaging = this.#averaging } = options;
    if (!AVERAGING.includes(averaging))
      throw new RangeError(`averaging: expected 1, 8, 32 or 64, received ${averaging}`);
    this.#averaging = averaging;
    this.configured();
  }

  protected kinds(): readonly string[] {
    return ["thermometer"];
  }

  protected reset(): Fault | undefined {
    this.conversionMs = START_UP_MS;
    return this.#writeWord(REG_CONFIGURATION, SOFT_RESET) ? undefined : "no-ack";
  }

  protected identify(): Unfinished | undefined {
    const id = this.#readWord(REG_DEVICE_ID);
    if (id === undefined) return "no-ack";
    // The upper four bits are the revision.
    if ((id & 0x0fff) !== DEVICE_ID) return "identity";
    const serial: number[] = [];
    for (const register of REG_EEPROM) {
      const word = this.#readWord(register);
      if (word === undefined) return "no-ack";
      serial.push(word >> 8, word & 0xff);
    }
    this.#uniqueID = toHex(Uint8Array.from(serial));
    return undefined;
  }

  protected measure(): Fault | undefined {
    this.conversionMs = Math.ceil(this.#averaging * ONE_CONVERSION_MS);
    const control = MODE_ONE_SHOT | (AVERAGING.indexOf(this.#averaging) << 5);
    return this.#writeWord(REG_CONFIGURATION, control) ? undefined : "no-ack";
  }

  protected collect(): Sample | Unfinished {
    const control = this.#readWord(REG_CONFIGURATION);
    if (control === undefined) return "no-ack";
    // After a dip of the supply the chip is back in its default mode, and what it shows is not what was asked for.
    if ((control & MODE_MASK) === MODE_CONTINUOUS) return "skipped";
    if (!(control & DATA_READY)) return "again";
    const raw = this.#readWord(REG_TEMPERATURE);
    if (raw === undefined) return "no-ack";
    if (raw === NO_RESULT) return "skipped";
    const temperature = ((raw << 16) >> 16) * CELSIUS_PER_BIT;
    return temperature < MIN_CELSIUS || temperature > MAX_CELSIUS ? "range" : { temperature };
  }

  #readWord(register: number): number | undefined {
    const bytes = this.chip.readRegister(register, 2);
    return bytes && bytes[0]! * 256 + bytes[1]!;
  }

  #writeWord(register: number, word: number): boolean {
    return this.chip.write(register, word >> 8, word & 0xff);
  }
}
