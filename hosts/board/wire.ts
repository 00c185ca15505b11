import { fromUtf8, utf8 } from "tallystick/bytes/bytes";

/** The board's end of the wire: every operation of WIRE.md as one method. Numbers, layouts and limits are WIRE.md's. */

/** What carries the calls: the engine's native function, a method of the world, a serial port. */
export interface Wire {
  /** One synchronous exchange: the reply, status first. `request` is read before it returns and may be used again. */
  call(operation: number, request: Uint8Array): ArrayBuffer;
}

export const Operation = {
  engineDate: 0x01,
  engineRandom: 0x02,
  print: 0x03,
  boot: 0x04,
  clock: 0x05,
  setClock: 0x06,
  wake: 0x07,
  entropy: 0x08,
  restart: 0x09,
  sleep: 0x0a,
  i2cTransfer: 0x10,
  analogRead: 0x18,
  digitalOpen: 0x1a,
  digitalRead: 0x1b,
  digitalWrite: 0x1c,
  digitalClose: 0x1d,
  flashStatus: 0x20,
  flashRead: 0x21,
  flashWrite: 0x22,
  flashErase: 0x23,
  flashList: 0x24,
  keyRead: 0x28,
  keyWrite: 0x29,
  keyDelete: 0x2a,
  keyList: 0x2b,
  fuseRead: 0x2c,
  fuseBurn: 0x2d,
  fuseHmac: 0x2e,
  requestOpen: 0x30,
  requestBody: 0x31,
  responseRead: 0x32,
  requestClose: 0x33,
} as const;

export const Status = {
  ok: 0,
  malformed: 1,
  unknown: 2,
  range: 3,
  absent: 4,
  fault: 5,
  noAcknowledge: 6,
  busy: 7,
  unavailable: 8,
} as const;

export const EventKind = { timer: 0x01, response: 0x02, edge: 0x03 } as const;

/** Offsets of the fields of a `response` event. */
export const WireResponse = { request: 1, outcome: 3, status: 4, length: 6, retryAfter: 10, detail: 14 } as const;
/** In place of seconds where the answer had no `Retry-After`. */
export const NO_RETRY_AFTER = 0xffffffff;

export const Outcome = { answered: 0, noRoute: 1, timedOut: 2, tooLong: 3 } as const;

/** ESP-IDF's esp_reset_reason_t, as far as a simulated board has them. */
export const ResetReason = { unknown: 0, powerOn: 1, software: 3, crash: 4, deepSleep: 8 } as const;

/** Bytes, unless the name says otherwise. */
export const WireLimit = {
  message: 4_128,
  line: 1_024,
  detail: 200,
  entropy: 256,
  i2c: 256,
  flashRead: 4_096,
  flashWrite: 256,
  name: 15,
  value: 4_000,
  hmac: 64,
  path: 512,
  chunk: 1_024,
  body: 65_536,
  requestsUnderWay: 4,
} as const;

/** A reply that is not `ok`, where the caller did not provide for it. */
export class WireFault extends Error {
  override name = "WireFault";
  constructor(
    readonly operation: number,
    readonly status: number,
    readonly detail: string,
  ) {
    super(`wire operation 0x${operation.toString(16)}, status ${status}: ${detail}`);
  }
}

export interface BootReply {
  readonly resetReason: number;
  readonly sha256: Uint8Array;
  readonly version: string;
  readonly chip: Uint8Array;
  readonly model: string;
}

export interface ClockReply {
  readonly uptimeMs: number;
  readonly state: number;
  readonly wallMs: number;
}

export interface FuseReply {
  /** How many bits there are, and which of them are burned, the lowest first. */
  readonly count: number;
  readonly bits: number;
}

export interface FlashReply {
  readonly partition: number;
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  readonly writeUnitBytes: number;
  readonly pageBytes: number;
}

/** Room for the largest request but a key's value, so that a call allocates no more than a view and its reply. */
const SCRATCH_BYTES = WireLimit.chunk + 16;
const NONE = new Uint8Array(0);

