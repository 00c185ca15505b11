import { type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, KeyStore } from "../identity/crypto.js";
import type { Identity } from "../identity/identity.js";
import { decodeCbor } from "../record/cbor.js";
import { readGenesis } from "../record/payload.js";
import { parseRecord } from "../record/record.js";
import { type Enrolment, encodeEnrolment, leaveOf, makePossession } from "./messages.js";
import type { RelayPins } from "./relay-pins.js";

/**
 * How a device asks to be let in: the leave that provisioning left, a token or a maker's statement, and the proof that
 * it has the key it announces.
 */

const TOKEN_NAME = "token";
const MAKER_NAME = "maker";
/** One byte in the place of a statement that cannot be there yet, because it names the key that is still to be made. */
const AWAITED = 0;

/** The enrolment token that provisioning left; undefined once the relay has taken the device in. */
export function readToken(keys: KeyStore): Uint8Array | undefined {
  return keys.read(TOKEN_NAME);
}

/** Leaves an enrolment token: part of provisioning. */
export function writeToken(keys: KeyStore, token: Uint8Array): void {
  keys.write(TOKEN_NAME, token);
}

/** The maker's statement, or `awaited` while a person has still to bring it; undefined where none is asked for. */
export function readMaker(keys: KeyStore): Uint8Array | "awaited" | undefined {
  const value = keys.read(MAKER_NAME);
  return value?.length === 1 && value[0] === AWAITED ? "awaited" : value;
}

/** Leaves a maker's statement, or the leave to make a key and wait for it: part of provisioning. */
export function writeMaker(keys: KeyStore, statement: Uint8Array | "awaited"): void {
  keys.write(MAKER_NAME, statement === "awaited" ? Uint8Array.of(AWAITED) : statement);
}

/** Whether provisioning has left leave to begin: to make a key, a journal and a chain, and to enrol. */
export function hasLeave(keys: KeyStore): boolean {
  return keys.read(TOKEN_NAME) !== undefined || keys.read(MAKER_NAME) !== undefined;
}

/** The relay knows the device: the leave is used up. */
export function deleteLeave(keys: KeyStore): void {
  for (const name of [TOKEN_NAME, MAKER_NAME]) if (keys.read(name) !== undefined) keys.delete(name);
}

/**
 * What the device comes with, its token left aside: the statement that its genesis carries, which is what the relay looks
 * at, whatever the key store holds by now. RECORD_MALFORMED, CBOR_INVALID.
 */
export function statementIn(genesis: Uint8Array): Result<Uint8Array | undefined> {
  const record = parseRecord(genesis);
  if (!record.ok) return record;
  const content = readGenesis(record.value.payload);
  return content.ok ? ok(content.value.statement) : content;
}

/** The body of an enrolment, over the relay's answer to `GET /v1/challenge`. MESSAGE_MALFORMED, SIGNER_FAULT. */
export function enrolmentBody(
  { identity, relay, crypto }: { readonly identity: Identity; readonly relay: RelayPins; readonly crypto: Crypto },
  challengeAnswer: Uint8Array,
  parts: Omit<Enrolment, "possession">,
  statement: Uint8Array | undefined,
): Result<Uint8Array> {
  const decoded = decodeCbor(challengeAnswer);
  const challenge = decoded.ok && decoded.value instanceof Map ? decoded.value.get(1) : undefined;
  if (!(challenge instanceof Uint8Array)) return fail("MESSAGE_MALFORMED", "expected a challenge");
  let fault: Failure | undefined;
  const possession = makePossession(
    identity.kid,
    { origin: relay.origin, challenge, leaveSha256: crypto.sha256(leaveOf(parts.token, statement)) },
    (bytes) => {
      const signed = identity.sign(bytes);
      if (signed.ok) return signed.value;
      fault = signed.failure;
      return new Uint8Array(64);
    },
  );
  return fault ? { ok: false, failure: fault } : ok(encodeEnrolment({ ...parts, possession }));
}
