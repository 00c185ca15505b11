import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** What stands between the outbox and the real node, and misbehaves as it is told. */
export interface NodeProxy {
  readonly url: string;
  /** Methods asked for, in order. */
  readonly asked: string[];
  /** How each request is treated; undefined passes it on. */
  behave: (method: string, count: number) => Misbehaviour | undefined;
  close(): Promise<void>;
}

export type Misbehaviour =
  | { readonly kind: "hang" }
  | { readonly kind: "drop" }
  | { readonly kind: "status"; readonly status: number; readonly body: string }
  | { readonly kind: "endless" }
  | { readonly kind: "error"; readonly message: string }
  /** Passes the request on and loses the answer: the node has done it, nobody knows. */
  | { readonly kind: "deaf" }
  /** Changes the answer's result. */
  | { readonly kind: "lie"; readonly lie: (result: unknown) => unknown };

export async function openProxy(target: string): Promise<NodeProxy> {
  let count = 0;
  const open = new Set<ServerResponse>();
  const proxy = {
    url: "",
    asked: [] as string[],
    behave: (() => undefined) as NodeProxy["behave"],
    close: async () => {},
  };
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    open.add(response);
    response.on("close", () => open.delete(response));
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString("utf8");
    const { id, method } = JSON.parse(body) as { id: number; method: string };
    proxy.asked.push(method);
    const wrong = proxy.behave(method, count++);
    const answer = (value: object) => response.end(JSON.stringify({ jsonrpc: "2.0", id, ...value }));
    if (wrong?.kind === "hang") return;
    if (wrong?.kind === "drop") return void response.destroy();
    if (wrong?.kind === "status") return void response.writeHead(wrong.status).end(wrong.body);
    if (wrong?.kind === "error") return void answer({ error: { code: -32000, message: wrong.message } });
    if (wrong?.kind === "endless") return endless(response);
    const real = await fetch(target, { method: "POST", headers: { "content-type": "application/json" }, body });
    const result = (await real.json()) as { result?: unknown; error?: object };
    if (wrong?.kind === "deaf") return void response.destroy();
    if (wrong?.kind === "lie" && result.result !== undefined) return void answer({ result: wrong.lie(result.result) });
    answer(result.error === undefined ? { result: result.result } : { error: result.error });
  };
  const server: Server = createServer(
    (request, response) => void serve(request, response).catch(() => response.destroy()),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  proxy.url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  proxy.close = () =>
    new Promise((resolve) => {
      for (const response of open) response.destroy();
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return proxy;
}

/** An answer that never ends, as fast as it is read. */
function endless(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024, "[");
  const write = () => {
    while (!response.destroyed && response.write(chunk));
    if (!response.destroyed) response.once("drain", write);
  };
  write();
}
