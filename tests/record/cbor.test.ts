import assert from "node:assert/strict";
import { decode as foreignDecode, encode as foreignEncode } from "cborg";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { type Cbor, decodeCbor, encodeCbor } from "tallystick/record/cbor";

const integer = fc.integer({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
const number = fc.oneof(
  integer,
  fc.integer({ min: -300, max: 70000 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((v) => !Number.isInteger(v)),
  fc.float({ noNaN: true, noDefaultInfinity: true }).filter((v) => !Number.isInteger(v)),
  fc.integer({ min: -2047, max: 2047 }).map((v) => v / 64),
);
const leaf = fc.oneof(
  number,
  fc.string({ unit: "binary" }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 40 }),
);
const key = fc.oneof(fc.integer({ min: -1000, max: 100000 }), fc.string());
const { value } = fc.letrec<{ value: Cbor }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    leaf,
    fc.array(tie("value"), { maxLength: 6 }),
    fc.array(fc.tuple(key, tie("value")), { maxLength: 6 }).map((entries) => new Map(entries)),
  ) as fc.Arbitrary<Cbor>,
}));

describe("record/cbor", () => {
  it("reads back what it writes, byte for byte", () => {
    fc.assert(
      fc.property(value, (v) => {
        const bytes = encodeCbor(v);
        const decoded = decodeCbor(bytes);
        assert(decoded.ok, JSON.stringify(decoded));
        assert.equal(toHex(encodeCbor(decoded.value)), toHex(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it("is what a foreign decoder reads, and what a foreign encoder writes for the same items", () => {
    fc.assert(
      fc.property(value, (v) => {
        const bytes = encodeCbor(v);
        const foreign = foreignDecode(bytes, { useMaps: true, strict: true, rejectDuplicateMapKeys: true });
        assert.equal(toHex(encodeCbor(foreign as Cbor)), toHex(bytes));
        // cborg sorts keys by length first (RFC 7049); both orders agree where there are no maps.
        if (!hasMap(v)) assert.equal(toHex(foreignEncode(foreign)), toHex(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it("never reads bytes that it would not write", () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (v, at, flip) => {
        const bytes = encodeCbor(v).slice();
        bytes[at % bytes.length]! ^= flip;
        const decoded = decodeCbor(bytes);
        if (decoded.ok) assert.equal(toHex(encodeCbor(decoded.value)), toHex(bytes));
        else assert.equal(decoded.failure.code, "CBOR_INVALID");
      }),
      { numRuns: 10000 },
    );
  });

  it("never reads random bytes that it would not write", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 24 }), (bytes) => {
        const decoded = decodeCbor(bytes);
        if (decoded.ok) assert.equal(toHex(encodeCbor(decoded.value)), toHex(bytes));
      }),
      { numRuns: 20000 },
    );
  });

  // RFC 8949 Appendix A, as far as this profile has the item.
  const known: [Cbor, string][] = [
    [0, "00"],
    [23, "17"],
    [24, "1818"],
    [1000000000000, "1b000000e8d4a51000"],
    [-1000, "3903e7"],
    [1.5, "f93e00"],
    [2 ** -24, "f90001"],
    [2 ** -14, "f90400"],
    [-4.1, "fbc010666666666666"],
    [3.4028234663852886e38 / 2 ** 128, "fa3f7fffff"],
    ["\u00fc", "62c3bc"],
    ["\ud800\udd51", "64f0908591"],
    [[1, [2, 3], [4, 5]], "8301820203820405"],
  ];
  for (const [item, hex] of known) {
    it(`writes ${hex} as RFC 8949 does`, () => assert.equal(toHex(encodeCbor(item)), hex));
  }

  const refused: [string, string][] = [
    ["1817", "an integer that has a shorter form"],
    ["1b0020000000000000", "2^53"],
    ["3b001fffffffffffff", "-2^53"],
    ["f93c00", "1.0 as a float"],
    ["f98000", "-0"],
    ["f97e00", "NaN"],
    ["f97c00", "infinity"],
    ["fa3fc00000", "1.5 in four bytes"],
    ["fb3ff8000000000000", "1.5 in eight bytes"],
    ["9f00ff", "an indefinite array"],
    ["5f4100ff", "an indefinite byte string"],
    ["a201000000", "keys out of order"],
    ["a200000000", "a key twice"],
    ["a1f500", "a boolean key"],
    ["62c328", "invalid UTF-8"],
    ["63eda080", "a surrogate"],
    ["0000", "a second item"],
    ["9affffffff", "four billion elements in five bytes"],
    ["5affffffff", "four billion bytes in five"],
    ["818181818100", "depth 5"],
    ["f7", "undefined"],
    ["f820", "an unassigned simple value"],
    ["1c", "a reserved length"],
  ];
  for (const [hex, what] of refused) {
    it(`refuses ${what}`, () => {
      const decoded = decodeCbor(fromHex(hex)!);
      assert(!decoded.ok);
      assert.equal(decoded.failure.code, "CBOR_INVALID");
    });
  }

  it("throws at values that have no encoding", () => {
    for (const v of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) assert.throws(() => encodeCbor(v), RangeError);
  });
});

function hasMap(value: Cbor): boolean {
  return value instanceof Map || (Array.isArray(value) && value.some(hasMap));
}
