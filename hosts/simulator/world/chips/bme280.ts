import type { I2CChip } from "../i2c.js";
import { fineTemperature, humidity1024, pressure256, rawFor, type Trimming } from "./bme280-integer.js";
import { gaussian } from "./chance.js";
import type { ChipOptions } from "./chip.js";
import { type ChipFault, ChipFaults } from "./faults.js";

/**
 * A Bosch BME280 at the level of its registers (data sheet BST-BME280-DS002 §5): trimming words, reset, forced and
 * normal mode, oversampling with its resolution and noise, the IIR filter, measuring and im_update bits. In normal mode
 * a read sees the newest conversion that has ended, and the filter advances once for it. Not simulated: SPI.
 */

const CALIBRATION_LOW = 0x88;
const ID = 0xd0;
const RESET = 0xe0;
const CALIBRATION_HIGH = 0xe1;
const CTRL_HUM = 0xf2;
const STATUS = 0xf3;
const CTRL_MEAS = 0xf4;
const CONFIG = 0xf5;
const DATA = 0xf7;

const CHIP_ID = 0x60;
const RESET_WORD = 0xb6;
const IM_UPDATE = 0x01;
const MEASURING = 0x08;
const MODE = 0x03;
const NORMAL = 0x03;
/** §1.1 t_startup. */
const START_UP_MS = 2;
/** Values of data that was not measured (§5.4.7 to §5.4.9). */
const SKIPPED_20 = 0x80000;
const SKIPPED_16 = 0x8000;

const SAMPLES = [0, 1, 2, 4, 8, 16, 16, 16];
const FILTER = [1, 2, 4, 8, 16, 16, 16, 16];
/** §5.4.6, t_sb. */
const STANDBY_MS = [0.5, 62.5, 125, 250, 500, 1000, 10, 20];

/** RMS noise by oversampling ×1 ×2 ×4 ×8 ×16, filter off (§1.2 to §1.4, §3.5): °C, Pa, %RH. */
const NOISE_C = [0.005, 0.004, 0.003, 0.003, 0.002];
const NOISE_PA = [3.3, 2.6, 2.1, 1.6, 1.3];
const NOISE_RH = [0.07, 0.05, 0.04, 0.03, 0.02];

/** Trimming words as read out of one real BME280. */
export const REAL_TRIMMING: Trimming = {
  T: [28998, 27158, 50],
  P: [36231, -10432, 3024, 7042, -68, -7, 9900, -10230, 4285],
  H: [75, 378, 0, 282, 50, 30],
};

export interface BME280ChipOptions extends ChipOptions {
  readonly trimming?: Trimming;
}

export class BME280Chip implements I2CChip {
  readonly address: number;
  readonly #options: BME280ChipOptions;
  readonly #trimming: Trimming;
  readonly #faults: ChipFaults;
  readonly #registers = new Uint8Array(256);
  #pointer = 0;
  #startUpMs = Number.NEGATIVE_INFINITY;
  /** ctrl_hum as it was when ctrl_meas was last written: only then does it take effect (§5.4.3). */
  #humidityControl = 0;
  /** When the running series of conversions began; undefined in sleep mode. */
  #startedMs: number | undefined;
  #taken = 0;
  #filtered: { readonly temperature: number; readonly pressure: number } | undefined;

  constructor(options: BME280ChipOptions) {
    this.#options = options;
    this.#trimming = options.trimming ?? REAL_TRIMMING;
    this.address = options.address ?? 0x76;
    this.#faults = new ChipFaults(options.surroundings, options.seed);
    this.powerUp();
    this.#startUpMs = Number.NEGATIVE_INFINITY;
  }

