/**
 * COSE Receipts (RFC 9942) of the RFC9162_SHA256 tree: proof that a record is in a log, in a form that any COSE library
 * takes apart. The signature is over the tree's root alone: it does not bind the size, so a receipt says nothing of how
 * fresh it is. The checkpoint that goes with it does.
 */
import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { kidOf } from "../identity/key.js";
import type { TreeHead } from "../log/checkpoint.js";
import { HASH_BYTES } from "../merkle/merkle.js";
import { PATH_MAX_HASHES, rootFromConsistency, rootFromInclusion } from "../merkle/proof.js";
import { type Cbor, type CborLimits, decodeCbor, encodeCbor, Tagged } from "../record/cbor.js";
import { ALG_EDDSA, isMap, isUint, KID_BYTES, parseRecord, SIGNATURE_BYTES, sigStructure } from "../record/record.js";

/** COSE header parameters and values (RFC 9942 §5, IANA "COSE Header Parameters"). */
const RECEIPTS_LABEL = 394;
const VDS_LABEL = 395;
const VDP_LABEL = 396;
const RFC9162_SHA256 = 1;
const INCLUSION = -1;
const CONSISTENCY = -2;

/** The longest receipt: its head, and PATH_MAX_HASHES hashes with two bytes before each. */
export const RECEIPT_MAX_BYTES = 256 + PATH_MAX_HASHES * (HASH_BYTES + 2);

/** Tag, array, unprotected map, proofs map, list of proofs. */
const OUTER_LIMITS: CborLimits = { depth: 5 };
const PROOF_LIMITS: CborLimits = { depth: 2 };

/** That one entry stands at `index` in the tree of `size`. */
export interface InclusionReceipt {
  readonly size: number;
  readonly index: number;
  readonly path: readonly Uint8Array[];
  /** First 8 bytes of SHA-256 over the log key's COSE_Key. */
  readonly kid: Uint8Array;
  /** The log's over `receiptToBeSigned` of the root. */
  readonly signature: Uint8Array;
}

/** That the tree of `size` continues the tree of `oldSize`. */
export interface ConsistencyReceipt {
  readonly oldSize: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  readonly kid: Uint8Array;
  readonly signature: Uint8Array;
}

function protectedHeader(kid: Uint8Array): Uint8Array {
  return encodeCbor(
    new Map<number, Cbor>([
      [1, ALG_EDDSA],
      [4, kid],
      [VDS_LABEL, RFC9162_SHA256],
    ]),
  );
}

/** What the log signs, once a root: Sig_structure with the root as detached payload. It serves every receipt of the tree. */
export function receiptToBeSigned(kid: Uint8Array, root: Uint8Array): Uint8Array {
  if (root.length !== HASH_BYTES) throw new RangeError(`root: expected ${HASH_BYTES} bytes, received ${root.length}`);
  return sigStructure(protectedHeader(kid), root);
}

/** The bytes of a receipt of inclusion. Throws RangeError for an empty path: RFC 9942 has no receipt of a one-leaf tree. */
export function encodeInclusionReceipt({ size, index, path, kid, signature }: InclusionReceipt): Uint8Array {
  return encodeReceipt(INCLUSION, [size, index], path, kid, signature);
}

/** The bytes of a receipt of consistency (RFC 9942 §5.3). Throws RangeError for an empty path. */
export function encodeConsistencyReceipt({ oldSize, size, path, kid, signature }: ConsistencyReceipt): Uint8Array {
  return encodeReceipt(CONSISTENCY, [oldSize, size], path, kid, signature);
}

function encodeReceipt(
  proofType: number,
  numbers: readonly [number, number],
  path: readonly Uint8Array[],
  kid: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  if (path.length === 0) throw new RangeError("path: expected at least one hash, received none");
  const proof = encodeCbor([...numbers, [...path]]);
  const unprotected = new Map<number, Cbor>([[VDP_LABEL, new Map<number, Cbor>([[proofType, [proof]]])]]);
  return encodeCbor(new Tagged(18, [protectedHeader(kid), unprotected, null, signature]));
}

