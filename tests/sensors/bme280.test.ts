import assert from "node:assert/strict";
import fc from "fast-check";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import { humidityOf, pressureOf, readCalibration, temperatureOf } from "tallystick/sensors/bme280/compensation";
import { BME280Chip, REAL_TRIMMING } from "../../hosts/simulator/world/chips/bme280.js";
import {
  fineTemperature,
  humidity1024,
  pressure256,
  type Trimming,
} from "../../hosts/simulator/world/chips/bme280-integer.js";
import { Bench } from "./bench.js";

/** Bosch BMP280 data sheet (BST-BMP280-DS001) §3.12: the worked example; the BME280 has the same formulas. */
const EXAMPLE: Trimming = {
  T: [27504, 26435, -1000],
  P: [36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000],
  H: REAL_TRIMMING.H,
};
const EXAMPLE_T = 519888;
const EXAMPLE_P = 415148;

function calibrationOf({ T, P, H }: Trimming) {
  return {
    ...{ T1: T[0], T2: T[1], T3: T[2] },
    ...{ P1: P[0], P2: P[1], P3: P[2], P4: P[3], P5: P[4], P6: P[5], P7: P[6], P8: P[7], P9: P[8] },
    ...{ H1: H[0], H2: H[1], H3: H[2], H4: H[3], H5: H[4], H6: H[5] },
  };
}

describe("BME280 compensation", () => {
  it("gives the data sheet's worked example", () => {
    const { celsius, fine } = temperatureOf(EXAMPLE_T, calibrationOf(EXAMPLE));
    assert.equal(celsius.toFixed(2), "25.08");
    assert.equal(fine.toFixed(4), "128422.2870");
    assert.equal(pressureOf(EXAMPLE_P, fine, calibrationOf(EXAMPLE)).toFixed(2), "100653.27");
  });

  it("is the data sheet's integer version within its rounding, for every raw value in range", () => {
    const calibration = calibrationOf(REAL_TRIMMING);
    fc.assert(
      fc.property(fc.integer({ min: 330_000, max: 720_000 }), fc.nat(0xfffff), fc.nat(0xffff), (rawT, rawP, rawH) => {
        const { celsius, fine } = temperatureOf(rawT, calibration);
        const integerFine = fineTemperature(rawT, REAL_TRIMMING);
        assert.ok(Math.abs(celsius * 100 - ((integerFine * 5 + 128) >> 8)) <= 1.1, "temperature");
        const pascal = pressureOf(rawP, integerFine, calibration);
        if (pascal >= 30000 && pascal <= 110000)
          assert.ok(Math.abs(pascal - pressure256(rawP, integerFine, REAL_TRIMMING) / 256) < 0.1, "pressure");
        const percent = humidityOf(rawH, fine, calibration);
        assert.ok(Math.abs(percent - humidity1024(rawH, integerFine, REAL_TRIMMING) / 1024) < 0.05, "humidity");
      }),
    );
  });

  it("unpacks words of both signs and the shared nibbles", () => {
    const word = fc.integer({ min: -32768, max: 32767 });
    const nibbles = fc.integer({ min: -2048, max: 2047 });
    fc.assert(
      fc.property(
        fc.tuple(fc.nat(0xffff), word, word),
        fc.tuple(fc.nat(0xffff), word, word, word, word, word, word, word, word),
        fc.tuple(fc.nat(255), word, fc.nat(255), nibbles, nibbles, fc.integer({ min: -128, max: 127 })),
        (T, P, H) => {
          const bench = new Bench();
          const chip = new BME280Chip({ ...bench.chipOptions, trimming: { T, P, H } });
          chip.write(Uint8Array.of(0x88));
          const low = chip.read(26)!;
          chip.write(Uint8Array.of(0xe1));
          assert.deepEqual(readCalibration(low, chip.read(7)!), calibrationOf({ T, P, H }));
        },
      ),
    );
  });
});

