import { toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import type { Database } from "../store/database.js";
import type {
  Change,
  OperatorStore,
  StoredChange,
  StoredEnrolmentToken,
  StoredOperatorToken,
  StoredTenant,
} from "../store/operators.js";
import { DEFAULT_TENANT } from "../store/schema.js";
import { makeToken, TOKEN_LIFETIME_MS } from "../store/tokens.js";
import { newOperatorToken } from "./credentials.js";
import { type Actor, holds, type Role } from "./roles.js";

/**
 * Tenants, operators' tokens and enrolment tokens, on somebody's word, for commands and routes alike. Whose they are is
 * looked at here: of what belongs to another tenant an actor is told as of what is not there. So is that nobody gives away
 * more than he holds. Every change stands in the audit table in the transaction that makes it.
 */

export const TENANTS_MAX = 1024;
/** Of all tenants, tokens that count. */
export const OPERATOR_TOKENS_MAX = 4096;
/** Of one tenant, enrolment tokens by which a device may still come. */
export const FREE_ENROLMENT_TOKENS_MAX = 10_000;
const DAY_MS = 86_400_000;
export const OPERATOR_TOKEN_LIFETIME_MS = 90 * DAY_MS;
export const OPERATOR_TOKEN_LIFETIME_MAX_MS = 366 * DAY_MS;
export const TENANT_PATTERN = "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$";
export const LABEL_MAX = 64;

export interface EnrolmentToken {
  /** 32 characters; given to one device, used once. */
  readonly token: string;
  readonly expiresAtMs: number;
  /** Whose the device becomes. */
  readonly tenant: string;
}

export interface OperatorTokenOptions {
  readonly role: Role;
  /** Undefined: of all tenants, where the actor is. */
  readonly tenant?: string | undefined;
  /** For people. */
  readonly label: string;
  readonly lifetimeMs?: number | undefined;
}

export interface AdministrationOptions {
  readonly store: OperatorStore;
  readonly database: Database;
  readonly sha256: Sha256;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly actor: Actor;
}

export class Administration {
  readonly #options: AdministrationOptions;
  readonly #store: OperatorStore;

  constructor(options: AdministrationOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /** Whose things are asked for: the actor's own, or of whose `asked` are. TENANT_UNKNOWN. */
  scope(asked: string | undefined): Result<string | undefined> {
    const { tenant } = this.#options.actor;
    if (asked === undefined) return ok(tenant);
    const isThere = tenant === undefined ? this.#store.hasTenant(asked) : tenant === asked;
    return isThere ? ok(asked) : fail("TENANT_UNKNOWN", `expected a tenant, received ${asked.slice(0, LABEL_MAX)}`);
  }

  /** Those that the actor may know of. */
  tenants(): StoredTenant[] {
    const { tenant } = this.#options.actor;
    return this.#store.tenants().filter(({ name }) => tenant === undefined || tenant === name);
  }

  /** TENANT_NAME_UNUSABLE, TENANT_EXISTS, OPERATOR_LIMIT_REACHED, OPERATOR_ROLE_TOO_LOW. */
  makeTenant(name: string): Result<StoredTenant> {
    const denied = this.#deniesAll("admin");
    if (denied) return { ok: false, failure: denied };
    if (!new RegExp(TENANT_PATTERN).test(name))
      return fail("TENANT_NAME_UNUSABLE", `expected a name, received ${JSON.stringify(name.slice(0, LABEL_MAX))}`);
    return this.#change((nowMs): Changed<StoredTenant> => {
      if (this.#store.hasTenant(name)) return fail("TENANT_EXISTS", `expected a new name, received ${name}`);
      const full = limit("tenants", this.#store.tenants().length, TENANTS_MAX);
      if (full) return full;
      this.#store.addTenant(name, nowMs);
      return changed({ name, madeAtMs: nowMs }, { tenant: name, what: "tenant make", about: name, detail: {} });
    });
  }

  /** The token is in the answer and nowhere else. OPERATOR_ROLE_TOO_LOW, TENANT_UNKNOWN, OPERATOR_LIMIT_REACHED. */
  makeOperatorToken(
    wanted: OperatorTokenOptions,
  ): Result<{ readonly token: string; readonly stored: StoredOperatorToken }> {
    const { actor, sha256 } = this.#options;
    const { role, label, lifetimeMs = OPERATOR_TOKEN_LIFETIME_MS } = wanted;
    const denied = this.#denies("admin") ?? this.#denies(role);
    if (denied) return { ok: false, failure: denied };
    const scope = this.scope(wanted.tenant);
    if (!scope.ok) return scope;
    const tenant = scope.value;
    return this.#change((nowMs) => {
      const full = limit("operator tokens", this.#store.countOperatorTokens(nowMs), OPERATOR_TOKENS_MAX);
      if (full) return full;
      const { token, id, sha256: hash } = newOperatorToken(sha256);
      const times = { madeAtMs: nowMs, expiresAtMs: nowMs + lifetimeMs };
      this.#store.addOperatorToken({ id, sha256: hash, tenant, role, label, madeBy: actor.who, ...times });
      const detail = { role, label };
      const change = { tenant, what: "operator token make", about: id, detail };
      return changed({ token, stored: this.#store.operatorToken(id)! }, change);
    });
  }

  operatorTokens(tenant: string | undefined, after: string, limit: number): StoredOperatorToken[] {
    return this.#store.operatorTokensAfter(this.#options.actor.tenant ?? tenant, after, limit);
  }

  /**
   * Tokens that count and that the token made, itself or through others. They need not end with it: who replaces his token makes
   * the next one by the last.
   */
  operatorTokensMadeBy(id: string): StoredOperatorToken[] {
    // Whoever may make one gives away no tenant that he does not hold, so that all of them are of one tenant, or below all.
    const made = this.#store.operatorTokensMadeBy(id, this.#options.nowMs());
    return made.filter(({ tenant }) => this.#isOwn(tenant));
  }

  /**
   * Revokes the token, and `withMade` those that it made, itself or through others: what its thief has made of it. The token
   * itself is the first that is answered, then those. The same again changes nothing. OPERATOR_TOKEN_UNKNOWN,
   * OPERATOR_ROLE_TOO_LOW.
   */
  revokeOperatorToken(
    id: string,
    { withMade = false }: { readonly withMade?: boolean } = {},
  ): Result<readonly [StoredOperatorToken, ...StoredOperatorToken[]]> {
    const denied = this.#denies("admin");
    if (denied) return { ok: false, failure: denied };
    return this.#change((nowMs) => {
      const found = this.#store.operatorToken(id);
      if (!found || !this.#isOwn(found.tenant)) return fail("OPERATOR_TOKEN_UNKNOWN", `expected an id, received ${id}`);
      const made = withMade ? this.operatorTokensMadeBy(id) : [];
      const changes = (found.revokedAtMs === undefined ? [found, ...made] : made).map((token) => {
        this.#store.revokeOperatorToken(token.id, nowMs);
        const detail: Change["detail"] = token.id === id ? {} : { made_by: token.madeBy, with: id };
        return { tenant: token.tenant, what: "operator token revoke", about: token.id, detail };
      });
      const now = (token: StoredOperatorToken) => this.#store.operatorToken(token.id)!;
      return changed([now(found), ...made.map(now)] as const, ...changes);
    });
  }

  /** For one device of `tenant`. TENANT_UNKNOWN, OPERATOR_LIMIT_REACHED, OPERATOR_ROLE_TOO_LOW. */
  makeEnrolmentToken(wanted: {
    readonly tenant?: string | undefined;
    readonly lifetimeMs?: number | undefined;
  }): Result<EnrolmentToken> {
    const denied = this.#denies("operator");
    if (denied) return { ok: false, failure: denied };
    const scope = this.scope(wanted.tenant);
    if (!scope.ok) return scope;
    const { database, sha256 } = this.#options;
    const { lifetimeMs = TOKEN_LIFETIME_MS } = wanted;
    const tenant = scope.value ?? DEFAULT_TENANT;
    return this.#change((nowMs) => {
      const free = this.#store.countFreeEnrolmentTokens(tenant, nowMs);
      const full = limit("unspent enrolment tokens of a tenant", free, FREE_ENROLMENT_TOKENS_MAX);
      if (full) return full;
      const expiresAtMs = nowMs + lifetimeMs;
      const token = makeToken(database, sha256, nowMs, expiresAtMs, tenant);
      const about = toHex(sha256(new Uint8Array(Buffer.from(token, "ascii"))));
      return changed({ token, expiresAtMs, tenant }, { tenant, what: "enrolment token make", about, detail: {} });
    });
  }

  enrolmentTokens(tenant: string | undefined, after: Uint8Array, limit: number): StoredEnrolmentToken[] {
    return this.#store.enrolmentTokensAfter(this.#options.actor.tenant ?? tenant, after, limit);
  }

  /** Nobody comes by it any more; the same again changes nothing. ENROLMENT_TOKEN_UNKNOWN, ENROLMENT_TOKEN_SPENT, OPERATOR_ROLE_TOO_LOW. */
  endEnrolmentToken(sha256: Uint8Array): Result<StoredEnrolmentToken> {
    const denied = this.#denies("operator");
    if (denied) return { ok: false, failure: denied };
    return this.#change((nowMs) => {
      const found = this.#store.enrolmentToken(sha256);
      const about = toHex(sha256);
      if (!found || !this.#isOwn(found.tenant))
        return fail("ENROLMENT_TOKEN_UNKNOWN", `expected an id, received ${about}`);
      if (found.usedBy) return fail("ENROLMENT_TOKEN_SPENT", `${about} let ${toHex(found.usedBy)} in`);
      if (!this.#store.endEnrolmentToken(sha256, nowMs)) return ok(found);
      const change = { tenant: found.tenant, what: "enrolment token end", about, detail: {} };
      return changed(this.#store.enrolmentToken(sha256)!, change);
    });
  }

  /** What was changed, the newest first. */
  changes(tenant: string | undefined, before: number, limit: number): StoredChange[] {
    return this.#store.changesBefore(this.#options.actor.tenant ?? tenant, before, limit);
  }

  #isOwn(tenant: string | undefined): boolean {
    const { actor } = this.#options;
    return actor.tenant === undefined || actor.tenant === tenant;
  }

  #denies(needed: Role): Failure | undefined {
    return deniedTo(this.#options.actor, needed);
  }

  #deniesAll(needed: Role): Failure | undefined {
    return deniedTo(this.#options.actor, needed, true);
  }

  /** Makes the change and notes it, both or neither. */
  #change<T>(make: (nowMs: number) => Changed<T>): Result<T> {
    const { actor, nowMs } = this.#options;
    return this.#store.transaction(() => {
      const atMs = nowMs();
      const made = make(atMs);
      if (!made.ok) return made;
      for (const change of made.changes ?? []) this.#store.addChange({ who: actor.who, ...change }, atMs);
      return ok(made.value);
    });
  }
}

type Changed<T> =
  | { readonly ok: true; readonly value: T; readonly changes?: readonly Omit<Change, "who">[] }
  | { readonly ok: false; readonly failure: Failure };

function changed<T>(value: T, ...changes: readonly Omit<Change, "who">[]): Changed<T> {
  return { ok: true, value, changes };
}

/** OPERATOR_ROLE_TOO_LOW where the actor may not do what takes `needed`, for one tenant or, `ofAll`, for the whole relay. */
export function deniedTo({ role, tenant }: Actor, needed: Role, ofAll = false): Failure | undefined {
  if (holds(role, needed) && !(ofAll && tenant !== undefined)) return undefined;
  const expected = ofAll ? `${needed} of the whole relay` : needed;
  const received = tenant === undefined ? role : `${role} of one tenant`;
  return fail("OPERATOR_ROLE_TOO_LOW", `expected the role ${expected}, received ${received}`).failure;
}

function limit(what: string, count: number, most: number): ReturnType<typeof fail> | undefined {
  return count < most
    ? undefined
    : fail("OPERATOR_LIMIT_REACHED", `expected fewer than ${most} ${what}, there are ${count}`);
}
