import { randomBytes } from "node:crypto";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { visible } from "tallystick/bytes/visible";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { STATEMENT_MAX_BYTES } from "tallystick/record/statement";
import { type Acknowledgement, encodeRequest, NONCE_BYTES, readAcknowledgement } from "tallystick/sync/messages";
import { problemOf } from "tallystick/sync/problem";
import { ask } from "./ask.js";

/** What anyone may ask a relay. Nothing that it answers is believed: who wants to, verifies it. */

/** The bytes behind a path of the relay's address; its own words where it gives none. SERVER_UNREACHABLE, and its codes. */
export async function askRelay(
  relay: string,
  path: string,
  maxBytes: number,
  body?: Uint8Array,
): Promise<Result<Uint8Array>> {
  const url = `${relay.replace(/\/+$/, "")}${path}`;
  const answer = await ask(url, maxBytes, body);
  if (!answer.ok) return answer;
  const { status, bytes } = answer.value;
  if (status === 200) return ok(bytes);
  const problem = problemOf({ status, body: bytes });
  return problem
    ? { ok: false, failure: problem }
    : fail("SERVER_UNREACHABLE", `${url}: expected status 200, received ${status}`);
}

export interface AskedHead {
  readonly bytes: Uint8Array;
  readonly acknowledgement: Acknowledgement;
}

/** The relay's word for how far it is with a device, as an answer to this very request. ACKNOWLEDGEMENT_FALSE where it is not. */
export async function askHead(relay: string, kid: Uint8Array): Promise<Result<AskedHead>> {
  const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
  const request = encodeRequest({ nonce, pinnedSize: 0 });
  const answer = await askRelay(relay, `/v1/devices/${toHex(kid)}/head`, STATEMENT_MAX_BYTES, request);
  if (!answer.ok) return answer;
  const read = readAcknowledgement(answer.value);
  if (!read.ok) return read;
  const { acknowledgement } = read.value;
  if (!equalBytes(acknowledgement.kid, kid) || !equalBytes(acknowledgement.nonce, nonce))
    return fail("ACKNOWLEDGEMENT_FALSE", "expected one for this device and request, received another");
  return ok({ bytes: answer.value, acknowledgement });
}

/** What a relay says of itself is a stranger's word: short, and fit for a terminal. */
const WORDS_MAX_CHARACTERS = 300;

export function plainly({ code, detail }: Failure): Failure {
  return { code, detail: visible(detail.slice(0, WORDS_MAX_CHARACTERS)) };
}
