import { EventKind, isName, NO_RETRY_AFTER, Outcome, Status, WireLimit, WireResponse } from "../../board/wire.js";
import type { NetworkAnswer } from "./network.js";

/** The world's side of the wire's messages: replies made, requests taken apart (hosts/board/WIRE.md). */

/** A refusal: it becomes the reply's status and text. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

export function okReply(result: Uint8Array | undefined): Uint8Array {
  const reply = new Uint8Array(1 + (result?.length ?? 0));
  if (result !== undefined) reply.set(result, 1);
  return reply;
}

export function refusalReply(status: number, detail: string): Uint8Array {
  return new Uint8Array([status, ...cut(detail)]);
}

/** UTF-8 of at most 200 bytes: a text that would be longer loses what is not ASCII, then its end. */
function cut(detail: string): Buffer {
  const bytes = Buffer.from(detail);
  if (bytes.length <= WireLimit.detail) return bytes;
  return Buffer.from(detail.replace(/[^\x20-\x7e]/g, "?").slice(0, WireLimit.detail));
}

export function namesReply(all: readonly string[]): Uint8Array {
  return Buffer.concat(all.map((one) => Buffer.from([one.length, ...Buffer.from(one, "latin1")])));
}

const OUTCOMES = {
  answered: Outcome.answered,
  "no-route": Outcome.noRoute,
  "timed-out": Outcome.timedOut,
  "too-long": Outcome.tooLong,
} as const;

/** The event that ends a request. */
export function responseEvent(number: number, answer: NetworkAnswer): Uint8Array {
  const detail = answer.outcome === "answered" ? Buffer.alloc(0) : cut(answer.detail);
  const event = Buffer.alloc(WireResponse.detail + detail.length);
  event[0] = EventKind.response;
  event.writeUInt16LE(number, WireResponse.request);
  event[WireResponse.outcome] = OUTCOMES[answer.outcome];
  const retryAfterS = answer.outcome === "answered" ? answer.retryAfterS : undefined;
  event.writeUInt32LE(retryAfterS ?? NO_RETRY_AFTER, WireResponse.retryAfter);
  if (answer.outcome === "answered") {
    event.writeUInt16LE(answer.status, WireResponse.status);
    event.writeUInt32LE(answer.body.length, WireResponse.length);
  }
  event.set(detail, WireResponse.detail);
  return event;
}

/** The length and name at `at`, and where the next field starts. */
export function nameIn(request: Buffer, at: number): [string, number] {
  atLeast(request, at + 1);
  const end = at + 1 + request[at]!;
  atLeast(request, end);
  return [name(request.subarray(at + 1, end)), end];
}

export function name(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  if (!isName(text)) throw new Refusal(Status.range, "name: expected 1 to 15 printable ASCII characters");
  return text;
}

export function u64(request: Buffer, at: number): number {
  const value = request.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Refusal(Status.range, `number: expected at most 2^53-1`);
  return Number(value);
}

export function u16Bytes(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

export function exactly(request: Buffer, length: number): void {
  if (request.length !== length)
    throw new Refusal(Status.malformed, `request: expected ${length} bytes, got ${request.length}`);
}

export function atLeast(request: Buffer, length: number): void {
  if (request.length < length)
    throw new Refusal(Status.malformed, `request: expected at least ${length} bytes, got ${request.length}`);
}

export function most(what: string, value: number, limit: number): void {
  between(what, value, 0, limit);
}

export function between(what: string, value: number, least: number, limit: number): void {
  if (value < least || value > limit)
    throw new Refusal(Status.range, `${what}: expected ${least} to ${limit}, got ${value}`);
}
