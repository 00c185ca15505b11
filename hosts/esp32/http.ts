import { concatBytes } from "tallystick/bytes/bytes";
import type { TransportResponse } from "tallystick/sync/transport";

/** Where a relay listens. */
export interface RelayOrigin {
  readonly host: string;
  readonly port: number;
}

/** `http://host[:port]`, nothing after it; undefined for anything else. */
export function parseOrigin(text: string): RelayOrigin | undefined {
  const match = /^http:\/\/([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?\/?$/.exec(text);
  if (match === null) return undefined;
  const port = match[2] === undefined ? 80 : Number(match[2]);
  return port >= 1 && port <= 65535 ? { host: match[1]!, port } : undefined;
}

/** Headers of a request with this body: CBOR, closed after the answer. */
export function requestHeaders(body: Uint8Array): Map<string, string> {
  const headers = new Map([
    ["accept", "application/cbor"],
    ["connection", "close"],
  ]);
  if (body.length > 0) {
    headers.set("content-type", "application/cbor");
    headers.set("content-length", String(body.length));
  }
  return headers;
}

/** An answer as it comes in, refused as soon as it is too long. */
export class Reply {
  readonly #maxBytes: number;
  readonly #parts: Uint8Array[] = [];
  #status = 0;
  #retryAfterS: number | undefined;
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Why the answer is refused, if it is. Names of headers are in lower case. */
  begin(status: number, headers: { get(name: string): string | undefined }): string | undefined {
    this.#status = status;
    this.#retryAfterS = seconds(headers.get("retry-after"));
    const contentLength = headers.get("content-length");
    return contentLength !== undefined && Number(contentLength) > this.#maxBytes
      ? this.#tooLong(contentLength)
      : undefined;
  }

  append(bytes: Uint8Array): string | undefined {
    this.#length += bytes.length;
    if (this.#length > this.#maxBytes) return this.#tooLong(`more than ${this.#maxBytes}`);
    this.#parts.push(bytes);
    return undefined;
  }

  response(): TransportResponse {
    return {
      status: this.#status,
      body: concatBytes(...this.#parts),
      ...(this.#retryAfterS !== undefined && { retryAfterS: this.#retryAfterS }),
    };
  }

  #tooLong(received: string): string {
    return `expected an answer of at most ${this.#maxBytes} bytes, received ${received}`;
  }
}

/** Retry-After as a number of seconds (RFC 9110 §10.2.3); its form as a date is not used by the relay. */
function seconds(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined;
}
