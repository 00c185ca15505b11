import { LOG_CODES } from "tallystick/codes/log";
import type { Problem } from "./answers.js";

/** The operator API, asked on a token's word. */

const ANSWER_MAX_MS = 20_000;
/** A header's date has whole seconds, and was on its way: what is less is no difference. */
const CLOCK_STEP_MS = 2000;

export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem };

export class Api {
  readonly #token: string;
  /** By which the relay's clock is before this machine's. */
  #aheadMs = 0;

  constructor(token: string) {
    this.#token = token;
  }

  /** What the relay's clock says: ages are told by the clock by which times were written. */
  nowMs(): number {
    return Date.now() + this.#aheadMs;
  }

  get<T>(path: string): Promise<Answer<T>> {
    return this.#ask("GET", path);
  }

  post<T>(path: string, body: object): Promise<Answer<T>> {
    return this.#ask("POST", path, body);
  }

  delete<T>(path: string): Promise<Answer<T>> {
    return this.#ask("DELETE", path);
  }

  async #ask<T>(method: string, path: string, body?: object): Promise<Answer<T>> {
    try {
      const answer = await fetch(`../v1/operator/${path}`, {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(body && { "content-type": "application/json" }),
        },
        ...(body && { body: JSON.stringify(body) }),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.timeout(ANSWER_MAX_MS),
      });
      const relayMs = Date.parse(answer.headers.get("date") ?? "");
      const aheadMs = relayMs - Date.now();
      this.#aheadMs = Math.abs(aheadMs) >= CLOCK_STEP_MS ? aheadMs : 0;
      const value: unknown = await answer.json();
      if (answer.ok && isObject(value)) return { ok: true, value: value as T };
      if (!answer.ok && isProblem(value)) return { ok: false, problem: value };
      return { ok: false, problem: away(new Error(`status ${answer.status}, and no answer of a relay`)) };
    } catch (error) {
      return { ok: false, problem: away(error as Error) };
    }
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isProblem(value: unknown): value is Problem {
  if (!isObject(value)) return false;
  const { title, status, code, detail, todo } = value as Partial<Problem>;
  return typeof status === "number" && [title, code, detail, todo].every((text) => typeof text === "string");
}

/** Nothing came, or what no relay says: a proxy's page. */
export function away({ name, message }: Error): Problem {
  const { status, means, todo } = LOG_CODES.SERVER_UNREACHABLE;
  const detail = name === "TimeoutError" ? `nothing within ${ANSWER_MAX_MS / 1000} s` : message;
  return { title: means, status, code: "SERVER_UNREACHABLE", detail, todo };
}
