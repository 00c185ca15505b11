import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Ed25519Key } from "@ldclabs/cose-ts/ed25519";
import { Sign1Message } from "@ldclabs/cose-ts/sign1";
import { concatBytes, fromHex } from "tallystick/bytes/bytes";
import { kidOf } from "tallystick/identity/key";
import { encodeInclusionReceipt, receiptToBeSigned } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeRecords } from "../log/records.js";
import { naiveInclusion, naiveRoot } from "../merkle/naive.js";

/** Records and receipts as a COSE implementation sees them that knows nothing of Tallystick: npm's @ldclabs/cose-ts. */
const { sha256, ed25519 } = relayCrypto;
const vectors = JSON.parse(readFileSync(new URL("../vectors/record.json", import.meta.url), "utf8")) as {
  publicKey: string;
  kid: string;
  records: readonly { readonly record: string; readonly seq: number; readonly payload: string }[];
};
/** Protected header, RFC 9052 §3.1 and record/SPEC.md. */
const Label = { algorithm: 1, kid: 4, position: -70001 } as const;
const EDDSA = -8;

describe("COSE_Sign1, verified by an implementation that is not ours", () => {
  const key = Ed25519Key.fromPublic(fromHex(vectors.publicKey)!);

  it("takes every record of the vectors, and reads key, position and payload", () => {
    for (const { record, seq, payload } of vectors.records) {
      const message = Sign1Message.fromBytes(key, fromHex(record)!);
      assert.equal(message.protected.getInt(Label.algorithm), EDDSA);
      assert.deepEqual(message.protected.getBytes(Label.kid), fromHex(vectors.kid));
      assert.equal(message.protected.getArray(Label.position, (value: unknown) => value)[2], seq);
      assert.deepEqual(message.payload, fromHex(payload));
    }
    assert.ok(vectors.records.length >= 8);
  });

  it("refuses each that was changed, and another key's", () => {
    const record = fromHex(vectors.records[2]!.record)!;
    for (let at = 2; at < record.length; at++) {
      const changed = record.slice();
      changed[at]! ^= 1;
      assert.throws(() => Sign1Message.fromBytes(key, changed), `byte ${at}`);
    }
    assert.throws(() => Sign1Message.fromBytes(Ed25519Key.fromPublic(ed25519.publicKey(new Uint8Array(32))), record));
  });

  it("takes receipts, whose payload is the root that the proof leads to", () => {
    const seed = new Uint8Array(32).fill(21);
    const publicKey = ed25519.publicKey(seed);
    const kid = kidOf(sha256, publicKey);
    const leaves = makeRecords(20).map((record) => recordId(sha256, record));
    const root = naiveRoot(leaves);
    const signature = ed25519.sign(receiptToBeSigned(kid, root), seed, publicKey);
    const logKey = Ed25519Key.fromPublic(publicKey);
    for (const index of [0, 7, 19]) {
      const path = naiveInclusion(index, leaves);
      const receipt = encodeInclusionReceipt({ size: leaves.length, index, path, kid, signature });
      assert.equal(Sign1Message.fromBytes(logKey, withPayload(receipt, root)).payload.length, root.length);
      assert.throws(() => Sign1Message.fromBytes(logKey, withPayload(receipt, leaves[index]!)));
    }
  });
});

/** The receipt with its detached payload in place of null, which stands before the signature's 66 bytes (RFC 9942). */
function withPayload(receipt: Uint8Array, root: Uint8Array): Uint8Array {
  const at = receipt.length - 67;
  assert.equal(receipt[at], 0xf6);
  return concatBytes(receipt.slice(0, at), Uint8Array.of(0x58, root.length), root, receipt.slice(at + 1));
}
