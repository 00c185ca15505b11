import type { I2C, I2COptions } from "./sensor.js";

/** One chip on an I²C bus. A transfer that it does not acknowledge is an answer here, not an exception. */
export class BusChip {
  #io: I2C | undefined;

  constructor(options: I2COptions, defaults: { readonly address: number; readonly hz: number }) {
    const { io: IO, ...rest } = options;
    this.#io = new IO({ ...defaults, ...rest });
  }

  /** True when the chip acknowledged every byte. */
  write(...bytes: number[]): boolean {
    const io = this.#open();
    try {
      io.write(Uint8Array.from(bytes));
      return true;
    } catch {
      return false;
    }
  }

  /** Exactly `length` bytes, or undefined where the chip did not acknowledge. */
  read(length: number): Uint8Array | undefined {
    const io = this.#open();
    try {
      return whole(io.read(length), length);
    } catch {
      return undefined;
    }
  }

  /** `length` bytes from `register` on, without a stop in between so that no other master can move the pointer. */
  readRegister(register: number, length: number): Uint8Array | undefined {
    const io = this.#open();
    try {
      io.write(Uint8Array.of(register), false);
      return whole(io.read(length), length);
    } catch {
      return undefined;
    }
  }

  close(): void {
    this.#io?.close();
    this.#io = undefined;
  }

  #open(): I2C {
    if (!this.#io) throw new Error("the sensor is closed");
    return this.#io;
  }
}

function whole(answer: ArrayBuffer | Uint8Array, length: number): Uint8Array | undefined {
  const bytes = answer instanceof Uint8Array ? answer : new Uint8Array(answer);
  return bytes.length === length ? bytes : undefined;
}
