import { randomBytes } from "node:crypto";
import { equalBytes, fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { explain, type Failure, fail } from "tallystick/codes/codes";
import { momentText } from "tallystick/evidence/omission";
import { fromDidKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { KID_BYTES } from "tallystick/record/record";
import { STATEMENT_MAX_BYTES } from "tallystick/record/statement";
import {
  type Acknowledgement,
  encodeRequest,
  NONCE_BYTES,
  type Position,
  readAcknowledgement,
} from "tallystick/sync/messages";
import { problemOf } from "tallystick/sync/problem";
import { ask } from "../ask.js";
import { writeStatementFile } from "../key-file.js";

/** What `tallystick acknowledgement` does; the exit status: 0 kept, 1 refused. */
export async function acknowledgement(device: string, relay: string, out: string, asJson: boolean): Promise<number> {
  const kid = kidOfText(device);
  if (!kid)
    return refuse(
      fail("KID_MALFORMED", `expected 16 hexadecimal digits in lower case or a did:key, received ${device}`).failure,
      2,
    );
  const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
  const url = `${relay.replace(/\/+$/, "")}/v1/devices/${toHex(kid)}/head`;
  const answer = await ask(url, STATEMENT_MAX_BYTES, encodeRequest({ nonce, pinnedSize: 0 }));
  if (!answer.ok) return refuse(answer.failure);
  const { status, bytes } = answer.value;
  if (status !== 200) {
    const problem = problemOf({ status, body: bytes });
    return refuse(problem ?? fail("SERVER_UNREACHABLE", `${url}: expected status 200, received ${status}`).failure);
  }
  const read = readAcknowledgement(bytes);
  if (!read.ok) return refuse(read.failure);
  const { acknowledgement: word } = read.value;
  if (!equalBytes(word.kid, kid) || !equalBytes(word.nonce, nonce))
    return refuse(fail("ACKNOWLEDGEMENT_FALSE", "expected one for this device and request, received another").failure);
  if (out === "-") {
    process.stdout.write(bytes);
    return 0;
  }
  const written = writeStatementFile(out, bytes);
  if (!written.ok) return refuse(written.failure);
  console.log(asJson ? JSON.stringify(toJson(word)) : toText(word).join("\n"));
  return 0;
}

function toText(word: Acknowledgement): string[] {
  const line = (level: "received" | "logged" | "final") => {
    const at = word[level];
    return at ? [`${level.padEnd(8)} seq ${at.seq}  ${toHex(at.id)}`] : [];
  };
  const { logByS } = word;
  const promise = logByS === undefined ? [] : [`to be logged by ${momentText(logByS)}`];
  return [...line("received"), ...line("logged"), ...line("final"), ...promise];
}

function toJson({ kid, received, logged, final, logByS, timeMs }: Acknowledgement) {
  const position = (at: Position | undefined) => at && { seq: at.seq, id: toHex(at.id) };
  const levels = { received: position(received), logged: position(logged), final: position(final) };
  return { kid: toHex(kid), ...levels, log_by_s: logByS, time_ms: timeMs };
}

/** A device as people name it: its kid, or its did:key. */
function kidOfText(text: string): Uint8Array | undefined {
  const key = fromDidKey(text);
  if (key) return kidOf(portableCrypto.sha256, key);
  const kid = fromHex(text);
  return kid?.length === KID_BYTES && utf8(text).length === 2 * KID_BYTES ? kid : undefined;
}

/** What the relay says of itself is a stranger's word: plain and short, so that it can stand on a terminal. */
const WORDS_MAX_CHARACTERS = 300;

function refuse({ code, detail }: Failure, status = 1): number {
  const plain = detail.replace(/[^\x20-\x7e]+/g, " ").slice(0, WORDS_MAX_CHARACTERS);
  console.error(`tallystick acknowledgement: ${explain({ code, detail: plain })}`);
  return status;
}
