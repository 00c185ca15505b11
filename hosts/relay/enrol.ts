import { fail, type Result } from "tallystick/codes/codes";
import { relayCrypto } from "./crypto.js";
import { readIdentity } from "./folder.js";
import { Administration, type EnrolmentToken } from "./operators/administration.js";
import { COMMAND_ACTOR } from "./operators/roles.js";
import { isDatabaseError } from "./store/database.js";
import { openStore, type StoreOptions, storeOfEnvironment } from "./store/open.js";
import { OperatorStore } from "./store/operators.js";

/**
 * Tenants, tokens and what was changed, from outside of the relay's process, whether it runs or not: through its database,
 * which takes a second writer for one row. Whoever may write the data folder needs no token: by this the first is made.
 */

/** DATA_FOLDER_BLANK, DATA_FOLDER_INCOMPLETE, RELAY_FOREIGN, STORE_FAILED, the store's codes, and those of `act`. */
export function administer<T>(
  dataDir: string,
  act: (administration: Administration) => Result<T>,
  { nowMs = Date.now, store }: { readonly nowMs?: () => number; readonly store?: StoreOptions } = {},
): Result<T> {
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const database = openStore(dataDir, identity.value, store, "beside");
  if (!database.ok) return database;
  try {
    const operators = new OperatorStore(database.value);
    const { sha256 } = relayCrypto;
    return act(new Administration({ store: operators, database: database.value, sha256, nowMs, actor: COMMAND_ACTOR }));
  } catch (error) {
    // The relay writes all the time, a backup may hold the file: what SQLite refuses is expected.
    if (!isDatabaseError(error)) throw error;
    return fail("STORE_FAILED", `${error.message} (${error.code})`);
  } finally {
    database.value.close();
  }
}

/** As `administer`, over the store that the environment names. CONFIG_SECRET_UNREADABLE besides. */
export function administerHere<T>(dataDir: string, act: (administration: Administration) => Result<T>): Result<T> {
  const place = storeOfEnvironment(process.env);
  return place.ok ? administer(dataDir, act, place.value) : place;
}

/** A token for one device. As `administer`, and TENANT_UNKNOWN, OPERATOR_LIMIT_REACHED. */
export function makeEnrolmentToken(
  dataDir: string,
  options: {
    readonly lifetimeMs?: number;
    readonly nowMs?: number;
    readonly tenant?: string;
    readonly store?: StoreOptions;
  } = {},
): Result<EnrolmentToken> {
  const { nowMs = Date.now(), store } = options;
  return administer(dataDir, (administration) => administration.makeEnrolmentToken(options), {
    nowMs: () => nowMs,
    ...(store && { store }),
  });
}
