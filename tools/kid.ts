import { fromHex, utf8 } from "tallystick/bytes/bytes";
import { type Failure, fail } from "tallystick/codes/codes";
import { fromDidKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { KID_BYTES } from "tallystick/record/record";

/** A device as people name it: its kid, or its did:key. */
export function kidOfText(text: string): Uint8Array | undefined {
  const key = fromDidKey(text);
  if (key) return kidOf(portableCrypto.sha256, key);
  const kid = fromHex(text);
  return kid?.length === KID_BYTES && utf8(text).length === 2 * KID_BYTES ? kid : undefined;
}

/** KID_MALFORMED. */
export function noKid(text: string): Failure {
  return fail("KID_MALFORMED", `expected 16 hexadecimal digits in lower case or a did:key, received ${text}`).failure;
}