/** Takes a receipt of inclusion apart. RECEIPT_MALFORMED, CBOR_INVALID. */
export function parseInclusionReceipt(bytes: Uint8Array): Result<InclusionReceipt> {
  const parsed = parseReceipt(bytes, INCLUSION);
  if (!parsed.ok) return parsed;
  const { first: size, second: index, ...rest } = parsed.value;
  return ok({ size, index, ...rest });
}

/** Takes a receipt of consistency apart. RECEIPT_MALFORMED, CBOR_INVALID. */
export function parseConsistencyReceipt(bytes: Uint8Array): Result<ConsistencyReceipt> {
  const parsed = parseReceipt(bytes, CONSISTENCY);
  if (!parsed.ok) return parsed;
  const { first: oldSize, second: size, ...rest } = parsed.value;
  return ok({ oldSize, size, ...rest });
}

interface ParsedReceipt {
  readonly first: number;
  readonly second: number;
  readonly path: readonly Uint8Array[];
  readonly kid: Uint8Array;
  readonly signature: Uint8Array;
}

function parseReceipt(bytes: Uint8Array, proofType: number): Result<ParsedReceipt> {
  if (bytes.length > RECEIPT_MAX_BYTES) return malformed(`at most ${RECEIPT_MAX_BYTES} bytes`, String(bytes.length));
  const outer = decodeCbor(bytes, OUTER_LIMITS);
  if (!outer.ok) return outer;
  const sign1 = outer.value;
  if (!(sign1 instanceof Tagged) || sign1.tag !== 18 || !Array.isArray(sign1.value) || sign1.value.length !== 4) {
    return malformed("a tagged COSE_Sign1", "something else");
  }
  const [protectedBytes, unprotected, payload, signature] = sign1.value as readonly Cbor[];
  if (payload !== null) return malformed("a detached payload (nil)", "another");
  if (!(signature instanceof Uint8Array) || signature.length !== SIGNATURE_BYTES) {
    return malformed(`a signature of ${SIGNATURE_BYTES} bytes`, "another");
  }
  const kid = readKid(protectedBytes);
  if (kid === undefined) return malformed("a header of EdDSA, kid and RFC9162_SHA256", "another");
  const proof = readOnlyProof(unprotected, proofType);
  if (proof === undefined) return malformed(`exactly one proof of type ${proofType}`, "something else");
  const decoded = decodeCbor(proof, PROOF_LIMITS);
  if (!decoded.ok) return decoded;
  const parts = decoded.value;
  if (!Array.isArray(parts) || parts.length !== 3) return malformed("a proof of three elements", "something else");
  const [first, second, path] = parts as readonly Cbor[];
  if (!isUint(first) || !isUint(second) || !isPath(path)) {
    return malformed("two unsigned numbers and a path of at least one hash", "something else");
  }
  return ok({ first, second, path, kid, signature });
}

function readKid(protectedBytes: Cbor | undefined): Uint8Array | undefined {
  if (!(protectedBytes instanceof Uint8Array)) return undefined;
  const header = decodeCbor(protectedBytes, PROOF_LIMITS);
  if (!header.ok || !isMap(header.value) || header.value.size !== 3) return undefined;
  const kid = header.value.get(4);
  if (header.value.get(1) !== ALG_EDDSA || header.value.get(VDS_LABEL) !== RFC9162_SHA256) return undefined;
  return kid instanceof Uint8Array && kid.length === KID_BYTES ? kid : undefined;
}

function readOnlyProof(unprotected: Cbor | undefined, proofType: number): Uint8Array | undefined {
  const proofs = isMap(unprotected) && unprotected.size === 1 ? unprotected.get(VDP_LABEL) : undefined;
  const list = isMap(proofs) && proofs.size === 1 ? proofs.get(proofType) : undefined;
  const only = Array.isArray(list) && list.length === 1 ? (list as readonly Cbor[])[0] : undefined;
  return only instanceof Uint8Array ? only : undefined;
}

