import type { Role } from "../operators/roles.js";
import { type Database, plainBytes } from "./database.js";

/**
 * Tenants, their operators' tokens and enrolment tokens, and who changed what. Trusted: whoever can write these rows is an
 * operator. Where `tenant` is undefined in a question, it is about all of them. All that writes: call inside `transaction`.
 */

export interface StoredTenant {
  readonly name: string;
  readonly madeAtMs: number;
}

export interface StoredOperatorToken {
  /** Public: names the token, and is part of it. */
  readonly id: string;
  readonly sha256: Uint8Array;
  /** Undefined: counts for all tenants. */
  readonly tenant: string | undefined;
  readonly role: Role;
  readonly label: string;
  /** Id of the token by which it was made, or COMMAND. */
  readonly madeBy: string;
  readonly madeAtMs: number;
  readonly expiresAtMs: number;
  readonly revokedAtMs: number | undefined;
  /** To the minute. */
  readonly usedAtMs: number | undefined;
}

export interface StoredEnrolmentToken {
  readonly sha256: Uint8Array;
  readonly tenant: string;
  readonly madeAtMs: number;
  readonly expiresAtMs: number;
  readonly endedAtMs: number | undefined;
  readonly usedAtMs: number | undefined;
  /** Kid of the device that it let in. */
  readonly usedBy: Uint8Array | undefined;
}

export interface Change {
  /** As an actor's. */
  readonly who: string;
  /** Undefined where it is the whole relay's matter. */
  readonly tenant: string | undefined;
  readonly what: string;
  /** A kid, a token's id, a tenant's name. */
  readonly about: string;
  readonly detail: Readonly<Record<string, string | number>>;
}

export interface StoredChange extends Change {
  readonly entry: number;
  readonly atMs: number;
}

