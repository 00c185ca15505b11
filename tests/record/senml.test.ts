import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { fromHex } from "tallystick/bytes/bytes";
import { ClockState } from "tallystick/clock/clock";
import { type Cbor, decodeCbor, encodeCbor } from "tallystick/record/cbor";
import { Kind, parseRecord } from "tallystick/record/record";
import { checkPack, PACK_MAX_ENTRIES, type Reading, readPack } from "tallystick/record/senml";
import { resolve } from "../sampler/resolver.js";

const vectors: { records: { kind: number; record: string }[] } = JSON.parse(
  readFileSync(new URL("../vectors/record.json", import.meta.url), "utf8"),
);
const packs = vectors.records
  .filter(({ kind }) => kind === Kind.readings)
  .map(({ record }) => {
    const parsed = parseRecord(fromHex(record)!);
    assert.ok(parsed.ok);
    return { payload: parsed.value.payload, clock: parsed.value.header.clock };
  });

type Entry = [label: number, value: Cbor][];

const pack = (...entries: Entry[]) => encodeCbor(entries.map((entry) => new Map(entry)));

/** What an independent resolver says, in the shape of our reader. */
function foreign(payload: Uint8Array) {
  return resolve(payload, 0).map(({ text, value, ...rest }) => ({ ...rest, value: value ?? { fault: text } }));
}

