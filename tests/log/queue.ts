/** The plainest source there can be: a list of entries, in order, and how many of them have their index. */
import type { EntrySource, LoggedEntry } from "../../hosts/relay/log/sequencer.js";
import { naiveLeaf } from "../merkle/naive.js";

export class QueueSource implements EntrySource {
  readonly entries: Uint8Array[] = [];
  #size = 0;

  integratedSize(): number {
    return this.#size;
  }

  next(fromIndex: number, limit: number): readonly LoggedEntry[] {
    const entries = this.entries.slice(fromIndex - 1, fromIndex - 1 + limit);
    return entries.map((bytes) => ({ id: naiveLeaf(bytes), bytes }));
  }

  integrated(fromIndex: number, entries: readonly LoggedEntry[]): void {
    // After a restore of an older copy the log has entries that the store lost: they are taken in again.
    entries.forEach(({ bytes }, i) => {
      this.entries[fromIndex - 1 + i] = bytes;
    });
    this.#size = Math.max(this.#size, fromIndex + entries.length);
  }
}
