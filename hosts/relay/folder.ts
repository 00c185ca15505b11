import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import Sqlite from "better-sqlite3";
import { fail, ok, type Result } from "tallystick/codes/codes";

/** The relay's data folder: which files it has, who may use it, and which relay it is. */

export interface FolderPaths {
  readonly identity: string;
  readonly lock: string;
  /** Shared by the processes of one relay that only take records in. */
  readonly ingestLock: string;
  readonly deviceFacingKey: string;
  /** Statements that changed the relay's keys: public. */
  readonly relayKeys: string;
  /** There while a change of the relay's keys is being carried out. */
  readonly nextKeys: string;
  readonly store: string;
  readonly log: string;
  readonly logKey: string;
  readonly logPublic: string;
  /** What processes that follow the log prove its entries with. */
  readonly logHeads: string;
  /** Of bundles that are published no more, the entries that were not erased. */
  readonly logKept: string;
  /** The list of what was erased, beside the log's lock. */
  readonly erasures: string;
  readonly ledger: string;
  /** How far the rolling scrub is. */
  readonly scrub: string;
  /** There while a new relay is being made. */
  readonly beginning: string;
}

export function pathsOf(folder: string): FolderPaths {
  return {
    identity: join(folder, "relay.json"),
    lock: join(folder, "relay.lock"),
    ingestLock: join(folder, "ingest.lock"),
    deviceFacingKey: join(folder, "device-facing.key"),
    relayKeys: join(folder, "relay-keys.cborseq"),
    nextKeys: join(folder, "relay-keys.next"),
    store: join(folder, "store.sqlite"),
    log: join(folder, "log"),
    logKey: join(folder, "log", "key"),
    logPublic: join(folder, "log", "public"),
    logHeads: join(folder, "log", "heads"),
    logKept: join(folder, "log", "kept"),
    erasures: join(folder, "log", "lock", "erasures"),
    ledger: join(folder, "ledger"),
    scrub: join(folder, "scrub.json"),
    beginning: join(folder, BEGINNING),
  };
}

const BEGINNING = "beginning";

/** Which relay the folder is of. Written last at initialisation, so that its presence means: all the rest was made. */
export interface RelayIdentity {
  readonly format: 1;
  readonly origin: string;
  /** Device-facing public key, lower-case hexadecimal. */
  readonly publicKey: string;
  /** The log's verifier key line. */
  readonly logKey: string;
  /** Seconds within which an acknowledged record is in a checkpoint, as the log's opening states. */
  readonly logWithinS: number;
  /** How often the keys have changed, as statements count it; absent: 0. */
  readonly generation?: number;
  /** Public key of the offline recovery key, lower-case hexadecimal. */
  readonly recoveryKey?: string;
  /** The store's name in PostgreSQL; absent: it is in SQLite, in this folder. */
  readonly postgres?: string;
}

/** relay.json's content. */
export function identityText(identity: RelayIdentity): string {
  return `${JSON.stringify(identity, null, 2)}\n`;
}

