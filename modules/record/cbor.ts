import { compareBytes, fromUtf8, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";

/**
 * Deterministic CBOR (RFC 8949 §4.2.1), narrowed to what the formats here use: definite lengths, map keys that are
 * integers or text, no simple value but false, true and null. One value has one encoding, in both directions:
 * integral numbers are integers, others the shortest float that keeps them, and the reader refuses what the writer
 * would not have written. So equal content has equal bytes, and a hash over them means the content.
 */
export type Cbor = number | string | boolean | null | Uint8Array | readonly Cbor[] | CborMap | Tagged;
export type CborMap = ReadonlyMap<number | string, Cbor>;

/** A tagged value (RFC 8949 §3.4). */
export class Tagged {
  constructor(
    readonly tag: number,
    readonly value: Cbor,
  ) {}
}

export interface CborLimits {
  /** Arrays, maps and tags inside one another; the outermost counts as one. */
  readonly depth: number;
}

/** Enough for every record: the SenML pack is an array of maps, the gap record nests one deeper. */
export const RECORD_CBOR_LIMITS: CborLimits = { depth: 4 };

/**
 * The deterministic encoding. Throws where `value` has none: NaN, infinities, integers beyond ±(2⁵³−1). It keeps a list
 * of what is left to write in place of calling itself: a board's JavaScript stack has a few hundred slots in all.
 */
export function encodeCbor(value: Cbor): Uint8Array {
  const sink = new ByteSink();
  const left: (Cbor | EncodedKey)[] = [value];
  while (left.length > 0) {
    const item = left.pop()!;
    if (typeof item === "number") sink.add(encodeNumber(item));
    else if (typeof item === "string") addText(sink, item);
    else if (item === null) sink.add(Uint8Array.of(0xf6));
    else if (typeof item === "boolean") sink.add(Uint8Array.of(item ? 0xf5 : 0xf4));
    else if (item instanceof EncodedKey) sink.add(item.bytes);
    else if (item instanceof Uint8Array) {
      sink.add(encodeHead(2, item.length));
      sink.add(item);
    } else if (item instanceof Tagged) {
      sink.add(encodeHead(6, item.tag));
      left.push(item.value);
    } else if (Array.isArray(item)) {
      sink.add(encodeHead(4, item.length));
      for (let i = item.length - 1; i >= 0; i--) left.push(item[i]);
    } else {
      const map = item as CborMap;
      sink.add(encodeHead(5, map.size));
      const sorted = sortedKeys(map);
      for (let i = sorted.length - 1; i >= 0; i--) left.push(map.get(sorted[i]!.key)!, sorted[i]!);
    }
  }
  return sink.bytes();
}

/** A map's key with its bytes, by which keys are sorted. */
class EncodedKey {
  readonly bytes: Uint8Array;
  constructor(readonly key: number | string) {
    if (typeof key === "number") this.bytes = encodeNumber(key);
    else {
      const sink = new ByteSink();
      addText(sink, key);
      this.bytes = sink.bytes();
    }
  }
}

/** By insertion: maps are small, and most are made in order. */
function sortedKeys(map: CborMap): EncodedKey[] {
  const sorted: EncodedKey[] = [];
  for (const key of map.keys()) {
    const encoded = new EncodedKey(key);
    let at = sorted.length;
    while (at > 0 && compareBytes(sorted[at - 1]!.bytes, encoded.bytes) > 0) {
      sorted[at] = sorted[at - 1]!;
      at--;
    }
    sorted[at] = encoded;
  }
  return sorted;
}

function addText(sink: ByteSink, text: string): void {
  const bytes = utf8(text);
  sink.add(encodeHead(3, bytes.length));
  sink.add(bytes);
}

/** Bytes as they come, in a buffer that doubles. */
class ByteSink {
  #buffer = new Uint8Array(128);
  #length = 0;

  add(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = needed;
  }

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }
}

/** A major type (0–7) with its argument in the shortest form. */
export function encodeHead(major: number, argument: number): Uint8Array {
  const first = major << 5;
  if (argument < 24) return Uint8Array.of(first | argument);
  if (argument < 0x100) return Uint8Array.of(first | 24, argument);
  if (argument < 0x10000) return Uint8Array.of(first | 25, argument >> 8, argument & 0xff);
  const bytes = new Uint8Array(argument < 0x100000000 ? 5 : 9);
  const view = new DataView(bytes.buffer);
  if (bytes.length === 5) {
    bytes[0] = first | 26;
    view.setUint32(1, argument);
  } else {
    if (argument > Number.MAX_SAFE_INTEGER) throw new RangeError(`CBOR argument ${argument} is beyond 2^53-1`);
    bytes[0] = first | 27;
    view.setUint32(1, Math.floor(argument / 0x100000000));
    view.setUint32(5, argument % 0x100000000);
  }
  return bytes;
}

