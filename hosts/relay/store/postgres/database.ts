import { fail, ok, type Result } from "tallystick/codes/codes";
import { APPLICATION_ID, SCHEMA_VERSION } from "../schema.js";
import type { Sql, SqlStatement, SqlTransaction } from "../sql.js";
import { Bridge, PostgresError } from "./bridge.js";
import { type Translated, translate, translateTables } from "./dialect.js";
import { KEY_BUDGETS } from "./key-budgets.js";
import type { Rows, Statement, Value } from "./messages.js";
import { nameOfPlace, type PostgresPlace } from "./place.js";
import { FIRST_VERSION, POSTGRES_SCHEMA, stepsFrom } from "./schema.js";

/**
 * PostgreSQL as the store's database, for several processes at once.
 *
 * **One writer at a time.** Each transaction first takes one advisory lock, as SQLite's does its file's: entries get their
 * places without gaps, and what a transaction reads no other process changes. Its statements are READ COMMITTED, so that each
 * sees all that was committed before the lock was had.
 *
 * **A lost connection** ends the transaction under way, and whoever runs it hears so: whether its commit has come through is
 * not known, so nothing is acknowledged, and the device brings the same again. The next call tries to connect, once; after a
 * try that failed the calls of some time fail at once, so that a server that is away does not hold up everything else.
 */

/** Advisory locks of this database: "TALY", and which. */
const WRITER = 1;
const SEQUENCER = 2;
/** Statements of a transaction that wait to be sent with the next one that is asked for its rows. */
const PENDING_MAX = 512;
/** Between two tries to connect. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2000;
/** Tries at a start: a server that starts beside the relay, or still holds the lock of a process that has just died. */
const START_TRIES = 40;
const START_PAUSE_MS = 250;

/** `reader`: nothing can be written on its connection; a standby will do. */
export type PostgresRole = "sequencer" | "writer" | "reader";

export interface PostgresOptions {
  readonly place: PostgresPlace;
  /** `sequencer`: holds the one place of it for as long as it is open. */
  readonly role: PostgresRole;
  /** The thread's program, where its text is not beside this file. */
  readonly program?: () => string;
  /** Tries at the start; default START_TRIES. */
  readonly tries?: number;
}

/** Makes the tables of a new relay. STORE_EXISTS where there are some that a relay has used; the codes of `openPostgres`. */
export function createPostgres(options: PostgresOptions, relay: string): Result<PostgresDatabase> {
  return opened(options, (database) => {
    const where = nameOfPlace(options.place);
    const outcome = database.transaction((): Result<true> => {
      if (!hasMark(database)) {
        database.exec(POSTGRES_SCHEMA);
        database.prepare("INSERT INTO relay_store VALUES (1, ?, ?, '')").run(APPLICATION_ID, SCHEMA_VERSION);
        for (const step of stepsFrom(FIRST_VERSION)) database.exec(step);
        database.exec(KEY_BUDGETS);
      }
      const found = inspect(database, where);
      if (!found.ok) return found;
      // Of a beginning that was interrupted: nothing of it was used.
      const used = database
        .prepare("SELECT count(*) FROM (SELECT 1 FROM devices UNION ALL SELECT 1 FROM records LIMIT 1) AS found")
        .pluck()
        .get();
      if (used !== 0) return fail("STORE_EXISTS", `expected no relay's tables in ${where}, found some that were used`);
      database.prepare("UPDATE relay_store SET relay = ?").run(relay);
      return ok(true);
    })();
    return outcome;
  });
}

/**
 * Opens the store of the relay that `relay` names. STORE_MISSING, STORE_NEWER, STORE_CORRUPT, STORE_FAILED, RELAY_FOREIGN;
 * STORE_UNREACHABLE where there is no server, or one that does not let the relay in;
 * STORE_NOT_DURABLE where the server may lose what it has acknowledged; STORE_HELD where another process is the sequencer;
 * STORE_UNEXAMINED where a reader finds an older version.
 */