/** DATA_FOLDER_BLANK, DATA_FOLDER_FOREIGN, DATA_FOLDER_INCOMPLETE, DATA_FOLDER_UNREADABLE, RELAY_FOREIGN. */
export function readIdentity(folder: string): Result<RelayIdentity> {
  try {
    return identityIn(folder);
  } catch (error) {
    // Another user's, or a disk that does not give its bytes back: what may not be looked into is not blank.
    const { syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    return fail("DATA_FOLDER_UNREADABLE", message);
  }
}

/** Throws what the system refuses. */
function identityIn(folder: string): Result<RelayIdentity> {
  const { identity } = pathsOf(folder);
  const stats = statOf(folder);
  if (stats && !stats.isDirectory())
    return fail("DATA_FOLDER_BLANK", `expected a folder with a relay's data, found the file ${folder}`);
  if (!statOf(identity)) {
    const found = stats ? readdirSync(folder).filter((name) => !isLockFile(name)) : [];
    // Of a mark that is not whole: nothing else was begun.
    const begun = found.includes(BEGINNING) || (found.length === 1 && found[0] === `${BEGINNING}.new`);
    return found.length === 0 || begun
      ? fail(
          "DATA_FOLDER_BLANK",
          `expected a relay's data in ${folder}, found ${found.length === 0 ? "nothing" : "a beginning"}`,
        )
      : withoutIdentity(folder, found);
  }
  const text = readFileSync(identity, "utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return fail("RELAY_FOREIGN", `${identity} is not JSON: ${(error as Error).message}`);
  }
  return isIdentity(value)
    ? ok(value)
    : fail("RELAY_FOREIGN", `expected format 1, origin, publicKey, logKey and logWithinS in ${identity}`);
}

/** Files and folders of a relay by whose names nothing else is called. */
const RELAY_FILES = /^(?:store\.sqlite(?:-wal|-shm)?|device-facing\.key|relay-keys\.(?:cborseq|next)|scrub\.json)$/;
/** Names that are listed, and folders that are looked into for a relay. */
const NAMES_LISTED_MAX = 5;
const FOLDERS_LOOKED_INTO_MAX = 1000;

/** What is wrong with a folder of files among which there is no relay.json. */
function withoutIdentity(folder: string, found: readonly string[]): Result<never> {
  const own = found.filter((name) => RELAY_FILES.test(name));
  const listed = [...own, ...found.filter((name) => !own.includes(name))].slice(0, NAMES_LISTED_MAX).join(", ");
  const more = found.length > NAMES_LISTED_MAX ? ` and ${found.length - NAMES_LISTED_MAX} more` : "";
  const detail = `expected relay.json in ${folder}, found ${listed}${more}`;
  if (own.length > 0) return fail("DATA_FOLDER_INCOMPLETE", detail);
  const below = found
    .slice(0, FOLDERS_LOOKED_INTO_MAX)
    .map((name) => join(folder, name))
    .find((path) => existsSync(pathsOf(path).identity));
  return fail("DATA_FOLDER_FOREIGN", below === undefined ? detail : `${detail}; a relay's data is in ${below}`);
}

/** Undefined where there is nothing of this name; throws where that may not be known. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

function isIdentity(value: unknown): value is RelayIdentity {
  if (typeof value !== "object" || value === null) return false;
  const { format, origin, publicKey, logKey, logWithinS, generation, recoveryKey, postgres } = value as Record<
    string,
    unknown
  >;
  if (generation !== undefined && !Number.isSafeInteger(generation)) return false;
  if (postgres !== undefined && typeof postgres !== "string") return false;
  if (recoveryKey !== undefined && typeof recoveryKey !== "string") return false;
  const texts = [origin, publicKey, logKey].every((field) => typeof field === "string" && field !== "");
  return format === 1 && texts && Number.isSafeInteger(logWithinS);
}

/** Marks the folder as one in which a relay is being made: until the mark is gone nothing in it was ever used. */
export function beginFolder(folder: string): void {
  writeDurably(pathsOf(folder).beginning, "a new relay is being made here\n", 0o644);
}

/** The end of making a relay: from here on the folder is one, and nothing in it is ever made anew. */
export function finishFolder(folder: string, identity: RelayIdentity): void {
  const paths = pathsOf(folder);
  writeDurably(paths.identity, identityText(identity), 0o644);
  endBeginning(folder);
}

/** Takes the mark away. A stale one beside a lost relay.json would else pass for an interrupted start. */
export function endBeginning(folder: string): void {
  const { beginning } = pathsOf(folder);
  if (!existsSync(beginning)) return;
  rmSync(beginning);
  syncFolder(folder);
}

/** Clears away what an interrupted start began; true where the folder is blank afterwards. */
export function isBlank(folder: string): boolean {
  const paths = pathsOf(folder);
  if (existsSync(paths.beginning) && !existsSync(paths.identity)) {
    const database = ["", "-wal", "-shm", "-journal"].map((end) => `${paths.store}${end}`);
    const made = [paths.deviceFacingKey, ...database, paths.log];
    for (const path of [...made, `${paths.deviceFacingKey}.new`, `${paths.identity}.new`])
      rmSync(path, { recursive: true, force: true });
    endBeginning(folder);
  }
  if (!existsSync(paths.identity)) rmSync(`${paths.beginning}.new`, { force: true });
  return readdirSync(folder).every(isLockFile);
}

/** Writes a whole new file that is there, or is not, after a power cut: temporary file, fsync, rename, fsync of the folder. */
export function writeDurably(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = `${path}.new`;
  const file = openSync(temporary, "w", mode);
  try {
    if (typeof content === "string") writeSync(file, content);
    else writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

function syncFolder(folder: string): void {
  // Windows opens no folder for this; NTFS orders its own metadata.
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Makes the folder where it is missing, and sees that it can be written. DATA_FOLDER_UNWRITABLE. */
export function prepareFolder(folder: string): Result<void> {
  try {
    makeFolder(resolve(folder));
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return ok(undefined);
  } catch (error) {
    return fail("DATA_FOLDER_UNWRITABLE", (error as Error).message);
  }
}

/** Not by `recursive`, with which Node never returns where the system says that an existing folder is none, as in /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const above = dirname(folder);
  if (above !== folder) makeFolder(above);
  mkdirSync(folder, { mode: 0o700 });
  // Else a power cut could take the folder away, with all that was made durable in it.
  syncFolder(above);
}

/** Held while a relay runs on a folder. */
export interface FolderLock {
  release(): void;
}

/**
 * Takes the folder: `alone`; as its one `sequencer`, beside which others may take records in; or as one of those, `ingest`.
 * The lock is SQLite's lock on an empty file: the operating system gives it up when the process dies, however it dies, so
 * that there is no stale lock to remove. DATA_FOLDER_LOCKED.
 */
export function lockFolder(folder: string, use: "alone" | "sequencer" | "ingest" = "alone"): Result<FolderLock> {
  const { lock, ingestLock } = pathsOf(folder);
  if (use === "sequencer") return lockFile(lock, "BEGIN EXCLUSIVE");
  // Reading takes SQLite's shared lock, and keeps it until the transaction's end.
  if (use === "ingest") return lockFile(ingestLock, "BEGIN; SELECT count(*) FROM sqlite_master");
  const sequencer = lockFile(lock, "BEGIN EXCLUSIVE");
  if (!sequencer.ok) return sequencer;
  const ingest = lockFile(ingestLock, "BEGIN EXCLUSIVE");
  if (!ingest.ok) {
    sequencer.value.release();
    return ingest;
  }
  return ok({
    release: () => {
      ingest.value.release();
      sequencer.value.release();
    },
  });
}

function lockFile(path: string, begin: string): Result<FolderLock> {
  let database: Sqlite.Database | undefined;
  try {
    database = new Sqlite(path, { timeout: 0 });
    database.exec(begin);
    const held = database;
    return ok({ release: () => held.close() });
  } catch (error) {
    database?.close();
    if (!(error instanceof Sqlite.SqliteError)) throw error;
    if (error.code === "SQLITE_BUSY") return fail("DATA_FOLDER_LOCKED", `${path} is held by another process`);
    if (error.code === "SQLITE_NOTADB")
      return fail("DATA_FOLDER_UNWRITABLE", `${path} is not the relay's: make sure that no relay runs and remove it`);
    return fail("DATA_FOLDER_UNWRITABLE", `${path}: ${error.message}`);
  }
}

/** SQLite keeps a journal beside the file that it has locked. */
function isLockFile(name: string): boolean {
  return /^(?:relay|ingest)\.lock(?:-journal)?$/.test(name);
}

/** Whether `path` is `folder` or in it, by whatever links it is named; what is not there yet is where its parent is. */
export function isWithin(path: string, folder: string): boolean {
  return `${realPath(path)}${sep}`.startsWith(`${realPath(folder)}${sep}`);
}

function realPath(path: string): string {
  const whole = resolve(path);
  if (existsSync(whole)) return realpathSync(whole);
  const above = dirname(whole);
  return above === whole ? whole : join(realPath(above), basename(whole));
}
