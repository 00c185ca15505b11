import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Transport, TransportRequest, TransportResponse } from "tallystick/sync/transport";
import { Outcome, WireLimit, type WirePort } from "./wire.js";

/** What the `response` event says of a request, beside its number. */
export interface ResponseEvent {
  readonly outcome: number;
  readonly status: number;
  /** Of the body, in bytes. */
  readonly length: number;
  readonly retryAfterS: number | undefined;
  /** Why there is no answer. */
  readonly detail: string;
}

interface Pending {
  resolve(result: Result<TransportResponse>): void;
}

/** HTTP requests through the world. Bodies travel in pieces, so that a board holds each of them once. */
export class BoardTransport implements Transport {
  readonly #port: WirePort;
  /** By request number; at most WireLimit.requestsUnderWay, since the world opens no more. */
  readonly #pending = new Map<number, Pending>();

  constructor(port: WirePort) {
    this.#port = port;
  }

  request(request: TransportRequest): Promise<Result<TransportResponse>> {
    const bodyLength = request.body?.length ?? 0;
    if (bodyLength > WireLimit.body)
      throw new RangeError(`body: expected at most ${WireLimit.body} bytes, got ${bodyLength}`);
    const number = this.#port.requestOpen(
      request.method === "GET" ? 0 : 1,
      request.path,
      bodyLength,
      Math.min(request.maxResponseBytes, WireLimit.body),
    );
    if (number === undefined)
      return Promise.resolve(
        fail("TRANSPORT_FAILED", `no network, or ${WireLimit.requestsUnderWay} requests are under way`),
      );
    if (request.body !== undefined && bodyLength > 0) this.#port.requestBody(number, request.body);
    return new Promise((resolve) => {
      this.#pending.set(number, { resolve });
    });
  }

  /** The `response` event: fetches the body and settles the request. */
  settle(number: number, { outcome, status, length, retryAfterS, detail }: ResponseEvent): void {
    const pending = this.#pending.get(number);
    if (pending === undefined) return;
    this.#pending.delete(number);
    if (outcome !== Outcome.answered) {
      this.#port.requestClose(number);
      pending.resolve(fail("TRANSPORT_FAILED", detail));
      return;
    }
    const body = new Uint8Array(length);
    this.#port.responseRead(number, body);
    this.#port.requestClose(number);
    pending.resolve(ok({ status, body, ...(retryAfterS !== undefined && { retryAfterS }) }));
  }
}
