import assert from "node:assert/strict";
import { createPublicKey, verify as verifyByOpenSsl } from "node:crypto";
import { readFileSync } from "node:fs";
import { Tagged as CborgTagged, decode } from "cborg";
import fc from "fast-check";
import type { Result } from "tallystick/codes/codes";
import { kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import {
  attachReceipts,
  encodeConsistencyReceipt,
  encodeInclusionReceipt,
  parseInclusionReceipt,
  receiptToBeSigned,
  verifyConsistencyReceipt,
  verifyInclusionReceipt,
} from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeRecords } from "../log/records.js";
import { naiveConsistency, naiveInclusion, naiveRoot } from "../merkle/naive.js";
import { receiptVectors } from "./vectors.js";

const { sha256, ed25519 } = relayCrypto;
const seed = new Uint8Array(32).fill(21);
const publicKey = ed25519.publicKey(seed);
const kid = kidOf(sha256, publicKey);
const records = makeRecords(40);
const leaves = records.map((record) => recordId(sha256, record));
const code = (result: Result<unknown>) => (result.ok ? "ok" : result.failure.code);

const signRoot = (size: number) =>
  ed25519.sign(receiptToBeSigned(kid, naiveRoot(leaves.slice(0, size))), seed, publicKey);

function receiptOf(index: number, size: number): Uint8Array {
  const path = naiveInclusion(index, leaves.slice(0, size));
  return encodeInclusionReceipt({ size, index, path, kid, signature: signRoot(size) });
}

/** A second CBOR reader's view: maps as Map, tag 18 kept, nothing indefinite, nothing after the item. */
function foreign(bytes: Uint8Array): unknown {
  return decode(bytes, {
    useMaps: true,
    tags: { 18: (inner) => new CborgTagged(18, inner()) },
    strict: true,
    allowIndefinite: false,
  });
}

describe("receipt: structure of RFC 9942, read by cborg", () => {
  it("a receipt of inclusion", () => {
    const receipt = foreign(receiptOf(17, 20)) as { value: unknown };
    assert.ok(receipt instanceof CborgTagged);
    const [protectedBytes, unprotected, payload, signature] = receipt.value as [
      Uint8Array,
      Map<number, unknown>,
      null,
      Uint8Array,
    ];
    const header = foreign(protectedBytes) as Map<number, unknown>;
    assert.deepEqual([...header.keys()], [1, 4, 395]);
    assert.equal(header.get(1), -8, "EdDSA");
    assert.deepEqual(header.get(4), kid);
    assert.equal(header.get(395), 1, "RFC9162_SHA256");
    assert.equal(payload, null, "detached");
    assert.equal(signature.length, 64);
    const proofs = unprotected.get(396) as Map<number, Uint8Array[]>;
    assert.deepEqual([...unprotected.keys()], [396]);
    assert.deepEqual([...proofs.keys()], [-1]);
    assert.equal(proofs.get(-1)!.length, 1);
    const [size, index, path] = foreign(proofs.get(-1)![0]!) as [number, number, Uint8Array[]];
    assert.deepEqual([size, index], [20, 17]);
    assert.deepEqual(path, naiveInclusion(17, leaves.slice(0, 20)));
  });

  it("its signature, verified by OpenSSL over a Sig_structure spelt out by hand", () => {
    const [protectedBytes, , , signature] = (foreign(receiptOf(17, 20)) as CborgTagged).value as Uint8Array[];
    const root = naiveRoot(leaves.slice(0, 20));
    const toBeSigned = Buffer.concat([
      Buffer.from("846a5369676e617475726531", "hex"),
      Buffer.of(0x40 + protectedBytes!.length),
      protectedBytes!,
      Buffer.from("405820", "hex"),
      root,
    ]);
    const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]);
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    assert.ok(verifyByOpenSsl(null, toBeSigned, key, signature!));
  });

  it("a record with receipts attached keeps its signed parts, and is no log entry", () => {
    const receipt = receiptOf(3, 30);
    const attached = attachReceipts(records[3]!, [receipt]);
    assert.ok(attached.ok);
    const [bare, with394] = [records[3]!, attached.value].map(
      (bytes) => (foreign(bytes) as CborgTagged).value as unknown[],
    );
    assert.deepEqual([with394![0], with394![2], with394![3]], [bare![0], bare![2], bare![3]]);
    assert.deepEqual((with394![1] as Map<number, unknown>).get(394), [receipt]);
    assert.equal(code(attachReceipts(new Uint8Array(100), [receipt])), "RECORD_MALFORMED");
    assert.notDeepEqual(recordId(sha256, attached.value), leaves[3]);
  });
});

