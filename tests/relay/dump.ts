import { createHash } from "node:crypto";
import type { StartedRelay } from "./started.js";

/** Every row of every table, so that a test can say that nothing at all was stored. */
export function dumpOf({ relay }: StartedRelay): string {
  const { database } = relay.store;
  const tables = database
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .pluck()
    .all() as string[];
  const rows = tables.map((table) => [table, database.prepare(`SELECT * FROM "${table}"`).raw().all()]);
  return JSON.stringify(rows, (_name, value) =>
    value?.type === "Buffer" ? createHash("sha256").update(Buffer.from(value.data)).digest("hex") : value,
  );
}

/** Rows that the relay's connection has ever written: cheaper than a dump, and blind to what is written back as it was. */
export function changesOf({ relay }: StartedRelay): number {
  return relay.store.database.prepare("SELECT total_changes()").pluck().get() as number;
}
