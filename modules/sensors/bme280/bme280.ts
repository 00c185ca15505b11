import { Driver, type Unfinished } from "../driver.js";
import type { Fault, Identification, Sample, SampleFaults, SensorOptions } from "../sensor.js";
import {
  type Calibration,
  HIGH_BLOCK_BYTES,
  humidityOf,
  LOW_BLOCK_BYTES,
  plausible,
  pressureOf,
  readCalibration,
  temperatureOf,
} from "./compensation.js";

/**
 * Bosch BME280: temperature, humidity, pressure (data sheet BST-BME280-DS002). Forced mode: the chip sleeps between
 * conversions. Each conversion writes its whole configuration, so a chip that lost its supply for a moment is right
 * again with the next one.
 */

// Data sheet §5.3, table 18.
const REG_CALIBRATION_LOW = 0x88;
const REG_ID = 0xd0;
const REG_RESET = 0xe0;
const REG_CALIBRATION_HIGH = 0xe1;
const REG_CTRL_HUM = 0xf2;
const REG_STATUS = 0xf3;
const REG_CTRL_MEAS = 0xf4;
const REG_CONFIG = 0xf5;

const CHIP_ID = 0x60;
const RESET_WORD = 0xb6;
const STATUS_MEASURING = 0x08;
const STATUS_IM_UPDATE = 0x01;
const OVERSAMPLING_T = 0xe0;
const OVERSAMPLING_P = 0x1c;
const OVERSAMPLING_H = 0x07;
const MODE_FORCED = 0x01;
/** §1.1 t_startup. */
const START_UP_MS = 2;
/** Registers 0xF2…0xFE in one burst: settings, status and all data belong to one moment (§4.1). */
const BURST_BYTES = 13;

// §1.1 to §1.3: outside of these the chip promises nothing.
const MIN_CELSIUS = -40;
const MAX_CELSIUS = 85;
const MIN_PASCAL = 30000;
const MAX_PASCAL = 110000;

// §1.2 to §1.4 and §3.5, RMS noise by oversampling 1, 2, 4, 8, 16 without the filter: °C, Pa, %RH.
const NOISE_CELSIUS = [0.005, 0.004, 0.003, 0.003, 0.002] as const;
const NOISE_PASCAL = [3.3, 2.6, 2.1, 1.6, 1.3] as const;
const NOISE_PERCENT = [0.07, 0.05, 0.04, 0.03, 0.02] as const;

export type Oversampling = 0 | 1 | 2 | 4 | 8 | 16;
export type Filter = 0 | 2 | 4 | 8 | 16;

export interface BME280Configuration {
  /** Conversions averaged; pressure and humidity depend on the temperature, so it cannot be 0. */
  readonly temperatureOversampling: Exclude<Oversampling, 0>;
  /** 0 leaves the pressure out. */
  readonly pressureOversampling: Oversampling;
  /** 0 leaves the humidity out. */
  readonly humidityOversampling: Oversampling;
  /** §3.4.4: time constant, in conversions, of the filter on temperature and pressure; 0 is off. */
  readonly filter: Filter;
}

const OVERSAMPLING: readonly number[] = [0, 1, 2, 4, 8, 16];
const FILTERS: readonly number[] = [0, 2, 4, 8, 16];

/** §3.5.1, weather monitoring: one conversion each, no filter. */
const DEFAULTS: BME280Configuration = {
  temperatureOversampling: 1,
  pressureOversampling: 1,
  humidityOversampling: 1,
  filter: 0,
};

export class BME280 extends Driver {
  #settings = DEFAULTS;
  #calibration: Calibration | undefined;

  constructor(options: SensorOptions) {
    super(options, { address: 0x76, hz: 400_000 });
    this.begin();
  }

  get identification(): Identification {
    const { pressureOversampling, humidityOversampling } = this.#settings;
    const classes = ["Temperature"];
    if (humidityOversampling) classes.unshift("Humidity");
    if (pressureOversampling) classes.unshift("AtmosphericPressure");
    return { model: "Bosch BME280", classification: classes.join("-") };
  }

