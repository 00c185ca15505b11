import { constants, copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { PostgresError } from "./postgres/bridge.js";
import { isOfServer, isPostgresCorruption } from "./postgres/database.js";
import { APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION } from "./schema.js";
import type { Sql } from "./sql.js";

/** Opening the relay's one SQLite file: what it must be before a byte of it is trusted, and how it is made durable. */

/** The store's database, whichever it is. */
export type Database = Sql;
export type SqliteDatabase = Sqlite.Database;

/** How long a write waits for another process's (the command that makes enrolment tokens) to end. */
const BUSY_TIMEOUT_MS = 5000;

/** Pages that SQLite keeps in memory: the ends at which rows and positions grow, of thousands of devices. */
const CACHE_KIB = 16_384;

/** Pages in the write-ahead log before they are copied: the ends of the tables are written often, and copied once. */
const WAL_PAGES = 4000;

/** Whether every page is looked at before the file is used. `trusted`: somebody has done that, or will (pages.ts). */
export type Pages = "checked" | "trusted";

/** Makes the store of a new relay. STORE_EXISTS where there is a file already. */
export function createDatabase(path: string): Result<SqliteDatabase> {
  if (existsSync(path)) return fail("STORE_EXISTS", `expected no file at ${path}, found one`);
  const database = new Sqlite(path, { timeout: BUSY_TIMEOUT_MS });
  makeDurable(database);
  database.transaction(() => {
    database.exec(SCHEMA);
    database.pragma(`application_id = ${APPLICATION_ID}`);
    migrate(database, 1);
  })();
  return ok(database);
}

/**
 * Opens an existing store, whole or not at all: nothing here repairs or starts anew. Of an older version it gets the
 * tables that it lacks, in one transaction; what it holds stays as it is.
 * STORE_MISSING, STORE_NEWER and STORE_CORRUPT say what was found.
 */
export function openDatabase(path: string, pages: Pages = "checked"): Result<SqliteDatabase> {
  if (!existsSync(path)) return fail("STORE_MISSING", `expected the database ${path}, found no such file`);
  let database: SqliteDatabase | undefined;
  try {
    database = new Sqlite(path, { fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    const found = inspect(database, path, pages);
    if (found.ok) {
      makeDurable(database);
      const older = database;
      // Another process may have done it since the look: only within the transaction is the version what it is.
      if (found.value < SCHEMA_VERSION) older.transaction(() => migrate(older, versionOf(older))).immediate();
      return ok(database);
    }
    database.close();
    return found;
  } catch (error) {
    database?.close();
    return failureOf(error, path);
  }
}

/**
 * Opens a store only to look at it, also beside a relay that runs: nothing is written, no table is added.
 * STORE_MISSING, STORE_NEWER, STORE_CORRUPT, STORE_FAILED; STORE_UNEXAMINED where it is of an older version.
 */
export function openToRead(path: string, pages: Pages = "checked"): Result<SqliteDatabase> {
  if (!existsSync(path)) return fail("STORE_MISSING", `expected the database ${path}, found no such file`);
  let database: SqliteDatabase | undefined;
  try {
    database = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    const found = inspect(database, path, pages);
    if (found.ok && found.value === SCHEMA_VERSION) return ok(database);
    database.close();
    return found.ok
      ? fail("STORE_UNEXAMINED", `expected schema version ${SCHEMA_VERSION} in ${path}, found ${found.value}`)
      : found;
  } catch (error) {
    database?.close();
    return failureOf(error, path);
  }
}

/**
 * As `openToRead`, but a store of an older version is looked at as it would be now: in a copy of its own below the system's
 * temporary folder, which goes when it is closed.
 */
export function openOlderToRead(path: string): Result<SqliteDatabase> {
  const found = openToRead(path);
  if (found.ok || found.failure.code !== "STORE_UNEXAMINED") return found;
  const folder = mkdtempSync(join(tmpdir(), "tallystick-store-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const copy = join(folder, "store.sqlite");
  try {
    copyFileSync(path, copy, constants.COPYFILE_FICLONE);
  } catch (error) {
    remove();
    return fail("STORE_FAILED", `${path} cannot be copied to ${folder}: ${(error as Error).message}`);
  }
  const opened = openDatabase(copy);
  if (!opened.ok) {
    remove();
    return opened;
  }
  const database = opened.value;
  const close = database.close.bind(database);
  database.close = () => {
    close();
    remove();
    return database;
  };
  return opened;
}

/** Gives the tables that it lacks to a store of an older version that nobody has opened. Throws what SQLite throws. */
export function bringUpToNow(database: SqliteDatabase): void {
  database.transaction(() => migrate(database, versionOf(database))).immediate();
}

function failureOf(error: unknown, path: string): Result<never> {
  if (!(error instanceof Sqlite.SqliteError)) throw error;
  const damaged = error.code.startsWith("SQLITE_CORRUPT") || error.code === "SQLITE_NOTADB";
  return fail(damaged ? "STORE_CORRUPT" : "STORE_FAILED", `${path}: ${error.message} (${error.code})`);
}

function inspect(database: SqliteDatabase, path: string, pages: Pages): Result<number> {
  const application = database.pragma("application_id", { simple: true });
  if (application !== APPLICATION_ID)
    return fail("STORE_CORRUPT", `expected a relay's database at ${path}, found application id ${application}`);
  const version = versionOf(database);
  if (version > SCHEMA_VERSION)
    return fail("STORE_NEWER", `expected schema version ${SCHEMA_VERSION} in ${path}, found ${version}`);
  if (!(version >= 1))
    return fail("STORE_CORRUPT", `expected schema version 1 to ${SCHEMA_VERSION} in ${path}, found ${version}`);
  // Tables are added to nothing that was not looked at.
  if (pages === "trusted" && version === SCHEMA_VERSION) return ok(version);
  // Every page and every row's shape. It does not know what a record's bytes should be: their ids do, at each reading.
  const verdict = database.pragma("quick_check(1)", { simple: true });
  return verdict === "ok" ? ok(version) : pagesDamaged(path, String(verdict));
}

/** What a look at every page has found, as the failure that it is. */
export function pagesDamaged(path: string, verdict: string): ReturnType<typeof fail> {
  return fail("STORE_CORRUPT", `SQLite's quick_check of ${path} found: ${verdict}`);
}

function versionOf(database: SqliteDatabase): number {
  return Number(database.pragma("user_version", { simple: true }));
}

function migrate(database: SqliteDatabase, version: number): void {
  for (const step of MIGRATIONS.slice(version - 1)) database.exec(step);
  database.pragma(`user_version = ${SCHEMA_VERSION}`);
}

function makeDurable(database: SqliteDatabase): void {
  database.pragma("journal_mode = WAL");
  // better-sqlite3 is built with NORMAL for WAL, which may lose acknowledged rows when the power fails.
  database.pragma("synchronous = FULL");
  // On macOS fsync alone leaves the bytes in the drive's cache.
  database.pragma("fullfsync = ON");
  database.pragma("foreign_keys = ON");
  // What a row held that was erased is overwritten, too, and not just given free.
  database.pragma("secure_delete = ON");
  database.pragma(`cache_size = -${CACHE_KIB}`);
  database.pragma(`wal_autocheckpoint = ${WAL_PAGES}`);
}

/** True for errors of the database that mean damaged bytes, as against a full disk or a busy file. */
export function isCorruption(error: unknown): boolean {
  if (isPostgresCorruption(error)) return true;
  return (
    error instanceof Sqlite.SqliteError && (error.code.startsWith("SQLITE_CORRUPT") || error.code === "SQLITE_NOTADB")
  );
}

/** True for errors of the database that mean that the medium does not give its bytes back. */
export function isUnreadable(error: unknown): boolean {
  if (error instanceof PostgresError) return error.code === "58030";
  return error instanceof Sqlite.SqliteError && error.code.startsWith("SQLITE_IOERR");
}

/** What the database refuses; `code` is SQLite's, or PostgreSQL's. */
export type DatabaseError = InstanceType<typeof Sqlite.SqliteError> | PostgresError;

export function isDatabaseError(error: unknown): error is DatabaseError {
  return error instanceof Sqlite.SqliteError || error instanceof PostgresError;
}

/** What may be said of it to anyone: what PostgreSQL says may have addresses and values in it, and is for the log. */
export function tellable(error: DatabaseError | Error): string {
  return error instanceof PostgresError ? `PostgreSQL refuses with ${error.code}` : error.message;
}

/** Whether it is the disk's, the server's or another process's doing, and not that of what was written. */
export function isOfAll(error: unknown): boolean {
  if (error instanceof PostgresError) return isOfServer(error);
  return (
    error instanceof Sqlite.SqliteError && /^SQLITE_(?:BUSY|FULL|IOERR|CANTOPEN|READONLY|PROTOCOL)/.test(error.code)
  );
}

/** A BLOB as plain bytes: a Buffer's `slice` shares memory, which the modules do not expect. */
export function plainBytes(blob: Uint8Array): Uint8Array {
  return new Uint8Array(blob.buffer, blob.byteOffset, blob.byteLength);
}
