import { concatBytes, equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Entropy, KeyStore } from "./crypto.js";
import { SEED_BYTES } from "./ed25519.js";
import { Identity, type IdentityOptions, SEED_NAME } from "./identity.js";

/**
 * The change of a device's key that ends a chain which cannot be continued (sync/SPEC.md). One value of the key store is
 * the decision: while it is there, `seed` is the former key's and nothing more is signed by it but the succession
 * statement; what it holds is enough to make that statement again, byte for byte, after any cut of the power.
 *
 * Layout: the new seed (32 bytes) ‖ position (8 bytes, big-endian) ‖ record id (32 bytes).
 */
const SUCCESSION_NAME = "succession";
/** What a rotation keeps beside it (rotation.ts): the next seed until its record is committed, then that record's bytes. */
export const ROTATION_NAME = "rotation";
export const ROTATED_NAME = "rotated";
const ID_BYTES = 32;
const SUCCESSION_BYTES = SEED_BYTES + 8 + ID_BYTES;

/** A succession that was decided, and of which the former key is still kept. */
export interface Succession {
  readonly former: Identity;
  readonly next: Identity;
  /** The head of the former chain that the relay signed for: the new chain's predecessor. */
  readonly seq: number;
  readonly id: Uint8Array;
  /** Where the former chain ended by a rotation: its `rotate` record's bytes, which stand at `seq`. */
  readonly rotation?: Uint8Array;
}

/**
 * The succession that the store holds; undefined where there is none. An ending that was cut is finished. KEY_UNREADABLE
 * where the value is none, or the former key's seed is not there.
 */
export function openSuccession(options: IdentityOptions): Result<Succession | undefined> {
  const { keys, crypto } = options;
  const bytes = keys.read(SUCCESSION_NAME);
  if (bytes === undefined) {
    // An ending that was cut: while a rotation is planned its record may be here before the decision is.
    if (keys.read(ROTATION_NAME) === undefined) forget(keys, ROTATED_NAME);
    return ok(undefined);
  }
  if (bytes.length !== SUCCESSION_BYTES)
    return fail("KEY_UNREADABLE", `expected a succession of ${SUCCESSION_BYTES} bytes, received ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const seq = view.getUint32(SEED_BYTES) * 0x100000000 + view.getUint32(SEED_BYTES + 4);
  if (!Number.isSafeInteger(seq)) return fail("KEY_UNREADABLE", "the succession: expected a position");
  const former = Identity.open(options);
  if (!former.ok) return former;
  if (!former.value) return fail("KEY_UNREADABLE", "expected the former seed beside a succession, received none");
  const next = Identity.ofSeed(bytes.slice(0, SEED_BYTES), crypto);
  if (equalBytes(next.publicKey, former.value.publicKey)) {
    endSuccession(options);
    return ok(undefined);
  }
  forget(keys, ROTATION_NAME);
  const rotation = keys.read(ROTATED_NAME);
  return ok({ former: former.value, next, seq, id: bytes.slice(SEED_BYTES + 8), ...(rotation && { rotation }) });
}

/**
 * Decides: makes the next key and stores it beside the present one, with the head that the statement will name. An
 * earlier succession is ended by it: the relay must have acknowledged its key. KEY_UNREADABLE where there is no key to
 * succeed, or the store does not give back what was written; KEY_EXISTS where the entropy repeats itself. Throws what
 * `entropy` throws.
 */
export function beginSuccession(
  options: IdentityOptions & { readonly entropy: Entropy },
  { seq, id }: { readonly seq: number; readonly id: Uint8Array },
): Result<void> {
  const { keys, crypto, entropy } = options;
  endSuccession(options);
  if (keys.read(SUCCESSION_NAME) !== undefined) return fail("KEY_UNREADABLE", "what is stored is no succession");
  const former = Identity.open({ keys, crypto });
  if (!former.ok) return former;
  if (!former.value) return fail("KEY_UNREADABLE", "expected the seed of the key to succeed, received none");
  const seed = entropy.bytes(SEED_BYTES);
  if (equalBytes(seed, keys.read(SEED_NAME)!))
    return fail("KEY_EXISTS", "expected fresh entropy, received the seed that is stored already");
  // What was planned before is no way on any more: the relay's head may be below its record.
  forget(keys, ROTATION_NAME);
  forget(keys, ROTATED_NAME);
  return decideSuccession(keys, seed, { seq, id });
}

/** The one write that decides: the next seed beside the present one, and the predecessor of its chain. KEY_UNREADABLE. */
export function decideSuccession(
  keys: KeyStore,
  seed: Uint8Array,
  { seq, id }: { readonly seq: number; readonly id: Uint8Array },
): Result<void> {
  const position = new Uint8Array(8);
  const view = new DataView(position.buffer);
  view.setUint32(0, Math.floor(seq / 0x100000000));
  view.setUint32(4, seq % 0x100000000);
  const value = concatBytes(seed, position, id);
  keys.write(SUCCESSION_NAME, value);
  const stored = keys.read(SUCCESSION_NAME);
  return stored !== undefined && equalBytes(stored, value)
    ? ok(undefined)
    : fail("KEY_UNREADABLE", "the key store does not give back what was written");
}

/**
 * Ends a succession: the next key is the device's key, the former seed is gone. A cut between the two writes leaves two
 * equal seeds, which the next opening recognises. Without a succession nothing changes.
 */
export function endSuccession({ keys }: Pick<IdentityOptions, "keys">): void {
  const bytes = keys.read(SUCCESSION_NAME);
  if (bytes?.length !== SUCCESSION_BYTES) return;
  keys.write(SEED_NAME, bytes.slice(0, SEED_BYTES));
  keys.delete(SUCCESSION_NAME);
  forget(keys, ROTATION_NAME);
  forget(keys, ROTATED_NAME);
}

function forget(keys: KeyStore, name: string): void {
  if (keys.read(name) !== undefined) keys.delete(name);
}
