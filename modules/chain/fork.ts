import { compareBytes, equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, Sha256 } from "../identity/crypto.js";
import { isAcceptablePublicKey, verifySignature } from "../identity/ed25519.js";
import { kidOf } from "../identity/key.js";
import { type CborLimits, decodeCbor, encodeCbor } from "../record/cbor.js";
import { parseRecord, RECORD_MAX_BYTES, type Record, recordId, toBeSigned } from "../record/record.js";

/** Two different records of one key at one position, both signed by it: whoever holds them needs no one's word. */
export interface Fork {
  readonly first: Record;
  readonly second: Record;
}

/** Checks that two records are a fork of `publicKey`'s chain. FORK_UNPROVED says what they lack. */
export function checkFork(crypto: Crypto, publicKey: Uint8Array, a: Uint8Array, b: Uint8Array): Result<Fork> {
  const first = parseRecord(a);
  if (!first.ok) return first;
  const second = parseRecord(b);
  if (!second.ok) return second;
  const kid = kidOf(crypto.sha256, publicKey);
  for (const record of [first.value, second.value]) {
    const { seq } = record.header;
    if (!equalBytes(record.header.kid, kid))
      return fail(
        "FORK_UNPROVED",
        `the record at seq ${seq} names kid ${toHex(record.header.kid)}, the key's is ${toHex(kid)}`,
      );
    if (!verifySignature(crypto.ed25519, record.signature, toBeSigned(record), publicKey))
      return fail("FORK_UNPROVED", `the record at seq ${seq} is not signed by the key`);
  }
  if (first.value.header.seq !== second.value.header.seq)
    return fail(
      "FORK_UNPROVED",
      `expected one position, received ${first.value.header.seq} and ${second.value.header.seq}`,
    );
  if (equalBytes(recordId(crypto.sha256, a), recordId(crypto.sha256, b)))
    return fail("FORK_UNPROVED", "expected two records, received one twice");
  return ok({ first: first.value, second: second.value });
}

const VERSION = 1;
/** Version, key, two records, and their heads. */
export const FORK_PROOF_MAX_BYTES = 2 * RECORD_MAX_BYTES + 64;
const LIMITS: CborLimits = { depth: 1 };

export interface ForkProof extends Fork {
  readonly publicKey: Uint8Array;
}

/** The file that proves a fork: one for each, whichever record was there first. Its bytes are in SPEC.md. */
export function encodeForkProof(sha256: Sha256, publicKey: Uint8Array, a: Uint8Array, b: Uint8Array): Uint8Array {
  const records = compareBytes(recordId(sha256, a), recordId(sha256, b)) < 0 ? [a, b] : [b, a];
  return encodeCbor([VERSION, publicKey, ...records]);
}

/** Checks the file. CBOR_INVALID, FORK_MALFORMED: it is none. RECORD_MALFORMED, FORK_UNPROVED: it proves nothing. */
export function checkForkProof(crypto: Crypto, bytes: Uint8Array): Result<ForkProof> {
  if (bytes.length > FORK_PROOF_MAX_BYTES) return malformed(`at most ${FORK_PROOF_MAX_BYTES} bytes`);
  const decoded = decodeCbor(bytes, LIMITS);
  if (!decoded.ok) return decoded;
  const items = decoded.value;
  if (!Array.isArray(items) || items.length !== 4 || items[0] !== VERSION)
    return malformed(`version ${VERSION}, a key and two records`);
  const [, publicKey, first, second] = items;
  if (!(publicKey instanceof Uint8Array) || !isAcceptablePublicKey(publicKey)) return malformed("a public key");
  if (!(first instanceof Uint8Array) || !(second instanceof Uint8Array)) return malformed("two records");
  const fork = checkFork(crypto, publicKey, first, second);
  if (!fork.ok) return fork;
  if (compareBytes(recordId(crypto.sha256, first), recordId(crypto.sha256, second)) > 0)
    return malformed("the record with the smaller id first");
  return ok({ ...fork.value, publicKey });
}

function malformed(expected: string): Result<never> {
  return fail("FORK_MALFORMED", `expected ${expected}`);
}