describe("BME280 driver", () => {
  it("reads what is in the air, over the whole range of the chip", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -39.9, max: 84.9, noNaN: true }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.double({ min: 30100, max: 109900, noNaN: true }),
        (temperatureC, humidityPercent, pressurePa) => {
          const bench = new Bench();
          bench.air = { temperatureC, humidityPercent, pressurePa };
          bench.attach(new BME280Chip(bench.chipOptions));
          const sensor = new BME280({ sensor: { io: bench.io } });
          sensor.configure({ temperatureOversampling: 16, pressureOversampling: 16, humidityOversampling: 16 });
          const sample = bench.take(sensor);
          assert.equal(sample.faults, undefined);
          assert.ok(Math.abs(sample.thermometer!.temperature - temperatureC) < 0.011);
          assert.ok(Math.abs(sample.hygrometer!.humidity * 100 - humidityPercent) < 0.06);
          assert.ok(Math.abs(sample.barometer!.pressure - pressurePa) < 0.5);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("names itself, its classes and its settings as ECMA-419 §31 wants", () => {
    const bench = new Bench();
    bench.attach(new BME280Chip(bench.chipOptions));
    let told = 0;
    const sensor = new BME280({ sensor: { io: bench.io }, onConfiguration: () => told++ });
    assert.deepEqual(sensor.identification, {
      model: "Bosch BME280",
      classification: "AtmosphericPressure-Humidity-Temperature",
    });
    sensor.configure({ pressureOversampling: 0, filter: 4 });
    assert.equal(told, 1);
    assert.equal(sensor.identification.classification, "Humidity-Temperature");
    assert.deepEqual(Object.keys(bench.take(sensor)), ["thermometer", "hygrometer"]);
    assert.throws(() => sensor.configure({ temperatureOversampling: 0 as 1 }), RangeError);
    assert.throws(() => sensor.configure({ humidityOversampling: 3 as 4 }), RangeError);
    assert.throws(() => sensor.configure({ filter: 1 as 2 }), RangeError);
  });

  it("works for callers that know only sample()", () => {
    const bench = new Bench();
    bench.attach(new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    const seen = [];
    for (let i = 0; i < 8; i++) {
      seen.push(sensor.sample() !== undefined);
      bench.nowMs += 20;
    }
    assert.deepEqual(seen, [false, false, true, false, true, false, true, false]);
  });

  it("does not take a conversion that is still running for a result", () => {
    const bench = new Bench();
    bench.attach(new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    bench.take(sensor);
    sensor.trigger();
    assert.equal(sensor.sample(), undefined);
    bench.nowMs += sensor.conversionMs;
    assert.ok(sensor.sample()!.thermometer);
  });

  const everything = (fault: string) => ({ thermometer: fault, hygrometer: fault, barometer: fault });

  it("says no-ack while the chip is gone, and is back with the chip", () => {
    const bench = new Bench();
    const sensor = new BME280({ sensor: { io: bench.io } });
    assert.deepEqual(bench.take(sensor), { faults: everything("no-ack") });
    const chip = bench.attach(new BME280Chip(bench.chipOptions));
    assert.ok(bench.take(sensor).thermometer);
    bench.chips.clear();
    assert.deepEqual(bench.take(sensor), { faults: everything("no-ack") });
    bench.attach(chip);
    assert.ok(bench.take(sensor).thermometer);
  });

  it("says identity for a BMP280 and for a bus that is stuck", () => {
    const bench = new Bench();
    for (const level of [0x58, 0x00, 0xff]) {
      bench.chips.set(0x76, {
        address: 0x76,
        write: () => true,
        read: (length) => new Uint8Array(length).fill(level),
      });
      const sensor = new BME280({ sensor: { io: bench.io } });
      assert.deepEqual(bench.take(sensor), { faults: everything("identity") });
    }
  });

  it("says calibration where the trimming words are blank", () => {
    const bench = new Bench();
    const trimming: Trimming = { T: [0, 0, 0], P: [0, 0, 0, 0, 0, 0, 0, 0, 0], H: [0, 0, 0, 0, 0, 0] };
    bench.attach(new BME280Chip({ ...bench.chipOptions, trimming }));
    assert.deepEqual(bench.take(new BME280({ sensor: { io: bench.io } })), { faults: everything("calibration") });
  });

  it("says skipped where the supply dipped during a conversion, and is right again with the next", () => {
    const bench = new Bench();
    const chip = bench.attach(new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    bench.take(sensor);
    sensor.trigger();
    chip.powerUp();
    bench.nowMs += sensor.conversionMs;
    assert.deepEqual(sensor.sample(), { faults: everything("skipped") });
    assert.ok(bench.take(sensor).thermometer);
  });

  it("does not mistake a true reading whose raw value is 0x80000 for a skipped one", () => {
    const bench = new Bench();
    const temperatureC = temperatureOf(0x80000, calibrationOf(REAL_TRIMMING)).celsius;
    bench.air = { ...bench.air, temperatureC };
    const chip = bench.attach(new BME280Chip(bench.chipOptions));
    const sample = bench.take(new BME280({ sensor: { io: bench.io } }));
    chip.write(Uint8Array.of(0xfa));
    assert.deepEqual([...chip.read(3)!], [0x80, 0, 0]);
    assert.equal(sample.faults, undefined);
    assert.ok(Math.abs(sample.thermometer!.temperature - temperatureC) < 0.01);
  });

  it("says range for what is outside of the data sheet's limits", () => {
    const bench = new Bench();
    bench.attach(new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    bench.air = { ...bench.air, temperatureC: 86 };
    assert.deepEqual(bench.take(sensor), { faults: everything("range") });
    bench.air = { ...bench.air, temperatureC: 20, pressurePa: 29000 };
    const sample = bench.take(sensor);
    assert.deepEqual(sample.faults, { barometer: "range" });
    assert.equal(sample.barometer, undefined);
    assert.ok(sample.thermometer && sample.hygrometer);
  });

  it("keeps asking while the chip is busy, for the caller to give up", () => {
    const bench = new Bench();
    const chip = bench.attach(new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    bench.take(sensor);
    chip.inject({ kind: "busy" });
    assert.throws(() => bench.take(sensor), /no sample/);
  });

  it("refuses to be used once it is closed", () => {
    const bench = new Bench();
    bench.attach(new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    sensor.close();
    assert.throws(() => sensor.sample(), /closed/);
  });
});
