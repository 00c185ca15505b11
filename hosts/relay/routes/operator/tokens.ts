import type { FastifyInstance } from "fastify";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import Type from "typebox";
import { LABEL_MAX, OPERATOR_TOKEN_LIFETIME_MAX_MS } from "../../operators/administration.js";
import type { StoredEnrolmentToken, StoredOperatorToken } from "../../store/operators.js";
import { Kid } from "../shapes.js";
import type { OperatorRoutesOptions } from "./operator.js";
import { changed, Milliseconds, OperatorId, page, RoleShape, Tenant, taken } from "./shapes.js";

/** Tokens by which devices come, and tokens by which operators do. Each is shown once, to who has it made. */

const LIFETIME_MAX_S = OPERATOR_TOKEN_LIFETIME_MAX_MS / 1000;
const Lifetime = Type.Integer({ minimum: 60, maximum: LIFETIME_MAX_S, description: "how long it counts" });
const EnrolmentId = Type.String({ pattern: "^[0-9a-f]{64}$", description: "SHA-256 of the token's text" });

export const EnrolmentTokenShape = Type.Object({
  id: EnrolmentId,
  tenant: Tenant,
  state: Type.Union([Type.Literal("free"), Type.Literal("used"), Type.Literal("ended"), Type.Literal("expired")]),
  made_at_ms: Milliseconds,
  expires_at_ms: Milliseconds,
  used_at_ms: Type.Optional(Milliseconds),
  used_by: Type.Optional(Kid),
});
const EnrolmentTokensShape = Type.Object({ tokens: Type.Array(EnrolmentTokenShape), next: Type.Optional(EnrolmentId) });
const EnrolmentTokenBody = Type.Object(
  { tenant: Type.Optional(Tenant), lifetime_s: Type.Optional(Lifetime) },
  { additionalProperties: false },
);
const NewEnrolmentTokenShape = Type.Object({
  token: Type.String({ description: "given to one device, used once; shown here and never again" }),
  tenant: Tenant,
  expires_at_ms: Milliseconds,
});

export const OperatorTokenShape = Type.Object({
  id: OperatorId,
  tenant: Type.Optional(Type.String({ description: "without it the token counts for all tenants" })),
  role: RoleShape,
  label: Type.String(),
  made_by: Type.String({ description: "id of an operator token, or command" }),
  made_at_ms: Milliseconds,
  expires_at_ms: Milliseconds,
  revoked_at_ms: Type.Optional(Milliseconds),
  used_at_ms: Type.Optional(Type.Integer({ description: "to the minute, milliseconds since 1970" })),
});
const OperatorTokensShape = Type.Object({ tokens: Type.Array(OperatorTokenShape), next: Type.Optional(OperatorId) });
const OperatorTokenBody = Type.Object(
  {
    role: RoleShape,
    label: Type.String({ pattern: `^[^\\u0000-\\u001f\\u007f]{1,${LABEL_MAX}}$`, description: "for people" }),
    tenant: Type.Optional(Tenant),
    lifetime_s: Type.Optional(Lifetime),
  },
  { additionalProperties: false },
);
const NewOperatorTokenShape = Type.Object({
  token: Type.String({ description: "shown here and never again" }),
  ...OperatorTokenShape.properties,
});

const RevocationQuery = Type.Object(
  { with_made: Type.Boolean({ default: false, description: "and those that it made, itself or through others" }) },
  { additionalProperties: false },
);
const RevokedOperatorTokenShape = Type.Object({
  ...OperatorTokenShape.properties,
  revoked_with_it: Type.Array(OperatorId),
  made: Type.Array(OperatorId, { description: "tokens that it made, itself or through others, and that count still" }),
});

