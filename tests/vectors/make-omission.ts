/** Writes tests/vectors/omission.json anew. Run it only when a format changes. */
import { writeFileSync } from "node:fs";
import { toHex } from "tallystick/bytes/bytes";
import { formatVerifierKey } from "tallystick/log/note";
import { idOf, LATER_S, PromisingRelay } from "../evidence/promising.js";

const relay = new PromisingRelay();
const before = relay.leaves("a", "b");
const dropping = relay.leaves("a", "b", "d", "e");
const keeping = relay.leaves("a", "b", "c", "e");
const [b, c] = [
  { seq: 6, id: idOf("b") },
  { seq: 7, id: idOf("c") },
];
const promise = relay.acknowledgement(before, { received: c, logged: b });
const word = relay.acknowledgement(dropping, { received: c, timeMs: LATER_S * 1000 });
const times = [LATER_S, LATER_S + 5];

function made(
  verdict: string,
  name: string,
  acknowledgement: Uint8Array,
  leaves: readonly Uint8Array[],
  later?: Uint8Array,
) {
  const bytes = { acknowledgement: toHex(acknowledgement), ...(later && { later: toHex(later) }) };
  return { verdict, name, ...bytes, leaves: leaves.map(toHex) };
}

const cases = [
  made("proved", "dropped, seen by witnesses", promise, dropping, relay.checkpoint(dropping, times)),
  made("proved", "dropped, by the relay's own later word", promise, dropping, word),
  made("proved", "said to be logged, and is not", relay.acknowledgement(before, { logged: c }), before),
  made("false", "kept", promise, keeping, relay.checkpoint(keeping, times)),
  made("incomplete", "a witness too few", promise, dropping, relay.checkpoint(dropping, [LATER_S])),
  made("incomplete", "a leaf hash too few", promise, dropping.slice(0, -1), relay.checkpoint(dropping, times)),
];
const policy = {
  log: formatVerifierKey(relay.log.key),
  witnesses: relay.witnesses.map(({ key }) => formatVerifierKey(key)),
  witnessQuorum: 2,
};
const vector = { policy, opening: toHex(relay.opening), cases };
writeFileSync(new URL("omission.json", import.meta.url), `${JSON.stringify(vector, null, 2)}\n`);
