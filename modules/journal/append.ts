import { fail, ok, type Result } from "../codes/codes.js";
import { type RecordHeader, SIGNATURE_BYTES } from "../record/record.js";
import {
  crcOf,
  encodeFrame,
  encodeReleased,
  FrameType,
  frameBytes,
  linkOf,
  type Released,
  signatureOffset,
} from "./frame.js";
import {
  BAD_SECTORS_MAX,
  GAP_MARGIN_SECTORS,
  ORDINAL_MAX,
  POSITION_BODY_BYTES,
  RECORDS_OFFSET,
  RESERVED_SECTORS,
  SECTOR_HEADER_BYTES,
} from "./layout.js";
import type { SectorRange } from "./reader.js";
import type { Ring } from "./ring.js";
import { encodeSectorHeader, type SectorHeader, TAIL_ID_BYTES } from "./sector.js";

/** The newest record, and where its bytes are. */
export interface Tail {
  readonly ordinal: number;
  readonly offset: number;
  readonly bodyBytes: number;
  readonly id: Uint8Array;
  /** Of its frame: the record before it in the journal. */
  readonly link: number;
  readonly header: RecordHeader;
}

/** A record's signature, and the id that it has with it. */
export interface Signed {
  readonly signature: Uint8Array;
  readonly id: Uint8Array;
}

/** A record that is given fresh cells: what a recovery found without its signature, or the tail. */
export interface Carried {
  readonly body: Uint8Array;
  readonly seq: number;
  readonly prev: Uint8Array;
  /** It begins a chain behind the tail's. */
  readonly newChain: boolean;
  /** Of its frame. */
  readonly link: number;
  /** Called once the body reads back: only what is durable is signed. */
  readonly sign: () => Result<Signed>;
}

/** How a record that does not follow the tail begins: always in a sector of its own. */
export interface ChainStart {
  readonly firstSeq: number;
  readonly newChain: boolean;
}

/** Where a frame was appended. */
export interface Placed {
  readonly ordinal: number;
  readonly offset: number;
}

/** What mount found out about the sector that is appended to. */
export interface AppendState {
  readonly head: number;
  /**
   * Highest ordinal that a header has: above the head where openings were not finished. The next opening is not below it,
   * for such a header may count again at a later start.
   */
  readonly last: number;
  readonly chain: number;
  readonly end: number;
  /** Appending at `end` can be tried. */
  readonly usable: boolean;
  readonly durable: Released;
  readonly tail: Tail | undefined;
  /** Nothing in the sector stands or may have been signed, and nothing is said in it alone: it may be opened again. */
  readonly disposable: boolean;
}

/**
 * The only writer of the partition after formatting. It knows the sector that is open, appends whole frames to it, opens
 * the next one where its former content is released, and never touches a cell that an earlier start may have touched.
 */
export class Appender {
  head: number;
  /** Ordinal of the sector that the tail's chain began in. */
  chain: number;
  tail: Tail | undefined;
  /** Released by what the flash holds. */
  durable: Released;
  /** Released by what was acknowledged in this start; durable when the next sector is opened. */
  released: Released;
  #last: number;
  #end: number;
  #usable: boolean;
  #disposable: boolean;
  /** This start opened the sector, or spent the slot where an earlier one may have begun to write. */
  #fresh = false;
  #spare: number | undefined;
  readonly #ring: Ring;

  constructor(ring: Ring, state: AppendState) {
    this.#ring = ring;
    this.head = state.head;
    this.#last = state.last;
    this.chain = state.chain;
    this.tail = state.tail;
    this.durable = state.durable;
    this.released = state.durable;
    this.#end = state.end;
    this.#usable = state.usable;
    this.#disposable = state.disposable;
  }

