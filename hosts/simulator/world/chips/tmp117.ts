import type { I2CChip } from "../i2c.js";
import { gaussian, hash32 } from "./chance.js";
import type { ChipOptions } from "./chip.js";
import { type ChipFault, ChipFaults } from "./faults.js";

/**
 * A TI TMP117 at the level of its registers (data sheet SNOSD82 §7.6): continuous, shutdown and one-shot mode,
 * averaging, data-ready and alert flags in alert mode, EEPROM words as factory serial number. Not simulated: therm
 * mode, writing the EEPROM, the alert pin.
 */

const TEMPERATURE = 0x0;
const CONFIGURATION = 0x1;
const HIGH_LIMIT = 0x2;
const LOW_LIMIT = 0x3;
const UNLOCK = 0x4;
const EEPROM_1 = 0x5;
const EEPROM_2 = 0x6;
const OFFSET = 0x7;
const EEPROM_3 = 0x8;
const DEVICE_ID = 0xf;

const HIGH_ALERT = 0x8000;
const LOW_ALERT = 0x4000;
const DATA_READY = 0x2000;
const MODE = 0x0c00;
const SHUTDOWN = 0x0400;
const ONE_SHOT = 0x0c00;
const SOFT_RESET = 0x0002;
/** Bits of the configuration register that a master can write. */
const WRITABLE = 0x0ffc;

const RESET_MS = 2;
const CONVERSION_MS = 15.5;
const AVERAGED = [1, 8, 32, 64];
/** §7.6.3, table 7-7: least milliseconds from one averaged result to the next, by CONV. */
const CYCLE_MS = [15.5, 125, 250, 500, 1000, 4000, 8000, 16000];
/** Standard deviation of a single conversion, °C: with eight averaged, ±1 LSB is three of them (§6.5, repeatability). */
const NOISE_C = 0.0075;

export class TMP117Chip implements I2CChip {
  readonly address: number;
  readonly #options: ChipOptions;
  readonly #faults: ChipFaults;
  readonly #registers = new Uint16Array(16);
  #pointer = 0;
  #busyUntilMs = Number.NEGATIVE_INFINITY;
  /** When the running conversion (or the series of them) began; undefined in shutdown. */
  #startedMs: number | undefined;
  /** Conversions of the running series that already are in the result register. */
  #taken = 0;

