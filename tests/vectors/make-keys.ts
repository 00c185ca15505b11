/**
 * Writes tests/vectors/keys.json anew: what becomes of the key of record.json. Its rotate record names the key of seed 9,
 * which its genesis has pinned as the relay's, too: that one revokes it from position 3 on. Run it only when a format changes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import { makeRevocation } from "tallystick/chain/revocation";
import { Identity } from "tallystick/identity/identity";
import { portableCrypto } from "tallystick/identity/portable";
import { encodeGenesis } from "tallystick/record/payload";
import { Kind, readBody, toBeSigned } from "tallystick/record/record";
import { encodeSuccessionRequest } from "tallystick/sync/succession";

const here = (name: string) => new URL(name, import.meta.url);
const source: { kid: string; records: { record: string; id: string }[] } = JSON.parse(
  readFileSync(here("record.json"), "utf8"),
);
const nextSeed = new Uint8Array(32).fill(9);
const next = Identity.ofSeed(nextSeed, portableCrypto);
const kid = fromHex(source.kid)!;
const seq = source.records.length - 1;
const last = source.records[seq]!;
const sign = (bytes: Uint8Array): Uint8Array => {
  const signed = next.sign(bytes);
  if (!signed.ok) throw new Error(signed.failure.detail);
  return signed.value;
};
const payload = encodeGenesis({
  publicKey: next.publicKey,
  model: "simulator",
  firmware: { version: "1.2.3", sha256: portableCrypto.sha256(new TextEncoder().encode("firmware")) },
  quantities: [{ name: "temperature", unit: "Cel" }],
  markIntervalS: 3600,
  predecessor: { kid, seq, id: fromHex(last.id)! },
});
const body = nextBody(next.kid, undefined, { kind: Kind.genesis, payload, uptimeMs: 9000, clock: 3 });
const parts = readBody(body);
if (!parts.ok) throw new Error(parts.failure.detail);
const genesis = new Uint8Array([...body, ...sign(toBeSigned(parts.value))]);
const nonce = new Uint8Array(16).fill(0x67);
const revocation = { fromSeq: 3, timeS: 1_790_000_000, reason: "board lost" };
const vector = {
  nextSeed: toHex(nextSeed),
  nextKid: toHex(next.kid),
  seq,
  nonce: toHex(nonce),
  pinnedSize: 8,
  genesis: toHex(genesis),
  request: toHex(
    encodeSuccessionRequest({ request: { nonce, pinnedSize: 8 }, genesis, rotation: fromHex(last.record)! }),
  ),
  ...revocation,
  revocation: toHex(makeRevocation(next.kid, { kid, ...revocation }, sign)),
};
writeFileSync(here("keys.json"), `${JSON.stringify(vector, null, 2)}\n`);