export function openPostgres(options: PostgresOptions, relay: string): Result<PostgresDatabase> {
  return opened(options, (database) => {
    const where = nameOfPlace(options.place);
    if (!hasMark(database)) return fail("STORE_MISSING", `expected a relay's tables in ${where}, found none`);
    const found = inspect(database, where);
    if (!found.ok) return found;
    if (found.value.relay !== relay)
      return fail("RELAY_FOREIGN", `expected the store ${relay} in ${where}, found ${found.value.relay || "another"}`);
    if (options.role === "reader")
      return found.value.version === SCHEMA_VERSION
        ? ok(true)
        : fail(
            "STORE_UNEXAMINED",
            `expected schema version ${SCHEMA_VERSION} in ${where}, found ${found.value.version}`,
          );
    if (found.value.version < SCHEMA_VERSION)
      database.transaction(() => {
        // Another process may have done it since the look.
        const now = inspect(database, where);
        if (!now.ok || now.value.version === SCHEMA_VERSION) return;
        for (const step of stepsFrom(now.value.version)) database.exec(step);
        database.prepare("UPDATE relay_store SET version = ?").run(SCHEMA_VERSION);
      })();
    // Of a copy in which it was left out, or of a relay from before it was.
    const counts = database.prepare("SELECT to_regclass('public.key_budgets') IS NOT NULL").pluck();
    if (counts.get() !== true) database.transaction(() => database.exec(KEY_BUDGETS))();
    return ok(true);
  });
}

function opened(
  options: PostgresOptions,
  check: (database: PostgresDatabase) => Result<true>,
): Result<PostgresDatabase> {
  const database = new PostgresDatabase(options);
  for (let left = options.tries ?? START_TRIES; ; left--) {
    try {
      const checked = check(database);
      if (checked.ok) return ok(database);
      database.close();
      return checked;
    } catch (error) {
      const passes = error instanceof PostgresError && error.lost && !REFUSED.test(error.code);
      if (passes && left > 1) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, START_PAUSE_MS);
        continue;
      }
      database.close();
      if (error instanceof NotDurable) return fail("STORE_NOT_DURABLE", error.message);
      if (error instanceof SequencerHeld) return fail("STORE_HELD", error.message);
      if (!(error instanceof PostgresError)) throw error;
      const isOutside = error.lost || REFUSED.test(error.code);
      const code = isPostgresCorruption(error) ? "STORE_CORRUPT" : isOutside ? "STORE_UNREACHABLE" : "STORE_FAILED";
      return fail(code, `${nameOfPlace(options.place)}: ${error.message} (${error.code})`);
    }
  }
}

/** Password or name refused, no such database: waiting does not help. */
const REFUSED = /^(?:28|3D)|^SASL/;

function hasMark(database: PostgresDatabase): boolean {
  return database.prepare("SELECT to_regclass('public.relay_store') IS NOT NULL").pluck().get() === true;
}

interface Mark {
  readonly application: number;
  readonly version: number;
  readonly relay: string;
}

function inspect(database: PostgresDatabase, where: string): Result<Mark> {
  const mark = database.prepare("SELECT application, version, relay FROM relay_store").get() as Mark | undefined;
  if (mark?.application !== APPLICATION_ID)
    return fail("STORE_CORRUPT", `expected a relay's tables in ${where}, found others`);
  if (mark.version > SCHEMA_VERSION)
    return fail("STORE_NEWER", `expected schema version ${SCHEMA_VERSION} in ${where}, found ${mark.version}`);
  if (!(mark.version >= FIRST_VERSION))
    return fail("STORE_CORRUPT", `expected schema version 4 to ${SCHEMA_VERSION} in ${where}, found ${mark.version}`);
  return ok(mark);
}

/** The server says of itself that it may lose what it has acknowledged, or takes nothing in. */
class NotDurable extends PostgresError {}
/** Another process is the sequencer. */
class SequencerHeld extends PostgresError {}

