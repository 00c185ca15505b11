import assert from "node:assert/strict";
import fc from "fast-check";
import { Sampler } from "tallystick/sampler/sampler";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import { SHT4x } from "tallystick/sensors/sht4x/sht4x";
import { TMP117 } from "tallystick/sensors/tmp117/tmp117";
import { BME280Chip, REAL_TRIMMING } from "../../hosts/simulator/world/chips/bme280.js";
import { rawFor } from "../../hosts/simulator/world/chips/bme280-integer.js";
import { gaussian, uniform } from "../../hosts/simulator/world/chips/chance.js";
import { MAX_FAULTS } from "../../hosts/simulator/world/chips/faults.js";
import { SHT4xChip } from "../../hosts/simulator/world/chips/sht4x.js";
import { TMP117Chip } from "../../hosts/simulator/world/chips/tmp117.js";
import type { I2CChip } from "../../hosts/simulator/world/i2c.js";
import { VirtualBoard } from "../sampler/virtual.js";
import { Bench } from "../sensors/bench.js";

function register(chip: I2CChip, address: number, length = 1): number[] {
  assert.ok(chip.write(Uint8Array.of(address)));
  return [...chip.read(length)!];
}

function word(chip: I2CChip, address: number): number {
  const [high, low] = register(chip, address, 2);
  return high! * 256 + low!;
}

describe("chips: chance", () => {
  it("is spread evenly, and the same for the same seed, time and channel", () => {
    const count = 20_000;
    let [sum, squares, uniforms] = [0, 0, 0];
    for (let ms = 0; ms < count; ms++) {
      const value = gaussian(1, ms, 1);
      sum += value;
      squares += value * value;
      uniforms += uniform(2, ms, 1);
    }
    assert.ok(Math.abs(sum / count) < 0.03, `mean ${sum / count}`);
    assert.ok(Math.abs(squares / count - 1) < 0.04, `variance ${squares / count}`);
    assert.ok(Math.abs(uniforms / count - 0.5) < 0.01);
    assert.equal(uniform(7, 1_700_000_000_000, 3), uniform(7, 1_700_000_000_000, 3));
    assert.notEqual(uniform(7, 1_700_000_000_000, 3), uniform(8, 1_700_000_000_000, 3));
    assert.notEqual(uniform(7, 5, 3), uniform(7, 5 + 2 ** 32, 3));
  });
});

