import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { Connections } from "../connections.js";
import type { Metrics } from "./metrics.js";

/**
 * `/metrics` on a listener of its own. Devices' counts and failures are the operator's matter, and a scrape asks the
 * database: neither is for whoever can reach the relay. Behind a proxy every request comes from loopback, so that an
 * address could not tell the two apart; a port can.
 */

export interface MetricsAddress {
  /** Default 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
}

const CONNECTIONS_MAX = 16;
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_MAX_BYTES = 8192;

export class MetricsListener {
  /** `http://host:port/metrics`. */
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** PORT_TAKEN, ADDRESS_UNUSABLE. */
  static async open(
    metrics: Metrics,
    { host = "127.0.0.1", port }: MetricsAddress,
    onFault: (error: unknown) => void,
  ): Promise<Result<MetricsListener>> {
    const server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: HEADERS_MAX_BYTES },
      (request, response) => void answer(metrics, request, response, onFault),
    );
    new Connections(server, { socketsMax: CONNECTIONS_MAX });
    // Of someone who does not read what he asked for: his socket is one of few.
    server.setTimeout(REQUEST_TIMEOUT_MS);
    const failed = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.on("error", resolve);
      server.listen({ host, port }, () => resolve(undefined));
    });
    if (failed?.code === "EADDRINUSE") return fail("PORT_TAKEN", `port ${port} of ${host}, which metrics.port names`);
    if (failed)
      return fail("ADDRESS_UNUSABLE", `${host} port ${port}, which metrics.host and metrics.port name: ${failed.code}`);
    const address = server.address() as AddressInfo;
    const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
    return ok(new MetricsListener(server, `http://${shown}:${address.port}/metrics`));
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

async function answer(
  metrics: Metrics,
  request: IncomingMessage,
  response: ServerResponse,
  onFault: (error: unknown) => void,
): Promise<void> {
  const path = request.url?.split("?")[0];
  if (path !== "/metrics") return end(response, 404, "text/plain", "there is /metrics here, no more\n");
  if (request.method !== "GET" && request.method !== "HEAD") return end(response, 405, "text/plain", "GET\n");
  try {
    const { type, text } = await metrics.scrape();
    end(response, 200, type, text);
  } catch (error) {
    onFault(error);
    end(response, 500, "text/plain", "see the relay's log\n");
  }
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(response.req.method === "HEAD" ? undefined : text);
}
