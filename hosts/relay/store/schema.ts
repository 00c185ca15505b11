/** Marks the file as ours (SQLite `application_id`): "TALY". */
export const APPLICATION_ID = 0x54414c59;
/** SQLite `user_version`. A change of the tables below takes the next number and a migration from this one. */
export const SCHEMA_VERSION = 8;

/** Records of one generation of ids, as a power of two. */
export const GENERATION_BITS = 14;

/**
 * Times are whole milliseconds since 1970. A record's bytes are stored as they came; everything else about it can be
 * read from them, so no column repeats them but the position, which is the key, and the id, which is the name.
 */
export const SCHEMA = `
CREATE TABLE devices (
  device         INTEGER PRIMARY KEY,
  kid            BLOB NOT NULL UNIQUE CHECK (length(kid) = 8),
  public_key     BLOB NOT NULL CHECK (length(public_key) = 32),
  genesis_id     BLOB NOT NULL CHECK (length(genesis_id) = 32),
  enrolled_at_ms INTEGER NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('active', 'forked', 'closed'))
) STRICT;

-- arrival: the order in which records became durable, which is the order in which they enter the log.
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

-- A fork's second branch: signed by the device's key, at a position that holds another record. Never part of a chain.
CREATE TABLE forks (
  id             BLOB PRIMARY KEY CHECK (length(id) = 32),
  device         INTEGER NOT NULL REFERENCES devices,
  seq            INTEGER NOT NULL,
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX forks_by_device ON forks (device, seq);

-- A token itself is never stored.
CREATE TABLE tokens (
  sha256         BLOB PRIMARY KEY CHECK (length(sha256) = 32),
  made_at_ms     INTEGER NOT NULL,
  expires_at_ms  INTEGER NOT NULL,
  used_at_ms     INTEGER,
  used_by        INTEGER REFERENCES devices
) STRICT;

-- When each checkpoint climbed which step of the ladder.
CREATE TABLE checkpoints (
  size            INTEGER PRIMARY KEY,
  root            BLOB NOT NULL CHECK (length(root) = 32),
  logged_at_ms    INTEGER NOT NULL,
  submitted_at_ms INTEGER,
  final_at_ms     INTEGER
) STRICT;

-- Written to learn whether writing works.
CREATE TABLE heartbeat (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  at_ms INTEGER NOT NULL
) STRICT;
`;

/** Holes in chains, and the gap records that name them before they have come at their own position. */
const GAPS = `
CREATE TABLE gaps (
  id             BLOB PRIMARY KEY CHECK (length(id) = 32),
  device         INTEGER NOT NULL REFERENCES devices,
  seq            INTEGER NOT NULL,
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL,
  UNIQUE (device, seq)
) STRICT;

-- Positions below a chain's head that it does not have.
CREATE TABLE holes (
  device INTEGER NOT NULL REFERENCES devices,
  first  INTEGER NOT NULL CHECK (first > 0),
  last   INTEGER NOT NULL CHECK (last >= first),
  PRIMARY KEY (device, first)
) STRICT;
`;

/** Whether a key's word still counts: held back after a fork until an operator decides, or revoked from a position on. */
const STANDING = `
CREATE TABLE held_back (
  device   INTEGER PRIMARY KEY REFERENCES devices,
  since_ms INTEGER NOT NULL
) STRICT;
-- Of an older version a forked device went on with the branch that came first: now somebody looks at it.
INSERT INTO held_back (device, since_ms)
  SELECT device, max(received_at_ms) FROM forks GROUP BY device;

-- The statement in force: of two the one from the lower position on.
CREATE TABLE revocations (
  device        INTEGER PRIMARY KEY REFERENCES devices,
  from_seq      INTEGER NOT NULL CHECK (from_seq >= 0),
  statement     BLOB NOT NULL,
  revoked_at_ms INTEGER NOT NULL
) STRICT;

-- What operators decided, and when: nothing is ever taken out.
CREATE TABLE decisions (
  decision INTEGER PRIMARY KEY AUTOINCREMENT,
  device   INTEGER NOT NULL REFERENCES devices,
  what     TEXT NOT NULL CHECK (what IN ('hold', 'continue', 'revoke')),
  at_ms    INTEGER NOT NULL
) STRICT;
`;

/**
 * Records by their place in the log. Nothing is written at random places any more, so that taking records in costs the same
 * however many are stored: rows and ids grow at their ends, and what is logged is one number.
 */
const ENTRIES = `
ALTER TABLE records RENAME TO arrivals;
DROP INDEX records_not_logged;
DROP INDEX records_logged;

-- entry: the index in the log, which is the order in which records became durable; leaf 0 is none of theirs.
CREATE TABLE records (
  entry          INTEGER PRIMARY KEY CHECK (entry > 0),
  device         INTEGER NOT NULL REFERENCES devices,
  seq            INTEGER NOT NULL CHECK (seq >= 0),
  id             BLOB NOT NULL CHECK (length(id) = 32),
  bytes          BLOB NOT NULL,
  received_at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO records
  SELECT log_index, device, seq, id, bytes, received_at_ms FROM arrivals WHERE log_index IS NOT NULL ORDER BY log_index;
INSERT INTO records (device, seq, id, bytes, received_at_ms)
  SELECT device, seq, id, bytes, received_at_ms FROM arrivals WHERE log_index IS NULL ORDER BY arrival;
CREATE UNIQUE INDEX records_by_position ON records (device, seq);

-- Finds a logged record by its id (ids.ts). A generation is so many records in a row, which are there all or none.
CREATE TABLE ids (
  generation INTEGER NOT NULL,
  prefix     BLOB NOT NULL CHECK (length(prefix) = 8),
  device     INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  PRIMARY KEY (generation, prefix, device, seq)
) STRICT, WITHOUT ROWID;
-- Entries below stand in a published checkpoint.
CREATE TABLE logged (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  size INTEGER NOT NULL
) STRICT;
INSERT INTO logged SELECT 1, coalesce(max(log_index) + 1, 0) FROM arrivals;
INSERT INTO ids
  SELECT entry >> ${GENERATION_BITS}, substr(id, 1, 8), device, seq FROM records
  WHERE entry >> ${GENERATION_BITS} < (SELECT size FROM logged) >> ${GENERATION_BITS}
  ORDER BY 1, 2, 3, 4;
DROP TABLE arrivals;
`;

