import { fail, ok, type Result } from "../codes/codes.js";
import type { Identity } from "../identity/identity.js";
import type { Succession } from "../identity/succession.js";
import { encodeGenesis, type Quantity } from "../record/payload.js";
import { hasLeave } from "../sync/enrolment.js";
import type { RelayPins } from "../sync/relay-pins.js";
import { readSentMark, sentMarkOf } from "../sync/sent-mark.js";
import { samplingBounds } from "./fullness.js";
import { type DeviceOptions, MARK_INTERVAL_S } from "./options.js";
import type { Platform } from "./platform.js";

/** What a chain that does not exist yet would begin with. */
export interface Beginning {
  readonly platform: Platform;
  readonly options: DeviceOptions;
  readonly relay: RelayPins;
  readonly identity: Identity;
  readonly quantities: readonly Quantity[];
  /** The maker's, of a first key. */
  readonly statement: Uint8Array | undefined;
  /** Where the key succeeds another. */
  readonly succession: Succession | undefined;
  /** The journal holds something, if only a record that the flash has damaged. */
  readonly isHeld: boolean;
}

/**
 * The genesis record's payload, under the leave that provisioning left, or a succession's. Undefined where genesis was sent
 * and the flash has lost it: only the relay can bring it back. DEVICE_NOT_PROVISIONED, KEY_UNREADABLE.
 */
export function prepareGenesis(beginning: Beginning): Result<Uint8Array | undefined> {
  const { platform, identity, succession, isHeld } = beginning;
  const { keys } = platform;
  const sent = succession ? sentMarkOf(keys, identity.kid, true) : readSentMark(keys);
  if (!sent.ok) return sent;
  if (succession && sent.value !== undefined) return ok(undefined);
  const continues = succession !== undefined && isHeld;
  if (!continues && (!hasLeave(keys) || sent.value !== undefined))
    return fail(
      "DEVICE_NOT_PROVISIONED",
      "there is a key without a chain, and no leave that lets the device begin one",
    );
  return ok(payloadOf(beginning));
}

function payloadOf({ platform, options, relay, identity, quantities, statement, succession }: Beginning): Uint8Array {
  return encodeGenesis({
    publicKey: identity.publicKey,
    model: platform.model,
    firmware: platform.firmware,
    quantities,
    markIntervalS: options.markIntervalS ?? MARK_INTERVAL_S,
    ...(options.whenFilling === "thin" && { sampling: samplingBounds(options.sensors) }),
    relayKey: relay.deviceKey,
    ...(relay.recoveryKey && { recoveryKey: relay.recoveryKey }),
    ...(statement && { statement }),
    ...(succession && { predecessor: { kid: succession.former.kid, seq: succession.seq, id: succession.id } }),
  });
}
