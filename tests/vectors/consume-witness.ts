import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import type { Crypto } from "tallystick/identity/crypto";
import { follow, openCheckpoint } from "tallystick/log/checkpoint";
import { formatSignatureLine, parseNote, parseVerifierKey } from "tallystick/log/note";
import {
  encodeAddCheckpoint,
  makeCosignature,
  readAddCheckpoint,
  readCosignatures,
  withCosignatures,
} from "tallystick/log/witness";

export interface WitnessVector
  extends Readonly<Record<"logKey" | "seed" | "key" | "oldRoot" | "request" | "answer" | "cosigned", string>> {
  readonly oldSize: number;
  readonly timeS: number;
}

/** A witness's work: the request read, followed from what it holds, its line made; and a reader's: the line found. */
export function consumeWitness(crypto: Crypto, vector: WitnessVector): string[] {
  const log = parseVerifierKey(crypto.sha256, vector.logKey);
  const witness = parseVerifierKey(crypto.sha256, vector.key);
  if (!log.ok || !witness.ok) return ["witness keys unreadable"];
  const request = readAddCheckpoint(fromHex(vector.request)!);
  if (!request.ok) return [`witness ${request.failure.code} ${request.failure.detail}`];
  const { oldSize, path, checkpoint } = request.value;
  const opened = openCheckpoint(crypto, checkpoint, log.value);
  const note = parseNote(checkpoint);
  if (!opened.ok || !note.ok) return ["witness checkpoint unreadable"];
  const older = { size: oldSize, root: fromHex(vector.oldRoot)! };
  const seed = fromHex(vector.seed)!;
  const line = makeCosignature(witness.value, note.value.text, vector.timeS, (message) =>
    crypto.ed25519.sign(message, seed, witness.value.publicKey),
  );
  const answered = readCosignatures(crypto, note.value.text, utf8(vector.answer), [witness.value]);
  const cosigned = withCosignatures(checkpoint, [line]);
  const read = openCheckpoint(crypto, vector.cosigned, log.value, [witness.value]);
  const lines = [
    `witness request ${toHex(encodeAddCheckpoint(request.value)) === vector.request} from ${oldSize === vector.oldSize} follows ${follow(crypto.sha256, older, opened.value, path).ok}`,
    `witness line ${formatSignatureLine(line) === vector.answer} read ${answered.ok && answered.value[0]?.timeS === vector.timeS} put ${cosigned.ok && toHex(cosigned.value) === toHex(utf8(vector.cosigned))}`,
    `witness cosigned ${read.ok && read.value.cosignatures.length === 1}`,
  ];
  for (let i = 0; i < vector.request.length / 2; i += 5) {
    const changed = fromHex(vector.request)!;
    changed[i]! ^= 1;
    const again = readAddCheckpoint(changed);
    const tree = again.ok ? openCheckpoint(crypto, again.value.checkpoint, log.value) : again;
    const follows = again.ok && tree.ok ? follow(crypto.sha256, older, tree.value, again.value.path) : tree;
    lines.push(`witness byte ${i} ${follows.ok ? "follows" : follows.failure.code}`);
  }
  return lines;
}
