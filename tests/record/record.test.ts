import assert from "node:assert/strict";
import { createHash, createPublicKey, verify as nodeVerify } from "node:crypto";
import { readFileSync } from "node:fs";
import { Tagged as ForeignTagged, decode as foreignDecode } from "cborg";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { follow, type Head } from "tallystick/chain/chain";
import { verifySignature } from "tallystick/identity/ed25519";
import { kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { checkPayload } from "tallystick/record/payload";
import { encodeBody, parseRecord, readBody, recordId, toBeSigned } from "tallystick/record/record";

interface Vectors {
  publicKey: string;
  kid: string;
  records: {
    kind: number;
    seq: number;
    boot: number;
    uptimeMs: number;
    clock: number;
    payload: string;
    record: string;
    id: string;
  }[];
}
const vectors: Vectors = JSON.parse(readFileSync(new URL("../vectors/record.json", import.meta.url), "utf8"));
const publicKey = fromHex(vectors.publicKey)!;
const records = vectors.records.map((vector) => fromHex(vector.record)!);
const kidFor = (key: Uint8Array) => kidOf(portableCrypto.sha256, key);

describe("record vectors", () => {
  it("hold one record of each kind", () => {
    assert.deepEqual(new Set(vectors.records.map((r) => r.kind)), new Set([0, 1, 2, 3, 4, 5, 6]));
  });

  for (const [i, vector] of vectors.records.entries()) {
    it(`record ${i} of kind ${vector.kind} is read, rebuilt, verified and named alike`, () => {
      const parsed = parseRecord(records[i]!);
      assert(parsed.ok, JSON.stringify(parsed));
      const { header, payload, signature } = parsed.value;
      assert.equal(toHex(header.kid), vectors.kid);
      assert.equal(header.seq, vector.seq);
      assert.equal(header.boot, vector.boot);
      assert.equal(header.uptimeMs, vector.uptimeMs);
      assert.equal(header.clock, vector.clock);
      assert.equal(toHex(payload), vector.payload);
      assert.equal(toHex(encodeBody(header, payload)), toHex(parsed.value.body));
      assert(verifySignature(portableCrypto.ed25519, signature, toBeSigned(parsed.value), publicKey));
      assert.equal(toHex(recordId(portableCrypto.sha256, records[i]!)), vector.id);
      const checked = checkPayload(parsed.value, kidFor);
      assert(checked.ok, JSON.stringify(checked));
    });

    it(`record ${i} is a COSE_Sign1 to a foreign decoder, hash and verifier (cborg, node:crypto)`, () => {
      const bytes = records[i]!;
      const [tag, array] = foreignSign1(bytes);
      assert.equal(tag, 18);
      const [protectedBytes, unprotected, payload, signature] = array as [
        Uint8Array,
        Map<never, never>,
        Uint8Array,
        Uint8Array,
      ];
      assert.equal(unprotected.size, 0);
      const header = foreignDecode(protectedBytes, { useMaps: true, strict: true }) as Map<number, unknown>;
      assert.deepEqual([...header.keys()], [1, 3, 4, -70001]);
      assert.equal(header.get(1), -8);
      const external = Buffer.concat([
        Buffer.from("846a5369676e617475726531", "hex"),
        foreignBytes(protectedBytes),
        Buffer.from("40", "hex"),
        foreignBytes(payload),
      ]);
      const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]);
      const key = createPublicKey({ key: spki, format: "der", type: "spki" });
      assert(nodeVerify(null, external, key, signature));
      assert.equal(createHash("sha256").update(Buffer.of(0)).update(bytes).digest("hex"), vector.id);
    });
  }

  it("make one chain", () => {
    let head: Head | undefined;
    for (const bytes of records) {
      const parsed = parseRecord(bytes);
      assert(parsed.ok);
      const next = follow(portableCrypto.sha256, head, parsed.value);
      assert(next.ok, JSON.stringify(next));
      head = next.value;
    }
  });
});

describe("record/record", () => {
  it("changes its id, or is refused, with every flipped bit", () => {
    for (const bytes of records) {
      const id = toHex(recordId(portableCrypto.sha256, bytes));
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const changed = bytes.slice();
        changed[bit >> 3]! ^= 1 << (bit & 7);
        const parsed = parseRecord(changed);
        if (!parsed.ok) assert.match(parsed.failure.code, /^(CBOR_INVALID|RECORD_MALFORMED|RECORD_TOO_LARGE)$/);
        else {
          assert.notEqual(toHex(recordId(portableCrypto.sha256, changed)), id);
          const { header, payload, signature } = parsed.value;
          assert.equal(toHex(encodeBody(header, payload)) + toHex(signature), toHex(changed), `bit ${bit}`);
        }
      }
    }
  });

  it("does not verify with any flipped bit (a seeded sample, the slow engine)", () => {
    fc.assert(
      fc.property(fc.nat(records.length - 1), fc.nat(), (i, at) => {
        const changed = records[i]!.slice();
        const bit = at % (changed.length * 8);
        changed[bit >> 3]! ^= 1 << (bit & 7);
        const parsed = parseRecord(changed);
        if (!parsed.ok) return;
        assert(!verifySignature(portableCrypto.ed25519, parsed.value.signature, toBeSigned(parsed.value), publicKey));
      }),
      { numRuns: 150 },
    );
  });

  it("survives mutation without a throw", () => {
    fc.assert(
      fc.property(
        fc.nat(records.length - 1),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.nat(600),
        (i, edits, cut) => {
          const changed = records[i]!.slice(0, Math.max(1, records[i]!.length - (cut > 500 ? cut - 500 : 0)));
          for (const [at, byte] of edits) changed[at % changed.length] = byte;
          const parsed = parseRecord(changed);
          if (parsed.ok) checkPayload(parsed.value, kidFor);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it("refuses a record over 4,000 bytes with its own code", () => {
    const head = parseRecord(records[1]!);
    assert(head.ok);
    const body = encodeBody(head.value.header, new Uint8Array(3900));
    const parsed = parseRecord(new Uint8Array([...body, ...new Uint8Array(64)]));
    assert(!parsed.ok);
    assert.equal(parsed.failure.code, "RECORD_TOO_LARGE");
  });

  it("reads a body alone as the record reads it", () => {
    for (const bytes of records) {
      const body = readBody(bytes.subarray(0, bytes.length - 64));
      const record = parseRecord(bytes);
      assert(body.ok && record.ok);
      assert.deepEqual(body.value.header, record.value.header);
    }
  });
});

function foreignSign1(bytes: Uint8Array): [number, unknown[]] {
  let tag = 0;
  const decoder = (n: number) => (decode: () => unknown) => {
    tag = n;
    return decode();
  };
  const array = foreignDecode(bytes, { useMaps: true, strict: true, tags: { 18: decoder(18) } as never });
  return [tag, (array instanceof ForeignTagged ? array.value : array) as unknown[]];
}

/** A byte string written by hand, so that this test shares no encoder with the module. */
function foreignBytes(bytes: Uint8Array): Buffer {
  const length = bytes.length;
  const head = length < 24 ? [0x40 + length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), bytes]);
}
