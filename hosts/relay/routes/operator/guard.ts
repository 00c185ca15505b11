import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import { fail } from "tallystick/codes/codes";
import type { Attempts } from "../../attempts.js";
import { deniedTo } from "../../operators/administration.js";
import type { Credentials } from "../../operators/credentials.js";
import type { Role } from "../../operators/roles.js";
import { Refused } from "../../problem.js";
import { isCorruption, isDatabaseError } from "../../store/database.js";
import type { OperatorStore, StoredOperatorToken } from "../../store/operators.js";

/**
 * What stands before every route of the operator API: a token that counts and whose role is enough, before a byte of the
 * body is read. A route under OPERATOR_PATH that does not say what role it takes cannot be added.
 *
 * There are no cookies, so no other site can have a browser speak in an operator's name; there are no CORS headers.
 *
 * A right token is let in from any address. Wrong ones are answered 401 for as long as the address's budget lasts and 429
 * after that: were right ones refused, too, anybody behind the same proxy could keep the operators out, just when they are
 * needed; and of 256 random bits nobody finds a token by trying.
 */

export const OPERATOR_PATH = "/v1/operator/";

declare module "fastify" {
  interface FastifySchema {
    /** Of a route of the operator API: the least role that it takes, and whether only of the whole relay. */
    operator?: { readonly role: Role; readonly ofAll?: boolean };
  }
  interface FastifyRequest {
    /** On whose word the request came. */
    operator: StoredOperatorToken;
  }
}

export interface GuardOptions {
  readonly credentials: Credentials;
  readonly operators: OperatorStore;
  /** How often an address may send what is no token that counts. */
  readonly attempts: Attempts;
}

/** Puts the guard before all routes of the operator API that are added from here on. */
export function guardOperatorRoutes(app: FastifyInstance, options: GuardOptions): void {
  app.decorateRequest("operator");
  app.addHook("onRoute", (route) => {
    if (!route.url.startsWith(OPERATOR_PATH) || route.schema?.hide) return;
    const { operator } = route.schema ?? {};
    if (!operator) throw new TypeError(`${route.url}: expected a role in its schema, received none`);
    putFirst(route, async (request, reply) => {
      reply.header("cache-control", "no-store");
      admit(options, request, reply);
      const denied = deniedTo({ ...request.operator, who: request.operator.id }, operator.role, operator.ofAll);
      if (denied) throw new Refused({ failure: denied });
    });
  });
}

function putFirst(route: RouteOptions, hook: (request: FastifyRequest, reply: FastifyReply) => Promise<void>): void {
  route.onRequest = [hook, ...[route.onRequest ?? []].flat()] as NonNullable<RouteOptions["onRequest"]>;
}

function admit({ credentials, operators, attempts }: GuardOptions, request: FastifyRequest, reply: FastifyReply): void {
  // Where nobody has made a token there is nothing to knock at.
  if (!operators.hasOperatorTokens())
    throw new Refused(fail("ROUTE_UNKNOWN", "no operator token was made here; tallystick operator-token create"));
  const { authorization } = request.headers;
  const checked = credentials.check(authorization);
  if (checked.ok) {
    request.operator = checked.value;
    noteUse(credentials, checked.value);
    return;
  }
  // RFC 6750 §3.
  reply.header("www-authenticate", "Bearer");
  if (authorization === undefined) throw new Refused(checked);
  const refusal = attempts.refusal(request.ip);
  if (refusal) throw new Refused(refusal);
  attempts.failed(request.ip);
  request.log.warn({ code: checked.failure.code, address: request.ip }, "operator refused");
  throw new Refused(checked);
}

/** On a full disk operators may still look. */
function noteUse(credentials: Credentials, token: StoredOperatorToken): void {
  try {
    credentials.used(token);
  } catch (error) {
    if (!isDatabaseError(error as FastifyError) || isCorruption(error)) throw error;
  }
}
