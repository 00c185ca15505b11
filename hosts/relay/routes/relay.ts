import type { FastifyInstance } from "fastify";
import type { Failure } from "tallystick/codes/codes";
import Type from "typebox";
import type { WitnessView } from "../cosigning/cosigning.js";
import { PROBLEM_TYPE, problemOf } from "../problem.js";

/** What the relay says of itself: who it is, and whether it is well. */

const LedgerShape = Type.Object({
  name: Type.String(),
  contract: Type.String(),
  chain_id: Type.Optional(Type.Integer()),
  rpc_url: Type.Optional(Type.String()),
});

const WitnessShape = Type.Object({
  key: Type.String({ description: "the witness's verifier key (C2SP tlog-cosignature)" }),
  cosigned_size: Type.Integer({ description: "largest tree that it has cosigned for this process" }),
  failure: Type.Optional(Type.String({ description: "code of why it did not when it was asked last" })),
});

export const RelayShape = Type.Object({
  origin: Type.String({ description: "name of the relay and of its log" }),
  device_key: Type.String({ description: "device-facing Ed25519 key, hexadecimal: devices pin it" }),
  log_key: Type.String({ description: "the log's verifier key (C2SP signed-note)" }),
  recovery_key: Type.Optional(Type.String({ description: "offline recovery key, hexadecimal: devices pin it" })),
  generation: Type.Integer({ description: "how often the keys have changed: devices pin it" }),
  log_within_s: Type.Integer({ description: "seconds within which an acknowledged record is in a checkpoint" }),
  enrolment: Type.Array(Type.Union([Type.Literal("token"), Type.Literal("maker"), Type.Literal("open")]), {
    description: "what lets a device in: a token, a statement of a trusted maker, nothing",
  }),
  ledger: Type.Optional(LedgerShape),
  witnesses: Type.Optional(Type.Array(WitnessShape, { description: "who is asked to cosign checkpoints" })),
});
export type RelayView = Type.Static<typeof RelayShape>;

const ReadyShape = Type.Object({
  ready: Type.Literal(true),
  log_size: Type.Integer(),
  submitted_size: Type.Integer(),
  final_size: Type.Integer(),
  witnessed_size: Type.Optional(Type.Integer()),
  mqtt: Type.Optional(
    Type.Union([Type.Literal("connected"), Type.Literal("away")], {
      description: "the broker, where the relay has one: away is a warning, since the relay is there over HTTP",
    }),
  ),
});
export type ReadyView = Type.Static<typeof ReadyShape>;

/** Its address is the operator's alone: it may be of a network inside. */
export function viewWitness({ key, cosignedSize, failure }: WitnessView): Type.Static<typeof WitnessShape> {
  return { key, cosigned_size: cosignedSize, ...(failure && { failure: failure.code }) };
}

/** RFC 9457. */
const ProblemShape = Type.Object(
  { code: Type.String(), title: Type.String(), status: Type.Integer(), detail: Type.String() },
  { additionalProperties: true },
);

export interface RelayRoutesOptions {
  readonly describe: () => RelayView;
  /** Looks whether the store can be written, the log advances and the ledger moves. */
  readonly checkReady: () => { readonly failure: Failure } | ReadyView;
}

export function relayRoutes(app: FastifyInstance, { describe, checkReady }: RelayRoutesOptions): void {
  app.get("/v1/relay", { schema: { summary: "Who this relay is", response: { 200: RelayShape } } }, async () =>
    describe(),
  );

  app.get("/livez", { schema: { summary: "The process answers" } }, async (_request, reply) =>
    reply.header("cache-control", "no-store").type("text/plain").send("ok\n"),
  );

  app.get(
    "/readyz",
    { schema: { summary: "Store, log and ledger work", response: { 200: ReadyShape, 503: ProblemShape } } },
    async (_request, reply) => {
      const found = checkReady();
      reply.header("cache-control", "no-store");
      // Whatever is wrong, the answer to a probe is 503; the code says what.
      if ("failure" in found)
        return reply
          .code(503)
          .type(PROBLEM_TYPE)
          .send({ ...problemOf(found), status: 503 });
      return found;
    },
  );
}
