import * as http from "node:http";
import * as https from "node:https";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Target } from "./target.js";

/** One POST over a connection of its own to one address. No redirect is followed; of the answer its status counts. */

/** From the connection's begin to the answer's end. */
export const POST_TIMEOUT_MS = 10_000;
/** Of an answer's body; a longer one ends the connection. It is not looked at. */
export const ANSWER_MAX_BYTES = 16_384;
const ANSWER_HEADERS_MAX_BYTES = 8192;
/** Of what a system says of an error that has no code. */
const ERROR_TEXT_MAX = 200;

export interface Post {
  readonly target: Target;
  /** Where `target.host` is; checked by the caller. */
  readonly address: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs?: number;
  /** Ends it at once. */
  readonly signal?: AbortSignal;
  /** Certificates to believe besides the system's; tests have their own. */
  readonly ca?: string;
}

/** WEBHOOK_FAILED with why: no connection, no answer in time, a status other than 2xx. */
export function post(options: Post): Promise<Result<number>> {
  const { target, address, headers, body, timeoutMs = POST_TIMEOUT_MS, signal, ca } = options;
  const { url, host } = target;
  const isTls = url.protocol === "https:";
  return new Promise((resolve) => {
    const end = (result: Result<number>) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      resolve(result);
      request.destroy();
    };
    const failed = (why: string) => end(fail("WEBHOOK_FAILED", why));
    const stop = () => failed("the relay stops");
    const request = (isTls ? https : http).request({
      // The address and not the name: nobody is asked again where that is.
      host: address,
      port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
      path: url.pathname + url.search,
      method: "POST",
      agent: false,
      maxHeaderSize: ANSWER_HEADERS_MAX_BYTES,
      ...(isTls && { servername: address === host ? "" : host, ...(ca !== undefined && { ca }) }),
      headers: {
        host: url.host,
        "content-type": "application/json",
        "content-length": String(Buffer.byteLength(body)),
        "user-agent": "tallystick-relay",
        connection: "close",
        ...headers,
      },
    });
    const timer = setTimeout(() => failed(`no answer within ${timeoutMs} ms`), timeoutMs);
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop);
    request.on("error", (error: NodeJS.ErrnoException) => failed(error.code ?? error.message.slice(0, ERROR_TEXT_MAX)));
    request.on("response", (response) => {
      const status = response.statusCode ?? 0;
      const done = () => (status >= 200 && status < 300 ? end(ok(status)) : failed(`it answered ${status}`));
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > ANSWER_MAX_BYTES) done();
      });
      response.on("end", done);
      response.on("error", () => failed("the answer broke off"));
    });
    request.end(body);
  });
}
