import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { KeyStore, Sha256 } from "../identity/crypto.js";
import type { Journal } from "../journal/journal.js";
import type { JournalHead } from "../journal/report.js";
import { decodeCbor, encodeCbor } from "../record/cbor.js";
import { encodeGap, type Gap, readGap } from "../record/gap.js";
import { type EarlierGap, GapBuilder } from "../record/gap-summary.js";
import { isUint, Kind, parseRecord, type Record, recordId } from "../record/record.js";
import type { NamingGap } from "../sync/chain-store.js";

/**
 * The policy of a device that would rather lose old records by name than new ones: before the journal refuses a record,
 * a signed gap record names the oldest ones that were not acknowledged, and only then they may be erased.
 *
 * The newest gap names all that was dropped: it takes over the one before for as long as that one is not acknowledged,
 * so that a relay which comes back needs one record to know of every hole. Its position is in the key store. A cut
 * between its commit and that note leaves it as the journal's head, where the next start finds it: no start writes a gap
 * for records that one names already.
 *
 * All of it is about the chain of one key: after a succession the former chain's gap is nobody's.
 */

/** In the key store: position of the newest gap record, and the kid of its chain. */
const GAP_NAME = "gap";

export interface GapsOptions {
  readonly journal: Journal;
  /** Of the key in use. */
  readonly kid: Uint8Array;
  readonly keys: KeyStore;
  readonly sha256: Sha256;
}

interface HeldGap extends EarlierGap {
  readonly bytes: Uint8Array;
}

export class Gaps {
  readonly #options: GapsOptions;
  /** Position of the newest gap record, undefined where there is none that is not acknowledged. */
  #seq: number | undefined;

  constructor(options: GapsOptions) {
    this.#options = options;
  }

  /** Before anything is appended in a start: finds the newest gap. Reads no record, and writes no flash. */
  resume(): void {
    const { keys, kid } = this.#options;
    const bytes = keys.read(GAP_NAME);
    const noted = bytes && decodeCbor(bytes);
    const [seq, chain] = noted?.ok && Array.isArray(noted.value) ? noted.value : [];
    this.#seq = isUint(seq) && chain instanceof Uint8Array && equalBytes(chain, kid) ? seq : undefined;
    const head = this.#head();
    if (head?.kind === Kind.gap && head.seq !== this.#seq) this.#note(head.seq);
  }

  /**
   * The payload of the gap record that must be committed before a body of `bodyBytes`; undefined where there is room. One
   * job a record: a board's JavaScript stack has a few hundred slots. JOURNAL_FULL where no gap may be made, or what the
   * journal fails with where a record cannot be named.
   */
  async compose(bodyBytes: number): Promise<Result<Uint8Array | undefined>> {
    const { journal, sha256 } = this.#options;
    let range = journal.dropFor(bodyBytes);
    if (!range.ok || range.value === undefined) return range as Result<undefined>;
    await undefined;
    const newest = this.#newest();
    if (!newest.ok) return newest;
    await undefined;
    if (newest.value !== undefined) {
      // A start that committed it may have been cut before a sector was opened behind it.
      journal.drop(newest.value.seq);
      range = journal.dropFor(bodyBytes);
      if (!range.ok || range.value === undefined) return range as Result<undefined>;
    }
    const { first, last } = range.value;
    const builder = new GapBuilder(sha256, first, newest.value);
    let unread: number | undefined;
    for (let seq = first; seq <= last; seq++) {
      await undefined;
      const record = this.#read(seq);
      if (!record.ok && (record.failure.code !== "JOURNAL_RECORD_DAMAGED" || unread !== undefined)) return record;
      // A record that the flash has damaged is still named by the one after it; its values are in no summary.
      if (unread !== undefined && record.ok) builder.add(record.value.header.prev);
      unread = record.ok ? undefined : seq;
      if (!record.ok) continue;
      const added = builder.add(recordId(sha256, record.value.bytes), record.value);
      if (!added.ok) return added;
    }
    if (unread !== undefined) {
      const after = this.#read(last + 1);
      if (!after.ok) return after;
      builder.add(after.value.header.prev);
    }
    return ok(encodeGap(builder.build()));
  }

  /** The gap record at `seq` is committed: notes it, and lets go of what it names. */
  committed(seq: number): Result<void> {
    this.#note(seq);
    return this.#options.journal.drop(seq);
  }

  /** The newest gap record, where it names `seq`; undefined where none does. */
  naming(seq: number): NamingGap | undefined {
    const newest = this.#newest();
    if (!newest.ok || newest.value === undefined) return undefined;
    const { bytes, gap } = newest.value;
    if (seq < gap.first || seq > gap.last) return undefined;
    return { seq: newest.value.seq, last: gap.last, bytes };
  }

  #note(seq: number): void {
    const { keys, kid } = this.#options;
    keys.write(GAP_NAME, encodeCbor([seq, kid]));
    this.#seq = seq;
  }

  /**
   * The newest gap record that is not acknowledged. Where the flash was set back it is not the noted one: that is not held
   * any more, and another record may have its position. The newest one that is held is then found, and noted.
   */
  #newest(): Result<HeldGap | undefined> {
    const { journal, sha256 } = this.#options;
    const noted = this.#seq ?? -1;
    for (let seq = Math.min(noted, this.#head()?.seq ?? -1); seq >= journal.releasedCount; seq--) {
      const record = this.#read(seq);
      if (!record.ok && seq === noted) return record;
      const gap = record.ok ? gapOf(record.value) : record;
      if (!record.ok || !gap.ok) continue;
      if (seq !== noted) this.#note(seq);
      const { bytes } = record.value;
      return ok({ seq, id: recordId(sha256, bytes), gap: gap.value, bytes });
    }
    this.#seq = undefined;
    return ok(undefined);
  }

  #head(): JournalHead | undefined {
    const { journal, kid } = this.#options;
    return journal.head && equalBytes(journal.head.kid, kid) ? journal.head : undefined;
  }

  #read(seq: number): Result<Record> {
    const bytes = this.#options.journal.record(seq);
    return bytes.ok ? parseRecord(bytes.value) : bytes;
  }
}

function gapOf({ header, payload }: Record): Result<Gap> {
  return header.kind === Kind.gap ? readGap(payload) : fail("RECORD_MALFORMED", `seq ${header.seq} is no gap record`);
}
