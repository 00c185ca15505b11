import { PostgresServer } from "./server.js";

/** One server for all tests of a process, started when the first one asks. */
let starting: Promise<PostgresServer> | undefined;

/** STORE=postgres runs a relay's tests over PostgreSQL in place of SQLite. */
export const OVER_POSTGRES = process.env["STORE"] === "postgres";

export function sharedServer(): Promise<PostgresServer> {
  starting ??= PostgresServer.start().then((server) => {
    process.once("exit", () => server.abandon());
    return server;
  });
  return starting;
}

// Of programs beside the tests there is no end to wait for: the server ends with them.
if (typeof after === "function")
  after(async () => {
    await (await starting)?.close();
  });
