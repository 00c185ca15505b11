/**
 * The Merkle tree of RFC 9162 §2.1 (the same as RFC 6962's), over SHA-256: leaf, node, root, and the right edge that
 * grows it. Bytes, limits and vectors: SPEC.md. Paths and their checks: proof.ts.
 *
 * Sizes and indices are numbers up to 2^53−1; arithmetic here is division and remainder, never 32-bit operators.
 */
import type { Sha256 } from "../identity/crypto.js";

/** Bytes in a leaf hash, a node hash and a root. */
export const HASH_BYTES = 32;

/** Most leaves in a tree: what a number counts exactly. */
export const TREE_MAX_SIZE = Number.MAX_SAFE_INTEGER;

/** The hash of one entry, `SHA-256(0x00 ‖ entry)`: a record's id, and its leaf in the log (RFC 9162 §2.1.1). */
export function leafHash(sha256: Sha256, entry: Uint8Array): Uint8Array {
  const prefixed = new Uint8Array(1 + entry.length);
  prefixed.set(entry, 1);
  return sha256(prefixed);
}

/** The hash of two subtrees, `SHA-256(0x01 ‖ left ‖ right)` (RFC 9162 §2.1.1). */
export function nodeHash(sha256: Sha256, left: Uint8Array, right: Uint8Array): Uint8Array {
  const prefixed = new Uint8Array(1 + 2 * HASH_BYTES);
  prefixed[0] = 1;
  prefixed.set(left, 1);
  prefixed.set(right, 1 + HASH_BYTES);
  return sha256(prefixed);
}

/** The root of the tree without leaves: the hash of nothing (RFC 9162 §2.1.1). */
export function emptyRoot(sha256: Sha256): Uint8Array {
  return sha256(new Uint8Array(0));
}

/** Whether `size` counts leaves that a tree here can have. */
export function isTreeSize(size: number): boolean {
  return Number.isSafeInteger(size) && size >= 0;
}

/** The largest power of two that is smaller than `size`, for `size` ≥ 2: where RFC 9162 splits a tree. */
export function splitPoint(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/** The root over leaf hashes, in memory: for a handful of leaves. */
export function rootOf(sha256: Sha256, leaves: readonly Uint8Array[]): Uint8Array {
  const edge = new RightEdge(sha256);
  for (const leaf of leaves) edge.append(leaf);
  return edge.root();
}

/** Told of each subtree that has become complete: `level` above the leaves, `index` from the left, its hash. */
export type NodeSink = (level: number, index: number, hash: Uint8Array) => void;

/**
 * The right edge of a growing tree: the roots of its complete subtrees, largest first, one for each bit set in `size`.
 * All that appending and the root need, in at most 53 hashes.
 */
export class RightEdge {
  readonly #sha256: Sha256;
  readonly #peaks: Uint8Array[];
  #size: number;

  /** Starts empty, or at `size` from the peaks that `peaks()` gave (their number is checked, their bytes cannot be). */
  constructor(sha256: Sha256, size = 0, peaks: readonly Uint8Array[] = []) {
    if (!isTreeSize(size)) throw new RangeError(`size: expected a whole number up to 2^53-1, received ${size}`);
    const expected = peakAddresses(size).length;
    if (peaks.length !== expected || peaks.some((peak) => peak.length !== HASH_BYTES)) {
      throw new RangeError(
        `peaks: expected ${expected} of ${HASH_BYTES} bytes for size ${size}, received ${peaks.length}`,
      );
    }
    this.#sha256 = sha256;
    this.#size = size;
    this.#peaks = peaks.slice();
  }

  get size(): number {
    return this.#size;
  }

  peaks(): readonly Uint8Array[] {
    return this.#peaks.slice();
  }

  /** Adds one leaf hash at the right; `complete` hears of the leaf itself (level 0) and of each subtree it completes. */
  append(leaf: Uint8Array, complete?: NodeSink): void {
    if (leaf.length !== HASH_BYTES) throw new RangeError(`leaf: expected ${HASH_BYTES} bytes, received ${leaf.length}`);
    if (this.#size === TREE_MAX_SIZE) throw new RangeError("the tree is full");
    let hash = leaf;
    let index = this.#size;
    let level = 0;
    complete?.(level, index, hash);
    while (index % 2 === 1) {
      hash = nodeHash(this.#sha256, this.#peaks.pop()!, hash);
      index = (index - 1) / 2;
      level += 1;
      complete?.(level, index, hash);
    }
    this.#peaks.push(hash);
    this.#size += 1;
  }

  root(): Uint8Array {
    return foldPeaks(this.#sha256, this.#peaks);
  }
}

/** One complete subtree: leaves [index·2^level, (index+1)·2^level). */
export interface NodeAddress {
  readonly level: number;
  readonly index: number;
}

/** The complete subtrees that a tree of `size` leaves consists of, largest first. */
export function peakAddresses(size: number): NodeAddress[] {
  const addresses: NodeAddress[] = [];
  let rest = size;
  for (let level = 0; rest > 0; level++) {
    if (rest % 2 === 1) addresses.unshift({ level, index: rest - 1 });
    rest = Math.floor(rest / 2);
  }
  return addresses;
}

/** The root over complete subtrees of falling size, largest first; of none, the empty tree's. */
export function foldPeaks(sha256: Sha256, peaks: readonly Uint8Array[]): Uint8Array {
  let root = peaks[peaks.length - 1];
  if (root === undefined) return emptyRoot(sha256);
  for (let i = peaks.length - 2; i >= 0; i--) root = nodeHash(sha256, peaks[i]!, root);
  return root;
}
