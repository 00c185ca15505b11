import { equalBytes } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import { parseVerifierKey, SignatureType, type VerifierKey } from "tallystick/log/note";
import { WITNESS_NAME_MAX_BYTES, WITNESSES_MAX } from "tallystick/log/witness";
import { shownAddress } from "../config/address.js";

/** Characters of a wrong option that are repeated to a person. */
const SHOWN_MAX = 200;

/** A witness that the relay asks. */
export interface WitnessOptions {
  /** `http:` or `https:`; submission and monitoring prefix. */
  readonly url: string;
  /** Of type 04 (cosignature/v1). */
  readonly key: VerifierKey;
}

/** Reads `URL=KEYLINE`, as the command line and `tallystick witness` spell it. NOTE_KEY_MALFORMED, WITNESS_OPTION_MALFORMED. */
export function readWitness(sha256: Sha256, text: string): Result<WitnessOptions> {
  const split = text.indexOf("=");
  const [url, line] = [text.slice(0, split), text.slice(split + 1)];
  if (split < 0 || !isPrefix(url))
    return malformed("<url>=<verifier key>, the url http or https without user, query and fragment", shownAddress(url));
  const key = parseVerifierKey(sha256, line);
  if (!key.ok) return key;
  if (key.value.type !== SignatureType.cosignature) return malformed("a key of type 4, a witness's", line);
  if (Buffer.byteLength(key.value.name) > WITNESS_NAME_MAX_BYTES)
    return malformed(`a name of at most ${WITNESS_NAME_MAX_BYTES} bytes`, key.value.name);
  return ok({ url: url.replace(/\/+$/, ""), key: key.value });
}

/** Sees that no witness would count twice, and that what they say fits. WITNESS_OPTION_MALFORMED. */
export function checkWitnesses(witnesses: readonly WitnessOptions[], wanted: number): Result<true> {
  if (witnesses.length > WITNESSES_MAX) return malformed(`at most ${WITNESSES_MAX} witnesses`, `${witnesses.length}`);
  if (!Number.isSafeInteger(wanted) || wanted < 0 || wanted > witnesses.length)
    return malformed(`to want at most the ${witnesses.length} witnesses that are asked`, `${wanted}`);
  for (const [i, { key }] of witnesses.entries()) {
    const same = witnesses.findIndex((each) => equalBytes(each.key.publicKey, key.publicKey));
    if (same !== i) return malformed("another key of each witness", `that of ${key.name} twice`);
  }
  return ok(true);
}

function isPrefix(text: string): boolean {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return false;
  }
  return /^https?:$/.test(url.protocol) && url.username === "" && url.password === "" && !/[?#]/.test(text);
}

function malformed(expected: string, received: string): Result<never> {
  return fail("WITNESS_OPTION_MALFORMED", `expected ${expected}, received ${received.slice(0, SHOWN_MAX)}`);
}
