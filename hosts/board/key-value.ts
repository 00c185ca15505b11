import { fromUtf8, utf8 } from "tallystick/bytes/bytes";
import type { KeyStore } from "tallystick/identity/crypto";
import { type ByteBuffer, bufferOf, viewOf } from "./buffers.js";
import { isName, type WirePort } from "./wire.js";

export interface StorageOpenOptions {
  /** The domain: 1 to 15 printable ASCII characters. */
  readonly path: string;
  readonly mode?: "r" | "r+";
  readonly format?: "buffer" | "string";
}

/** `embedded:storage/key-value`. Of the SDK's formats a simulated board has `buffer` and `string`. */
export class KeyValueStorage {
  readonly #port: WirePort;

  constructor(port: WirePort) {
    this.#port = port;
  }

  open(options: StorageOpenOptions): KeyValueDomain {
    const { path, mode = "r+", format = "buffer" } = options;
    if (!isName(path)) throw new RangeError(`path: expected 1 to 15 ASCII characters, got ${path}`);
    if (mode !== "r" && mode !== "r+") throw new RangeError(`mode: expected r or r+, got ${String(mode)}`);
    return new KeyValueDomain(this.#port, path, mode === "r", format);
  }
}

/** One open domain. Every write and delete is durable when it returns. */
export class KeyValueDomain {
  #port: WirePort | undefined;
  readonly #domain: string;
  readonly #readOnly: boolean;
  #format: "buffer" | "string" = "buffer";

  constructor(port: WirePort, domain: string, readOnly: boolean, format: string) {
    this.#port = port;
    this.#domain = domain;
    this.#readOnly = readOnly;
    this.format = format;
  }

  /** The value, or undefined where there is none; with a buffer, the number of bytes put into it. */
  read(key: string, buffer?: ByteBuffer): ArrayBuffer | string | number | undefined {
    const value = this.#open().keyRead(this.#domain, named(key));
    if (value === undefined) return undefined;
    if (this.#format === "string") {
      const text = fromUtf8(value);
      if (text === undefined) throw new TypeError(`key ${key}: not a string`);
      return text;
    }
    if (buffer === undefined) return bufferOf(value);
    const into = viewOf(buffer);
    if (into.length < value.length)
      throw new RangeError(`key ${key}: expected room for ${value.length} bytes, got ${into.length}`);
    into.set(value);
    return value.length;
  }

  write(key: string, value: ByteBuffer | string): void {
    if ((typeof value === "string") !== (this.#format === "string"))
      throw new TypeError(`key ${key}: expected a ${this.#format}`);
    this.#writable().keyWrite(this.#domain, named(key), typeof value === "string" ? utf8(value) : viewOf(value));
  }

  /** Also where there is no such key. */
  delete(key: string): void {
    this.#writable().keyDelete(this.#domain, named(key));
  }

  [Symbol.iterator](): IterableIterator<string> {
    return this.#open().keyList(this.#domain)[Symbol.iterator]();
  }

  close(): void {
    this.#port = undefined;
  }

  get format(): string {
    return this.#format;
  }
  set format(value: string) {
    if (value !== "buffer" && value !== "string")
      throw new RangeError(`format: expected buffer or string, got ${value}`);
    this.#format = value;
  }

  #open(): WirePort {
    if (this.#port === undefined) throw new Error("key-value store is closed");
    return this.#port;
  }

  #writable(): WirePort {
    if (this.#readOnly) throw new Error("key-value store was opened read-only");
    return this.#open();
  }
}

/** One domain as the modules see it. */
export class BoardKeyStore implements KeyStore {
  readonly #port: WirePort;
  readonly #domain: string;

  constructor(port: WirePort, domain: string) {
    this.#port = port;
    this.#domain = domain;
  }

  read(name: string): Uint8Array | undefined {
    return this.#port.keyRead(this.#domain, named(name));
  }

  write(name: string, value: Uint8Array): void {
    this.#port.keyWrite(this.#domain, named(name), value);
  }

  delete(name: string): void {
    this.#port.keyDelete(this.#domain, named(name));
  }
}

function named(key: string): string {
  if (!isName(key)) throw new RangeError(`key: expected 1 to 15 ASCII characters, got ${key}`);
  return key;
}