function encodeNumber(value: number): Uint8Array {
  if (Number.isInteger(value)) {
    if (!Number.isSafeInteger(value)) throw new RangeError(`integer ${value} is beyond 2^53-1`);
    return value >= 0 ? encodeHead(0, value) : encodeHead(1, -1 - value);
  }
  if (!Number.isFinite(value)) throw new RangeError(`${value} has no encoding: a reading that is no number is a fault`);
  const half = halfBits(value);
  if (half !== undefined) return Uint8Array.of(0xf9, half >> 8, half & 0xff);
  const single = Math.fround(value) === value;
  const bytes = new Uint8Array(single ? 5 : 9);
  const view = new DataView(bytes.buffer);
  bytes[0] = single ? 0xfa : 0xfb;
  if (single) view.setFloat32(1, value);
  else view.setFloat64(1, value);
  return bytes;
}

/** The IEEE 754 binary16 bits of a value that has them exactly; undefined where it has not. */
function halfBits(value: number): number | undefined {
  const sign = value < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  const subnormal = magnitude * 0x1000000;
  if (subnormal < 0x400) return Number.isInteger(subnormal) ? sign | subnormal : undefined;
  if (magnitude >= 65536) return undefined;
  let exponent = 15;
  let fraction = magnitude;
  while (fraction >= 2) {
    fraction /= 2;
    exponent++;
  }
  while (fraction < 1) {
    fraction *= 2;
    exponent--;
  }
  const mantissa = (fraction - 1) * 0x400;
  return Number.isInteger(mantissa) ? sign | (exponent << 10) | mantissa : undefined;
}

function halfValue(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  const magnitude =
    exponent === 0 ? mantissa * 2 ** -24 : exponent === 31 ? Number.NaN : (1 + mantissa / 0x400) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/** Exactly one strict item and nothing after it; CBOR_INVALID names the offset otherwise. */
export function decodeCbor(bytes: Uint8Array, limits: CborLimits = RECORD_CBOR_LIMITS): Result<Cbor> {
  const reader = new CborReader(bytes, limits);
  const item = reader.item();
  if (item.ok && reader.offset !== bytes.length)
    return fail("CBOR_INVALID", `expected the end at byte ${reader.offset}, ${bytes.length - reader.offset} more came`);
  return item;
}

/** A head as read: major type and argument. */
export interface CborHead {
  readonly major: number;
  readonly argument: number;
}

/** Reads strict items one after the other from a byte string. After a failure it stays where it failed. */
export class CborReader {
  offset = 0;
  // What the private readers have read: a relay reads some hundred thousand heads a second, and would throw them all away.
  #major = 0;
  #argument = 0;
  #value: Cbor | Container = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly limits: CborLimits = RECORD_CBOR_LIMITS,
  ) {}

  get atEnd(): boolean {
    return this.offset >= this.bytes.length;
  }

  /** The next head with its argument in the shortest form. Floats and simple values have no use for it. */
  head(): Result<CborHead> {
    return this.#readHead() ?? ok({ major: this.#major, argument: this.#argument });
  }

  #readHead(): Result<never> | undefined {
    const start = this.offset;
    if (this.atEnd) return this.#invalid("an item", "the end");
    const first = this.bytes[this.offset++]!;
    this.#major = first >> 5;
    this.#argument = first & 31;
    if (this.#argument < 24) return undefined;
    if (this.#argument > 27) return this.#invalid("a definite length", `byte ${first}`);
    const size = 1 << (this.#argument - 24);
    if (this.bytes.length - this.offset < size) return this.#invalid(`${size} bytes of argument`, "the end");
    let argument = 0;
    for (let i = 0; i < size; i++) argument = argument * 256 + this.bytes[this.offset++]!;
    const least = size === 1 ? 24 : size === 2 ? 0x100 : size === 4 ? 0x10000 : 0x100000000;
    if (argument < least || argument > Number.MAX_SAFE_INTEGER) {
      this.offset = start;
      return this.#invalid("an argument in its shortest form, at most 2^53-1", `${argument} in ${size} bytes`);
    }
    this.#argument = argument;
    return undefined;
  }

  /** The next byte string, as a view into the input. */
  byteString(): Result<Uint8Array> {
    const wrong = this.#readHead();
    if (wrong) return wrong;
    if (this.#major !== 2) return this.#invalid("a byte string", `major type ${this.#major}`);
    return this.#take(this.#argument);
  }

  /** The next item, whole. Containers that are not complete are kept in a list, not on the JavaScript stack. */
  item(): Result<Cbor> {
    const open: Container[] = [];
    for (;;) {
      const start = this.offset;
      const wrong = this.#scalarOrContainer(open.length);
      if (wrong) return wrong;
      let value = this.#value;
      if (value instanceof Container) {
        if (value.left > 0) {
          open.push(value);
          continue;
        }
        value = value.content();
      }
      for (;;) {
        const around = open[open.length - 1];
        if (around === undefined) return ok(value);
        const misfit = around.add(value, this.bytes, start, this.offset);
        if (misfit) return this.#invalid(misfit, "something else");
        if (around.left > 0) break;
        open.pop();
        value = around.content();
      }
    }
  }

  #scalarOrContainer(depth: number): Result<never> | undefined {
    if (!this.atEnd && this.bytes[this.offset]! >= 0xe0) return this.#simpleOrFloat();
    const wrong = this.#readHead();
    if (wrong) return wrong;
    const argument = this.#argument;
    switch (this.#major) {
      case 0:
        this.#value = argument;
        return undefined;
      case 1:
        if (argument >= Number.MAX_SAFE_INTEGER) return this.#invalid("an integer above -2^53", "a lower one");
        this.#value = -1 - argument;
        return undefined;
      case 2: {
        const raw = this.#take(argument);
        if (!raw.ok) return raw;
        this.#value = raw.value;
        return undefined;
      }
      case 3: {
        const raw = this.#take(argument);
        if (!raw.ok) return raw;
        const text = fromUtf8(raw.value);
        if (text === undefined) return this.#invalid("valid UTF-8", "other bytes");
        this.#value = text;
        return undefined;
      }
      default: {
        const major = this.#major;
        // Each element takes at least a byte, so a count above what is left is refused before anything is allocated.
        if (major !== 6 && argument * (major - 3) > this.bytes.length - this.offset)
          return this.#invalid(`${argument} elements`, `${this.bytes.length - this.offset} bytes`);
        if (depth >= this.limits.depth) return this.#invalid(`at most ${this.limits.depth} levels`, "one more");
        this.#value = new Container(major, argument);
        return undefined;
      }
    }
  }

  #take(length: number): Result<Uint8Array> {
    if (length > this.bytes.length - this.offset)
      return this.#invalid(`${length} bytes`, `${this.bytes.length - this.offset}`);
    this.offset += length;
    return ok(this.bytes.subarray(this.offset - length, this.offset));
  }

  #simpleOrFloat(): Result<never> | undefined {
    const first = this.bytes[this.offset++]!;
    if (first >= 0xf4 && first <= 0xf6) {
      this.#value = first === 0xf6 ? null : first === 0xf5;
      return undefined;
    }
    const size = first === 0xf9 ? 2 : first === 0xfa ? 4 : first === 0xfb ? 8 : 0;
    if (size === 0) return this.#invalid("false, true, null or a float", `byte ${first}`);
    const start = this.offset;
    const raw = this.#take(size);
    if (!raw.ok) return raw;
    const view = new DataView(raw.value.buffer, raw.value.byteOffset, size);
    const value = size === 2 ? halfValue(view.getUint16(0)) : size === 4 ? view.getFloat32(0) : view.getFloat64(0);
    // Only a number that must be a float, in the fewest bytes that keep it, has this encoding.
    if (!Number.isFinite(value) || Number.isInteger(value) || encodeNumber(value).length !== size + 1) {
      this.offset = start;
      return this.#invalid("a finite, non-integral number in its shortest float", `${value} in ${size} bytes`);
    }
    this.#value = value;
    return undefined;
  }

  #invalid(expected: string, received: string): Result<never> {
    return fail("CBOR_INVALID", `byte ${this.offset}: expected ${expected}, received ${received}`);
  }
}

