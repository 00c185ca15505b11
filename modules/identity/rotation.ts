import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Entropy } from "./crypto.js";
import { SEED_BYTES } from "./ed25519.js";
import { Identity, type IdentityOptions, SEED_NAME } from "./identity.js";
import { decideSuccession, ROTATED_NAME, ROTATION_NAME } from "./succession.js";

/**
 * The change of a device's key by its own will (SPEC.md). The next seed is stored before the `rotate` record that names its
 * key is written; once that record is committed, the rest goes the way of a succession. The record's bytes are kept until
 * its end: the journal then begins with the next chain, and the relay may still have to be shown them.
 */
/** The next key, where a rotation is planned and its record is not known to be committed. KEY_UNREADABLE. */
export function plannedRotation({ keys, crypto }: IdentityOptions): Result<Identity | undefined> {
  const seed = keys.read(ROTATION_NAME);
  if (seed === undefined) return ok(undefined);
  if (seed.length !== SEED_BYTES)
    return fail("KEY_UNREADABLE", `expected a next seed of ${SEED_BYTES} bytes, received ${seed.length}`);
  return ok(Identity.ofSeed(seed, crypto));
}

/** Plans a rotation: makes the next key and stores it; the one that is planned already stays. Throws what `entropy` throws. */
export function planRotation(options: IdentityOptions & { readonly entropy: Entropy }): Result<Identity> {
  const planned = plannedRotation(options);
  if (!planned.ok) return planned;
  if (planned.value) return ok(planned.value);
  const { keys, crypto, entropy } = options;
  const seed = entropy.bytes(SEED_BYTES);
  const present = keys.read(SEED_NAME);
  if (present === undefined) return fail("KEY_UNREADABLE", "expected the seed of the key to rotate, received none");
  if (equalBytes(seed, present))
    return fail("KEY_EXISTS", "expected fresh entropy, received the seed that is stored already");
  keys.write(ROTATION_NAME, seed);
  const stored = keys.read(ROTATION_NAME);
  return stored !== undefined && equalBytes(stored, seed)
    ? ok(Identity.ofSeed(stored, crypto))
    : fail("KEY_UNREADABLE", "the key store does not give back what was written");
}

/**
 * The rotate record is committed: from here on the next key is in use, and the record with `id` at `seq` is its chain's
 * predecessor. A cut anywhere in between is taken up by calling it again. KEY_UNREADABLE.
 */
export function completeRotation(
  { keys }: Pick<IdentityOptions, "keys">,
  { seq, id, bytes }: { readonly seq: number; readonly id: Uint8Array; readonly bytes: Uint8Array },
): Result<void> {
  const seed = keys.read(ROTATION_NAME);
  if (seed === undefined) return fail("KEY_UNREADABLE", "expected the next seed of a rotation, received none");
  keys.write(ROTATED_NAME, bytes);
  const decided = decideSuccession(keys, seed, { seq, id });
  if (decided.ok) keys.delete(ROTATION_NAME);
  return decided;
}