  inject(fault: ChipFault): void {
    if (fault.kind === "crc") throw new RangeError("the BME280 sends no checksum");
    this.#faults.inject(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** The supply came back, or a reset: sleep mode, nothing measured. */
  powerUp(): void {
    this.#registers.fill(0);
    this.#registers.set(lowBlock(this.#trimming), CALIBRATION_LOW);
    this.#registers.set(highBlock(this.#trimming), CALIBRATION_HIGH);
    this.#registers[ID] = CHIP_ID;
    this.#store(SKIPPED_20, SKIPPED_20, SKIPPED_16);
    this.#humidityControl = 0;
    this.#startedMs = undefined;
    this.#filtered = undefined;
    this.#startUpMs = this.#options.nowMs() + START_UP_MS;
  }

  write(bytes: Uint8Array): boolean {
    const now = this.#options.nowMs();
    if (this.#faults.refuses(now)) return false;
    this.#settle(now);
    if (bytes.length > 0) this.#pointer = bytes[0]!;
    // After the register comes its value, then register and value in turn: a write does not advance by itself (§6.2.1).
    for (let i = 0; i + 1 < bytes.length; i += 2) this.#writeRegister(bytes[i]!, bytes[i + 1]!, now);
    return true;
  }

  read(length: number): Uint8Array | undefined {
    const now = this.#options.nowMs();
    if (this.#faults.refuses(now)) return undefined;
    this.#settle(now);
    return Uint8Array.from({ length }, () => {
      const byte = this.#registers[this.#pointer]!;
      this.#pointer = (this.#pointer + 1) & 0xff;
      return byte;
    });
  }

  #writeRegister(register: number, value: number, now: number): void {
    if (register === RESET && value === RESET_WORD) this.powerUp();
    else if (register === CTRL_HUM) this.#registers[CTRL_HUM] = value & 7;
    else if (register === CONFIG) this.#registers[CONFIG] = value & 0xfd;
    else if (register === CTRL_MEAS) {
      this.#registers[CTRL_MEAS] = value;
      this.#humidityControl = this.#registers[CTRL_HUM]!;
      this.#taken = 0;
      this.#startedMs = value & MODE ? now : undefined;
    }
  }

  /** Brings status and data up to `now`. */
  #settle(now: number): void {
    let status = now < this.#startUpMs ? IM_UPDATE : 0;
    if (this.#startedMs !== undefined) {
      const control = this.#registers[CTRL_MEAS]!;
      const normal = (control & MODE) === NORMAL;
      const activeMs = measuringMs(control, this.#humidityControl);
      const cycleMs = activeMs + STANDBY_MS[this.#registers[CONFIG]! >> 5]!;
      const ended = this.#faults.busy(now) ? 0 : Math.floor((now - this.#startedMs - activeMs) / cycleMs) + 1;
      const newest = normal ? ended : Math.min(ended, 1);
      if (newest > this.#taken) {
        this.#convert(this.#startedMs + (newest - 1) * cycleMs);
        this.#taken = newest;
      }
      const inCycleMs = now - this.#startedMs - Math.max(newest, 0) * cycleMs;
      if (newest < 1 || (normal && inCycleMs >= 0 && inCycleMs < activeMs)) status |= MEASURING;
      else if (!normal) {
        this.#startedMs = undefined;
        this.#registers[CTRL_MEAS] = control & ~MODE;
      }
    }
    this.#registers[STATUS] = status;
  }

  #convert(ms: number): void {
    const { seed, noise = true } = this.#options;
    const control = this.#registers[CTRL_MEAS]!;
    const [t, p, h] = [control >> 5, (control >> 2) & 7, this.#humidityControl];
    const coefficient = FILTER[(this.#registers[CONFIG]! >> 2) & 7]!;
    const seen = this.#faults.conditions(ms);
    const draw = (channel: number, table: readonly number[], oversampling: number) =>
      noise ? gaussian(seed, ms, channel) * table[Math.min(oversampling, 5) - 1]! : 0;

    // With the filter on, results have all 20 bits; without it 16 and one more for each doubling (§3.4.4).
    const keep = (raw: number, oversampling: number) =>
      coefficient > 1 ? raw : raw - (raw % (1 << (4 - Math.min(oversampling - 1, 4))));
    let rawT = SKIPPED_20;
    if (t) {
      const target = (seen.temperatureC + draw(1, NOISE_C, t)) * 5120;
      rawT = keep(
        rawFor(target, 0xfffff, (raw) => fineTemperature(raw, this.#trimming)),
        t,
      );
    }
    const fine = fineTemperature(rawT, this.#trimming);
    let rawP = SKIPPED_20;
    if (t && p) {
      const target = (seen.pressurePa + draw(2, NOISE_PA, p)) * 256;
      rawP = keep(
        rawFor(target, 0xfffff, (raw) => pressure256(raw, fine, this.#trimming)),
        p,
      );
    }
    let rawH = SKIPPED_16;
    if (t && h) {
      const target = (seen.humidityPercent + draw(3, NOISE_RH, h)) * 1024;
      rawH = rawFor(target, 0xffff, (raw) => humidity1024(raw, fine, this.#trimming));
    }
    const before = this.#filtered;
    if (before && coefficient > 1) {
      rawT = Math.round((before.temperature * (coefficient - 1) + rawT) / coefficient);
      rawP = Math.round((before.pressure * (coefficient - 1) + rawP) / coefficient);
    }
    this.#filtered = { temperature: rawT, pressure: rawP };
    this.#store(rawP, rawT, rawH);
  }

  #store(pressure: number, temperature: number, humidity: number): void {
    for (const [i, raw] of [pressure, temperature].entries())
      this.#registers.set([raw >> 12, (raw >> 4) & 0xff, (raw & 15) << 4], DATA + 3 * i);
    this.#registers.set([humidity >> 8, humidity & 0xff], DATA + 6);
  }
}

/** Longest conversion, milliseconds (§9.1). */
function measuringMs(control: number, humidityControl: number): number {
  const [t, p, h] = [SAMPLES[control >> 5]!, SAMPLES[(control >> 2) & 7]!, SAMPLES[humidityControl]!];
  return 1.25 + 2.3 * t + (p && 2.3 * p + 0.575) + (h && 2.3 * h + 0.575);
}

/** Registers 0x88…0xA1. */
function lowBlock({ T, P, H }: Trimming): Uint8Array {
  const bytes = new Uint8Array(26);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [...T, ...P].entries()) view.setUint16(2 * i, word & 0xffff, true);
  bytes[25] = H[0];
  return bytes;
}

/** Registers 0xE1…0xE7. */
function highBlock({ H: [, h2, h3, h4, h5, h6] }: Trimming): Uint8Array {
  return Uint8Array.of(h2, h2 >> 8, h3, h4 >> 4, (h4 & 15) | ((h5 & 15) << 4), h5 >> 4, h6);
}
