import { readdirSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { explain } from "tallystick/codes/codes";
import { prepareFolder } from "../../hosts/relay/folder.js";

/** A kind of folder that one process at a time may have. */
export interface FolderKind {
  /** An empty file in it, which is locked. */
  readonly lock: string;
  /** Names beside the lock, of which one at least is there in a folder of this kind that is not new. */
  readonly names: readonly string[];
  /** What runs on it, for people. */
  readonly user: string;
}

/** The demo's data folder: `relay/` and `boards/` are the halves of the tally, `evidence/` can be made again from them. */
export const DEMO_FOLDER: FolderKind = { lock: "demo.lock", names: ["relay", "boards"], user: "demo" };

/** Held while a process runs on a folder: two would drive the same flash cells and tear the chains. */
export interface TakenFolder {
  release(): void;
}

/**
 * Makes the folder where it is missing and takes it for this process alone, by SQLite's lock on an empty file, which the
 * operating system gives up with the process. Throws an Error of one line that says what to do.
 */
export function takeFolder(folder: string, { lock, names, user }: FolderKind): TakenFolder {
  const prepared = prepareFolder(folder);
  if (!prepared.ok) throw new Error(explain(prepared.failure));
  const found = readdirSync(folder);
  if (found.length > 0 && !found.some((name) => name === lock || names.includes(name)))
    throw new Error(`${folder} holds other files (${listed(found)}); name a new folder with --data`);
  const path = join(folder, lock);
  let database: Sqlite.Database | undefined;
  try {
    database = new Sqlite(path, { timeout: 0 });
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database?.close();
    if (!(error instanceof Sqlite.SqliteError)) throw error;
    if (error.code === "SQLITE_BUSY")
      throw new Error(`another ${user} runs on ${folder}; stop it first, or name another folder with --data`);
    throw new Error(
      `${path} cannot be locked (${error.message}); make sure that no ${user} runs, and remove that file`,
    );
  }
  const held = database;
  return { release: () => held.close() };
}

const LISTED_MAX = 3;

function listed(names: readonly string[]): string {
  return names.slice(0, LISTED_MAX).join(", ") + (names.length > LISTED_MAX ? ", …" : "");
}