export class OperatorStore {
  readonly #database: Database;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#database = database;
    this.#statements = prepare(database);
  }

  /** Runs `write` as one durable transaction; what it throws undoes it. */
  transaction<T>(write: () => T): T {
    return this.#database.transaction(write).immediate();
  }

  hasTenant(name: string): boolean {
    return this.#statements.hasTenant.get(name) !== undefined;
  }

  /** In the order of their names. */
  tenants(): StoredTenant[] {
    return this.#statements.tenants.all() as StoredTenant[];
  }

  addTenant(name: string, nowMs: number): void {
    this.#statements.addTenant.run(name, nowMs);
  }

  /** Whose device the kid names; undefined where none is enrolled. */
  tenantOf(kid: Uint8Array): string | undefined {
    return this.#statements.tenantOf.get(kid) as string | undefined;
  }

  /** Whether one was ever made. */
  hasOperatorTokens(): boolean {
    return this.#statements.hasOperatorTokens.get() !== undefined;
  }

  operatorToken(id: string): StoredOperatorToken | undefined {
    const row = this.#statements.operatorToken.get(id) as OperatorTokenRow | undefined;
    return row && operatorTokenOf(row);
  }

  /** At most `limit` in the order of their ids, from the one after `after` on. */
  operatorTokensAfter(tenant: string | undefined, after: string, limit: number): StoredOperatorToken[] {
    const { operatorTokens } = this.#statements;
    return (operatorTokens.all(tenant, after, limit) as OperatorTokenRow[]).map(operatorTokenOf);
  }

  /** Of all tenants, those that count. */
  countOperatorTokens(nowMs: number): number {
    return this.#statements.countOperatorTokens.get(nowMs) as number;
  }

  /** Those that count of the tokens that the token made, or that such a one made, and so on; it may have ended long ago. */
  operatorTokensMadeBy(id: string, nowMs: number): StoredOperatorToken[] {
    return (this.#statements.madeBy.all(id, nowMs) as OperatorTokenRow[]).map(operatorTokenOf);
  }

  addOperatorToken(token: Omit<StoredOperatorToken, "revokedAtMs" | "usedAtMs">): void {
    const { id, sha256, tenant, role, label, madeBy, madeAtMs, expiresAtMs } = token;
    const { addOperatorToken } = this.#statements;
    addOperatorToken.run(id, sha256, tenant ?? null, role, label, madeBy, madeAtMs, expiresAtMs);
  }

  revokeOperatorToken(id: string, nowMs: number): void {
    this.#statements.revokeOperatorToken.run(nowMs, id);
  }

  /** Nothing is written where it was used after `sinceMs`. */
  setUsed(id: string, nowMs: number, sinceMs: number): void {
    const before = this.operatorToken(id)?.usedAtMs;
    if (before === undefined || before <= sinceMs) this.#statements.setUsed.run(nowMs, id);
  }

  enrolmentToken(sha256: Uint8Array): StoredEnrolmentToken | undefined {
    const row = this.#statements.enrolmentToken.get(sha256) as EnrolmentTokenRow | undefined;
    return row && enrolmentTokenOf(row);
  }

  /** At most `limit` in the order of their hashes, from the one after `after` on. */
  enrolmentTokensAfter(tenant: string | undefined, after: Uint8Array, limit: number): StoredEnrolmentToken[] {
    const { enrolmentTokens } = this.#statements;
    return (enrolmentTokens.all(tenant, after, limit) as EnrolmentTokenRow[]).map(enrolmentTokenOf);
  }

  /** Those of one tenant by which a device may still come. */
  countFreeEnrolmentTokens(tenant: string, nowMs: number): number {
    return this.#statements.countFree.get(tenant, nowMs) as number;
  }

  /** False where the token has let a device in, or was ended before. */
  endEnrolmentToken(sha256: Uint8Array, nowMs: number): boolean {
    return this.#statements.endEnrolmentToken.get(nowMs, sha256) !== undefined;
  }

  addChange({ who, tenant, what, about, detail }: Change, nowMs: number): void {
    this.#statements.addChange.run(nowMs, who, tenant ?? null, what, about, JSON.stringify(detail));
  }

  /** At most `limit`, the newest first, from the one before `before` on. */
  changesBefore(tenant: string | undefined, before: number, limit: number): StoredChange[] {
    return (this.#statements.changes.all(tenant, before, limit) as ChangeRow[]).map(
      ({ entry, at_ms, who, tenant, what, about, detail }) => {
        return { entry, atMs: at_ms, who, tenant: tenant ?? undefined, what, about, detail: JSON.parse(detail) };
      },
    );
  }
}

interface OperatorTokenRow {
  id: string;
  sha256: Buffer;
  tenant: string | null;
  role: Role;
  label: string;
  made_by: string;
  made_at_ms: number;
  expires_at_ms: number;
  revoked_at_ms: number | null;
  used_at_ms: number | null;
}

interface EnrolmentTokenRow {
  sha256: Buffer;
  tenant: string;
  made_at_ms: number;
  expires_at_ms: number;
  ended_at_ms: number | null;
  used_at_ms: number | null;
  kid: Buffer | null;
}

interface ChangeRow {
  entry: number;
  at_ms: number;
  who: string;
  tenant: string | null;
  what: string;
  about: string;
  detail: string;
}

function operatorTokenOf(row: OperatorTokenRow): StoredOperatorToken {
  return {
    id: row.id,
    sha256: plainBytes(row.sha256),
    tenant: row.tenant ?? undefined,
    role: row.role,
    label: row.label,
    madeBy: row.made_by,
    madeAtMs: row.made_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms ?? undefined,
    usedAtMs: row.used_at_ms ?? undefined,
  };
}

function enrolmentTokenOf(row: EnrolmentTokenRow): StoredEnrolmentToken {
  return {
    sha256: plainBytes(row.sha256),
    tenant: row.tenant,
    madeAtMs: row.made_at_ms,
    expiresAtMs: row.expires_at_ms,
    endedAtMs: row.ended_at_ms ?? undefined,
    usedAtMs: row.used_at_ms ?? undefined,
    usedBy: row.kid ? plainBytes(row.kid) : undefined,
  };
}

