import { equalBytes, toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, KeyStore } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { kidOf } from "../identity/key.js";
import { follow, openCheckpoint, type TreeHead } from "../log/checkpoint.js";
import { decodeCbor, encodeCbor } from "../record/cbor.js";
import { ID_BYTES, isUint } from "../record/record.js";
import { ABSOLUTE_TIME_END_S, ABSOLUTE_TIME_MIN_S } from "../record/senml.js";
import { type Acknowledgement, type Position, type Request, readAcknowledgement } from "./messages.js";
import type { RelayPins } from "./relay-pins.js";

/** When a device believes an acknowledgement: SPEC.md's rule, and the checkpoint that it pins by it. */

const PIN_NAME = "pin";

/** The newest checkpoint that the device has accepted; undefined before the first. Unreadable counts as a failure, not as none. */
export function readPin(keys: KeyStore): Result<TreeHead | undefined> {
  const bytes = keys.read(PIN_NAME);
  if (bytes === undefined) return ok(undefined);
  const decoded = decodeCbor(bytes);
  const [size, root] = decoded.ok && Array.isArray(decoded.value) ? decoded.value : [];
  if (!isUint(size) || !(root instanceof Uint8Array) || root.length !== ID_BYTES)
    return fail("KEY_UNREADABLE", "the pinned checkpoint: expected size and root");
  return ok({ size, root });
}

/** Pins a checkpoint: one that was accepted, or that the recovery key named. Durable when it returns. */
export function writePin(keys: KeyStore, { size, root }: TreeHead): void {
  keys.write(PIN_NAME, encodeCbor([size, root]));
}

export interface AcceptanceOptions {
  readonly crypto: Crypto;
  readonly kid: Uint8Array;
  readonly relay: RelayPins;
  readonly keys: KeyStore;
  /** The id of the device's own record at a position that it still holds; undefined for one that it does not. */
  readonly ownId: (seq: number) => Uint8Array | undefined;
  /** The highest position that the device knows of: its head, or what it may have sent. */
  readonly lastSeq: number;
}

/**
 * Checks an answer to `request`; on success the checkpoint is pinned. ACKNOWLEDGEMENT_FALSE and the log's own codes say
 * why not. DEVICE_BEHIND: it is the relay's word, but about records that this device knows nothing of.
 */
export function accept(options: AcceptanceOptions, request: Request, answer: Uint8Array): Result<Acknowledgement> {
  const { crypto, relay, keys } = options;
  const read = readAcknowledgement(answer);
  if (!read.ok) return read;
  const { statement, acknowledgement } = read.value;
  if (!equalBytes(statement.kid, kidOf(crypto.sha256, relay.deviceKey)))
    return refused("the pinned relay key", `kid ${toHex(statement.kid)}`);
  if (!verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, relay.deviceKey))
    return refused("a signature of the pinned relay key", "another");
  if (!equalBytes(acknowledgement.kid, options.kid)) return refused("the device's own kid", toHex(acknowledgement.kid));
  if (!equalBytes(acknowledgement.nonce, request.nonce)) return refused("the nonce just sent", "another");
  if (acknowledgement.pinnedSize !== request.pinnedSize)
    return refused(`a path from size ${request.pinnedSize}`, `one from ${acknowledgement.pinnedSize}`);
  const timeS = acknowledgement.timeMs / 1000;
  // The device's clock follows it into its records, which know no such times: a relay that says so has no clock.
  if (timeS < ABSOLUTE_TIME_MIN_S || timeS >= ABSOLUTE_TIME_END_S)
    return refused("an absolute time (RFC 8428 §4.5.3)", `${acknowledgement.timeMs} ms since 1970`);
  for (const [word, position] of levels(acknowledgement)) {
    const own = position && options.ownId(position.seq);
    if (position && own && !equalBytes(own, position.id))
      return refused(`${word} ${toHex(own)} at seq ${position.seq}`, toHex(position.id));
  }
  const { received, logged, final, erasedSeq } = acknowledgement;
  if (isAbove(logged, received) || isAbove(final, logged)) return refused("received ≥ logged ≥ final", "another order");
  const [head, last] = [request.head?.seq ?? -1, received?.seq ?? -1];
  if (erasedSeq !== undefined && (erasedSeq <= head || erasedSeq > last))
    return refused(`an erased position above ${head} and up to ${last}`, String(erasedSeq));
  if (received && received.seq > options.lastSeq)
    return fail("DEVICE_BEHIND", `expected a position up to ${options.lastSeq}, received ${received.seq}`);
  const pinned = readPin(keys);
  if (!pinned.ok) return pinned;
  const checkpoint = openCheckpoint(crypto, acknowledgement.checkpoint, relay.logKey);
  if (!checkpoint.ok) return checkpoint;
  const next = follow(crypto.sha256, pinned.value, checkpoint.value, acknowledgement.consistency);
  if (!next.ok) return next;
  // Written only when it moved: each write wears the key store's flash.
  if (next.value.size !== pinned.value?.size) writePin(keys, next.value);
  return ok(acknowledgement);
}

function levels({ received, logged, final }: Acknowledgement): [string, Position | undefined][] {
  return [
    ["received", received],
    ["logged", logged],
    ["final", final],
  ];
}

function isAbove(upper: Position | undefined, lower: Position | undefined): boolean {
  return upper !== undefined && (lower === undefined || upper.seq > lower.seq);
}

function refused(expected: string, received: string): Result<never> {
  return fail("ACKNOWLEDGEMENT_FALSE", `expected ${expected}, received ${received}`);
}
