import type { I2C, I2COptions } from "tallystick/sensors/sensor";
import { type ByteBuffer, bufferOf, onlyFormat, viewOf } from "./buffers.js";
import type { WirePort } from "./wire.js";

/** What the classes behind `embedded:io/i2c` add to the standard's I2C. */
export interface BoardI2C extends I2C {
  /** The SDK's extension: writes, then reads after a repeated start. */
  writeRead(bytes: ByteBuffer, byteLengthOrBuffer: number | ByteBuffer, stop?: boolean): ArrayBuffer | Uint8Array;
  format: string;
}

export type I2CClassOptions = Omit<I2COptions, "io"> & { readonly format?: string };

export type BoardI2CConstructor = new (options: I2CClassOptions) => BoardI2C;

const NONE = new Uint8Array(0);

/**
 * ECMA-419 §11 I2C over a board's wire. A simulated board's buses are numbered; `data` and `clock` pins do not choose
 * one. The constructor throws RangeError where an option is not valid or an instance for the same bus and address is
 * open; a transfer throws Error where nothing acknowledges.
 */
class WiredI2C implements BoardI2C {
  readonly #port: WirePort;
  /** bus × 128 + address of what is open on this board. */
  readonly #open: Set<number>;
  readonly #bus: number;
  readonly #address: number;
  #closed = false;

  constructor(port: WirePort, open: Set<number>, options: I2CClassOptions) {
    const { bus = 0, address } = options;
    if (typeof bus !== "number" || !Number.isInteger(bus) || bus < 0 || bus > 255)
      throw new RangeError(`bus: expected 0 to 255, got ${bus}`);
    if (address === undefined || !Number.isInteger(address) || address < 0 || address > 127)
      throw new RangeError(`address: expected 0 to 127, got ${address}`);
    if (options.hz !== undefined && !(options.hz > 0 && options.hz <= 20_000_000))
      throw new RangeError(`hz: expected 1 to 20,000,000, got ${options.hz}`);
    onlyFormat(options.format, "buffer");
    if (open.has(bus * 128 + address)) throw new RangeError(`address 0x${address.toString(16)} is open already`);
    open.add(bus * 128 + address);
    this.#port = port;
    this.#open = open;
    this.#bus = bus;
    this.#address = address;
  }

  get format(): string {
    return "buffer";
  }
  set format(value: string) {
    onlyFormat(value, "buffer");
  }

  read(byteLengthOrBuffer: number | ByteBuffer, stop = true): ArrayBuffer | Uint8Array {
    return this.#transfer(NONE, byteLengthOrBuffer, stop);
  }

  write(bytes: ByteBuffer, stop = true): void {
    this.#transfer(viewOf(bytes), 0, stop);
  }

  writeRead(bytes: ByteBuffer, byteLengthOrBuffer: number | ByteBuffer, stop = true): ArrayBuffer | Uint8Array {
    return this.#transfer(viewOf(bytes), byteLengthOrBuffer, stop);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#open.delete(this.#bus * 128 + this.#address);
  }

  #transfer(write: Uint8Array, byteLengthOrBuffer: number | ByteBuffer, stop: boolean): ArrayBuffer | Uint8Array {
    if (this.#closed) throw new Error("I2C is closed");
    const into = typeof byteLengthOrBuffer === "number" ? undefined : viewOf(byteLengthOrBuffer);
    const length = into === undefined ? (byteLengthOrBuffer as number) : into.length;
    const bytes = this.#port.i2cTransfer(this.#bus, this.#address, write, length, stop);
    if (bytes === undefined)
      throw new Error(`I2C bus ${this.#bus}, address 0x${this.#address.toString(16)}: no acknowledge`);
    if (into === undefined) return bufferOf(bytes);
    into.set(bytes);
    return into;
  }
}

/** The I2C class of one board. What it has beyond a constructor stands in the image, not in the board's memory. */
export function i2cOver(port: WirePort): BoardI2CConstructor {
  const open = new Set<number>();
  return class I2C extends WiredI2C {
    constructor(options: I2CClassOptions) {
      super(port, open, options);
    }
  };
}
