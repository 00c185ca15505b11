import { administer } from "../../../hosts/relay/enrol.js";
import type { Role } from "../../../hosts/relay/operators/roles.js";
import { must, type StartedRelay } from "../started.js";

/** Operators of a relay that runs in this process, for tests. */

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  readonly body: any;
}

export function makeTenant({ folder, where }: StartedRelay, name: string): void {
  must(administer(folder, (administration) => administration.makeTenant(name), where));
}

/** A token's text, as the command prints it. */
export function operatorToken(
  { folder, where }: StartedRelay,
  role: Role,
  tenant?: string,
  times: { readonly nowMs?: number; readonly lifetimeMs?: number } = {},
): string {
  const { nowMs = Date.now(), lifetimeMs } = times;
  const wanted = { role, tenant, label: "test", lifetimeMs };
  return must(
    administer(folder, (administration) => administration.makeOperatorToken(wanted), { nowMs: () => nowMs, ...where }),
  ).token;
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
