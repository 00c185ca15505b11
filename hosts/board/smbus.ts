import type { I2COptions } from "tallystick/sensors/sensor";
import { type ByteBuffer, viewOf } from "./buffers.js";
import type { BoardI2C, BoardI2CConstructor } from "./i2c.js";

export type SMBusOptions = Omit<I2COptions, "io"> & {
  /** A stop between register number and data, in place of a repeated start. */
  readonly stop?: boolean;
};

/** ECMA-419 §11 SMBus, over any I2C class. */
class WiredSMBus {
  readonly #io: BoardI2C;
  readonly #stop: boolean;
  /** Register and up to two bytes of data. */
  readonly #word = new Uint8Array(3);

  constructor(I2C: BoardI2CConstructor, options: SMBusOptions) {
    this.#io = new I2C(options);
    this.#stop = options.stop ?? false;
  }

  close(): void {
    this.#io.close();
  }

  readUint8(register: number): number {
    return this.#read(register, this.#word.subarray(0, 1))[0]!;
  }

  readUint16(register: number, bigEndian = false): number {
    const bytes = this.#read(register, this.#word.subarray(0, 2));
    return bigEndian ? (bytes[0]! << 8) | bytes[1]! : (bytes[1]! << 8) | bytes[0]!;
  }

  /** Fills the buffer, or makes one of the length given. */
  readBuffer(register: number, byteLengthOrBuffer: number | ByteBuffer): ArrayBuffer | Uint8Array {
    if (typeof byteLengthOrBuffer === "number")
      return this.#read(register, new Uint8Array(byteLengthOrBuffer)).buffer as ArrayBuffer;
    return this.#read(register, viewOf(byteLengthOrBuffer));
  }

  writeUint8(register: number, value: number): void {
    this.#word[0] = register;
    this.#word[1] = value;
    this.#io.write(this.#word.subarray(0, 2));
  }

  writeUint16(register: number, value: number, bigEndian = false): void {
    this.#word[0] = register;
    this.#word[bigEndian ? 2 : 1] = value;
    this.#word[bigEndian ? 1 : 2] = value >> 8;
    this.#io.write(this.#word);
  }

  writeBuffer(register: number, buffer: ByteBuffer): void {
    const bytes = viewOf(buffer);
    const message = new Uint8Array(1 + bytes.length);
    message[0] = register;
    message.set(bytes, 1);
    this.#io.write(message);
  }

  sendByte(command: number): void {
    this.#word[0] = command;
    this.#io.write(this.#word.subarray(0, 1));
  }

  receiveByte(): number {
    const byte = this.#word.subarray(0, 1);
    this.#io.read(byte);
    return byte[0]!;
  }

  readQuick(): void {
    this.#io.read(0);
  }

  writeQuick(): void {
    this.#io.write(new Uint8Array(0));
  }

  get format(): string {
    return "buffer";
  }
  set format(value: string) {
    this.#io.format = value;
  }

  read(byteLengthOrBuffer: number | ByteBuffer, stop = true): ArrayBuffer | Uint8Array {
    return this.#io.read(byteLengthOrBuffer as number | ArrayBuffer | Uint8Array, stop);
  }

  write(bytes: ByteBuffer, stop = true): void {
    this.#io.write(bytes as ArrayBuffer | Uint8Array, stop);
  }

  #read(register: number, into: Uint8Array): Uint8Array {
    this.#word[2] = register;
    const command = this.#word.subarray(2, 3);
    if (this.#stop) {
      this.#io.write(command);
      this.#io.read(into);
    } else this.#io.writeRead(command, into);
    return into;
  }
}

/** The SMBus class of one board. */
export function smbusOver(I2C: BoardI2CConstructor) {
  return class SMBus extends WiredSMBus {
    constructor(options: SMBusOptions) {
      super(I2C, options);
    }
  };
}
