import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { readBody, recordId, SIGNATURE_BYTES, toBeSigned } from "../record/record.js";
import type { Ring } from "./ring.js";
import { type Candidate, type Resume, recordAt } from "./scan.js";
import { readSectorHeader, TAIL_ID_BYTES } from "./sector.js";
import type { TailReader } from "./tail.js";

/** Sectors of one chain by ordinal, both ends included. */
export interface SectorRange {
  readonly oldest: number;
  readonly head: number;
  /** A sector of another chain may stand between: one that was opened for it, and of which a cut has left nothing. */
  readonly chain: number;
}

/** A record that a walk passed, and where the walk can go on behind it. A sector holds 4000 / 100 of them at the most. */
interface Met {
  readonly record: Candidate;
  readonly named: boolean;
  readonly resume: Resume;
}

/**
 * Reads committed records back. A record is given out only where its body passes its CRC and its whole bytes the link of
 * what follows, or else its signature verifies. Records read one after the other cost no search.
 */
export class RecordReader {
  readonly #ring: Ring;
  readonly #sha256: Sha256;
  readonly #tails: TailReader;
  /** Where the walk that found the last record can go on. */
  #cursor: { readonly ordinal: number; readonly seq: number; readonly resume: Resume } | undefined;

  constructor(ring: Ring, sha256: Sha256, tails: TailReader) {
    this.#ring = ring;
    this.#sha256 = sha256;
    this.#tails = tails;
  }

  /** Position that the oldest of these sectors begins at. */
  firstSeq({ oldest, head, chain }: SectorRange): number {
    for (let ordinal = oldest; ordinal <= head; ordinal++) {
      const header = this.#ring.header(ordinal);
      if (header?.chain === chain) return header.firstSeq;
    }
    return 0;
  }

  /** The record at `seq`, of the chain that these sectors belong to; not the newest one. */
  record(seq: number, range: SectorRange): Result<Uint8Array> {
    const { oldest, head } = range;
    const cursor = this.#cursor;
    if (cursor !== undefined && cursor.ordinal >= oldest && seq === cursor.seq + 1) {
      const next = this.#inSector(cursor.ordinal, seq, cursor.resume);
      if (next !== undefined) return ok(next);
    }
    const first = this.#sectorOf(seq, range);
    for (let ordinal = first; ordinal <= head; ordinal++) {
      // Fresh cells for a newest record lie in sectors opened before the next one: they begin right behind it.
      const header = ordinal === first ? undefined : this.#ring.header(ordinal);
      if (header?.chain === range.chain && header.firstSeq > seq + 1) break;
      const bytes = this.#inSector(ordinal, seq);
      if (bytes !== undefined) return ok(bytes);
    }
    const firstSeq = this.firstSeq(range);
    return seq < firstSeq
      ? fail("JOURNAL_RECORD_ABSENT", `seq ${seq}; the oldest held is ${firstSeq}`)
      : fail("JOURNAL_RECORD_DAMAGED", `seq ${seq} does not read as it was committed`);
  }

  #inSector(ordinal: number, seq: number, from?: Resume): Uint8Array | undefined {
    const { geometry } = this.#ring;
    const bytes = this.#ring.sector(ordinal);
    const reading = readSectorHeader(geometry, bytes);
    const header = reading.kind === "header" && reading.header.ordinal === ordinal ? reading.header : undefined;
    // Taking records apart within the walk would need more of a board's JavaScript stack than there is.
    const met: Met[] = [];
    this.#tails.scan(
      ordinal,
      header,
      (record, named, resume) => {
        if (!record.whole || (record.seq ?? seq) !== seq) return false;
        met.push({ record, named, resume });
        return named && record.seq === seq;
      },
      from,
    );
    let found: Uint8Array | undefined;
    for (let i = 0; i < met.length; i++) {
      const { record, named, resume } = met[i]!;
      const candidate = recordAt(geometry, bytes, record.offset, record.bodyBytes);
      if (record.seq === undefined || !named) {
        // Read here, not in a method of its own, for the same reason.
        const parts = readBody(candidate.subarray(0, record.bodyBytes));
        if (!parts.ok || parts.value.header.seq !== seq) continue;
      }
      const signed = named ? this.#withId(candidate, record.id!) : this.#proved(ordinal, candidate);
      if (signed === undefined) continue;
      found = signed;
      this.#cursor = { ordinal, seq, resume };
      if (named) break;
    }
    return found;
  }

  /** A named record's bytes; where the cells do not hold its signature, with the one that makes its id. */
  #withId(record: Uint8Array, id: Uint8Array): Uint8Array | undefined {
    if (equalBytes(recordId(this.#sha256, record), id)) return record;
    const signed = this.#tails.signAgain(record);
    return signed && equalBytes(recordId(this.#sha256, signed), id) ? signed : undefined;
  }

  /** A record that its sector does not name: its signature verifies, or the next sector names it with the one made again. */
  #proved(ordinal: number, record: Uint8Array): Uint8Array | undefined {
    const end = record.length - SIGNATURE_BYTES;
    const parts = readBody(record.subarray(0, end));
    if (!parts.ok) return undefined;
    const signer = this.#tails.signerOf(parts.value.header);
    if (signer?.verify(toBeSigned(parts.value), record.subarray(end))) return record;
    // What the next sector does not follow may be void: it is not signed, not even to look at.
    const next = this.#ring.header(ordinal + 1);
    if (next?.firstSeq !== parts.value.header.seq + 1) return undefined;
    const signed = this.#tails.signAgain(record);
    if (signed === undefined) return undefined;
    const id = recordId(this.#sha256, signed).subarray(0, TAIL_ID_BYTES);
    return equalBytes(id, next.tailId) ? signed : undefined;
  }

  /** The newest sector that begins at or below `seq`. Positions never fall within a chain, so a search finds it. */
  #sectorOf(seq: number, { oldest, head, chain }: SectorRange): number {
    let low = oldest;
    let high = head;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const header = this.#ring.header(middle);
      if (header?.chain !== chain) return this.#sectorByWalking(seq, { oldest, head, chain });
      if (header.firstSeq <= seq) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #sectorByWalking(seq: number, { oldest, head, chain }: SectorRange): number {
    for (let ordinal = head; ordinal >= oldest; ordinal--) {
      const header = this.#ring.header(ordinal);
      if (header?.chain === chain && header.firstSeq <= seq) return ordinal;
    }
    // The sector that holds it is the oldest one, and its header is damaged.
    return oldest;
  }
}
