import type { Flash } from "tallystick/journal/flash";
import { type ByteBuffer, onlyFormat, viewOf } from "./buffers.js";
import { type FlashReply, WireFault, type WirePort } from "./wire.js";

export interface FlashOpenOptions {
  /** Label of a data partition. */
  readonly path: string;
  readonly mode?: "r" | "r+";
  readonly format?: string;
}

export interface FlashStatus {
  readonly size: number;
  readonly blockLength: number;
  readonly blocks: number;
  /** Beyond ESP32's answer, as the typings have them: the write unit, and what an erased byte of plain NOR reads as. */
  readonly writeAlign: number;
  readonly eraseValue: number;
}

/** `embedded:storage/flash`, with the semantics of the SDK's ESP32 implementation. */
export class FlashStorage {
  readonly #port: WirePort;

  constructor(port: WirePort) {
    this.#port = port;
  }

  /** Throws where there is no such partition. */
  open(options: FlashOpenOptions): FlashPartition {
    onlyFormat(options.format, "buffer");
    if (options.mode !== undefined && options.mode !== "r" && options.mode !== "r+")
      throw new RangeError(`mode: expected r or r+, got ${String(options.mode)}`);
    return new FlashPartition(this.#port, statusOf(this.#port, options.path), options.mode === "r");
  }

  [Symbol.iterator](): IterableIterator<string> {
    return this.#port.flashList()[Symbol.iterator]();
  }
}

/** One open partition. Blocks are the sectors. */
export class FlashPartition {
  #port: WirePort | undefined;
  readonly #status: FlashReply;
  readonly #readOnly: boolean;

  constructor(port: WirePort, status: FlashReply, readOnly: boolean) {
    this.#port = port;
    this.#status = status;
    this.#readOnly = readOnly;
  }

  read(byteLength: number, byteOffset: number): ArrayBuffer;
  read(buffer: ByteBuffer, byteOffset: number): number;
  read(byteLengthOrBuffer: number | ByteBuffer, byteOffset: number): ArrayBuffer | number {
    const port = this.#open();
    const wanted = typeof byteLengthOrBuffer === "number";
    const into = wanted ? new Uint8Array(byteLengthOrBuffer) : viewOf(byteLengthOrBuffer);
    port.flashRead(this.#status.partition, byteOffset, into);
    return wanted ? (into.buffer as ArrayBuffer) : into.length;
  }

  write(buffer: ByteBuffer, byteOffset: number): void {
    const port = this.#writable();
    port.flashWrite(this.#status.partition, byteOffset, viewOf(buffer), this.#status.pageBytes);
  }

  /** Erases the blocks from `start` up to but not including `end`; without `end` one block. */
  eraseBlock(start: number, end = start + 1): void {
    const port = this.#writable();
    for (let block = start; block < end; block++)
      port.flashErase(this.#status.partition, block, this.#status.sectorBytes);
  }

  status(): FlashStatus {
    this.#open();
    const { sizeBytes, sectorBytes, writeUnitBytes } = this.#status;
    return {
      size: sizeBytes,
      blockLength: sectorBytes,
      blocks: sizeBytes / sectorBytes,
      writeAlign: writeUnitBytes,
      eraseValue: 0xff,
    };
  }

  close(): void {
    this.#port = undefined;
  }

  get format(): string {
    return "buffer";
  }
  set format(value: string) {
    onlyFormat(value, "buffer");
  }

  #open(): WirePort {
    if (this.#port === undefined) throw new Error("flash is closed");
    return this.#port;
  }

  #writable(): WirePort {
    if (this.#readOnly) throw new Error("flash was opened read-only");
    return this.#open();
  }
}

/** One partition as the journal sees it. */
export class BoardFlash implements Flash {
  readonly #port: WirePort;
  readonly #status: FlashReply;
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  readonly writeUnitBytes: number;

  constructor(port: WirePort, label: string) {
    this.#port = port;
    this.#status = statusOf(port, label);
    this.sizeBytes = this.#status.sizeBytes;
    this.sectorBytes = this.#status.sectorBytes;
    this.writeUnitBytes = this.#status.writeUnitBytes;
  }

  read(offset: number, into: Uint8Array): void {
    this.#port.flashRead(this.#status.partition, offset, into);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#port.flashWrite(this.#status.partition, offset, bytes, this.#status.pageBytes);
  }

  erase(sector: number): void {
    this.#port.flashErase(this.#status.partition, sector, this.sectorBytes);
  }
}

function statusOf(port: WirePort, label: string): FlashReply {
  try {
    return port.flashStatus(label);
  } catch (error) {
    if (error instanceof WireFault) throw new Error(`flash partition ${label}: ${error.detail}`);
    throw error;
  }
}
