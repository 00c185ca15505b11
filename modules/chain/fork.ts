import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { parseRecord, type Record, recordId, toBeSigned } from "../record/record.js";

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
  for (const record of [first.value, second.value])
    if (!verifySignature(crypto.ed25519, record.signature, toBeSigned(record), publicKey))
      return fail("FORK_UNPROVED", `the record at seq ${record.header.seq} is not signed by the key`);
  if (first.value.header.seq !== second.value.header.seq)
    return fail(
      "FORK_UNPROVED",
      `expected one position, received ${first.value.header.seq} and ${second.value.header.seq}`,
    );
  if (equalBytes(recordId(crypto.sha256, a), recordId(crypto.sha256, b)))
    return fail("FORK_UNPROVED", "expected two records, received one twice");
  return ok({ first: first.value, second: second.value });
}