  constructor(options: ChipOptions) {
    this.#options = options;
    this.address = options.address ?? 0x48;
    this.#faults = new ChipFaults(options.surroundings, options.seed);
    this.powerUp();
    this.#busyUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** The three factory words of the serial number, in hexadecimal. */
  get serial(): string {
    const words = [EEPROM_1, EEPROM_2, EEPROM_3].map((register) => this.#registers[register]!);
    return words.map((word) => word.toString(16).padStart(4, "0")).join("");
  }

  inject(fault: ChipFault): void {
    if (fault.kind === "crc") throw new RangeError("the TMP117 sends no checksum");
    this.#faults.inject(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** The supply came back, or a soft reset: registers load from EEPROM, continuous conversion starts. */
  powerUp(): void {
    const { seed, nowMs } = this.#options;
    this.#registers.fill(0);
    this.#registers[TEMPERATURE] = 0x8000;
    this.#registers[CONFIGURATION] = 0x0220;
    this.#registers[HIGH_LIMIT] = 0x6000;
    this.#registers[LOW_LIMIT] = 0x8000;
    this.#registers[EEPROM_1] = hash32(seed, 1) & 0xffff;
    this.#registers[EEPROM_2] = hash32(seed, 2) & 0xffff;
    this.#registers[EEPROM_3] = hash32(seed, 3) & 0xffff;
    this.#registers[DEVICE_ID] = 0x0117;
    this.#pointer = 0;
    this.#busyUntilMs = nowMs() + RESET_MS;
    this.#startedMs = nowMs() + RESET_MS;
    this.#taken = 0;
  }

  write(bytes: Uint8Array): boolean {
    const now = this.#options.nowMs();
    if (this.#faults.refuses(now) || now < this.#busyUntilMs) return false;
    this.#settle(now);
    if (bytes.length > 0) this.#pointer = bytes[0]! & 15;
    if (bytes.length < 3) return true;
    const word = bytes[1]! * 256 + bytes[2]!;
    if (this.#pointer === CONFIGURATION) this.#configure(word, now);
    else if ([HIGH_LIMIT, LOW_LIMIT, OFFSET].includes(this.#pointer)) this.#registers[this.#pointer] = word;
    else if (this.#pointer === UNLOCK) this.#registers[UNLOCK] = word & 0x8000;
    return true;
  }

  read(length: number): Uint8Array | undefined {
    const now = this.#options.nowMs();
    if (this.#faults.refuses(now) || now < this.#busyUntilMs) return undefined;
    this.#settle(now);
    const word = this.#registers[this.#pointer]!;
    // §7.6.3: reading result or configuration clears data-ready; reading the configuration clears the alerts too.
    if (this.#pointer === TEMPERATURE) this.#registers[CONFIGURATION]! &= ~DATA_READY;
    if (this.#pointer === CONFIGURATION) this.#registers[CONFIGURATION]! &= ~(DATA_READY | HIGH_ALERT | LOW_ALERT);
    return Uint8Array.from({ length }, (_, i) => (i === 0 ? word >> 8 : i === 1 ? word & 0xff : 0xff));
  }

  #configure(word: number, now: number): void {
    if (word & SOFT_RESET) {
      this.powerUp();
      return;
    }
    this.#registers[CONFIGURATION] = (this.#registers[CONFIGURATION]! & ~WRITABLE) | (word & WRITABLE);
    this.#taken = 0;
    this.#startedMs = (word & MODE) === SHUTDOWN ? undefined : now;
  }

  /** Brings result and flags up to `now`. */
  #settle(now: number): void {
    if (this.#startedMs === undefined || this.#faults.busy(now)) return;
    const control = this.#registers[CONFIGURATION]!;
    const activeMs = AVERAGED[(control >> 5) & 3]! * CONVERSION_MS;
    const oneShot = (control & MODE) === ONE_SHOT;
    const cycleMs = Math.max(activeMs, CYCLE_MS[(control >> 7) & 7]!);
    const done = Math.floor((now - this.#startedMs - activeMs) / cycleMs) + 1;
    if (done <= this.#taken) return;
    const newest = oneShot ? 0 : done - 1;
    this.#convert(this.#startedMs + newest * cycleMs);
    this.#taken = done;
    if (!oneShot) return;
    this.#startedMs = undefined;
    this.#registers[CONFIGURATION] = (this.#registers[CONFIGURATION]! & ~MODE) | SHUTDOWN;
  }

  #convert(ms: number): void {
    const { seed, noise = true } = this.#options;
    const averaged = AVERAGED[(this.#registers[CONFIGURATION]! >> 5) & 3]!;
    const { temperatureC } = this.#faults.conditions(ms);
    const celsius = temperatureC + (noise ? (gaussian(seed, ms, 1) * NOISE_C) / Math.sqrt(averaged) : 0);
    const raw = Math.round(celsius * 128) + signed(this.#registers[OFFSET]!);
    const clamped = Math.min(Math.max(raw, -32767), 32767);
    this.#registers[TEMPERATURE] = clamped & 0xffff;
    let flags = DATA_READY;
    if (clamped > signed(this.#registers[HIGH_LIMIT]!)) flags |= HIGH_ALERT;
    if (clamped < signed(this.#registers[LOW_LIMIT]!)) flags |= LOW_ALERT;
    this.#registers[CONFIGURATION]! |= flags;
  }
}

function signed(word: number): number {
  return (word << 16) >> 16;
}
