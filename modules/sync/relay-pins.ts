import { fail, ok, type Result } from "../codes/codes.js";
import type { KeyStore, Sha256 } from "../identity/crypto.js";
import { isAcceptablePublicKey } from "../identity/ed25519.js";
import { parseVerifierKey, type VerifierKey } from "../log/note.js";
import { type Cbor, decodeCbor, encodeCbor } from "../record/cbor.js";

/** What a device knows of its relay, written into its key store when it is provisioned, and never changed by an answer. */
export interface RelayPins {
  /** The relay's name, which is its log's origin. */
  readonly origin: string;
  /** The key of its acknowledgements, 32 bytes. */
  readonly deviceKey: Uint8Array;
  /** The key of its checkpoints. */
  readonly logKey: VerifierKey;
  /** The offline key that can name a new device-facing key, 32 bytes. */
  readonly recoveryKey?: Uint8Array;
}

const PINS_NAME = "relay";

/** The bytes that a provisioning tool writes under `relay`: `{1: origin, 2: device-facing key, 3: vkey line, ? 4: recovery key}`. */
export function encodeRelayPins(pins: Omit<RelayPins, "logKey"> & { readonly logKey: string }): Uint8Array {
  const map = new Map<number, Cbor>([
    [1, pins.origin],
    [2, pins.deviceKey],
    [3, pins.logKey],
  ]);
  if (pins.recoveryKey) map.set(4, pins.recoveryKey);
  return encodeCbor(map);
}

/** Writes the pins into a key store: part of provisioning, not of the device's running. */
export function writeRelayPins(keys: KeyStore, pins: Parameters<typeof encodeRelayPins>[0]): void {
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
  const logKey = parseVerifierKey(sha256, logKeyText);
  if (!logKey.ok) return logKey;
  return ok({
    origin,
    deviceKey: deviceKey.slice(),
    logKey: logKey.value,
    ...(recoveryKey && { recoveryKey: recoveryKey.slice() }),
  });
}

function unreadable(expected: string): Result<never> {
  return fail("KEY_UNREADABLE", `the pins of the relay: expected ${expected}`);
}
