import assert from "node:assert/strict";
import fc from "fast-check";
import { crc8, SHT4x } from "tallystick/sensors/sht4x/sht4x";
import { SHT4xChip } from "../../hosts/simulator/world/chips/sht4x.js";
import { Bench } from "./bench.js";

describe("SHT4x checksum", () => {
  it("gives the data sheet's example", () => assert.equal(crc8(Uint8Array.of(0xbe, 0xef)), 0x92));

  it("notices every change of up to three bits in a word with its checksum", () => {
    const word = [0xbe, 0xef, 0x92];
    const flip = (bits: readonly number[]) => {
      const bytes = Uint8Array.from(word);
      for (const bit of bits) bytes[bit >> 3]! ^= 1 << (bit & 7);
      return crc8(bytes.subarray(0, 2)) === bytes[2];
    };
    for (let a = 0; a < 24; a++) {
      assert.equal(flip([a]), false);
      for (let b = 0; b < a; b++) {
        assert.equal(flip([a, b]), false);
        for (let c = 0; c < b; c++) assert.equal(flip([a, b, c]), false);
      }
    }
  });
});

describe("SHT4x driver", () => {
  it("reads what is in the air, over the whole range of the chip, at every precision", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -39.9, max: 124.9, noNaN: true }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.constantFrom("high" as const, "medium" as const, "low" as const),
        (temperatureC, humidityPercent, precision) => {
          const bench = new Bench();
          bench.air = { temperatureC, humidityPercent, pressurePa: 101325 };
          bench.attach(new SHT4xChip(bench.chipOptions));
          const sensor = new SHT4x({ sensor: { io: bench.io } });
          sensor.configure({ precision });
          const sample = bench.take(sensor);
          assert.equal(sample.faults, undefined);
          // Half a tick of each word: 175/65535 °C and 125/65535 %RH.
          assert.ok(Math.abs(sample.thermometer!.temperature - temperatureC) <= 0.00134);
          assert.ok(Math.abs(sample.hygrometer!.humidity * 100 - humidityPercent) <= 0.00096);
        },
      ),
    );
  });

  it("converts a known answer by the data sheet's formulas", () => {
    const answers = [
      [0, 1, crc8(Uint8Array.of(0, 1)), 0, 2, crc8(Uint8Array.of(0, 2))],
      [0xbe, 0xef, 0x92, 0x80, 0, crc8(Uint8Array.of(0x80, 0))],
    ];
    const bench = new Bench();
    bench.chips.set(0x44, { address: 0x44, write: () => true, read: () => Uint8Array.from(answers.shift()!) });
    const sensor = new SHT4x({ sensor: { io: bench.io } });
    const sample = bench.take(sensor);
    assert.equal(sensor.identification.uniqueID, "00010002");
    assert.equal(sample.thermometer!.temperature.toFixed(4), "85.5230");
    assert.equal((sample.hygrometer!.humidity * 100).toFixed(4), "56.5010");
  });

  it("crops humidity at 0 and 100 % and tells the chip's serial number", () => {
    const bench = new Bench();
    const chip = bench.attach(new SHT4xChip(bench.chipOptions));
    const sensor = new SHT4x({ sensor: { io: bench.io } });
    assert.equal(sensor.identification.uniqueID, undefined);
    bench.air = { ...bench.air, humidityPercent: 104 };
    assert.equal(bench.take(sensor).hygrometer!.humidity, 1);
    bench.air = { ...bench.air, humidityPercent: -3 };
    assert.equal(bench.take(sensor).hygrometer!.humidity, 0);
    assert.equal(sensor.identification.uniqueID, chip.serial.toString(16).padStart(8, "0"));
    assert.throws(() => sensor.configure({ precision: "best" as "high" }), RangeError);
  });

  it("makes every flipped bit of an answer a crc fault, and drops only the word that it hit", () => {
    for (let bit = 0; bit < 48; bit++) {
      const bench = new Bench();
      const chip = new SHT4xChip(bench.chipOptions);
      let flip = false;
      bench.chips.set(chip.address, {
        address: chip.address,
        write: (bytes) => chip.write(bytes),
        read: (length) => {
          const bytes = chip.read(length);
          if (bytes && flip) bytes[bit >> 3]! ^= 1 << (bit & 7);
          return bytes;
        },
      });
      const sensor = new SHT4x({ sensor: { io: bench.io } });
      bench.take(sensor);
      flip = true;
      const sample = bench.take(sensor);
      const [hit, spared] =
        bit < 24 ? (["thermometer", "hygrometer"] as const) : (["hygrometer", "thermometer"] as const);
      assert.deepEqual(sample.faults, { [hit]: "crc" }, `bit ${bit}`);
      assert.ok(sample[spared] && !sample[hit], `bit ${bit}`);
    }
  });

  const everything = (fault: string) => ({ faults: { thermometer: fault, hygrometer: fault } });

  it("says crc where the serial number is damaged, and starts over", () => {
    const bench = new Bench();
    const chip = bench.attach(new SHT4xChip(bench.chipOptions));
    const sensor = new SHT4x({ sensor: { io: bench.io } });
    chip.inject({ kind: "crc" });
    assert.deepEqual(bench.take(sensor), everything("crc"));
    chip.clearFaults();
    assert.ok(bench.take(sensor).thermometer);
  });

  it("asks again while the chip refuses, and says not-ready after the third refusal", () => {
    const bench = new Bench();
    const chip = bench.attach(new SHT4xChip(bench.chipOptions));
    const sensor = new SHT4x({ sensor: { io: bench.io } });
    bench.take(sensor);
    sensor.trigger();
    assert.equal(sensor.sample(), undefined);
    bench.nowMs += sensor.conversionMs;
    assert.ok(sensor.sample());
    chip.inject({ kind: "busy" });
    assert.deepEqual(bench.take(sensor, 3), everything("not-ready"));
  });

  it("says no-ack while the chip is gone, and is back with the chip", () => {
    const bench = new Bench();
    const sensor = new SHT4x({ sensor: { io: bench.io, address: 0x45 } });
    assert.deepEqual(bench.take(sensor), everything("no-ack"));
    bench.attach(new SHT4xChip({ ...bench.chipOptions, address: 0x45 }));
    assert.ok(bench.take(sensor).hygrometer);
  });

  it("says range above 125 °C, and still gives the humidity", () => {
    const bench = new Bench();
    bench.air = { ...bench.air, temperatureC: 127 };
    bench.attach(new SHT4xChip(bench.chipOptions));
    const sample = bench.take(new SHT4x({ sensor: { io: bench.io } }));
    assert.deepEqual(sample.faults, { thermometer: "range" });
    assert.ok(sample.hygrometer && !sample.thermometer);
  });
});