const OPERATOR_TOKEN = "id, sha256, tenant, role, label, made_by, made_at_ms, expires_at_ms, revoked_at_ms, used_at_ms";
const ENROLMENT_TOKEN =
  "SELECT t.sha256, t.tenant, t.made_at_ms, t.expires_at_ms, t.ended_at_ms, t.used_at_ms, d.kid " +
  "FROM tokens t LEFT JOIN devices d ON d.device = t.used_by";

function prepare(database: Database) {
  /** Of one tenant, or of all: two statements, so that each has its index. */
  const scoped = (sql: (where: string) => string, column = "tenant") => {
    const [all, one] = [database.prepare(sql("")), database.prepare(sql(`${column} = ? AND `))];
    return {
      all: (tenant: string | undefined, ...rest: unknown[]) =>
        tenant === undefined ? all.all(...rest) : one.all(tenant, ...rest),
    };
  };
  return {
    hasTenant: database.prepare("SELECT 1 FROM tenants WHERE name = ?").pluck(),
    tenants: database.prepare('SELECT name, made_at_ms AS "madeAtMs" FROM tenants ORDER BY name'),
    addTenant: database.prepare("INSERT INTO tenants (name, made_at_ms) VALUES (?, ?)"),
    tenantOf: database.prepare("SELECT tenant FROM devices WHERE kid = ?").pluck(),
    hasOperatorTokens: database.prepare("SELECT 1 FROM operator_tokens LIMIT 1").pluck(),
    operatorToken: database.prepare(`SELECT ${OPERATOR_TOKEN} FROM operator_tokens WHERE id = ?`),
    operatorTokens: scoped(
      (where) => `SELECT ${OPERATOR_TOKEN} FROM operator_tokens WHERE ${where}id > ? ORDER BY id LIMIT ?`,
    ),
    countOperatorTokens: database
      .prepare("SELECT count(*) FROM operator_tokens WHERE revoked_at_ms IS NULL AND expires_at_ms > ?")
      .pluck(),
    madeBy: database.prepare(
      "WITH RECURSIVE made (id) AS (SELECT o.id FROM operator_tokens o WHERE o.made_by = ? " +
        "UNION SELECT o.id FROM operator_tokens o JOIN made ON o.made_by = made.id) " +
        `SELECT ${OPERATOR_TOKEN} FROM operator_tokens WHERE id IN (SELECT id FROM made) ` +
        "AND revoked_at_ms IS NULL AND expires_at_ms > ? ORDER BY id",
    ),
    addOperatorToken: database.prepare(
      "INSERT INTO operator_tokens (id, sha256, tenant, role, label, made_by, made_at_ms, expires_at_ms) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    ),
    revokeOperatorToken: database.prepare(
      "UPDATE operator_tokens SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL",
    ),
    setUsed: database.prepare("UPDATE operator_tokens SET used_at_ms = ? WHERE id = ?"),
    enrolmentToken: database.prepare(`${ENROLMENT_TOKEN} WHERE t.sha256 = ?`),
    enrolmentTokens: scoped(
      (where) => `${ENROLMENT_TOKEN} WHERE ${where}t.sha256 > ? ORDER BY t.sha256 LIMIT ?`,
      "t.tenant",
    ),
    countFree: database
      .prepare(
        "SELECT count(*) FROM tokens WHERE tenant = ? AND used_by IS NULL AND ended_at_ms IS NULL AND expires_at_ms > ?",
      )
      .pluck(),
    endEnrolmentToken: database.prepare(
      "UPDATE tokens SET ended_at_ms = ? " + "WHERE sha256 = ? AND used_by IS NULL AND ended_at_ms IS NULL RETURNING 1",
    ),
    addChange: database.prepare(
      "INSERT INTO audit (at_ms, who, tenant, what, about, detail) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    changes: scoped(
      (where) =>
        `SELECT entry, at_ms, who, tenant, what, about, detail FROM audit WHERE ${where}entry < ? ` +
        "ORDER BY entry DESC LIMIT ?",
    ),
  };
}
