import { LOG_CODES } from "tallystick/codes/log";
import type { Problem } from "./answers.js";

/** The operator API, asked on a token's word. */

const ANSWER_MAX_MS = 20_000;

export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem };

export class Api {
  readonly #token: string;

  constructor(token: string) {
    this.#token = token;
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
      const value: unknown = await answer.json();
      return answer.ok ? { ok: true, value: value as T } : { ok: false, problem: value as Problem };
    } catch (error) {
      return { ok: false, problem: away(error as Error) };
    }
  }
}

/** Nothing came, or what no relay says: a proxy's page. */
function away({ name, message }: Error): Problem {
  const { status, means, todo } = LOG_CODES.SERVER_UNREACHABLE;
  const detail = name === "TimeoutError" ? `nothing within ${ANSWER_MAX_MS / 1000} s` : message;
  return { title: means, status, code: "SERVER_UNREACHABLE", detail, todo };
}
