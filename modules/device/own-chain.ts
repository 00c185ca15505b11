import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Journal } from "../journal/journal.js";
import type { JournalHead, Position } from "../journal/report.js";
import { readGenesis } from "../record/payload.js";
import { parseRecord } from "../record/record.js";
import type { ChainStore } from "../sync/chain-store.js";

/**
 * The chain of one key, as its journal holds it. After a succession the journal ends with the former key's records until
 * the next one's genesis is committed or fetched back: of those nothing is told here, so that no position of one chain is
 * ever taken for one of the other.
 */
export class OwnChain implements ChainStore {
  readonly #journal: Journal;
  readonly #kid: Uint8Array;

  constructor(journal: Journal, kid: Uint8Array) {
    this.#journal = journal;
    this.#kid = kid;
  }

  get head(): JournalHead | undefined {
    const { head } = this.#journal;
    return head && equalBytes(head.kid, this.#kid) ? head : undefined;
  }

  get firstSeq(): number {
    return this.head ? this.#journal.firstSeq : 0;
  }

  /** While genesis is still held: KEY_MISMATCH where the key that it announces is not the one derived from the seed. */
  checkGenesis(publicKey: Uint8Array): Result<void> {
    if (this.firstSeq > 0) return ok(undefined);
    const bytes = this.#journal.record(0);
    if (!bytes.ok) return bytes;
    const record = parseRecord(bytes.value);
    if (!record.ok) return record;
    const genesis = readGenesis(record.value.payload);
    if (!genesis.ok) return genesis;
    return equalBytes(genesis.value.publicKey, publicKey)
      ? ok(undefined)
      : fail("KEY_MISMATCH", "the seed's public key is not the one that genesis announces");
  }

  record(seq: number): Result<Uint8Array> {
    return this.head ? this.#journal.record(seq) : this.#absent();
  }

  restore(bytes: Uint8Array): Result<Position> {
    return this.#journal.restore(bytes);
  }

  /** A position of this chain; where it is not held yet, all that is there is the former one's, and came before it. */
  release(position: Position): Result<void> {
    return this.#journal.release(this.head ? position : (this.#journal.head ?? position));
  }

  #absent(): Result<never> {
    return fail("JOURNAL_RECORD_ABSENT", `the journal holds no record of ${toHex(this.#kid)}`);
  }
}
