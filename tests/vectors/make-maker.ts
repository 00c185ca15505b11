/**
 * Writes tests/vectors/maker.json anew: a maker's statements for the key of record.json, with all labels and with the
 * least, a genesis record that carries the first, and its enrolment. Run it only when the format changes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import { Identity } from "tallystick/identity/identity";
import { portableCrypto } from "tallystick/identity/portable";
import { makeMakerStatement, type Vouched } from "tallystick/record/maker";
import { encodeGenesis } from "tallystick/record/payload";
import { Kind, readBody, toBeSigned } from "tallystick/record/record";
import { encodeEnrolment, leaveOf, makePossession } from "tallystick/sync/messages";

const { sha256, ed25519 } = portableCrypto;
const here = (name: string) => new URL(name, import.meta.url);
const source: { seed: string } = JSON.parse(readFileSync(here("record.json"), "utf8"));
const makerSeed = new Uint8Array(32).fill(0x41);
const maker = Identity.ofSeed(makerSeed, portableCrypto);
const device = Identity.ofSeed(fromHex(source.seed)!, portableCrypto);
const firmware = { version: "1.2.3", sha256: sha256(new TextEncoder().encode("firmware")) };
const origin = "tallystick.example/log";

function signedBy(identity: Identity): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const signature = identity.sign(bytes);
    if (!signature.ok) throw new Error(signature.failure.detail);
    return signature.value;
  };
}

const least: Vouched = {
  publicKey: device.publicKey,
  chip: Uint8Array.of(0x24, 0x0a, 0xc4, 0x00, 0x01, 0x10),
  firmwareSha256: firmware.sha256,
};
const ownerKey = ed25519.publicKey(new Uint8Array(32).fill(0x42));
const text = "batch 7, no. 42";
const statement = makeMakerStatement(maker.kid, { ...least, ownerKey, text }, signedBy(maker));
const payload = encodeGenesis({
  publicKey: device.publicKey,
  model: "simulator",
  firmware,
  quantities: [{ name: "temperature", unit: "Cel" }],
  markIntervalS: 3600,
  statement,
});
const body = nextBody(device.kid, undefined, { kind: Kind.genesis, payload, uptimeMs: 1234, clock: 0 });
const parts = readBody(body);
if (!parts.ok) throw new Error(parts.failure.detail);
const genesis = new Uint8Array([...body, ...signedBy(device)(toBeSigned(parts.value))]);
const nonce = new Uint8Array(16).fill(0x77);
const challenge = new Uint8Array(32).fill(0x78);
const leaveSha256 = sha256(leaveOf(undefined, statement));
const possession = makePossession(device.kid, { origin, challenge, leaveSha256 }, signedBy(device));
const vector = {
  makerSeed: toHex(makerSeed),
  makerPublicKey: toHex(maker.publicKey),
  makerKid: toHex(maker.kid),
  devicePublicKey: toHex(device.publicKey),
  chip: toHex(least.chip),
  firmwareSha256: toHex(firmware.sha256),
  ownerPublicKey: toHex(ownerKey),
  text,
  statement: toHex(statement),
  least: toHex(makeMakerStatement(maker.kid, least, signedBy(maker))),
  genesis: toHex(genesis),
  origin,
  nonce: toHex(nonce),
  challenge: toHex(challenge),
  enrolment: toHex(encodeEnrolment({ request: { nonce, pinnedSize: 0 }, genesis, possession })),
};
writeFileSync(here("maker.json"), `${JSON.stringify(vector, null, 2)}\n`);
