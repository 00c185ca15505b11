import { existsSync } from "node:fs";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { SEED_BYTES } from "tallystick/identity/ed25519";
import { Identity } from "tallystick/identity/identity";
import { formatVerifierKey, parseVerifierKey } from "tallystick/log/note";
import { makeRelayKey, readRelayKey } from "tallystick/log/relay-key";
import { type Cbor, decodeCbor, encodeCbor } from "tallystick/record/cbor";
import {
  followRelayKey,
  nextGeneration,
  RELAY_KEYS_MAX,
  recoveredGeneration,
  splitRelayKeys,
} from "tallystick/sync/relay-key";
import type { RelayPins } from "tallystick/sync/relay-pins";
import { identityText, lockFolder, pathsOf, prepareFolder, type RelayIdentity, readIdentity } from "./folder.js";
import { encodeKeyFile, openDeviceFacingKey } from "./keys.js";
import { type Disk, DiskError, nodeDisk, PRIVATE_MODE, PUBLIC_MODE, temporary, writeDurable } from "./log/disk.js";
import { drawNextLogKey, lastLogTree, type NextLogKey, putNextLogKey } from "./log/next-key.js";

/**
 * The change of the relay's keys, while no relay runs: device-facing key, statement and, where asked for, the log's key.
 *
 *   1. read what is there, draw the next keys, make the statement, hold it against the devices' own rule
 *   2. write all of it into one file, `relay-keys.next`         durable: from here on the change is decided
 *   3. log: lock (compare-and-swap), key's memory, key, published checkpoint
 *   4. statements
 *   5. device-facing key
 *   6. relay.json
 *   7. remove `relay-keys.next`, durably
 *
 * After a crash before 2 the relay is the old one, and the keys that were drawn have signed nothing that anyone saw. After
 * 2 every start does 3 to 7 before it opens anything else, and each of them again comes to the same. So the relay never
 * signs with a key that no statement names, and never goes on with one that a statement has replaced.
 */

/** Statements that a relay keeps: four ranges that were used to their end. */
export const STATEMENTS_KEPT_MAX = 4096;

export interface KeyChange {
  /** Also changes the log's key. */
  readonly withLogKey?: boolean;
  /** The recovery key, which then names the next keys; without it the device-facing key does. */
  readonly recovery?: Identity;
  /** With `recovery`: the key that takes its place, 32 bytes. */
  readonly nextRecoveryKey?: Uint8Array;
  readonly crypto: Crypto;
  readonly entropy: Entropy;
  readonly disk?: Disk;
}

/**
 * Changes the keys of the relay in `dataDir`; what it then is. DATA_FOLDER_LOCKED while it runs; RELAY_KEY_MISSING and
 * its like where the device-facing key has to sign and cannot; RECOVERY_KEY_FOREIGN, RELAY_KEY_EXHAUSTED, the folder's
 * codes and the log's own.
 */
export async function changeRelayKeys(dataDir: string, change: KeyChange): Promise<Result<RelayIdentity>> {
  // What is not there is not made here.
  const prepared = existsSync(dataDir) ? prepareFolder(dataDir) : ok(undefined);
  if (!prepared.ok) return prepared;
  const found = readIdentity(dataDir);
  if (!found.ok) return found;
  const lock = lockFolder(dataDir);
  if (!lock.ok) return lock;
  try {
    const { disk = nodeDisk, crypto } = change;
    const finished = await finishKeyChange(dataDir, crypto, disk);
    if (!finished.ok) return finished;
    const next = await drawChange(dataDir, change, disk);
    if (!next.ok) return next;
    await decideKeyChange(dataDir, next.value, disk);
    const done = await finishKeyChange(dataDir, crypto, disk);
    return done.ok ? ok(next.value.identity) : done;
  } catch (error) {
    if (error instanceof DiskError) return fail("DATA_FOLDER_UNWRITABLE", error.message);
    throw error;
  } finally {
    lock.value.release();
  }
}

/** All that a change puts in place. */
export interface DecidedChange {
  /** Of the next device-facing key. */
  readonly seed: Uint8Array;
  /** All statements, the new one last, as one CBOR sequence. */
  readonly statements: Uint8Array;
  readonly identity: RelayIdentity;
  readonly log?: Omit<NextLogKey, "key">;
}

