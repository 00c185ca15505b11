/**
 * Inclusion and consistency paths of RFC 9162 §2.1.3 and §2.1.4: which nodes a path is made of, and the checks.
 *
 * A path is planned before it is read: each of its hashes is folded from a few complete subtrees, named by level and
 * index, so that a reader of files or of a network fetches all of them first and nothing here waits.
 */
import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import {
  emptyRoot,
  foldPeaks,
  HASH_BYTES,
  isTreeSize,
  type NodeAddress,
  nodeHash,
  peakAddresses,
  splitPoint,
} from "./merkle.js";

/** Most hashes in a path that is looked at; a longer one is refused unread (the bound of C2SP tlog-witness). */
export const PATH_MAX_HASHES = 63;

/** The hashes of a path in its order, each as the complete subtrees it is folded from, largest first. */
export type PathPlan = readonly (readonly NodeAddress[])[];

/** The hash of a complete subtree. */
export type NodeReader = (address: NodeAddress) => Uint8Array;

/** What the path for leaf `index` in a tree of `size` is made of, from the leaf's sibling up (RFC 9162 §2.1.3.1). */
export function inclusionPlan(index: number, size: number): PathPlan {
  if (!isTreeSize(size) || !isTreeSize(index) || index >= size) {
    throw new RangeError(`index: expected 0 up to below ${size}, received ${index}`);
  }
  const plan: NodeAddress[][] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const split = start + splitPoint(end - start);
    if (index < split) {
      plan.push(subtrees(split, end));
      end = split;
    } else {
      plan.push(subtrees(start, split));
      start = split;
    }
  }
  return plan.reverse();
}

/**
 * What the path from the tree of `oldSize` to the tree of `size` is made of (RFC 9162 §2.1.4.1). Empty where nothing
 * need be shown: the sizes are equal, or the old tree is empty.
 */
export function consistencyPlan(oldSize: number, size: number): PathPlan {
  if (!isTreeSize(size) || !isTreeSize(oldSize) || oldSize > size) {
    throw new RangeError(`oldSize: expected 0 to ${size}, received ${oldSize}`);
  }
  if (oldSize === 0 || oldSize === size) return [];
  const plan: NodeAddress[][] = [];
  let start = 0;
  let end = size;
  while (end !== oldSize) {
    const split = start + splitPoint(end - start);
    if (oldSize <= split) {
      plan.push(subtrees(split, end));
      end = split;
    } else {
      plan.push(subtrees(start, split));
      start = split;
    }
  }
  // The old tree's own last complete subtree, unless it is the whole old tree: its root the verifier has.
  if (start > 0) plan.push(subtrees(start, end));
  return plan.reverse();
}

/** The complete subtrees over leaves [start, end), where `start` is a multiple of the largest of them. */
function subtrees(start: number, end: number): NodeAddress[] {
  return peakAddresses(end - start).map(({ level, index }) => ({ level, index: index + start / 2 ** level }));
}

/** The path that a plan describes. */
export function readPath(sha256: Sha256, plan: PathPlan, read: NodeReader): Uint8Array[] {
  return plan.map((addresses) => foldPeaks(sha256, addresses.map(read)));
}