  get configuration(): BME280Configuration & { readonly mode: string } {
    return { mode: "forced", ...this.#settings };
  }

  /** The chip resolves 0.01 °C and 0.008 %RH, and its pressure has 1.3 to 3.3 Pa of noise (§1.2 to §1.4, §3.5). */
  get resolution(): { readonly [kind: string]: number } {
    return { thermometer: 1 / 128, hygrometer: 1 / 128, barometer: 1 / 4 };
  }

  /** §1.1 to §1.3. */
  get range(): { readonly [kind: string]: readonly [number, number] } {
    return { thermometer: [MIN_CELSIUS, MAX_CELSIUS], hygrometer: [0, 100], barometer: [MIN_PASCAL, MAX_PASCAL] };
  }

  /** Of temperature and pressure only while the filter, which mixes a sample with those before it, is off. */
  get noise(): { readonly [kind: string]: number } {
    const { temperatureOversampling, pressureOversampling, humidityOversampling, filter } = this.#settings;
    const noise: { [kind: string]: number } = {};
    const by = (table: readonly number[], oversampling: Oversampling) => table[OVERSAMPLING.indexOf(oversampling) - 1]!;
    if (humidityOversampling) noise["hygrometer"] = by(NOISE_PERCENT, humidityOversampling);
    if (filter) return noise;
    noise["thermometer"] = by(NOISE_CELSIUS, temperatureOversampling);
    if (pressureOversampling) noise["barometer"] = by(NOISE_PASCAL, pressureOversampling);
    return noise;
  }

  configure(options: Partial<BME280Configuration>): void {
    const next = { ...this.#settings, ...options };
    for (const name of ["temperatureOversampling", "pressureOversampling", "humidityOversampling"] as const)
      if (!OVERSAMPLING.includes(next[name]))
        throw new RangeError(`${name}: expected 0, 1, 2, 4, 8 or 16, received ${next[name]}`);
    if (!next.temperatureOversampling) throw new RangeError("temperatureOversampling: expected 1 or more, received 0");
    if (!FILTERS.includes(next.filter))
      throw new RangeError(`filter: expected 0, 2, 4, 8 or 16, received ${next.filter}`);
    this.#settings = next;
    this.configured();
  }

  protected kinds(): readonly string[] {
    const { pressureOversampling, humidityOversampling } = this.#settings;
    const kinds = ["thermometer"];
    if (humidityOversampling) kinds.push("hygrometer");
    if (pressureOversampling) kinds.push("barometer");
    return kinds;
  }

  protected reset(): Fault | undefined {
    this.conversionMs = START_UP_MS;
    return this.chip.write(REG_RESET, RESET_WORD) ? undefined : "no-ack";
  }

  protected identify(): Unfinished | undefined {
    const id = this.chip.readRegister(REG_ID, 1);
    if (!id) return "no-ack";
    if (id[0] !== CHIP_ID) return "identity";
    const status = this.chip.readRegister(REG_STATUS, 1);
    if (!status) return "no-ack";
    // The chip still copies its trimming words out of its own memory (§5.4.4).
    if (status[0]! & STATUS_IM_UPDATE) return "again";
    const low = this.chip.readRegister(REG_CALIBRATION_LOW, LOW_BLOCK_BYTES);
    const high = this.chip.readRegister(REG_CALIBRATION_HIGH, HIGH_BLOCK_BYTES);
    if (!low || !high) return "no-ack";
    this.#calibration = readCalibration(low, high);
    return plausible(this.#calibration) ? undefined : "calibration";
  }

  protected measure(): Fault | undefined {
    const settings = this.#settings;
    this.conversionMs = Math.ceil(maximumMs(settings));
    const temperature = OVERSAMPLING.indexOf(settings.temperatureOversampling);
    const pressure = OVERSAMPLING.indexOf(settings.pressureOversampling);
    const humidity = OVERSAMPLING.indexOf(settings.humidityOversampling);
    const filter = FILTERS.indexOf(settings.filter);
    // ctrl_hum takes effect with the write of ctrl_meas, which starts the conversion: it comes last (§5.4.3).
    const written = this.chip.write(
      ...[REG_CTRL_HUM, humidity],
      ...[REG_CONFIG, filter << 2],
      ...[REG_CTRL_MEAS, (temperature << 5) | (pressure << 2) | MODE_FORCED],
    );
    return written ? undefined : "no-ack";
  }

  protected collect(): Sample | Unfinished {
    const burst = this.chip.readRegister(REG_CTRL_HUM, BURST_BYTES);
    if (!burst) return "no-ack";
    const [humidityControl, status, control] = burst;
    if (status! & STATUS_MEASURING) return "again";
    // A reset in between (a dip of the supply) leaves the oversampling at 0: nothing was measured. The data's own
    // "skipped" value 0x80000 cannot tell, since a true reading near 26 °C has it too.
    if (!(control! & OVERSAMPLING_T)) return "skipped";
    const calibration = this.#calibration!;
    const { celsius, fine } = temperatureOf(raw20(burst, 8), calibration);
    if (!(celsius >= MIN_CELSIUS && celsius <= MAX_CELSIUS)) return "range";
    const sample: Sample = { thermometer: { temperature: celsius } };
    const faults: SampleFaults = {};
    if (this.#settings.humidityOversampling) {
      const raw = burst[11]! * 256 + burst[12]!;
      if (!(humidityControl! & OVERSAMPLING_H)) faults["hygrometer"] = "skipped";
      else sample.hygrometer = { humidity: humidityOf(raw, fine, calibration) / 100 };
    }
    if (this.#settings.pressureOversampling) {
      const pressure = pressureOf(raw20(burst, 5), fine, calibration);
      if (!(control! & OVERSAMPLING_P)) faults["barometer"] = "skipped";
      else if (!(pressure >= MIN_PASCAL && pressure <= MAX_PASCAL)) faults["barometer"] = "range";
      else sample.barometer = { pressure };
    }
    if (Object.keys(faults).length > 0) sample.faults = faults;
    return sample;
  }
}

/** Longest conversion, milliseconds (§9.1). */
function maximumMs(settings: BME280Configuration): number {
  const { temperatureOversampling, pressureOversampling, humidityOversampling } = settings;
  return (
    1.25 +
    2.3 * temperatureOversampling +
    (pressureOversampling ? 2.3 * pressureOversampling + 0.575 : 0) +
    (humidityOversampling ? 2.3 * humidityOversampling + 0.575 : 0)
  );
}

/** Three registers, 20 bits, left-aligned (§5.4.7). */
function raw20(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 4096 + bytes[at + 1]! * 16 + (bytes[at + 2]! >> 4);
}
