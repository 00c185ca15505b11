import type { FastifyInstance } from "fastify";
import { fromHex, utf8 } from "tallystick/bytes/bytes";
import { REASON_MAX_BYTES } from "tallystick/chain/revocation";
import { fail, type Result } from "tallystick/codes/codes";
import Type from "typebox";
import type { DeviceStanding } from "../../operate.js";
import { Refused } from "../../problem.js";
import { LevelsShape } from "../devices.js";
import { Kid, KidParams, kidOfParams, RecordId } from "../shapes.js";
import type { OperatorRoutesOptions } from "./operator.js";
import { changed, Milliseconds, page, Tenant, taken } from "./shapes.js";

/** The devices of the credential's tenant, and what is decided about them: as `tallystick device` does it. */

export const DeviceShape = Type.Object({
  kid: Kid,
  did: Type.String(),
  print: Type.String({ description: "of its key, to compare by eye" }),
  tenant: Tenant,
  model: Type.String(),
  state: Type.Union([Type.Literal("active"), Type.Literal("forked"), Type.Literal("closed")]),
  seq: Type.Integer({ description: "position of the newest record that is held" }),
  enrolled_at_ms: Milliseconds,
  heard_at_ms: Type.Integer({ description: "when the newest record came, milliseconds since 1970" }),
  mark_interval_s: Type.Integer({ description: "how often it has said that it will be heard" }),
  silent: Type.Boolean({ description: "it is not heard as it has said, and as much as the relay puts up with" }),
  missing: Type.Integer({ description: "positions that gap records name" }),
  held_since_ms: Type.Optional(Milliseconds),
  revoked_from: Type.Optional(Type.Integer()),
  forks: Type.Array(Type.Object({ seq: Type.Integer(), held: Type.Optional(RecordId), received: RecordId })),
  decisions: Type.Array(Type.Object({ what: Type.String(), at_ms: Milliseconds })),
  ...LevelsShape.properties,
});
const DevicesShape = Type.Object({ devices: Type.Array(DeviceShape), next: Type.Optional(Kid) });
const PageQuery = page(Kid);
const DecisionBody = Type.Object(
  { what: Type.Union([Type.Literal("hold"), Type.Literal("continue")]) },
  { additionalProperties: false },
);
const RevocationBody = Type.Object(
  {
    from_seq: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "the first that does not count",
    }),
    reason: Type.Optional(
      Type.String({ minLength: 1, description: `signed and public, at most ${REASON_MAX_BYTES} bytes of UTF-8` }),
    ),
  },
  { additionalProperties: false },
);

export function operatorDeviceRoutes(app: FastifyInstance, options: OperatorRoutesOptions): void {
  const { administration, operate } = options;
  app.get<{ Querystring: Type.Static<typeof PageQuery> }>(
    "/v1/operator/devices",
    {
      schema: {
        summary: "Devices in the order of their kids",
        operator: { role: "viewer" },
        querystring: PageQuery,
        response: { 200: DevicesShape },
      },
    },
    async (request): Promise<Type.Static<typeof DevicesShape>> => {
      const { after, limit, tenant } = request.query;
      const scope = taken(administration(request).scope(tenant));
      const from = after === undefined ? new Uint8Array(0) : fromHex(after)!;
      const found = operate(request).page(from, limit + 1, scope);
      const devices = found.slice(0, limit);
      const levels = options.levelsNow();
      return {
        devices: devices.map((device) => viewOf(device, levels)),
        ...(found.length > limit && { next: devices.at(-1)!.kid }),
      };
    },
  );

  app.get(
    "/v1/operator/devices/:kid",
    {
      schema: {
        summary: "One device, its forks, what was decided",
        operator: { role: "viewer" },
        params: KidParams,
        response: { 200: DeviceShape },
      },
    },
    async (request) => answer(operate(request).device(kidOfParams(request.params))),
  );

  app.post<{ Body: Type.Static<typeof DecisionBody> }>(
    "/v1/operator/devices/:kid/decision",
    {
      schema: {
        summary: "Hold the device's key back, or let it go on",
        operator: { role: "operator" },
        params: KidParams,
        body: DecisionBody,
        response: { 200: DeviceShape },
      },
    },
    async (request) => {
      const kid = kidOfParams(request.params);
      const { what } = request.body;
      return changed(request, `device ${what}`, answer(operate(request).decide(kid, what)), ({ kid }) => kid);
    },
  );

  app.post<{ Body: Type.Static<typeof RevocationBody> }>(
    "/v1/operator/devices/:kid/revocation",
    {
      schema: {
        summary: "Revoke the device's key by the operator's statement, where genesis names no owner",
        operator: { role: "operator" },
        params: KidParams,
        body: RevocationBody,
        response: { 200: DeviceShape },
      },
    },
    async (request) => {
      const { from_seq, reason } = request.body;
      if (reason !== undefined && utf8(reason).length > REASON_MAX_BYTES)
        throw new Refused(fail("REQUEST_BODY_INVALID", `expected at most ${REASON_MAX_BYTES} bytes as reason`));
      const revocation = { fromSeq: from_seq, ...(reason !== undefined && { reason }) };
      const revoked = operate(request).revoke(kidOfParams(request.params), revocation);
      return changed(request, "device revoke", answer(revoked), ({ kid }) => kid);
    },
  );

  function answer(device: Result<DeviceStanding>): Type.Static<typeof DeviceShape> {
    return viewOf(taken(device));
  }

  function viewOf(standing: DeviceStanding, levels = options.levelsNow()): Type.Static<typeof DeviceShape> {
    const { kid, enrolledAtMs, heardAtMs, markIntervalS, heldSinceMs, revokedFrom, forks, decisions, ...rest } =
      standing;
    return {
      ...rest,
      kid,
      enrolled_at_ms: enrolledAtMs,
      heard_at_ms: heardAtMs,
      mark_interval_s: markIntervalS,
      silent: options.isSilent(standing),
      ...(heldSinceMs !== undefined && { held_since_ms: heldSinceMs }),
      ...(revokedFrom !== undefined && { revoked_from: revokedFrom }),
      forks: [...forks],
      decisions: decisions.map(({ what, atMs }) => ({ what, at_ms: atMs })),
      ...levels(fromHex(kid)!),
    };
  }
}
