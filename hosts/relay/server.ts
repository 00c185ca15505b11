import type { Socket } from "node:net";
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type HTTPMethods,
  LogController,
} from "fastify";
import { type Code, type Failure, fail } from "tallystick/codes/codes";
import { BATCH_MAX_BYTES } from "tallystick/sync/messages";
import { Connections, REQUESTS_UNDER_WAY_MAX } from "./connections.js";
import { LOGGED_TEXT_MAX } from "./logger.js";
import type { Metrics } from "./metrics/metrics.js";
import { PROBLEM_TYPE, type Problem, problemOf, type Refusal, Refused } from "./problem.js";
import { isCorruption, isDatabaseError } from "./store/database.js";

/**
 * HTTP as the relay speaks it: limits on everything that a stranger can make long or slow, every error a problem
 * document with a stable code. What the routes do is in routes/.
 */

const HEADERS_TIMEOUT_MS = 10_000;
/** For a whole request, headers and body. */
const REQUEST_TIMEOUT_MS = 20_000;
const KEEP_ALIVE_TIMEOUT_MS = 30_000;
const HEADERS_MAX_BYTES = 8192;
/** A refused body of up to this length is read and dropped, so that the connection can go on; a longer one ends it. */
const DRAIN_MAX_BYTES = 1024 * 1024;
/** Characters of a content type or encoding that are said back to who sent it. */
const SHOWN_TYPE_MAX = 50;
/** When to come again, where nothing better is known. */
const RETRY_AFTER_S = 2;

const METHODS: HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

declare module "fastify" {
  /** What OpenAPI says of a route beyond its shapes. */
  interface FastifySchema {
    summary?: string;
    hide?: boolean;
  }
}

export interface ServerOptions {
  readonly logger: FastifyBaseLogger;
  /** Told of errors that no request should be able to cause: answers what it shows of damage, if it does. */
  readonly onFault: (error: unknown) => Failure | undefined;
  /** Requests that come on open connections while the relay stops are told to come again. */
  readonly isStopping: () => boolean;
  /** Told of every answer. */
  readonly metrics?: Pick<Metrics, "answered" | "problem">;
  readonly requestsUnderWayMax?: number;
}

/** A server without routes: add them, then call `refuseOtherMethods`. */
export function createServer(options: ServerOptions): FastifyInstance {
  const app = Fastify({
    loggerInstance: options.logger,
    bodyLimit: BATCH_MAX_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    // Fastify's own answer to requests while it closes is no problem document.
    return503OnClosing: false,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: true,
    // Ids of ours only: one from outside would put a stranger's text into our log.
    requestIdHeader: false,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, maxHeaderSize: HEADERS_MAX_BYTES },
    // Fastify's defaults drop what a schema does not know; here it is told.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true, useDefaults: true } },
    frameworkErrors: (error, _request, reply) => {
      const { status, body } = answerOf(fail("REQUEST_MALFORMED", error.message));
      (reply as unknown as FastifyReply).code(status).type(PROBLEM_TYPE).send(body);
    },
    clientErrorHandler: answerClientError,
  });
  app.addHook("onRequest", (_request, _reply, done) => {
    done(options.isStopping() ? new Refused(fail("RELAY_STOPPING", "it finishes what is under way")) : undefined);
  });
  app.addHook("onSend", (_request, reply, payload, done) => {
    // A connection that was busy when the relay began to stop would else be kept until its time is up.
    if (options.isStopping()) reply.header("connection", "close");
    done(null, payload);
  });
  app.addHook("onResponse", (request, reply, done) => {
    const { method, url } = request;
    options.metrics?.answered(request.routeOptions.url, method, reply.statusCode, reply.elapsedTime);
    request.log.debug(
      { method, url: url.slice(0, LOGGED_TEXT_MAX), status: reply.statusCode, ms: Math.round(reply.elapsedTime) },
      "request",
    );
    done();
  });
  limitRequestsUnderWay(app, options.requestsUnderWayMax ?? REQUESTS_UNDER_WAY_MAX);
  refuseContentEncoding(app);
  acceptCbor(app);
  acceptJsonOfOperators(app);
  app.setNotFoundHandler((request) => {
    throw new Refused(fail("ROUTE_UNKNOWN", `${request.method} ${request.url.slice(0, LOGGED_TEXT_MAX)}`));
  });
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const { status, body, retryAfterS } = answerOfError(error, options.onFault);
    options.metrics?.problem(body.code);
    if (retryAfterS !== undefined) reply.header("retry-after", String(retryAfterS));
    if (body.code === "MEDIA_TYPE_UNKNOWN") reply.header("accept-encoding", "identity");
    // Fastify ends the connection after a body that it did not read.
    if (Number(request.headers["content-length"]) <= DRAIN_MAX_BYTES) reply.removeHeader("connection");
    return reply.code(status).type(PROBLEM_TYPE).send(body);
  });
  return app;
}

