import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { KeyStore } from "../identity/crypto.js";
import { decodeCbor, encodeCbor } from "../record/cbor.js";
import { isUint, KID_BYTES } from "../record/record.js";

/** The highest position handed to any transport, and of which chain: what others may hold of this device. */

const SENT_NAME = "sent";

interface SentMark {
  readonly seq: number;
  /** Undefined in stores of devices that knew one chain only: it is that chain's. */
  readonly kid?: Uint8Array;
}

function read(keys: KeyStore): Result<SentMark | undefined> {
  const bytes = keys.read(SENT_NAME);
  if (bytes === undefined) return ok(undefined);
  const decoded = decodeCbor(bytes);
  const value = decoded.ok ? decoded.value : undefined;
  if (isUint(value)) return ok({ seq: value });
  const [seq, kid] = Array.isArray(value) && value.length === 2 ? value : [];
  return isUint(seq) && kid instanceof Uint8Array && kid.length === KID_BYTES
    ? ok({ seq, kid })
    : fail("KEY_UNREADABLE", "the sent mark: expected a position and a kid");
}

/** The mark, of whichever chain. Undefined: nothing ever was sent. KEY_UNREADABLE. */
export function readSentMark(keys: KeyStore): Result<number | undefined> {
  const mark = read(keys);
  return mark.ok ? ok(mark.value?.seq) : mark;
}

/**
 * The mark of the chain of `kid`. While that key succeeds another, a mark of another chain says that nothing of this one
 * was sent; else it is KEY_MISMATCH: seed and mark belong to different devices.
 */
export function sentMarkOf(keys: KeyStore, kid: Uint8Array, succeeds: boolean): Result<number | undefined> {
  const mark = read(keys);
  if (!mark.ok) return mark;
  if (mark.value === undefined) return ok(undefined);
  const { seq, kid: other } = mark.value;
  if (other === undefined ? !succeeds : equalBytes(other, kid)) return ok(seq);
  if (succeeds) return ok(undefined);
  return fail("KEY_MISMATCH", `the sent mark: expected kid ${toHex(kid)}, received ${other && toHex(other)}`);
}

/** Written before the sending that goes up to `seq`. */
export function writeSentMark(keys: KeyStore, kid: Uint8Array, seq: number): void {
  keys.write(SENT_NAME, encodeCbor([seq, kid]));
}
