import type { FastifyInstance } from "fastify";
import { equalBytes, fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeForkProof } from "tallystick/chain/fork";
import { REVOCATION_TYP } from "tallystick/chain/revocation";
import { fail } from "tallystick/codes/codes";
import { didKey } from "tallystick/identity/key";
import { BATCH_MAX_BYTES } from "tallystick/sync/messages";
import Type from "typebox";
import { STATEMENT } from "../operators/roles.js";
import { type Refusal, Refused } from "../problem.js";
import { genesisOf, type InForce, revokeKey, type StandingOptions } from "../standing.js";
import { isErased } from "../store/erasures.js";
import type { Ladder, Step } from "../store/ladder.js";
import { OperatorStore } from "../store/operators.js";
import type { Store, StoredDevice, StoredRecord } from "../store/store.js";
import {
  CBOR_SEQUENCE_TYPE,
  CborBody,
  checkedBytes,
  erasedRefusal,
  ForkParams,
  Kid,
  KidParams,
  kidOfParams,
  RecordId,
} from "./shapes.js";

/** The fleet as the relay holds it: each device's chain on the ladder received → logged → submitted → final. */

export interface DeviceRoutesOptions extends StandingOptions {
  readonly ladder: Ladder;
  /** Why nothing may be taken in now; undefined in health. */
  readonly refusal: () => Refusal | undefined;
}

export const DEVICES_PAGE_MAX = 1000;
/** Late records looked at for one answer, which has at most the bytes of a batch. */
const LATE_PAGE_MAX = 1000;
export const FORK_TYPE = "application/vnd.tallystick.fork+cbor";

const LateQuery = Type.Object(
  { from: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }) },
  { additionalProperties: false },
);

const Milliseconds = Type.Integer({ description: "milliseconds since 1970" });

/** How far the chain has come: the position there, how many records are, when the last of them arrived. */
const LevelShape = Type.Object({ seq: Type.Integer(), id: RecordId, count: Type.Integer(), at_ms: Milliseconds });

/** The steps that a device's chain has come to. */
export const LevelsShape = Type.Object({
  received: LevelShape,
  logged: Type.Optional(LevelShape),
  submitted: Type.Optional(LevelShape),
  final: Type.Optional(LevelShape),
});

const DeviceShape = Type.Object({
  kid: Kid,
  did: Type.String(),
  state: Type.Union([Type.Literal("active"), Type.Literal("forked"), Type.Literal("closed")]),
  model: Type.String(),
  firmware: Type.String(),
  quantities: Type.Array(Type.Object({ name: Type.String(), unit: Type.String() })),
  mark_interval_s: Type.Integer(),
  genesis_id: RecordId,
  enrolled_at_ms: Milliseconds,
  ...LevelsShape.properties,
  successor: Type.Optional(Kid),
  late: Type.Optional(Type.Integer({ description: "records that arrived after the succession, outside of the chain" })),
  held_since_ms: Type.Optional(Type.Integer({ description: "nothing of the key is taken since then" })),
  revoked: Type.Optional(Type.Object({ from_seq: Type.Integer(), at_ms: Milliseconds })),
  forks: Type.Array(Type.Object({ seq: Type.Integer(), held: RecordId, received: RecordId })),
});
const DevicesShape = Type.Object({
  devices: Type.Array(DeviceShape),
  total: Type.Integer(),
  next: Type.Optional(Kid),
});
const PageQuery = Type.Object(
  { after: Type.Optional(Kid), limit: Type.Integer({ minimum: 1, maximum: DEVICES_PAGE_MAX, default: 100 }) },
  { additionalProperties: false },
);

