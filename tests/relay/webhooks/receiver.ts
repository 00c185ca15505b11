import { createServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly url: string;
  readonly body: string;
}

/** A program that takes messages on loopback, and remembers them. */
export interface Receiver {
  readonly port: number;
  readonly received: Received[];
  /** Connections that were ever made. */
  readonly connections: () => number;
  /** Requests that were ever under way at once. */
  readonly together: () => number;
  /** Resolves once so many messages have come in whole. */
  came(count: number): Promise<void>;
  close(): Promise<void>;
}

export interface ReceiverOptions {
  readonly host?: string;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** By default each message is answered 204. */
  readonly answer?: RequestListener;
}

export async function startReceiver({ host = "127.0.0.1", tls, answer }: ReceiverOptions = {}): Promise<Receiver> {
  const received: Received[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  let [connections, underWay, together] = [0, 0, 0];
  const take: RequestListener = (request, response) => {
    underWay++;
    together = Math.max(together, underWay);
    response.on("close", () => underWay--);
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      received.push({ headers: request.headers, url: request.url!, body: Buffer.concat(parts).toString() });
      if (answer) answer(request, response);
      else response.writeHead(204).end();
      for (const { count, resolve } of waiting) if (received.length >= count) resolve();
    });
  };
  const server = tls ? createTlsServer(tls, take) : createServer(take);
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received,
    connections: () => connections,
    together: () => together,
    came: (count) =>
      received.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.push({ count, resolve })),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
