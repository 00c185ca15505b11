import { keccak_256 } from "@noble/hashes/sha3.js";
import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Cbor } from "../record/cbor.js";
import { decodeRlp, type Rlp, rlpBytes, rlpNumber } from "./rlp.js";
import { readTrie, TRIE_MAX_NODES, TRIE_NODE_MAX_BYTES } from "./trie.js";

/**
 * An anchor on an EVM chain, checked offline: from a block hash that the verifier trusts, down the header's state root,
 * the account's storage root and two storage slots, to the size and root of a checkpoint. Layout: EVM.md.
 */
export interface EvmAnchor {
  /** EIP-155 chain id. */
  readonly chainId: number;
  /** Address of the anchor contract, 20 bytes. */
  readonly contract: Uint8Array;
  /** The anchored checkpoint's size and root. */
  readonly size: number;
  readonly root: Uint8Array;
  /** Block headers as RLP, oldest first: the first has the state, each names the one before, the last is the block to trust. */
  readonly headers: readonly Uint8Array[];
  /** EIP-1186 proofs, from the root to the leaf: the contract's account, and its slots 0 and 1. */
  readonly accountProof: readonly Uint8Array[];
  readonly sizeProof: readonly Uint8Array[];
  readonly rootProof: readonly Uint8Array[];
}

/** What the verifier knows from elsewhere: a policy, never the evidence itself. */
export interface TrustedBlock {
  readonly chainId: number;
  /** 20 bytes. */
  readonly contract: Uint8Array;
  /** 32 bytes: the hash of a block that the verifier holds to be final. */
  readonly blockHash: Uint8Array;
}

/** What the ledger is proved to have held. */
export interface ProvedCheckpoint {
  readonly size: number;
  readonly root: Uint8Array;
  /** The block whose state holds it: the checkpoint is not newer than this block. */
  readonly blockNumber: number;
  /** That block's time, in whole seconds since 1970, as its producer stated it. */
  readonly timestamp: number;
}

/** Tells this kind of anchor from others under key 1. */
export const ANCHOR_EVM = 1;
export const ANCHOR_MAX_HEADERS = 256;
/** About 620 bytes on Ethereum; chains that put their validators' names into `extraData` need more. */
export const HEADER_MAX_BYTES = 4096;

/** Slots of Anchor.sol, as 32-byte numbers. */
const SIZE_SLOT = new Uint8Array(32);
const ROOT_SLOT = new Uint8Array(32);
ROOT_SLOT[31] = 1;

/** Positions in a block header, the same in every fork so far (Yellow Paper §4.4.2). */
const HEADER_PARENT = 0;
const HEADER_STATE_ROOT = 3;
const HEADER_NUMBER = 8;
const HEADER_TIMESTAMP = 11;
const HEADER_MIN_ITEMS = 15;

/**
 * Whether the anchor leads from the trusted block to its checkpoint. ANCHOR_MALFORMED: not an anchor;
 * ANCHOR_FOREIGN: of another chain or contract; ANCHOR_UNTRUSTED: ends in another block (the detail names it);
 * ANCHOR_FALSE: some step of the proof fails.
 */
export function verifyEvmAnchor(anchor: EvmAnchor, trusted: TrustedBlock): Result<ProvedCheckpoint> {
  if (anchor.chainId !== trusted.chainId) {
    return fail("ANCHOR_FOREIGN", `expected chain ${trusted.chainId}, the anchor is on ${anchor.chainId}`);
  }
  if (!equalBytes(anchor.contract, trusted.contract)) {
    return fail(
      "ANCHOR_FOREIGN",
      `expected 0x${toHex(trusted.contract)}, the anchor is in 0x${toHex(anchor.contract)}`,
    );
  }
  const chain = readHeaders(anchor.headers);
  if (!chain.ok) return chain;
  const { first, last, lastHash } = chain.value;
  if (!equalBytes(lastHash, trusted.blockHash)) {
    return fail("ANCHOR_UNTRUSTED", `the anchor ends in block ${last.number}, hash 0x${toHex(lastHash)}`);
  }
  const account = readTrie(first.stateRoot, anchor.contract, anchor.accountProof);
  if (!account.ok) return account;
  const storageRoot = readStorageRoot(account.value);
  if (!storageRoot.ok) return storageRoot;
  const size = readSlot(storageRoot.value, SIZE_SLOT, anchor.sizeProof);
  if (!size.ok) return size;
  const root = readSlot(storageRoot.value, ROOT_SLOT, anchor.rootProof);
  if (!root.ok) return root;
  const storedSize = rlpNumber(size.value);
  if (storedSize !== anchor.size) {
    return fail("ANCHOR_FALSE", `the anchor claims the size ${anchor.size}, the ledger held ${storedSize}`);
  }
  const storedRoot = new Uint8Array(32);
  storedRoot.set(root.value, 32 - root.value.length);
  if (!equalBytes(storedRoot, anchor.root)) {
    return fail(
      "ANCHOR_FALSE",
      `the anchor claims the root ${toHex(anchor.root)}, the ledger held ${toHex(storedRoot)}`,
    );
  }
  return ok({ size: anchor.size, root: storedRoot, blockNumber: first.number, timestamp: first.timestamp });
}

/** A block as its header names it. */
export interface EvmBlock {
  readonly number: number;
  readonly hash: Uint8Array;
}

/** The block that a verifier has to trust for this anchor to hold: what to look up. A claim until it is looked up. */
export function anchorBlock(anchor: EvmAnchor): Result<EvmBlock> {
  const chain = readHeaders(anchor.headers);
  return chain.ok ? ok({ number: chain.value.last.number, hash: chain.value.lastHash }) : chain;
}

