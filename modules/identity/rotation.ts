import { equalBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { type DrawOptions, Identity, type IdentityOptions, SEED_NAME } from "./identity.js";
import { drawReference, seedOf, storedSeeds } from "./seeds.js";
import { decideSuccession, ROTATED_NAME, ROTATION_NAME } from "./succession.js";

/**
 * The change of a device's key by its own will (SPEC.md). The next seed's reference is stored before the `rotate` record is
 * written that names its key; once that record is committed, the rest goes the way of a succession. The record's bytes are
 * kept until its end: the journal then begins with the next chain, and the relay may still have to be shown them.
 */

/** The next key, where a rotation is planned and its record is not known to be committed. KEY_UNREADABLE, KEY_FUSES_FAILED. */
export function plannedRotation({
  keys,
  crypto,
  seeds = storedSeeds(),
}: IdentityOptions): Result<Identity | undefined> {
  const reference = keys.read(ROTATION_NAME);
  if (reference === undefined) return ok(undefined);
  const seed = seedOf(seeds, reference);
  return seed.ok ? ok(Identity.ofSeed(seed.value, crypto)) : seed;
}

/**
 * Plans a rotation: draws the next key and stores its reference; the one that is planned already stays. KEY_UNREADABLE,
 * KEY_EXISTS, KEY_FUSES_USED_UP, KEY_FUSES_FAILED. Throws what `entropy` throws.
 */
export function planRotation(options: DrawOptions): Result<Identity> {
  const planned = plannedRotation(options);
  if (!planned.ok) return planned;
  if (planned.value) return ok(planned.value);
  const { keys, crypto, entropy, seeds = storedSeeds(entropy) } = options;
  const drawn = drawReference(seeds);
  if (!drawn.ok) return drawn;
  const present = keys.read(SEED_NAME);
  if (present === undefined) return fail("KEY_UNREADABLE", "expected the seed of the key to rotate, received none");
  if (equalBytes(drawn.value, present))
    return fail("KEY_EXISTS", "expected a fresh seed, received the one that is stored already");
  keys.write(ROTATION_NAME, drawn.value);
  const stored = keys.read(ROTATION_NAME);
  if (stored === undefined || !equalBytes(stored, drawn.value))
    return fail("KEY_UNREADABLE", "the key store does not give back what was written");
  const seed = seedOf(seeds, stored);
  return seed.ok ? ok(Identity.ofSeed(seed.value, crypto)) : seed;
}

/**
 * The rotate record is committed: from here on the next key is in use, and the record with `id` at `seq` is its chain's
 * predecessor. A cut anywhere in between is taken up by calling it again. KEY_UNREADABLE.
 */
export function completeRotation(
  { keys }: Pick<IdentityOptions, "keys">,
  { seq, id, bytes }: { readonly seq: number; readonly id: Uint8Array; readonly bytes: Uint8Array },
): Result<void> {
  const reference = keys.read(ROTATION_NAME);
  if (reference === undefined) return fail("KEY_UNREADABLE", "expected the next seed of a rotation, received none");
  keys.write(ROTATED_NAME, bytes);
  const decided = decideSuccession(keys, reference, { seq, id, byRotation: true });
  if (decided.ok) keys.delete(ROTATION_NAME);
  return decided;
}
