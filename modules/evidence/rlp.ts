import { fail, ok, type Result } from "../codes/codes.js";

/**
 * RLP, the encoding of Ethereum's headers and trie nodes (Yellow Paper, appendix B), strict: every value has one
 * encoding and only that one is read. Otherwise two different byte strings could stand for one node.
 */
export type Rlp = Uint8Array | readonly Rlp[];

/** Lists inside one another; the outermost counts as one. A trie node that embeds nodes stays below. */
export const RLP_MAX_DEPTH = 8;
/** Items of one list: a header has about 21, a branch node 17. */
export const RLP_MAX_ITEMS = 64;

/** The one item that `bytes` encode, or ANCHOR_MALFORMED. Byte strings are views into `bytes`. */
export function decodeRlp(bytes: Uint8Array): Result<Rlp> {
  const reader = new RlpReader(bytes);
  const item = reader.item(bytes.length, 1);
  if (item === undefined) return fail("ANCHOR_MALFORMED", `RLP: ${reader.complaint} at byte ${reader.offset}`);
  if (reader.offset !== bytes.length) {
    return fail("ANCHOR_MALFORMED", `RLP: ${bytes.length - reader.offset} bytes after the item`);
  }
  return ok(item);
}

class RlpReader {
  offset = 0;
  complaint = "";

  constructor(private readonly bytes: Uint8Array) {}

  /** The item at `offset`, which must end at or before `end`. */
  item(end: number, depth: number): Rlp | undefined {
    if (this.offset >= end) return this.refuse("expected an item, found the end");
    const first = this.bytes[this.offset]!;
    if (first < 0x80) return this.bytes.subarray(this.offset, ++this.offset);
    const isList = first >= 0xc0;
    const length = this.length(first - (isList ? 0xc0 : 0x80), end);
    if (length === undefined) return undefined;
    if (isList) return this.list(this.offset + length, depth);
    const start = this.offset;
    if (length === 1 && this.bytes[start]! < 0x80) return this.refuse("a single byte below 0x80 stands for itself");
    this.offset += length;
    return this.bytes.subarray(start, this.offset);
  }

  /** The length of the content that a head announces; steps over the head. */
  private length(head: number, end: number): number | undefined {
    this.offset++;
    let length = head;
    if (head > 55) {
      const count = head - 55;
      if (count > 4) return this.refuse("a length of more than 4 bytes");
      if (this.offset + count > end) return this.refuse("the length is cut off");
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + this.bytes[this.offset + i]!;
      if (this.bytes[this.offset] === 0 || length <= 55) return this.refuse("a length longer than needed");
      this.offset += count;
    }
    if (this.offset + length > end) return this.refuse("the content is cut off");
    return length;
  }

  private list(end: number, depth: number): Rlp | undefined {
    if (depth >= RLP_MAX_DEPTH) return this.refuse(`more than ${RLP_MAX_DEPTH} lists inside one another`);
    const items: Rlp[] = [];
    while (this.offset < end) {
      if (items.length === RLP_MAX_ITEMS) return this.refuse(`more than ${RLP_MAX_ITEMS} items in a list`);
      const item = this.item(end, depth + 1);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  }

  private refuse(complaint: string): undefined {
    this.complaint = complaint;
    return undefined;
  }
}

/** A byte string of this item, or undefined where it is a list or has another length. */
export function rlpBytes(item: Rlp | undefined, length?: number): Uint8Array | undefined {
  if (!(item instanceof Uint8Array)) return undefined;
  return length === undefined || item.length === length ? item : undefined;
}

/** The scalar of this item (big-endian without leading zeros), up to 2⁵³−1; undefined where it is none. */
export function rlpNumber(item: Rlp | undefined): number | undefined {
  if (!(item instanceof Uint8Array) || item.length > 8 || item[0] === 0) return undefined;
  let value = 0;
  for (let i = 0; i < item.length; i++) value = value * 256 + item[i]!;
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}