  /** Sectors that can be opened, counted up to one more than what a gap is made for. */
  get spare(): number {
    if (this.#spare === undefined) {
      // One whose opening was not finished is erased already.
      let count = this.#last > this.head ? 1 : 0;
      const enough = RESERVED_SECTORS + GAP_MARGIN_SECTORS + 1;
      for (let next = this.#last + 1; count < enough && this.#isFree(next, this.released); next++) count++;
      this.#spare = count;
    }
    return this.#spare;
  }

  /** The oldest sector that no opening can have begun to erase. */
  get oldest(): number {
    const { sectors } = this.#ring.geometry;
    return Math.max(sectors, this.#last + (this.spare > 0 ? 2 : 1) - sectors);
  }

  /** The sectors that hold the tail's chain, without one that an opening may have begun to erase. */
  get range(): SectorRange {
    const { chain, oldest } = this;
    return { oldest: Math.max(chain, oldest), head: this.tail?.ordinal ?? this.head, chain };
  }

  /** Whether a record of `bodyBytes` can be appended and still leave the reserve as it is. */
  hasRoomFor(bodyBytes: number): boolean {
    const opens = this.opensFor(bodyBytes);
    return this.spare >= RESERVED_SECTORS + opens;
  }

  /** Sectors that a record of `bodyBytes` would open. */
  opensFor(bodyBytes: number): number {
    return this.#disposable || this.#fits(frameBytes(this.#ring.geometry, FrameType.record, bodyBytes)) ? 0 : 1;
  }

  /** The newest sector, once `count` more were opened. */
  newestAfter(count: number): number {
    return Math.max(this.#last, this.head + count);
  }

  /** Takes a higher released position. Where the reserve was used up it is made durable at once: else nothing could be opened. */
  release(released: Released): void {
    this.released = released;
    this.#spare = undefined;
    if (this.#isFree(this.#last + 1, this.durable) && this.#isFree(this.#last + 2, this.durable)) return;
    this.#keepRelease();
  }

  /** Makes the released position durable, where the open sector has room for it: said twice, as a verdict is. */
  #keepRelease(): void {
    const size = frameBytes(this.#ring.geometry, FrameType.position, POSITION_BODY_BYTES);
    if (!this.#fits(2 * size) || !this.#spend()) return;
    const body = encodeReleased(this.released);
    const link = linkOf(this.tail?.id);
    for (let n = 0; n < 2; n++) if (this.#write(FrameType.position, link, body) === undefined) return;
    this.durable = this.released;
  }

  /**
   * Appends a frame and reads it back. With `start` it goes into a sector of its own. A sector is opened only where `left`
   * more stay free behind it. undefined where nothing was written: the next sector has to carry the tail first.
   * JOURNAL_FULL, or JOURNAL_FLASH_FAILED: then what was written is void.
   */
  append(
    type: FrameType,
    link: number,
    body: Uint8Array,
    left: number,
    start?: ChainStart,
  ): Result<Placed | undefined> {
    const { geometry } = this.#ring;
    const size = frameBytes(geometry, type, body.length);
    let opened = start === undefined || this.#isBegun(start);
    for (let attempt = 0; attempt <= 2 * BAD_SECTORS_MAX; attempt++) {
      if (!opened || !this.#fits(size) || !this.#spend()) {
        const next = this.#open(start, left);
        if (!next.ok) return next;
        if (!next.value) return ok(undefined);
        opened = true;
        if (!this.#fits(size)) continue;
      }
      const offset = this.#write(type, link, body);
      if (offset !== undefined) return ok({ ordinal: this.head, offset });
    }
    return fail("JOURNAL_FLASH_FAILED", `no frame of ${size} bytes could be written and read back`);
  }

  /** What the open sector holds is nothing that has to stay. */
  get isDisposable(): boolean {
    return this.#disposable;
  }

  /** Erases a disposable sector, and all that is open in it; it begins as it did. False where it has to carry the tail. */
  reopen(): Result<boolean> {
    const header = this.#ring.header(this.head);
    const begins = header !== undefined && header.chain === this.head && !header.carries;
    return this.#open(begins ? { firstSeq: header.firstSeq, newChain: true } : undefined, 0);
  }

  /** The open sector was opened for this chain, and a cut has left nothing of it there: the next try goes on behind. */
  #isBegun({ firstSeq, newChain }: ChainStart): boolean {
    if (!newChain || (this.tail !== undefined && this.tail.ordinal >= this.head)) return false;
    const header = this.#ring.header(this.head);
    return header?.chain === this.head && header.firstSeq === firstSeq;
  }

  /**
   * Says twice that all behind the tail is void: the second frame proves that the cells of the first were driven. False
   * where the next sector has to carry the tail: that says it.
   */
  appendVerdict(): Result<boolean> {
    // Both in one sector: only right behind the first does the second prove it.
    const opened = this.#fits(2 * this.#ring.geometry.slotBytes) ? ok(true) : this.#open(undefined, 0);
    if (!opened.ok || !opened.value) return opened;
    for (let n = 0; n < 2; n++) {
      const written = this.append(FrameType.void, linkOf(this.tail?.id), new Uint8Array(0), 0);
      if (!written.ok) return written;
      if (written.value === undefined) return ok(false);
    }
    return ok(true);
  }

  /** Programs the signature of a record that was appended, and reads it back. */
  sign(place: Placed, bodyBytes: number, signature: Uint8Array): boolean {
    if (signature.length !== SIGNATURE_BYTES)
      throw new RangeError(`signature: expected 64 bytes, got ${signature.length}`);
    const at = this.#ring.at(place.ordinal) + place.offset + signatureOffset(this.#ring.geometry, bodyBytes);
    if (this.#ring.program(at, signature)) return true;
    this.#usable = false;
    return false;
  }

  /**
   * Gives a record fresh cells: as any other where the open sector has room for it. Otherwise the next sector begins with
   * it, and is erased again until its opening was finished: a loop of cuts takes one sector, and no more.
   */
  appendAgain(record: Carried): Result<Placed & Signed> {
    const { body, link } = record;
    if (!this.#fits(frameBytes(this.#ring.geometry, FrameType.record, body.length)) || !this.#spend())
      return this.#openCarrying(record);
    const offset = this.#write(FrameType.record, link, body);
    if (offset === undefined) return this.#openCarrying(record);
    const signed = record.sign();
    if (!signed.ok) return signed;
    const place = { ordinal: this.head, offset };
    return this.sign(place, body.length, signed.value.signature)
      ? ok({ ...place, ...signed.value })
      : this.#openCarrying(record);
  }

  /** Writes one frame into the open sector: its offset, or undefined where it does not read back. */
  #write(type: FrameType, link: number, body: Uint8Array): number | undefined {
    const { geometry } = this.#ring;
    const offset = this.#end;
    const bytes = encodeFrame(geometry, { ordinal: this.head, offset }, type, link, body);
    // The header stands before anything behind it is touched: a torn header has no body, and a legible one tells how
    // far the cells may have been driven.
    if (!this.#ring.program(this.#ring.at(this.head) + offset, bytes, geometry.slotBytes)) {
      this.#usable = false;
      return undefined;
    }
    this.#end += frameBytes(geometry, type, body.length);
    if (type !== FrameType.position) this.#disposable = false;
    return offset;
  }

  /** Whether `size` bytes go into the open sector, the slot that a new start spends included. */
  #fits(size: number): boolean {
    const { geometry } = this.#ring;
    return this.#usable && this.#end + (this.#fresh ? 0 : geometry.slotBytes) + size <= geometry.sectorBytes;
  }

  /**
   * The cells right behind the last legible frame may have been touched by a start that was cut, without a trace that can
   * be read. The first append of a start writes zeros over them and goes on behind: on plain flash that can be repeated
   * without harm; an encrypted unit that was touched refuses or reads back as something else, and the sector is closed.
   */
  #spend(): boolean {
    if (this.#fresh) return true;
    const zeros = new Uint8Array(this.#ring.geometry.slotBytes);
    if (!this.#ring.program(this.#ring.at(this.head) + this.#end, zeros)) {
      this.#usable = false;
      return false;
    }
    this.#end += zeros.length;
    this.#fresh = true;
    return true;
  }

  #isFree(ordinal: number, released: Released): boolean {
    const former = ordinal - this.#ring.geometry.sectors;
    return this.#ring.isCovered(former, released, this.head);
  }

  /** Opens the next sector; passes over at most BAD_SECTORS_MAX that fail. False where it has to carry the tail. */
  #open(start: ChainStart | undefined, left: number): Result<boolean> {
    const { tail } = this;
    const next = this.#next(left);
    if (!next.ok) return next;
    // What may come to nothing leaves the tail where it is: it stays within the two newest sectors, or sectors that hold
    // nothing but voids could never be released.
    if (start === undefined && tail !== undefined && tail.ordinal < next.value - 1) return ok(false);
    for (let ordinal = next.value; ordinal <= next.value + BAD_SECTORS_MAX; ordinal++) {
      if (ordinal > next.value && !this.#isFree(ordinal, this.released)) break;
      const chain = start?.newChain ? ordinal : this.chain;
      const firstSeq = start ? start.firstSeq : tail ? tail.header.seq + 1 : 0;
      const tailId = tail ? tail.id.slice(0, TAIL_ID_BYTES) : new Uint8Array(TAIL_ID_BYTES);
      if (
        !this.#begin({ carries: false, ordinal, chain, firstSeq, tailId }) ||
        !this.#writePosition(ordinal, linkOf(tail?.id))
      )
        continue;
      this.#opened(ordinal, RECORDS_OFFSET);
      return ok(true);
    }
    return this.#noneOpened();
  }

  /** Opens the next sector with the tail in it, whose bytes these are. */
  carryTail(tail: Tail, bytes: Uint8Array): Result<void> {
    const { seq, prev } = tail.header;
    const body = bytes.slice(0, tail.bodyBytes);
    const signature = bytes.slice(tail.bodyBytes);
    const sign = () => ok({ signature, id: tail.id });
    const placed = this.#openCarrying({ body, seq, prev, newChain: false, link: tail.link, sign });
    if (placed.ok) this.tail = { ...tail, ordinal: placed.value.ordinal, offset: placed.value.offset };
    return placed.ok ? ok(undefined) : placed;
  }

  /** Opens the next sector with a record in it; the position frame, which names the record, comes last. */
  #openCarrying({ body, seq, prev, newChain, link, sign }: Carried): Result<Placed & Signed> {
    const { geometry } = this.#ring;
    const next = this.#next(0);
    if (!next.ok) return next;
    // The link's bytes are the first of the id before; the others are there where that is the same chain's.
    const tailId = new Uint8Array(TAIL_ID_BYTES);
    new DataView(tailId.buffer).setUint32(0, link);
    if (linkOf(prev) === link) tailId.set(prev.subarray(0, TAIL_ID_BYTES));
    for (let ordinal = next.value; ordinal <= next.value + BAD_SECTORS_MAX; ordinal++) {
      if (ordinal > next.value && !this.#isFree(ordinal, this.released)) break;
      const place = { ordinal, offset: RECORDS_OFFSET };
      const frame = encodeFrame(geometry, place, FrameType.record, link, body);
      if (
        !this.#begin({ carries: true, ordinal, chain: newChain ? ordinal : this.chain, firstSeq: seq, tailId }) ||
        !this.#ring.program(this.#ring.at(ordinal) + RECORDS_OFFSET, frame, geometry.slotBytes) ||
        !this.#writePosition(ordinal, crcOf(frame))
      )
        continue;
      // Not before: a body that nothing proves may be void at the next start, and another be signed in its place.
      const signed = sign();
      if (!signed.ok) return signed;
      this.#opened(ordinal, RECORDS_OFFSET + frameBytes(geometry, FrameType.record, body.length));
      this.sign(place, body.length, signed.value.signature);
      return ok({ ...place, ...signed.value });
    }
    return this.#noneOpened();
  }

  /**
   * Ordinal of the sector that can be opened, where `left` more are free behind it. JOURNAL_FULL, with nothing written but
   * a position frame.
   */
  #next(left: number): Result<number> {
    // A loop of cuts must not eat the ring: what holds nothing is erased again, instead of the next sector.
    if (this.#disposable) return ok(this.head);
    // An opening that was not finished is begun again: what its sector held before is gone.
    const begun = this.#last > this.head;
    const ordinal = begun ? this.#last : this.head + 1;
    if (ordinal > ORDINAL_MAX) return fail("JOURNAL_FULL", `sector ordinals end at ${ORDINAL_MAX}`);
    for (let n = begun ? 1 : 0; n <= left; n++)
      if (!this.#isFree(ordinal + n, this.released))
        return fail(
          "JOURNAL_FULL",
          `sector ${ordinal + n - this.#ring.geometry.sectors} of the ring holds records that are not released`,
        );
    // What is erased shall be released by what the flash holds. Where the open sector takes no frame any more, the relay's
    // acknowledgement of this start does: what an erase that is cut takes away then, the relay has.
    if (!begun && !this.#isFree(ordinal, this.durable)) this.#keepRelease();
    return ok(ordinal);
  }

  #begin(header: SectorHeader): boolean {
    const bytes = encodeSectorHeader(this.#ring.geometry, header);
    return this.#ring.erase(header.ordinal) && this.#ring.program(this.#ring.at(header.ordinal), bytes);
  }

  #writePosition(ordinal: number, link: number): boolean {
    const { geometry } = this.#ring;
    const place = { ordinal, offset: SECTOR_HEADER_BYTES };
    const bytes = encodeFrame(geometry, place, FrameType.position, link, encodeReleased(this.released));
    return this.#ring.program(this.#ring.at(ordinal) + SECTOR_HEADER_BYTES, bytes, geometry.slotBytes);
  }

  #opened(ordinal: number, end: number): void {
    this.head = ordinal;
    this.#last = ordinal;
    this.durable = this.released;
    this.#end = end;
    this.#usable = true;
    this.#fresh = true;
    this.#disposable = false;
    this.#spare = undefined;
  }

  #noneOpened(): Result<never> {
    this.#usable = false;
    return fail("JOURNAL_FLASH_FAILED", `no sector after ${this.head} could be opened`);
  }
}
