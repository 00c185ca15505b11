import { readdirSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { explain } from "tallystick/codes/codes";
import { prepareFolder } from "../../hosts/relay/folder.js";

/** The demo's data folder: `relay/` and `boards/` are the halves of the tally, `evidence/` can be made again from them. */
const LOCK = "demo.lock";
const OURS = ["relay", "boards", LOCK];

/** Held while a demo runs on a folder: two would drive the same flash cells and tear the chains. */
export interface DemoFolder {
  release(): void;
}

/**
 * Makes the folder where it is missing and takes it for this process alone, by SQLite's lock on an empty file, which the
 * operating system gives up with the process. Throws an Error of one line that says what to do.
 */
export function takeFolder(folder: string): DemoFolder {
  const prepared = prepareFolder(folder);
  if (!prepared.ok) throw new Error(explain(prepared.failure));
  const found = readdirSync(folder);
  if (found.length > 0 && !found.some((name) => OURS.includes(name)))
    throw new Error(`${folder} holds other files (${listed(found)}); name a new folder with --data`);
  const path = join(folder, LOCK);
  let database: Sqlite.Database | undefined;
  try {
    database = new Sqlite(path, { timeout: 0 });
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database?.close();
    if (!(error instanceof Sqlite.SqliteError)) throw error;
    if (error.code === "SQLITE_BUSY")
      throw new Error(`another demo runs on ${folder}; stop it first, or name another folder with --data`);
    throw new Error(`${path} cannot be locked (${error.message}); make sure that no demo runs, and remove that file`);
  }
  const held = database;
  return { release: () => held.close() };
}

const LISTED_MAX = 3;

function listed(names: readonly string[]): string {
  return names.slice(0, LISTED_MAX).join(", ") + (names.length > LISTED_MAX ? ", …" : "");
}
