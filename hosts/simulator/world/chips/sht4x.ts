import type { I2CChip } from "../i2c.js";
import { gaussian, hash32 } from "./chance.js";
import type { ChipOptions } from "./chip.js";
import { type ChipFault, ChipFaults } from "./faults.js";

/**
 * A Sensirion SHT40 at the level of its commands (SHT4x data sheet, version 6): no acknowledge while it is busy, a
 * CRC-8 after each word. Durations are the data sheet's maxima (§3.1), noise is a third of its repeatability, which is
 * given as three standard deviations (§2.1, §2.2).
 */

const MEASUREMENTS: {
  readonly [command: number]: { readonly ms: number; readonly celsius: number; readonly percent: number };
} = {
  253: { ms: 8.3, celsius: 0.04 / 3, percent: 0.08 / 3 },
  246: { ms: 4.5, celsius: 0.07 / 3, percent: 0.15 / 3 },
  224: { ms: 1.6, celsius: 0.1 / 3, percent: 0.25 / 3 },
};
const RESET = 0x94;
const SERIAL = 0x89;
const RESET_MS = 1;

export class SHT4xChip implements I2CChip {
  readonly address: number;
  readonly serial: number;
  readonly #options: ChipOptions;
  readonly #faults: ChipFaults;
  /** What the next read gives, once, and from when on. */
  #answer: Uint8Array | undefined;
  #busyUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: ChipOptions) {
    this.#options = options;
    this.address = options.address ?? 0x44;
    this.serial = hash32(options.seed, 0x5474);
    this.#faults = new ChipFaults(options.surroundings, options.seed);
  }

  inject(fault: ChipFault): void {
    this.#faults.inject(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** The supply came back: nothing is pending. */
  powerUp(): void {
    this.#answer = undefined;
    this.#busyUntilMs = this.#options.nowMs() + RESET_MS;
  }

  write(bytes: Uint8Array): boolean {
    const now = this.#options.nowMs();
    if (this.#faults.refuses(now) || now < this.#busyUntilMs) return false;
    const command = bytes[0];
    if (command === undefined) return true;
    const measurement = MEASUREMENTS[command];
    if (measurement) {
      this.#answer = this.#measure(now, measurement.celsius, measurement.percent);
      this.#busyUntilMs = now + measurement.ms;
    } else if (command === SERIAL) {
      this.#answer = words(this.serial >>> 16, this.serial & 0xffff);
    } else if (command === RESET) {
      this.#answer = undefined;
      this.#busyUntilMs = now + RESET_MS;
    } else return false;
    return true;
  }

  read(length: number): Uint8Array | undefined {
    const now = this.#options.nowMs();
    if (this.#faults.refuses(now) || now < this.#busyUntilMs || this.#faults.busy(now)) return undefined;
    const answer = this.#answer;
    if (!answer) return undefined;
    this.#answer = undefined;
    // A master that reads on past the answer sees the released bus.
    const bytes = new Uint8Array(length).fill(0xff);
    bytes.set(answer.subarray(0, length));
    return this.#faults.onTheWire(bytes, now);
  }

  #measure(now: number, celsiusNoise: number, percentNoise: number): Uint8Array {
    const { seed, noise = true } = this.#options;
    const { temperatureC, humidityPercent } = this.#faults.conditions(now);
    const celsius = temperatureC + (noise ? gaussian(seed, now, 1) * celsiusNoise : 0);
    const percent = humidityPercent + (noise ? gaussian(seed, now, 2) * percentNoise : 0);
    return words(ticks((celsius + 45) / 175), ticks((percent + 6) / 125));
  }
}

function ticks(fraction: number): number {
  return Math.round(Math.min(Math.max(fraction, 0), 1) * 65535);
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 3);
  for (const [i, value] of values.entries()) {
    bytes[3 * i] = value >> 8;
    bytes[3 * i + 1] = value & 0xff;
    bytes[3 * i + 2] = CRC_TABLE[CRC_TABLE[0xff ^ (value >> 8)]! ^ (value & 0xff)]!;
  }
  return bytes;
}

/** Data sheet §4.4, by table: on purpose not the way that the driver computes it. */
const CRC_TABLE = Uint8Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 0x80 ? (remainder * 2) ^ 0x131 : remainder * 2;
  return remainder;
});
