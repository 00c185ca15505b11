import { MIGRATIONS, SCHEMA_VERSION } from "../schema.js";
import { translateTables } from "./dialect.js";

/**
 * A store in PostgreSQL begins with version 4 as a whole; what comes after it are SQLite's own steps, translated. What differs
 * from SQLite on purpose: `rowid` is a column, since PostgreSQL has none of its own; records are found by an index over their
 * ids, which several processes share, and `ids` stays empty (ids.ts).
 */
export const FIRST_VERSION = 4;

const VERSION_4 = `
CREATE TABLE devices (
  device         INTEGER PRIMARY KEY,
  kid            BLOB NOT NULL UNIQUE CHECK (length(kid) = 8),
  public_key     BLOB NOT NULL CHECK (length(public_key) = 32),
  genesis_id     BLOB NOT NULL CHECK (length(genesis_id) = 32),
  enrolled_at_ms INTEGER NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('active', 'forked', 'closed'))
) STRICT;
CREATE TABLE records (
  entry          BIGINT PRIMARY KEY CHECK (entry > 0),
  device         INTEGER NOT NULL REFERENCES devices,
  seq            INTEGER NOT NULL CHECK (seq >= 0),
  id             BLOB NOT NULL CHECK (length(id) = 32),
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_by_position ON records (device, seq);
CREATE INDEX records_by_id ON records USING hash (id);
-- Bytes of records do not get smaller by compressing them.
ALTER TABLE records ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE forks (
  rowid          BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
  id             BLOB PRIMARY KEY CHECK (length(id) = 32),
  device         INTEGER NOT NULL REFERENCES devices,
  seq            INTEGER NOT NULL,
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX forks_by_device ON forks (device, seq);
CREATE TABLE tokens (
  sha256         BLOB PRIMARY KEY CHECK (length(sha256) = 32),
  made_at_ms     INTEGER NOT NULL,
  expires_at_ms  INTEGER NOT NULL,
  used_at_ms     INTEGER,
  used_by        INTEGER REFERENCES devices
) STRICT;
CREATE TABLE checkpoints (
  size            BIGINT PRIMARY KEY,
  root            BLOB NOT NULL CHECK (length(root) = 32),
  logged_at_ms    INTEGER NOT NULL,
  submitted_at_ms INTEGER,
  final_at_ms     INTEGER
) STRICT;
CREATE TABLE heartbeat (
  one   BIGINT PRIMARY KEY CHECK (one = 1),
  at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE gaps (
  rowid          BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
  id             BLOB PRIMARY KEY CHECK (length(id) = 32),
  device         INTEGER NOT NULL REFERENCES devices,
  seq            INTEGER NOT NULL,
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL,
  UNIQUE (device, seq)
) STRICT;
CREATE TABLE holes (
  device INTEGER NOT NULL REFERENCES devices,
  first  INTEGER NOT NULL CHECK (first > 0),
  last   INTEGER NOT NULL CHECK (last >= first),
  PRIMARY KEY (device, first)
) STRICT;
CREATE TABLE held_back (
  device   BIGINT PRIMARY KEY REFERENCES devices,
  since_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE revocations (
  device        BIGINT PRIMARY KEY REFERENCES devices,
  from_seq      INTEGER NOT NULL CHECK (from_seq >= 0),
  statement     BLOB NOT NULL,
  revoked_at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE decisions (
  decision INTEGER PRIMARY KEY AUTOINCREMENT,
  device   INTEGER NOT NULL REFERENCES devices,
  what     TEXT NOT NULL CHECK (what IN ('hold', 'continue', 'revoke')),
  at_ms    INTEGER NOT NULL
) STRICT;
CREATE TABLE ids (
  generation INTEGER NOT NULL,
  prefix     BLOB NOT NULL CHECK (length(prefix) = 8),
  device     INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  PRIMARY KEY (generation, prefix, device, seq)
) STRICT;
CREATE TABLE logged (
  one  BIGINT PRIMARY KEY CHECK (one = 1),
  size INTEGER NOT NULL
) STRICT;
INSERT INTO logged VALUES (1, 0);
`;

/** What SQLite keeps in the head of its file: whose tables these are, their version, and which relay's. */
const MARK = `
CREATE TABLE relay_store (
  one         BIGINT PRIMARY KEY CHECK (one = 1),
  application BIGINT NOT NULL,
  version     BIGINT NOT NULL,
  relay       TEXT NOT NULL DEFAULT ''
);
`;

/** All tables of a new store. */
export const POSTGRES_SCHEMA = translateTables(MARK + VERSION_4);

/** What makes the newest version out of `version`, step by step. */
export function stepsFrom(version: number): readonly string[] {
  return MIGRATIONS.slice(version - 1, SCHEMA_VERSION - 1).map(translateTables);
}
