/**
 * Writes tests/vectors/{acknowledgement,log,evidence}.json anew, over the records of record.json and keys of fixed
 * seeds. Run it only when a format changes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeBundle } from "tallystick/evidence/bundle";
import { didKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { makeAcknowledgement } from "tallystick/sync/messages";
import { memoryLog } from "../fixtures/memory-log.js";

const { sha256, ed25519 } = portableCrypto;
const here = (name: string) => new URL(name, import.meta.url);
const source: { publicKey: string; kid: string; records: { seq: number; record: string; id: string }[] } = JSON.parse(
  readFileSync(here("record.json"), "utf8"),
);
const records = source.records.map(({ record }) => fromHex(record)!);
const logSeed = new Uint8Array(32).fill(0x10);
const relaySeed = new Uint8Array(32).fill(0x20);
const relayKey = ed25519.publicKey(relaySeed);
const log = memoryLog("tallystick.example/log", logSeed, records);
const size = records.length;
const write = (name: string, value: unknown) => writeFileSync(here(name), `${JSON.stringify(value, null, 2)}\n`);

write("log.json", {
  logPublicKey: toHex(log.key.publicKey),
  vkey: log.vkey,
  size,
  root: toHex(log.rootAt(size)),
  checkpoint: log.checkpoint(size),
  receipts: source.records.map(({ id }, index) => ({ id, index, receipt: toHex(log.receipt(index, size)) })),
});

const position = (seq: number) => ({ seq, id: fromHex(source.records[seq]!.id)! });
const acknowledgement = {
  kid: fromHex(source.kid)!,
  nonce: new Uint8Array(16).fill(0x55),
  received: position(7),
  logged: position(5),
  final: position(2),
  logByS: 1790000060,
  checkpoint: log.checkpoint(6),
  consistency: log.consistency(3, 6),
  pinnedSize: 3,
  timeMs: 1790000000123,
};
const acknowledged = (content: typeof acknowledgement & { readonly erasedSeq?: number }) =>
  toHex(makeAcknowledgement(kidOf(sha256, relayKey), content, (bytes) => ed25519.sign(bytes, relaySeed, relayKey)));
const erased = { head: 2, seq: 4 };
write("acknowledgement.json", {
  relayPublicKey: toHex(relayKey),
  vkey: log.vkey,
  pinned: { size: 3, root: toHex(log.rootAt(3)) },
  kid: source.kid,
  nonce: toHex(acknowledgement.nonce),
  levels: { received: 7, logged: 5, final: 2 },
  logByS: acknowledgement.logByS,
  timeMs: acknowledgement.timeMs,
  acknowledgement: acknowledged(acknowledgement),
  // The same to a device that names seq 2 as its head, after the record at seq 4 was erased.
  erased: {
    ...erased,
    relaySeed: toHex(relaySeed),
    acknowledgement: acknowledged({ ...acknowledgement, erasedSeq: erased.seq }),
  },
});

const bundle = encodeBundle({
  origin: log.key.name,
  entries: [0, 2].map((seq) => ({
    record: records[seq]!,
    receipt: log.receipt(seq, size),
    next: fromHex(source.records[seq + 1]!.id)!,
  })),
  checkpoint: log.checkpoint(size),
  anchors: [],
  claims: { logKey: log.vkey, witnessKeys: [] },
});
write("evidence.json", {
  policy: { log: log.vkey, devices: [didKey(fromHex(source.publicKey)!)], require: ["signature", "device", "logged"] },
  verdict: "proved",
  evidence: toHex(bundle),
});
