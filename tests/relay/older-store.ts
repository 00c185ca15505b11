import Sqlite from "better-sqlite3";

/** What undoes one migration each, the newest first; what was stored stays, as far as the older version had a place for it. */
const UNDO: readonly string[] = [
  "DROP INDEX erased_by_position;",
  "DROP TABLE beacons;",
  "DROP TABLE erased; DROP TABLE erasures;",
  `DROP INDEX devices_by_tenant; DROP INDEX tokens_by_tenant; DROP INDEX tokens_unspent;
   DROP TABLE audit; DROP TABLE operator_tokens; DROP TABLE tenants;
   ALTER TABLE devices DROP COLUMN tenant;
   ALTER TABLE tokens DROP COLUMN tenant; ALTER TABLE tokens DROP COLUMN ended_at_ms;`,
  `ALTER TABLE records RENAME TO entries;
   DROP INDEX records_by_position;
   CREATE TABLE records (
     arrival        INTEGER PRIMARY KEY AUTOINCREMENT,
     device         INTEGER NOT NULL REFERENCES devices,
     seq            INTEGER NOT NULL CHECK (seq >= 0),
     id             BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
     bytes          BLOB NOT NULL,
     received_at_ms INTEGER NOT NULL,
     log_index      INTEGER UNIQUE,
     UNIQUE (device, seq)
   ) STRICT;
   CREATE INDEX records_not_logged ON records (arrival) WHERE log_index IS NULL;
   CREATE INDEX records_logged ON records (device, log_index) WHERE log_index IS NOT NULL;
   INSERT INTO records (device, seq, id, bytes, received_at_ms, log_index)
     SELECT device, seq, id, bytes, received_at_ms, CASE WHEN entry < (SELECT size FROM logged) THEN entry END
     FROM entries ORDER BY entry;
   DROP TABLE entries; DROP TABLE ids; DROP TABLE logged;`,
  "DROP TABLE held_back; DROP TABLE revocations; DROP TABLE decisions;",
  "DROP TABLE gaps; DROP TABLE holes;",
];
const NEWEST = 8;

/** Makes of a relay's database what an older version would have left; then opens it for more. */
export function setBackTo(version: number, path: string): Sqlite.Database {
  const database = new Sqlite(path);
  database.exec(UNDO.slice(0, NEWEST - version).join("\n"));
  database.pragma(`user_version = ${version}`);
  return database;
}
