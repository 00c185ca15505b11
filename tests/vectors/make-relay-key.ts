/**
 * Writes tests/vectors/relay-key.json anew: two statements that change a relay's keys, one by its device-facing key and one
 * by its recovery key, which also names its own successor. Run it only when the format changes.
 */
import { writeFileSync } from "node:fs";
import { toHex } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { portableCrypto as crypto } from "tallystick/identity/portable";
import { formatVerifierKey, SignatureType, verifierKey } from "tallystick/log/note";
import { makeRelayKey, type RelayKeyStatement } from "tallystick/log/relay-key";
import { GENERATION_RANGE } from "tallystick/sync/relay-key";
import { encodeRelayPins } from "tallystick/sync/relay-pins";

const origin = "tallystick.example/log";
const seedOf = (byte: number) => new Uint8Array(32).fill(byte);
const keyOf = (byte: number) => Identity.ofSeed(seedOf(byte), crypto);
const vkeyOf = (byte: number) =>
  formatVerifierKey(verifierKey(crypto.sha256, origin, SignatureType.ed25519, keyOf(byte).publicKey));

const [first, second, third] = [keyOf(0x41), keyOf(0x42), keyOf(0x43)];
const [recovery, nextRecovery] = [keyOf(0x51), keyOf(0x52)];

const tree = { size: 300, root: new Uint8Array(32).fill(0x71) };

function state(signer: Identity, next: Identity, statement: Omit<RelayKeyStatement, "origin" | "deviceKey">): string {
  const signWith = (identity: Identity) => (bytes: Uint8Array) => {
    const signature = identity.sign(bytes);
    if (!signature.ok) throw new Error(signature.failure.detail);
    return signature.value;
  };
  const content = { origin, deviceKey: next.publicKey, ...statement };
  return toHex(makeRelayKey(signer.kid, content, signWith(signer), signWith(next)));
}

const pins = { origin, deviceKey: first.publicKey, logKey: vkeyOf(0x61), recoveryKey: recovery.publicKey };
const rotated = { origin, deviceKey: second.publicKey, logKey: vkeyOf(0x61), recoveryKey: recovery.publicKey };
const recovered = { origin, deviceKey: third.publicKey, logKey: vkeyOf(0x62), recoveryKey: nextRecovery.publicKey };
const vector = {
  origin,
  deviceSeeds: [0x41, 0x42, 0x43].map((byte) => toHex(seedOf(byte))),
  recoverySeeds: [0x51, 0x52].map((byte) => toHex(seedOf(byte))),
  logKeys: [vkeyOf(0x61), vkeyOf(0x62)],
  generations: [1, GENERATION_RANGE],
  tree: { size: tree.size, root: toHex(tree.root) },
  rotation: state(first, second, { generation: 1, logKey: vkeyOf(0x61) }),
  recovery: state(recovery, third, {
    generation: GENERATION_RANGE,
    logKey: vkeyOf(0x62),
    recoveryKey: nextRecovery.publicKey,
    tree,
  }),
  /** Values of the key store: provisioned, after the rotation, after the recovery. */
  pins: [
    toHex(encodeRelayPins(pins)),
    toHex(encodeRelayPins({ ...rotated, generation: 1 })),
    toHex(encodeRelayPins({ ...recovered, generation: GENERATION_RANGE, tree })),
  ],
};
writeFileSync(new URL("relay-key.json", import.meta.url), `${JSON.stringify(vector, null, 2)}\n`);
