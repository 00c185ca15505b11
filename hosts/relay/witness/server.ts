import type { FastifyInstance } from "fastify";
import { type Logger, pino } from "pino";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { formatVerifierKey, type VerifierKey } from "tallystick/log/note";
import { ADD_CHECKPOINT_MAX_BYTES, ADD_CHECKPOINT_PATH, formatHeldSize, SIZE_TYPE } from "tallystick/log/witness";
import Type from "typebox";
import { relayCrypto } from "../crypto.js";
import { type ListenOptions, listen } from "../listen.js";
import { type Disk, nodeDisk } from "../log/disk.js";
import { Refused } from "../problem.js";
import { createServer, recordMethods, refuseOtherMethods } from "../server.js";
import { Witness } from "./witness.js";

/** A witness as a server: C2SP tlog-witness over HTTP, submission and monitoring prefix the same. */

/** Bounds what bodies can take: 17 MiB. */
const REQUESTS_UNDER_WAY_MAX = 128;
/** Between two refused requests that are logged whole. */
const REFUSED_LOG_MS = 60_000;
const TEXT_TYPE = "text/plain; charset=utf-8";

export interface WitnessServerOptions extends ListenOptions {
  readonly dataDir: string;
  readonly name?: string;
  readonly logs: readonly VerifierKey[];
  readonly logger?: Logger;
  readonly nowMs?: () => number;
  readonly disk?: Disk;
}

export class WitnessServer {
  /** Both prefixes. */
  readonly url: string;
  readonly key: VerifierKey;
  readonly #close: () => Promise<void>;
  #closing: Promise<void> | undefined;

  private constructor(url: string, key: VerifierKey, close: () => Promise<void>) {
    this.url = url;
    this.key = key;
    this.#close = close;
  }

  /** Starts the witness of an existing folder. What Witness.open refuses, PORT_TAKEN, ADDRESS_UNUSABLE. */
  static async open(options: WitnessServerOptions): Promise<Result<WitnessServer>> {
    const { dataDir, name, logs, nowMs = Date.now, logger = pino({ level: "silent" }), disk = nodeDisk } = options;
    const parts = { disk, crypto: relayCrypto, folder: dataDir, logs, nowMs };
    const witness = await Witness.open({ ...parts, ...(name !== undefined && { name }) });
    if (!witness.ok) return witness;
    let stopping = false;
    const app = createServer({
      logger,
      onFault: (error): Failure | undefined => {
        logger.error({ err: error }, "fault");
        return undefined;
      },
      isStopping: () => stopping,
      requestsUnderWayMax: REQUESTS_UNDER_WAY_MAX,
    });
    addRoutes(app, witness.value, logger);
    const listening = await listen(app, options);
    if (!listening.ok) {
      await app.close();
      witness.value.close();
      return listening;
    }
    const { key } = witness.value;
    logger.info({ url: listening.value, key: formatVerifierKey(key), logs: logs.length }, "listening");
    return ok(
      new WitnessServer(listening.value, key, async () => {
        stopping = true;
        await app.close();
        witness.value.close();
        logger.info("stopped");
      }),
    );
  }

  /** Finishes what is under way, and lets another process have the folder. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
}

function addRoutes(app: FastifyInstance, witness: Witness, logger: Logger): void {
  let tellAtMs = 0;
  const taken = recordMethods(app);
  // C2SP names no type for the request, so clients send any or none.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => {
    const bytes = body as Buffer;
    done(null, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  });

  app.post<{ Body: Uint8Array | undefined }>(
    `/${ADD_CHECKPOINT_PATH}`,
    { bodyLimit: ADD_CHECKPOINT_MAX_BYTES, schema: { summary: "Cosigns a checkpoint that continues the last" } },
    async (request, reply) => {
      const answer = await witness.add(request.body ?? new Uint8Array(0));
      reply.header("cache-control", "no-store");
      if ("cosignature" in answer) return reply.type(TEXT_TYPE).send(answer.cosignature);
      // Bytes, since Fastify adds a charset to the type of a text, and C2SP fixes the type.
      if ("heldSize" in answer)
        return reply
          .code(409)
          .header("content-type", SIZE_TYPE)
          .send(Buffer.from(formatHeldSize(answer.heldSize)));
      const { failure } = answer;
      // Signed by a key of the log: where the log has forked this is half of the proof. But anyone can put a false path behind
      // a public checkpoint, and must not fill the disk with it.
      if (failure.code === "WITNESS_PROOF_FALSE" && performance.now() >= tellAtMs) {
        tellAtMs = performance.now() + REFUSED_LOG_MS;
        logger.warn({ ...failure, request: Buffer.from(request.body ?? []).toString("utf8") }, "path does not hold");
      }
      throw new Refused({ failure });
    },
  );

  app.get<{ Params: { readonly hash: string } }>(
    "/:hash/checkpoint",
    {
      schema: {
        summary: "The newest checkpoint cosigned of a log, by the SHA-256 of its origin",
        params: Type.Object({ hash: Type.String({ pattern: "^[0-9a-f]{64}$" }) }),
      },
    },
    async (request, reply) => {
      const newest = witness.newest(request.params.hash);
      if (!newest) throw new Refused(fail("WITNESS_LOG_UNKNOWN", "no checkpoint of this log was cosigned here"));
      return reply.header("cache-control", "no-cache").type(TEXT_TYPE).send(Buffer.from(newest));
    },
  );

  app.get("/livez", { schema: { summary: "The process answers" } }, async (_request, reply) =>
    reply.header("cache-control", "no-store").type("text/plain").send("ok\n"),
  );
  refuseOtherMethods(app, new Map(taken));
}
