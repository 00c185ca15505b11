import type { I2CChip } from "../../hosts/simulator/world/i2c.js";

/** Where the BME280 puts its measurement: settings, status and data, 13 bytes from 0xF2 on (data sheet §4.1). */
const BURST = 0xf2;
const BURST_BYTES = 13;
/** Offsets in the burst: pressure, temperature, humidity (§5.3). */
const TEMPERATURE = 8;

/** A chip whose answers somebody between it and the board may change. */
export class TamperedChip implements I2CChip {
  /** What becomes of a measurement's frame; undefined: it is passed on. */
  tamper: ((frame: Uint8Array) => Uint8Array) | undefined;
  /** Frames that were asked for. */
  frames = 0;
  #pointer = 0;
  #last: Uint8Array | undefined;

  constructor(private readonly chip: I2CChip) {}

  get address(): number {
    return this.chip.address;
  }

  write(bytes: Uint8Array): boolean {
    if (bytes.length > 0) this.#pointer = bytes[0]!;
    return this.chip.write(bytes);
  }

  read(length: number): Uint8Array | undefined {
    const bytes = this.chip.read(length);
    if (bytes === undefined || this.#pointer !== BURST || length !== BURST_BYTES) return bytes;
    this.frames++;
    if (!this.tamper) this.#last = bytes;
    return this.tamper?.(bytes.slice()) ?? bytes;
  }

  /** From now on the bus gives the newest frame again and again. */
  freeze(): void {
    const frame = this.#last!;
    this.tamper = () => frame;
  }

  /** One frame in which a bit of the temperature is wrong: the fourth from the top, some ten degrees. */
  flipOnce(): void {
    this.tamper = (frame) => {
      this.tamper = undefined;
      frame[TEMPERATURE]! ^= 0x10;
      return frame;
    };
  }

  /** A loose wire: every other frame has the temperature's top bits wrong. */
  rattle(mask: number): void {
    let n = 0;
    this.tamper = (frame) => {
      if (n++ % 2 === 0) frame[TEMPERATURE]! ^= mask;
      return frame;
    };
  }

  /** The temperature's lines are all high: more than the chip can measure. */
  pullUp(): void {
    this.tamper = (frame) => frame.fill(0xff, TEMPERATURE, TEMPERATURE + 3);
  }

  restore(): void {
    this.tamper = undefined;
  }
}
