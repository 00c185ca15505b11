import { fromUtf8 } from "../bytes/bytes.js";
import { CODES, type Code, type Failure } from "../codes/codes.js";
import type { TransportResponse } from "./transport.js";

const PROBLEM_MAX_BYTES = 4096;

/** The code and detail of an RFC 9457 problem document, where the answer is one that this device knows. */
export function problemOf(response: TransportResponse): Failure | undefined {
  const text = response.body.length <= PROBLEM_MAX_BYTES ? fromUtf8(response.body) : undefined;
  if (text === undefined) return undefined;
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem !== "object" || problem === null) return undefined;
    const { code, detail } = problem as { code?: unknown; detail?: unknown };
    return typeof code === "string" && Object.keys(CODES).includes(code)
      ? { code: code as Code, detail: `the relay: ${typeof detail === "string" ? detail : response.status}` }
      : undefined;
  } catch {
    return undefined;
  }
}
