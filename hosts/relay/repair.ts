import { equalBytes } from "tallystick/bytes/bytes";
import { ok, type Result } from "tallystick/codes/codes";
import type { TreeHead } from "tallystick/log/checkpoint";
import { TILE_WIDTH, tileWidth } from "tallystick/log/tile";
import { leafHash } from "tallystick/merkle/merkle";
import { relayCrypto as crypto } from "./crypto.js";
import { erasedOf } from "./erasing.js";
import { type ExamineOptions, examineFolder, type FolderExamination } from "./examine.js";
import { lockFolder, pathsOf, readIdentity } from "./folder.js";
import { nodeDisk } from "./log/disk.js";
import { rebuildTree } from "./log/rebuild.js";
import { TileStore } from "./log/tiles.js";
import { openDatabase, openToRead } from "./store/database.js";
import { ErasureStore } from "./store/erasures.js";
import { checkInFolder } from "./store/open.js";
import { StoredRows } from "./store/rows.js";

/**
 * Puts back what can be shown to be right, in a folder on which no relay runs, and nothing else: files of the log that
 * hash to the signed root, and records in the database whose bytes the log has and their id names. What was erased is not put back.
 */

export interface Repair {
  /** Files and records that were written. */
  readonly repaired: readonly string[];
  /** Why something was left; the examination says what. */
  readonly refused: Result<never> | undefined;
  /** The folder as it is afterwards. */
  readonly after: FolderExamination;
}

/** DATA_FOLDER_LOCKED while a relay runs, and `examineFolder`'s codes. */
export async function repairFolder(dataDir: string, options: ExamineOptions = {}): Promise<Result<Repair>> {
  const identity = readIdentity(dataDir);
  const inFolder = identity.ok ? checkInFolder(dataDir, identity.value) : ok(true);
  if (!inFolder.ok) return inFolder;
  const lock = lockFolder(dataDir);
  if (!lock.ok) return lock;
  try {
    const before = await examineFolder(dataDir, { ...options, held: lock.value });
    if (!before.ok) return before;
    const { tree } = before.value;
    const files = tree ? await repairLog(dataDir, tree) : ok([]);
    const records = tree && files.ok ? await repairRecords(dataDir, tree) : [];
    const repaired = [...(files.ok ? files.value : []), ...records];
    if (repaired.length === 0) return ok({ repaired, refused: files.ok ? undefined : files, after: before.value });
    const after = await examineFolder(dataDir, { ...options, held: lock.value });
    return after.ok ? ok({ repaired, refused: undefined, after: after.value }) : after;
  } finally {
    lock.value.release();
  }
}

async function repairLog(dataDir: string, tree: TreeHead): Promise<Result<readonly string[]>> {
  const { store, logPublic } = pathsOf(dataDir);
  const database = openToRead(store);
  try {
    const rows = database.ok ? new StoredRows(database.value, crypto) : undefined;
    const erasures = database.ok ? new ErasureStore(database.value) : undefined;
    const erased = await erasedOf({ dataDir, disk: nodeDisk }, erasures && { erasures });
    // What is not known to be erased would be put back.
    if (!erased.ok) return erased;
    const options = { disk: nodeDisk, sha256: crypto.sha256, folder: logPublic, erased: erased.value };
    const spare = (from: number, count: number) => rows?.entries(from, count) ?? new Map<number, Uint8Array>();
    const rebuilt = await rebuildTree(options, tree, spare);
    return rebuilt.ok
      ? ok(rebuilt.value.map((path) => `log/${erased.value.isKept(path) ? "kept" : "public"}/${path}`))
      : rebuilt;
  } finally {
    if (database.ok) database.value.close();
  }
}

/** After the log's own files are right: each entry is seen to be what the record's id names. */
async function repairRecords(dataDir: string, { size }: TreeHead): Promise<string[]> {
  const { store, logPublic } = pathsOf(dataDir);
  const database = openDatabase(store, "trusted");
  if (!database.ok) return [];
  try {
    const rows = new StoredRows(database.value, crypto);
    const erased = await erasedOf({ dataDir, disk: nodeDisk }, { erasures: new ErasureStore(database.value) });
    if (!erased.ok) return [];
    const tiles = new TileStore(nodeDisk, crypto.sha256, logPublic, erased.value);
    const repaired: string[] = [];
    for (const { index, id } of [...rows.damagedLogged()]) {
      const bundle = Math.floor(index / TILE_WIDTH);
      const entries = index < size ? await tiles.bundle(bundle, tileWidth(0, bundle, size)) : undefined;
      const bytes = entries?.ok ? entries.value[index % TILE_WIDTH] : undefined;
      if (!bytes || !equalBytes(leafHash(crypto.sha256, bytes), id)) continue;
      rows.putBack(index, id, bytes);
      repaired.push(`store.sqlite records entry ${index}`);
    }
    return [...repaired, ...rows.repairIds()];
  } finally {
    database.value.close();
  }
}
