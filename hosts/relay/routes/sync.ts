import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { toHex } from "tallystick/bytes/bytes";
import { CODES, type Code, fail } from "tallystick/codes/codes";
import { encodeCbor } from "tallystick/record/cbor";
import { ANSWER_MAX_BYTES, type Request, readRequest } from "tallystick/sync/messages";
import Type from "typebox";
import { type AcknowledgerOptions, acknowledge, checkPinned } from "../acknowledge.js";
import type { Attempts } from "../attempts.js";
import { CHALLENGE_LIFETIME_S, type Challenges } from "../challenge.js";
import { type EnrolmentOptions, enrolDevice } from "../enrolment.js";
import type { RelayEvents } from "../events.js";
import { openBatch } from "../ingest.js";
import type { Intake } from "../intake.js";
import { type Refusal, Refused } from "../problem.js";
import { heldBack } from "../standing.js";
import type { StoredDevice } from "../store/store.js";
import { succeedDevice } from "../succession.js";
import { CBOR_SEQUENCE_TYPE, CBOR_TYPE, CborBody, checkedBytes, KidParams, kidOfParams } from "./shapes.js";

/** The calls of modules/sync/SPEC.md by which a device talks for itself. Bodies are CBOR, read by the strict reader; schemas cover the rest. */

export interface SyncRoutesOptions extends EnrolmentOptions, AcknowledgerOptions {
  readonly challenges: Challenges;
  /** How often an address may fail to enrol or to succeed. */
  readonly attempts: Attempts;
  readonly intake: Intake;
  /** New records are durable: the sequencer has something to do. */
  readonly onStored: () => void;
  /** Why nothing may be taken in now; undefined in health. */
  readonly refusal: () => Refusal | undefined;
  readonly events: RelayEvents;
}

declare module "fastify" {
  interface FastifyRequest {
    /** The enrolled device that the path names: known before a byte of the body is read. */
    device: StoredDevice;
  }
}

const PageQuery = Type.Object(
  {
    from: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
    to: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: Number.MAX_SAFE_INTEGER }),
  },
  { additionalProperties: false },
);

