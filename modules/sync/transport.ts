import type { Result } from "../codes/codes.js";

/** What came of asking the relay, or of a step that asks it; a failure may say how many seconds to wait first. */
export type Step<T> = Result<T> & { readonly retryAfterS?: number };

/** How a device reaches its relay: HTTP first, MQTT second, the same bytes. */
export interface Transport {
  /**
   * Sends one request and resolves with the relay's answer, whatever its status. Never rejects: no route, time-out,
   * an answer longer than `maxResponseBytes` are failures with the code TRANSPORT_FAILED.
   */
  request(request: TransportRequest): Promise<Result<TransportResponse>>;
}

export interface TransportRequest {
  readonly method: "GET" | "POST";
  /** Path below the relay's origin, `/v1/…`. */
  readonly path: string;
  /** CBOR, at most 64 KiB. */
  readonly body?: Uint8Array;
  readonly maxResponseBytes: number;
}

export interface TransportResponse {
  readonly status: number;
  readonly body: Uint8Array;
  /** Seconds of the answer's `Retry-After`, where it had one. */
  readonly retryAfterS?: number;
}
