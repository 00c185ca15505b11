import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { type RecordHeader, readBody, recordId, SIGNATURE_BYTES, toBeSigned } from "../record/record.js";
import type { Tail } from "./append.js";
import { FrameType, frameBytes, isWhole, linkOf, readFrameHeader, signatureOffset } from "./frame.js";
import { FRAME_HEADER_BYTES, RECORDS_OFFSET, SECTOR_HEADER_BYTES } from "./layout.js";
import type { Ring } from "./ring.js";
import {
  type Candidate,
  type RecordVisitor,
  type Resume,
  recordAt,
  type SectorScan,
  type SignedAgain,
  scanSector,
} from "./scan.js";
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
  /** The body is whole and may have been signed: it must be, in fresh cells. */
  | { readonly kind: "unsigned"; readonly body: Uint8Array; readonly header: RecordHeader }
  /** The body is not whole: it was never signed. */
  | { readonly kind: "void" }
  /** It was committed, and the cells changed since. */
  | { readonly kind: "damaged"; readonly detail: string }
  | { readonly kind: "foreign"; readonly detail: string };

/** A record that a sector ends with, before anything is decided about it. */
export interface OpenTail {
  readonly ordinal: number;
  readonly candidate: Candidate;
}

/** The record that the sectors before the newest are asked for: first bytes of its id, and the position behind it. */
export type Named = Pick<SectorHeader, "tailId" | "firstSeq">;

/** Sectors before the one that a record was found in that may hold it as well: recoveries gave it fresh cells. */
const TRIES_SECTORS_MAX = 2;

/** How the sectors before the newest end. */
export interface EarlierEnd {
  /** JOURNAL_TAIL_DAMAGED where no sector of the ring holds the named record; undefined where none is named. */
  readonly tail: Result<Tail | undefined>;
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
   * Walks a sector. Where its cells may not hold a record's signature, its key makes it again, and the walk begins anew:
   * `visit` may be told of the first records more than once. Made outside of the walk, since a board's stack is short.
   */
  scan(ordinal: number, header: SectorHeader | undefined, visit?: RecordVisitor, from?: Resume): SectorScan {
    const { geometry } = this.#ring;
    const bytes = this.#ring.sector(ordinal);
    const sha256 = this.#sha256;
    let scan = scanSector({ geometry, sha256, ordinal, header, bytes }, visit, from);
    if (scan.unresolved === undefined) return scan;
    const signed = new Map<number, SignedAgain | undefined>();
    while (scan.unresolved !== undefined) {
      const { offset, bodyBytes } = scan.unresolved;
      const stored = recordAt(geometry, bytes, offset, bodyBytes);
      const isCarried = header?.carries === true && offset === RECORDS_OFFSET;
      const record = isCarried ? this.signCarried(stored) : this.signAgain(stored);
      signed.set(offset, record && { id: recordId(sha256, record), held: equalBytes(record, stored) });
      scan = scanSector({ geometry, sha256, ordinal, header, bytes, signed }, visit, from);
    }
    return scan;
  }

