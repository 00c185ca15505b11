import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { ClockState } from "tallystick/clock/clock";
import { encodeCbor } from "tallystick/record/cbor";
import { readPack } from "tallystick/record/senml";
import { PACK_MAX_BYTES, PackBuilder, type Reading } from "tallystick/sampler/pack";
import { FAULTS, type Fault } from "tallystick/sensors/sensor";
import { resolve } from "./resolver.js";

interface Vector {
  readonly why: string;
  readonly readings: readonly Reading[];
  readonly uptimeMs: number;
  readonly wallOffsetMs: number | null;
  readonly payload: string;
}

const { packs } = JSON.parse(readFileSync(new URL("../vectors/pack.json", import.meta.url), "utf8")) as {
  packs: readonly Vector[];
};
const spec = readFileSync(new URL("../../modules/sampler/SPEC.md", import.meta.url), "utf8");

/** What a pack must say of readings: in the order of time, those of one time by quantity. */
function expected(readings: readonly Reading[], uptimeMs: number, wallOffsetMs: number | null) {
  const names = readings.map(({ name }) => name);
  const firstMs = readings[0]!.uptimeMs;
  const baseS = wallOffsetMs === null ? 0 : Math.round(((firstMs + wallOffsetMs) * 1024) / 1000) / 1024;
  return readings
    .map(({ name, unit, value, uptimeMs: takenMs }) => {
      const timeS = baseS + Math.round(((takenMs - (wallOffsetMs === null ? uptimeMs : firstMs)) * 64) / 1000) / 64;
      const exactS = (takenMs + (wallOffsetMs ?? -uptimeMs)) / 1000;
      assert.ok(Math.abs(timeS - exactS) <= 1 / 128 + 1 / 2048, `${timeS} for ${exactS}`);
      return { quantity: names.indexOf(name), reading: { name, unit, value, timeS } };
    })
    .sort((a, b) => a.reading.timeS - b.reading.timeS || a.quantity - b.quantity)
    .map(({ reading }) => reading);
}

function assertSays(payload: Uint8Array, readings: readonly Reading[], uptimeMs: number, wallOffsetMs: number | null) {
  const said = expected(readings, uptimeMs, wallOffsetMs);
  const read = readPack(payload, wallOffsetMs === null ? ClockState.unset : ClockState.network);
  assert.ok(read.ok, read.ok ? "" : read.failure.detail);
  assert.deepEqual(read.value, said);
  const resolved = resolve(payload, 0).map(({ value, text, ...rest }) => ({
    ...rest,
    value: value ?? { fault: text },
  }));
  assert.deepEqual(resolved, said);
}

function build(readings: readonly Reading[], uptimeMs: number, wallOffsetMs: number | null): Uint8Array {
  const builder = new PackBuilder(200, PACK_MAX_BYTES);
  for (const reading of readings) assert.ok(builder.add(reading));
  return builder.encode(uptimeMs, wallOffsetMs ?? undefined);
}

describe("pack vectors", () => {
  for (const { why, readings, uptimeMs, wallOffsetMs, payload } of packs) {
    it(why, () => {
      assert.equal(toHex(build(readings, uptimeMs, wallOffsetMs)), payload);
      assertSays(fromHex(payload)!, readings, uptimeMs, wallOffsetMs);
    });
  }
});

describe("packs", () => {
  const quantities = [
    { name: "a/temperature", unit: "Cel" },
    { name: "b/temperature", unit: "Cel" },
    { name: "humidity", unit: "%RH" },
    { name: "pressure", unit: "Pa" },
    { name: "x".repeat(64), unit: "Pa" },
  ];
  const taken = fc.record({
    quantity: fc.nat(quantities.length - 1),
    value: fc.oneof(
      fc.integer({ min: -(2 ** 30), max: 2 ** 30 }).map((steps) => steps / 128),
      fc.constantFrom("crc", "no-ack", "calibration").map((fault) => ({ fault }) as { fault: Fault }),
    ),
    afterMs: fc.oneof(fc.nat(20), fc.nat(100_000)),
    /** How long ago the conversion was started. */
    beforeMs: fc.nat(3),
  });

  it("say what was measured, to any resolver, within the bytes that were counted", () => {
    fc.assert(
      fc.property(
        fc.array(taken, { minLength: 1, maxLength: 120 }),
        fc.option(fc.integer({ min: 315_532_800_000, max: 4_102_444_800_000 })),
        fc.integer({ min: 256, max: PACK_MAX_BYTES }),
        (takes, wallOffsetMs, maxBytes) => {
          let uptimeMs = 5;
          let builder = new PackBuilder(120, maxBytes);
          let readings: Reading[] = [];
          const close = () => {
            const payload = builder.encode(uptimeMs, wallOffsetMs ?? undefined);
            assert.ok(payload.length <= maxBytes, `${payload.length} of ${maxBytes}`);
            assert.deepEqual(builder.readings, readings);
            assertSays(payload, readings, uptimeMs, wallOffsetMs);
            builder = new PackBuilder(120, maxBytes);
            readings = [];
          };
          for (const { quantity, value, afterMs, beforeMs } of takes) {
            uptimeMs += afterMs;
            const reading = { ...quantities[quantity]!, value, uptimeMs: uptimeMs - beforeMs };
            if (!builder.add(reading)) {
              close();
              assert.ok(builder.add(reading));
            }
            readings.push(reading);
          }
          close();
        },
      ),
      { interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true },
    );
  });

  it("leave a reading to the next pack that is dated before one of its quantity, or has another unit", () => {
    const builder = new PackBuilder(10, PACK_MAX_BYTES);
    const reading: Reading = { name: "temperature", unit: "Cel", value: 20, uptimeMs: 1000 };
    assert.ok(builder.add(reading));
    assert.ok(!builder.add({ ...reading, uptimeMs: 999 }));
    assert.ok(!builder.add({ ...reading, unit: "K" }));
    assert.ok(builder.add({ ...reading, name: "humidity", uptimeMs: 999 }));
    assert.ok(builder.add(reading));
    assert.equal(builder.readings.length, 3);
  });
});

describe("sampler/SPEC.md", () => {
  it("registers the fault words of the code, with their meaning", () => {
    for (const [word, means] of Object.entries(FAULTS)) {
      assert.ok(spec.includes(`"${word}"`), `CDDL: ${word}`);
      assert.ok(new RegExp(`^\\| \`${word}\` +\\| ${means} +\\|`, "m").test(spec), `table: ${word}`);
    }
  });

  it("has the sizes of numbers right", () => {
    const size = (value: number) => encodeCbor(value).length;
    assert.equal(size(21.37), 9);
    assert.equal(Math.round(21.37 * 128) / 128, 21.3671875);
    assert.equal(size(21.3671875), 5);
    let short = 0;
    let all = 0;
    for (let celsius = 15; celsius < 30; celsius += 1 / 128) {
      all++;
      assert.ok(size(celsius) <= 5);
      if (size(celsius) <= 3) short++;
    }
    assert.equal(Math.round((short / all) * 100), 53);
  });
});
