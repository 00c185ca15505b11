import { createHash } from "node:crypto";
import type { Database, SqliteDatabase } from "../../hosts/relay/store/database.js";
import type { Store } from "../../hosts/relay/store/store.js";
import type { StartedRelay } from "./started.js";

/** SQLite's own object, for a test of what only SQLite has. */
export function sqliteOf({ database }: Pick<Store, "database">): SqliteDatabase {
  if (database.dialect) throw new Error("this test is about SQLite");
  return database as SqliteDatabase;
}

function tablesOf(database: Database): string[] {
  const text = database.dialect
    ? "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    : "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
  return database.prepare(text).pluck().all() as string[];
}

/** Every row of every table, so that a test can say that nothing at all was stored. */
export function dumpOf({ relay }: StartedRelay): string {
  const { database } = relay.store;
  const rows = tablesOf(database).map((table) => [
    table,
    database
      .prepare(`SELECT * FROM "${table}"`)
      .all()
      // PostgreSQL gives rows in the order in which they lie, which a heartbeat changes.
      .map((row) =>
        Object.values(row as object).map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value)),
      ),
  ]);
  return JSON.stringify(rows, (_name, value) =>
    value?.type === "Buffer" ? createHash("sha256").update(Buffer.from(value.data)).digest("hex") : value,
  );
}

/** Rows that the relay's connection has ever written: cheaper than a dump, and blind to what is written back as it was. */
export function changesOf({ relay }: StartedRelay): number {
  const { database } = relay.store;
  const text = database.dialect
    ? // Only what writes is given a number; nothing else runs at the test's server.
      "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)"
    : "SELECT total_changes()";
  return database.prepare(text).pluck().get() as number;
}
