import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Who is slow makes room for who comes. A cap alone would let anyone keep everyone out: so many sockets that trickle, and
 * nobody else gets one until their time is over. Here a new connection is always taken; where there are too many, the one
 * goes that has been without a request for the longest: it is at rest, or has not got its headers together. A request that is
 * one too many takes the place of the one whose body has been on its way for the longest, if that is more than a moment.
 */

/** Sockets at once. */
export const CONNECTIONS_MAX = 1024;
/** Requests under way at once; further ones are told to come again. Bounds what bodies can take: 32 MiB. */
export const REQUESTS_UNDER_WAY_MAX = 512;
/** How long a body may take before its request can be given up for another. Within 20 s it has come, or is cut off. */
export const BODY_GRACE_MS = 2000;

export function capConnections(server: Server, max = CONNECTIONS_MAX): void {
  let count = 0;
  /** Without a request under way, the longest first. */
  const waiting = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    count++;
    waiting.add(socket);
    socket.once("close", () => {
      count--;
      waiting.delete(socket);
    });
    if (count <= max) return;
    const [longest] = waiting;
    waiting.delete(longest!);
    longest!.destroy();
  });
  /** Requests that are not answered, of sockets that have some: several may come behind one another. */
  const underWay = new Map<Socket, number>();
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    waiting.delete(socket);
    underWay.set(socket, (underWay.get(socket) ?? 0) + 1);
    response.once("close", () => {
      const left = underWay.get(socket)! - 1;
      if (left > 0) underWay.set(socket, left);
      else underWay.delete(socket);
      if (left === 0 && !socket.destroyed) waiting.add(socket);
    });
  });
}

/** Counts requests under way. */
export class UnderWay {
  readonly #max: number;
  readonly #nowMs: () => number;
  /** When each began, the oldest first. */
  readonly #since = new Map<IncomingMessage, number>();

  constructor(max: number, nowMs: () => number = () => performance.now()) {
    this.#max = max;
    this.#nowMs = nowMs;
  }

  /** Whether there is a place for a request; it has it until its answer is closed. */
  take(request: IncomingMessage, response: ServerResponse): boolean {
    this.#since.set(request, this.#nowMs());
    response.once("close", () => this.#since.delete(request));
    if (this.#since.size <= this.#max) return true;
    for (const [slow, sinceMs] of this.#since) {
      if (this.#nowMs() - sinceMs < BODY_GRACE_MS) return false;
      if (slow.complete) continue;
      this.#since.delete(slow);
      slow.destroy();
      return true;
    }
    return false;
  }
}
