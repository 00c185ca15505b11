import { toHex } from "tallystick/bytes/bytes";
import { explain, type Failure } from "tallystick/codes/codes";
import { momentText } from "tallystick/evidence/omission";
import type { Acknowledgement, Position } from "tallystick/sync/messages";
import { askHead, plainly } from "../ask-relay.js";
import { writeStatementFile } from "../key-file.js";
import { kidOfText, noKid } from "../kid.js";

/** What `tallystick acknowledgement` does; the exit status: 0 kept, 1 refused. */
export async function acknowledgement(device: string, relay: string, out: string, asJson: boolean): Promise<number> {
  const kid = kidOfText(device);
  if (!kid) return refuse(noKid(device), 2);
  const answer = await askHead(relay, kid);
  if (!answer.ok) return refuse(answer.failure);
  const { bytes, acknowledgement: word } = answer.value;
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
  const { logByS, erasedSeq } = word;
  const promise = logByS === undefined ? [] : [`to be logged by ${momentText(logByS)}`];
  const erased = erasedSeq === undefined ? [] : [`erased   seq ${erasedSeq}, and perhaps others above`];
  return [...line("received"), ...line("logged"), ...line("final"), ...promise, ...erased];
}

function toJson({ kid, received, logged, final, logByS, timeMs, erasedSeq }: Acknowledgement) {
  const position = (at: Position | undefined) => at && { seq: at.seq, id: toHex(at.id) };
  const levels = { received: position(received), logged: position(logged), final: position(final) };
  return { kid: toHex(kid), ...levels, log_by_s: logByS, time_ms: timeMs, erased_seq: erasedSeq };
}

function refuse(failure: Failure, status = 1): number {
  console.error(`tallystick acknowledgement: ${explain(plainly(failure))}`);
  return status;
}
