import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Who is slow makes room for who comes. A cap alone would let anyone keep everyone out: so many sockets that trickle, and
 * nobody else gets one until their time is over. Here a new connection is taken as long as there is one to give up for it:
 * first the one that has been without a request for the longest, which is at rest or has not got its headers together. A
 * request that is one too many takes the place of the oldest that is slow: its body has been on its way for more than a
 * moment, or its answer lies there and is not read.
 *
 * **A place ends with its answer or with its connection**, whichever ends first: of requests that stand one behind the other on
 * a connection only the first has an answer that hears of the connection's end. Few may stand so.
 */

/** Sockets at once. */
export const CONNECTIONS_MAX = 1024;
/** Requests under way at once; further ones are told to come again. Bounds what bodies can take: 32 MiB. */
export const REQUESTS_UNDER_WAY_MAX = 512;
/** Requests of one connection that stand one behind the other; one more ends it. No device sends a second before its answer. */
export const PIPELINED_MAX = 4;
/** How long a body may take before its request can be given up for another. Within 20 s it has come, or is cut off. */
export const BODY_GRACE_MS = 2000;
/** How long a request may take with its answer unread before it can be given up for another. */
export const ANSWER_GRACE_MS = 5000;

export interface ConnectionsOptions {
  readonly socketsMax?: number;
  readonly requestsMax?: number;
  /** Milliseconds of a clock that is never set back. */
  readonly nowMs?: () => number;
}

interface Request {
  readonly socket: Socket;
  readonly response: ServerResponse;
  readonly sinceMs: number;
}

export class Connections {
  readonly #socketsMax: number;
  readonly #requestsMax: number;
  readonly #nowMs: () => number;
  /** Every socket with its requests under way. */
  readonly #sockets = new Map<Socket, Set<IncomingMessage>>();
  /** Without a request under way, the longest first. */
  readonly #waiting = new Set<Socket>();
  /** The oldest first. */
  readonly #requests = new Map<IncomingMessage, Request>();

  constructor(server: Server, options: ConnectionsOptions = {}) {
    this.#socketsMax = options.socketsMax ?? CONNECTIONS_MAX;
    this.#requestsMax = options.requestsMax ?? REQUESTS_UNDER_WAY_MAX;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    server.on("connection", (socket: Socket) => this.#connected(socket));
  }

  /** Requests that have a place. */
  get underWay(): number {
    return this.#requests.size;
  }

  /** Whether there is a place for a request; it has it until its answer or its connection has ended. */
  take(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    const own = this.#sockets.get(socket);
    // It is gone already.
    if (!own) return false;
    if (own.size >= PIPELINED_MAX) {
      socket.destroy();
      return false;
    }
    if (this.#requests.size >= this.#requestsMax && !this.#giveUpSlow()) return false;
    own.add(request);
    this.#requests.set(request, { socket, response, sinceMs: this.#nowMs() });
    this.#waiting.delete(socket);
    response.once("close", () => this.#release(request, socket));
    return true;
  }

  #connected(socket: Socket): void {
    this.#sockets.set(socket, new Set());
    this.#waiting.add(socket);
    socket.once("close", () => this.#forget(socket));
    if (this.#sockets.size <= this.#socketsMax) return;
    const [longest] = this.#waiting;
    const given = longest !== socket ? longest : this.#slow()?.socket;
    this.#giveUp(given ?? socket);
  }

  /** Ends the connection of the oldest request that is slow; whether there was one. */
  #giveUpSlow(): boolean {
    const slow = this.#slow();
    if (slow) this.#giveUp(slow.socket);
    return slow !== undefined;
  }

  #slow(): Request | undefined {
    for (const [message, request] of this.#requests) {
      const tookMs = this.#nowMs() - request.sinceMs;
      if (tookMs < BODY_GRACE_MS) return undefined;
      const isUnread = tookMs >= ANSWER_GRACE_MS && request.response.writableEnded;
      if (!message.complete || isUnread) return request;
    }
    return undefined;
  }

  #giveUp(socket: Socket): void {
    // Its end is told later: what it has is let go of now.
    this.#forget(socket);
    socket.destroy();
  }

  #release(request: IncomingMessage, socket: Socket): void {
    this.#requests.delete(request);
    const own = this.#sockets.get(socket);
    own?.delete(request);
    if (own?.size === 0) this.#waiting.add(socket);
  }

  #forget(socket: Socket): void {
    for (const request of this.#sockets.get(socket) ?? []) this.#requests.delete(request);
    this.#sockets.delete(socket);
    this.#waiting.delete(socket);
  }
}
