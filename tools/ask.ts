import { fail, ok, type Result } from "tallystick/codes/codes";

/** One request to a server that is not believed in anything: bounded in time and size, no redirect followed. */

/** The longest that an answer is waited for. */
export const ASK_TIMEOUT_MS = 10_000;
/** How often a request is sent where no answer comes at all. */
export const ASK_ATTEMPTS_MAX = 3;

export interface Asked {
  readonly status: number;
  readonly bytes: Uint8Array;
}

/** The answer, whatever its status. SERVER_UNREACHABLE: none came, or one of more than `maxBytes`. */
export async function ask(url: string, maxBytes: number, body?: Uint8Array): Promise<Result<Asked>> {
  let reason = "";
  for (let attempt = 0; attempt < ASK_ATTEMPTS_MAX; attempt++) {
    try {
      const response = await fetch(url, {
        method: body ? "POST" : "GET",
        // No decompressor is wanted, nor one that a server could make much of little with.
        headers: { "accept-encoding": "identity", ...(body && { "content-type": "application/cbor" }) },
        ...(body && { body: Buffer.from(body) }),
        redirect: "error",
        signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
      });
      const bytes = await readBody(response, maxBytes);
      if (!bytes) return fail("SERVER_UNREACHABLE", `${url}: expected at most ${maxBytes} bytes, received more`);
      return ok({ status: response.status, bytes });
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  return fail("SERVER_UNREACHABLE", `${url}: ${reason}`);
}

/** Undefined where it is longer. */
async function readBody(response: Response, maxBytes: number): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > maxBytes) return undefined;
    parts.push(part);
  }
  // A plain array: a Buffer's `slice` shares memory, which the modules do not expect.
  return new Uint8Array(Buffer.concat(parts));
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${ASK_TIMEOUT_MS} ms`;
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}
