import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { decode as foreignDecode } from "cborg";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { portableCrypto } from "tallystick/identity/portable";
import { type Cbor, encodeCbor } from "tallystick/record/cbor";
import {
  MAKER_STATEMENT_MAX_BYTES,
  MAKER_TYP,
  makeMakerStatement,
  readMakerStatement,
  type Vouched,
  verifyMakerStatement,
} from "tallystick/record/maker";
import { coseKey } from "tallystick/record/payload";
import { makeStatement } from "tallystick/record/statement";
import { relayCrypto } from "../../hosts/relay/crypto.js";

const vector = JSON.parse(readFileSync(new URL("../vectors/maker.json", import.meta.url), "utf8")) as {
  statement: string;
  makerPublicKey: string;
};
const maker = Identity.ofSeed(new Uint8Array(32).fill(0x41), relayCrypto);
const publicKey = relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(1));

function sign(bytes: Uint8Array): Uint8Array {
  const signed = maker.sign(bytes);
  assert.ok(signed.ok);
  return signed.value;
}

/** A signed statement with whatever payload. */
function stated(change: (payload: Map<number, Cbor>) => void, typ = MAKER_TYP): Uint8Array {
  const payload = new Map<number, Cbor>([
    [1, coseKey(publicKey)],
    [2, new Uint8Array(6)],
    [3, new Uint8Array(32)],
  ]);
  change(payload);
  return makeStatement(typ, maker.kid, payload, sign);
}

function malformed(bytes: Uint8Array, detail: RegExp): void {
  const read = readMakerStatement(bytes);
  assert.ok(!read.ok, "expected a refusal");
  assert.equal(read.failure.code, "MAKER_MALFORMED");
  assert.match(read.failure.detail, detail);
}

describe("a maker's statement", () => {
  it("says what it was made of, whatever that is (seeded)", () => {
    const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength });
    const key = bytes(32).map((seed) => relayCrypto.ed25519.publicKey(seed));
    const text = fc
      .string({ minLength: 1, maxLength: 16, unit: "grapheme" })
      .filter((one) => Buffer.byteLength(one) <= 64);
    const any: fc.Arbitrary<Vouched> = fc
      .record(
        { publicKey: key, chip: bytes(4, 16), firmwareSha256: bytes(32), ownerKey: key, text },
        { requiredKeys: ["publicKey", "chip", "firmwareSha256"] },
      )
      .map((vouched) => vouched as Vouched);
    fc.assert(
      fc.property(any, (vouched) => {
        const made = makeMakerStatement(maker.kid, vouched, sign);
        assert.ok(made.length <= MAKER_STATEMENT_MAX_BYTES);
        const read = readMakerStatement(made);
        assert.ok(read.ok, JSON.stringify(read));
        assert.deepEqual({ ...read.value.vouched }, { ...vouched });
        const verified = verifyMakerStatement(relayCrypto, read.value, [maker.publicKey]);
        assert.ok(verified.ok && toHex(verified.value) === toHex(maker.publicKey));
      }),
      { numRuns: 60 },
    );
  });

  it("is COSE to a foreign decoder", () => {
    const tags = { 18: (decode: () => unknown) => decode() };
    const sign1 = foreignDecode(fromHex(vector.statement)!, { useMaps: true, tags } as never) as Uint8Array[];
    const header = foreignDecode(sign1[0]!, { useMaps: true }) as Map<number, unknown>;
    assert.deepEqual([...header.keys()], [1, 4, 16]);
    assert.equal(header.get(16), MAKER_TYP);
    const payload = foreignDecode(sign1[2]!, { useMaps: true }) as Map<number, unknown>;
    assert.deepEqual([...payload.keys()], [1, 2, 3, 4, 5]);
  });

  it("is refused where a label is missing, too many, or of another kind or size", () => {
    malformed(
      stated((map) => map.delete(1)),
      /device's key.* label 1/,
    );
    malformed(
      stated((map) => map.set(1, coseKey(new Uint8Array(32)))),
      /label 1/,
    );
    malformed(
      stated((map) => map.set(1, publicKey)),
      /label 1/,
    );
    malformed(
      stated((map) => map.delete(2)),
      /label 2/,
    );
    malformed(
      stated((map) => map.set(2, new Uint8Array(3))),
      /4 to 16 bytes/,
    );
    malformed(
      stated((map) => map.set(2, new Uint8Array(17))),
      /4 to 16 bytes/,
    );
    malformed(
      stated((map) => map.set(2, "240ac4000110")),
      /label 2/,
    );
    malformed(
      stated((map) => map.set(3, new Uint8Array(31))),
      /label 3/,
    );
    malformed(
      stated((map) => map.delete(3)),
      /label 3/,
    );
    malformed(
      stated((map) => map.set(4, coseKey(new Uint8Array(32).fill(0xff)))),
      /label 4/,
    );
    malformed(
      stated((map) => map.set(4, 4)),
      /label 4/,
    );
    malformed(
      stated((map) => map.set(5, "")),
      /label 5/,
    );
    malformed(
      stated((map) => map.set(5, "ä".repeat(33))),
      /1 to 64 bytes/,
    );
    malformed(
      stated((map) => map.set(5, 7)),
      /label 5/,
    );
    malformed(
      stated((map) => map.set(6, 0)),
      /labels 1 to 5/,
    );
    malformed(encodeCbor("no statement"), /COSE_Sign1/);
    malformed(
      stated(() => undefined, "application/vnd.tallystick.possession+cbor"),
      /typ/,
    );
    malformed(new Uint8Array(MAKER_STATEMENT_MAX_BYTES + 1), /at most 1024 bytes/);
    malformed(new Uint8Array(0), /./);
  });

  it("takes no key of low order, and none that is not canonical", () => {
    for (const first of [0, 1, 0xec, 0xed, 0xee]) {
      const key = new Uint8Array(32).fill(first < 2 ? 0 : 0xff);
      key[0] = first;
      if (first > 1) key[31] = 0x7f;
      malformed(
        stated((map) => map.set(1, coseKey(key))),
        /one that the rule accepts/,
      );
      malformed(
        stated((map) => map.set(4, coseKey(key))),
        /one that the rule accepts/,
      );
    }
  });

  it("holds for no changed byte, and by no other maker (seeded)", () => {
    const original = fromHex(vector.statement)!;
    const key = fromHex(vector.makerPublicKey)!;
    fc.assert(
      fc.property(fc.nat(original.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = original.slice();
        changed[at]! ^= flip;
        const read = readMakerStatement(changed);
        const held = read.ok ? verifyMakerStatement(portableCrypto, read.value, [key]) : read;
        assert.ok(!held.ok);
        assert.match(held.failure.code, /^MAKER_(MALFORMED|UNKNOWN|FALSE)$/);
      }),
      { numRuns: 150 },
    );
    const read = readMakerStatement(original);
    assert.ok(read.ok);
    for (const makers of [[], [publicKey]]) {
      const verified = verifyMakerStatement(portableCrypto, read.value, makers);
      assert.ok(!verified.ok && verified.failure.code === "MAKER_UNKNOWN");
    }
  });
});