describe("chips: BME280", () => {
  it("finds the nearest raw number of rising and of falling curves", () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.boolean(), (target, rises) => {
        const value = (raw: number) => (rises ? raw * 3 : 1000 - raw * 3);
        const raw = rawFor(target, 333, value);
        assert.ok(Math.abs(value(raw) - target) <= 1);
      }),
    );
  });

  it("has the registers of the data sheet after power-up", () => {
    const chip = new BME280Chip(new Bench().chipOptions);
    assert.deepEqual(register(chip, 0xd0), [0x60]);
    assert.deepEqual(register(chip, 0xf2, 4), [0, 0, 0, 0]);
    assert.deepEqual(register(chip, 0xf7, 8), [0x80, 0, 0, 0x80, 0, 0, 0x80, 0]);
    assert.deepEqual(register(chip, 0x88, 2), [REAL_TRIMMING.T[0] & 255, REAL_TRIMMING.T[0] >> 8]);
  });

  it("shows the measuring bit for as long as the data sheet says, then sleeps", () => {
    const bench = new Bench();
    const chip = new BME280Chip(bench.chipOptions);
    chip.write(Uint8Array.of(0xf2, 5, 0xf4, 0b101_101_01));
    // 1.25 + 3 × 2.3 × 16 + 2 × 0.575 = 112.8 ms.
    for (const [ms, bits] of [
      [0, 8],
      [112, 8],
      [113, 0],
    ] as const) {
      assert.deepEqual(register(chip, 0xf3), [bits], `after ${ms} ms`);
      bench.nowMs += ms === 0 ? 112 : 1;
    }
    assert.deepEqual(register(chip, 0xf4), [0b101_101_00]);
  });

  it("ignores ctrl_hum until ctrl_meas is written, and skips what has no oversampling", () => {
    const bench = new Bench();
    const chip = new BME280Chip(bench.chipOptions);
    chip.write(Uint8Array.of(0xf4, 0b001_000_01, 0xf2, 1));
    bench.nowMs += 20;
    const [p, , , , , , h] = register(chip, 0xf7, 8);
    assert.deepEqual([p, h], [0x80, 0x80]);
    chip.write(Uint8Array.of(0xf4, 0b001_000_01));
    bench.nowMs += 20;
    assert.notDeepEqual(register(chip, 0xfd, 2), [0x80, 0]);
  });

  it("shows im_update for 2 ms after a reset", () => {
    const bench = new Bench();
    const chip = new BME280Chip(bench.chipOptions);
    chip.write(Uint8Array.of(0xe0, 0xb6));
    assert.deepEqual(register(chip, 0xf3), [1]);
    bench.nowMs += 2;
    assert.deepEqual(register(chip, 0xf3), [0]);
  });

  it("measures on and on in normal mode", () => {
    const bench = new Bench();
    const chip = new BME280Chip(bench.chipOptions);
    chip.write(Uint8Array.of(0xf5, 0b000_000_00, 0xf4, 0b001_000_11));
    bench.nowMs += 10;
    const before = register(chip, 0xfa, 3);
    bench.air = { ...bench.air, temperatureC: 30 };
    bench.nowMs += 10;
    assert.notDeepEqual(register(chip, 0xfa, 3), before);
    assert.deepEqual(register(chip, 0xf4), [0b001_000_11]);
  });

  it("lets the filter follow a step of pressure by its coefficient", () => {
    const bench = new Bench();
    bench.chips.set(0x76, new BME280Chip(bench.chipOptions));
    const sensor = new BME280({ sensor: { io: bench.io } });
    sensor.configure({ filter: 4, pressureOversampling: 16 });
    bench.take(sensor);
    bench.air = { ...bench.air, pressurePa: 101_725 };
    const shares = [0, 1, 2].map(() => (bench.take(sensor).barometer!.pressure - 101_325) / 400);
    for (const [i, share] of shares.entries()) assert.ok(Math.abs(share - (1 - 0.75 ** (i + 1))) < 0.01, `${shares}`);
  });

  it("has the data sheet's noise, and less of it with oversampling", () => {
    const spread = (oversampling: 1 | 16) => {
      const bench = new Bench();
      bench.chips.set(0x76, new BME280Chip({ ...bench.chipOptions, noise: true }));
      const sensor = new BME280({ sensor: { io: bench.io } });
      sensor.configure({ pressureOversampling: oversampling });
      const off = Array.from({ length: 300 }, () => bench.take(sensor).barometer!.pressure - 101_325);
      const mean = off.reduce((sum, value) => sum + value, 0) / off.length;
      return Math.sqrt(off.reduce((sum, value) => sum + (value - mean) ** 2, 0) / off.length);
    };
    const [one, sixteen] = [spread(1), spread(16)];
    assert.ok(one > 2.6 && one < 4, `${one}`);
    assert.ok(sixteen > 1 && sixteen < 1.6, `${sixteen}`);
  });
});

