import { visible } from "tallystick/bytes/visible";
import { explain, ok, type Result } from "tallystick/codes/codes";
import { administerHere } from "../../hosts/relay/enrol.js";
import type { Role } from "../../hosts/relay/operators/roles.js";
import { viewOperatorToken } from "../../hosts/relay/routes/operator/tokens.js";
import type { StoredOperatorToken } from "../../hosts/relay/store/operators.js";

/** What `tallystick operator-token` does; each answers with the exit status: 0 done, 1 refused. */

const DAY_MS = 86_400_000;
const PAGE = 256;

export interface CreateOptions {
  readonly role: Role;
  /** Undefined: for all. */
  readonly tenant?: string;
  readonly label: string;
  readonly days: number;
  readonly json?: true;
}

export function create(dataDir: string, { role, tenant, label, days, json }: CreateOptions): number {
  const wanted = { role, tenant, label, lifetimeMs: days * DAY_MS };
  const made = administerHere(dataDir, (administration) => administration.makeOperatorToken(wanted));
  return print(made, ({ token, stored }) => [json ? JSON.stringify({ token, ...viewOperatorToken(stored) }) : token]);
}

export interface RevokeOptions {
  readonly asJson: boolean;
  /** Those that it made, too. */
  readonly withMade: boolean;
}

export function list(dataDir: string, tenant: string | undefined, asJson: boolean): number {
  const found = administerHere(dataDir, (administration) => {
    const scope = administration.scope(tenant);
    if (!scope.ok) return scope;
    const tokens: StoredOperatorToken[] = [];
    for (let after = ""; ; ) {
      const page = administration.operatorTokens(scope.value, after, PAGE);
      tokens.push(...page);
      const last = page.at(-1);
      if (page.length < PAGE || !last) return ok(tokens);
      after = last.id;
    }
  });
  return print(found, (tokens) => tokens.map((token) => textOf(token, asJson)));
}

export function revoke(dataDir: string, id: string, { asJson, withMade }: RevokeOptions): number {
  let made = 0;
  const revoked = administerHere(dataDir, (administration) => {
    const done = administration.revokeOperatorToken(id, { withMade });
    made = administration.operatorTokensMadeBy(id).length;
    return done;
  });
  const status = print(revoked, (tokens) => tokens.map((token) => textOf(token, asJson)));
  if (revoked.ok && made > 0) console.error(`${made} made by it count still; --with-made revokes them, too`);
  return status;
}

function print<T>(result: Result<T>, linesOf: (value: T) => readonly string[]): number {
  if (!result.ok) {
    console.error(`tallystick operator-token: ${explain(result.failure)}`);
    return 1;
  }
  for (const line of linesOf(result.value)) console.log(line);
  return 0;
}

function textOf(token: StoredOperatorToken, asJson: boolean): string {
  if (asJson) return JSON.stringify(viewOperatorToken(token));
  const { id, role, tenant, label, expiresAtMs, revokedAtMs, usedAtMs } = token;
  const until = revokedAtMs === undefined ? `until ${timeOf(expiresAtMs)}` : `revoked ${timeOf(revokedAtMs)}`;
  return [
    id,
    role.padEnd(8),
    tenant ?? "(all tenants)",
    until,
    usedAtMs === undefined ? "never used" : `used ${timeOf(usedAtMs)}`,
    ...(label === "" ? [] : [visible(label)]),
  ].join("  ");
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