export class PostgresDatabase implements Sql {
  readonly dialect = "postgres";
  readonly place: PostgresPlace;
  readonly #bridge: Bridge;
  readonly #role: PostgresRole;
  readonly #prepared = new Map<string, Prepared>();
  #connection: number | undefined;
  #session = 0;
  #retry = { pauseMs: RETRY_MIN_MS, untilMs: 0 };
  /** Of the transaction under way: what it has still to send; undefined where there is none. */
  #pending: Statement[] | undefined;
  /** Why the transaction under way can only be undone. */
  #doomed: unknown;
  #closed = false;

  constructor({ place, role, program }: PostgresOptions) {
    this.place = place;
    this.#role = role;
    this.#bridge = new Bridge(place, program);
  }

  get session(): number {
    return this.#session;
  }

  get inTransaction(): boolean {
    return this.#pending !== undefined;
  }

  prepare(text: string): SqlStatement {
    let prepared = this.#prepared.get(text);
    if (!prepared) {
      prepared = new Prepared(this, translate(text));
      this.#prepared.set(text, prepared);
    }
    return prepared;
  }

  /** Several statements without values; tables are translated. */
  exec(text: string): void {
    const whole = /\b(?:CREATE|ALTER) TABLE\b/.test(text) ? translateTables(text) : text;
    this.ask({ text: whole, values: [], wanted: false });
  }