describe("record/senml", () => {
  it("resolves the vectors, in the order of time, as an independent resolver does", () => {
    const [unset, set] = packs.map(({ payload, clock }) => {
      const readings = readPack(payload, clock);
      assert.ok(readings.ok);
      assert.deepEqual(readings.value, foreign(payload));
      return readings.value;
    });
    assert.deepEqual(unset, [
      { name: "temperature", unit: "Cel", value: 21.37, timeS: -1.5 },
      { name: "humidity", unit: "%RH", value: { fault: "crc" }, timeS: -0.984375 },
      { name: "temperature", unit: "Cel", value: 21, timeS: 0 },
    ] satisfies Reading[]);
    assert.deepEqual(set, [
      { name: "attic/temperature", unit: "Cel", value: 21.5, timeS: 1790000000 },
      { name: "pressure", unit: "Pa", value: 101325, timeS: 1790000000.25 },
      { name: "cellar/temperature", unit: "Cel", value: -7.0078125, timeS: 1790000000.25 },
      { name: "pressure", unit: "Pa", value: 101324.75, timeS: 1790000005.25 },
    ] satisfies Reading[]);
  });

  const name: Entry[number] = [-2, "temperature"];
  const unit: Entry[number] = [-4, "Cel"];
  const base: Entry[number] = [-3, 1790000000];
  const value: Entry[number] = [2, 21.5];
  const humidity: Entry = [
    [2, 40],
    [-2, "humidity"],
    [-4, "%RH"],
  ];

  it("accepts one form only", () => {
    const accepted = pack([value, name, unit, base], [value], [value, [6, 1]], humidity, [[3, "crc"]]);
    assert.ok(checkPack(accepted, ClockState.relay).ok);
    const refused: [why: string, bytes: Uint8Array, expected: RegExp][] = [
      ["no entry", pack(), /1 to 200 entries/],
      ["no map", encodeCbor([1]), /entry 0 as a map/],
      ["no array", encodeCbor(new Map([value])), /1 to 200 entries/],
      ["a name of its own", pack([[0, "temperature"], value, unit, base]), /known label in entry 0, not 0/],
      ["a unit of its own", pack([[1, "Cel"], value, name, base]), /known label in entry 0, not 1/],
      ["a sum", pack([value, [5, 1], name, unit, base]), /known label in entry 0, not 5/],
      ["a base value", pack([value, [-5, 1], name, unit, base]), /known label in entry 0, not -5/],
      ["no base name", pack([value, unit, base]), /entry 0 with a base name/],
      ["an empty base name", pack([value, [-2, ""], unit, base]), /entry 0 with a SenML name/],
      ["a name with a space", pack([value, [-2, "a b"], unit, base]), /entry 0 with a SenML name/],
      ["a name that begins with a stroke", pack([value, [-2, "-a"], unit, base]), /entry 0 with a SenML name/],
      ["a name of 65 characters", pack([value, [-2, "x".repeat(65)], unit, base]), /entry 0 with a SenML name/],
      ["the same base name twice", pack([value, name, unit, base], [value, name]), /entry 1 with the name of another/],
      [
        "a quantity in two places",
        pack([value, name, unit, base], humidity, [value, name, unit]),
        /entry 2 with the name of another quantity/,
      ],
      ["no base unit", pack([value, name, base]), /entry 0 with a base unit where it changes/],
      ["an empty base unit", pack([value, name, [-4, ""], base]), /entry 0 with a base unit where it changes/],
      ["a base unit for a terminal", pack([value, name, [-4, "\u001b[2J"], base]), /entry 0 with a base unit/],
      [
        "the same base unit twice",
        pack([value, name, unit, base], [value, [-2, "cellar"], unit]),
        /entry 1 with a base unit where it changes/,
      ],
      [
        "a unit that changes within",
        pack([value, name, unit, base], [value, [-4, "K"]]),
        /only where a quantity begins/,
      ],
      ["no base time", pack([value, name, unit]), /entry 0 with a base time/],
      ["a base time of 1970", pack([value, name, unit, [-3, 5000]]), /entry 0 with an absolute time/],
      ["a base time in the year 6325", pack([value, name, unit, [-3, 2 ** 37]]), /entry 0 with an absolute time/],
      ["a base time as text", pack([value, name, unit, [-3, "now"]]), /base time in 1\/1024 s/],
      ["a base time of 1/2048 s", pack([value, name, unit, [-3, 1790000000 + 1 / 2048]]), /base time in 1\/1024 s/],
      ["a base time twice", pack([value, name, unit, base], [value, base]), /entry 1 with a base time if it is/],
      ["a base time that is not its own", pack([value, [6, 1], name, unit, base]), /base time in 1\/1024 s/],
      ["an offset of 0", pack([value, name, unit, base], [value, [6, 0]]), /offset in 1\/64 s other than 0/],
      ["an offset of 1 ms", pack([value, name, unit, base], [value, [6, 0.001]]), /offset in 1\/64 s/],
      ["an offset back to 1970", pack([value, name, unit, base], [value, [6, -1790000000]]), /an absolute time/],
      ["time that falls", pack([value, name, unit, base], [value, [6, 1]], [value]), /entry 2 with a time that is not/],
      ["no value", pack([name, unit, base]), /entry 0 with one value or one fault/],
      ["value and fault", pack([value, [3, "crc"], name, unit, base]), /entry 0 with one value or one fault/],
      ["a value as text", pack([[2, "21.5"], name, unit, base]), /entry 0 with a number/],
      ["a fault as number", pack([[3, 1], name, unit, base]), /entry 0 with a word as fault/],
      ["no word as fault", pack([[3, ""], name, unit, base]), /entry 0 with a word as fault/],
      ["too many", pack([value, name, unit, base], ...Array(PACK_MAX_ENTRIES).fill([value])), /1 to 200 entries/],
    ];
    for (const [why, bytes, expected] of refused) {
      const read = readPack(bytes, ClockState.relay);
      assert.ok(!read.ok, why);
      assert.equal(read.failure.code, "RECORD_MALFORMED", why);
      assert.match(read.failure.detail, expected, why);
      assert.ok(!checkPack(bytes, ClockState.relay).ok, why);
    }
  });

  it("has no base time and no later time while the clock is unset", () => {
    const detail = (bytes: Uint8Array) => {
      const read = readPack(bytes, ClockState.unset);
      return read.ok ? read.value.map(({ timeS }) => timeS) : read.failure.detail;
    };
    assert.deepEqual(detail(pack([value, [6, -2.5], name, unit], [value])), [-2.5, 0]);
    assert.match(String(detail(pack([value, name, unit, base]))), /entry 0 with a base time if/);
    assert.match(String(detail(pack([value, [6, 1], name, unit]))), /entry 0 with an offset of at most 0/);
    assert.match(String(detail(pack([value, [6, -(2 ** 37)], name, unit]))), /entry 0 with an offset of at most 0/);
    assert.ok(!checkPack(packs[0]!.payload, ClockState.relay).ok, "a set clock without a base time");
  });

  it("reads the same out of any pack that it accepts as an independent resolver", () => {
    const label = fc.constantFrom(-4, -3, -2, 0, 1, 2, 3, 6);
    const content = fc.oneof(
      fc.constantFrom<Cbor>("temperature", "humidity", "Cel", "%RH", "crc", 0, 1, -1, 0.5, 1790000000, ""),
      fc.integer({ min: -200, max: 200 }).map((steps) => steps / 64),
    );
    const start = fc.constantFrom(...packs);
    const change = fc.record({ entry: fc.nat(4), label, content, remove: fc.boolean() });
    let accepted = 0;
    fc.assert(
      fc.property(start, fc.array(change, { maxLength: 3 }), ({ payload, clock }, changes) => {
        const decoded = decodeCbor(payload);
        assert.ok(decoded.ok);
        const entries = (decoded.value as Map<number, Cbor>[]).map((entry) => new Map(entry));
        for (const { entry, label: at, content: to, remove } of changes)
          if (remove) entries[entry]?.delete(at);
          else entries[entry]?.set(at, to);
        const changed = encodeCbor(entries);
        const read = readPack(changed, clock);
        if (!read.ok) return;
        accepted++;
        assert.deepEqual(read.value, foreign(changed));
      }),
      { numRuns: 2000 },
    );
    assert.ok(accepted > 100, `${accepted} packs`);
  });
});