export class WirePort {
  readonly wire: Wire;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);

  constructor(wire: Wire) {
    this.wire = wire;
  }

  /** One line of the board's log, cut at 1,024 bytes. */
  print(line: string): void {
    let bytes = utf8(line);
    if (bytes.length > WireLimit.line) {
      let end: number = WireLimit.line;
      while ((bytes[end]! & 0xc0) === 0x80) end--;
      bytes = bytes.subarray(0, end);
    }
    this.#ask(Operation.print, bytes);
  }

  boot(): BootReply {
    const reply = this.#ask(Operation.boot, NONE);
    const versionEnd = 35 + reply[34]!;
    const chipEnd = versionEnd + 1 + reply[versionEnd]!;
    return {
      resetReason: reply[1]!,
      sha256: reply.slice(2, 34),
      version: text(reply, 35, versionEnd),
      chip: reply.slice(versionEnd + 1, chipEnd),
      model: text(reply, chipEnd, reply.length),
    };
  }

  clock(): ClockReply {
    const reply = this.#ask(Operation.clock, NONE);
    return { uptimeMs: u64(reply, 1), state: reply[9]!, wallMs: u64(reply, 10) };
  }

  setClock(wallMs: number, state: number): void {
    putU64(this.#scratch, 0, wallMs);
    this.#scratch[8] = state;
    this.#ask(Operation.setClock, this.#scratch.subarray(0, 9));
  }

  /** Uptime at which the `timer` event is wanted, in place of the one before; undefined: none. */
  wake(uptimeMs: number | undefined): void {
    if (uptimeMs === undefined) this.#scratch.fill(0xff, 0, 8);
    else putU64(this.#scratch, 0, uptimeMs);
    this.#ask(Operation.wake, this.#scratch.subarray(0, 8));
  }

  entropy(length: number): Uint8Array {
    putU16(this.#scratch, 0, length);
    return this.#ask(Operation.entropy, this.#scratch.subarray(0, 2)).slice(1);
  }

  /** Does not return: the world ends this start. */
  restart(): never {
    this.#ask(Operation.restart, NONE);
    throw new Error("the world answered a restart");
  }

  /** Does not return: the world ends this start and makes the next after `durationMs`. */
  sleep(durationMs: number): never {
    putU64(this.#scratch, 0, durationMs);
    this.#ask(Operation.sleep, this.#scratch.subarray(0, 8));
    throw new Error("the world answered a sleep");
  }

  /**
   * Writes, then reads with a repeated start where both have a length; undefined where nothing acknowledged.
   * The result is a view into the reply.
   */
  i2cTransfer(
    bus: number,
    address: number,
    write: Uint8Array,
    readLength: number,
    stop: boolean,
  ): Uint8Array | undefined {
    within("I2C write", write.length, 0, WireLimit.i2c);
    within("I2C read", readLength, 0, WireLimit.i2c);
    const request = this.#scratch;
    request[0] = bus;
    request[1] = address;
    request[2] = stop ? 1 : 0;
    putU16(request, 3, readLength);
    request.set(write, 5);
    const reply = new Uint8Array(this.wire.call(Operation.i2cTransfer, request.subarray(0, 5 + write.length)));
    if (reply[0] === Status.noAcknowledge) return undefined;
    if (reply[0] !== Status.ok) refuse(Operation.i2cTransfer, reply);
    return reply.subarray(1);
  }

  analogRead(pin: number): { readonly resolution: number; readonly value: number } {
    this.#scratch[0] = pin;
    const reply = this.#ask(Operation.analogRead, this.#scratch.subarray(0, 1));
    return { resolution: reply[1]!, value: u16(reply, 2) };
  }

  digitalOpen(pin: number, mode: number, edges: number): void {
    this.#scratch[0] = pin;
    this.#scratch[1] = mode;
    this.#scratch[2] = edges;
    this.#ask(Operation.digitalOpen, this.#scratch.subarray(0, 3));
  }

  digitalRead(pin: number): 0 | 1 {
    this.#scratch[0] = pin;
    return this.#ask(Operation.digitalRead, this.#scratch.subarray(0, 1))[1] === 1 ? 1 : 0;
  }

  digitalWrite(pin: number, level: 0 | 1): void {
    this.#scratch[0] = pin;
    this.#scratch[1] = level;
    this.#ask(Operation.digitalWrite, this.#scratch.subarray(0, 2));
  }

  digitalClose(pin: number): void {
    this.#scratch[0] = pin;
    this.#ask(Operation.digitalClose, this.#scratch.subarray(0, 1));
  }

  flashStatus(label: string): FlashReply {
    const reply = this.#ask(Operation.flashStatus, utf8(label));
    return {
      partition: reply[1]!,
      sizeBytes: u32(reply, 2),
      sectorBytes: u32(reply, 6),
      writeUnitBytes: u16(reply, 10),
      pageBytes: u16(reply, 12),
    };
  }

  /** Labels of all partitions. */
  flashList(): string[] {
    return names(this.#ask(Operation.flashList, NONE));
  }

  keyRead(domain: string, name: string): Uint8Array | undefined {
    const reply = new Uint8Array(this.wire.call(Operation.keyRead, this.#key(domain, name)));
    if (reply[0] === Status.absent) return undefined;
    if (reply[0] !== Status.ok) refuse(Operation.keyRead, reply);
    return reply.slice(1);
  }

  keyWrite(domain: string, name: string, value: Uint8Array): void {
    within("key value", value.length, 0, WireLimit.value);
    const request = new Uint8Array(2 + domain.length + name.length + value.length);
    const valueAt = putName(request, putName(request, 0, domain), name);
    request.set(value, valueAt);
    this.#ask(Operation.keyWrite, request);
  }

  keyDelete(domain: string, name: string): void {
    this.#ask(Operation.keyDelete, this.#key(domain, name));
  }

  keyList(domain: string): string[] {
    return names(this.#ask(Operation.keyList, utf8(domain)));
  }

  /** The bits that count the chip's keys; undefined where its fuses hold no key. */
  fuseRead(): FuseReply | undefined {
    const reply = new Uint8Array(this.wire.call(Operation.fuseRead, NONE));
    if (reply[0] === Status.unavailable) return undefined;
    if (reply[0] !== Status.ok) refuse(Operation.fuseRead, reply);
    return { count: reply[1]!, bits: u32(reply, 2) };
  }

  fuseBurn(bit: number): void {
    this.#scratch[0] = bit;
    this.#ask(Operation.fuseBurn, this.#scratch.subarray(0, 1));
  }

  fuseHmac(message: Uint8Array): Uint8Array {
    within("HMAC message", message.length, 1, WireLimit.hmac);
    return this.#ask(Operation.fuseHmac, message).slice(1);
  }

  /** The new request's number; undefined where as many are under way as there may be, or there is no network. */
  requestOpen(method: 0 | 1, path: string, bodyLength: number, maxResponseBytes: number): number | undefined {
    const pathBytes = utf8(path);
    within("path", pathBytes.length, 1, WireLimit.path);
    const request = this.#scratch;
    request[0] = method;
    putU32(request, 1, maxResponseBytes);
    putU32(request, 5, bodyLength);
    request.set(pathBytes, 9);
    const reply = new Uint8Array(this.wire.call(Operation.requestOpen, request.subarray(0, 9 + pathBytes.length)));
    if (reply[0] === Status.busy || reply[0] === Status.unavailable) return undefined;
    if (reply[0] !== Status.ok) refuse(Operation.requestOpen, reply);
    return u16(reply, 1);
  }

  /** Hands over the whole body; with its last byte the request is sent. */
  requestBody(request: number, body: Uint8Array): void {
    for (let done = 0; done < body.length; ) {
      const length = Math.min(body.length - done, WireLimit.chunk);
      putU16(this.#scratch, 0, request);
      this.#scratch.set(body.subarray(done, done + length), 2);
      this.#ask(Operation.requestBody, this.#scratch.subarray(0, 2 + length));
      done += length;
    }
  }

  /** Fills `into` with the response's body from its start. */
  responseRead(request: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const length = Math.min(into.length - done, WireLimit.chunk);
      putU16(this.#scratch, 0, request);
      putU32(this.#scratch, 2, done);
      putU16(this.#scratch, 6, length);
      into.set(this.#ask(Operation.responseRead, this.#scratch.subarray(0, 8)).subarray(1), done);
      done += length;
    }
  }

  requestClose(request: number): void {
    putU16(this.#scratch, 0, request);
    this.#ask(Operation.requestClose, this.#scratch.subarray(0, 2));
  }

  #key(domain: string, name: string): Uint8Array {
    const end = putName(this.#scratch, 0, domain);
    for (let i = 0; i < name.length; i++) this.#scratch[end + i] = name.charCodeAt(i);
    return this.#scratch.subarray(0, end + name.length);
  }

  /** The reply of an operation that must be `ok`. Every frame here lies on top of the deepest of the application's. */
  #ask(operation: number, request: Uint8Array): Uint8Array {
    const reply = new Uint8Array(this.wire.call(operation, request));
    if (reply[0] !== Status.ok) refuse(operation, reply);
    return reply;
  }
}

/** Throws what a reply that is not `ok` says. */
export function refuse(operation: number, reply: Uint8Array): never {
  if (reply.length === 0) throw new WireFault(operation, Status.malformed, "an empty reply");
  throw new WireFault(operation, reply[0]!, replyText(reply));
}

// None of these calls another: each frame would lie on top of the deepest of the application's.

export function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function u64(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at + 7; i >= at; i--) value = value * 256 + bytes[i]!;
  return value;
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function putU64(bytes: Uint8Array, at: number, value: number): void {
  for (let i = at; i < at + 8; i++) {
    bytes[i] = value % 256;
    value = Math.floor(value / 256);
  }
}

/** 1 to 15 printable ASCII characters. */
export function isName(name: string): boolean {
  if (name.length === 0 || name.length > WireLimit.name) return false;
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) < 0x20 || name.charCodeAt(i) > 0x7e) return false;
  return true;
}

/** Length, then characters; returns where the next field starts. */
function putName(bytes: Uint8Array, at: number, name: string): number {
  bytes[at] = name.length;
  for (let i = 0; i < name.length; i++) bytes[at + 1 + i] = name.charCodeAt(i);
  return at + 1 + name.length;
}

/** The text behind the status of a reply that is not `ok`. */
export function replyText(reply: Uint8Array): string {
  return text(reply, 1, reply.length);
}

function names(reply: Uint8Array): string[] {
  const all: string[] = [];
  for (let at = 1; at < reply.length; at += 1 + reply[at]!) all.push(text(reply, at + 1, at + 1 + reply[at]!));
  return all;
}

function text(bytes: Uint8Array, start: number, end: number): string {
  return fromUtf8(bytes.subarray(start, end)) ?? "?";
}

function within(what: string, value: number, least: number, most: number): void {
  if (value < least || value > most) throw new RangeError(`${what}: expected ${least} to ${most}, got ${value}`);
}
