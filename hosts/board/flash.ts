import { type Flash, FlashError } from "tallystick/journal/flash";
import { type ByteBuffer, onlyFormat, viewOf } from "./buffers.js";
import {
  type FlashReply,
  Operation,
  putU16,
  putU32,
  refuse,
  replyText,
  Status,
  type Wire,
  WireFault,
  WireLimit,
  type WirePort,
} from "./wire.js";

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
    return new FlashPartition(new BoardFlash(this.#port, options.path), options.mode === "r");
  }

  [Symbol.iterator](): IterableIterator<string> {
    return this.#port.flashList()[Symbol.iterator]();
  }
}

/** One open partition. Blocks are the sectors. */
export class FlashPartition {
  #flash: BoardFlash | undefined;
  readonly #readOnly: boolean;

  constructor(flash: BoardFlash, readOnly: boolean) {
    this.#flash = flash;
    this.#readOnly = readOnly;
  }

  read(byteLength: number, byteOffset: number): ArrayBuffer;
  read(buffer: ByteBuffer, byteOffset: number): number;
  read(byteLengthOrBuffer: number | ByteBuffer, byteOffset: number): ArrayBuffer | number {
    const flash = this.#open();
    const wanted = typeof byteLengthOrBuffer === "number";
    const into = wanted ? new Uint8Array(byteLengthOrBuffer) : viewOf(byteLengthOrBuffer);
    flash.read(byteOffset, into);
    return wanted ? (into.buffer as ArrayBuffer) : into.length;
  }

  write(buffer: ByteBuffer, byteOffset: number): void {
    this.#writable().write(byteOffset, viewOf(buffer));
  }

  /** Erases the blocks from `start` up to but not including `end`; without `end` one block. */
  eraseBlock(start: number, end = start + 1): void {
    const flash = this.#writable();
    for (let block = start; block < end; block++) flash.erase(block);
  }

  status(): FlashStatus {
    const { sizeBytes, sectorBytes, writeUnitBytes } = this.#open();
    return {
      size: sizeBytes,
      blockLength: sectorBytes,
      blocks: sizeBytes / sectorBytes,
      writeAlign: writeUnitBytes,
      eraseValue: 0xff,
    };
  }

  close(): void {
    this.#flash = undefined;
  }

  get format(): string {
    return "buffer";
  }
  set format(value: string) {
    onlyFormat(value, "buffer");
  }

  #open(): BoardFlash {
    if (this.#flash === undefined) throw new Error("flash is closed");
    return this.#flash;
  }

  #writable(): BoardFlash {
    if (this.#readOnly) throw new Error("flash was opened read-only");
    return this.#open();
  }
}

/** Partition, offset, and the most that one write carries. */
const REQUEST_BYTES = 5 + WireLimit.flashWrite;

/**
 * One partition as the journal sees it. Each method is one frame above the wire's call: the journal's deepest is the
 * deepest of all that a device does.
 */
export class BoardFlash implements Flash {
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  readonly writeUnitBytes: number;
  readonly #wire: Wire;
  readonly #pageBytes: number;
  readonly #request = new Uint8Array(REQUEST_BYTES);

  /** Throws where there is no such partition. */
  constructor(port: WirePort, label: string) {
    const status = statusOf(port, label);
    this.#wire = port.wire;
    this.sizeBytes = status.sizeBytes;
    this.sectorBytes = status.sectorBytes;
    this.writeUnitBytes = status.writeUnitBytes;
    this.#pageBytes = status.pageBytes;
    this.#request[0] = status.partition;
  }

  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; done += WireLimit.flashRead) {
      const length = Math.min(into.length - done, WireLimit.flashRead);
      putU32(this.#request, 1, offset + done);
      putU16(this.#request, 5, length);
      const reply = new Uint8Array(this.#wire.call(Operation.flashRead, this.#request.subarray(0, 7)));
      if (reply[0] !== Status.ok) refuseFlash("read", offset + done, Operation.flashRead, reply);
      into.set(reply.subarray(1), done);
    }
  }

  /** Programs page by page: one call each. */
  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done;
      const length = Math.min(bytes.length - done, this.#pageBytes - (at % this.#pageBytes));
      putU32(this.#request, 1, at);
      this.#request.set(length === bytes.length ? bytes : bytes.subarray(done, done + length), 5);
      const reply = new Uint8Array(this.#wire.call(Operation.flashWrite, this.#request.subarray(0, 5 + length)));
      if (reply[0] !== Status.ok) refuseFlash("write", at, Operation.flashWrite, reply);
      done += length;
    }
  }

  erase(sector: number): void {
    putU32(this.#request, 1, sector);
    const reply = new Uint8Array(this.#wire.call(Operation.flashErase, this.#request.subarray(0, 5)));
    if (reply[0] !== Status.ok) refuseFlash("erase", sector * this.sectorBytes, Operation.flashErase, reply);
  }
}

/** A fault of the chip is a FlashError; anything else is a defect of the caller. */
function refuseFlash(what: "read" | "write" | "erase", offset: number, operation: number, reply: Uint8Array): never {
  if (reply[0] === Status.fault) throw new FlashError(what, offset, replyText(reply));
  refuse(operation, reply);
}

function statusOf(port: WirePort, label: string): FlashReply {
  try {
    return port.flashStatus(label);
  } catch (error) {
    if (error instanceof WireFault) throw new Error(`flash partition ${label}: ${error.detail}`);
    throw error;
  }
}