function isPath(value: Cbor | undefined): value is readonly Uint8Array[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= PATH_MAX_HASHES &&
    (value as readonly Cbor[]).every((hash) => hash instanceof Uint8Array && hash.length === HASH_BYTES)
  );
}

/** What a verified receipt proves, and nothing more: the tree it names must be that of a checkpoint. */
export interface ProvedInclusion extends TreeHead {
  readonly index: number;
}

/**
 * Verifies a receipt for the record with this id: the path leads to a root, and `publicKey` signed that root.
 * RECEIPT_MALFORMED, CBOR_INVALID, PROOF_MALFORMED; SIGNATURE_INVALID where path, record or key are others.
 */
export function verifyInclusionReceipt(
  crypto: Crypto,
  publicKey: Uint8Array,
  bytes: Uint8Array,
  recordId: Uint8Array,
): Result<ProvedInclusion> {
  const parsed = parseInclusionReceipt(bytes);
  if (!parsed.ok) return parsed;
  const { size, index, path } = parsed.value;
  const root = rootFromInclusion(crypto.sha256, recordId, index, size, path);
  if (!root.ok) return root;
  const signed = verifyRoot(crypto, publicKey, parsed.value.kid, root.value, parsed.value.signature);
  return signed.ok ? ok({ size, index, root: root.value }) : signed;
}

/** Verifies that a newer tree, whose root `publicKey` signed, continues `older`; the same codes, and CONSISTENCY_FALSE. */
export function verifyConsistencyReceipt(
  crypto: Crypto,
  publicKey: Uint8Array,
  bytes: Uint8Array,
  older: TreeHead,
): Result<TreeHead> {
  const parsed = parseConsistencyReceipt(bytes);
  if (!parsed.ok) return parsed;
  const { oldSize, size, path } = parsed.value;
  if (oldSize !== older.size) return malformed(`a proof from size ${older.size}`, `one from ${oldSize}`);
  const root = rootFromConsistency(crypto.sha256, oldSize, older.root, size, path);
  if (!root.ok) return root;
  const signed = verifyRoot(crypto, publicKey, parsed.value.kid, root.value, parsed.value.signature);
  return signed.ok ? ok({ size, root: root.value }) : signed;
}

function verifyRoot(
  { sha256, ed25519 }: Crypto,
  publicKey: Uint8Array,
  kid: Uint8Array,
  root: Uint8Array,
  signature: Uint8Array,
): Result<true> {
  const expected = kidOf(sha256, publicKey);
  if (!equalBytes(kid, expected)) {
    return fail("SIGNATURE_INVALID", `expected a receipt of key ${toHex(expected)}, received one of ${toHex(kid)}`);
  }
  if (verifySignature(ed25519, signature, receiptToBeSigned(kid, root), publicKey)) return ok(true);
  return fail("SIGNATURE_INVALID", `the receipt's path leads to ${toHex(root)}, which its signature is not over`);
}

/**
 * A copy of a record with receipts in its unprotected header (RFC 9942 §4.2), for tools that expect them there. It is no
 * log entry: the entry, and the record's id, are of the bytes without. RECORD_MALFORMED where `record` is none.
 */
export function attachReceipts(record: Uint8Array, receipts: readonly Uint8Array[]): Result<Uint8Array> {
  const parsed = parseRecord(record);
  if (!parsed.ok) return parsed;
  if (receipts.length === 0) throw new RangeError("receipts: expected at least one, received none");
  const { protectedBytes, payload, signature } = parsed.value;
  const unprotected = new Map<number, Cbor>([[RECEIPTS_LABEL, [...receipts]]]);
  return ok(encodeCbor(new Tagged(18, [protectedBytes, unprotected, payload, signature])));
}

function malformed(expected: string, received: string): Result<never> {
  return fail("RECEIPT_MALFORMED", `expected ${expected}, received ${received}`);
}