/** Step 1. */
async function drawChange(dataDir: string, change: KeyChange, disk: Disk): Promise<Result<DecidedChange>> {
  const { crypto, entropy, recovery, nextRecoveryKey } = change;
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const statements = await readStatements(dataDir, identity.value, disk);
  if (!statements.ok) return statements;
  if (statements.value.length >= STATEMENTS_KEPT_MAX)
    return fail("RELAY_KEY_EXHAUSTED", `expected at most ${STATEMENTS_KEPT_MAX} statements in a relay's life`);
  const pins = pinsOf(crypto, identity.value);
  if (!pins.ok) return pins;
  const signer = recovery ? checkRecovery(recovery, pins.value) : openSigner(dataDir, crypto, identity.value);
  if (!signer.ok) return signer;
  const generation = recovery ? recoveredGeneration(pins.value.generation) : nextGeneration(pins.value.generation);
  if (generation === undefined)
    return fail("RELAY_KEY_EXHAUSTED", `generation ${pins.value.generation} is the last of its range`);

  const last = await lastLogTree(pathsOf(dataDir).log, pins.value.logKey, { disk, crypto });
  if (!last.ok) return last;
  const log = change.withLogKey ? drawNextLogKey(pins.value.origin, last.value, { crypto, entropy }) : undefined;
  if (log && !log.ok) return log;
  const seed = entropy.bytes(SEED_BYTES);
  const next = Identity.ofSeed(seed, crypto);
  const logKey = log ? formatVerifierKey(log.value.key) : identity.value.logKey;
  const { origin } = identity.value;
  const { size, root } = last.value;
  const content = {
    origin,
    generation,
    deviceKey: next.publicKey,
    logKey,
    ...(nextRecoveryKey && { recoveryKey: nextRecoveryKey }),
    ...(recovery && { tree: { size, root } }),
  };
  const statement = makeRelayKey(signer.value.kid, content, signWith(signer.value), signWith(next));
  // What no device would follow must not be decided.
  const followed = followRelayKey(crypto, pins.value, statement);
  if (!followed.ok) return followed;
  const { recoveryKey } = followed.value;
  return ok({
    seed,
    statements: Buffer.concat([...statements.value.map(({ bytes }) => bytes), statement]),
    identity: {
      ...identity.value,
      publicKey: toHex(next.publicKey),
      logKey,
      generation,
      ...(recoveryKey && { recoveryKey: toHex(recoveryKey) }),
    },
    ...(log && { log: log.value }),
  });
}

/** What a device of this relay would have pinned. RELAY_FOREIGN where relay.json names no keys. */
export function pinsOf({ sha256 }: Crypto, identity: RelayIdentity): Result<RelayPins> {
  const deviceKey = fromHex(identity.publicKey);
  const recoveryKey = identity.recoveryKey === undefined ? undefined : fromHex(identity.recoveryKey);
  const logKey = parseVerifierKey(sha256, identity.logKey);
  if (!deviceKey || !logKey.ok || (identity.recoveryKey !== undefined && !recoveryKey))
    return fail("RELAY_FOREIGN", "expected keys in relay.json, found something else");
  return ok({
    origin: identity.origin,
    deviceKey,
    logKey: logKey.value,
    generation: identity.generation ?? 0,
    ...(recoveryKey && { recoveryKey }),
  });
}

function checkRecovery(recovery: Identity, { recoveryKey }: RelayPins): Result<Identity> {
  const [expected, received] = [recoveryKey ? toHex(recoveryKey) : "none", toHex(recovery.publicKey)];
  if (expected === received) return ok(recovery);
  return fail("RECOVERY_KEY_FOREIGN", `the relay has the recovery key ${expected}, the file holds ${received}`);
}

function openSigner(dataDir: string, crypto: Crypto, { publicKey }: RelayIdentity): Result<Identity> {
  const { deviceFacingKey, identity: identityPath } = pathsOf(dataDir);
  const opened = openDeviceFacingKey(deviceFacingKey, crypto);
  if (!opened.ok || toHex(opened.value.publicKey) === publicKey) return opened;
  return fail("RELAY_FOREIGN", `${deviceFacingKey} is not the key that ${identityPath} names`);
}

function signWith(identity: Identity): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const signature = identity.sign(bytes);
    if (!signature.ok) throw new Error(signature.failure.detail);
    return signature.value;
  };
}

/** Labels of `relay-keys.next`. */
const Label = { seed: 1, statements: 2, identity: 3, logKey: 4, checkpoint: 5, locked: 6 } as const;

/** Step 2: one write, before which there is the old relay, and after which there is the new one. */
export async function decideKeyChange(dataDir: string, change: DecidedChange, disk: Disk): Promise<void> {
  const map = new Map<number, Cbor>([
    [Label.seed, change.seed],
    [Label.statements, change.statements],
    [Label.identity, identityText(change.identity)],
  ]);
  if (change.log) {
    map.set(Label.logKey, change.log.file);
    map.set(Label.checkpoint, change.log.checkpoint);
    map.set(Label.locked, change.log.locked);
  }
  await writeDurable(disk, pathsOf(dataDir).nextKeys, encodeCbor(map), PRIVATE_MODE);
}

/**
 * Steps 3 to 7 of a change that was decided; true where there was one. Before anything else of the folder is opened, and
 * under its lock. RELAY_FOREIGN where the file is none; LOG_LOCK_MOVED, with nothing changed, where the log went on
 * meanwhile. Throws DiskError where the disk refuses: done again it comes to the same.
 */