export function syncRoutes(app: FastifyInstance, options: SyncRoutesOptions): void {
  const { store } = options;
  app.decorateRequest("device");

  const admitDevice = async (request: FastifyRequest): Promise<void> => {
    const kid = kidOfParams(request.params);
    const device = store.deviceByKid(kid);
    if (!device) throw new Refused(fail("DEVICE_UNKNOWN", `expected an enrolled kid, received ${toHex(kid)}`));
    request.device = device;
  };
  const admitWord = async (request: FastifyRequest): Promise<void> => {
    const held = heldBack(store, request.device.device);
    if (held) throw new Refused(held);
  };
  const admitBatch = async ({ device, ip }: FastifyRequest): Promise<void> => {
    const refusal = options.intake.refusal(device, ip);
    if (refusal) throw new Refused(refusal);
  };
  const admitWrites = async (): Promise<void> => {
    const refusal = options.refusal();
    if (refusal) throw new Refused(refusal);
  };
  const admitAttempt = async ({ ip }: FastifyRequest): Promise<void> => {
    const refusal = options.attempts.refusal(ip);
    if (refusal) throw new Refused(refusal);
  };
  const limited = {
    // Again when the body is there: while many are on their way none of them has failed yet.
    preHandler: admitAttempt,
    onError: async ({ ip }: FastifyRequest, _reply: FastifyReply, error: FastifyError): Promise<void> => {
      if (isFailedAttempt(error)) options.attempts.failed(ip);
    },
  };

  app.get("/v1/challenge", { schema: { summary: "A challenge to sign for enrolment" } }, async (_request, reply) => {
    const challenge = new Map<number, Uint8Array | number>([
      [1, options.challenges.issue()],
      [2, CHALLENGE_LIFETIME_S],
    ]);
    return send(reply.header("cache-control", "no-store"), CBOR_TYPE, encodeCbor(challenge));
  });

  app.post<{ Body: Uint8Array }>(
    "/v1/devices",
    { schema: { summary: "Enrol a device", body: CborBody }, onRequest: [admitAttempt, admitWrites], ...limited },
    async (request, reply) => {
      const enrolled = enrolDevice(options, bodyOf(request), (sent) => checkPinned(options.log, sent));
      if ("refusal" in enrolled) throw new Refused(enrolled.refusal);
      if (enrolled.isNew) {
        request.log.info({ kid: toHex(enrolled.device.kid) }, "device enrolled");
        options.onStored();
      }
      return answer(reply, enrolled.device, enrolled.request);
    },
  );

  app.post<{ Body: Uint8Array }>(
    "/v1/devices/:kid/head",
    { schema: { summary: "Where the relay stands", params: KidParams, body: CborBody }, onRequest: admitDevice },
    async (request, reply) => {
      const read = readRequest(bodyOf(request));
      if (!read.ok) throw new Refused(read);
      return answer(reply, request.device, read.value);
    },
  );

  app.post<{ Body: Uint8Array }>(
    "/v1/devices/:kid/records",
    {
      schema: { summary: "Records that follow the chain's head", params: KidParams, body: CborBody },
      onRequest: [admitDevice, admitWord, admitWrites, admitBatch],
      // Again when the body is there: many may have come meanwhile.
      preHandler: admitBatch,
    },
    async (request, reply) => {
      const batch = openBatch(bodyOf(request));
      if (!batch.ok) throw new Refused(batch);
      const behind = checkPinned(options.log, batch.value.request);
      if (behind) throw new Refused({ failure: behind });
      const { stored, repeated, refusal } = await options.intake.take(request.device, batch.value.records, request.ip);
      const kid = toHex(request.device.kid);
      options.events.emit({ event: "records", kid, stored, repeated });
      if (refusal) {
        options.events.emit({
          event: "refused",
          kid,
          ...refusal.failure,
          ...(refusal.members && { members: refusal.members }),
        });
        request.log.warn({ kid: toHex(request.device.kid), stored, repeated, ...refusal.failure }, "record refused");
        if (stored + repeated === 0) throw new Refused(refusal);
      }
      return answer(reply, request.device, batch.value.request);
    },
  );

  app.post<{ Body: Uint8Array }>(
    "/v1/devices/:kid/succession",
    {
      schema: { summary: "Close the chain in favour of a new key", params: KidParams, body: CborBody },
      onRequest: [admitAttempt, admitDevice, admitWrites],
      ...limited,
    },
    async (request, reply) => {
      const succeeded = succeedDevice(options, request.device, bodyOf(request), (sent) =>
        checkPinned(options.log, sent),
      );
      if ("refusal" in succeeded) {
        const kid = toHex(request.device.kid);
        request.log.warn({ kid, ...succeeded.refusal.failure }, "succession refused");
        throw new Refused(succeeded.refusal);
      }
      if (succeeded.isNew) {
        const [kid, former] = [toHex(succeeded.device.kid), toHex(request.device.kid)];
        request.log.info({ kid, former }, "device succeeded");
        options.onStored();
      }
      return answer(reply, succeeded.device, succeeded.request);
    },
  );

  app.get<{ Querystring: Type.Static<typeof PageQuery> }>(
    "/v1/devices/:kid/records",
    {
      schema: {
        summary: "Records of a chain, gap records that wait for their position among them, cut before 65,536 bytes",
        params: KidParams,
        querystring: PageQuery,
      },
      onRequest: admitDevice,
    },
    async (request, reply) => {
      const page: Uint8Array[] = [];
      let length = 0;
      for (const record of recordsWithGaps(request.device.device, request.query)) {
        length += record.bytes.length;
        if (length > ANSWER_MAX_BYTES) break;
        page.push(checkedBytes(options.crypto, record));
      }
      return send(reply, CBOR_SEQUENCE_TYPE, Buffer.concat(page));
    },
  );

  /** In order. A position has either: a gap record that has come at its own waits no longer. */
  function* recordsWithGaps(device: number, { from, to }: Type.Static<typeof PageQuery>) {
    const waiting = store.gaps.pending(device).filter(({ seq }) => seq >= from && seq <= to);
    for (const record of store.recordsBetween(device, from, to)) {
      while (waiting[0] && waiting[0].seq < record.seq) yield waiting.shift()!;
      yield record;
    }
    yield* waiting;
  }

  async function answer(reply: FastifyReply, device: StoredDevice, request: Request): Promise<FastifyReply> {
    const behind = checkPinned(options.log, request);
    if (behind) throw new Refused({ failure: behind });
    const acknowledgement = await acknowledge(options, device, request);
    if (!acknowledgement.ok) throw new Refused(acknowledgement);
    return send(reply.header("cache-control", "no-store"), CBOR_TYPE, acknowledgement.value);
  }
}

/** Refusals that say nothing against the sender: what it must wait for, and that this relay was set back. */
const NO_ATTEMPT: readonly Code[] = ["ATTEMPTS_EXHAUSTED", "RELAY_BEHIND"];

/** Whether the sender was at fault; a relay that cannot take anything in just now is not held against anyone. */
function isFailedAttempt(error: FastifyError): boolean {
  if (error instanceof Refused) {
    const { code } = error.refusal.failure;
    return CODES[code].status < 500 && !NO_ATTEMPT.includes(code);
  }
  return error.statusCode !== undefined && error.statusCode < 500;
}

/** A request without a body has none of the parsers' either. */
function bodyOf(request: FastifyRequest): Uint8Array {
  if (request.body instanceof Uint8Array) return request.body;
  throw new Refused(fail("MESSAGE_MALFORMED", "expected a body, received none"));
}

function send(reply: FastifyReply, type: string, bytes: Uint8Array): FastifyReply {
  return reply.type(type).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
