import { fail, ok, type Result } from "tallystick/codes/codes";
import {
  ADD_CHECKPOINT_PATH,
  type AddCheckpoint,
  encodeAddCheckpoint,
  readHeldSize,
  SIZE_TYPE,
  WITNESS_ANSWER_MAX_BYTES,
} from "tallystick/log/witness";
import { Refused } from "../problem.js";

/** One request to one witness, believed in nothing: bounded time, bounded size, no redirect followed. */

export const WITNESS_TIMEOUT_MS = 5_000;
/** Longest piece of a witness's own words that is repeated to a person. */
const WORDS_MAX_CHARACTERS = 300;

export interface Call {
  /** Submission and monitoring prefix, without a slash at its end. */
  readonly url: string;
  readonly timeoutMs: number;
  /** Ends the request at once. */
  readonly signal: AbortSignal;
}

/** What a witness answers; whether it holds is the caller's to see. */
export type WitnessAnswer =
  | { readonly kind: "cosigned"; readonly lines: Uint8Array }
  | { readonly kind: "holds"; readonly size: number }
  /** The witness says that the checkpoint does not continue what it holds. */
  | { readonly kind: "contradicts"; readonly words: string };

/** WITNESS_UNREACHABLE; WITNESS_REFUSED and WITNESS_ANSWER_FALSE where the answer is none of those. */
export async function askToCosign(call: Call, request: AddCheckpoint): Promise<Result<WitnessAnswer>> {
  const path = `${call.url}/${ADD_CHECKPOINT_PATH}`;
  const answer = await exchange(call, path, encodeAddCheckpoint(request));
  if (!answer.ok) return answer;
  const { status, type, bytes } = answer.value;
  if (status === 200) return ok({ kind: "cosigned", lines: bytes });
  if (status === 422) return ok({ kind: "contradicts", words: wordsOf(bytes) });
  if (status === 409) {
    const size = type === SIZE_TYPE ? readHeldSize(bytes) : undefined;
    if (size !== undefined) return ok({ kind: "holds", size });
    return fail("WITNESS_ANSWER_FALSE", `${path}: expected a size as ${SIZE_TYPE} with 409, received something else`);
  }
  if (status >= 400 && status < 500) return fail("WITNESS_REFUSED", `${path}: ${status} ${wordsOf(bytes)}`);
  return fail("WITNESS_UNREACHABLE", `${path}: ${status} ${wordsOf(bytes)}`);
}

/** The checkpoint that a witness shows; undefined where it shows none. WITNESS_UNREACHABLE. */
export async function askForCheckpoint(call: Call, path: string): Promise<Result<Uint8Array | undefined>> {
  const answer = await exchange(call, `${call.url}/${path}`, undefined);
  if (!answer.ok) return answer;
  return ok(answer.value.status === 200 ? answer.value.bytes : undefined);
}

interface Exchanged {
  readonly status: number;
  /** Without parameters. */
  readonly type: string;
  readonly bytes: Uint8Array;
}

async function exchange(call: Call, url: string, body: Uint8Array | undefined): Promise<Result<Exchanged>> {
  try {
    const response = await fetch(url, {
      method: body ? "POST" : "GET",
      // No decompressor is wanted, nor one that a witness could make much of little with.
      headers: { "accept-encoding": "identity", ...(body && { "content-type": "text/plain; charset=utf-8" }) },
      ...(body && { body }),
      redirect: "error",
      signal: AbortSignal.any([AbortSignal.timeout(call.timeoutMs), call.signal]),
    });
    const type = (response.headers.get("content-type") ?? "").replace(/;.*$/, "").trim().toLowerCase();
    return ok({ status: response.status, type, bytes: await readBody(response) });
  } catch (error) {
    if (error instanceof Refused) return { ok: false, failure: error.refusal.failure };
    return fail("WITNESS_UNREACHABLE", `${url}: ${reason(error, call.timeoutMs)}`);
  }
}

async function readBody(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > WITNESS_ANSWER_MAX_BYTES)
      throw new Refused(
        fail("WITNESS_ANSWER_FALSE", `expected at most ${WITNESS_ANSWER_MAX_BYTES} bytes, received more`),
      );
    parts.push(part);
  }
  // A plain array: a Buffer's `slice` shares memory, which the modules do not expect.
  return new Uint8Array(Buffer.concat(parts));
}

function reason(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${timeoutMs} ms`;
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}

/** A stranger's words, so short and plain that they can stand in a line of a log. */
function wordsOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, WORDS_MAX_CHARACTERS)).toString("utf8");
  return text.replace(/[^\x20-\x7e]+/g, " ").trim();
}
