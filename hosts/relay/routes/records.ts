import type { FastifyInstance, FastifyReply } from "fastify";
import { fromHex } from "tallystick/bytes/bytes";
import { fail } from "tallystick/codes/codes";
import { parseRecord } from "tallystick/record/record";
import type Type from "typebox";
import { backdating } from "../dating.js";
import { composeEvidence, type EvidenceOptions } from "../evidence.js";
import { Refused } from "../problem.js";
import type { Ladder } from "../store/ladder.js";
import type { StoredRecord } from "../store/store.js";
import { RecordShape, type RecordView, viewRecord } from "./record-json.js";
import { checkedBytes, erasedRefusal, RecordParams } from "./shapes.js";

/** One record by its id: its bytes, a view of them, and the proofs that the relay can add. */

export interface RecordRoutesOptions extends EvidenceOptions {
  readonly ladder: Ladder;
}

/** RFC 9052 §11.3.3. */
export const RECORD_TYPE = 'application/cose; cose-type="cose-sign1"';
export const EVIDENCE_TYPE = "application/vnd.tallystick.evidence+cbor";
/** A record never changes. */
const FOR_EVER = "public, max-age=31536000, immutable";

export function recordRoutes(app: FastifyInstance, options: RecordRoutesOptions): void {
  const { store, crypto, log } = options;

  app.get<{ Params: Type.Static<typeof RecordParams> }>(
    "/v1/records/:id",
    {
      schema: {
        summary: "A record's bytes; with Accept: application/json a view of them",
        params: RecordParams,
        response: { "200": { content: { "application/json": { schema: RecordShape } } } },
      },
    },
    async (request, reply) => {
      const stored = findWhole(request.params.id);
      reply.header("vary", "accept");
      if (!wantsJson(request.headers.accept))
        return send(reply.header("cache-control", FOR_EVER), RECORD_TYPE, checkedBytes(crypto, stored));
      return reply.type("application/json").send(view(stored));
    },
  );

  app.get<{ Params: Type.Static<typeof RecordParams> }>(
    "/v1/records/:id/receipt",
    { schema: { summary: "COSE Receipt (RFC 9942) that the record is in the log", params: RecordParams } },
    async (request, reply) => {
      const { logIndex } = find(request.params.id);
      if (logIndex === undefined || logIndex >= log.head.size)
        throw new Refused({ ...fail("RECORD_NOT_LOGGED", `the log has ${log.head.size} entries`), retryAfterS: 2 });
      const receipt = await log.receipt(logIndex);
      if (!receipt.ok) throw new Refused(receipt);
      return send(reply, RECORD_TYPE, receipt.value);
    },
  );

  app.get<{ Params: Type.Static<typeof RecordParams> }>(
    "/v1/records/:id/evidence",
    { schema: { summary: "Evidence of the record, to be verified offline", params: RecordParams } },
    async (request, reply) => {
      const evidence = await composeEvidence(options, findWhole(request.params.id).id);
      if (!evidence.ok) throw new Refused(evidence);
      return send(reply, EVIDENCE_TYPE, evidence.value);
    },
  );

  function find(hex: string): StoredRecord {
    const stored = store.recordById(fromHex(hex)!);
    if (!stored) throw new Refused(fail("RECORD_UNKNOWN", `no record has the id ${hex}`));
    return stored;
  }

  function findWhole(hex: string): StoredRecord {
    const stored = find(hex);
    const erased = store.erasures.record(stored.id);
    if (erased) throw new Refused(erasedRefusal(erased));
    return stored;
  }

  function view(stored: StoredRecord): RecordView {
    const record = parseRecord(checkedBytes(crypto, stored));
    if (!record.ok) throw new Error(`the stored record does not parse: ${record.failure.detail}`);
    const { logIndex } = stored;
    const found = backdating(store, stored.device, record.value, stored.receivedAtMs);
    const times: { logged_at_ms?: number; submitted_at_ms?: number; final_at_ms?: number } = {};
    if (logIndex !== undefined)
      for (const step of ["logged", "submitted", "final"] as const) {
        const time = options.ladder.timeOf(step, logIndex);
        if (time !== undefined) times[`${step}_at_ms`] = time;
      }
    return {
      ...viewRecord(stored.id, record.value),
      ...(found && { backdated: { dated_ms: found.datedMs, not_before_ms: found.notBeforeMs } }),
      received_at_ms: stored.receivedAtMs,
      ...(logIndex !== undefined && { log_index: logIndex }),
      ...times,
    };
  }
}

/** Bytes unless JSON is asked for by name: programs that ask for nothing get the record itself. */
function wantsJson(accept: string | undefined): boolean {
  return accept !== undefined && /(^|[,\s])application\/json\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/.test(accept);
}

function send(reply: FastifyReply, type: string, bytes: Uint8Array): FastifyReply {
  return reply.type(type).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
