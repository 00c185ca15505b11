import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import Type from "typebox";
import type { Attempts } from "../attempts.js";
import type { Admitted, CallAnswer, Caller, Calls, Range } from "../calls.js";
import { CborBody, KidParams, kidOfParams } from "./shapes.js";

/** HTTP's face of the calls by which a device talks for itself. Bodies are CBOR, read by the strict reader; schemas cover the rest. */

export interface SyncRoutesOptions {
  readonly calls: Calls;
  /** How often an address may fail to enrol or to succeed. */
  readonly attempts: Attempts;
}

declare module "fastify" {
  interface FastifyRequest {
    /** The call, let in before a byte of the body was read. */
    admitted: Admitted;
    /** The same of a page of records. */
    admittedPage: (range: Range) => CallAnswer;
  }
}

const PageQuery = Type.Object(
  {
    from: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
    to: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: Number.MAX_SAFE_INTEGER }),
  },
  { additionalProperties: false },
);

const KeysQuery = Type.Object(
  { generation: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }) },
  { additionalProperties: false },
);

export function syncRoutes(app: FastifyInstance, { calls, attempts }: SyncRoutesOptions): void {
  app.decorateRequest("admitted");
  app.decorateRequest("admittedPage");

  const callerOf = ({ ip, log }: FastifyRequest): Caller => ({ place: ip, attempts, log });
  const limited = {
    onError: async (request: FastifyRequest, _reply: FastifyReply, error: FastifyError): Promise<void> =>
      calls.failed(callerOf(request), error),
  };
  const admit = (call: (request: FastifyRequest) => Admitted) => ({
    onRequest: async (request: FastifyRequest): Promise<void> => {
      request.admitted = call(request);
    },
  });
  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    // A request without a body has none of the parsers' either.
    send(reply, await request.admitted(request.body instanceof Uint8Array ? request.body : undefined));

  app.get("/v1/challenge", { schema: { summary: "A challenge to sign for enrolment" } }, async (_request, reply) =>
    send(reply, calls.challenge()),
  );

  app.get<{ Querystring: Type.Static<typeof KeysQuery> }>(
    "/v1/relay/keys",
    { schema: { summary: "Statements that changed the relay's keys", querystring: KeysQuery } },
    async (request, reply) => send(reply, calls.relayKeys(request.query.generation)),
  );

  app.post(
    "/v1/devices",
    {
      schema: { summary: "Enrol a device", body: CborBody },
      ...admit((request) => calls.enrolment(callerOf(request))),
      ...limited,
    },
    answer,
  );

  app.post(
    "/v1/devices/:kid/head",
    {
      schema: { summary: "Where the relay stands", params: KidParams, body: CborBody },
      ...admit(({ params }) => calls.head(kidOfParams(params))),
    },
    answer,
  );

  app.post(
    "/v1/devices/:kid/records",
    {
      schema: { summary: "Records that follow the chain's head", params: KidParams, body: CborBody },
      ...admit((request) => calls.records(callerOf(request), kidOfParams(request.params))),
    },
    answer,
  );

  app.post(
    "/v1/devices/:kid/succession",
    {
      schema: { summary: "Close the chain in favour of a new key", params: KidParams, body: CborBody },
      ...admit((request) => calls.succession(callerOf(request), kidOfParams(request.params))),
      ...limited,
    },
    answer,
  );

  app.get<{ Querystring: Type.Static<typeof PageQuery> }>(
    "/v1/devices/:kid/records",
    {
      schema: {
        summary: "Records of a chain, gap records that wait for their position among them, cut before 65,536 bytes",
        params: KidParams,
        querystring: PageQuery,
      },
      onRequest: async (request) => {
        request.admittedPage = calls.page(kidOfParams(request.params));
      },
    },
    async (request, reply) => send(reply, request.admittedPage(request.query)),
  );
}

function send(reply: FastifyReply, { type, bytes, isFleeting }: CallAnswer): FastifyReply {
  if (isFleeting) reply.header("cache-control", "no-store");
  return reply.type(type).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