export function operatorTokenRoutes(app: FastifyInstance, { administration, nowMs }: OperatorRoutesOptions): void {
  const EnrolmentPage = page(EnrolmentId);
  app.get<{ Querystring: Type.Static<typeof EnrolmentPage> }>(
    "/v1/operator/enrolment-tokens",
    {
      schema: {
        summary: "Enrolment tokens in the order of their ids, and what became of them",
        operator: { role: "viewer" },
        querystring: EnrolmentPage,
        response: { 200: EnrolmentTokensShape },
      },
    },
    async (request) => {
      const { after = "", limit, tenant } = request.query;
      const on = administration(request);
      const found = on.enrolmentTokens(taken(on.scope(tenant)), fromHex(after)!, limit + 1);
      const tokens = found.slice(0, limit).map(viewEnrolmentToken);
      return { tokens, ...(found.length > limit && { next: tokens.at(-1)!.id }) };
    },
  );

  app.post<{ Body: Type.Static<typeof EnrolmentTokenBody> }>(
    "/v1/operator/enrolment-tokens",
    {
      schema: {
        summary: "Make a token for one device",
        operator: { role: "operator" },
        body: EnrolmentTokenBody,
        response: { 200: NewEnrolmentTokenShape },
      },
    },
    async (request): Promise<Type.Static<typeof NewEnrolmentTokenShape>> => {
      const { tenant, lifetime_s } = request.body;
      const made = taken(
        administration(request).makeEnrolmentToken({ tenant, lifetimeMs: millisecondsOf(lifetime_s) }),
      );
      changed(request, "enrolment token make", made, ({ tenant }) => tenant);
      return { token: made.token, tenant: made.tenant, expires_at_ms: made.expiresAtMs };
    },
  );

  app.delete<{ Params: { id: string } }>(
    "/v1/operator/enrolment-tokens/:id",
    {
      schema: {
        summary: "Let nobody in by the token any more",
        operator: { role: "operator" },
        params: Type.Object({ id: EnrolmentId }),
        response: { 200: EnrolmentTokenShape },
      },
    },
    async (request) => {
      const ended = taken(administration(request).endEnrolmentToken(fromHex(request.params.id)!));
      return changed(request, "enrolment token end", viewEnrolmentToken(ended), ({ id }) => id);
    },
  );

  const OperatorPage = page(OperatorId);
  app.get<{ Querystring: Type.Static<typeof OperatorPage> }>(
    "/v1/operator/tokens",
    {
      schema: {
        summary: "Operator tokens in the order of their ids",
        operator: { role: "admin" },
        querystring: OperatorPage,
        response: { 200: OperatorTokensShape },
      },
    },
    async (request) => {
      const { after = "", limit, tenant } = request.query;
      const on = administration(request);
      const found = on.operatorTokens(taken(on.scope(tenant)), after, limit + 1);
      const tokens = found.slice(0, limit).map(viewOperatorToken);
      return { tokens, ...(found.length > limit && { next: tokens.at(-1)!.id }) };
    },
  );

  app.post<{ Body: Type.Static<typeof OperatorTokenBody> }>(
    "/v1/operator/tokens",
    {
      schema: {
        summary: "Make an operator token",
        operator: { role: "admin" },
        body: OperatorTokenBody,
        response: { 200: NewOperatorTokenShape },
      },
    },
    async (request): Promise<Type.Static<typeof NewOperatorTokenShape>> => {
      const { lifetime_s, ...wanted } = request.body;
      const made = administration(request).makeOperatorToken({ ...wanted, lifetimeMs: millisecondsOf(lifetime_s) });
      const { token, stored } = taken(made);
      changed(request, "operator token make", stored, ({ id }) => id);
      return { token, ...viewOperatorToken(stored) };
    },
  );

  app.delete<{ Params: { id: string }; Querystring: Type.Static<typeof RevocationQuery> }>(
    "/v1/operator/tokens/:id",
    {
      schema: {
        summary: "Revoke an operator token",
        operator: { role: "admin" },
        params: Type.Object({ id: OperatorId }),
        querystring: RevocationQuery,
        response: { 200: RevokedOperatorTokenShape },
      },
    },
    async (request): Promise<Type.Static<typeof RevokedOperatorTokenShape>> => {
      const on = administration(request);
      const { id } = request.params;
      const revoked = taken(on.revokeOperatorToken(id, { withMade: request.query.with_made }));
      for (const token of revoked) changed(request, "operator token revoke", token.id, (id) => id);
      return {
        ...viewOperatorToken(revoked[0]),
        revoked_with_it: revoked.slice(1).map(({ id }) => id),
        made: on.operatorTokensMadeBy(id).map(({ id }) => id),
      };
    },
  );

  app.get(
    "/v1/operator/self",
    {
      schema: {
        summary: "The operator token by which this is asked",
        operator: { role: "viewer" },
        response: { 200: OperatorTokenShape },
      },
    },
    async ({ operator }) => viewOperatorToken(operator),
  );

  function viewEnrolmentToken(token: StoredEnrolmentToken): Type.Static<typeof EnrolmentTokenShape> {
    const { sha256, tenant, madeAtMs, expiresAtMs, usedAtMs, usedBy } = token;
    return {
      id: toHex(sha256),
      tenant,
      state: stateOf(token, nowMs()),
      made_at_ms: madeAtMs,
      expires_at_ms: expiresAtMs,
      ...(usedAtMs !== undefined && { used_at_ms: usedAtMs }),
      ...(usedBy && { used_by: toHex(usedBy) }),
    };
  }
}

/** What `tallystick operator-token` shows, too: never the hash. */
export function viewOperatorToken(token: StoredOperatorToken): Type.Static<typeof OperatorTokenShape> {
  const { id, tenant, role, label, madeBy, madeAtMs, expiresAtMs, revokedAtMs, usedAtMs } = token;
  return {
    id,
    ...(tenant !== undefined && { tenant }),
    role,
    label,
    made_by: madeBy,
    made_at_ms: madeAtMs,
    expires_at_ms: expiresAtMs,
    ...(revokedAtMs !== undefined && { revoked_at_ms: revokedAtMs }),
    ...(usedAtMs !== undefined && { used_at_ms: usedAtMs }),
  };
}

function stateOf(
  { usedBy, endedAtMs, expiresAtMs }: StoredEnrolmentToken,
  nowMs: number,
): "free" | "used" | "ended" | "expired" {
  if (usedBy) return "used";
  if (endedAtMs !== undefined) return "ended";
  return expiresAtMs <= nowMs ? "expired" : "free";
}

function millisecondsOf(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}
