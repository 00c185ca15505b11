import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { type RecordHeader, recordId, SIGNATURE_BYTES } from "../record/record.js";
import { encodeFrame, encodeReleased, FrameType, frameBytes, linkOf, type Released, signatureOffset } from "./frame.js";
import { BAD_SECTORS_MAX, ORDINAL_MAX, POSITION_BODY_BYTES, RECORDS_OFFSET, RESERVED_SECTORS } from "./layout.js";
import type { Ring } from "./ring.js";
import { encodeSectorHeader, TAIL_ID_BYTES } from "./sector.js";

/** The newest record, and where its bytes are. */
export interface Tail {
  readonly ordinal: number;
  readonly offset: number;
  readonly bodyBytes: number;
  readonly id: Uint8Array;
  readonly header: RecordHeader;
  /**
   * Its cells were driven to the end in this start, or something written later names it. Otherwise the power may have gone
   * in its last program: it is copied into fresh cells before anything follows it or reads it out.
   */
  readonly settled: boolean;
  /** Where else the same record may stand, in other tries to write it. */
  readonly others?: readonly Placed[];
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
  readonly chain: number;
  readonly end: number;
  /** Appending at `end` can be tried. */
  readonly usable: boolean;
  readonly durable: Released;
  readonly tail: Tail | undefined;
  /** Nothing in the sector stands, and nothing is said in it: torn copies, torn records. It may be opened again. */
  readonly disposable: boolean;
  /** The sector holds the only whole body of a record that is open, and may have been signed. */
  readonly holdsOpen: boolean;
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
  #end: number;
  #usable: boolean;
  #disposable: boolean;
  /** What stands in the sector, or may have been signed, stands nowhere else. */
  #holdsOpen: boolean;
  /** This start opened the sector, or spent the slot where an earlier one may have begun to write. */
  #fresh = false;
  #spare: number | undefined;
  readonly #ring: Ring;
  readonly #sha256: Sha256;
  readonly #readTail: () => Result<Uint8Array>;

  /** `readTail` gives the tail's bytes, checked against its id. */
  constructor(ring: Ring, sha256: Sha256, state: AppendState, readTail: () => Result<Uint8Array>) {
    this.#ring = ring;
    this.#sha256 = sha256;
    this.#readTail = readTail;
    this.head = state.head;
    this.chain = state.chain;
    this.tail = state.tail;
    this.durable = state.durable;
    this.released = state.durable;
    this.#end = state.end;
    this.#usable = state.usable;
    this.#disposable = state.disposable;
    this.#holdsOpen = state.holdsOpen;
  }

  /** Sectors after the head whose former content is released, counted up to one more than the reserve. */
  get spare(): number {
    if (this.#spare === undefined) {
      let count = 0;
      while (count <= RESERVED_SECTORS && this.isFree(this.head + 1 + count, this.released)) count++;
      this.#spare = count;
    }
    return this.#spare;
  }

  /** The sectors of the tail's chain, without one that an opening may have begun to erase. */
  get range(): { readonly oldest: number; readonly head: number } {
    const { sectors } = this.#ring.geometry;
    const oldest = this.head + (this.spare > 0 ? 2 : 1) - sectors;
    return { oldest: Math.max(sectors, this.chain, oldest), head: this.head };
  }

  /** Whether a record of `bodyBytes` can be appended and still leave the reserve as it is. */
  hasRoomFor(bodyBytes: number): boolean {
    return this.spare >= RESERVED_SECTORS + this.opensFor(bodyBytes);
  }

  /** Sectors that a record of `bodyBytes`, and the copy of the tail before it, would open. */
  opensFor(bodyBytes: number): number {
    const { geometry } = this.#ring;
    const size = frameBytes(geometry, FrameType.record, bodyBytes);
    const copy = this.tail && !this.tail.settled ? frameBytes(geometry, FrameType.copy, this.tail.bodyBytes) : 0;
    const fresh = geometry.sectorBytes - RECORDS_OFFSET;
    return this.#fits(size + copy) ? 0 : size + copy <= fresh ? 1 : 2;
  }

