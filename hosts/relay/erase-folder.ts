import { setTimeout as after } from "node:timers/promises";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { TILE_WIDTH } from "tallystick/log/tile";
import { relayCrypto as crypto } from "./crypto.js";
import { decideErasure, type ErasureRequest, planErasure } from "./erase.js";
import { eraseFromFiles, finishErasures, openErasures } from "./erasing.js";
import { lockFolder, readIdentity } from "./folder.js";
import { nodeDisk } from "./log/disk.js";
import { isDatabaseError } from "./store/database.js";
import type { ErasureSummary } from "./store/erasures.js";
import { openStore, type StoreOptions } from "./store/open.js";
import { Store } from "./store/store.js";

/**
 * Erasing from outside of the relay's process. Of a stopped relay it is done here; a running one is told through its database,
 * and does it in its next round, since nobody else may write its log's files.
 */

/** How long a running relay is waited for, and how often it is looked whether it is done. */
const WAIT_MAX_MS = 30_000;
const LOOK_MS = 100;

export interface EraseFolderOptions {
  /** Without it nothing is changed: what would be is said. */
  readonly decided: boolean;
  readonly nowMs?: () => number;
  /** Where the store is, where that is not SQLite's file in the folder. */
  readonly store?: StoreOptions;
}

export interface FolderErasure {
  /** Undefined where nothing was decided: not asked for, or all of it is erased already. */
  readonly number: number | undefined;
  readonly records: number;
  readonly already: number;
  /** Bundles that are published no more. */
  readonly bundles: number;
  readonly done: boolean;
  readonly running: boolean;
}

/** DATA_FOLDER_BLANK, RELAY_FOREIGN, ERASURES_CORRUPT, the store's codes, and `planErasure`'s. */
export function eraseInFolder(
  dataDir: string,
  request: ErasureRequest,
  { decided, nowMs = Date.now, store: place }: EraseFolderOptions,
): Promise<Result<FolderErasure>> {
  return withStore(dataDir, place, async (store, running) => {
    const folder = { dataDir, store, disk: nodeDisk, nowMs };
    // Of a stopped relay the list may say more than its database, which then goes by the same numbers.
    const erased = running || !decided ? undefined : await openErasures(folder);
    if (erased && !erased.ok) return erased;
    const plan = planErasure({ store, crypto }, request);
    if (!plan.ok) return plan;
    const { records, already } = plan.value;
    const entries = records.flatMap(({ entry }) => (entry === undefined ? [] : [Math.floor(entry / TILE_WIDTH)]));
    const found = { records: records.length, already, bundles: new Set(entries).size, running };
    if (!decided) return ok({ ...found, number: undefined, done: false });
    const number = records.length > 0 ? decideErasure(store, plan.value, nowMs()) : undefined;
    if (erased) {
      const finished = await finishErasures(folder, eraseFromFiles(folder, erased.value));
      return finished.ok ? ok({ ...found, number, done: true }) : finished;
    }
    const deadline = performance.now() + WAIT_MAX_MS;
    while (store.erasures.hasUnfinished && performance.now() < deadline) await after(LOOK_MS);
    return ok({ ...found, number, done: !store.erasures.hasUnfinished });
  });
}

/** Every decision, oldest first. */
export function listErasures(dataDir: string, place?: StoreOptions): Promise<Result<readonly ErasureSummary[]>> {
  return withStore(dataDir, place, async (store) => ok(store.erasures.summaries()));
}

async function withStore<T>(
  dataDir: string,
  place: StoreOptions | undefined,
  run: (store: Store, running: boolean) => Promise<Result<T>>,
): Promise<Result<T>> {
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const lock = lockFolder(dataDir);
  const running = !lock.ok && lock.failure.code === "DATA_FOLDER_LOCKED";
  if (!lock.ok && !running) return lock;
  try {
    const database = openStore(dataDir, identity.value, place, running ? "beside" : "sequencer");
    if (!database.ok) return database;
    const store = new Store(database.value);
    try {
      return await run(store, running);
    } catch (error) {
      if (!isDatabaseError(error)) throw error;
      return fail("STORE_FAILED", `${error.message} (${error.code})`);
    } finally {
      store.close();
    }
  } finally {
    if (lock.ok) lock.value.release();
  }
}
