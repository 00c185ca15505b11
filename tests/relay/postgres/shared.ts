import { after } from "mocha";
import { PostgresServer } from "./server.js";

/** One server for all tests of a process, started when the first one asks. */
let starting: Promise<PostgresServer> | undefined;

/** STORE=postgres runs a relay's tests over PostgreSQL in place of SQLite. */
export const OVER_POSTGRES = process.env["STORE"] === "postgres";

/** For a test of what only SQLite has: its file, its pragmas, its triggers. */
export const itOfSqlite = OVER_POSTGRES ? it.skip : it;
export const describeOfSqlite = OVER_POSTGRES ? describe.skip : describe;

export function sharedServer(): Promise<PostgresServer> {
  starting ??= PostgresServer.start().then((server) => {
    process.once("exit", () => server.abandon());
    return server;
  });
  return starting;
}

after(async () => {
  await (await starting)?.close();
});