describe("chips: SHT4x", () => {
  it("does not acknowledge while it measures, nor an unknown command, and answers once", () => {
    const bench = new Bench();
    const chip = new SHT4xChip(bench.chipOptions);
    assert.ok(chip.write(Uint8Array.of(0xfd)));
    bench.nowMs += 8;
    assert.equal(chip.read(6), undefined);
    assert.equal(chip.write(Uint8Array.of(0xfd)), false);
    bench.nowMs += 1;
    assert.equal(chip.read(6)!.length, 6);
    assert.equal(chip.read(6), undefined);
    assert.equal(chip.write(Uint8Array.of(0x00)), false);
    assert.equal(chip.write(new Uint8Array(0)), true);
  });

  it("ends a running measurement with a reset once it listens again", () => {
    const bench = new Bench();
    const chip = new SHT4xChip(bench.chipOptions);
    chip.write(Uint8Array.of(0xe0));
    bench.nowMs += 2;
    assert.ok(chip.write(Uint8Array.of(0x94)));
    assert.equal(chip.write(Uint8Array.of(0x89)), false);
    bench.nowMs += 1;
    assert.equal(chip.read(6), undefined);
    assert.ok(chip.write(Uint8Array.of(0x89)));
    assert.equal(chip.read(6)!.length, 6);
  });
});

describe("chips: TMP117", () => {
  it("has the registers of the data sheet, and its first result 125 ms after power-up", () => {
    const bench = new Bench();
    const chip = new TMP117Chip(bench.chipOptions);
    assert.equal(word(chip, 0x0f), 0x0117);
    assert.equal(word(chip, 0x00), 0x8000);
    assert.equal(word(chip, 0x01), 0x0220);
    assert.equal(word(chip, 0x02), 0x6000);
    bench.nowMs += 130;
    assert.equal(word(chip, 0x01), 0x2220);
    assert.equal(word(chip, 0x01), 0x0220);
    assert.equal(word(chip, 0x00), 21.5 * 128);
  });

  it("sets and clears data-ready and the alerts", () => {
    const bench = new Bench();
    const chip = new TMP117Chip(bench.chipOptions);
    const setLimit = (address: number, celsius: number) => {
      const raw = (celsius * 128) & 0xffff;
      chip.write(Uint8Array.of(address, raw >> 8, raw & 255));
    };
    const flags = (celsius: number) => {
      bench.air = { ...bench.air, temperatureC: celsius };
      bench.nowMs += 1000;
      return word(chip, 0x01) >> 13;
    };
    setLimit(0x02, 30);
    setLimit(0x03, -10);
    assert.equal(flags(20), 0b001);
    assert.equal(flags(31), 0b101);
    assert.equal(flags(-11), 0b011);
    assert.equal(word(chip, 0x01) >> 13, 0);
    setLimit(0x07, 2);
    bench.nowMs += 1000;
    assert.equal(word(chip, 0x00), (-9 * 128) & 0xffff);
  });

  it("converts once in one-shot mode, then shuts down", () => {
    const bench = new Bench();
    const chip = new TMP117Chip(bench.chipOptions);
    chip.write(Uint8Array.of(0x01, 0x0c, 0x00));
    bench.nowMs += 16;
    assert.equal(word(chip, 0x01), 0x2400);
    bench.air = { ...bench.air, temperatureC: 30 };
    bench.nowMs += 10_000;
    assert.equal(word(chip, 0x00), 21.5 * 128);
  });
});

