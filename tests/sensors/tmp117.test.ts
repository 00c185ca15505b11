import assert from "node:assert/strict";
import fc from "fast-check";
import { TMP117 } from "tallystick/sensors/tmp117/tmp117";
import { TMP117Chip } from "../../hosts/simulator/world/chips/tmp117.js";
import { Bench } from "./bench.js";

describe("TMP117 driver", () => {
  it("reads what is in the air, over the whole range of the chip, with every averaging", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -54.9, max: 149.9, noNaN: true }),
        fc.constantFrom(1 as const, 8 as const, 32 as const, 64 as const),
        (temperatureC, averaging) => {
          const bench = new Bench();
          bench.air = { ...bench.air, temperatureC };
          bench.attach(new TMP117Chip(bench.chipOptions));
          const sensor = new TMP117({ sensor: { io: bench.io } });
          sensor.configure({ averaging });
          const sample = bench.take(sensor);
          assert.equal(sample.faults, undefined);
          assert.ok(Math.abs(sample.temperature! - temperatureC) <= 1 / 256);
        },
      ),
    );
  });

  it("converts the data sheet's examples (table 7-2)", () => {
    for (const [word, celsius] of [
      [0x8000, undefined],
      [0xf380, -25],
      [0xfff0, -0.125],
      [0xffff, -0.0078125],
      [0x0000, 0],
      [0x0001, 0.0078125],
      [0x0c80, 25],
      [0x3200, 100],
      [0x4b00, 150],
    ] as const) {
      const bench = new Bench();
      const registers = new Map([
        [0x0f, 0x1117],
        [0x01, 0x2c20],
        [0x00, word],
      ]);
      let pointer = 0;
      bench.chips.set(0x48, {
        address: 0x48,
        write: (bytes) => {
          pointer = bytes[0]!;
          return true;
        },
        read: () => Uint8Array.of((registers.get(pointer) ?? 0) >> 8, (registers.get(pointer) ?? 0) & 0xff),
      });
      const sample = bench.take(new TMP117({ sensor: { io: bench.io } }));
      assert.deepEqual(
        sample,
        celsius === undefined ? { faults: { thermometer: "skipped" } } : { temperature: celsius },
      );
    }
  });

  it("tells the serial number from the three EEPROM words", () => {
    const bench = new Bench();
    const chip = bench.attach(new TMP117Chip(bench.chipOptions));
    const sensor = new TMP117({ sensor: { io: bench.io } });
    bench.take(sensor);
    assert.equal(sensor.identification.uniqueID, chip.serial);
    assert.equal(sensor.identification.classification, "Temperature");
    assert.throws(() => sensor.configure({ averaging: 4 as 8 }), RangeError);
  });

  const only = (fault: string) => ({ faults: { thermometer: fault } });

  it("waits for data-ready", () => {
    const bench = new Bench();
    bench.attach(new TMP117Chip(bench.chipOptions));
    const sensor = new TMP117({ sensor: { io: bench.io } });
    bench.take(sensor);
    sensor.trigger();
    bench.nowMs += 100;
    assert.equal(sensor.sample(), undefined);
    bench.nowMs += 40;
    assert.equal(sensor.sample()!.temperature, 21.5);
  });

  it("says no-ack, identity, skipped and range, and is back afterwards", () => {
    const bench = new Bench();
    const sensor = new TMP117({ sensor: { io: bench.io } });
    assert.deepEqual(bench.take(sensor), only("no-ack"));
    bench.chips.set(0x48, { address: 0x48, write: () => true, read: (length) => new Uint8Array(length) });
    assert.deepEqual(bench.take(sensor), only("identity"));
    const chip = bench.attach(new TMP117Chip(bench.chipOptions));
    assert.equal(bench.take(sensor).temperature, 21.5);
    sensor.trigger();
    chip.powerUp();
    bench.nowMs += sensor.conversionMs;
    assert.deepEqual(sensor.sample(), only("skipped"));
    bench.air = { ...bench.air, temperatureC: 151 };
    assert.deepEqual(bench.take(sensor), only("range"));
    bench.air = { ...bench.air, temperatureC: 20 };
    assert.equal(bench.take(sensor).temperature, 20);
  });
});