/** Answers every method that no route takes at an address with 405 and what it does take. */
export function refuseOtherMethods(app: FastifyInstance, taken: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, methods] of taken) {
    const allowed = [...methods].sort().join(", ");
    app.route({
      method: METHODS.filter((method) => !methods.has(method as string)),
      url,
      schema: { hide: true },
      onRequest: (_request, reply, done) => {
        reply.header("allow", allowed);
        done(new Refused(fail("METHOD_UNKNOWN", `expected ${allowed}`)));
      },
      handler: () => undefined,
    });
  }
}

/** Which methods each address takes, kept up while routes are added. */
export function recordMethods(app: FastifyInstance): ReadonlyMap<string, ReadonlySet<string>> {
  const taken = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const methods = taken.get(url) ?? new Set<string>();
    for (const each of [method].flat()) methods.add(each as string);
    taken.set(url, methods);
  });
  return taken;
}

function limitRequestsUnderWay(app: FastifyInstance, requestsMax: number): void {
  const connections = new Connections(app.server, { requestsMax });
  app.addHook("onRequest", ({ raw }, reply, done) => {
    const taken = connections.take(raw, reply.raw);
    done(taken ? undefined : new Refused(fail("RELAY_BUSY", `${requestsMax} requests are under way`)));
  });
}

/** A decompressor is a way to make much of little: none is here. */
function refuseContentEncoding(app: FastifyInstance): void {
  app.addHook("onRequest", (request, _reply, done) => {
    const encoding = request.headers["content-encoding"];
    if (encoding === undefined || encoding === "identity") done();
    else
      done(
        new Refused(
          fail("MEDIA_TYPE_UNKNOWN", `expected no content encoding, received ${encoding.slice(0, SHOWN_TYPE_MAX)}`),
        ),
      );
  });
}

function acceptCbor(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    ["application/cbor", "application/cbor-seq"],
    { parseAs: "buffer" },
    // A plain view: a Buffer's `slice` shares memory, which the modules do not expect.
    (_request, body, done) => {
      const bytes = body as Buffer;
      done(null, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    },
  );
}

/** JSON is what operators send; to every other route its type is unknown, before a byte of it is read. */
function acceptJsonOfOperators(app: FastifyInstance): void {
  app.addContentTypeParser("application/json", { parseAs: "string" }, app.getDefaultJsonParser("error", "error"));
  app.addHook("preParsing", async (request) => {
    const type = request.headers["content-type"] ?? "";
    const isJson = /^application\/json\b/i.test(type);
    const { operator } = request.routeOptions.schema ?? {};
    if (isJson !== (operator !== undefined) && hasBody(request))
      throw new Refused(fail("MEDIA_TYPE_UNKNOWN", `received ${type.slice(0, SHOWN_TYPE_MAX)}`));
  });
}