/** The root that the path leads to from `leaf` at `index` in a tree of `size` (RFC 9162 §2.1.3.2). PROOF_MALFORMED. */
export function rootFromInclusion(
  sha256: Sha256,
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Result<Uint8Array> {
  if (!isTreeSize(size) || !isTreeSize(index) || index >= size) {
    return fail("PROOF_MALFORMED", `expected an index below the tree's size, received ${index} and ${size}`);
  }
  if (leaf.length !== HASH_BYTES) {
    return fail("PROOF_MALFORMED", `expected a leaf hash of ${HASH_BYTES} bytes, received ${leaf.length}`);
  }
  const unfit = unfitPath(path);
  if (unfit !== undefined) return fail("PROOF_MALFORMED", unfit);
  let node = index;
  let last = size - 1;
  let root = leaf;
  for (const hash of path) {
    if (last === 0) return fail("PROOF_MALFORMED", `the path of ${path.length} hashes is too long for ${size} leaves`);
    if (node % 2 === 1 || node === last) {
      root = nodeHash(sha256, hash, root);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      root = nodeHash(sha256, root, hash);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) return fail("PROOF_MALFORMED", `the path of ${path.length} hashes is too short for ${size} leaves`);
  return ok(root);
}

/** That `leaf` stands at `index` in the tree of `size` with `root`. PROOF_MALFORMED, INCLUSION_FALSE. */
export function verifyInclusion(
  sha256: Sha256,
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
  root: Uint8Array,
): Result<true> {
  const computed = rootFromInclusion(sha256, leaf, index, size, path);
  if (!computed.ok) return computed;
  if (equalBytes(computed.value, root)) return ok(true);
  return fail("INCLUSION_FALSE", `expected the root ${toHex(root)}, received a path to ${toHex(computed.value)}`);
}

/**
 * The root at `size` that the path leads to from the tree of `oldSize` with `oldRoot` (RFC 9162 §2.1.4.2), for
 * 0 < oldSize < size: only there does a path say what the new root is. PROOF_MALFORMED, CONSISTENCY_FALSE.
 */
export function rootFromConsistency(
  sha256: Sha256,
  oldSize: number,
  oldRoot: Uint8Array,
  size: number,
  path: readonly Uint8Array[],
): Result<Uint8Array> {
  if (!isTreeSize(size) || !isTreeSize(oldSize) || oldSize === 0 || oldSize >= size) {
    return fail("PROOF_MALFORMED", `expected sizes that grow from at least 1, received ${oldSize} and ${size}`);
  }
  const unfit = unfitPath(path);
  if (unfit !== undefined) return fail("PROOF_MALFORMED", unfit);

  let node = oldSize - 1;
  let last = size - 1;
  while (node % 2 === 1) {
    node = (node - 1) / 2;
    last = Math.floor(last / 2);
  }
  // `node` 0 here: the old tree is one complete subtree of the new one, and its root starts the path.
  const start = node === 0 ? oldRoot : path[0];
  if (start === undefined) return fail("PROOF_MALFORMED", `expected a path from ${oldSize} to ${size}, received none`);
  let oldComputed = start;
  let computed = start;
  for (const hash of node === 0 ? path : path.slice(1)) {
    if (last === 0) return fail("PROOF_MALFORMED", `the path of ${path.length} hashes is too long for ${size} leaves`);
    if (node % 2 === 1 || node === last) {
      oldComputed = nodeHash(sha256, hash, oldComputed);
      computed = nodeHash(sha256, hash, computed);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      computed = nodeHash(sha256, computed, hash);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) return fail("PROOF_MALFORMED", `the path of ${path.length} hashes is too short for ${size} leaves`);
  if (!equalBytes(oldComputed, oldRoot)) {
    return fail(
      "CONSISTENCY_FALSE",
      `expected the root ${toHex(oldRoot)} at ${oldSize}, received a path from ${toHex(oldComputed)}`,
    );
  }
  return ok(computed);
}

/**
 * That the tree of `oldSize` with `oldRoot` is how the tree of `size` with `root` began. Equal sizes need equal roots
 * and the empty tree needs its own root, both with an empty path. PROOF_MALFORMED, CONSISTENCY_FALSE.
 */
export function verifyConsistency(
  sha256: Sha256,
  oldSize: number,
  oldRoot: Uint8Array,
  size: number,
  root: Uint8Array,
  path: readonly Uint8Array[],
): Result<true> {
  if (!isTreeSize(size) || !isTreeSize(oldSize) || oldSize > size) {
    return fail("PROOF_MALFORMED", `expected sizes that do not shrink, received ${oldSize} and ${size}`);
  }
  if (oldSize === 0 || oldSize === size) {
    if (path.length > 0) return fail("PROOF_MALFORMED", `expected an empty path, received ${path.length} hashes`);
    const expected = oldSize === size ? root : emptyRoot(sha256);
    if (equalBytes(oldRoot, expected) && (size > 0 || equalBytes(root, emptyRoot(sha256)))) return ok(true);
    return fail("CONSISTENCY_FALSE", `expected the root ${toHex(expected)} at ${oldSize}, received ${toHex(oldRoot)}`);
  }
  const computed = rootFromConsistency(sha256, oldSize, oldRoot, size, path);
  if (!computed.ok) return computed;
  if (equalBytes(computed.value, root)) return ok(true);
  return fail(
    "CONSISTENCY_FALSE",
    `expected the root ${toHex(root)} at ${size}, received a path to ${toHex(computed.value)}`,
  );
}

function unfitPath(path: readonly Uint8Array[]): string | undefined {
  if (path.length > PATH_MAX_HASHES) return `expected at most ${PATH_MAX_HASHES} hashes, received ${path.length}`;
  const odd = path.find((hash) => hash.length !== HASH_BYTES);
  return odd === undefined ? undefined : `expected hashes of ${HASH_BYTES} bytes, received one of ${odd.length}`;
}
