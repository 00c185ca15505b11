import type { Result } from "tallystick/codes/codes";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { administer } from "../../../hosts/relay/enrol.js";
import { Administration } from "../../../hosts/relay/operators/administration.js";
import { COMMAND_ACTOR, type Role } from "../../../hosts/relay/operators/roles.js";
import { OperatorStore } from "../../../hosts/relay/store/operators.js";
import { must, type StartedRelay } from "../started.js";

/** Operators of a relay that runs in this process, for tests. */

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  readonly body: any;
}

/**
 * As a command beside the relay does it. Over PostgreSQL each would take a thread and a connection of its own, and tests make
 * hundreds: there it is done in the relay's database, by the same code.
 */
function beside<T>(started: StartedRelay, act: (on: Administration) => Result<T>, nowMs = Date.now()): T {
  if (!started.store) return must(administer(started.folder, act, { nowMs: () => nowMs }));
  const { database } = started.relay.store;
  const store = new OperatorStore(database);
  const { sha256 } = relayCrypto;
  return must(act(new Administration({ store, database, sha256, nowMs: () => nowMs, actor: COMMAND_ACTOR })));
}

export function makeTenant(started: StartedRelay, name: string): void {
  beside(started, (administration) => administration.makeTenant(name));
}

/** An enrolment token of the tenant's. */
export function enrolmentToken(started: StartedRelay, tenant: string): string {
  return beside(started, (administration) => administration.makeEnrolmentToken({ tenant })).token;
}

/** All that operators can change, each row a line, in an order of its own; that a token was used is none of it. */
export function stateOf({ relay }: StartedRelay): string[] {
  const { database } = relay.store;
  database.prepare("UPDATE operator_tokens SET used_at_ms = NULL").run();
  const rows = (table: string) => database.prepare(`SELECT * FROM ${table}`).all();
  return TABLES.flatMap((table) =>
    rows(table)
      .map((row) => `${table} ${JSON.stringify(row)}`)
      .sort(),
  );
}

const TABLES = [
  "tenants",
  "operator_tokens",
  "tokens",
  "held_back",
  "revocations",
  "decisions",
  "devices",
  "audit",
] as const;

/** A token's text, as the command prints it. */
export function operatorToken(
  started: StartedRelay,
  role: Role,
  tenant?: string,
  times: { readonly nowMs?: number; readonly lifetimeMs?: number } = {},
): string {
  const { nowMs = Date.now(), lifetimeMs } = times;
  const wanted = { role, tenant, label: "test", lifetimeMs };
  return beside(started, (administration) => administration.makeOperatorToken(wanted), nowMs).token;
}

export function revokeToken(started: StartedRelay, token: string): void {
  beside(started, (administration) => administration.revokeOperatorToken(idOf(token)));
}

export function idOf(token: string): string {
  return token.split("_")[1]!;
}

/** One request of the operator API; `authorization` is a token, or a header's whole value where it has a space. */
export async function ask(
  url: string,
  method: string,
  path: string,
  authorization: string | undefined,
  body?: unknown,
): Promise<Answered> {
  const headers: Record<string, string> = {};
  if (authorization !== undefined)
    headers["authorization"] = authorization.includes(" ") ? authorization : `Bearer ${authorization}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(`${url}${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text === "" ? undefined : JSON.parse(text) };
}