  /** Whether the slot of this ordinal holds whole frames of it, whatever its header reads as. */
  hasFrames(ordinal: number): boolean {
    const { geometry } = this.#ring;
    const bytes = this.#ring.sector(ordinal);
    return scanSector({ geometry, sha256: this.#sha256, ordinal, header: undefined, bytes }).opened;
  }

  /**
   * Judges what the journal ends with. All that is open is one record in several tries: where one of them stands or may
   * have been signed, that decides; void is only what is void in each.
   */
  judge(open: readonly OpenTail[]): TailVerdict | undefined {
    let verdict: TailVerdict | undefined;
    for (const one of open) {
      const judged = this.#judgeOne(one);
      if (judged.kind === "stands") return judged;
      if (verdict === undefined || rank(judged) > rank(verdict)) verdict = judged;
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
      const signed = geometry.unitBytes === 1 && left.some((byte) => byte !== 0 && byte !== 0xff);
      if (signed || candidate.changed)
        return {
          kind: "damaged",
          detail: `the record at sector ${ordinal}, byte ${offset} has changed since it was signed`,
        };
      return { kind: "void" };
    }
    // The sector may have been read again since it was walked, and a torn body be whole only now and then.
    if (!this.#isWhole({ ordinal, offset, bodyBytes })) return { kind: "void" };
    const record = recordAt(geometry, bytes, offset, bodyBytes);
    const body = record.subarray(0, bodyBytes);
    const parts = readBody(body);
    if (!parts.ok) return { kind: "damaged", detail: `not a record: ${parts.failure.detail}` };
    const signer = this.signerOf(parts.value.header);
    if (signer === undefined)
      return { kind: "foreign", detail: "the newest record has another kid than the device's key" };
    if (signer.verify(toBeSigned(parts.value), record.subarray(bodyBytes))) {
      const id = recordId(this.#sha256, record);
      return {
        kind: "stands",
        tail: { ordinal, offset, bodyBytes, id, link: candidate.link, header: keep(parts.value.header) },
      };
    }
    if (candidate.afterDamage) return { kind: "damaged", detail: "the newest record has no valid signature" };
    return { kind: "unsigned", body: body.slice(), header: keep(parts.value.header) };
  }

  /** Whether a record's header and body stand in the buffered sector as they were written. */
  #isWhole({ ordinal, offset, bodyBytes }: Pick<Tail, "ordinal" | "offset" | "bodyBytes">): boolean {
    const bytes = this.#ring.sector(ordinal);
    const frame = readFrameHeader(bytes, offset);
    return frame?.bodyBytes === bodyBytes && isWhole({ ordinal, offset }, bytes, offset, frame);
  }

  /** A record that something names. */
  standing(ordinal: number, candidate: Candidate): Result<Tail> {
    const bytes = this.#ring.sector(ordinal);
    const start = candidate.offset + FRAME_HEADER_BYTES;
    const parts = readBody(bytes.subarray(start, start + candidate.bodyBytes));
    if (!parts.ok) return fail("JOURNAL_TAIL_DAMAGED", parts.failure.detail);
    if (this.signerOf(parts.value.header) === undefined)
      return fail("JOURNAL_FOREIGN", "the newest record has another kid than the device's key");
    const { offset, bodyBytes, id, link } = candidate;
    return ok({ ordinal, offset, bodyBytes, id: id!, link, header: keep(parts.value.header) });
  }

  /**
   * What the sectors before the newest end with: the named record, undefined where none is (zeros), and what stands behind
   * it that nothing has decided about.
   */
  before(newest: number, named: Named | undefined): EarlierEnd {
    const { geometry } = this.#ring;
    const first = named?.tailId.every((byte) => byte === 0) ?? false;
    const oldest = Math.max(geometry.sectors, newest + 1 - geometry.sectors);
    const open: OpenTail[] = [];
    let decided = false;
    // Back to the sector that holds the named record, and for what is open to the newest one in which something was
    // decided: up to there a record may still be open, under torn tries to give it fresh cells.
    for (let ordinal = newest - 1; ordinal >= oldest; ordinal--) {
      const whole: Candidate[] = [];
      const scan = this.scan(ordinal, this.#ring.header(ordinal), (record) => {
        if (record.whole && (named === undefined || mayBeNamed(record, named))) whole.push(record);
        return false;
      });
      // Judged behind the walk and not within it, and in no method of its own: a board's stack is short.
      let found: Candidate | undefined;
      for (const record of whole) {
        let { id } = record;
        if (named !== undefined && !startsWith(id!, named.tailId)) {
          // Only the record right before what the newest sector begins with can be the named one; no other is signed again.
          const bytes = recordAt(geometry, this.#ring.sector(ordinal), record.offset, record.bodyBytes);
          const signed = this.signAgain(bytes, named.firstSeq - 1);
          id = signed && recordId(this.#sha256, signed);
          if (id === undefined || !startsWith(id, named.tailId)) continue;
        }
        found = { ...record, id };
      }
      // Before a new chain the named record is the last of the old one, at any position.
      const last = named?.firstSeq === 0 && !first ? (scan.tail?.whole ? scan.tail : scan.settled) : undefined;
      if (found === undefined && named !== undefined && last !== undefined) {
        const signed = this.signAgain(recordAt(geometry, this.#ring.sector(ordinal), last.offset, last.bodyBytes));
        const id = signed && recordId(this.#sha256, signed);
        if (id !== undefined && startsWith(id, named.tailId)) found = { ...last, id };
      }
      // Only what comes after the named record is open; where its own bytes end a sector, it is that record.
      if (!decided && named !== undefined && (scan.tail === undefined || scan.tail.offset !== found?.offset))
        open.push(...openTails(ordinal, scan).filter(({ candidate }) => candidate.link === linkOf(named.tailId)));
      if (found !== undefined) return { tail: this.standing(ordinal, found), open };
      decided ||= scan.decided;
      if (decided && first) break;
    }
    const missing = () => fail("JOURNAL_TAIL_DAMAGED", "the record that the newest sector names cannot be read");
    return { tail: first ? ok(undefined) : missing(), open };
  }

  /** The tail's bytes, checked against its id; its signature is made again where the cells do not hold it. */
  bytesOf(tail: Tail): Result<Uint8Array> {
    const { ordinal } = tail;
    let bytes = this.#bytesAt(tail, tail);
    // Mount may have taken a torn try for it that was whole by chance: then another holds it, beside that or before.
    for (let back = 0; bytes === undefined && back <= TRIES_SECTORS_MAX && back <= ordinal; back++)
      bytes = this.#tryOf(tail, ordinal - back);
    return bytes
      ? ok(bytes)
      : fail("JOURNAL_RECORD_DAMAGED", `seq ${tail.header.seq}: the newest record does not read as it was committed`);
  }

  /** The tail, from any frame of a sector that holds it. */
  #tryOf(tail: Tail, ordinal: number): Uint8Array | undefined {
    const { alignBytes, sectorBytes } = this.#ring.geometry;
    const size = frameBytes(this.#ring.geometry, FrameType.record, tail.bodyBytes);
    for (let offset = SECTOR_HEADER_BYTES; offset + size <= sectorBytes; offset += alignBytes) {
      const bytes = this.#bytesAt({ ordinal, offset, bodyBytes: tail.bodyBytes }, tail);
      if (bytes !== undefined) return bytes;
    }
    return undefined;
  }

  /** The record with the tail's id, where its header and body stand whole in a place. */
  #bytesAt(
    place: Pick<Tail, "ordinal" | "offset" | "bodyBytes">,
    { id, header: { seq } }: Tail,
  ): Uint8Array | undefined {
    // Only a body that is whole and of its position is signed: its signature was made before, and is the same.
    if (!this.#isWhole(place)) return undefined;
    const bytes = recordAt(this.#ring.geometry, this.#ring.sector(place.ordinal), place.offset, place.bodyBytes);
    if (equalBytes(recordId(this.#sha256, bytes), id)) return bytes;
    const signed = this.signAgain(bytes, seq);
    return signed && equalBytes(recordId(this.#sha256, signed), id) ? signed : undefined;
  }

  /**
   * What a sector carries, with its signature. Its body was durable before the position frame that names it was begun; but
   * that frame may be legible this once only, and the signature goes nowhere before something else names the record.
   */
  signCarried(record: Uint8Array): Uint8Array | undefined {
    return this.signAgain(record);
  }

  /** The record with the signature that its key gives it. undefined where the body is none of ours, or not at `seq`. */
  signAgain(record: Uint8Array, seq?: number): Uint8Array | undefined {
    const body = record.subarray(0, record.length - SIGNATURE_BYTES);
    const parts = readBody(body);
    if (!parts.ok || parts.value.header.seq !== (seq ?? parts.value.header.seq)) return undefined;
    const signature = this.signerOf(parts.value.header)?.sign(toBeSigned(parts.value));
    if (!signature?.ok) return undefined;
    const signed = record.slice();
    signed.set(signature.value, body.length);
    return signed;
  }
}

/** What a sector ends with that nothing names, the newest first. */
export function openTails(ordinal: number, { tail, tries }: SectorScan): OpenTail[] {
  if (tail === undefined) return [];
  return [tail, ...tries.slice().reverse()].map((candidate) => ({ ordinal, candidate }));
}

/** What weighs more where several tries of one record end in different ways; one that stands outweighs all. */
function rank({ kind }: TailVerdict): number {
  return ["void", "damaged", "unsigned", "foreign", "stands"].indexOf(kind);
}

/** Whether a look into the record can find that it is the one that the header names. */
function mayBeNamed({ id, seq }: Candidate, { tailId, firstSeq }: Named): boolean {
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
