import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { parseRecord, RECORD_MAX_BYTES } from "../record/record.js";
import { STATEMENT_MAX_BYTES } from "../record/statement.js";
import { type Position, splitRecords } from "./messages.js";
import type { SyncOptions } from "./options.js";
import { isOwnAt, isOwnRecord, namesOwn } from "./succession.js";
import type { Step, TransportResponse } from "./transport.js";

/**
 * The device's own records at its relay: what it can show of them, and taking them back. Nothing here believes more than the
 * device's own signature, and nothing signs. Failures are the transport's and the relay's, RECORD_ERASED among them.
 */

/** Records that are asked for at once: with the longest of them an answer still is no larger than an acknowledgement. */
const FETCH_RECORDS = Math.floor(STATEMENT_MAX_BYTES / RECORD_MAX_BYTES);

/** What a page has brought: so many records follow the head now, or one that the device's key has signed does not. */
export interface Restored {
  readonly count: number;
  /** Its position. */
  readonly otherBranch?: number;
}

export class Fetching {
  readonly #options: SyncOptions;
  readonly #get: (path: string) => Promise<Step<TransportResponse>>;

  constructor(options: SyncOptions, get: (path: string) => Promise<Step<TransportResponse>>) {
    this.#options = options;
    this.#get = get;
  }

  /** Whether the relay can show the record that it names, under the device's own signature. */
  async isShown({ seq, id }: Position): Promise<Step<boolean>> {
    const answer = await this.#records(seq, seq);
    if (!answer.ok) return answer;
    await undefined;
    return ok(isOwnRecord(this.#options, seq, id, answer.value.body));
  }

  /**
   * Whether the relay can show any record above `head` and below `end` under the device's own signature. What was erased is
   * erased by ranges: it looks at distances from the head that double.
   */
  async isAnyShown(head: number, end: number): Promise<Step<boolean>> {
    for (let distance = 1; head + distance < end; distance *= 2) {
      const seq = head + distance;
      const answer = await this.#records(seq, seq);
      if (!answer.ok && answer.failure.code !== "RECORD_ERASED") return answer;
      await undefined;
      if (answer.ok && isOwnAt(this.#options, seq, answer.value.body)) return ok(true);
    }
    return ok(false);
  }

  /** Whether a gap record of the device's own, which the relay holds above `missing` and up to `last`, names what is missing. */
  async isDropped(missing: number, last: number): Promise<Step<boolean>> {
    for (let from = missing + 1; from <= last; from += FETCH_RECORDS) {
      const page = await this.#page(from, Math.min(last, from + FETCH_RECORDS - 1));
      if (!page.ok) return page;
      for (const bytes of page.value) {
        await undefined;
        if (namesOwn(this.#options, missing, bytes)) return ok(true);
      }
    }
    return ok(false);
  }

  /**
   * Restores the records after the head, at most up to `to`. Where the journal has no room, it lets go of what is held, as far
   * as `releasable`, the relay's level that releases, allows.
   */
  async restore(to: number, releasable: Position | undefined): Promise<Step<Restored>> {
    const { chain, identity } = this.#options;
    const from = (chain.head?.seq ?? -1) + 1;
    const page = await this.#page(from, Math.min(to, from + FETCH_RECORDS - 1));
    if (!page.ok) return page;
    let count = 0;
    for (const bytes of page.value) {
      const record = parseRecord(bytes);
      if (!record.ok) return record;
      const { kid, seq } = record.value.header;
      // Of a key's former chain nothing is taken back: it would stand in this one's place.
      if (!equalBytes(kid, identity.kid)) return fail("KEY_MISMATCH", `seq ${seq} is of kid ${toHex(kid)}`);
      if (seq !== from + count) break;
      let restored = chain.restore(bytes);
      if (!restored.ok && restored.failure.code === "JOURNAL_FULL" && this.release(releasable).ok)
        restored = chain.restore(bytes);
      if (restored.ok) count++;
      else return restored.failure.code === "CHAIN_BROKEN" ? ok({ count, otherBranch: seq }) : restored;
    }
    return ok({ count });
  }

  /**
   * Lets go of all that is held. The relay has shown that it holds the head, or what stands behind it, and says that it stands
   * at the head or above at the level that releases: what is held need not be kept. Where nothing of this chain is held, that
   * is the former chain's, all of which came before.
   */
  release(releasable: Position | undefined): Result<unknown> {
    const { chain } = this.#options;
    const { head } = chain;
    if (!releasable || releasable.seq < (head?.seq ?? 0))
      return fail("JOURNAL_FULL", "the relay's level is below the head");
    return chain.release(head ?? releasable);
  }

  async #page(from: number, to: number): Promise<Step<Uint8Array[]>> {
    const answer = await this.#records(from, to);
    return answer.ok ? splitRecords(answer.value.body) : answer;
  }

  async #records(from: number, to: number): Promise<Step<TransportResponse>> {
    // A job of its own: what led here has taken much of a board's stack, and so does the transport.
    await undefined;
    return this.#get(`/v1/devices/${toHex(this.#options.identity.kid)}/records?from=${from}&to=${to}`);
  }
}
