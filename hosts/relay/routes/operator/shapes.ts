import type { FastifyRequest } from "fastify";
import type { Result } from "tallystick/codes/codes";
import Type, { type TSchema } from "typebox";
import { TENANT_PATTERN } from "../../operators/administration.js";
import { OPERATOR_ID_PATTERN } from "../../operators/credentials.js";
import { ROLES, type Role } from "../../operators/roles.js";
import { Refused } from "../../problem.js";

/** Shapes that several routes of the operator API share. */

export const OPERATOR_PAGE_MAX = 1000;

export const Milliseconds = Type.Integer({ description: "milliseconds since 1970" });
export const Tenant = Type.String({ pattern: TENANT_PATTERN, description: "a tenant's name" });
export const RoleShape = Type.Unsafe<Role>(Type.Union(ROLES.map((role) => Type.Literal(role))));
export const OperatorId = Type.String({ pattern: `^${OPERATOR_ID_PATTERN}$`, description: "id of an operator token" });

/** A page of what is in the order of `after`; `tenant` narrows what a token of the whole relay is shown. */
export function page<Name extends TSchema>(after: Name) {
  return Type.Object(
    {
      after: Type.Optional(after),
      limit: Type.Integer({ minimum: 1, maximum: OPERATOR_PAGE_MAX, default: 100 }),
      tenant: Type.Optional(Tenant),
    },
    { additionalProperties: false },
  );
}

/** The value, or on the way to the sender why there is none. */
export function taken<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Refused(result);
}

/** Logs a change that is durable; answers what it made. */
export function changed<T>({ log, operator }: FastifyRequest, what: string, value: T, about: (value: T) => string): T {
  log.info({ token: operator.id, what, about: about(value) }, "operator acted");
  return value;
}
