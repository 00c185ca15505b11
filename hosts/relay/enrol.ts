import { ok, type Result } from "tallystick/codes/codes";
import { relayCrypto } from "./crypto.js";
import { readIdentity } from "./folder.js";
import { openStore, type StoreOptions } from "./store/open.js";
import { makeToken, TOKEN_LIFETIME_MS } from "./store/tokens.js";

/**
 * Enrolment tokens from outside of the relay's process, whether it runs or not: through its database, which takes a
 * second writer for one row. Who may make tokens is so who may write the data folder, and nothing listens for it: an
 * operator's route would need a credential of its own, and would be one more door to the network.
 */

export interface EnrolmentToken {
  /** 32 characters; given to one device, used once. */
  readonly token: string;
  readonly expiresAtMs: number;
}

/** DATA_FOLDER_BLANK, DATA_FOLDER_INCOMPLETE, RELAY_FOREIGN, and the store's codes. */
export function makeEnrolmentToken(
  dataDir: string,
  {
    lifetimeMs = TOKEN_LIFETIME_MS,
    nowMs = Date.now(),
    store,
  }: { readonly lifetimeMs?: number; readonly nowMs?: number; readonly store?: StoreOptions } = {},
): Result<EnrolmentToken> {
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const database = openStore(dataDir, identity.value, store, "beside");
  if (!database.ok) return database;
  try {
    const expiresAtMs = nowMs + lifetimeMs;
    return ok({ token: makeToken(database.value, relayCrypto.sha256, nowMs, expiresAtMs), expiresAtMs });
  } finally {
    database.value.close();
  }
}