/** The anchor as the map of EVM.md, to be put into evidence. */
export function encodeEvmAnchor(anchor: EvmAnchor): Map<number, Cbor> {
  return new Map<number, Cbor>([
    [1, ANCHOR_EVM],
    [2, anchor.chainId],
    [3, anchor.contract],
    [4, anchor.size],
    [5, anchor.root],
    [6, anchor.headers],
    [7, anchor.accountProof],
    [8, anchor.sizeProof],
    [9, anchor.rootProof],
  ]);
}

/** The anchor that a map of EVM.md holds: shape and limits only, nothing is proved yet. ANCHOR_MALFORMED otherwise. */
export function readEvmAnchor(value: Cbor): Result<EvmAnchor> {
  if (!(value instanceof Map) || value.size !== 9 || value.get(1) !== ANCHOR_EVM) {
    return malformed("expected a map of 9 entries with the kind 1 under key 1");
  }
  const chainId = uint(value.get(2));
  const contract = bytes(value.get(3), 20);
  const size = uint(value.get(4));
  const root = bytes(value.get(5), 32);
  const headers = list(value.get(6), ANCHOR_MAX_HEADERS, HEADER_MAX_BYTES);
  const accountProof = list(value.get(7), TRIE_MAX_NODES, TRIE_NODE_MAX_BYTES);
  const sizeProof = list(value.get(8), TRIE_MAX_NODES, TRIE_NODE_MAX_BYTES);
  const rootProof = list(value.get(9), TRIE_MAX_NODES, TRIE_NODE_MAX_BYTES);
  if (chainId === undefined || contract === undefined || size === undefined || root === undefined) {
    return malformed("chain id, contract, size or root has the wrong type or length");
  }
  if (headers === undefined || accountProof === undefined || sizeProof === undefined || rootProof === undefined) {
    return malformed("headers or proofs are not lists of byte strings within the limits");
  }
  return ok({ chainId, contract, size, root, headers, accountProof, sizeProof, rootProof });
}

interface Header {
  readonly parent: Uint8Array;
  readonly stateRoot: Uint8Array;
  readonly number: number;
  readonly timestamp: number;
}

/** Reads headers that name one another; the hash of the last is the hash of all. */
function readHeaders(headers: readonly Uint8Array[]): Result<{ first: Header; last: Header; lastHash: Uint8Array }> {
  if (headers.length === 0 || headers.length > ANCHOR_MAX_HEADERS) {
    return malformed(`1 to ${ANCHOR_MAX_HEADERS} headers, found ${headers.length}`);
  }
  let first: Header | undefined;
  let last: Header | undefined;
  let lastHash = new Uint8Array(0);
  for (const encoded of headers) {
    const header = readHeader(encoded);
    if (!header.ok) return header;
    if (last !== undefined && !equalBytes(header.value.parent, lastHash)) {
      return fail("ANCHOR_FALSE", `block ${header.value.number} does not name block ${last.number} before it`);
    }
    first ??= header.value;
    last = header.value;
    lastHash = keccak_256(encoded);
  }
  return ok({ first: first!, last: last!, lastHash });
}

function readHeader(encoded: Uint8Array): Result<Header> {
  if (encoded.length > HEADER_MAX_BYTES) return malformed(`a header of ${encoded.length} bytes`);
  const decoded = decodeRlp(encoded);
  if (!decoded.ok) return decoded;
  const items: Rlp = decoded.value;
  if (items instanceof Uint8Array || items.length < HEADER_MIN_ITEMS) return malformed("not a block header");
  const parent = rlpBytes(items[HEADER_PARENT], 32);
  const stateRoot = rlpBytes(items[HEADER_STATE_ROOT], 32);
  const number = rlpNumber(items[HEADER_NUMBER]);
  const timestamp = rlpNumber(items[HEADER_TIMESTAMP]);
  if (parent === undefined || stateRoot === undefined || number === undefined || timestamp === undefined) {
    return malformed("not a block header");
  }
  return ok({ parent, stateRoot, number, timestamp });
}

/** An account is [nonce, balance, storage root, code hash] (Yellow Paper §4.1). */
function readStorageRoot(account: Uint8Array): Result<Uint8Array> {
  const decoded = decodeRlp(account);
  if (!decoded.ok) return decoded;
  const items: Rlp = decoded.value;
  const storageRoot = items instanceof Uint8Array || items.length !== 4 ? undefined : rlpBytes(items[2], 32);
  return storageRoot === undefined ? malformed("not an account") : ok(storageRoot);
}

/** A slot's value is stored as RLP of the number without leading zeros; a slot of zero is not stored at all. */
function readSlot(storageRoot: Uint8Array, slot: Uint8Array, proof: readonly Uint8Array[]): Result<Uint8Array> {
  const stored = readTrie(storageRoot, slot, proof);
  if (!stored.ok) return stored;
  const decoded = decodeRlp(stored.value);
  if (!decoded.ok) return decoded;
  const value = rlpBytes(decoded.value);
  if (value === undefined || value.length === 0 || value.length > 32 || value[0] === 0) {
    return malformed("a slot's value is no number of 1 to 32 bytes");
  }
  return ok(value);
}

function uint(value: Cbor | undefined): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function bytes(value: Cbor | undefined, length: number): Uint8Array | undefined {
  return value instanceof Uint8Array && value.length === length ? value : undefined;
}

function list(value: Cbor | undefined, maxItems: number, maxBytes: number): Uint8Array[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > maxItems) return undefined;
  const items: Uint8Array[] = [];
  for (const item of value as readonly Cbor[]) {
    if (!(item instanceof Uint8Array) || item.length > maxBytes) return undefined;
    items.push(item);
  }
  return items;
}

function malformed(detail: string): Result<never> {
  return fail("ANCHOR_MALFORMED", detail);
}
