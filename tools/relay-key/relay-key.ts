import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { didKey, fingerprint, kidOf } from "tallystick/identity/key";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { lockFolder, type RelayIdentity, readIdentity } from "../../hosts/relay/folder.js";
import { createRecoveryKey, openRecoveryKey, systemEntropy } from "../../hosts/relay/keys.js";
import { changeRelayKeys, openRelayKeys, readStatements } from "../../hosts/relay/relay-keys.js";

/** What each subcommand does; a success is the lines that it prints. */
type Lines = Promise<Result<readonly string[]>>;

export async function rotate(dataDir: string, withLogKey: boolean): Lines {
  const changed = await changeRelayKeys(dataDir, { withLogKey, crypto, entropy: systemEntropy });
  return changed.ok ? ok(described(changed.value, withLogKey)) : changed;
}

export async function recover(
  dataDir: string,
  file: string,
  withLogKey: boolean,
  nextRecoveryKey: Uint8Array | undefined,
): Lines {
  const recovery = openRecoveryKey(file, crypto);
  if (!recovery.ok) return recovery;
  const changed = await changeRelayKeys(dataDir, {
    withLogKey,
    recovery: recovery.value,
    ...(nextRecoveryKey && { nextRecoveryKey }),
    crypto,
    entropy: systemEntropy,
  });
  return changed.ok ? ok(described(changed.value, withLogKey)) : changed;
}

export function makeRecovery(file: string): Result<readonly string[]> {
  try {
    const made = createRecoveryKey(file, crypto);
    if (!made.ok) return fail(made.failure.code, `${file} is there`);
    const { publicKey } = made.value;
    return ok([
      didKey(publicKey),
      `fingerprint ${fingerprint(crypto.sha256, publicKey)}`,
      `${file} is the secret half, readable by you alone: move it off this machine, to two places that do not burn together.`,
      `Name the public half to a new relay: tallystick relay --init --recovery-key ${didKey(publicKey)}`,
      "Devices that are provisioned from it then follow whatever keys the secret half names.",
    ]);
  } catch (error) {
    return fail("DATA_FOLDER_UNWRITABLE", (error as Error).message);
  }
}

/** Also while the relay runs. Where none does, a change that was decided and cut is finished first. */
export async function show(dataDir: string): Lines {
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const lock = lockFolder(dataDir);
  try {
    const statements = lock.ok ? await openRelayKeys(dataDir, crypto) : await readRunning(dataDir, identity.value);
    if (!statements.ok) return statements;
    return ok([...keysOf(statements.value.identity), `statements ${statements.value.statements.length}`]);
  } finally {
    if (lock.ok) lock.value.release();
  }
}

async function readRunning(dataDir: string, identity: RelayIdentity): ReturnType<typeof openRelayKeys> {
  const statements = await readStatements(dataDir, identity);
  return statements.ok ? ok({ identity, statements: statements.value }) : statements;
}

function keysOf({ origin, generation = 0, publicKey, logKey, recoveryKey }: RelayIdentity): string[] {
  const device = fromHex(publicKey)!;
  return [
    `relay ${origin}`,
    `generation ${generation}`,
    `device-facing key ${didKey(device)} kid ${toHex(kidOf(crypto.sha256, device))}`,
    `log key ${logKey}`,
    `recovery key ${recoveryKey === undefined ? "none" : didKey(fromHex(recoveryKey)!)}`,
  ];
}

function described(identity: RelayIdentity, withLogKey: boolean): string[] {
  return [
    ...keysOf(identity),
    "Start the relay again: devices follow the statement as they come. Replaced keys are gone from the folder; delete them from backups.",
    ...(withLogKey
      ? ["Tell whoever verifies this log its new key; what was signed before stays under the former."]
      : []),
  ];
}
