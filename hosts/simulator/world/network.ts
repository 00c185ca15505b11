import { type ClientRequest, Agent as PlainAgent, request as plainRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";

export interface NetworkRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: Uint8Array;
  readonly maxResponseBytes: number;
}

export type NetworkAnswer =
  | {
      readonly outcome: "answered";
      readonly status: number;
      readonly body: Uint8Array;
      /** Seconds of `Retry-After`, where the answer has one. */
      readonly retryAfterS?: number;
    }
  | { readonly outcome: "no-route" | "timed-out" | "too-long"; readonly detail: string };

/** What a board reaches its relay through. */
export interface Network {
  /** Never rejects. After `signal` the answer no longer matters and everything is released. */
  request(request: NetworkRequest, signal: AbortSignal): Promise<NetworkAnswer>;
}

export interface HttpNetworkOptions {
  /** `http://host:port` or `https://…`, without a path. */
  readonly origin: string;
  /** From the request's start to the answer's last byte. Default 10,000. */
  readonly timeoutMs?: number;
}

/** Sockets to one relay, as a board has them. */
const SOCKETS_MAX = 4;

/** Real HTTP to a real relay, over this machine's own sockets. */
export class HttpNetwork implements Network {
  readonly #origin: URL;
  readonly #timeoutMs: number;
  readonly #agent: PlainAgent;

  constructor(options: HttpNetworkOptions) {
    this.#origin = new URL(options.origin);
    if (this.#origin.protocol !== "http:" && this.#origin.protocol !== "https:")
      throw new RangeError(`origin: expected http: or https:, got ${options.origin}`);
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    const Agent = this.#origin.protocol === "https:" ? SecureAgent : PlainAgent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_MAX });
  }

  request(request: NetworkRequest, signal: AbortSignal): Promise<NetworkAnswer> {
    return new Promise((resolve) => {
      let outgoing: ClientRequest | undefined;
      const end = (answer: NetworkAnswer) => {
        clearTimeout(timeout);
        signal.removeEventListener("abort", aborted);
        resolve(answer);
        if (answer.outcome !== "answered") outgoing?.destroy();
      };
      const aborted = () => end({ outcome: "no-route", detail: "the board ended" });
      const timeout = setTimeout(
        () => end({ outcome: "timed-out", detail: `no answer within ${this.#timeoutMs} ms` }),
        this.#timeoutMs,
      );
      if (signal.aborted) return aborted();
      signal.addEventListener("abort", aborted);
      const send = this.#origin.protocol === "https:" ? secureRequest : plainRequest;
      outgoing = send(
        {
          agent: this.#agent,
          protocol: this.#origin.protocol,
          host: this.#origin.hostname,
          port: this.#origin.port,
          method: request.method,
          path: request.path,
          headers:
            request.method === "POST"
              ? { "content-type": "application/cbor", "content-length": request.body.length }
              : { accept: "application/cbor" },
        },
        (incoming) => {
          const parts: Uint8Array[] = [];
          let length = 0;
          incoming.on("data", (part: Uint8Array) => {
            length += part.length;
            if (length > request.maxResponseBytes)
              end({ outcome: "too-long", detail: `the answer is longer than ${request.maxResponseBytes} bytes` });
            else parts.push(part);
          });
          incoming.on("end", () => {
            const retryAfterS = seconds(incoming.headers["retry-after"]);
            end({
              outcome: "answered",
              status: incoming.statusCode ?? 0,
              body: new Uint8Array(Buffer.concat(parts)),
              ...(retryAfterS !== undefined && { retryAfterS }),
            });
          });
          incoming.on("error", (error) => end({ outcome: "no-route", detail: error.message }));
        },
      );
      outgoing.on("error", (error: NodeJS.ErrnoException) =>
        end({ outcome: "no-route", detail: error.code ?? error.message }),
      );
      outgoing.end(request.body);
    });
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }
}

/** Retry-After as a number of seconds (RFC 9110 §10.2.3); its form as a date is not used by the relay. */
function seconds(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined;
}
