import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import type { Identity } from "tallystick/identity/identity";
import { parseVerifierKey } from "tallystick/log/note";
import { pathsOf, type RelayIdentity, readIdentity } from "./folder.js";
import type { ErasedEntries } from "./log/erasures.js";
import { Log } from "./log/log.js";
import { type KeptStatement, openRelayKeys, readStatements } from "./relay-keys.js";
import type { Figures } from "./store/figures.js";

/**
 * What a process is to its relay. `all`: everything, and the only one that gives records their places in the log and signs
 * for it. `ingest`: verifies records, makes them durable and acknowledges them, beside one of role `all`, on the same database
 * in PostgreSQL and the same data folder.
 */
export type RelayRole = "all" | "ingest";

/** How often it is looked whether records wait too long for the sequencer. */
const WAIT_LOOK_MS = 1000;

/** The relay's keys; a change that was decided is finished by role `all` alone. SEQUENCER_AWAY, and the folder's codes. */
export async function openKeys(
  dataDir: string,
  crypto: Crypto,
  role: RelayRole,
): Promise<Result<{ readonly identity: RelayIdentity; readonly statements: readonly KeptStatement[] }>> {
  if (role === "all") return openRelayKeys(dataDir, crypto);
  if (existsSync(pathsOf(dataDir).nextKeys))
    return fail("SEQUENCER_AWAY", "a change of the relay's keys is under way, which its start finishes");
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const statements = await readStatements(dataDir, identity.value);
  return statements.ok ? ok({ identity: identity.value, statements: statements.value }) : statements;
}

/** The log as role `ingest` sees it. */
export function followLog(
  dataDir: string,
  crypto: Crypto,
  { logKey }: RelayIdentity,
  erased: ErasedEntries,
): Promise<Result<Log>> {
  const key = parseVerifierKey(crypto.sha256, logKey);
  return key.ok ? Log.follow(pathsOf(dataDir).log, crypto, key.value, erased) : Promise.resolve(key);
}

/**
 * What a process that does not sequence can tell of the log's going on: a record has waited for half of the time within which
 * the log promises to have it. What is taken in now would be promised what nobody can tell will be kept.
 */
export function waitsForSequencer(
  figures: Pick<Figures, "unlogged">,
  nowMs: () => number,
  logWithinMs: number,
): () => Failure | undefined {
  let lookedMs = Number.NEGATIVE_INFINITY;
  let found: Failure | undefined;
  return () => {
    const now = nowMs();
    if (Math.abs(now - lookedMs) < WAIT_LOOK_MS) return found;
    lookedMs = now;
    const { oldestMs } = figures.unlogged();
    const waitedMs = oldestMs === undefined ? 0 : now - oldestMs;
    found =
      waitedMs > logWithinMs / 2
        ? fail("SEQUENCER_AWAY", `a record has waited ${Math.floor(waitedMs / 1000)} s for the log`).failure
        : undefined;
    return found;
  };
}

/**
 * A key that all processes of a relay come to by themselves, for challenges that one gives out and another takes: the hash of
 * the device-facing key's signature of a text that is no statement. Ed25519 signs the same bytes the same way.
 */
export function sharedSecret(identity: Identity): Uint8Array {
  const signature = identity.sign(Buffer.from("tallystick: challenges of all processes of this relay", "ascii"));
  if (!signature.ok) throw new Error(signature.failure.detail);
  return new Uint8Array(createHash("sha256").update(signature.value).digest());
}
