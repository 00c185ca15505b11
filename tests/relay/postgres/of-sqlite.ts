import { OVER_POSTGRES } from "./shared.js";

/** For a test of what only SQLite has: its file, its pragmas, its triggers. */
export const itOfSqlite = OVER_POSTGRES ? it.skip : it;
export const describeOfSqlite = OVER_POSTGRES ? describe.skip : describe;
