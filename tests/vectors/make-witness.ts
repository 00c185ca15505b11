/** Writes tests/vectors/witness.json anew, over the log of log.json's records. Run it only when a format changes. */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, fromUtf8, toHex, utf8 } from "tallystick/bytes/bytes";
import { portableCrypto } from "tallystick/identity/portable";
import { formatSignatureLine, formatVerifierKey, parseNote, SignatureType, verifierKey } from "tallystick/log/note";
import { encodeAddCheckpoint, makeCosignature, withCosignatures } from "tallystick/log/witness";
import { memoryLog } from "../fixtures/memory-log.js";

const { sha256, ed25519 } = portableCrypto;
const here = (name: string) => new URL(name, import.meta.url);
const source: { records: { record: string }[] } = JSON.parse(readFileSync(here("record.json"), "utf8"));
const records = source.records.map(({ record }) => fromHex(record)!);
const log = memoryLog("tallystick.example/log", new Uint8Array(32).fill(0x10), records);
const seed = new Uint8Array(32).fill(0x30);
const publicKey = ed25519.publicKey(seed);
const key = verifierKey(sha256, "witness.example/w1", SignatureType.cosignature, publicKey);
const [oldSize, size, timeS] = [3, records.length, 1_790_000_060];
const checkpoint = utf8(log.checkpoint(size));
const note = parseNote(checkpoint);
if (!note.ok) throw new Error(note.failure.detail);
const line = makeCosignature(key, note.value.text, timeS, (message) => ed25519.sign(message, seed, publicKey));
const cosigned = withCosignatures(checkpoint, [line]);
if (!cosigned.ok) throw new Error(cosigned.failure.detail);
const witness = {
  logKey: log.vkey,
  seed: toHex(seed),
  key: formatVerifierKey(key),
  oldSize,
  oldRoot: toHex(log.rootAt(oldSize)),
  timeS,
  request: toHex(encodeAddCheckpoint({ oldSize, path: log.consistency(oldSize, size), checkpoint })),
  answer: formatSignatureLine(line),
  cosigned: fromUtf8(cosigned.value)!,
};
writeFileSync(here("witness.json"), `${JSON.stringify(witness, null, 2)}\n`);