describe("receipt: vectors", () => {
  const stored = JSON.parse(readFileSync(new URL("../vectors/receipt.json", import.meta.url), "utf8"));
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

  it("are what this code makes", () => assert.deepEqual(stored, receiptVectors()));

  for (const crypto of [relayCrypto, portableCrypto]) {
    it(`are verified with ${crypto.ed25519.name}`, () => {
      const key = bytes(stored.publicKey);
      for (const { record, receipt, size, index, root } of stored.inclusion) {
        const proved = verifyInclusionReceipt(crypto, key, bytes(receipt), recordId(crypto.sha256, bytes(record)));
        assert.deepEqual(proved, { ok: true, value: { size, index, root: bytes(root) } });
      }
      for (const { oldSize, oldRoot, receipt, size, root } of stored.consistency) {
        const proved = verifyConsistencyReceipt(crypto, key, bytes(receipt), { size: oldSize, root: bytes(oldRoot) });
        assert.deepEqual(proved, { ok: true, value: { size, root: bytes(root) } });
      }
      for (const { record, receipt, code: expected } of stored.refused) {
        assert.equal(
          code(verifyInclusionReceipt(crypto, key, bytes(receipt), recordId(crypto.sha256, bytes(record)))),
          expected,
        );
      }
    });
  }
});

describe("receipt: verification", () => {
  it("every record in every tree to 40 leaves; for no other record, and by no other key", () => {
    const otherKey = ed25519.publicKey(new Uint8Array(32).fill(22));
    for (let size = 2; size <= 40; size += 3) {
      for (let index = 0; index < size; index++) {
        const receipt = receiptOf(index, size);
        const proved = verifyInclusionReceipt(relayCrypto, publicKey, receipt, leaves[index]!);
        assert.deepEqual(proved, { ok: true, value: { size, index, root: naiveRoot(leaves.slice(0, size)) } });
        const other = leaves[(index + 1) % 40]!;
        assert.equal(code(verifyInclusionReceipt(relayCrypto, publicKey, receipt, other)), "SIGNATURE_INVALID");
        assert.equal(code(verifyInclusionReceipt(relayCrypto, otherKey, receipt, leaves[index]!)), "SIGNATURE_INVALID");
      }
    }
  });

  it("consistency from every earlier size", () => {
    const size = 23;
    for (let oldSize = 1; oldSize < size; oldSize++) {
      const path = naiveConsistency(oldSize, leaves.slice(0, size));
      const receipt = encodeConsistencyReceipt({ oldSize, size, path, kid, signature: signRoot(size) });
      const older = { size: oldSize, root: naiveRoot(leaves.slice(0, oldSize)) };
      const proved = verifyConsistencyReceipt(relayCrypto, publicKey, receipt, older);
      assert.deepEqual(proved, { ok: true, value: { size, root: naiveRoot(leaves.slice(0, size)) } });
      const forked = { size: oldSize, root: leaves[30]! };
      const refused = code(verifyConsistencyReceipt(relayCrypto, publicKey, receipt, forked));
      // From a power of two the old root itself starts the path: then it is the signature that does not fit.
      assert.equal(refused, Number.isInteger(Math.log2(oldSize)) ? "SIGNATURE_INVALID" : "CONSISTENCY_FALSE");
      const elsewhere = { size: oldSize + 1, root: older.root };
      assert.equal(code(verifyConsistencyReceipt(relayCrypto, publicKey, receipt, elsewhere)), "RECEIPT_MALFORMED");
    }
  });

  it("every flipped bit is refused, but in the size, which only the checkpoint binds", () => {
    const receipt = receiptOf(11, 23);
    const root = naiveRoot(leaves.slice(0, 23));
    for (let bit = 0; bit < receipt.length * 8; bit++) {
      const spoilt = receipt.slice();
      spoilt[bit >> 3]! ^= 1 << (bit & 7);
      const result = verifyInclusionReceipt(relayCrypto, publicKey, spoilt, leaves[11]!);
      // The size is not under the signature: another size with the same path shape proves the same root. The checkpoint decides.
      if (result.ok) {
        assert.deepEqual(result.value.root, root, `bit ${bit}`);
        assert.notEqual(result.value.size, 23, `bit ${bit}`);
      }
    }
  });

  it("drawn bytes, cut and lengthened receipts are refused without a throw", () => {
    const receipt = receiptOf(11, 23);
    for (let end = 0; end < receipt.length; end++)
      assert.equal(parseInclusionReceipt(receipt.subarray(0, end)).ok, false);
    assert.equal(code(parseInclusionReceipt(new Uint8Array([...receipt, 0]))), "CBOR_INVALID");
    assert.equal(code(parseInclusionReceipt(new Uint8Array(5000))), "RECEIPT_MALFORMED");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => assert.equal(parseInclusionReceipt(bytes).ok, false)),
    );
    assert.throws(
      () => encodeInclusionReceipt({ size: 1, index: 0, path: [], kid, signature: signRoot(1) }),
      RangeError,
    );
  });
});
