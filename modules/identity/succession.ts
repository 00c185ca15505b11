import { concatBytes, equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { KeyStore } from "./crypto.js";
import { type DrawOptions, Identity, type IdentityOptions, SEED_NAME } from "./identity.js";
import { drawReference, isReference, seedOf, storedSeeds } from "./seeds.js";

/**
 * The change of a device's key that ends a chain which cannot be continued (sync/SPEC.md). One value of the key store is
 * the decision: while it is there, `seed` is the former key's and nothing more is signed by it but the succession
 * statement; what it holds is enough to make that statement again, byte for byte, after any cut of the power.
 *
 * Layout: reference of the new seed ‖ position (8 bytes, big-endian; the highest bit: by a rotation) ‖ record id (32 bytes).
 */
const SUCCESSION_NAME = "succession";
/** What a rotation keeps beside it (rotation.ts): the next seed's reference until its record is committed, then that record's bytes. */
export const ROTATION_NAME = "rotation";
export const ROTATED_NAME = "rotated";
const POSITION_BYTES = 8;
const HEAD_BYTES = POSITION_BYTES + 32;
/** Of the position's first four bytes: positions have 53 bits. */
const BY_ROTATION = 0x80000000;

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
 * where the value is none, or the former key's seed or its rotate record is not there; KEY_FUSES_FAILED.
 */
export function openSuccession(options: IdentityOptions): Result<Succession | undefined> {
  const { keys, crypto, seeds = storedSeeds() } = options;
  const bytes = keys.read(SUCCESSION_NAME);
  if (bytes === undefined) return ok(undefined);
  const reference = nextReference(bytes);
  if (!reference) return fail("KEY_UNREADABLE", `expected a succession, received ${bytes.length} bytes`);
  const head = bytes.subarray(reference.length);
  const view = new DataView(head.buffer, head.byteOffset, HEAD_BYTES);
  const byRotation = view.getUint32(0) >= BY_ROTATION;
  const seq = (view.getUint32(0) % BY_ROTATION) * 0x100000000 + view.getUint32(4);
  if (!Number.isSafeInteger(seq)) return fail("KEY_UNREADABLE", "the succession: expected a position");
  const former = Identity.open(options);
  if (!former.ok) return former;
  if (!former.value) return fail("KEY_UNREADABLE", "expected the former seed beside a succession, received none");
  const seed = seedOf(seeds, reference);
  if (!seed.ok) return seed;
  const next = Identity.ofSeed(seed.value, crypto);
  if (equalBytes(next.publicKey, former.value.publicKey)) {
    endSuccession(options);
    return ok(undefined);
  }
  forget(keys, ROTATION_NAME);
  const rotation = byRotation ? keys.read(ROTATED_NAME) : undefined;
  // No other word closes the former chain where its rotate record stands.
  if (byRotation && !rotation)
    return fail("KEY_UNREADABLE", "expected the rotate record of the former chain, received none");
  return ok({ former: former.value, next, seq, id: head.slice(POSITION_BYTES), ...(rotation && { rotation }) });
}

/**
 * Decides: draws the next key and stores its reference beside the present one, with the head that the statement will name.
 * An earlier succession is ended by it: the relay must have acknowledged its key. KEY_UNREADABLE where there is no key to
 * succeed, or the store does not give back what was written; KEY_EXISTS where the source repeats itself;
 * KEY_FUSES_USED_UP, KEY_FUSES_FAILED. Throws what `entropy` throws.
 */
export function beginSuccession(
  options: DrawOptions,
  { seq, id }: { readonly seq: number; readonly id: Uint8Array },
): Result<void> {
  const { keys, entropy, seeds = storedSeeds(entropy) } = options;
  endSuccession(options);
  if (keys.read(SUCCESSION_NAME) !== undefined) return fail("KEY_UNREADABLE", "what is stored is no succession");
  const former = Identity.open(options);
  if (!former.ok) return former;
  if (!former.value) return fail("KEY_UNREADABLE", "expected the seed of the key to succeed, received none");
  const drawn = drawReference(seeds);
  if (!drawn.ok) return drawn;
  if (equalBytes(drawn.value, keys.read(SEED_NAME)!))
    return fail("KEY_EXISTS", "expected a fresh seed, received the one that is stored already");
  // What was planned before is no way on any more: the relay's head may be below its record.
  forget(keys, ROTATION_NAME);
  forget(keys, ROTATED_NAME);
  return decideSuccession(keys, drawn.value, { seq, id, byRotation: false });
}

/** The one write that decides: the next seed's reference beside the present one, and the predecessor of its chain. KEY_UNREADABLE. */
export function decideSuccession(
  keys: KeyStore,
  reference: Uint8Array,
  { seq, id, byRotation }: { readonly seq: number; readonly id: Uint8Array; readonly byRotation: boolean },
): Result<void> {
  const position = new Uint8Array(POSITION_BYTES);
  const view = new DataView(position.buffer);
  view.setUint32(0, Math.floor(seq / 0x100000000) + (byRotation ? BY_ROTATION : 0));
  view.setUint32(4, seq % 0x100000000);
  const value = concatBytes(reference, position, id);
  keys.write(SUCCESSION_NAME, value);
  const stored = keys.read(SUCCESSION_NAME);
  return stored !== undefined && equalBytes(stored, value)
    ? ok(undefined)
    : fail("KEY_UNREADABLE", "the key store does not give back what was written");
}

/**
 * Ends a succession: the next key is the device's key, the former's reference is gone. A cut between the two writes leaves
 * two equal references, which the next opening recognises. Without a succession nothing changes.
 */
export function endSuccession({ keys }: Pick<IdentityOptions, "keys">): void {
  const bytes = keys.read(SUCCESSION_NAME);
  const reference = bytes && nextReference(bytes);
  if (!reference) return;
  keys.write(SEED_NAME, reference);
  forget(keys, ROTATION_NAME);
  forget(keys, ROTATED_NAME);
  keys.delete(SUCCESSION_NAME);
}

/** The next seed's reference in a succession's value; undefined where that is none. */
function nextReference(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length <= HEAD_BYTES) return undefined;
  const reference = bytes.slice(0, bytes.length - HEAD_BYTES);
  return isReference(reference) ? reference : undefined;
}

function forget(keys: KeyStore, name: string): void {
  if (keys.read(name) !== undefined) keys.delete(name);
}
