import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { fail, ok, type Result } from "tallystick/codes/codes";

/** Where a server listens. */
export interface ListenOptions {
  /** Default 127.0.0.1: reaching further is for the operator to say. */
  readonly host?: string;
  /** Default 0, any free one. */
  readonly port?: number;
}

/** Listens; where, as `http://host:port`. PORT_TAKEN, ADDRESS_UNUSABLE; `setting` is where the port is chosen. */
export async function listen(
  app: FastifyInstance,
  options: ListenOptions,
  setting = "--port",
): Promise<Result<string>> {
  const { host = "127.0.0.1", port = 0 } = options;
  try {
    // Fastify's own line has an address in its text; ours follows.
    await app.listen({ host, port, listenTextResolver: () => "socket opened" });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EADDRINUSE") return fail("PORT_TAKEN", `port ${port} of ${host}, which ${setting} names`);
    if (code === undefined || !["EACCES", "EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN", "EINVAL"].includes(code))
      throw error;
    return fail("ADDRESS_UNUSABLE", `${host} port ${port}, which ${setting} names: ${code}`);
  }
  const address = app.server.address() as AddressInfo;
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return ok(`http://${shown}:${address.port}`);
}
