import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import {
  Kind,
  parseRecord,
  type RecordHeader,
  readBody,
  recordId,
  SIGNATURE_BYTES,
  toBeSigned,
} from "../record/record.js";
import { Appender, type ChainStart, type Tail } from "./append.js";
import { type DropRange, planDrop, releasedBy } from "./drop.js";
import type { Flash } from "./flash.js";
import { FrameType, isWhole, linkOf, nothingReleased, type Released, readFrameHeader, readReleased } from "./frame.js";
import {
  BAD_SECTORS_MAX,
  FRAME_HEADER_BYTES,
  geometryOf,
  POSITION_BODY_BYTES,
  RESERVED_SECTORS,
  SECTOR_HEADER_BYTES,
  SEQ_MAX,
} from "./layout.js";
import { findNewest, formatRing, type NewestSector } from "./mount.js";
import { RecordReader } from "./reader.js";
import {
  CRITICAL_FRACTION,
  type JournalHead,
  type JournalUsage,
  type MountReport,
  type Position,
  WARNING_FRACTION,
} from "./report.js";
import { flashFault, Ring } from "./ring.js";
import { isErased, type SectorScan, scanSector } from "./scan.js";
import { type SectorHeader, TAIL_ID_BYTES } from "./sector.js";
import {
  type EarlierEnd,
  isOnlyIn,
  type OpenTail,
  openTails,
  type RecordSigner,
  TailReader,
  type TailVerdict,
} from "./tail.js";

/**
 * The journal: the chain of one device in NOR flash, as a ring log. A record is committed when its body was made durable,
 * then signed, then its signature was made durable; from then on no cut of the power takes it back, until `release` lets
 * its sector be erased. Bytes and limits: SPEC.md. Reasons, and what physics leaves: DESIGN.md.
 *
 * Nothing here formats or erases because something could not be read. `format` is an act of provisioning.
 */

export interface JournalOptions {
  readonly flash: Flash;
  readonly sha256: Sha256;
  /** The device's key, and behind it those that it had before and whose records may still be held. */
  readonly signers: readonly RecordSigner[];
}

/** Sectors before the newest that are asked for a position frame. */
const POSITION_SECTORS_MAX = 4;
interface Recovered {
  readonly tail: MountReport["tail"];
  readonly voidBytes: number;
  readonly verdict?: { readonly open: readonly OpenTail[]; readonly judged: TailVerdict };
}

/** Of a sector that was never opened. */
const NOTHING: Pick<SectorScan, "settled" | "unsealed"> = { settled: undefined, unsealed: false };

export class Journal {
  #report: MountReport | undefined;
  readonly #sha256: Sha256;
  readonly #signers: readonly RecordSigner[];
  readonly #ring: Ring;
  readonly #tails: TailReader;
  #appender!: Appender;
  #reader!: RecordReader;
  /** What the journal ends with, while there is no room to decide about it. */
  #undecided: readonly OpenTail[] | undefined;
  #stopped: { readonly code: "JOURNAL_TAIL_DAMAGED" | "JOURNAL_FLASH_FAILED"; readonly detail: string } | undefined;

  private constructor(ring: Ring, options: JournalOptions) {
    this.#ring = ring;
    this.#sha256 = options.sha256;
    this.#signers = options.signers;
    this.#tails = new TailReader(ring, options.sha256, options.signers);
  }

  /**
   * Makes an empty journal and ends whatever the partition held. For provisioning only. A formatting that is cut is
   * recognised: JOURNAL_FORMAT_CUT, or JOURNAL_BLANK as before.
   */
  static format(flash: Flash): Result<void> {
    try {
      const geometry = geometryOf(flash);
      return geometry.ok ? formatRing(new Ring(flash, geometry.value)) : geometry;
    } catch (error) {
      return flashFault(error);
    }
  }

