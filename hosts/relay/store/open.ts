import { existsSync, readFileSync } from "node:fs";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { pathsOf, type RelayIdentity } from "../folder.js";
import { createDatabase, type Database, openDatabase, openToRead, type Pages } from "./database.js";
import { createPostgres, openPostgres, type PostgresRole } from "./postgres/database.js";
import { POSTGRES_URL, parsePlace } from "./postgres/place.js";

/** Which database a relay's store is in: the SQLite file of its data folder, or PostgreSQL where an address is given. */

export interface StoreOptions {
  /** `postgres://…` as postgres/place.ts takes it. */
  readonly url: string;
  /** The program of the thread that holds the connection, where its text is not beside the relay's. */
  readonly program?: () => string;
  /** Tries to reach the server at a start, a quarter of a second apart; default 40. */
  readonly tries?: number;
}

/** An address has at most so many characters. */
const URL_MAX = 4096;

/**
 * For a command beside a relay: what TALLYSTICK_STORE_URL says, or the file that TALLYSTICK_STORE_URL_FILE names.
 * CONFIG_SECRET_UNREADABLE.
 */
export function storeOfEnvironment(environment: NodeJS.ProcessEnv): Result<{ readonly store?: StoreOptions }> {
  const file = environment["TALLYSTICK_STORE_URL_FILE"];
  let url = environment["TALLYSTICK_STORE_URL"];
  if (url === undefined && file) {
    try {
      url = readFileSync(file, "utf8").replace(/\r?\n$/, "");
    } catch (error) {
      return fail("CONFIG_SECRET_UNREADABLE", `TALLYSTICK_STORE_URL_FILE: ${(error as Error).message}`);
    }
    if (url === "" || url.length > URL_MAX)
      return fail("CONFIG_SECRET_UNREADABLE", `TALLYSTICK_STORE_URL_FILE: expected an address in ${file}`);
  }
  return ok(url ? { store: { url } } : {});
}

export type StoreUse = Exclude<PostgresRole, "reader"> | "beside";

/** Makes the store of a new relay; `name` is what it is called in PostgreSQL, and absent for SQLite. */
export function createStore(dataDir: string, store: StoreOptions | undefined, name: string): Result<Database> {
  if (!store) return createDatabase(pathsOf(dataDir).store);
  const place = parsePlace(store.url);
  if (!place) return fail("STORE_ELSEWHERE", `expected ${POSTGRES_URL}`);
  return createPostgres({ ...store, place, role: "sequencer" }, name);
}

/**
 * Opens the store of an existing relay: `beside` for a command beside a relay that may run. `pages` is of SQLite's file.
 * STORE_ELSEWHERE where the folder's store is in PostgreSQL and no address is given, or the other way round; the codes of
 * either database.
 */
export function openStore(
  dataDir: string,
  { postgres: name }: RelayIdentity,
  store: StoreOptions | undefined,
  use: StoreUse,
  pages: Pages = use === "beside" ? "trusted" : "checked",
): Result<Database> {
  const { store: file } = pathsOf(dataDir);
  if (name === undefined) {
    if (store) return fail("STORE_ELSEWHERE", `expected no address, since the relay's database is ${file}`);
    return openDatabase(file, pages);
  }
  if (!store) return fail("STORE_ELSEWHERE", noFile(dataDir));
  const place = parsePlace(store.url);
  if (!place) return fail("STORE_ELSEWHERE", `expected ${POSTGRES_URL}`);
  // Beside SQLite's file, which a person has put there, it would not be known which of both is right.
  if (existsSync(file)) return fail("STORE_EXISTS", `expected no database ${file} beside the one in PostgreSQL`);
  return openPostgres({ ...store, place, role: use === "sequencer" ? "sequencer" : "writer" }, name);
}

/** Opens the store to look at it and nothing else. As `openStore`; STORE_UNEXAMINED where it is of an older version. */
export function openStoreToRead(
  dataDir: string,
  { postgres: name }: RelayIdentity,
  store: StoreOptions | undefined,
): Result<Database> {
  if (name === undefined) return openToRead(pathsOf(dataDir).store);
  if (!store) return fail("STORE_ELSEWHERE", noFile(dataDir));
  const place = parsePlace(store.url);
  if (!place) return fail("STORE_ELSEWHERE", `expected ${POSTGRES_URL}`);
  return openPostgres({ ...store, place, role: "reader" }, name);
}

/** For what is done with SQLite's file itself. STORE_IN_POSTGRES where the relay's database is there. */
export function checkInFolder(dataDir: string, { postgres }: Pick<RelayIdentity, "postgres">): Result<true> {
  return postgres === undefined ? ok(true) : fail("STORE_IN_POSTGRES", noFile(dataDir));
}

/** For who looks at a store, where it is. STORE_ELSEWHERE where no address is given and the relay's database has one. */
export function checkReachable(
  dataDir: string,
  { postgres }: Pick<RelayIdentity, "postgres">,
  store: StoreOptions | undefined,
): Result<true> {
  return postgres === undefined || store ? ok(true) : fail("STORE_ELSEWHERE", noFile(dataDir));
}

function noFile(dataDir: string): string {
  return `expected ${pathsOf(dataDir).store}, but relay.json says that it is in PostgreSQL`;
}