/** To whom devices belong that were there before tenants were, and those that come by no token. */
export const DEFAULT_TENANT = "default";

/**
 * Tenants, who may operate for them, and what was changed by whom. The columns that older tables get name a tenant without
 * REFERENCES: SQLite adds none that has a default as well. What is written into them was read from `tenants`, of which
 * nothing is ever taken out.
 */
const TENANTS = `
CREATE TABLE tenants (
  name       TEXT PRIMARY KEY,
  made_at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO tenants (name, made_at_ms) VALUES ('${DEFAULT_TENANT}', 0);

ALTER TABLE devices ADD COLUMN tenant TEXT NOT NULL DEFAULT '${DEFAULT_TENANT}';
CREATE INDEX devices_by_tenant ON devices (tenant, kid);
ALTER TABLE tokens ADD COLUMN tenant TEXT NOT NULL DEFAULT '${DEFAULT_TENANT}';
ALTER TABLE tokens ADD COLUMN ended_at_ms INTEGER;
CREATE INDEX tokens_by_tenant ON tokens (tenant, sha256);
CREATE INDEX tokens_unspent ON tokens (tenant, expires_at_ms) WHERE used_by IS NULL AND ended_at_ms IS NULL;

-- A token itself is never stored. tenant: NULL of those that count for all.
CREATE TABLE operator_tokens (
  id            TEXT PRIMARY KEY CHECK (length(id) = 16),
  sha256        BLOB NOT NULL CHECK (length(sha256) = 32),
  tenant        TEXT REFERENCES tenants,
  role          TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  label         TEXT NOT NULL,
  made_by       TEXT NOT NULL,
  made_at_ms    INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  revoked_at_ms INTEGER,
  used_at_ms    INTEGER
) STRICT;
CREATE INDEX operator_tokens_by_tenant ON operator_tokens (tenant, id);

-- Who changed what: nothing is ever taken out. tenant: whose matter it was, NULL of the whole relay's.
CREATE TABLE audit (
  entry  INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms  INTEGER NOT NULL,
  who    TEXT NOT NULL,
  tenant TEXT REFERENCES tenants,
  what   TEXT NOT NULL,
  about  TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_tenant ON audit (tenant, entry);
`;

/**
 * Bodies that were erased on request. What is kept of a record stands by its own key's name: an older copy of the database may
 * not have its device yet.
 */
const ERASURES = `
CREATE TABLE erasures (
  erasure     INTEGER PRIMARY KEY CHECK (erasure > 0),
  kid         BLOB NOT NULL CHECK (length(kid) = 8),
  first       INTEGER NOT NULL CHECK (first > 0),
  last        INTEGER NOT NULL CHECK (last >= first),
  reason      TEXT NOT NULL,
  by_whom     TEXT NOT NULL,
  asked_at_ms INTEGER NOT NULL,
  -- When nothing was left of the bytes; none while it is carried out.
  done_at_ms  INTEGER
) STRICT;

CREATE TABLE erased (
  id        BLOB PRIMARY KEY CHECK (length(id) = 32),
  erasure   INTEGER NOT NULL REFERENCES erasures,
  kid       BLOB NOT NULL CHECK (length(kid) = 8),
  seq       INTEGER NOT NULL CHECK (seq > 0),
  -- Its index in the log; none of what stood beside its chain.
  entry     INTEGER,
  prev      BLOB NOT NULL CHECK (length(prev) = 32),
  kind      INTEGER NOT NULL,
  boot      INTEGER NOT NULL,
  uptime_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX erased_by_erasure ON erased (erasure, seq);
`;

/** The beacons of chains (beacons.ts). Marks that were taken in before are not among them. */
const BEACONS = `
CREATE TABLE beacons (
  device        INTEGER NOT NULL REFERENCES devices,
  seq           INTEGER NOT NULL CHECK (seq >= 0),
  not_before_ms INTEGER NOT NULL,
  PRIMARY KEY (device, seq)
) STRICT, WITHOUT ROWID;
`;

/** Finds what was erased of a chain by its position: acknowledgements name it. */
const ERASED_POSITIONS = `
CREATE INDEX erased_by_position ON erased (kid, seq);
`;

/** What makes version n + 2 out of version n + 1. A new store is one of version 1, and all of these. */
export const MIGRATIONS: readonly string[] = [GAPS, STANDING, ENTRIES, TENANTS, ERASURES, BEACONS, ERASED_POSITIONS];