export async function finishKeyChange(
  dataDir: string,
  crypto: Crypto,
  disk: Disk = nodeDisk,
): Promise<Result<boolean>> {
  const paths = pathsOf(dataDir);
  // Of a change that was not decided: a key that nothing names.
  if ((await disk.read(temporary(paths.nextKeys))) !== undefined) await disk.remove(temporary(paths.nextKeys));
  const bytes = await disk.read(paths.nextKeys);
  if (bytes === undefined) return ok(false);
  const change = readChange(bytes);
  if (!change) return fail("RELAY_FOREIGN", `expected a change of keys in ${paths.nextKeys}, found something else`);
  if (change.log) {
    const put = await putNextLogKey(paths.log, change.log, { disk, crypto });
    if (!put.ok) return put;
  }
  await writeDurable(disk, paths.relayKeys, change.statements, PUBLIC_MODE);
  await writeDurable(disk, paths.deviceFacingKey, utf8(encodeKeyFile(change.seed)), PRIVATE_MODE);
  await writeDurable(disk, paths.identity, utf8(change.identity), PUBLIC_MODE);
  await disk.remove(paths.nextKeys);
  await disk.syncFolder(dataDir);
  return ok(true);
}

interface StoredChange {
  readonly seed: Uint8Array;
  readonly statements: Uint8Array;
  readonly identity: string;
  readonly log?: Omit<NextLogKey, "key">;
}

function readChange(bytes: Uint8Array): StoredChange | undefined {
  const decoded = decodeCbor(bytes);
  if (!decoded.ok || !(decoded.value instanceof Map)) return undefined;
  const map = decoded.value;
  const [seed, statements, identity] = [map.get(Label.seed), map.get(Label.statements), map.get(Label.identity)];
  if (!(seed instanceof Uint8Array) || !(statements instanceof Uint8Array) || typeof identity !== "string")
    return undefined;
  const [file, checkpoint, locked] = [map.get(Label.logKey), map.get(Label.checkpoint), map.get(Label.locked)];
  if (file === undefined) return { seed, statements, identity };
  if (!(file instanceof Uint8Array) || !(checkpoint instanceof Uint8Array) || !(locked instanceof Uint8Array))
    return undefined;
  return { seed, statements, identity, log: { file, checkpoint, locked } };
}

/** What a start finds: a change that was decided is finished first. DATA_FOLDER_UNWRITABLE, and the codes of both steps. */
export async function openRelayKeys(
  dataDir: string,
  crypto: Crypto,
): Promise<Result<{ readonly identity: RelayIdentity; readonly statements: readonly KeptStatement[] }>> {
  try {
    const finished = await finishKeyChange(dataDir, crypto);
    if (!finished.ok) return finished;
    const identity = readIdentity(dataDir);
    if (!identity.ok) return identity;
    const statements = await readStatements(dataDir, identity.value);
    return statements.ok ? ok({ identity: identity.value, statements: statements.value }) : statements;
  } catch (error) {
    if (error instanceof DiskError) return fail("DATA_FOLDER_UNWRITABLE", error.message);
    throw error;
  }
}

/** A statement as it is kept. */
export interface KeptStatement {
  readonly generation: number;
  readonly bytes: Uint8Array;
}

/** The statements that led to the relay's present keys, oldest first. RELAY_FOREIGN where they do not lead there. */
export async function readStatements(
  dataDir: string,
  identity: RelayIdentity,
  disk: Disk = nodeDisk,
): Promise<Result<KeptStatement[]>> {
  const { relayKeys } = pathsOf(dataDir);
  const whole = (await disk.read(relayKeys)) ?? new Uint8Array(0);
  const parts = splitRelayKeys(whole, STATEMENTS_KEPT_MAX);
  if (!parts.ok) return fail("RELAY_FOREIGN", `${relayKeys}: ${parts.failure.detail}`);
  const kept: KeptStatement[] = [];
  let [publicKey, logKey, recoveryKey, generation] = [identity.publicKey, identity.logKey, identity.recoveryKey, 0];
  for (const bytes of parts.value) {
    const read = readRelayKey(bytes);
    if (!read.ok) return fail("RELAY_FOREIGN", `${relayKeys}: ${read.failure.detail}`);
    const { relayKey } = read.value;
    if (relayKey.origin !== identity.origin || relayKey.generation <= generation)
      return fail("RELAY_FOREIGN", `${relayKeys}: expected statements of ${identity.origin} in their order`);
    generation = relayKey.generation;
    [publicKey, logKey] = [toHex(relayKey.deviceKey), relayKey.logKey];
    if (relayKey.recoveryKey) recoveryKey = toHex(relayKey.recoveryKey);
    kept.push({ generation, bytes });
  }
  const leads = publicKey === identity.publicKey && logKey === identity.logKey && recoveryKey === identity.recoveryKey;
  if (leads && generation === (identity.generation ?? 0)) return ok(kept);
  return fail("RELAY_FOREIGN", `${relayKeys} leads to generation ${generation}, not to the keys that relay.json names`);
}

/** What a device that has pinned `generation` is told: the statements after it, as many as one answer takes. */
export function statementsAfter(kept: readonly KeptStatement[], generation: number): Uint8Array {
  const after = kept.filter((statement) => statement.generation > generation).slice(0, RELAY_KEYS_MAX);
  return Buffer.concat(after.map(({ bytes }) => bytes));
}