  /** One within another is a part of it. */
  transaction<T>(run: () => T): SqlTransaction<T> {
    const transact = (): T => (this.#pending ? this.#nested(run) : this.#transact(run));
    return Object.assign(transact, { immediate: transact });
  }

  #nested<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      // What it has sent cannot be taken back by itself.
      this.#doomed ??= error;
      throw error;
    }
  }

  #transact<T>(run: () => T): T {
    this.#connect();
    this.#doomed = undefined;
    this.#pending = [
      { text: "BEGIN", values: [], wanted: false },
      { text: `SELECT pg_advisory_xact_lock(${APPLICATION_ID}, ${WRITER})`, values: [], wanted: false },
    ];
    try {
      const result = run();
      if (this.#doomed !== undefined) throw this.#doomed;
      this.#pending.push({ text: "COMMIT", values: [], wanted: false });
      const { last } = this.#flush();
      this.#pending = undefined;
      // What has failed before is answered so, too; then it would have been thrown.
      if (last !== "COMMIT") throw new PostgresError("NOT_COMMITTED", `expected COMMIT, received ${last}`, false);
      return result;
    } catch (error) {
      const connection = this.#connection;
      this.#pending = undefined;
      if (connection !== undefined) this.#undo(connection);
      throw error;
    }
  }

  #undo(connection: number): void {
    try {
      this.#bridge.run(connection, [{ text: "ROLLBACK", values: [], wanted: false }]);
    } catch (error) {
      // Without its connection a transaction is undone by the server.
      this.#lose();
      if (!(error instanceof PostgresError)) throw error;
    }
  }

  /** Runs a statement for its rows, behind all that waits. */
  ask(statement: Statement): Rows | undefined {
    if (this.#pending) {
      this.#pending.push(statement);
      return this.#flush().results.at(-1);
    }
    return this.#run(this.#connect(), [statement]).results[0];
  }

  /** Runs a statement whose outcome nobody asks for. */
  tell(statement: Statement): void {
    if (!this.#pending) this.#run(this.#connect(), [statement]);
    else if (this.#pending.push(statement) >= PENDING_MAX) this.#flush();
  }

  #flush() {
    // A transaction never goes on on another connection than it began on.
    if (this.#connection === undefined) throw new PostgresError("CONNECTION_LOST", "the connection was lost", true);
    const statements = this.#pending!.splice(0);
    return this.#run(this.#connection, statements);
  }

  #run(connection: number, statements: readonly Statement[]) {
    try {
      return this.#bridge.run(connection, statements);
    } catch (error) {
      if (error instanceof PostgresError && error.lost) this.#lose();
      throw error;
    }
  }

  #lose(): void {
    this.#connection = undefined;
  }

  #connect(): number {
    if (this.#closed) throw new TypeError("the database is closed");
    if (this.#connection !== undefined) return this.#connection;
    const nowMs = performance.now();
    if (nowMs < this.#retry.untilMs)
      throw new PostgresError("AWAY", "the server could not be reached a moment ago", true);
    try {
      const connection = this.#bridge.connect(`tallystick ${this.#role}`, this.#role === "reader");
      this.#checkServer(connection);
      this.#retry = { pauseMs: RETRY_MIN_MS, untilMs: 0 };
      this.#session++;
      this.#connection = connection;
      return connection;
    } catch (error) {
      const { pauseMs } = this.#retry;
      this.#retry = { pauseMs: Math.min(2 * pauseMs, RETRY_MAX_MS), untilMs: performance.now() + pauseMs };
      throw error;
    }
  }

  /** Before anything else of a connection: what is committed on it must be kept, and the sequencer is one. */
  #checkServer(connection: number): void {
    if (this.#role === "reader") return;
    const settings = ["fsync", "full_page_writes", "synchronous_commit", "default_transaction_read_only"];
    const columns = settings.map((name) => `current_setting('${name}')`).join(", ");
    const asked = [{ text: `SELECT ${columns}, pg_is_in_recovery()`, values: [], wanted: true }];
    const [row = []] = this.#bridge.run(connection, asked).results[0]!.rows;
    const [fsync, fullPages, commit, readOnly, recovery] = row;
    // `local` is durable here, and not where a standby was promised to have it.
    const wrong =
      fsync !== "on"
        ? `fsync on, received ${fsync}`
        : fullPages !== "on"
          ? `full_page_writes on, received ${fullPages}`
          : commit !== "on" && commit !== "remote_apply"
            ? `synchronous_commit on, received ${commit}`
            : undefined;
    if (wrong) throw new NotDurable("NOT_DURABLE", `expected ${wrong} of ${nameOfPlace(this.place)}`, false);
    if (recovery === true || readOnly === "on")
      throw new PostgresError(
        "25006",
        "expected a server that takes writes, received a standby or a read-only one",
        true,
      );
    if (this.#role !== "sequencer") return;
    const lock = { text: `SELECT pg_try_advisory_lock(${APPLICATION_ID}, ${SEQUENCER})`, values: [], wanted: true };
    if (this.#bridge.run(connection, [lock]).results[0]!.rows[0]![0] === true) return;
    throw new SequencerHeld("HELD", `another process is the sequencer of ${nameOfPlace(this.place)}`, true);
  }

  close(): void {
    this.#closed = true;
    this.#connection = undefined;
    this.#bridge.close();
  }
}

class Prepared implements SqlStatement {
  readonly #database: PostgresDatabase;
  readonly #translated: Translated;
  readonly #plucks: boolean;

  constructor(database: PostgresDatabase, translated: Translated, plucks = false) {
    this.#database = database;
    this.#translated = translated;
    this.#plucks = plucks;
  }

  pluck(): SqlStatement {
    return new Prepared(this.#database, this.#translated, true);
  }

  get(...values: unknown[]): unknown {
    return this.all(...values)[0];
  }

  all(...values: unknown[]): unknown[] {
    const answer = this.#database.ask(this.#statement(values, true));
    if (!answer) return [];
    const { columns, rows } = answer;
    if (this.#plucks) return rows.map((row) => row[0]);
    return rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]])));
  }

  run(...values: unknown[]): void {
    this.#database.tell(this.#statement(values, false));
  }

  #statement(values: readonly unknown[], wanted: boolean): Statement {
    const { text, order } = this.#translated;
    return { text, values: order(values).map(asValue), wanted };
  }
}

function asValue(value: unknown): Value {
  // A copy of its own: a message takes all of the memory that a view is of.
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (value === null || typeof value === "string" || typeof value === "number") return value;
  throw new TypeError(`a value: expected number, text, bytes or null, received ${typeof value}`);
}

/** Damaged pages, tuples or indices: XX001 and XX002. */
export function isPostgresCorruption(error: unknown): boolean {
  return error instanceof PostgresError && /^XX00[12]$/.test(error.code);
}

/** It is the server's doing, or another process's, and not the statement's. */
export function isOfServer(error: PostgresError): boolean {
  return error.lost || /^(?:08|25006|53|55P03|57|58)/.test(error.code);
}
