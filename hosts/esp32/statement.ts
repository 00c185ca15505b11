import FlashStorage from "embedded:storage/flash";
import type { KeyStore } from "tallystick/identity/crypto";
import { CborReader } from "tallystick/record/cbor";
import { MAKER_STATEMENT_MAX_BYTES } from "tallystick/record/maker";
import { readMaker, writeMaker } from "tallystick/sync/enrolment";

/** Label of the partition that a maker's statement is flashed into, its bytes first (README.md). */
const PARTITION = "maker";
/** A COSE_Sign1 is a tagged array. */
const DEPTH = 4;

/**
 * Takes the maker's statement over into the key store, where it is awaited. It comes after the board has made its key, so
 * it cannot come in an image of the key store: flashing that would lose the key. What is erased, or begins with no CBOR
 * item, leaves it awaited; what the item says is looked at where it is used (modules/device).
 */
export function adoptStatement(keys: KeyStore): void {
  if (readMaker(keys) !== "awaited") return;
  const bytes = new Uint8Array(MAKER_STATEMENT_MAX_BYTES);
  FlashStorage.open({ path: PARTITION, mode: "r" }).read(bytes, 0);
  const reader = new CborReader(bytes, { depth: DEPTH });
  if (reader.item().ok) writeMaker(keys, bytes.slice(0, reader.offset));
}
