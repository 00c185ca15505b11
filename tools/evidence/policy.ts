import { fail, ok, type Result } from "tallystick/codes/codes";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import type { FetchedEvidence } from "./fetched.js";

/**
 * A policy that names what an evidence file claims: the log's key, the device, the witnesses, all of whom have to have
 * cosigned. It is a beginning for whoever compares these with what he knows; as it stands, it trusts the relay in all.
 */
export function policyText({ bundle, publicKey }: FetchedEvidence): Result<string> {
  const { logKey, witnessKeys } = bundle.claims;
  const isWitnessed = witnessKeys.length > 0;
  const policy = {
    log: logKey,
    devices: [didKey(publicKey)],
    ...(isWitnessed && { witnesses: witnessKeys, witnessQuorum: witnessKeys.length }),
    require: ["signature", "device", "logged", ...(isWitnessed ? ["witnessed"] : [])],
  };
  const text = `${JSON.stringify(policy, null, 2)}\n`;
  const read = readPolicy(portableCrypto.sha256, text);
  if (!read.ok) return read;
  return read.value.log?.name === bundle.origin
    ? ok(text)
    : fail("EVIDENCE_MALFORMED", `expected a log key of ${bundle.origin}, received ${logKey}`);
}