function hasBody({ headers, method }: FastifyRequest): boolean {
  if (method === "GET" || method === "HEAD") return false;
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** What the sender of a request is told of what was thrown at it, whatever brought it. */
export function answerOfError(
  error: FastifyError,
  onFault: ServerOptions["onFault"],
): { readonly status: number; readonly body: Problem; readonly retryAfterS: number | undefined } {
  const refusal = refusalOf(error);
  const { status, body } = answerOf(refusal ?? fault(onFault(error)));
  return { status, body, retryAfterS: refusal?.retryAfterS ?? (status === 503 ? RETRY_AFTER_S : undefined) };
}

/** What a request is told whose body is too long to be read. */
export const BODY_TOO_LARGE = fail("BODY_TOO_LARGE", `expected at most ${BATCH_MAX_BYTES} bytes`);

const FRAMEWORK_CODES: Readonly<Record<string, Code>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "BODY_TOO_LARGE",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "MEDIA_TYPE_UNKNOWN",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "REQUEST_MALFORMED",
  FST_ERR_CTP_EMPTY_TYPE: "MEDIA_TYPE_UNKNOWN",
  FST_ERR_BAD_URL: "REQUEST_MALFORMED",
  FST_ERR_CTP_EMPTY_JSON_BODY: "REQUEST_BODY_INVALID",
  FST_ERR_CTP_INVALID_JSON_BODY: "REQUEST_BODY_INVALID",
  FST_ERR_VALIDATION: "REQUEST_MALFORMED",
};

/** What the sender is told of an error; undefined where the fault is ours. */
function refusalOf(error: FastifyError): Refusal | undefined {
  if (error instanceof Refused) return error.refusal;
  if (isDatabaseError(error) && !isCorruption(error)) return fail("STORE_FAILED", error.code);
  if (error.validation && error.validationContext === "body") return fail("REQUEST_BODY_INVALID", expectedIn(error));
  const code = FRAMEWORK_CODES[error.code] ?? (error.validation ? "REQUEST_MALFORMED" : undefined);
  if (code === "BODY_TOO_LARGE") return BODY_TOO_LARGE;
  if (code) return fail(code, error.message);
  return error.statusCode === 400 ? fail("REQUEST_MALFORMED", error.message) : undefined;
}

/** What a schema says is wrong, with the values that it allows; a union's parts say each of one. */
function expectedIn({ message, validation = [] }: FastifyError): string {
  const [first] = validation;
  const allowed = validation
    .filter(({ instancePath }) => instancePath === first?.instancePath)
    .flatMap(({ params }) => params["allowedValue"] ?? params["allowedValues"] ?? []);
  const path = `body${first?.instancePath ?? ""}`;
  return allowed.length > 0
    ? `${path}: expected one of ${allowed.map((value) => JSON.stringify(value)).join(", ")}`
    : message;
}

/** Nothing of an unexpected error's own text leaves the relay. */
function fault(damage: Failure | undefined): Refusal {
  return damage ? fail(damage.code, "stored data is damaged") : fail("RELAY_FAULT", "see the relay's log");
}

function answerOf(refusal: Refusal) {
  const body = problemOf(refusal);
  return { status: body.status, body };
}

/** What Node could not even read as HTTP, or not in time. */
function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // What is written now would be taken for the answer to a request before it, of which Node keeps the answer under way here.
  const { _httpMessage: underWay } = socket as Socket & { _httpMessage?: unknown };
  if (error.code === "ECONNRESET" || !socket.writable || underWay) {
    socket.destroy();
    return;
  }
  const slow = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const refusal = slow
    ? fail("REQUEST_SLOW", "the request did not arrive in time")
    : fail("REQUEST_MALFORMED", error.code === "HPE_HEADER_OVERFLOW" ? "the headers are too long" : "it is not HTTP");
  const { status, body } = answerOf(refusal);
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${slow ? "Request Timeout" : "Bad Request"}\r\ncontent-type: ${PROBLEM_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}
