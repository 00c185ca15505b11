import { constants, copyFileSync, existsSync, rmSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import Sqlite from "better-sqlite3";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { formatNote, parseNote, type VerifierKey } from "tallystick/log/note";
import { packBundle, parseTilePath, type TileName, tilePath } from "tallystick/log/tile";
import { foldPeaks, peakAddresses } from "tallystick/merkle/merkle";
import {
  BACKUP_FILES,
  checkSums,
  completeBackups,
  type FoundBackup,
  filesOfTree,
  readSums,
  type Sums,
  sha256OfFile,
} from "./backup-folder.js";
import { relayCrypto as crypto } from "./crypto.js";
import {
  type FolderPaths,
  isWithin,
  lockFolder,
  pathsOf,
  prepareFolder,
  type RelayIdentity,
  readIdentity,
} from "./folder.js";
import {
  type Disk,
  DiskError,
  makeFolderDurable,
  nodeDisk,
  PRIVATE_MODE,
  PUBLIC_MODE,
  writeDurable,
} from "./log/disk.js";
import { ErasedEntries, type Erasure, readErasures, uniteErasures, writeErasures } from "./log/erasures.js";
import { memoryPath } from "./log/signer.js";
import { TileStore } from "./log/tiles.js";
import { bundlesOf, checkBundle } from "./log/tree-check.js";
import { pinsOf } from "./relay-keys.js";
import { bringUpToNow, openOlderToRead } from "./store/database.js";
import { ErasureStore } from "./store/erasures.js";
import { checkInFolder } from "./store/open.js";
import { StoredRows } from "./store/rows.js";

/**
 * Puts a backup's files where a relay's are missing. It only adds: what is there and right stays, since it is newer than any
 * backup, and what a restore would have to replace, a person moves aside first. All is checked before anything is written.
 *
 * What the log's key has signed decides. Where its memory and the lock are still there, the tree that they name must be whole
 * afterwards, out of the folder's files and the backup's: then the relay goes on, and its database takes back from the log
 * what it lacks. Where they are gone nobody here knows what was signed last. The data is then restored, the relay does not
 * start, and a person names the newest checkpoint that anyone has (`newest`); of that memory and lock are made.
 *
 * What folder or backup know to be erased does not come back: bundles are put back without it, and it is emptied in the
 * backup's database before that stands under its name.
 */
export interface RestoreOptions {
  /** Which backup; default the newest complete one. */
  readonly name?: string;
  /** The newest checkpoint that ledger, witnesses, mirrors or devices have of this log: only where lock or memory are gone. */
  readonly newest?: Uint8Array;
  readonly disk?: Disk;
}

export interface Restored {
  readonly backup: FoundBackup;
  /** Files that were written, below the data folder. */
  readonly written: readonly string[];
  /** The tree that the folder now holds. */
  readonly tree: TreeHead;
  /** Entries of the log that the database does not know of: the next start takes them back. */
  readonly behind: number;
  /** What keeps the relay from starting, each with what to do; none where it starts. */
  readonly lacking: readonly string[];
}

/**
 * BACKUP_MISSING, BACKUP_UNREADABLE, BACKUP_DAMAGED, BACKUP_FOREIGN; BACKUP_BEHIND where the key has signed more than can be restored,
 * BACKUP_TARGET_TAKEN, LOG_LOCK_UNPROVED, LOG_FORKED; DATA_FOLDER_LOCKED while a relay runs. Then nothing was changed.
 */
export async function restore(from: string, dataDir: string, options: RestoreOptions = {}): Promise<Result<Restored>> {
  const { disk = nodeDisk } = options;
  if (isWithin(dataDir, from))
    return fail("BACKUP_TARGET_TAKEN", `expected a data folder outside of the backups in ${from}, received ${dataDir}`);
  const source = await find(disk, from, options.name);
  if (!source.ok) return source;
  const prepared = prepareFolder(dataDir);
  if (!prepared.ok) return prepared;
  const lock = lockFolder(dataDir);
  if (!lock.ok) return lock;
  try {
    const planned = await plan(disk, dataDir, source.value, options.newest);
    return planned.ok ? ok(await write(disk, from, dataDir, source.value, planned.value)) : planned;
  } catch (error) {
    if (error instanceof DiskError) return fail("DATA_FOLDER_UNWRITABLE", error.message);
    throw error;
  } finally {
    lock.value.release();
  }
}

async function find(disk: Disk, from: string, name: string | undefined): Promise<Result<Source>> {
  try {
    const chosen = await choose(disk, from, name);
    return chosen.ok ? await checkBackup(disk, from, chosen.value) : chosen;
  } catch (error) {
    if (error instanceof DiskError) return fail("BACKUP_UNREADABLE", error.message);
    throw error;
  }
}

async function choose(disk: Disk, from: string, name: string | undefined): Promise<Result<FoundBackup>> {
  const complete = await completeBackups(disk, from);
  const found = name === undefined ? complete.at(-1) : complete.find((backup) => backup.name === name);
  if (found) return ok(found);
  const names = complete.map((backup) => backup.name).join(", ");
  return fail("BACKUP_MISSING", `expected ${name ?? "a complete backup"} in ${from}, found ${names || "none"}`);
}

/** A backup whose every byte was looked at. */
interface Source {
  readonly backup: FoundBackup;
  readonly sums: Sums;
  readonly identity: RelayIdentity;
  readonly logKey: VerifierKey;
  readonly checkpoint: OwnTree;
  readonly told: number;
  readonly erasures: readonly Erasure[];
  /** Its bundles, as the backup has them. */
  readonly tiles: TileStore;
}

async function checkBackup(disk: Disk, from: string, backup: FoundBackup): Promise<Result<Source>> {
  const sums = await readSums(disk, from, backup);
  if (!sums.ok) return sums;
  const whole = await checkSums(from, sums.value);
  if (!whole.ok) return whole;
  const folder = join(from, backup.name);
  const identity = readIdentity(folder);
  const pins = identity.ok ? pinsOf(crypto, identity.value) : identity;
  if (!identity.ok || !pins.ok) return fail("BACKUP_DAMAGED", `${backup.name}/${BACKUP_FILES.identity} names no relay`);
  const bytes = await disk.read(join(folder, BACKUP_FILES.checkpoint));
  const checkpoint = bytes && openOwn(bytes, pins.value.logKey);
  if (!checkpoint?.ok) return fail("BACKUP_DAMAGED", `${backup.name}/${BACKUP_FILES.checkpoint} is not the log key's`);
  const erasures = await readErasures(disk, join(folder, BACKUP_FILES.erasures));
  if (!erasures.ok) return fail("BACKUP_DAMAGED", erasures.failure.detail);
  const erased = new ErasedEntries(join(folder, BACKUP_FILES.kept), erasures.value);
  for (let bundle = 0; bundle < bundlesOf(checkpoint.value.size); bundle++) {
    const check = await checkBundle({ disk, sha256: crypto.sha256, folder: from, erased }, checkpoint.value, bundle);
    const [finding] = check.findings;
    if (finding) return fail("BACKUP_DAMAGED", `${finding.where}: ${finding.detail}`);
  }
  const database = openOlderToRead(join(folder, BACKUP_FILES.store));
  if (!database.ok) return fail("BACKUP_DAMAGED", database.failure.detail);
  try {
    const rows = new StoredRows(database.value, crypto);
    for (const part of rows.parts)
      for (let page = 0; page < part.pages(); page++) {
        const [finding] = part.check(page);
        if (finding) return fail("BACKUP_DAMAGED", `${finding.where}: ${finding.detail}`);
      }
    const told = rows.told();
    if (told > checkpoint.value.size)
      return fail("BACKUP_DAMAGED", `the database speaks of ${told} entries, the checkpoint of fewer`);
    const found = { backup, sums: sums.value, identity: identity.value, logKey: pins.value.logKey };
    const tiles = new TileStore(disk, crypto.sha256, from, erased);
    return ok({ ...found, checkpoint: checkpoint.value, told, erasures: erasures.value, tiles });
  } finally {
    database.value.close();
  }
}

interface Plan {
  readonly tree: OwnTree;
  /** Tiles and bundles that come from the backup. */
  readonly files: readonly TileName[];
  /** What may not come back. */
  readonly erasures: readonly Erasure[];
  readonly erased: ErasedEntries;
  /** Whether it is known that nothing newer was signed. */
  readonly proved: boolean;
  /** A person has named `tree`: memory and lock are made of it, or brought forward to it. */
  readonly named: boolean;
  /** Every tree that the key is known to have signed. */
  readonly known: readonly TreeHead[];
  readonly writesStore: boolean;
  readonly told: number;
}

async function plan(
  disk: Disk,
  dataDir: string,
  source: Source,
  newest: Uint8Array | undefined,
): Promise<Result<Plan>> {
  const paths = pathsOf(dataDir);
  const sameRelay = existsSync(paths.identity) ? checkIdentity(dataDir, source) : ok(true);
  if (!sameRelay.ok) return sameRelay;
  const store = checkStore(paths);
  if (!store.ok) return store;
  const tree = await newestTree(disk, paths, source, newest);
  if (!tree.ok) return tree;
  const listed = await readErasures(disk, paths.erasures);
  if (!listed.ok) return listed;
  const erasures = uniteErasures(listed.value, uniteErasures(store.value?.done ?? [], source.erasures));
  const erased = new ErasedEntries(paths.logKept, erasures);
  const files = await merge(disk, paths, source, erased, tree.value.tree, tree.value.known);
  if (!files.ok) return files;
  const [writesStore, told] = [store.value === undefined, store.value?.told ?? source.told];
  return ok({ ...tree.value, files: files.value, erasures, erased, writesStore, told });
}

function checkIdentity(dataDir: string, { identity, logKey }: Source): Result<true> {
  const there = readIdentity(dataDir);
  if (!there.ok) return there;
  const inFolder = checkInFolder(dataDir, there.value);
  if (!inFolder.ok) return inFolder;
  const pins = pinsOf(crypto, there.value);
  if (!pins.ok) return pins;
  if (there.value.origin !== identity.origin)
    return fail("BACKUP_FOREIGN", `expected a backup of ${there.value.origin}, received one of ${identity.origin}`);
  if (equalBytes(pins.value.logKey.publicKey, logKey.publicKey)) return ok(true);
  return fail(
    "BACKUP_FOREIGN",
    `the log's key is ${there.value.logKey}, the backup is from before it: ${identity.logKey}`,
  );
}

interface CheckedStore {
  /** How much it was told of. */
  readonly told: number;
  /** What it has erased. */
  readonly done: readonly Erasure[];
}

/** The database that is there; undefined where there is none. BACKUP_TARGET_TAKEN where it is no use. */
function checkStore({ store }: FolderPaths): Result<CheckedStore | undefined> {
  if (!existsSync(store)) {
    // SQLite would apply what stands in there to whatever database it finds beside it.
    const left = [`${store}-wal`, `${store}-journal`].find((path) => (sizeOf(path) ?? 0) > 0);
    return left ? fail("BACKUP_TARGET_TAKEN", `${left} is of a database that is gone`) : ok(undefined);
  }
  const database = openOlderToRead(store);
  if (!database.ok)
    return fail("BACKUP_TARGET_TAKEN", `${store}: ${database.failure.code}: ${database.failure.detail}`);
  try {
    const done = new ErasureStore(database.value).all("done");
    return ok({ told: new StoredRows(database.value, crypto).told(), done });
  } finally {
    database.value.close();
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** A tree that the log has signed, and its word for it: the note without what witnesses have added. */
interface OwnTree extends TreeHead {
  readonly bytes: Uint8Array;
}

function openOwn(note: Uint8Array, logKey: VerifierKey): Result<OwnTree> {
  const opened = openCheckpoint(crypto, note, logKey);
  if (!opened.ok) return opened;
  const { size, root } = opened.value;
  const parsed = parseNote(note);
  if (!parsed.ok) return parsed;
  const { text, signatures } = parsed.value;
  const own = signatures.filter(({ name, id }) => name === logKey.name && equalBytes(id, logKey.id));
  return ok({ size, root, bytes: formatNote({ text, signatures: own.slice(0, 1) }) });
}

/** The newest tree that the key is known to have signed, and whether that is sure. */
async function newestTree(
  disk: Disk,
  { log, logKey: keyPath, logPublic }: FolderPaths,
  { logKey, checkpoint }: Source,
  newest: Uint8Array | undefined,
): Promise<Result<Pick<Plan, "tree" | "proved" | "named" | "known">>> {
  const open = (bytes: Uint8Array | undefined) => bytes && openOwn(bytes, logKey);
  const lock = open(await disk.read(join(log, "lock", "head")));
  const memory = open(await disk.read(memoryPath(keyPath)));
  const published = open(await new TileStore(disk, crypto.sha256, logPublic).checkpoint());
  // What is there and cannot be read is a person's to judge: it may be the only trace of a newer tree.
  if (lock && !lock.ok) return fail("LOG_LOCK_CORRUPT", lock.failure.detail);
  if (memory && !memory.ok) return fail("LOG_SIGNER_STATE_CORRUPT", memory.failure.detail);
  const known = [lock, memory, published, ok(checkpoint)].flatMap((tree) => (tree?.ok ? [tree.value] : []));
  const largest = known.reduce((a, b) => (b.size > a.size ? b : a));
  if (lock && memory) {
    if (newest)
      return fail("LOG_LOCK_UNPROVED", "lock and memory are there: nothing else decides what was signed last");
    if (memory.value.size < largest.size)
      return fail(
        "LOG_LOCK_UNPROVED",
        `the key's memory has ${memory.value.size} entries, but ${largest.size} were signed: it was set back itself, so move lock and memory aside`,
      );
    return ok({ tree: largest, proved: true, named: false, known });
  }
  const named = open(newest);
  if (named && !named.ok)
    return fail("LOG_LOCK_UNPROVED", `it is not signed by ${logKey.name}: ${named.failure.detail}`);
  if (named && named.value.size < largest.size)
    return fail("LOG_LOCK_UNPROVED", `it has ${named.value.size} entries, but ${largest.size} are known to be signed`);
  return ok({ tree: named?.value ?? largest, proved: named !== undefined, named: named !== undefined, known });
}

/**
 * Which files the backup has to give so that `tree` is whole: what is missing, and what is there and wrong. BACKUP_BEHIND
 * where both together are not enough; LOG_FORKED where a `known` tree is no beginning of it.
 */
async function merge(
  disk: Disk,
  { logPublic }: FolderPaths,
  source: Source,
  erased: ErasedEntries,
  tree: TreeHead,
  known: readonly TreeHead[],
): Promise<Result<readonly TileName[]>> {
  const taken = new Set<string>();
  const both: Disk = {
    ...disk,
    async read(path) {
      const folder = path.startsWith(erased.keptFolder) ? erased.keptFolder : logPublic;
      const name = parseTilePath(relative(folder, path));
      const own = name && taken.has(tilePath(name)) ? undefined : await disk.read(path);
      return own ?? (name && readBacked(source, erased, name));
    },
  };
  const options = { disk: both, sha256: crypto.sha256, folder: logPublic, erased };
  for (let bundle = 0; bundle < bundlesOf(tree.size); bundle++) {
    for (;;) {
      const { findings } = await checkBundle(options, tree, bundle);
      const wrong = findings.filter(({ where }) => !taken.has(where));
      if (findings.length === 0) break;
      for (const { where } of wrong) taken.add(where);
      if (wrong.length > 0) continue;
      const { where, detail } = findings[0]!;
      return fail(
        "BACKUP_BEHIND",
        `the key has signed ${tree.size} entries, the backup has ${source.checkpoint.size}, and ${where} is whole in neither: ${detail}`,
      );
    }
  }
  const tiles = new TileStore(both, crypto.sha256, logPublic);
  for (const { size, root } of known) {
    const addresses = peakAddresses(size);
    const nodes = await tiles.nodes([addresses], tree.size);
    if (!nodes.ok) return nodes;
    const then = foldPeaks(crypto.sha256, addresses.map(nodes.value));
    if (!equalBytes(then, root))
      return fail(
        "LOG_FORKED",
        `at ${size} the key has signed ${toHex(root)}, and the tree of ${tree.size} has ${toHex(then)}`,
      );
  }
  const own = new TileStore(disk, crypto.sha256, logPublic, erased);
  const files: TileName[] = [];
  for (const name of filesOfTree(tree.size)) {
    const there = existsSync(own.pathOf(name)) && !taken.has(tilePath(name));
    if (!there && existsSync(source.tiles.pathOf(name))) files.push(name);
  }
  return ok(files);
}

/** A file of the log as the backup has it, without entries that were erased since; undefined where it has none. */
async function readBacked(source: Source, erased: ErasedEntries, name: TileName): Promise<Uint8Array | undefined> {
  const { level, index, width } = name;
  if (!existsSync(source.tiles.pathOf(name))) return undefined;
  if (level !== "entries") return bytesOf(await source.tiles.tile(name));
  const entries = await source.tiles.bundle(index, width);
  return entries.ok ? packBundle(erased.blank(index, entries.value)) : undefined;
}

function bytesOf(tile: Result<Uint8Array>): Uint8Array | undefined {
  return tile.ok ? tile.value : undefined;
}

/** In this order: what is trusted least first, relay.json last. Done again after a crash it comes to the same. */
async function write(disk: Disk, from: string, dataDir: string, source: Source, planned: Plan): Promise<Restored> {
  const paths = pathsOf(dataDir);
  const { tree, files, proved, named, writesStore, told, erasures, erased } = planned;
  const { backup } = source;
  const folder = join(from, backup.name);
  const written: string[] = [];
  const put = async (path: string, bytes: Uint8Array | undefined, mode: number): Promise<void> => {
    if (!bytes || existsSync(path)) return;
    await makeFolders(disk, dataDir, dirname(path));
    await writeDurable(disk, path, bytes, mode);
    written.push(relative(dataDir, path));
  };
  await makeFolders(disk, dataDir, paths.logPublic);
  // What may not come back is known before anything that holds it is there.
  if (erasures.length > 0) {
    await makeFolders(disk, dataDir, dirname(paths.erasures));
    await writeErasures(disk, paths.erasures, erasures);
  }
  const tiles = new TileStore(disk, crypto.sha256, paths.logPublic, erased);
  for (const name of files) {
    const path = tiles.pathOf(name);
    await makeFolders(disk, dataDir, dirname(path));
    await writeDurable(disk, path, (await readBacked(source, erased, name))!, PUBLIC_MODE);
    written.push(relative(dataDir, path));
  }
  await put(join(paths.logPublic, "checkpoint"), tree.bytes, PUBLIC_MODE);
  if (writesStore) {
    await putStore(disk, join(folder, BACKUP_FILES.store), paths.store, source, erasures);
    written.push(relative(dataDir, paths.store));
  }
  const read = (file: string) => disk.read(join(folder, file));
  await put(paths.logKey, await read(BACKUP_FILES.logKey), PRIVATE_MODE);
  await put(paths.deviceFacingKey, await read(BACKUP_FILES.deviceFacingKey), PRIVATE_MODE);
  await put(join(paths.ledger, "ledger.key"), await read(BACKUP_FILES.ledgerKey), PRIVATE_MODE);
  if (named)
    for (const path of [memoryPath(paths.logKey), join(paths.log, "lock", "head")]) {
      const there = await disk.read(path);
      // It was opened, and is of the same tree or of a beginning of it.
      if (there && equalBytes(there, tree.bytes)) continue;
      await makeFolders(disk, dataDir, dirname(path));
      await writeDurable(disk, path, tree.bytes, PRIVATE_MODE);
      written.push(relative(dataDir, path));
    }
  await put(paths.relayKeys, await read(BACKUP_FILES.relayKeys), PUBLIC_MODE);
  await put(paths.identity, await read(BACKUP_FILES.identity), PUBLIC_MODE);
  return { backup, written, tree, behind: tree.size - Math.max(1, told), lacking: lacking(paths, proved, tree) };
}

/** The database whole under its name, or not there. */
async function putStore(
  disk: Disk,
  from: string,
  to: string,
  { backup, sums }: Source,
  erasures: readonly Erasure[],
): Promise<void> {
  const temporary = `${to}.new`;
  try {
    copyFileSync(from, temporary, constants.COPYFILE_FICLONE);
  } catch (error) {
    throw new DiskError("write", temporary, error);
  }
  const bytes = await sha256OfFile(temporary);
  if (bytes !== sums.get(`${backup.name}/${BACKUP_FILES.store}`))
    throw new DiskError("write", temporary, "it reads back as something else");
  if (erasures.length > 0) eraseInCopy(temporary, erasures);
  await disk.syncFile(temporary);
  await disk.rename(temporary, to);
  await disk.syncFolder(dirname(to));
}

/** Of what was erased since the backup the first start still marks that it is done. */
function eraseInCopy(path: string, erasures: readonly Erasure[]): void {
  const database = new Sqlite(path);
  try {
    database.pragma("synchronous = FULL");
    bringUpToNow(database);
    const store = new ErasureStore(database);
    database.transaction(() => {
      for (const erasure of erasures) if (!store.has(erasure.number)) store.add(erasure);
      store.blank(erasures);
    })();
    database.exec("VACUUM");
  } catch (error) {
    throw new DiskError("write", path, error);
  } finally {
    database.close();
    // A copy that could not be finished has nothing beside it that would be applied to another.
    rmSync(`${path}-journal`, { force: true });
  }
}

async function makeFolders(disk: Disk, above: string, folder: string): Promise<void> {
  if (folder === above || existsSync(folder)) return;
  await makeFolders(disk, above, dirname(folder));
  await makeFolderDurable(disk, folder);
}

function lacking(paths: FolderPaths, proved: boolean, tree: TreeHead): string[] {
  const lines: string[] = [];
  if (!existsSync(paths.deviceFacingKey))
    lines.push(`${paths.deviceFacingKey}: bring it from where keys are kept, or tallystick relay-key recover`);
  if (!existsSync(paths.logKey))
    lines.push(`${paths.logKey}: bring it from where keys are kept, or tallystick relay-key rotate --log`);
  if (!proved)
    lines.push(
      `lock and memory of the log's key: nobody here knows whether more than ${tree.size} entries were signed. Ask the ledger, witnesses, mirrors and devices for the newest checkpoint, and restore again with --newest`,
    );
  return lines;
}