describe("chips: faults", () => {
  const hour = 3_600_000;

  it("drift, stick and spike in time, and end in time", () => {
    const bench = new Bench();
    const start = bench.nowMs;
    const air = (ms: number) => ({ temperatureC: 20 + (ms - start) / hour, humidityPercent: 50, pressurePa: 1e5 });
    const chip = new TMP117Chip({ ...bench.chipOptions, surroundings: { at: air } });
    bench.chips.set(0x48, chip);
    const sensor = new TMP117({ sensor: { io: bench.io } });
    chip.inject({
      kind: "drift",
      quantity: "temperatureC",
      perHour: 2,
      fromMs: start + hour,
      untilMs: start + 2 * hour,
    });
    chip.inject({ kind: "stuck", quantity: "temperatureC", fromMs: start + 3 * hour, untilMs: start + 5 * hour });
    chip.inject({
      kind: "spike",
      quantity: "temperatureC",
      by: 10,
      fromMs: start + 6 * hour,
      untilMs: start + 7 * hour,
    });
    const after = (hours: number) => {
      bench.nowMs = start + hours * hour;
      return Math.round(bench.take(sensor).temperature! * 10) / 10;
    };
    assert.deepEqual([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5].map(after), [20.5, 22.5, 22.5, 23, 23, 25.5, 36.5, 27.5]);
  });

  it("strike in the stated share of cases, the same ones for the same seed", () => {
    const run = (seed: number) => {
      const board = new VirtualBoard();
      const bench = new Bench();
      const nowMs = () => bench.nowMs + board.uptimeMs();
      const chip = bench.attach(new SHT4xChip({ ...bench.chipOptions, seed, nowMs }));
      chip.inject({ kind: "crc", chance: 0.2, fromMs: bench.nowMs + 5000 });
      chip.inject({ kind: "no-ack", chance: 0.05, fromMs: bench.nowMs + 5000 });
      const words: string[] = [];
      const sampler = new Sampler({
        sensors: [{ sensor: new SHT4x({ sensor: { io: bench.io } }), everyMs: 1000 }],
        clock: board,
        timers: board,
        onPack: () => undefined,
        onReading: ({ value }) => words.push(typeof value === "number" ? "value" : value.fault),
      });
      sampler.start();
      board.run(1_000_000);
      sampler.stop();
      return words;
    };
    const words = run(1);
    assert.deepEqual(run(1), words);
    assert.notDeepEqual(run(2), words);
    const count = (fault: string) => words.filter((each) => each === fault).length;
    assert.equal(words.length, 2000);
    // One of the two words of an answer has the flipped bit.
    assert.ok(count("crc") > 120 && count("crc") < 420, `crc ${count("crc")}`);
    assert.ok(count("no-ack") > 40 && count("no-ack") < 250, `no-ack ${count("no-ack")}`);
    assert.ok(count("value") > 1300);
    assert.ok(words.slice(0, 8).every((each) => each === "value"));
  });

  it("busy: the sampler gives up and records not-ready", () => {
    const board = new VirtualBoard();
    const bench = new Bench();
    const nowMs = () => bench.nowMs + board.uptimeMs();
    const options = { ...bench.chipOptions, nowMs };
    for (const chip of [new BME280Chip(options), new SHT4xChip(options), new TMP117Chip(options)])
      bench.attach(chip).inject({ kind: "busy", fromMs: bench.nowMs + 4500, untilMs: bench.nowMs + 9500 });
    const sensor = { io: bench.io };
    const words: string[] = [];
    const sampler = new Sampler({
      sensors: [new BME280({ sensor }), new SHT4x({ sensor }), new TMP117({ sensor })].map((driver, i) => ({
        sensor: driver,
        everyMs: 5000,
        name: `s${i}`,
      })),
      clock: board,
      timers: board,
      onPack: () => undefined,
      onReading: ({ value }) => words.push(typeof value === "number" ? "value" : value.fault),
    });
    sampler.start();
    board.run(12_000);
    sampler.stop();
    const six = (each: string) => new Array(6).fill(each);
    assert.deepEqual(words, [...six("value"), ...six("not-ready"), ...six("value")]);
  });

  it("are refused where the chip cannot have them, and beyond their number", () => {
    const { chipOptions } = new Bench();
    assert.throws(() => new BME280Chip(chipOptions).inject({ kind: "crc" }), /no checksum/);
    assert.throws(() => new TMP117Chip(chipOptions).inject({ kind: "crc" }), /no checksum/);
    const chip = new SHT4xChip(chipOptions);
    assert.throws(() => chip.inject({ kind: "stuck", quantity: "humidityPercent" }), /fromMs/);
    for (let i = 0; i < MAX_FAULTS; i++) chip.inject({ kind: "busy" });
    assert.throws(() => chip.inject({ kind: "busy" }), /at most/);
  });
});