export function deviceRoutes(app: FastifyInstance, options: DeviceRoutesOptions): void {
  const { store, crypto } = options;
  const audit = new OperatorStore(store.database);

  app.get<{ Querystring: Type.Static<typeof PageQuery> }>(
    "/v1/devices",
    {
      schema: {
        summary: "Devices in the order of their kids",
        querystring: PageQuery,
        response: { 200: DevicesShape },
      },
    },
    async (request): Promise<Type.Static<typeof DevicesShape>> => {
      const { after, limit } = request.query;
      const found = store.devicesAfter(after === undefined ? new Uint8Array(0) : fromHex(after)!, limit + 1);
      const page = found.slice(0, limit);
      const levels = levelsNow(options);
      return {
        devices: page.map((device) => describeDevice(options, device, levels)),
        total: store.countDevices(),
        ...(found.length > limit && { next: toHex(page[page.length - 1]!.kid) }),
      };
    },
  );

  app.get(
    "/v1/devices/:kid",
    { schema: { summary: "One device", params: KidParams, response: { 200: DeviceShape } } },
    async (request): Promise<Type.Static<typeof DeviceShape>> => {
      return describeDevice(options, enrolled(kidOfParams(request.params)));
    },
  );

  app.get<{ Params: Type.Static<typeof ForkParams> }>(
    "/v1/devices/:kid/forks/:id",
    { schema: { summary: "Proof of a fork, by the id that its device lists as received", params: ForkParams } },
    async (request, reply) => {
      const { device, publicKey } = enrolled(kidOfParams(request.params));
      const received = fromHex(request.params.id)!;
      const fork = store.forks(device).find(({ id }) => equalBytes(id, received));
      const held = fork && heldAt(store, device, fork.seq);
      if (!held) throw new Refused(fail("RECORD_UNKNOWN", `no fork has the id ${request.params.id}`));
      for (const each of [held, fork]) {
        const erased = store.erasures.record(each.id);
        if (erased) throw new Refused(erasedRefusal(erased));
      }
      const [first, second] = [checkedBytes(crypto, held), checkedBytes(crypto, fork)];
      return reply.type(FORK_TYPE).send(Buffer.from(encodeForkProof(crypto.sha256, publicKey, first, second)));
    },
  );

  app.get<{ Querystring: Type.Static<typeof LateQuery> }>(
    "/v1/devices/:kid/late",
    {
      schema: {
        summary:
          "Records that came for a chain after its succession, outside of it and of the log, cut before 65,536 bytes",
        params: KidParams,
        querystring: LateQuery,
      },
    },
    async (request, reply) => {
      const { device } = enrolled(kidOfParams(request.params));
      const page: Uint8Array[] = [];
      let bytes = 0;
      for (const record of store.successions.lateFrom(device, request.query.from, LATE_PAGE_MAX)) {
        const erased = isErased(record) ? store.erasures.record(record.id) : undefined;
        // As a page of a chain's records: what was erased ends it.
        if (erased && page.length === 0) throw new Refused(erasedRefusal(erased));
        bytes += record.bytes.length;
        if (erased || bytes > BATCH_MAX_BYTES) break;
        page.push(checkedBytes(crypto, record));
      }
      return reply.type(CBOR_SEQUENCE_TYPE).send(Buffer.concat(page));
    },
  );

  app.get(
    "/v1/devices/:kid/revocation",
    { schema: { summary: "The statement that revokes the device's key", params: KidParams } },
    async (request, reply) => {
      const kid = kidOfParams(request.params);
      const revocation = store.standing.revocation(enrolled(kid).device);
      if (!revocation) throw new Refused(fail("REVOCATION_UNKNOWN", `no statement revokes ${toHex(kid)}`));
      return reply.type(REVOCATION_TYP).send(Buffer.from(revocation.statement));
    },
  );

  app.post<{ Body: Uint8Array }>(
    "/v1/devices/:kid/revocation",
    {
      schema: { summary: "Revoke the device's key by its owner's statement", params: KidParams, body: CborBody },
      onRequest: async () => {
        const refusal = options.refusal();
        if (refusal) throw new Refused(refusal);
      },
    },
    async (request, reply) => {
      if (!(request.body instanceof Uint8Array))
        throw new Refused(fail("STATEMENT_MALFORMED", "expected a statement as body, received none"));
      const device = enrolled(kidOfParams(request.params));
      const statement = request.body.slice();
      const revoked = store.transaction(() => {
        const done = revokeKey(options, device, statement);
        // An earlier one that reaches as far back stays, and then nothing has changed.
        if (done.ok && done.value.statement === statement) note(device, done.value);
        return done;
      });
      if (!revoked.ok) throw new Refused(revoked);
      request.log.warn({ kid: toHex(device.kid), from: revoked.value.fromSeq }, "key revoked");
      return reply.type(REVOCATION_TYP).send(Buffer.from(revoked.value.statement));
    },
  );

  /** Call inside the transaction of what it is about. */
  function note({ kid, tenant }: StoredDevice, { fromSeq, by }: InForce): void {
    const change = { tenant, what: "device revoke", about: toHex(kid), detail: { from_seq: fromSeq, signed_by: by } };
    audit.addChange({ who: STATEMENT, ...change }, options.nowMs());
  }

  function enrolled(kid: Uint8Array): StoredDevice {
    const device = store.deviceByKid(kid);
    if (!device) throw new Refused(fail("DEVICE_UNKNOWN", `expected an enrolled kid, received ${toHex(kid)}`));
    return device;
  }
}