  /**
   * Opens the journal and finishes what a cut left open. JOURNAL_BLANK, JOURNAL_FORMAT_CUT, JOURNAL_UNREADABLE,
   * JOURNAL_GEOMETRY, JOURNAL_NEWER, JOURNAL_FOREIGN: nothing was written. JOURNAL_FLASH_FAILED: the flash reported a
   * fault.
   */
  static mount(options: JournalOptions): Result<Journal> {
    try {
      const geometry = geometryOf(options.flash);
      if (!geometry.ok) return geometry;
      const ring = new Ring(options.flash, geometry.value);
      const newest = findNewest(ring, options.sha256);
      if (!newest.ok) return newest;
      const journal = new Journal(ring, options);
      const open = journal.#newestOpen(newest.value);
      const recovered = journal.#recover(open, open.ordinal === newest.value.ordinal);
      if (!recovered.ok) return recovered;
      const { voidBytes, verdict } = recovered.value;
      let { tail } = recovered.value;
      // Decided here and not where it was found: a board's stack is short, and this writes.
      if (verdict) {
        const decided = journal.#decide(verdict.open, verdict.judged);
        if (!decided.ok && decided.failure.code !== "JOURNAL_FULL") return decided;
        if (!decided.ok) tail = "undecided";
      }
      journal.#report = { tail, voidBytes, linear: newest.value.linear, reads: ring.reads, bytesRead: ring.bytesRead };
      return ok(journal);
    } catch (error) {
      return flashFault(error);
    }
  }

  /** What mount found. */
  get report(): MountReport {
    return this.#report!;
  }

  /** The newest committed record; undefined in an empty journal. */
  get head(): JournalHead | undefined {
    const tail = this.#appender.tail;
    if (tail === undefined) return undefined;
    const { kid, seq, boot, uptimeMs, kind } = tail.header;
    return { kid, seq, boot, uptimeMs, kind, id: tail.id };
  }

  /** The oldest position of the head's chain that is still held; 0 in an empty journal. */
  get firstSeq(): number {
    return this.#reader.firstSeq(this.#appender.range);
  }

  get usage(): JournalUsage {
    const { head } = this.#appender;
    const sectors = this.#ring.geometry.sectors - RESERVED_SECTORS;
    const used = head + 1 - this.#oldestHeld();
    const level = !this.#appender.hasRoomFor(this.#appender.tail?.bodyBytes ?? 0)
      ? "full"
      : used >= CRITICAL_FRACTION * sectors
        ? "critical"
        : used >= WARNING_FRACTION * sectors
          ? "warning"
          : "normal";
    return { sectors, used, level };
  }

