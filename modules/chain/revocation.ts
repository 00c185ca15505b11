import { equalBytes, toHex, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { kidOf } from "../identity/key.js";
import type { Cbor } from "../record/cbor.js";
import { readMakerStatement } from "../record/maker.js";
import type { Genesis } from "../record/payload.js";
import { isUint, KID_BYTES } from "../record/record.js";
import { makeStatement, readStatement, type Statement } from "../record/statement.js";

/**
 * The end of a key's word from a position of its chain on: what the key signs there, or has signed, counts no more. It is
 * said by somebody else than the key, which may be in other hands: SPEC.md says by whom.
 */
export interface Revocation {
  /** Of the device's key. */
  readonly kid: Uint8Array;
  /** The first position that does not count; 0 is all of the chain. */
  readonly fromSeq: number;
  /** When it was said, by the signer's clock: seconds since 1970. */
  readonly timeS: number;
  /** For people, at most 64 bytes of UTF-8. */
  readonly reason?: string;
}

export const REVOCATION_TYP = "application/vnd.tallystick.revocation+cbor";
/** The largest revocation: header, payload and signature take 182 bytes beside the reason. */
export const REVOCATION_MAX_BYTES = 512;
export const REASON_MAX_BYTES = 64;

/** Makes the statement by the key of `signerKid`. Throws RangeError for a reason that is too long. */
export function makeRevocation(
  signerKid: Uint8Array,
  { kid, fromSeq, timeS, reason }: Revocation,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  if (reason !== undefined && !isReason(reason))
    throw new RangeError(`reason: expected 1 to ${REASON_MAX_BYTES} bytes of UTF-8`);
  const payload = new Map<number, Cbor>([
    [1, kid],
    [2, fromSeq],
    [3, timeS],
  ]);
  if (reason !== undefined) payload.set(4, reason);
  return makeStatement(REVOCATION_TYP, signerKid, payload, sign);
}

/** Takes a revocation apart; who signed it, and whether that one may, is not looked at. STATEMENT_MALFORMED, CBOR_INVALID. */
export function readRevocation(
  bytes: Uint8Array,
): Result<{ readonly statement: Statement; readonly revocation: Revocation }> {
  if (bytes.length > REVOCATION_MAX_BYTES) return malformed(`at most ${REVOCATION_MAX_BYTES} bytes`);
  const statement = readStatement(REVOCATION_TYP, bytes);
  if (!statement.ok) return statement;
  const { payload } = statement.value;
  const [kid, fromSeq, timeS, reason] = [1, 2, 3, 4].map((label) => payload.get(label));
  if (payload.size !== (reason === undefined ? 3 : 4)) return malformed("the labels 1 to 4");
  if (!(kid instanceof Uint8Array) || kid.length !== KID_BYTES) return malformed("a kid of 8 bytes");
  if (!isUint(fromSeq) || !isUint(timeS)) return malformed("position and time");
  if (reason !== undefined && !(typeof reason === "string" && isReason(reason)))
    return malformed(`a reason of 1 to ${REASON_MAX_BYTES} bytes`);
  const revocation = { kid, fromSeq, timeS, ...(reason !== undefined && { reason }) };
  return ok({ statement: statement.value, revocation });
}

/**
 * Who may revoke the key of the chain that `genesis` begins: the owner that a statement in it names; where none is named,
 * the relay's operator, by the key that genesis pins. The device itself named them, when its key was new.
 */
export function revokersOf({ statement, relayKey }: Genesis): {
  readonly owner?: Uint8Array;
  readonly operator?: Uint8Array;
} {
  const vouched = statement && readMakerStatement(statement);
  const owner = vouched?.ok ? vouched.value.vouched.ownerKey : undefined;
  if (owner) return { owner };
  return relayKey ? { operator: relayKey } : {};
}

/**
 * Checks a revocation of `kid`'s key by one of `revokers`, public keys of 32 bytes each. KEY_MISMATCH where it is about
 * another key, REVOCATION_FALSE where none of them has signed it, and what `readRevocation` answers.
 */
export function checkRevocation(
  crypto: Crypto,
  bytes: Uint8Array,
  kid: Uint8Array,
  revokers: readonly Uint8Array[],
): Result<Revocation & { readonly signer: Uint8Array }> {
  const read = readRevocation(bytes);
  if (!read.ok) return read;
  const { statement, revocation } = read.value;
  if (!equalBytes(revocation.kid, kid))
    return fail("KEY_MISMATCH", `expected a revocation of ${toHex(kid)}, received one of ${toHex(revocation.kid)}`);
  const signer = revokers.find((key) => equalBytes(kidOf(crypto.sha256, key), statement.kid));
  if (!signer || !verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, signer))
    return fail("REVOCATION_FALSE", `it is not signed by a key that may, but in the name of ${toHex(statement.kid)}`);
  return ok({ ...revocation, signer });
}

function isReason(reason: string): boolean {
  return reason.length > 0 && reason.length <= REASON_MAX_BYTES && utf8(reason).length <= REASON_MAX_BYTES;
}

function malformed(expected: string): Result<never> {
  return fail("STATEMENT_MALFORMED", `expected ${expected}`);
}