/** What `GET /v1/devices/{kid}` answers. */
export function describeDevice(
  options: DeviceRoutesOptions,
  device: StoredDevice,
  levels = levelsNow(options),
): Type.Static<typeof DeviceShape> {
  const { store } = options;
  const { model, firmware, quantities, markIntervalS } = genesisOf(options, device);
  const succession = store.successions.of(device.device);
  const heldSinceMs = store.standing.heldSinceMs(device.device);
  const revocation = store.standing.revocation(device.device);
  return {
    kid: toHex(device.kid),
    did: didKey(device.publicKey),
    state: device.state,
    model,
    firmware: firmware.version,
    quantities: quantities.map(({ name, unit }) => ({ name, unit })),
    mark_interval_s: markIntervalS,
    genesis_id: toHex(device.genesisId),
    enrolled_at_ms: device.enrolledAtMs,
    ...levels(device),
    ...(succession && {
      successor: toHex(store.deviceByNumber(succession.successor).kid),
      late: store.successions.countLate(device.device),
    }),
    ...(heldSinceMs !== undefined && { held_since_ms: heldSinceMs }),
    ...(revocation && { revoked: { from_seq: revocation.fromSeq, at_ms: revocation.revokedAtMs } }),
    forks: store.forks(device.device).map(({ seq, id }) => ({
      seq,
      held: toHex(heldAt(store, device.device, seq)!.id),
      received: toHex(id),
    })),
  };
}

export type Levels = Type.Static<typeof LevelsShape>;

/** How far the chain of each of several devices has come, all at one moment. */
export function levelsNow({
  store,
  ladder,
}: Pick<DeviceRoutesOptions, "store" | "ladder">): (of: StoredDevice) => Levels {
  const sizes = (["logged", "submitted", "final"] as const).map((step) => [step, ladder.sizeAt(step)] as const);
  return ({ device }) => {
    const head = store.head(device);
    const steps: Partial<Record<Step, Type.Static<typeof LevelShape>>> = {};
    for (const [step, size] of sizes) {
      const last = size > 0 ? store.lastInLog(device, size) : undefined;
      if (last) steps[step] = levelOf(store, last, ladder.timeOf(step, last.logIndex!) ?? last.receivedAtMs);
    }
    return { received: levelOf(store, head, head.receivedAtMs), ...steps };
  };
}

/** What another record at `seq` stands against: in the chain, late behind it, or waiting for its position. */
function heldAt(store: Store, device: number, seq: number): Pick<StoredRecord, "id" | "seq" | "bytes"> | undefined {
  return (
    store.recordAt(device, seq) ??
    store.successions.lateAt(device, seq) ??
    store.gaps.pending(device).find((gap) => gap.seq === seq)
  );
}

/** A chain's position counts its records, but for those that gap records name. */
function levelOf(store: Store, { device, seq, id }: StoredRecord, atMs: number): Type.Static<typeof LevelShape> {
  return { seq, id: toHex(id), count: seq + 1 - store.gaps.missing(device, seq), at_ms: atMs };
}
