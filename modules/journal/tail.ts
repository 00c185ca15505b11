import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { type RecordHeader, readBody, recordId, SIGNATURE_BYTES, toBeSigned } from "../record/record.js";
import type { Placed, Tail } from "./append.js";
import { isWhole, linkOf, readFrameHeader, signatureOffset } from "./frame.js";
import { FRAME_HEADER_BYTES, TAIL_READS } from "./layout.js";
import type { Ring } from "./ring.js";
import { type Candidate, recordAt, type SectorScan, scanSector } from "./scan.js";
import type { SectorHeader } from "./sector.js";

/** Who signs the records of one key. Messages are COSE Sig_structures; Ed25519 signs each of them in one way only. */
export interface RecordSigner {
  readonly kid: Uint8Array;
  sign(message: Uint8Array): Result<Uint8Array>;
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

/** What mount makes of the last record in the newest sector, which nothing names yet. */
export type TailVerdict =
  /** Its signature verifies: the body is durable, and signing it again gives the same bytes whatever becomes of the cells. */
  | { readonly kind: "stands"; readonly tail: Tail }
  /** The body is whole at every reading and may have been signed: it must be, in fresh cells. */
  | { readonly kind: "unsigned"; readonly body: Uint8Array; readonly header: RecordHeader }
  /** The body is not whole, or not at every reading: it was never signed. */
  | { readonly kind: "void" }
  /** It was committed, and the cells changed since. */
  | { readonly kind: "damaged"; readonly detail: string }
  | { readonly kind: "foreign"; readonly detail: string };

/** A record that a sector ends with, before anything is decided about it. */
export interface OpenTail {
  readonly ordinal: number;
  readonly candidate: Candidate;
}

/** How the sectors before the newest end. */
export interface EarlierEnd {
  readonly tail: Tail | undefined;
  /** The newest first. */
  readonly open: readonly OpenTail[];
}

export class TailReader {
  readonly #ring: Ring;
  readonly #sha256: Sha256;
  readonly #signers: readonly RecordSigner[];

  constructor(ring: Ring, sha256: Sha256, signers: readonly RecordSigner[]) {
    this.#ring = ring;
    this.#sha256 = sha256;
    this.#signers = signers;
  }

  signerOf(header: RecordHeader): RecordSigner | undefined {
    return this.#signers.find(({ kid }) => equalBytes(kid, header.kid));
  }

  /**
   * Judges what the journal ends with. All that is open is one record in several tries: where one of them stands or may
   * have been signed, that decides; void is only what is void in each.
   */
  judge(open: readonly OpenTail[]): TailVerdict | undefined {
    let verdict: TailVerdict | undefined;
    for (const one of open) {
      const judged = this.#judgeOne(one);
      if (judged.kind === "stands") return { kind: "stands", tail: { ...judged.tail, others: placesOf(open, one) } };
      if (judged.kind !== "void" && judged.kind !== "damaged") return judged;
      if (verdict === undefined || judged.kind === "damaged") verdict = judged;
    }
    return verdict;
  }

  #judgeOne({ ordinal, candidate }: OpenTail): TailVerdict {
    const { geometry } = this.#ring;
    const bytes = this.#ring.sector(ordinal);
    const { offset, bodyBytes } = candidate;
    if (!candidate.whole) {
      // On plain flash, bytes of a signature say that the body was once durable. Ones are none, and neither are the zeros
      // that an erase of this sector left which was cut.
      const signature = offset + signatureOffset(geometry, bodyBytes);
      const left = bytes.subarray(signature, signature + SIGNATURE_BYTES);
      if (geometry.unitBytes === 1 && left.some((byte) => byte !== 0 && byte !== 0xff))
        return {
          kind: "damaged",
          detail: `the record at sector ${ordinal}, byte ${offset} has changed since it was signed`,
        };
      return { kind: "void" };
    }
    const frame = readFrameHeader(bytes, offset);
    if (frame?.bodyBytes !== bodyBytes || !isWhole({ ordinal, offset }, bytes, offset, frame)) return { kind: "void" };
    const record = recordAt(geometry, bytes, offset, bodyBytes);
    const body = record.subarray(0, bodyBytes);
    const parts = readBody(body);
    if (!parts.ok) return { kind: "damaged", detail: `not a record: ${parts.failure.detail}` };
    const signer = this.signerOf(parts.value.header);
    if (signer === undefined)
      return { kind: "foreign", detail: "the newest record has another kid than the device's key" };
    const message = toBeSigned(parts.value);
    let stable = true;
    let signed = signer.verify(message, record.subarray(bodyBytes)) ? record : undefined;
    for (let reading = 1; reading < TAIL_READS && signed === undefined; reading++) {
      const again = this.#readFrame(ordinal, offset, bodyBytes).bytes;
      if (!equalBytes(again.subarray(0, bodyBytes), body)) stable = false;
      else if (signer.verify(message, again.subarray(bodyBytes))) signed = again;
    }
    if (signed !== undefined) {
      const id = recordId(this.#sha256, signed);
      return {
        kind: "stands",
        tail: { ordinal, offset, bodyBytes, id, header: keep(parts.value.header), settled: false },
      };
    }
    if (candidate.afterDamage && !candidate.copy)
      return { kind: "damaged", detail: "the newest record has no valid signature" };
    return stable ? { kind: "unsigned", body: body.slice(), header: keep(parts.value.header) } : { kind: "void" };
  }

