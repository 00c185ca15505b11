import { keccak_256 } from "@noble/hashes/sha3.js";
import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { decodeRlp, type Rlp, rlpBytes } from "./rlp.js";

/**
 * The value of one key in one of Ethereum's tries (Yellow Paper, appendix D), walked down a proof from the root's
 * hash. The keys of state and storage tries are hashes, so all have 64 nibbles and none is another's prefix: a branch
 * never holds a value.
 */

/** A path has 64 nibbles and every node but the root consumes at least one. */
export const TRIE_MAX_NODES = 65;
/** A full branch has 532 bytes; a leaf with an account at most about 150. */
export const TRIE_NODE_MAX_BYTES = 600;

const NIBBLES = 64;

/**
 * The bytes stored under `key` (before hashing: an address or a 32-byte slot number) in the trie with this root.
 * `proof` is the nodes from the root to the leaf, each as RLP, nothing more (EIP-1186's order). ANCHOR_FALSE where the
 * proof does not show the value, ANCHOR_MALFORMED where it is no proof.
 */
export function readTrie(root: Uint8Array, key: Uint8Array, proof: readonly Uint8Array[]): Result<Uint8Array> {
  if (proof.length > TRIE_MAX_NODES) return malformed(`at most ${TRIE_MAX_NODES} nodes, found ${proof.length}`);
  const path = nibbles(keccak_256(key));
  let next: Rlp = root;
  let position = 0;
  let used = 0;
  while (true) {
    // A node shorter than 32 bytes stands in its parent itself, else its hash does.
    let node: Rlp = next;
    if (node instanceof Uint8Array) {
      const bytes = proof[used];
      if (bytes === undefined) return fail("ANCHOR_FALSE", `the proof ends after ${used} nodes, before the value`);
      if (bytes.length > TRIE_NODE_MAX_BYTES) return malformed(`a node of ${bytes.length} bytes`);
      if (!equalBytes(keccak_256(bytes), node)) {
        return fail("ANCHOR_FALSE", `node ${used} of the proof hashes to another value than ${toHex(node)}`);
      }
      const decoded = decodeRlp(bytes);
      if (!decoded.ok) return decoded;
      node = decoded.value;
      used++;
    }
    if (node instanceof Uint8Array) return malformed("a node that is no list");

    if (node.length === 17) {
      if (rlpBytes(node[16], 0) === undefined) return malformed("a branch with a value of its own");
      if (position === NIBBLES) return malformed("a branch below the end of the path");
      const child = reference(node[path[position]!]);
      if (child === undefined) return fail("ANCHOR_FALSE", "nothing is stored under the key");
      next = child;
      position++;
      continue;
    }

    if (node.length !== 2) return malformed(`a node of ${node.length} items`);
    const part = hexPrefix(node[0]);
    if (part === undefined) return malformed("a node's path is not in hex-prefix encoding");
    for (const nibble of part.nibbles) {
      if (position === NIBBLES || path[position] !== nibble) {
        return fail("ANCHOR_FALSE", "nothing is stored under the key");
      }
      position++;
    }
    if (part.leaf) {
      const value = rlpBytes(node[1]);
      if (value === undefined || position !== NIBBLES) return malformed("a leaf that is not at the end of the path");
      if (used !== proof.length) return malformed(`${proof.length - used} nodes after the value`);
      return ok(value);
    }
    const child = reference(node[1]);
    if (child === undefined || part.nibbles.length === 0) return malformed("an extension that leads nowhere");
    next = child;
  }
}

/** What a branch or an extension points to: a hash or an embedded node; undefined where it is empty or neither. */
function reference(item: Rlp | undefined): Rlp | undefined {
  if (item instanceof Uint8Array) return item.length === 32 ? item : undefined;
  return item;
}

/** Appendix C: the high nibble of the first byte tells leaf (2) and odd length (1). */
function hexPrefix(item: Rlp | undefined): { leaf: boolean; nibbles: number[] } | undefined {
  const bytes = rlpBytes(item);
  if (bytes === undefined || bytes.length === 0 || bytes.length > 1 + NIBBLES / 2) return undefined;
  const flag = bytes[0]! >> 4;
  if (flag > 3 || (flag % 2 === 0 && (bytes[0]! & 15) !== 0)) return undefined;
  return { leaf: flag >= 2, nibbles: nibbles(bytes).slice(flag % 2 === 1 ? 1 : 2) };
}

function nibbles(bytes: Uint8Array): number[] {
  const all: number[] = [];
  for (const byte of bytes) all.push(byte >> 4, byte & 15);
  return all;
}

function malformed(detail: string): Result<never> {
  return fail("ANCHOR_MALFORMED", detail);
}
