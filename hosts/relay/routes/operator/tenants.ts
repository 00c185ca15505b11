import type { FastifyInstance } from "fastify";
import Type from "typebox";
import type { OperatorRoutesOptions } from "./operator.js";
import { changed, Milliseconds, page, Tenant, taken } from "./shapes.js";

/** Tenants, and what was changed by whom. */

const TenantShape = Type.Object({ name: Tenant, made_at_ms: Milliseconds });
const TenantsShape = Type.Object({ tenants: Type.Array(TenantShape) });
const TenantBody = Type.Object({ name: Tenant }, { additionalProperties: false });
export const ChangeShape = Type.Object({
  entry: Type.Integer(),
  at_ms: Milliseconds,
  who: Type.String({ description: "id of an operator token; command; statement, signed by a device's owner" }),
  tenant: Type.Optional(Type.String({ description: "whose matter it was; without it the whole relay's" })),
  what: Type.String(),
  about: Type.String({ description: "a kid, a token's id, a tenant's name" }),
  detail: Type.Object({}, { additionalProperties: true }),
});
const ChangesShape = Type.Object({ changes: Type.Array(ChangeShape), next: Type.Optional(Type.Integer()) });

export function operatorTenantRoutes(app: FastifyInstance, { administration }: OperatorRoutesOptions): void {
  app.get(
    "/v1/operator/tenants",
    {
      schema: {
        summary: "Tenants for which the token counts",
        operator: { role: "viewer" },
        response: { 200: TenantsShape },
      },
    },
    async (request) => ({
      tenants: administration(request)
        .tenants()
        .map(({ name, madeAtMs }) => ({ name, made_at_ms: madeAtMs })),
    }),
  );

  app.post<{ Body: Type.Static<typeof TenantBody> }>(
    "/v1/operator/tenants",
    {
      schema: {
        summary: "Make a tenant",
        operator: { role: "admin", ofAll: true },
        body: TenantBody,
        response: { 200: TenantShape },
      },
    },
    async (request) => {
      const { name, madeAtMs } = taken(administration(request).makeTenant(request.body.name));
      return changed(request, "tenant make", { name, made_at_ms: madeAtMs }, ({ name }) => name);
    },
  );

  const Page = page(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }));
  app.get<{ Querystring: Type.Static<typeof Page> }>(
    "/v1/operator/audit",
    {
      schema: {
        summary: "What was changed by whom, the newest first",
        operator: { role: "admin" },
        querystring: Page,
        response: { 200: ChangesShape },
      },
    },
    async (request) => {
      const { after = Number.MAX_SAFE_INTEGER, limit, tenant } = request.query;
      const on = administration(request);
      const found = on.changes(taken(on.scope(tenant)), after, limit + 1);
      const changes = found.slice(0, limit).map(({ entry, atMs, who, tenant, what, about, detail }) => {
        return { entry, at_ms: atMs, who, ...(tenant !== undefined && { tenant }), what, about, detail };
      });
      return { changes, ...(found.length > limit && { next: changes.at(-1)!.entry }) };
    },
  );
}
