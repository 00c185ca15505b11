import { toHex } from "tallystick/bytes/bytes";
import { checkRevocation, makeRevocation, type Revocation, revokersOf } from "tallystick/chain/revocation";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import type { Identity } from "tallystick/identity/identity";
import { type Genesis, readGenesis } from "tallystick/record/payload";
import { parseRecord } from "tallystick/record/record";
import type { Refusal } from "./problem.js";
import { checkedBytes } from "./routes/shapes.js";
import type { Store, StoredDevice } from "./store/store.js";

/**
 * Whose word counts: keys that are held back, and keys that are revoked. What a key said before stays where it is, in the
 * chain and in the log; what it may not say any more is refused before it is stored.
 */

export interface StandingOptions {
  readonly store: Store;
  readonly crypto: Crypto;
  /** The relay's device-facing public key: its operator speaks by it. */
  readonly operatorKey: Uint8Array;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** When a device whose key is held back may ask again: a person has to decide first. */
const HELD_RETRY_AFTER_S = 300;
/** Keys of one device, from the newest to its first: so many are looked at. */
const LINEAGE_MAX = 4096;

/** DEVICE_FORKED while the device's key is held back, as the store has it now; undefined where it is not. */
export function heldBack(store: Store, device: number): Refusal | undefined {
  const sinceMs = store.standing.heldSinceMs(device);
  if (sinceMs === undefined) return undefined;
  const { state } = store.deviceByNumber(device);
  const why = state === "forked" ? "two records of one position are held" : "an operator holds it back";
  const failure = fail("DEVICE_FORKED", `${why}, since ${new Date(sinceMs).toISOString()}`).failure;
  return { failure, retryAfterS: HELD_RETRY_AFTER_S };
}

/**
 * KEY_REVOKED where `seq` is one of the positions at which the device's key does not count: its own revocation says so, or a
 * key before it was revoked at or before the position at which it handed on.
 */
export function revokedAt(store: Store, device: number, seq: number): Failure | undefined {
  return revocationsOf(store, device)(seq);
}

/** `revokedAt` of one device, as the store has it now: asked once for many positions. */
export function revocationsOf(store: Store, device: number): (seq: number) => Failure | undefined {
  const own = store.standing.revocation(device);
  const inherited = inheritedRevocation(store, device);
  return (seq) =>
    own && seq >= own.fromSeq
      ? fail("KEY_REVOKED", `it is revoked from seq ${own.fromSeq} on, received seq ${seq}`).failure
      : inherited;
}

function inheritedRevocation(store: Store, device: number): Failure | undefined {
  for (const former of lineage(store, device)) {
    const before = store.standing.revocation(former.device);
    if (!before || before.fromSeq > former.seq) continue;
    const kid = toHex(store.deviceByNumber(former.device).kid);
    return fail("KEY_REVOKED", `${kid}, which handed on at seq ${former.seq}, is revoked from seq ${before.fromSeq} on`)
      .failure;
  }
  return undefined;
}

/** The keys that led to the device's, the nearest first, each with the position at which its chain was closed. */
function* lineage(store: Store, device: number): IterableIterator<{ readonly device: number; readonly seq: number }> {
  let before = store.successions.before(device);
  for (let n = 0; before && n < LINEAGE_MAX; n++) {
    yield before;
    before = store.successions.before(before.device);
  }
}

/** The statement that counts. */
export interface InForce {
  readonly fromSeq: number;
  readonly statement: Uint8Array;
  /** Whose key signed it. */
  readonly by: "owner" | "operator";
}

/**
 * Puts a statement in force, durably, and says which one is: an earlier one that reaches as far back stays. The operator's
 * is a decision, too: a key that was held back is so no longer. REVOCATION_FALSE, KEY_MISMATCH, STATEMENT_MALFORMED.
 */
export function revokeKey(options: StandingOptions, device: StoredDevice, statement: Uint8Array): Result<InForce> {
  const { store, nowMs } = options;
  const planned = planRevocation(options, device, statement);
  if (!planned.ok) return planned;
  const { inForce, before } = planned.value;
  if (before) return ok(inForce);
  store.transaction(() => {
    const atMs = nowMs();
    store.standing.revoke(device.device, inForce.fromSeq, statement, atMs);
    if (inForce.by === "operator") store.standing.decide(device.device, "revoke", atMs);
  });
  return ok(inForce);
}

/** What a statement would come to. */
export interface PlannedRevocation {
  readonly inForce: InForce;
  /** An earlier one stays in force, and nothing would change. */
  readonly before: boolean;
}

/** Checks a statement, and changes nothing. As `revokeKey`. */
export function planRevocation(
  options: Omit<StandingOptions, "nowMs">,
  device: StoredDevice,
  statement: Uint8Array,
): Result<PlannedRevocation> {
  const { store, crypto } = options;
  // Whom the device's first key named: one that it handed on to names nobody.
  let first = device.device;
  for (const former of lineage(store, device.device)) first = former.device;
  const { owner } = revokersOf(genesisOf(options, store.deviceByNumber(first)));
  // Not the key that genesis pins, where the relay has another today: whoever has stolen that one speaks no more here.
  const revokers = [owner ?? options.operatorKey];
  const checked = checkRevocation(crypto, statement, device.kid, revokers);
  if (!checked.ok) return checked;
  const by = owner ? "owner" : "operator";
  const before = store.standing.revocation(device.device);
  if (before && before.fromSeq <= checked.value.fromSeq) return ok({ inForce: { ...before, by }, before: true });
  return ok({ inForce: { fromSeq: checked.value.fromSeq, statement, by }, before: false });
}

/** The operator's own statement about a device's key. SIGNER_FAULT. */
export function stateRevocation(operator: Identity, revocation: Revocation): Result<Uint8Array> {
  let fault: Failure | undefined;
  const statement = makeRevocation(operator.kid, revocation, (bytes) => {
    const signed = operator.sign(bytes);
    if (signed.ok) return signed.value;
    fault = signed.failure;
    return new Uint8Array(64);
  });
  return fault ? { ok: false, failure: fault } : ok(statement);
}

/** What the device announced of itself. Throws where the stored bytes are damaged. */
export function genesisOf({ store, crypto }: Pick<StandingOptions, "store" | "crypto">, device: StoredDevice): Genesis {
  const record = parseRecord(checkedBytes(crypto, store.recordAt(device.device, 0)!));
  const genesis = record.ok ? readGenesis(record.value.payload) : record;
  if (!genesis.ok) throw new Error(`genesis: ${genesis.failure.detail}`);
  return genesis.value;
}
