/** A log on a simulated disk, with a source whose entries are durable in order, as the relay's store keeps them. */

import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Log, type LogOptions } from "../../hosts/relay/log/log.js";
import type { EntrySource, LoggedEntry, SignedHead } from "../../hosts/relay/log/sequencer.js";
import { naiveLeaf } from "../merkle/naive.js";
import type { MemoryDisk } from "./disk.js";

export const ORIGIN = "relay.example/tests";
export const OPENING = { logWithinS: 60, policy: "for tests" };

export function entryOf(n: number): Uint8Array {
  return new Uint8Array(Buffer.from(`entry ${n} ${"x".repeat(n % 50)}`));
}

/** Survives every cut, as a database does; `disk` only lends it the counted steps. */
export class MemorySource implements EntrySource {
  readonly entries: Uint8Array[] = [];
  /** Index by position in `entries`. */
  readonly indexOf = new Map<number, number>();
  readonly #positions = new Map<string, number>();
  #told = 0;
  disk: MemoryDisk | undefined;

  add(count: number): void {
    for (let i = 0; i < count; i++) {
      const entry = entryOf(this.entries.length);
      this.#positions.set(Buffer.from(entry).toString("hex"), this.entries.length);
      this.entries.push(entry);
    }
  }

  integratedSize(): number {
    return this.#told;
  }

  next(fromIndex: number, limit: number): readonly LoggedEntry[] {
    if (fromIndex !== Math.max(1, this.#told)) throw new Error(`asked from ${fromIndex}, told to ${this.#told}`);
    const entries: LoggedEntry[] = [];
    for (let i = 0; i < this.entries.length && entries.length < limit; i++) {
      const bytes = this.entries[i]!;
      if (!this.indexOf.has(i)) entries.push({ id: naiveLeaf(bytes), bytes });
    }
    return entries;
  }

  integrated(fromIndex: number, entries: readonly LoggedEntry[]): void {
    const apply = () => {
      entries.forEach(({ id, bytes }, i) => {
        const position = this.#positions.get(Buffer.from(bytes).toString("hex"));
        if (position === undefined) throw new Error("told of an entry that is not held");
        if (Buffer.compare(naiveLeaf(bytes), id) !== 0) throw new Error("told of an id that is another's");
        const earlier = this.indexOf.get(position);
        if (earlier !== undefined && earlier !== fromIndex + i) throw new Error(`entry ${position} moved`);
        this.indexOf.set(position, fromIndex + i);
      });
      this.#told = Math.max(this.#told, fromIndex + entries.length);
    };
    if (this.disk) this.disk.step("integrated", apply);
    else apply();
  }
}

/** Every log here has the same key, so that equal entries give equal trees. */
export const entropy = { bytes: (length: number) => new Uint8Array(length).fill(7) };

export function optionsFor(disk: MemoryDisk, source: EntrySource, more: Partial<LogOptions> = {}): LogOptions {
  return { origin: ORIGIN, crypto: relayCrypto, entropy, source, opening: OPENING, disk, ...more };
}

export function openOn(disk: MemoryDisk, source: MemorySource, heads: SignedHead[] = []) {
  source.disk = disk;
  return Log.open("/log", optionsFor(disk, source, { followed: true, onCheckpoint: (head) => heads.push(head) }));
}
