import { type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, KeyStore } from "../identity/crypto.js";
import type { Identity } from "../identity/identity.js";
import { decodeCbor } from "../record/cbor.js";
import { type Enrolment, encodeEnrolment, makePossession } from "./messages.js";
import type { RelayPins } from "./relay-pins.js";

/** How a device asks to be let in: the token that provisioning left, and the proof that it has the key it announces. */

const TOKEN_NAME = "token";

/** The enrolment token that provisioning left; undefined once the relay has taken the device in. */
export function readToken(keys: KeyStore): Uint8Array | undefined {
  return keys.read(TOKEN_NAME);
}

/** Leaves an enrolment token: part of provisioning. */
export function writeToken(keys: KeyStore, token: Uint8Array): void {
  keys.write(TOKEN_NAME, token);
}

/** The relay knows the device: the leave is used up. */
export function deleteToken(keys: KeyStore): void {
  if (readToken(keys) !== undefined) keys.delete(TOKEN_NAME);
}

/** The body of an enrolment, over the relay's answer to `GET /v1/challenge`. MESSAGE_MALFORMED, SIGNER_FAULT. */
export function enrolmentBody(
  { identity, relay, crypto }: { readonly identity: Identity; readonly relay: RelayPins; readonly crypto: Crypto },
  challengeAnswer: Uint8Array,
  parts: Omit<Enrolment, "possession">,
): Result<Uint8Array> {
  const decoded = decodeCbor(challengeAnswer);
  const challenge = decoded.ok && decoded.value instanceof Map ? decoded.value.get(1) : undefined;
  if (!(challenge instanceof Uint8Array)) return fail("MESSAGE_MALFORMED", "expected a challenge");
  let fault: Failure | undefined;
  const possession = makePossession(
    identity.kid,
    { origin: relay.origin, challenge, tokenSha256: crypto.sha256(parts.token) },
    (bytes) => {
      const signed = identity.sign(bytes);
      if (signed.ok) return signed.value;
      fault = signed.failure;
      return new Uint8Array(64);
    },
  );
  return fault ? { ok: false, failure: fault } : ok(encodeEnrolment({ ...parts, possession }));
}
