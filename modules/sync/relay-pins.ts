import { fail, ok, type Result } from "../codes/codes.js";
import type { KeyStore, Sha256 } from "../identity/crypto.js";
import { isAcceptablePublicKey } from "../identity/ed25519.js";
import type { TreeHead } from "../log/checkpoint.js";
import { parseVerifierKey, type VerifierKey } from "../log/note.js";
import { treeOf } from "../log/relay-key.js";
import { type Cbor, decodeCbor, encodeCbor } from "../record/cbor.js";
import { isUint } from "../record/record.js";

/**
 * What a device knows of its relay, written into its key store when it is provisioned. Afterwards only a statement by one
 * of the keys in it changes it (relay-key.ts), all of it in one write.
 */
export interface RelayPins {
  /** The relay's name, which is its log's origin. */
  readonly origin: string;
  /** The key of its acknowledgements, 32 bytes. */
  readonly deviceKey: Uint8Array;
  /** The key of its checkpoints. */
  readonly logKey: VerifierKey;
  /** The offline key that can name a new device-facing key, 32 bytes. */
  readonly recoveryKey?: Uint8Array;
  /** How often these keys have changed, as the relay counts it: 0 for those that it began with. */
  readonly generation: number;
  /** The tree that the recovery key named, until an acknowledgement has held after it. */
  readonly tree?: TreeHead;
}

const PINS_NAME = "relay";

/** The pins as text and bytes: the log's key as its line, generation 0 where none is said. */
export interface RelayPinsText extends Omit<RelayPins, "logKey" | "generation"> {
  readonly logKey: string;
  readonly generation?: number;
}

/** The bytes that a provisioning tool writes under `relay`; identity/SPEC.md has the CDDL. */
export function encodeRelayPins(pins: RelayPinsText): Uint8Array {
  const map = new Map<number, Cbor>([
    [1, pins.origin],
    [2, pins.deviceKey],
    [3, pins.logKey],
  ]);
  if (pins.recoveryKey) map.set(4, pins.recoveryKey);
  if (pins.generation) map.set(5, pins.generation);
  if (pins.tree) map.set(6, [pins.tree.size, pins.tree.root]);
  return encodeCbor(map);
}

/** Writes the pins into a key store: part of provisioning, and of following a statement. */
export function writeRelayPins(keys: KeyStore, pins: RelayPinsText): void {
  keys.write(PINS_NAME, encodeRelayPins(pins));
}

/** DEVICE_NOT_PROVISIONED where the store has none, KEY_UNREADABLE where they cannot be read. */
export function readRelayPins(keys: KeyStore, sha256: Sha256): Result<RelayPins> {
  const bytes = keys.read(PINS_NAME);
  if (bytes === undefined) return fail("DEVICE_NOT_PROVISIONED", "the key store names no relay");
  const decoded = decodeCbor(bytes);
  const map = decoded.ok ? decoded.value : undefined;
  if (!(map instanceof Map)) return unreadable("a map");
  const [origin, deviceKey, logKeyText, recoveryKey] = [map.get(1), map.get(2), map.get(3), map.get(4)];
  if (typeof origin !== "string" || typeof logKeyText !== "string") return unreadable("origin and log key as text");
  if (!(deviceKey instanceof Uint8Array) || !isAcceptablePublicKey(deviceKey)) return unreadable("a device-facing key");
  if (recoveryKey !== undefined && !(recoveryKey instanceof Uint8Array && isAcceptablePublicKey(recoveryKey)))
    return unreadable("a recovery key");
  const generation = map.get(5) ?? 0;
  if (!isUint(generation)) return unreadable("a generation");
  const tree = treeOf(map.get(6));
  if (map.has(6) !== (tree !== undefined)) return unreadable("a tree");
  const logKey = parseVerifierKey(sha256, logKeyText);
  if (!logKey.ok) return logKey;
  return ok({
    origin,
    deviceKey: deviceKey.slice(),
    logKey: logKey.value,
    ...(recoveryKey && { recoveryKey: recoveryKey.slice() }),
    generation,
    ...(tree && { tree }),
  });
}

function unreadable(expected: string): Result<never> {
  return fail("KEY_UNREADABLE", `the pins of the relay: expected ${expected}`);
}