  /** Takes a higher released position. Where the reserve was used up it is made durable at once: else nothing could be opened. */
  release(released: Released): void {
    this.released = released;
    this.#spare = undefined;
    if (this.isFree(this.head + 1, this.durable) && this.isFree(this.head + 2, this.durable)) return;
    this.#keepRelease();
  }

  /** Makes the released position durable, where the open sector has room for it. */
  #keepRelease(): void {
    const size = frameBytes(this.#ring.geometry, FrameType.position, POSITION_BODY_BYTES);
    if (!this.#fits(size)) return;
    const kept = this.append(FrameType.position, this.#link(), encodeReleased(this.released));
    if (kept.ok) this.durable = this.released;
  }

  /**
   * Appends a frame and reads it back. With `start` it goes into a sector of its own. JOURNAL_FULL, or
   * JOURNAL_FLASH_FAILED: then what was written is void.
   */
  append(type: FrameType, link: number, body: Uint8Array, start?: ChainStart): Result<Placed> {
    const { geometry } = this.#ring;
    const size = frameBytes(geometry, type, body.length);
    let opened = start === undefined;
    for (let attempt = 0; attempt <= 2 * BAD_SECTORS_MAX; attempt++) {
      if (!opened || !this.#fits(size) || !this.#spend()) {
        const next = this.#open(start, type === FrameType.copy);
        if (!next.ok) return next;
        opened = true;
        if (!this.#fits(size)) continue;
      }
      const place = { ordinal: this.head, offset: this.#end };
      const at = this.#ring.at(this.head) + this.#end;
      const bytes = encodeFrame(geometry, place, type, link, body);
      // The header stands before anything behind it is touched: a torn header has no body, and a legible one tells how
      // far the cells may have been driven.
      if (this.#ring.program(at, bytes, geometry.slotBytes)) {
        this.#end += size;
        if (type !== FrameType.position) this.#disposable = false;
        if (type === FrameType.record) this.#holdsOpen = true;
        return ok(place);
      }
      this.#usable = false;
    }
    return fail("JOURNAL_FLASH_FAILED", `no frame of ${size} bytes could be written and read back`);
  }

  /** Says twice that all behind the tail is void: the second frame proves that the cells of the first were driven. */
  appendVerdict(): Result<void> {
    for (let n = 0; n < 2; n++) {
      const written = this.append(FrameType.void, this.#link(), new Uint8Array(0));
      if (!written.ok) return written;
    }
    return ok(undefined);
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
   * Copies the tail into fresh cells where it is not settled. `seal` writes a verdict behind the copy, where the sector has
   * room for it, so that a later start sees that the copy was finished and does not copy again; a record that follows at
   * once does the same.
   */
  settle(seal: boolean): Result<void> {
    if (this.tail === undefined || this.tail.settled) return ok(undefined);
    const copied = this.#copyTail();
    if (!copied.ok || !seal || !this.#fits(frameBytes(this.#ring.geometry, FrameType.void, 0))) return copied;
    const sealed = this.append(FrameType.void, this.#link(), new Uint8Array(0));
    return sealed.ok ? ok(undefined) : sealed;
  }

  #copyTail(bytes = this.#readTail()): Result<void> {
    if (!bytes.ok) return bytes;
    const body = bytes.value.subarray(0, bytes.value.length - SIGNATURE_BYTES);
    for (let attempt = 0; attempt <= BAD_SECTORS_MAX; attempt++) {
      const placed = this.append(FrameType.copy, this.#link(), body);
      if (!placed.ok) return placed;
      if (!this.sign(placed.value, body.length, bytes.value.subarray(body.length))) continue;
      this.tail = {
        ...placed.value,
        bodyBytes: body.length,
        id: recordId(this.#sha256, bytes.value),
        header: this.tail!.header,
        settled: true,
      };
      return ok(undefined);
    }
    return fail("JOURNAL_FLASH_FAILED", "the newest record could not be copied into fresh cells");
  }

  #link(): number {
    return linkOf(this.tail?.id);
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

  /** The sector after it must be released too: one always stays from which a later release can be made durable. */
  #mayOpen(ordinal: number): boolean {
    return this.isFree(ordinal, this.released) && this.isFree(ordinal + 1, this.released);
  }

  /** What stands in the head stands in an earlier sector as well: voids, and copies of the tail. */
  #isHeadRepeated(): boolean {
    if (this.#holdsOpen || this.tail === undefined || this.head < this.#ring.geometry.sectors) return false;
    if (this.tail.ordinal < this.head) return true;
    const header = this.#ring.header(this.head);
    return header !== undefined && header.chain === this.chain && header.firstSeq > this.tail.header.seq;
  }

  /** Whether all that the slot of this sector held before is released, and the tail is not in it. */
  isFree(ordinal: number, released: Released): boolean {
    const former = ordinal - this.#ring.geometry.sectors;
    if (this.tail !== undefined && former >= this.tail.ordinal) return false;
    return this.#ring.isCovered(former, released, this.head);
  }

  /** Erases the next sector and writes its header and position frame; passes over at most BAD_SECTORS_MAX that fail. */
  #open(start: ChainStart | undefined, forCopy: boolean): Result<void> {
    const { geometry } = this.#ring;
    // A loop of cuts must not eat the ring: what holds nothing is erased again, instead of the next sector.
    let first = this.#disposable ? this.head : this.head + 1;
    // What is erased shall be released by what the flash holds. Where the open sector takes no frame any more, the relay's
    // acknowledgement of this start does: what an erase that is cut takes away then, the relay has.
    if (first > this.head && !this.isFree(first, this.durable) && this.isFree(first, this.released))
      this.#keepRelease();
    // The same where the ring is about to end: a loop of cuts has filled the head with tries that are void. The last sector
    // that can be opened is for what may have been signed. A copy of the tail goes in anew, from where it was copied before.
    let copied: Result<Uint8Array> | undefined;
    if (first > this.head && start === undefined && !this.#mayOpen(first + 1) && this.#isHeadRepeated()) {
      first = this.head;
      if (this.tail!.ordinal === this.head && !forCopy) copied = this.#readTail();
      if (copied !== undefined && !copied.ok) return copied;
    }
    for (let ordinal = first; ordinal <= this.head + 1 + BAD_SECTORS_MAX; ordinal++) {
      if (ordinal > ORDINAL_MAX) return fail("JOURNAL_FULL", `sector ordinals end at ${ORDINAL_MAX}`);
      if (ordinal > this.head && !this.#mayOpen(ordinal))
        return fail(
          "JOURNAL_FULL",
          `sector ${ordinal - geometry.sectors} of the ring holds records that are not released`,
        );
      const chain = start?.newChain ? ordinal : this.chain;
      const firstSeq = start ? start.firstSeq : this.tail ? this.tail.header.seq + 1 : 0;
      const tailId = this.tail ? this.tail.id.slice(0, TAIL_ID_BYTES) : new Uint8Array(TAIL_ID_BYTES);
      const header = encodeSectorHeader(geometry, { ordinal, chain, firstSeq, tailId });
      const place = { ordinal, offset: header.length };
      const position = encodeFrame(geometry, place, FrameType.position, this.#link(), encodeReleased(this.released));
      const at = this.#ring.at(ordinal);
      if (
        !this.#ring.erase(ordinal) ||
        !this.#ring.program(at, header) ||
        !this.#ring.program(at + header.length, position, geometry.slotBytes)
      )
        continue;
      this.head = ordinal;
      this.#disposable = false;
      this.#holdsOpen = false;
      this.chain = chain;
      this.durable = this.released;
      this.#end = RECORDS_OFFSET;
      this.#usable = true;
      this.#fresh = true;
      this.#spare = undefined;
      if (copied !== undefined) return this.#copyTail(copied);
      // The tail stays within the two newest sectors, or sectors that hold nothing but voids could never be released.
      if (!forCopy && start === undefined && this.tail !== undefined && this.tail.ordinal < ordinal - 1)
        return this.#copyTail();
      return ok(undefined);
    }
    this.#usable = false;
    return fail("JOURNAL_FLASH_FAILED", `${1 + BAD_SECTORS_MAX} sectors after ${this.head} could not be opened`);
  }
}
