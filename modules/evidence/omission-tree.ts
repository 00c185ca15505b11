import { equalBytes } from "../bytes/bytes.js";
import type { Sha256 } from "../identity/crypto.js";
import { HASH_BYTES, RightEdge } from "../merkle/merkle.js";

/**
 * Walks a log's leaf hashes once, from the first on: the root at each size that is asked for, and where ids stand. Holds the
 * right edge, at most 53 hashes, whatever the log's size.
 */
export class LeafWalk {
  /** The hash of leaf 0; undefined before it has come. */
  first: Uint8Array | undefined;
  readonly #edge: RightEdge;
  readonly #roots = new Map<number, Uint8Array | undefined>();
  readonly #ids: readonly Uint8Array[];
  readonly #found: (number | undefined)[];

  constructor(sha256: Sha256, sizes: readonly number[], ids: readonly Uint8Array[]) {
    this.#edge = new RightEdge(sha256);
    for (const size of sizes) this.#roots.set(size, size === 0 ? this.#edge.root() : undefined);
    this.#ids = ids;
    this.#found = ids.map(() => undefined);
  }

  /** Leaf hashes that have come. */
  get count(): number {
    return this.#edge.size;
  }

  /** The next hashes, each 32 bytes. They are copied: the caller may use the bytes again. */
  append(hashes: Uint8Array): void {
    if (hashes.length % HASH_BYTES !== 0)
      throw new RangeError(`hashes: expected a multiple of ${HASH_BYTES} bytes, received ${hashes.length}`);
    for (let at = 0; at < hashes.length; at += HASH_BYTES) {
      const leaf = hashes.slice(at, at + HASH_BYTES);
      this.first ??= leaf;
      for (let i = 0; i < this.#ids.length; i++)
        if (this.#found[i] === undefined && equalBytes(this.#ids[i]!, leaf)) this.#found[i] = this.#edge.size;
      this.#edge.append(leaf);
      if (this.#roots.has(this.#edge.size)) this.#roots.set(this.#edge.size, this.#edge.root());
    }
  }

  /** Undefined where so many leaves have not come. Of a size that was asked for. */
  rootAt(size: number): Uint8Array | undefined {
    return this.#roots.get(size);
  }

  /** Where the id stands first among the leaves that have come; undefined where it does not. Of an id that was asked for. */
  indexOf(id: Uint8Array): number | undefined {
    return this.#found[this.#ids.findIndex((each) => equalBytes(each, id))];
  }
}
