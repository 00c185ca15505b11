import HTTPClient from "embedded:network/http/client";
// biome-ignore lint/style/useNodejsImportProtocol: the SDK's module of that name, not Node's.
import Net from "net";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Transport, TransportRequest, TransportResponse } from "tallystick/sync/transport";
import Timer from "timer";
import { boardTimers } from "./clock.js";
import { type RelayOrigin, Reply, requestHeaders } from "./http.js";
import type { Network } from "./network.js";

/** What the SDK's configuration of its HTTP client adds to `device`; its typings leave that out. */
interface NetworkProvider {
  readonly network: { readonly http: { readonly io: unknown; readonly dns: object; readonly socket: object } };
}

/** From the call to the answer's last byte. */
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * HTTP/1.1 over the SDK's ECMA-419 client, one connection a request: the SDK's own fetch never settles when a
 * connection fails before the headers, and a device must not wait for ever. Plain HTTP: records and acknowledgements are
 * signed end to end, so TLS would add secrecy, not integrity.
 */
export function httpTransport(origin: RelayOrigin, network: Network): Transport {
  return {
    request(request) {
      if (!network.joined) return Promise.resolve(fail("TRANSPORT_FAILED", "no network"));
      return new Promise((resolve) => exchange(origin, request, resolve));
    },
  };
}

/** The SDK's configuration asks a public resolver; a relay's name is often known to the local network only. */
function resolvers(dns: object): object {
  const servers = Net.get("DNS");
  return servers.length > 0 ? { ...dns, servers } : dns;
}

function exchange(
  origin: RelayOrigin,
  request: TransportRequest,
  resolve: (result: Result<TransportResponse>) => void,
): void {
  const body = request.body ?? new Uint8Array(0);
  const reply = new Reply(request.maxResponseBytes);
  let sent = 0;
  let client: HTTPClient | undefined;
  let settled = false;

  const settle = (result: Result<TransportResponse>): void => {
    if (settled) return;
    settled = true;
    timeout.cancel();
    resolve(result);
    // The client is closed from a timer of its own: it calls back while it still works on its state.
    Timer.set(() => client?.close());
  };
  const failed = (detail: string): void => settle(fail("TRANSPORT_FAILED", detail));
  const timeout = boardTimers.after(REQUEST_TIMEOUT_MS, () => failed(`no answer within ${REQUEST_TIMEOUT_MS} ms`));

  try {
    const { http } = (device as unknown as NetworkProvider).network;
    client = new HTTPClient({
      ...http,
      dns: resolvers(http.dns),
      host: origin.host,
      port: origin.port,
      onError: () => failed(`connection to ${origin.host}:${origin.port} failed`),
    });
    client.request({
      method: request.method,
      path: request.path,
      headers: requestHeaders(body),
      onHeaders(status, headers) {
        const refused = reply.begin(status, headers);
        if (refused !== undefined) failed(refused);
      },
      onWritable(count) {
        const part = body.subarray(sent, Math.min(sent + count, body.length));
        this.write(part);
        sent += part.length;
      },
      onReadable(count) {
        const bytes = this.read(count);
        const refused = bytes === undefined ? undefined : reply.append(new Uint8Array(bytes));
        if (refused !== undefined) failed(refused);
      },
      onDone(error) {
        if (error !== null) failed("the connection ended before the answer did");
        else settle(ok(reply.response()));
      },
    });
  } catch (error) {
    failed(error instanceof Error ? error.message : "refused");
  }
}
