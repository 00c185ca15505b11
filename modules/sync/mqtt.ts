import { concatBytes } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { type Cbor, CborReader, encodeCbor } from "../record/cbor.js";
import { isUint } from "../record/record.js";
import type { TransportRequest, TransportResponse } from "./transport.js";

/** Requests and answers as MQTT messages: SPEC.md, section MQTT. A head, and behind it the body as HTTP carries it. */

export const MQTT_PREFIX = "tally/v1";
export const MESSAGE_ID_BYTES = 8;
export const HEAD_MAX_BYTES = 32;
const VERSION = 1;

/** The number of a call in an `up` message. */
export const Call = {
  challenge: 1,
  enrolment: 2,
  head: 3,
  records: 4,
  succession: 5,
  page: 6,
  relayKeys: 7,
} as const;
export type Call = (typeof Call)[keyof typeof Call];

/** How many arguments stand behind each call's number. */
const ARGUMENTS: readonly number[] = [0, 0, 0, 0, 0, 0, 2, 1];
const WITHOUT_BODY: readonly Call[] = [Call.challenge, Call.page, Call.relayKeys];

/** A request as a message of topic `up`. */
export interface Up {
  /** 8 bytes; the answer repeats them. */
  readonly id: Uint8Array;
  readonly call: Call;
  /** `from` and `to` of a page, the generation of relay keys. */
  readonly arguments: readonly number[];
  /** Empty where the call has none. */
  readonly body: Uint8Array;
}

/** An answer as a message of topic `down`. */
export interface Down extends TransportResponse {
  readonly id: Uint8Array;
}

export function encodeUp(up: Up): Uint8Array {
  return concatBytes(encodeCbor([VERSION, up.id, up.call, ...up.arguments]), up.body);
}

/** MESSAGE_MALFORMED, CBOR_INVALID. `body` is a view. */
export function readUp(bytes: Uint8Array): Result<Up> {
  const head = readHead(bytes);
  if (!head.ok) return head;
  const [version, id, call, ...given] = head.value.items;
  if (version !== VERSION || !isMessageId(id)) return malformed(`version ${VERSION} and a message id`);
  const count = isUint(call) && call >= 1 ? ARGUMENTS[call] : undefined;
  if (count === undefined) return malformed("the number of a call");
  if (given.length !== count || !given.every((one) => isUint(one))) return malformed(`${count} arguments`);
  if (head.value.body.length > 0 && WITHOUT_BODY.includes(call as Call)) return malformed("no body");
  return ok({ id, call: call as Call, arguments: given as number[], body: head.value.body });
}

export function encodeDown({ id, status, retryAfterS, body }: Down): Uint8Array {
  return concatBytes(encodeCbor([VERSION, id, status, retryAfterS ?? null]), body);
}

/** MESSAGE_MALFORMED, CBOR_INVALID. `body` is a view. */
export function readDown(bytes: Uint8Array): Result<Down> {
  const head = readHead(bytes);
  if (!head.ok) return head;
  const { items, body } = head.value;
  const [version, id, status, retryAfterS] = items;
  if (version !== VERSION || !isMessageId(id)) return malformed(`version ${VERSION} and a message id`);
  if (items.length !== 4 || !isUint(status) || status < 100 || status > 599) return malformed("a status");
  if (retryAfterS === null) return ok({ id, status, body });
  return isUint(retryAfterS) ? ok({ id, status, retryAfterS, body }) : malformed("seconds, or null");
}

const DEVICE_PATH = /^\/v1\/devices\/([0-9a-f]{16})\/(head|records|succession)$/;
const PAGE_PATH = /^\/v1\/devices\/([0-9a-f]{16})\/records\?from=([0-9]{1,16})&to=([0-9]{1,16})$/;
const KEYS_PATH = /^\/v1\/relay\/keys\?generation=([0-9]{1,16})$/;

/**
 * What a transport is asked for, as an `up` message, and the kid that its path names: where it names none, the topic has
 * the device's own. Undefined for what is no call of a device.
 */
export function upOf(
  { method, path, body = new Uint8Array(0) }: Pick<TransportRequest, "method" | "path" | "body">,
  id: Uint8Array,
): { readonly kid?: string; readonly bytes: Uint8Array } | undefined {
  if (method === "POST") {
    if (path === "/v1/devices") return { bytes: encodeUp({ id, call: Call.enrolment, arguments: [], body }) };
    const named = DEVICE_PATH.exec(path);
    if (!named) return undefined;
    const call = Call[named[2] as "head" | "records" | "succession"];
    return { kid: named[1]!, bytes: encodeUp({ id, call, arguments: [], body }) };
  }
  if (path === "/v1/challenge") return { bytes: encodeUp({ id, call: Call.challenge, arguments: [], body }) };
  const keys = KEYS_PATH.exec(path);
  if (keys) return { bytes: encodeUp({ id, call: Call.relayKeys, arguments: [Number(keys[1])], body }) };
  const page = PAGE_PATH.exec(path);
  if (!page) return undefined;
  const range = [Number(page[2]), Number(page[3])];
  return { kid: page[1]!, bytes: encodeUp({ id, call: Call.page, arguments: range, body }) };
}

/** The head's items, and what follows. A head that is longer than it may be ends in the middle, and is none. */
function readHead(bytes: Uint8Array): Result<{ readonly items: readonly Cbor[]; readonly body: Uint8Array }> {
  const reader = new CborReader(bytes.subarray(0, HEAD_MAX_BYTES));
  const head = reader.item();
  if (!head.ok) return head;
  if (!Array.isArray(head.value)) return malformed("an array as head");
  return ok({ items: head.value, body: bytes.subarray(reader.offset) });
}

function isMessageId(value: Cbor | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === MESSAGE_ID_BYTES;
}

function malformed(expected: string): Result<never> {
  return fail("MESSAGE_MALFORMED", `expected ${expected}`);
}