  /**
   * Commits the record that follows the head: makes `body` durable, has it signed, makes the signature durable. On success
   * it is there to stay. CHAIN_GAP, CHAIN_BROKEN, CHAIN_CLOSED, KEY_MISMATCH, RECORD_MALFORMED: the body does not follow.
   * JOURNAL_FULL: nothing was written. JOURNAL_FLASH_FAILED: not committed; start again. Also what the signer fails with.
   */
  commit(body: Uint8Array): Result<Position> {
    try {
      const parts = readBody(body);
      if (!parts.ok) return parts;
      const { header } = parts.value;
      const next = this.#checkNext(header);
      if (!next.ok) return next;
      if (this.#stopped) return fail(this.#stopped.code, this.#stopped.detail);
      const room = this.#makeRoom(header, body.length);
      if (!room.ok) return room;
      const signer = this.#signers[0]!;
      return this.#write(body, header, next.value, () => signer.sign(toBeSigned(parts.value)));
    } catch (error) {
      return flashFault(error);
    }
  }

  /**
   * Appends one of the device's own records, byte for byte, that was fetched back from the relay: the head's successor, or
   * after a loss any later one. SIGNATURE_INVALID, KEY_MISMATCH, CHAIN_REPEATED, CHAIN_BROKEN: it is none of ours.
   */
  restore(bytes: Uint8Array): Result<Position> {
    try {
      const record = parseRecord(bytes);
      if (!record.ok) return record;
      const { header, body, signature } = record.value;
      const signer = this.#tails.signerOf(header);
      if (signer === undefined) return fail("KEY_MISMATCH", `no key here has kid ${toHex(header.kid)}`);
      if (!signer.verify(toBeSigned(record.value), signature)) return fail("SIGNATURE_INVALID", `seq ${header.seq}`);
      const tail = this.#appender.tail;
      const sameChain = tail !== undefined && equalBytes(tail.header.kid, header.kid);
      if (sameChain && header.seq <= tail.header.seq)
        return fail("CHAIN_REPEATED", `expected a position above ${tail.header.seq}, received ${header.seq}`);
      if (sameChain && header.seq === tail.header.seq + 1 && !equalBytes(header.prev, tail.id))
        return fail("CHAIN_BROKEN", `seq ${header.seq} does not name the head`);
      if (header.seq > SEQ_MAX) return fail("RECORD_MALFORMED", `seq ${header.seq} is above ${SEQ_MAX}`);
      if (this.#undecided !== undefined) return this.#full();
      const jump = !sameChain || header.seq > tail.header.seq + 1;
      const start = jump ? { firstSeq: header.seq, newChain: !sameChain } : undefined;
      const written = this.#write(body.slice(), header, start, () => ok(signature));
      if (written.ok && this.#stopped?.code === "JOURNAL_TAIL_DAMAGED") this.#stopped = undefined;
      return written;
    } catch (error) {
      return flashFault(error);
    }
  }

  /** A committed record's bytes. JOURNAL_RECORD_ABSENT, JOURNAL_RECORD_DAMAGED. */
  record(seq: number): Result<Uint8Array> {
    try {
      const { tail } = this.#appender;
      if (tail === undefined || seq > tail.header.seq || seq < 0)
        return fail("JOURNAL_RECORD_ABSENT", `seq ${seq}; the head is ${tail?.header.seq ?? "none"}`);
      if (seq < tail.header.seq) return this.#reader.record(seq, this.#appender.range);
      // A seal says that nothing behind it stands: not while that is undecided.
      const settled = this.#appender.settle(this.#undecided === undefined);
      return settled.ok ? this.#tails.bytesOf(this.#appender.tail!) : settled;
    } catch (error) {
      return flashFault(error);
    }
  }

  /** Committed records from `fromSeq` on, at most `count` of them, for as long as `visit` returns true. */
  records(fromSeq: number, count: number, visit: (seq: number, bytes: Uint8Array) => boolean): Result<void> {
    const last = Math.min(fromSeq + count - 1, this.#appender.tail?.header.seq ?? -1);
    for (let seq = fromSeq; seq <= last; seq++) {
      const bytes = this.record(seq);
      if (!bytes.ok) return bytes;
      if (!visit(seq, bytes.value)) break;
    }
    return ok(undefined);
  }

  /**
   * All records up to this one may be erased when room is needed: the relay has acknowledged them. JOURNAL_RELEASE_FALSE
   * where the journal holds another record there, or none yet. What was released before changes nothing.
   */
  release({ seq, id }: Position): Result<void> {
    try {
      const { tail, chain, released } = this.#appender;
      if (tail === undefined || seq > tail.header.seq)
        return fail("JOURNAL_RELEASE_FALSE", `seq ${seq} is above the head ${tail?.header.seq ?? "(none)"}`);
      if (released.chain === chain && seq < released.count) return ok(undefined);
      const held = seq === tail.header.seq ? ok(tail.id) : this.#idOf(seq);
      if (!held.ok) return held;
      if (!equalBytes(held.value, id))
        return fail("JOURNAL_RELEASE_FALSE", `seq ${seq}: expected ${toHex(held.value)}, received ${toHex(id)}`);
      return this.#release({ chain, count: seq + 1, id: id.slice(0, TAIL_ID_BYTES) });
    } catch (error) {
      return flashFault(error);
    }
  }

  /** What a gap record must name so that a body of `bodyBytes` fits behind it; undefined where it fits. JOURNAL_FULL. */
  dropFor(bodyBytes: number): Result<DropRange | undefined> {
    try {
      return this.#undecided === undefined ? planDrop(this.#ring, this.#appender, bodyBytes) : this.#full();
    } catch (error) {
      return flashFault(error);
    }
  }

  /**
   * What the committed gap record at `gapSeq` names may be erased. Durable with the next sector that is opened: until then
   * a start says so again, by the same gap. RECORD_MALFORMED where it is none.
   */
  drop(gapSeq: number): Result<void> {
    try {
      // The newest is not copied first, as it is before it is read out: there may be no room until it has released some.
      const { tail } = this.#appender;
      const bytes = gapSeq === tail?.header.seq ? this.#tails.bytesOf(tail) : this.record(gapSeq);
      if (!bytes.ok) return bytes;
      const named = releasedBy(bytes.value, this.#appender);
      return named.ok && named.value ? this.#release(named.value) : (named as Result<void>);
    } catch (error) {
      return flashFault(error);
    }
  }

  /** How far this chain's records may be erased: positions below; 0 where nothing is released. */
  get releasedCount(): number {
    const { chain, released } = this.#appender;
    return released.chain === chain ? released.count : 0;
  }

  #release(released: Released): Result<void> {
    this.#appender.release(released);
    const open = this.#undecided;
    return open === undefined ? ok(undefined) : this.#decide(open, this.#tails.judge(open) ?? { kind: "void" });
  }

  #idOf(seq: number): Result<Uint8Array> {
    const bytes = this.#reader.record(seq, this.#appender.range);
    return bytes.ok ? ok(recordId(this.#sha256, bytes.value)) : bytes;
  }

  /**
   * The newest sector that was opened to the end: something legible stands behind its position frame. Without that,
   * header or position may be the last that was written, and their cells not driven to the end. Nothing depends on them
   * yet; the sector is opened again, and nothing is appended to the one before, lest they be believed later.
   */
  #newestOpen(newest: NewestSector): NewestSector {
    let open = newest;
    const { sectors } = this.#ring.geometry;
    for (let n = 0; n <= BAD_SECTORS_MAX && open.ordinal >= sectors; n++) {
      if (this.#scan(open.ordinal, open.header).opened) return open;
      open = { ...open, ordinal: open.ordinal - 1, header: this.#ring.header(open.ordinal - 1) };
    }
    return open;
  }

  #scan(ordinal: number, header: SectorHeader | undefined): SectorScan {
    const { geometry } = this.#ring;
    return scanSector({ geometry, sha256: this.#sha256, ordinal, header, bytes: this.#ring.sector(ordinal) });
  }

  /** Reads the newest sector. Where its end is open, `verdict` says what is to be decided before anything is told. */
  #recover({ ordinal: newest, header }: NewestSector, isLast: boolean): Result<Recovered> {
    const { geometry } = this.#ring;
    const started = newest >= geometry.sectors;
    const scan = started ? this.#scan(newest, header) : undefined;
    // Cells from the end on are as erased, but for a slot that a start may have begun to write.
    const usable =
      isLast &&
      scan !== undefined &&
      (geometry.unitBytes !== 1 || this.#isErasedFrom(newest, scan.end + geometry.slotBytes));
    // Where nothing in the newest sector tells, what the sectors before end with is still open.
    const earlier = started && !scan!.decided ? this.#tails.before(newest, header) : undefined;
    const open = scan === undefined ? [] : openTails(newest, scan);
    if (earlier?.ok) open.push(...earlier.value.open);
    const judged = this.#tails.judge(open);
    if (judged?.kind === "foreign") return fail("JOURNAL_FOREIGN", judged.detail);
    const before =
      judged?.kind === "stands" ? ok(judged.tail) : this.#standingTail(newest, header, scan ?? NOTHING, earlier);
    let stopped: string | undefined;
    if (!before.ok) {
      if (before.failure.code !== "JOURNAL_TAIL_DAMAGED") return before;
      stopped = before.failure.detail;
    }
    if (judged?.kind === "damaged") stopped = judged.detail;
    if (stopped !== undefined) this.#stopped = { code: "JOURNAL_TAIL_DAMAGED", detail: stopped };
    this.#appender = new Appender(
      this.#ring,
      this.#sha256,
      {
        head: newest,
        chain: header?.chain ?? this.#ring.header(newest - 1)?.chain ?? newest,
        end: scan?.end ?? 0,
        usable,
        durable: scan?.released ?? this.#releasedBefore(newest),
        tail: before.ok ? before.value : undefined,
        holdsOpen: stopped !== undefined || isOnlyIn(newest, open),
        disposable: isLast && scan !== undefined && !scan.decided && scan.settled === undefined && !scan.tail?.whole,
      },
      () => this.#tails.bytesOf(this.#appender.tail!),
    );
    this.#reader = new RecordReader(this.#ring, this.#sha256, this.#tails);
    const voidBytes = scan?.voidBytes ?? 0;
    if (stopped !== undefined) return ok({ tail: "damaged", voidBytes });
    if (judged?.kind === "unsigned" || judged?.kind === "void")
      return ok({ tail: judged.kind === "void" ? "voided" : "signed", voidBytes, verdict: { open, judged } });
    const { tail } = this.#appender;
    const word = tail === undefined ? "none" : tail.settled ? "settled" : "stands";
    // A verdict that nothing proves is said again before it is told.
    return ok({ tail: word, voidBytes, ...(scan?.unproved && { verdict: { open: [], judged: { kind: "void" } } }) });
  }

  #standingTail(
    newest: number,
    header: SectorHeader | undefined,
    { settled, unsealed }: Pick<SectorScan, "settled" | "unsealed">,
    earlier: Result<EarlierEnd> | undefined,
  ): Result<Tail | undefined> {
    if (settled !== undefined) {
      const tail = this.#tails.standing(newest, settled);
      return tail.ok && unsealed ? ok({ ...tail.value, settled: false }) : tail;
    }
    if (newest < this.#ring.geometry.sectors) return ok(undefined);
    const end = earlier ?? this.#tails.before(newest, header);
    return end.ok ? ok(end.value.tail) : end;
  }

  /** Decides about the record that the newest sector ends with. Nothing is told of the decision before it is durable. */
  #decide(open: readonly OpenTail[], judged: TailVerdict): Result<void> {
    const appender = this.#appender;
    this.#undecided = open;
    if (judged.kind === "void") {
      const written = appender.appendVerdict();
      if (!written.ok) return written;
    } else if (judged.kind === "unsigned") {
      const signer = this.#tails.signerOf(judged.header)!;
      const parts = readBody(judged.body);
      if (!parts.ok) return parts;
      const written = this.#write(judged.body, judged.header, undefined, () => signer.sign(toBeSigned(parts.value)));
      if (!written.ok) return written;
    } else if (judged.kind === "stands") appender.tail = judged.tail;
    else this.#stopped = { code: "JOURNAL_TAIL_DAMAGED", detail: judged.detail };
    this.#undecided = undefined;
    return ok(undefined);
  }

  /** Whether the header follows the head; where it begins a chain, how. */
  #checkNext(header: RecordHeader): Result<ChainStart | undefined> {
    const { tail } = this.#appender;
    const { kid } = this.#signers[0]!;
    if (!equalBytes(header.kid, kid))
      return fail("KEY_MISMATCH", `expected kid ${toHex(kid)}, received ${toHex(header.kid)}`);
    if (tail === undefined || !equalBytes(tail.header.kid, kid)) {
      if (header.kind !== Kind.genesis) return fail("CHAIN_GAP", `expected genesis, received seq ${header.seq}`);
      return ok({ firstSeq: 0, newChain: true });
    }
    const seq = tail.header.seq + 1;
    if (header.seq !== seq) return fail("CHAIN_GAP", `expected seq ${seq}, received ${header.seq}`);
    if (seq > SEQ_MAX) return fail("CHAIN_CLOSED", `the journal counts up to ${SEQ_MAX}`);
    if (tail.header.kind === Kind.rotate) return fail("CHAIN_CLOSED", `the rotation at seq ${seq - 1} ends the chain`);
    if (!equalBytes(header.prev, tail.id))
      return fail("CHAIN_BROKEN", `seq ${seq}: expected prev ${toHex(tail.id)}, received ${toHex(header.prev)}`);
    return ok(undefined);
  }

  /** Room for one record, and a tail that may be followed. A gap or a rotation may use the reserve. */
  #makeRoom(header: RecordHeader, bodyBytes: number): Result<void> {
    if (this.#undecided !== undefined) return this.#full();
    const mayUseReserve = header.kind === Kind.gap || header.kind === Kind.rotate;
    if (!mayUseReserve && !this.#appender.hasRoomFor(bodyBytes)) return this.#full();
    return this.#appender.settle(false);
  }

  #full(): Result<never> {
    const { sectors, used } = this.usage;
    return fail("JOURNAL_FULL", `${used} of ${sectors} sectors hold records that are not released`);
  }

  /** Body, read back; signature, read back; only then is it the head. A second try gives the same record fresh cells. */
  #write(
    body: Uint8Array,
    header: RecordHeader,
    start: ChainStart | undefined,
    sign: () => Result<Uint8Array>,
  ): Result<Position> {
    const appender = this.#appender;
    const link = linkOf(appender.tail?.id);
    let signature: Uint8Array | undefined;
    for (let attempt = 0; attempt <= BAD_SECTORS_MAX; attempt++) {
      const placed = appender.append(FrameType.record, link, body, start);
      if (!placed.ok) {
        if (signature !== undefined) this.#stopUnsigned(header.seq);
        return placed;
      }
      if (signature === undefined) {
        const signed = sign();
        if (!signed.ok) {
          this.#stopUnsigned(header.seq);
          return signed;
        }
        signature = signed.value;
      }
      if (!appender.sign(placed.value, body.length, signature)) continue;
      const record = new Uint8Array(body.length + SIGNATURE_BYTES);
      record.set(body);
      record.set(signature, body.length);
      const id = recordId(this.#sha256, record);
      const own = { ...header, kid: header.kid.slice(), prev: header.prev.slice() };
      appender.tail = { ...placed.value, bodyBytes: body.length, id, header: own, settled: true };
      return ok({ seq: header.seq, id });
    }
    this.#stopUnsigned(header.seq);
    return fail("JOURNAL_FLASH_FAILED", `the signature of seq ${header.seq} could not be written and read back`);
  }

  /** A durable body may have been signed: no other body may take its position, so the next mount has to finish it. */
  #stopUnsigned(seq: number): void {
    this.#stopped = { code: "JOURNAL_FLASH_FAILED", detail: `seq ${seq} waits for its signature: mount again` };
  }

  /** What the sectors before say was released: the newest position frame of those that openings write. */
  #releasedBefore(newest: number): Released {
    const { geometry } = this.#ring;
    const bytes = new Uint8Array(FRAME_HEADER_BYTES + POSITION_BODY_BYTES);
    const oldest = Math.max(geometry.sectors, newest - POSITION_SECTORS_MAX);
    for (let ordinal = newest - 1; ordinal >= oldest; ordinal--) {
      this.#ring.read(this.#ring.at(ordinal) + SECTOR_HEADER_BYTES, bytes);
      const frame = readFrameHeader(bytes, 0);
      if (frame?.type === FrameType.position && isWhole({ ordinal, offset: SECTOR_HEADER_BYTES }, bytes, 0, frame))
        return readReleased(bytes, FRAME_HEADER_BYTES);
    }
    return nothingReleased();
  }

  #isErasedFrom(ordinal: number, offset: number): boolean {
    const bytes = this.#ring.sector(ordinal);
    return isErased(bytes, offset, bytes.length);
  }

  /** Ordinal of the oldest sector that holds what is not released. Sectors are released in their order. */
  #oldestHeld(): number {
    const { head, tail, released } = this.#appender;
    const { sectors } = this.#ring.geometry;
    let low = Math.max(sectors, head + 1 - sectors);
    let high = Math.max(low, tail?.ordinal ?? head + 1);
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#ring.isCovered(middle, released, head)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
