import { fail, ok, type Result } from "tallystick/codes/codes";

/** JSON-RPC 2.0 over HTTP to one node, believed in nothing: bounded time, bounded size, typed failures. */
export interface JsonRpcOptions {
  readonly url: string;
  /** Longest wait for one answer, in milliseconds. */
  readonly timeoutMs?: number;
}

export const RPC_TIMEOUT_MS = 5_000;
/** The largest answers are proofs and blocks with their transactions' hashes: well below. */
export const RPC_MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Longest piece of a node's error message that is repeated to a person. */
const MESSAGE_MAX_CHARACTERS = 300;

/** The node answered with an error of its own. */
export interface RpcError {
  readonly code: number;
  readonly message: string;
}

/** `value` is what the node returned, unchecked; `error` is its refusal. Both are answers. */
export type RpcAnswer = { readonly value: unknown } | { readonly error: RpcError };

export class JsonRpc {
  private readonly closed = new AbortController();
  private nextId = 1;

  constructor(private readonly options: JsonRpcOptions) {}

  /** One request, one try. LEDGER_UNREACHABLE where no well-formed answer came in time. */
  async ask(method: string, params: readonly unknown[]): Promise<Result<RpcAnswer>> {
    const id = this.nextId++;
    const timeoutMs = this.options.timeoutMs ?? RPC_TIMEOUT_MS;
    let text: string;
    try {
      const response = await fetch(this.options.url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", id, method, params }),
        redirect: "error",
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), this.closed.signal]),
      });
      text = await readText(response);
    } catch (error) {
      return unreachable(method, reason(error, timeoutMs));
    }
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      return unreachable(method, "the answer is not JSON");
    }
    if (!isObject(answer) || answer["id"] !== id) return unreachable(method, "the answer is to another question");
    const { error, result } = answer;
    if (isObject(error))
      return ok({ error: { code: Number(error["code"]), message: short(String(error["message"])) } });
    if (result === undefined) return unreachable(method, "the answer has neither result nor error");
    return ok({ value: result });
  }

  /** As `ask`, for requests that an honest node does not refuse: a refusal is LEDGER_UNREACHABLE too. */
  async call(method: string, params: readonly unknown[]): Promise<Result<unknown>> {
    const answer = await this.ask(method, params);
    if (!answer.ok) return answer;
    if ("error" in answer.value) return unreachable(method, answer.value.error.message);
    return ok(answer.value.value);
  }

  /** Ends requests under way; later ones fail at once. */
  close(): void {
    this.closed.abort(new Error("the relay is stopping"));
  }
}

async function readText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  if (response.body === null) return "";
  for await (const part of response.body) {
    length += part.length;
    if (length > RPC_MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${RPC_MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function reason(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${timeoutMs} ms`;
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}

function unreachable(method: string, detail: string): Result<never> {
  return fail("LEDGER_UNREACHABLE", `${method}: ${detail}`);
}

function short(message: string): string {
  return message.length > MESSAGE_MAX_CHARACTERS ? `${message.slice(0, MESSAGE_MAX_CHARACTERS)}…` : message;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
