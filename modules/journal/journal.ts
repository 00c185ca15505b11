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
import { Appender, type ChainStart, type Placed, type Signed } from "./append.js";
import { type DropRange, planDrop, releasedBy } from "./drop.js";
import type { Flash } from "./flash.js";
import { FrameType, linkOf, type Released } from "./frame.js";
import { geometryOf, RESERVED_SECTORS, SEQ_MAX } from "./layout.js";
import { formatRing } from "./mount.js";
import { RecordReader } from "./reader.js";
import { recover } from "./recovery.js";
import {
  CRITICAL_FRACTION,
  type JournalHead,
  type JournalUsage,
  type MountReport,
  type Position,
  WARNING_FRACTION,
} from "./report.js";
import { flashFault, Ring } from "./ring.js";
import { TAIL_ID_BYTES } from "./sector.js";
import { type OpenTail, type RecordSigner, TailReader, type TailVerdict } from "./tail.js";

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

export class Journal {
  #report!: MountReport;
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
      const journal = new Journal(ring, options);
      const tails = journal.#tails;
      const found = recover(ring, tails);
      if (!found.ok) return found;
      const { state, damage, verdict, report } = found.value;
      journal.#appender = new Appender(ring, state);
      journal.#reader = new RecordReader(ring, options.sha256, tails);
      if (damage !== undefined) journal.#stopped = { code: "JOURNAL_TAIL_DAMAGED", detail: damage };
      // Decided here and not where it was found: a board's stack is short, and this writes.
      const decided = verdict ? journal.#decide(verdict.open, verdict.judged) : ok(undefined);
      if (!decided.ok && decided.failure.code !== "JOURNAL_FULL") return decided;
      const { reads, bytesRead } = ring;
      journal.#report = { ...report, ...(!decided.ok && { tail: "undecided" as const }), reads, bytesRead };
      return ok(journal);
    } catch (error) {
      return flashFault(error);
    }
  }

  /** What mount found. */
  get report(): MountReport {
    return this.#report;
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
    // What voids have left behind the head begins, by its header, behind it.
    return Math.min(this.#reader.firstSeq(this.#appender.range), this.#appender.tail?.header.seq ?? 0);
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
      // A successor's genesis goes into a sector of its own and follows nothing: a damaged tail does not hold it up. Where no
      // other key was before, what is damaged may be this key's own chain.
      const succeeds = next.value?.newChain === true && this.#signers.length > 1;
      const begins = succeeds && this.#stopped?.code === "JOURNAL_TAIL_DAMAGED";
      if (this.#stopped && !begins) return fail(this.#stopped.code, this.#stopped.detail);
      const room = this.#makeRoom(header, body.length);
      if (!room.ok) return room;
      const signer = this.#signers[0]!;
      const written = this.#write(body, header, room.value, next.value, () => signer.sign(toBeSigned(parts.value)));
      if (begins && written.ok) this.#stopped = undefined;
      return written;
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
      if (this.#undecided !== undefined || !this.#appender.hasRoomFor(body.length)) return this.#full();
      const jump = !sameChain || header.seq > tail.header.seq + 1;
      const start = jump ? { firstSeq: header.seq, newChain: !sameChain } : undefined;
      const written = this.#write(body.slice(), header, RESERVED_SECTORS, start, () => ok(signature));
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
      return seq < tail.header.seq ? this.#reader.record(seq, this.#appender.range) : this.#tails.bytesOf(tail);
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
      let held = tail.id;
      if (seq < tail.header.seq) {
        const bytes = this.#reader.record(seq, this.#appender.range);
        if (!bytes.ok) return bytes;
        held = recordId(this.#sha256, bytes.value);
      }
      if (!equalBytes(held, id))
        return fail("JOURNAL_RELEASE_FALSE", `seq ${seq}: expected ${toHex(held)}, received ${toHex(id)}`);
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
      const bytes = this.record(gapSeq);
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

  /** Decides about the record that the newest sector ends with. Nothing is told of the decision before it is durable. */
  #decide(open: readonly OpenTail[], judged: TailVerdict): Result<void> {
    const appender = this.#appender;
    this.#undecided = open;
    if (judged.kind === "void") {
      const erases = open.length > 0 && appender.isDisposable && open.every(({ ordinal }) => ordinal === appender.head);
      const written = erases ? appender.reopen() : appender.appendVerdict();
      if (!written.ok) return written;
      const carried = written.value ? ok(undefined) : this.#carryTail();
      if (!carried.ok) return carried;
    } else if (judged.kind === "unsigned") {
      // A body that may have been signed gets fresh cells, and the same signature.
      const { body, header } = judged;
      const written = this.#carry(body, header, () => {
        const parts = readBody(body);
        const signature = parts.ok ? this.#tails.signerOf(header)!.sign(toBeSigned(parts.value)) : parts;
        return signature.ok ? ok({ signature: signature.value, id: this.#idOf(body, signature.value) }) : signature;
      });
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

  /**
   * Room for one record, and a tail that may be followed: sectors that have to stay free where the record opens one, also
   * because a cut has left the open one unusable. A gap, a rotation or a genesis may use the reserve, and leaves a sector for
   * its recovery.
   */
  #makeRoom(header: RecordHeader, bodyBytes: number): Result<number> {
    if (this.#undecided !== undefined) return this.#full();
    if (header.kind === Kind.gap || header.kind === Kind.rotate || header.kind === Kind.genesis) return ok(1);
    return this.#appender.hasRoomFor(bodyBytes) ? ok(RESERVED_SECTORS) : this.#full();
  }

  #full(): Result<never> {
    const { sectors } = this.#ring.geometry;
    const { used } = this.usage;
    return fail(
      "JOURNAL_FULL",
      `${used} of ${sectors} sectors hold what is not released, and ${RESERVED_SECTORS} are kept in reserve`,
    );
  }

  /** Body, read back; signature, read back; only then is it the head. Where its cells fail, the record gets fresh ones. */
  #write(
    body: Uint8Array,
    header: RecordHeader,
    left: number,
    start: ChainStart | undefined,
    sign: () => Result<Uint8Array>,
  ): Result<Position> {
    const appender = this.#appender;
    const link = linkOf(appender.tail?.id);
    let appended = appender.append(FrameType.record, link, body, left, start);
    if (appended.ok && appended.value === undefined) {
      const carried = this.#carryTail();
      appended = carried.ok ? appender.append(FrameType.record, link, body, left, start) : carried;
    }
    if (!appended.ok) return appended;
    const place = appended.value!;
    const signature = sign();
    if (!signature.ok) {
      this.#stopUnsigned(header.seq);
      return signature;
    }
    const signed = { signature: signature.value, id: this.#idOf(body, signature.value) };
    if (!appender.sign(place, body.length, signature.value)) return this.#carry(body, header, () => ok(signed));
    return this.#beHead({ ...place, ...signed }, body, header);
  }

  /**
   * Has the next sector carry the tail. Its bytes are read here and not where the sector is opened: a board's stack is short,
   * and its signature may have to be made again.
   */
  #carryTail(): Result<void> {
    const tail = this.#appender.tail!;
    const bytes = this.#tails.bytesOf(tail);
    return bytes.ok ? this.#appender.carryTail(tail, bytes.value) : bytes;
  }

  #carry(body: Uint8Array, header: RecordHeader, sign: () => Result<Signed>): Result<Position> {
    const { seq, prev } = header;
    const newChain = this.#beginsChain(header);
    const placed = this.#appender.appendAgain({
      body,
      seq,
      prev,
      newChain,
      link: linkOf(this.#appender.tail?.id),
      sign,
    });
    if (placed.ok) return this.#beHead(placed.value, body, header);
    this.#stopUnsigned(seq);
    return placed;
  }

  #beHead({ ordinal, offset, id }: Placed & Signed, body: Uint8Array, header: RecordHeader): Result<Position> {
    if (this.#beginsChain(header)) this.#appender.chain = this.#ring.header(ordinal)?.chain ?? ordinal;
    const link = linkOf(this.#appender.tail?.id);
    const own = { ...header, kid: header.kid.slice(), prev: header.prev.slice() };
    this.#appender.tail = { ordinal, offset, bodyBytes: body.length, id, link, header: own };
    return ok({ seq: header.seq, id });
  }

  #beginsChain({ kid }: RecordHeader): boolean {
    const { tail } = this.#appender;
    return tail === undefined || !equalBytes(tail.header.kid, kid);
  }

  #idOf(body: Uint8Array, signature: Uint8Array): Uint8Array {
    const record = new Uint8Array(body.length + SIGNATURE_BYTES);
    record.set(body);
    record.set(signature, body.length);
    return recordId(this.#sha256, record);
  }

  /** A durable body may have been signed: no other body may take its position, so the next mount has to finish it. */
  #stopUnsigned(seq: number): void {
    this.#stopped = { code: "JOURNAL_FLASH_FAILED", detail: `seq ${seq} waits for its signature: mount again` };
  }

  /** Ordinal of the oldest sector that holds what is not released. Sectors are released in their order. */
  #oldestHeld(): number {
    const { head, tail, released, oldest } = this.#appender;
    let low = oldest;
    let high = Math.max(low, tail?.ordinal ?? head + 1);
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#ring.isCovered(middle, released, head)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
