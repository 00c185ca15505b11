import { chmodSync, existsSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import Sqlite from "better-sqlite3";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { packBundle, type TileName } from "tallystick/log/tile";
import {
  BACKUP_FILES,
  type BackupManifest,
  backupNames,
  completeBackup,
  completeBackups,
  type FoundBackup,
  filesOfTree,
  MANIFEST_FILE,
  readSums,
  sha256Of,
  sha256OfFile,
} from "./backup-folder.js";
import { relayCrypto as crypto } from "./crypto.js";
import { erasuresOf } from "./erasing.js";
import { type FolderPaths, isWithin, pathsOf, prepareFolder, type RelayIdentity, readIdentity } from "./folder.js";
import { type Disk, DiskError, makeFolderDurable, nodeDisk, PRIVATE_MODE, writeDurable } from "./log/disk.js";
import { bundleFiles } from "./log/erase-entries.js";
import { ErasedEntries, erasuresText, readErasures } from "./log/erasures.js";
import { TileStore } from "./log/tiles.js";
import { bundlesOf, checkBundle } from "./log/tree-check.js";
import { pinsOf } from "./relay-keys.js";
import { openToRead } from "./store/database.js";
import { ErasureStore } from "./store/erasures.js";
import { checkInFolder } from "./store/open.js";
import { StoredRows } from "./store/rows.js";

/**
 * Copies a relay's data while it runs, into a folder of backups (backup-folder.ts):
 *
 *   1. the database, as one moment has it, by SQLite's own copying
 *   2. the published checkpoint, read after that
 *   3. the files of the checkpoint's tree that no earlier backup has brought
 *   4. relay.json and statements, keys where they are asked for
 *   5. sums, then the manifest
 *
 * The database before the checkpoint: a relay tells it of indices only once they are published, so that the tree which is
 * copied holds all that the database calls logged; and what it does not know of yet it takes back from the log when it is
 * restored. The other way round a restored database would speak of entries that no restored tree has.
 *
 * The key's memory and the log's lock are never copied, in no form: put back later they would let the key sign again what
 * it has signed already, otherwise.
 */

/** All pages of a database in one step: a writer that goes on meanwhile would make SQLite begin again. */
const ALL_PAGES = 0x7fff_ffff;
/** Tiles that are written between two looks at the folder's names. */
const FILES_AT_ONCE = 256;
/** How often the log's files are copied again because entries were erased while they were. */
const ERASED_MEANWHILE_MAX = 3;

export interface BackupOptions {
  /** Also the relay's keys: whoever has the backup can then speak as the relay. Never by default. */
  readonly withKeys?: boolean;
  /**
   * Complete backups that stay, this one among them; at least 1, by default all. Where none of them has keys, the newest that
   * has stays as well: nothing else may hold them.
   */
  readonly keep?: number;
  readonly nowMs?: () => number;
  readonly disk?: Disk;
}

export interface MadeBackup {
  /** Its folder below the folder of backups. */
  readonly name: string;
  readonly manifest: BackupManifest;
  /** Files of the log that were copied; the others an earlier backup had brought. */
  readonly copied: number;
  /** Older backups that went. */
  readonly removed: readonly string[];
  /** The one that stayed beyond `keep`, for its keys. */
  readonly keptForKeys: string | undefined;
  /** Older ones that stay, and have bodies of records that were erased since. */
  readonly withErased: readonly string[];
}

/**
 * Makes one backup; it is durable on return. STORE_IN_POSTGRES where the database is in PostgreSQL; BACKUP_FOREIGN where the folder has backups of another relay, BACKUP_UNWRITABLE;
 * LOG_TILE_CORRUPT, LOG_TILE_MISSING and STORE_CORRUPT where the relay's own data is damaged: a copy of that is no backup.
 */
export async function backUp(dataDir: string, out: string, options: BackupOptions = {}): Promise<Result<MadeBackup>> {
  const { disk = nodeDisk } = options;
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  const inFolder = checkInFolder(dataDir, identity.value);
  if (!inFolder.ok) return inFolder;
  if (isWithin(out, dataDir))
    return fail("BACKUP_UNWRITABLE", `expected a folder outside of ${dataDir}, received ${out}`);
  if (existsSync(pathsOf(dataDir).nextKeys))
    return fail("RELAY_FOREIGN", "a change of the relay's keys is not finished: start the relay, which finishes it");
  const prepared = prepareFolder(out);
  if (!prepared.ok) return fail("BACKUP_UNWRITABLE", prepared.failure.detail);
  try {
    const writer = await disk.hold(join(out, "backup.lock"));
    if (!writer) return fail("BACKUP_UNWRITABLE", `another backup is being written into ${out}`);
    try {
      return await new BackupWriter(dataDir, out, identity.value, disk, options).run();
    } finally {
      writer.release();
    }
  } catch (error) {
    if (error instanceof DiskError) return fail("BACKUP_UNWRITABLE", error.message);
    if (error instanceof Sqlite.SqliteError) return fail("BACKUP_UNWRITABLE", `${error.message} (${error.code})`);
    throw error;
  }
}

class BackupWriter {
  readonly #dataDir: string;
  readonly #paths: FolderPaths;
  readonly #out: string;
  readonly #identity: RelayIdentity;
  readonly #disk: Disk;
  readonly #options: BackupOptions;
  readonly #sums = new Map<string, string>();
  #erased: ErasedEntries;
  #bytes = 0;

  constructor(dataDir: string, out: string, identity: RelayIdentity, disk: Disk, options: BackupOptions) {
    this.#dataDir = dataDir;
    this.#paths = pathsOf(dataDir);
    this.#out = out;
    this.#identity = identity;
    this.#disk = disk;
    this.#options = options;
    this.#erased = new ErasedEntries(this.#paths.logKept);
  }

  async run(): Promise<Result<MadeBackup>> {
    const complete = await completeBackups(this.#disk, this.#out);
    const other = complete.find(({ manifest }) => manifest.origin !== this.#identity.origin);
    if (other) return fail("BACKUP_FOREIGN", `${this.#out} has backups of ${other.manifest.origin}`);
    const name = await this.#begin(complete.map((backup) => backup.name));
    const last = complete.at(-1);
    const earlier = last && (await readSums(this.#disk, this.#out, last));

    const database = await this.#database(name);
    if (!database.ok) return database;
    const tree = await this.#checkpoint(name);
    if (!tree.ok) return tree;
    const { told, records } = database.value;
    if (told > tree.value.size)
      return fail("LOG_BEHIND", `the database was told of ${told} entries, the published tree has ${tree.value.size}`);
    const copied = await this.#log(name, tree.value, earlier?.ok ? earlier.value : new Map());
    if (!copied.ok) return copied;
    const rest = await this.#small(name);
    if (!rest.ok) return rest;

    const manifest = await completeBackup(this.#disk, this.#out, name, this.#sums, {
      format: 1,
      origin: this.#identity.origin,
      log_key: this.#identity.logKey,
      made_at_ms: (this.#options.nowMs ?? Date.now)(),
      log_size: tree.value.size,
      log_root: toHex(tree.value.root),
      database_told: told,
      records,
      with_keys: this.#options.withKeys === true,
      bytes: this.#bytes,
    });
    const all = await completeBackups(this.#disk, this.#out);
    const { dropped, kept, keptForKeys } = this.#chosen(all);
    await this.#prune(dropped, kept);
    return ok({
      name,
      manifest,
      copied: copied.value,
      removed: dropped.map((backup) => backup.name),
      keptForKeys: keptForKeys?.name,
      withErased: this.#withErased(name, kept),
    });
  }

  /** A folder for this backup; of ones that were interrupted nothing stays. */
  async #begin(complete: readonly string[]): Promise<string> {
    const names = await backupNames(this.#disk, this.#out);
    for (const name of names) if (!complete.includes(name)) await this.#disk.remove(join(this.#out, name));
    const number = Number(names.at(-1)?.slice("backup-".length) ?? "0") + 1;
    const name = `backup-${String(number).padStart(6, "0")}`;
    await makeFolderDurable(this.#disk, join(this.#out, name));
    return name;
  }

  /** Step 1. The copy is made one file that needs no other beside it, and looked at page by page. */
  async #database(name: string): Promise<Result<{ readonly told: number; readonly records: number }>> {
    const path = join(this.#out, name, BACKUP_FILES.store);
    const source = openToRead(this.#paths.store, "trusted");
    if (!source.ok) return source;
    try {
      await source.value.backup(path, { progress: () => ALL_PAGES });
    } finally {
      source.value.close();
    }
    chmodSync(path, PRIVATE_MODE);
    const copy = new Sqlite(path);
    try {
      copy.pragma("synchronous = FULL");
      copy.pragma("journal_mode = DELETE");
    } finally {
      copy.close();
    }
    await this.#disk.syncFile(path);
    const checked = openToRead(path);
    if (!checked.ok) return checked;
    try {
      const told = new StoredRows(checked.value, crypto).told();
      const records = checked.value.prepare("SELECT count(*) FROM records").pluck().get() as number;
      const sum = await sha256OfFile(path);
      if (sum === undefined) return fail("BACKUP_UNWRITABLE", `${path} cannot be read back`);
      this.#sums.set(`${name}/${BACKUP_FILES.store}`, sum);
      this.#bytes += statSync(path).size;
      await this.#disk.syncFolder(join(this.#out, name));
      return ok({ told, records });
    } finally {
      checked.value.close();
    }
  }

  /** Step 2. */
  async #checkpoint(name: string): Promise<Result<TreeHead>> {
    const pins = pinsOf(crypto, this.#identity);
    if (!pins.ok) return pins;
    const bytes = await new TileStore(this.#disk, crypto.sha256, this.#paths.logPublic).checkpoint();
    if (!bytes) return fail("LOG_TILE_MISSING", `expected ${join(this.#paths.logPublic, "checkpoint")}, found no file`);
    const opened = openCheckpoint(crypto, bytes, pins.value.logKey);
    if (!opened.ok) return opened;
    await this.#put(name, BACKUP_FILES.checkpoint, bytes);
    return opened;
  }

  /** Step 3, again where entries were erased meanwhile: their bundles are gone from where they were looked for. */
  async #log(name: string, tree: TreeHead, earlier: ReadonlyMap<string, string>): Promise<Result<number>> {
    const [sums, bytes] = [[...this.#sums.keys()], this.#bytes];
    for (let left = ERASED_MEANWHILE_MAX; ; left--) {
      const erasures = await this.#erasures(name);
      if (!erasures.ok) return erasures;
      const copied = await this.#tiles(name, tree, earlier);
      if (copied.ok || left === 0) return copied;
      const now = await readErasures(this.#disk, this.#paths.erasures);
      if (!now.ok || now.value.length <= erasures.value) return copied;
      for (const path of this.#sums.keys()) if (!sums.includes(path)) this.#sums.delete(path);
      this.#bytes = bytes;
    }
  }

  /** How many erasures there are. Before the tiles: what is erased by now is copied as what is kept of it. */
  async #erasures(name: string): Promise<Result<number>> {
    const copy = openToRead(join(this.#out, name, BACKUP_FILES.store), "trusted");
    if (!copy.ok) return copy;
    try {
      const erasures = { erasures: new ErasureStore(copy.value) };
      const all = await erasuresOf({ dataDir: this.#dataDir, disk: this.#disk }, erasures);
      if (!all.ok) return all;
      this.#erased = new ErasedEntries(this.#paths.logKept, all.value);
      if (all.value.length > 0) await this.#put(name, BACKUP_FILES.erasures, erasuresText(all.value));
      return ok(all.value.length);
    } finally {
      copy.value.close();
    }
  }

  /** Step 3: how many files were copied. What is copied is seen to lead to the checkpoint's root. */
  async #tiles(name: string, tree: TreeHead, earlier: ReadonlyMap<string, string>): Promise<Result<number>> {
    const source = new TileStore(this.#disk, crypto.sha256, this.#paths.logPublic, this.#erased);
    // What is kept of a bundle changes with each erasure: each backup has its own.
    const erased = this.#erased.in(join(this.#out, name, BACKUP_FILES.kept));
    if (erased.bundles.length > 0) await makeFolderDurable(this.#disk, erased.keptFolder);
    const target = new TileStore(this.#disk, crypto.sha256, this.#out, erased);
    let batch: { name: TileName; bytes: Uint8Array }[] = [];
    let copied = 0;
    let fresh = bundlesOf(tree.size);
    for (const name of filesOfTree(tree.size)) {
      const path = relative(this.#out, target.pathOf(name));
      const known = earlier.get(path);
      // What has rotted since is copied anew: else every later backup would be as damaged.
      if (known !== undefined && (await sha256OfFile(join(this.#out, path))) === known) {
        this.#sums.set(path, known);
        continue;
      }
      const read = name.level === "entries" ? await source.bundle(name.index, name.width) : await source.tile(name);
      if (!read.ok) return read;
      const bytes = read.value instanceof Uint8Array ? read.value : packBundle(read.value);
      const isShared = name.level === 0 || (name.level === "entries" && !erased.holds(name.index));
      if (isShared) fresh = Math.min(fresh, name.index);
      batch.push({ name, bytes });
      this.#sums.set(path, sha256Of(bytes));
      this.#bytes += bytes.length;
      copied++;
      if (batch.length < FILES_AT_ONCE) continue;
      await target.write(batch);
      batch = [];
    }
    await target.write(batch);
    const options = { disk: this.#disk, sha256: crypto.sha256, folder: this.#out, erased };
    for (let bundle = 0; bundle < bundlesOf(tree.size); bundle++) {
      if (bundle < fresh && !erased.holds(bundle)) continue;
      const [finding] = (await checkBundle(options, tree, bundle)).findings;
      if (finding) return fail(finding.code, `${finding.where}: ${finding.detail}`);
    }
    return ok(copied);
  }

  /** Step 4. */
  async #small(name: string): Promise<Result<true>> {
    const { identity, relayKeys, deviceFacingKey, logKey, ledger } = this.#paths;
    const text = await this.#disk.read(identity);
    const again = readIdentity(this.#dataDir);
    if (!text || !again.ok || JSON.stringify(again.value) !== JSON.stringify(this.#identity))
      return fail("RELAY_FOREIGN", "relay.json changed while the backup was made: make it again");
    await this.#put(name, BACKUP_FILES.identity, text);
    const statements = await this.#disk.read(relayKeys);
    if (statements) await this.#put(name, BACKUP_FILES.relayKeys, statements);
    if (!this.#options.withKeys) return ok(true);
    await makeFolderDurable(this.#disk, join(this.#out, name, "keys"));
    for (const [from, to] of [
      [deviceFacingKey, BACKUP_FILES.deviceFacingKey],
      [logKey, BACKUP_FILES.logKey],
      [join(ledger, "ledger.key"), BACKUP_FILES.ledgerKey],
    ] as const) {
      const key = await this.#disk.read(from);
      if (key) await this.#put(name, to, key);
    }
    return ok(true);
  }

  async #put(name: string, file: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#out, name, file);
    await writeDurable(this.#disk, path, bytes, PRIVATE_MODE);
    const stored = await this.#disk.read(path);
    if (!stored || !equalBytes(stored, bytes)) throw new DiskError("write", path, "it reads back as something else");
    this.#sums.set(`${name}/${file}`, sha256Of(bytes));
    this.#bytes += bytes.length;
  }

  /** Which go, and which stay. */
  #chosen(all: readonly FoundBackup[]): {
    readonly dropped: readonly FoundBackup[];
    readonly kept: readonly FoundBackup[];
    readonly keptForKeys: FoundBackup | undefined;
  } {
    const { keep } = this.#options;
    const kept = keep === undefined ? all : all.slice(-Math.max(1, keep));
    const before = all.slice(0, all.length - kept.length);
    const hasKeys = ({ manifest }: FoundBackup) => manifest.with_keys;
    const keptForKeys = kept.some(hasKeys) ? undefined : before.findLast(hasKeys);
    if (!keptForKeys) return { dropped: before, kept, keptForKeys };
    return { dropped: before.filter((each) => each !== keptForKeys), kept: [keptForKeys, ...kept], keptForKeys };
  }

  /** Those whose database does not know of every erasure that this backup's knows to be done. */
  #withErased(name: string, kept: readonly FoundBackup[]): string[] {
    const doneIn = (backup: string): number => {
      const database = openToRead(join(this.#out, backup, BACKUP_FILES.store), "trusted");
      if (!database.ok) return 0;
      try {
        return new ErasureStore(database.value).summaries().filter(({ doneAtMs }) => doneAtMs !== undefined).length;
      } finally {
        database.value.close();
      }
    };
    const done = doneIn(name);
    if (done === 0) return [];
    return kept.map((backup) => backup.name).filter((each) => each !== name && doneIn(each) < done);
  }

  /** Older backups go, manifest first; files of the log go that none of the others needs, and bundles with erased entries. */
  async #prune(dropped: readonly FoundBackup[], kept: readonly FoundBackup[]): Promise<void> {
    if (dropped.length === 0 && this.#erased.bundles.length === 0) return;
    const needed = new Set<string>();
    for (const backup of kept) {
      const sums = await readSums(this.#disk, this.#out, backup);
      // What cannot be read may need anything.
      if (!sums.ok) return;
      for (const path of sums.value.keys()) needed.add(path);
    }
    for (const backup of dropped) {
      const sums = await readSums(this.#disk, this.#out, backup);
      const folder = join(this.#out, backup.name);
      await this.#disk.remove(join(folder, MANIFEST_FILE));
      await this.#disk.syncFolder(folder);
      await this.#disk.remove(folder);
      if (!sums.ok) continue;
      for (const path of sums.value.keys())
        if (path.startsWith("tile/") && !needed.has(path)) await this.#disk.remove(join(this.#out, path));
    }
    for (const bundle of this.#erased.bundles)
      for (const path of await bundleFiles({ disk: this.#disk, folder: this.#out }, bundle))
        if (!needed.has(path)) await this.#disk.remove(join(this.#out, path));
    await this.#disk.syncFolder(this.#out);
  }
}
