/**
 * Writes tests/vectors/succession.json anew: the key of record.json is succeeded by one of a fixed seed at a position of
 * its chain. Run it only when the format changes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import { Identity } from "tallystick/identity/identity";
import { portableCrypto } from "tallystick/identity/portable";
import { encodeGenesis } from "tallystick/record/payload";
import { Kind, readBody, toBeSigned } from "tallystick/record/record";
import { encodeSuccessionRequest, stateSuccession } from "tallystick/sync/succession";

const here = (name: string) => new URL(name, import.meta.url);
const source: { seed: string; records: { id: string }[] } = JSON.parse(readFileSync(here("record.json"), "utf8"));
const nextSeed = new Uint8Array(32).fill(0x31);
const former = Identity.ofSeed(fromHex(source.seed)!, portableCrypto);
const next = Identity.ofSeed(nextSeed, portableCrypto);
const origin = "tallystick.example/log";
const seq = 6;
const id = fromHex(source.records[seq]!.id)!;

const statement = stateSuccession({ former, next, seq, id }, origin);
if (!statement.ok) throw new Error(statement.failure.detail);
const payload = encodeGenesis({
  publicKey: next.publicKey,
  model: "simulator",
  firmware: { version: "1.2.3", sha256: portableCrypto.sha256(new TextEncoder().encode("firmware")) },
  quantities: [{ name: "temperature", unit: "Cel" }],
  markIntervalS: 3600,
  predecessor: { kid: former.kid, seq, id },
});
const body = nextBody(next.kid, undefined, { kind: Kind.genesis, payload, uptimeMs: 4321, clock: 3 });
const parts = readBody(body);
if (!parts.ok) throw new Error(parts.failure.detail);
const signature = next.sign(toBeSigned(parts.value));
if (!signature.ok) throw new Error(signature.failure.detail);
const genesis = new Uint8Array([...body, ...signature.value]);
const nonce = new Uint8Array(16).fill(0x66);
const vector = {
  origin,
  formerSeed: source.seed,
  formerPublicKey: toHex(former.publicKey),
  formerKid: toHex(former.kid),
  nextSeed: toHex(nextSeed),
  nextPublicKey: toHex(next.publicKey),
  nextKid: toHex(next.kid),
  seq,
  id: toHex(id),
  nonce: toHex(nonce),
  pinnedSize: 7,
  genesis: toHex(genesis),
  statement: toHex(statement.value),
  request: toHex(encodeSuccessionRequest({ request: { nonce, pinnedSize: 7 }, genesis, statement: statement.value })),
};
writeFileSync(here("succession.json"), `${JSON.stringify(vector, null, 2)}\n`);
