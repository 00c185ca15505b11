/**
 * What the store asks of its database: the narrow part of better-sqlite3 that it uses, so that SQLite's own object is one as
 * it is, with nothing in between. PostgreSQL's (postgres/database.ts) does the same for the same texts.
 *
 * Texts are standard SQL that both take; what a text cannot say for both is decided by `dialect` where it is prepared.
 */
export interface Sql {
  /** Undefined: SQLite. */
  readonly dialect?: "postgres";
  /** Changes when what was read before may belong to another database: a connection was lost, and one found again. */
  readonly session?: number;
  prepare(text: string): SqlStatement;
  /** `immediate` waits for other writers before the first statement, and so sees all that they have written. */
  transaction<T>(run: () => T): SqlTransaction<T>;
  exec(text: string): unknown;
  close(): unknown;
}

/** What a database is called where something is found in it: `store.sqlite`, or `postgres`. */
export function nameOfStore({ dialect }: Pick<Sql, "dialect">): string {
  return dialect ?? "store.sqlite";
}

export interface SqlTransaction<T> {
  (): T;
  immediate(): T;
}

/** `?` takes a list of values, `:name` one object. Values: whole numbers, texts, bytes, null. */
export interface SqlStatement {
  get(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
  /** Outside of a transaction it is durable when this returns; within one it may be sent with what comes next. */
  run(...values: unknown[]): unknown;
  /** The first column instead of rows. */
  pluck(): SqlStatement;
}
