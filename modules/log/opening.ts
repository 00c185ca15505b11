/**
 * The opening statement: leaf 0 of every log, signed by the log's key. It says whose log this is and what it promises,
 * and it is why no record ever stands in a tree of one leaf, for which COSE knows no receipt.
 */
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { kidOf } from "../identity/key.js";
import type { Cbor } from "../record/cbor.js";
import { coseKey, publicKeyOf } from "../record/payload.js";
import { isUint } from "../record/record.js";
import { makeStatement, readStatement } from "../record/statement.js";

export const OPENING_TYP = "application/vnd.tallystick.opening+cbor";

/** Most characters in the text of a policy. */
export const POLICY_MAX_CHARACTERS = 1024;

/** Payload labels; SPEC.md has the CDDL. */
const Label = { origin: 1, logKey: 2, relayKey: 3, recoveryKey: 4, logWithinS: 5, policy: 6 } as const;

export interface Opening {
  /** Name of the log and of its key, as in every checkpoint. */
  readonly origin: string;
  readonly logKey: Uint8Array;
  /** The key that signs acknowledgements to devices. */
  readonly relayKey?: Uint8Array;
  /** The offline key that can name a new relay key. */
  readonly recoveryKey?: Uint8Array;
  /** Seconds within which an acknowledged record is in a signed checkpoint. */
  readonly logWithinS: number;
  /** For people: who runs the log, and by what rules. */
  readonly policy: string;
}

/** The entry's bytes. `sign` is given what to sign and returns the log key's 64 bytes. */
export function makeOpening(
  sha256: Crypto["sha256"],
  opening: Opening,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  if (opening.policy.length > POLICY_MAX_CHARACTERS) {
    throw new RangeError(`policy: expected at most ${POLICY_MAX_CHARACTERS} characters`);
  }
  const payload = new Map<number, Cbor>([
    [Label.origin, opening.origin],
    [Label.logKey, coseKey(opening.logKey)],
    [Label.logWithinS, opening.logWithinS],
    [Label.policy, opening.policy],
  ]);
  if (opening.relayKey) payload.set(Label.relayKey, coseKey(opening.relayKey));
  if (opening.recoveryKey) payload.set(Label.recoveryKey, coseKey(opening.recoveryKey));
  return makeStatement(OPENING_TYP, kidOf(sha256, opening.logKey), payload, sign);
}

/**
 * Reads an opening and verifies it by the key that it names itself: whether that is the log's key is for the caller, who
 * has it from elsewhere. STATEMENT_MALFORMED, CBOR_INVALID, SIGNATURE_INVALID.
 */
export function readOpening(crypto: Crypto, bytes: Uint8Array): Result<Opening> {
  const statement = readStatement(OPENING_TYP, bytes);
  if (!statement.ok) return statement;
  const { payload, signature, signedBytes } = statement.value;
  const known: readonly unknown[] = Object.values(Label);
  for (const label of payload.keys()) if (!known.includes(label)) return malformed("known labels", String(label));
  const origin = payload.get(Label.origin);
  const policy = payload.get(Label.policy);
  const logWithinS = payload.get(Label.logWithinS);
  const logKey = publicKeyOf(payload.get(Label.logKey));
  const relayKey = publicKeyOf(payload.get(Label.relayKey));
  const recoveryKey = publicKeyOf(payload.get(Label.recoveryKey));
  if (typeof origin !== "string" || typeof policy !== "string" || !isUint(logWithinS) || logKey === undefined) {
    return malformed("origin, log key, delay and policy", "something else");
  }
  if (policy.length > POLICY_MAX_CHARACTERS)
    return malformed(`a policy of ${POLICY_MAX_CHARACTERS} characters`, "more");
  if (payload.has(Label.relayKey) !== (relayKey !== undefined)) return malformed("a relay key", "something else");
  if (payload.has(Label.recoveryKey) !== (recoveryKey !== undefined)) return malformed("a recovery key", "another");
  if (!verifySignature(crypto.ed25519, signature, signedBytes, logKey)) {
    return fail("SIGNATURE_INVALID", "the opening is not signed by the log key that it names");
  }
  return ok({
    origin,
    logKey,
    ...(relayKey && { relayKey }),
    ...(recoveryKey && { recoveryKey }),
    logWithinS,
    policy,
  });
}

function malformed(expected: string, received: string): Result<never> {
  return fail("STATEMENT_MALFORMED", `expected ${expected}, received ${received}`);
}
