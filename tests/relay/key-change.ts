import { cpSync, rmSync } from "node:fs";
import { Identity } from "tallystick/identity/identity";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { pathsOf, type RelayIdentity } from "../../hosts/relay/folder.js";
import { systemEntropy } from "../../hosts/relay/keys.js";
import { changeRelayKeys, type KeyChange } from "../../hosts/relay/relay-keys.js";
import { must, StartedRelay, temporaryFolder } from "./started.js";

/** The operator's recovery key, which lies in a safe. */
export const RECOVERY = Identity.ofSeed(new Uint8Array(32).fill(0x5a), crypto);

/** A relay that was initialised with it. */
export function startRecoverable(): Promise<StartedRelay> {
  return StartedRelay.start({}, { recoveryKey: RECOVERY.publicKey });
}

export async function change(folder: string, how: Partial<KeyChange> = {}): Promise<RelayIdentity> {
  return must(await changeRelayKeys(folder, { crypto, entropy: systemEntropy, ...how }));
}

/** Stops the relay, changes its keys as its operator does, and starts it again. */
export async function changeAndRestart(started: StartedRelay, how: Partial<KeyChange> = {}): Promise<RelayIdentity> {
  await started.relay.close();
  const identity = await change(started.folder, how);
  await started.reopen();
  return identity;
}

/** The relay's folder as a thief has copied it, and what he makes of it. */
export function stolen(started: StartedRelay): { readonly path: string; remove(): void } {
  const folder = temporaryFolder();
  cpSync(started.folder, folder.path, { recursive: true });
  return folder;
}

/** The device-facing key's file is gone, and the log's. */
export function loseKeys(folder: string): void {
  const paths = pathsOf(folder);
  for (const path of [paths.deviceFacingKey, paths.logKey, `${paths.logKey}.signed`]) rmSync(path);
}