/** An array, map or tag whose elements are being read. */
class Container {
  /** Elements that are still to come; a map has two an entry. */
  left: number;
  readonly #items: Cbor[] | undefined;
  readonly #map: Map<number | string, Cbor> | undefined;
  #key: number | string = 0;
  /** Where the last key stands. */
  #keyStart = -1;
  #keyEnd = -1;

  constructor(
    private readonly major: number,
    private readonly argument: number,
  ) {
    this.left = major === 6 ? 1 : argument * (major - 3);
    if (major === 5) this.#map = new Map();
    else this.#items = [];
  }

  /**
   * Takes the next element; it stands from `start` to `end` of `bytes` where it is no container. Says what was expected where
   * it does not fit.
   */
  add(value: Cbor, bytes: Uint8Array, start: number, end: number): string | undefined {
    this.left--;
    if (this.#items) this.#items.push(value);
    else if (this.left % 2 === 0) this.#map!.set(this.#key, value);
    else {
      if (typeof value !== "string" && !Number.isInteger(value)) return "a key that is an integer or text";
      if (this.#keyStart >= 0 && !isBefore(bytes, this.#keyStart, this.#keyEnd, start, end))
        return "keys sorted and each once";
      this.#key = value as number | string;
      this.#keyStart = start;
      this.#keyEnd = end;
    }
    return undefined;
  }

  content(): Cbor {
    if (this.#map) return this.#map;
    return this.major === 6 ? new Tagged(this.argument, this.#items![0]!) : this.#items!;
  }
}

/** Whether one part of `bytes` sorts before another, bytewise, a prefix before what it starts. */
function isBefore(bytes: Uint8Array, start: number, end: number, otherStart: number, otherEnd: number): boolean {
  const shared = Math.min(end - start, otherEnd - otherStart);
  for (let i = 0; i < shared; i++) {
    const difference = bytes[start + i]! - bytes[otherStart + i]!;
    if (difference !== 0) return difference < 0;
  }
  return end - start < otherEnd - otherStart;
}