  /** A record that a later frame of its own sector names. */
  standing(ordinal: number, candidate: Candidate): Result<Tail> {
    const bytes = this.#ring.sector(ordinal);
    const start = candidate.offset + FRAME_HEADER_BYTES;
    const parts = readBody(bytes.subarray(start, start + candidate.bodyBytes));
    if (!parts.ok) return fail("JOURNAL_TAIL_DAMAGED", parts.failure.detail);
    if (this.signerOf(parts.value.header) === undefined)
      return fail("JOURNAL_FOREIGN", "the newest record has another kid than the device's key");
    const { offset, bodyBytes, id } = candidate;
    return ok({ ordinal, offset, bodyBytes, id: id!, header: keep(parts.value.header), settled: true });
  }

  /**
   * What the sectors before the newest end with: the record that its header names, undefined where it names none, and the
   * one behind that which nothing has decided about. JOURNAL_TAIL_DAMAGED where no sector of the ring holds the named one.
   */
  before(newest: number, header: SectorHeader | undefined): Result<EarlierEnd> {
    const { geometry } = this.#ring;
    const first = header?.tailId.every((byte) => byte === 0) ?? false;
    const oldest = Math.max(geometry.sectors, newest + 1 - geometry.sectors);
    const open: OpenTail[] = [];
    let tail: Tail | undefined;
    let decided = false;
    // Back to the newest sector in which something was decided: up to there a record may still be open, under torn tries
    // to give it fresh cells.
    for (let ordinal = newest - 1; ordinal >= oldest; ordinal--) {
      const bytes = this.#ring.sector(ordinal);
      const view = { geometry, sha256: this.#sha256, ordinal, header: this.#ring.header(ordinal), bytes };
      const whole: { readonly record: Candidate; readonly isNamed: boolean }[] = [];
      const scan = scanSector(view, (record, isNamed) => {
        if (record.whole && (header === undefined || mayBeNamed(record, header))) whole.push({ record, isNamed });
        return false;
      });
      // Judged behind the walk and not within it: a board's stack is short.
      const matches: Candidate[] = [];
      let named = false;
      for (const { record, isNamed } of whole) {
        if (header !== undefined && !this.#isNamed(ordinal, record, header)) continue;
        matches.push(record);
        named = isNamed && !record.copy;
      }
      // Only what comes after the named record is open; where its own bytes end a sector, it is that record.
      if (!decided && header !== undefined && (scan.tail === undefined || !matches.includes(scan.tail)))
        open.push(...openTails(ordinal, scan).filter(({ candidate }) => candidate.link === linkOf(header.tailId)));
      const found = matches[matches.length - 1];
      if (found !== undefined && tail === undefined) {
        const standing = this.standing(ordinal, found);
        if (!standing.ok) return standing;
        const others = matches.slice(0, -1).map(({ offset }) => ({ ordinal, offset }));
        tail = { ...standing.value, id: this.#idOf(ordinal, found, header), settled: named, others };
      }
      decided ||= scan.decided || matches.some(({ copy }) => !copy);
      if (decided && (first || tail !== undefined)) break;
    }
    // A record that follows it names it, whole or torn. Otherwise the opening of the newest sector was perhaps the last
    // thing that was written, and the tail before it is perhaps not driven to the end.
    if (tail !== undefined) return ok({ tail: { ...tail, settled: tail.settled || open.length > 0 }, open });
    return first
      ? ok({ tail: undefined, open })
      : fail("JOURNAL_TAIL_DAMAGED", "the record that the newest sector names cannot be read");
  }

  #isNamed(ordinal: number, record: Candidate, header: SectorHeader): boolean {
    if (startsWith(record.id!, header.tailId)) return true;
    const start = record.offset + FRAME_HEADER_BYTES;
    const parts = readBody(this.#ring.sector(ordinal).subarray(start, start + record.bodyBytes));
    // Only the record right before what the newest sector begins with can be the named one; no other is signed again.
    if (!parts.ok || parts.value.header.seq !== header.firstSeq - 1) return false;
    return startsWith(this.#idOf(ordinal, record, header), header.tailId);
  }

  /** The id; where the signature's cells have changed, that of the record signed again, if it is the one that is named. */
  #idOf(ordinal: number, record: Candidate, header: SectorHeader | undefined): Uint8Array {
    if (header === undefined || startsWith(record.id!, header.tailId)) return record.id!;
    const signed = this.signAgain(
      recordAt(this.#ring.geometry, this.#ring.sector(ordinal), record.offset, record.bodyBytes),
    );
    return signed ? recordId(this.#sha256, signed) : record.id!;
  }

  /** The tail's bytes, checked against its id; its signature is made again where the cells do not hold it. */
  bytesOf(tail: Tail): Result<Uint8Array> {
    const matches = (bytes: Uint8Array | undefined): bytes is Uint8Array =>
      bytes !== undefined && equalBytes(recordId(this.#sha256, bytes), tail.id);
    for (const { ordinal, offset } of [tail, ...(tail.others ?? [])])
      for (let reading = 0; reading < TAIL_READS; reading++) {
        const { bytes, whole } = this.#readFrame(ordinal, offset, tail.bodyBytes);
        if (matches(bytes)) return ok(bytes);
        // Only a whole body is signed: its signature was made before, and is the same.
        const signed = whole ? this.signAgain(bytes) : undefined;
        if (matches(signed)) return ok(signed);
      }
    return fail(
      "JOURNAL_RECORD_DAMAGED",
      `seq ${tail.header.seq}: the newest record does not read as it was committed`,
    );
  }

  /** The record with the signature that its key gives it. undefined where the body is none of ours. */
  signAgain(record: Uint8Array): Uint8Array | undefined {
    const body = record.subarray(0, record.length - SIGNATURE_BYTES);
    const parts = readBody(body);
    if (!parts.ok) return undefined;
    const signature = this.signerOf(parts.value.header)?.sign(toBeSigned(parts.value));
    if (!signature?.ok) return undefined;
    const signed = record.slice();
    signed.set(signature.value, body.length);
    return signed;
  }

  /** A record from the cells, past the buffer, and whether its header and body are as they were written. */
  #readFrame(
    ordinal: number,
    offset: number,
    bodyBytes: number,
  ): { readonly bytes: Uint8Array; readonly whole: boolean } {
    const frame = new Uint8Array(signatureOffset(this.#ring.geometry, bodyBytes) + SIGNATURE_BYTES);
    this.#ring.read(this.#ring.at(ordinal) + offset, frame);
    const header = readFrameHeader(frame, 0);
    const whole = header?.bodyBytes === bodyBytes && isWhole({ ordinal, offset }, frame, 0, header);
    return { bytes: recordAt(this.#ring.geometry, frame, 0, bodyBytes), whole };
  }
}

/** What a sector ends with that nothing names, the newest first. */
export function openTails(ordinal: number, { tail, tries }: SectorScan): OpenTail[] {
  if (tail === undefined) return [];
  return [tail, ...tries.slice().reverse()].map((candidate) => ({ ordinal, candidate }));
}

/** Whether the sector has the only whole body of what is open. */
export function isOnlyIn(ordinal: number, open: readonly OpenTail[]): boolean {
  const whole = open.filter(({ candidate }) => candidate.whole);
  return whole.length > 0 && whole.every((one) => one.ordinal === ordinal);
}

/** The other tries, as far as they are whole: equal bodies have equal lengths. */
function placesOf(open: readonly OpenTail[], one: OpenTail): Placed[] {
  const others = open.filter((other) => other !== one && other.candidate.bodyBytes === one.candidate.bodyBytes);
  return others.map(({ ordinal, candidate }) => ({ ordinal, offset: candidate.offset }));
}

/** Whether a look into the record can find that it is the one that the header names. */
function mayBeNamed({ id, seq }: Candidate, { tailId, firstSeq }: SectorHeader): boolean {
  return seq === undefined || seq === firstSeq - 1 || startsWith(id!, tailId);
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  for (let i = 0; i < start.length; i++) if (bytes[i] !== start[i]) return false;
  return true;
}

/** The header with its own bytes: those read are views into a buffer that is used again. */
function keep(header: RecordHeader): RecordHeader {
  return { ...header, kid: header.kid.slice(), prev: header.prev.slice() };
}
