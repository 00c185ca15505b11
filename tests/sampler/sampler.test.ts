import assert from "node:assert/strict";
import { decode } from "cborg";
import fc from "fast-check";
import { ClockState } from "tallystick/clock/clock";
import { encodeBody, Kind, RECORD_MAX_BYTES, SIGNATURE_BYTES } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import { PACK_MAX_BYTES, type Reading } from "tallystick/sampler/pack";
import { MAX_LOOKS, type Pack, Sampler, type SamplerOptions } from "tallystick/sampler/sampler";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import type { Sample, Sensor } from "tallystick/sensors/sensor";
import { SHT4x } from "tallystick/sensors/sht4x/sht4x";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import { SHT4xChip } from "../../hosts/simulator/world/chips/sht4x.js";
import { Bench } from "../sensors/bench.js";
import { resolve } from "./resolver.js";
import { SlowThermometer, Thermometer, VirtualBoard } from "./virtual.js";

const WALL_MS = 1_700_000_000_000;

interface Setup extends Partial<Omit<SamplerOptions, "clock" | "timers" | "onPack">> {
  readonly board: VirtualBoard;
}

function sampling({ board, sensors = [], ...options }: Setup) {
  const packs: Pack[] = [];
  const sampler = new Sampler({
    sensors,
    clock: board,
    timers: board,
    onPack: (pack) => packs.push(pack),
    ...options,
  });
  return { sampler, packs };
}

function single(next?: () => Sample | undefined, options: Partial<SamplerOptions> = {}) {
  const board = new VirtualBoard();
  const sensor = new Thermometer(next);
  return { board, sensor, ...sampling({ board, sensors: [{ sensor, everyMs: 1000 }], ...options }) };
}

/** A foreign decoder's view of a pack. */
function foreign(pack: Pack): Map<number, unknown>[] {
  return decode(pack.payload, { useMaps: true, strict: true, rejectDuplicateMapKeys: true });
}

/** Where the clock is unset, relative to the record's uptime. */
function times(pack: Pack): number[] {
  return resolve(pack.payload, 0).map(({ timeS }) => timeS);
}

describe("sampler: when", () => {
  it("samples at once, then at the interval, however late the timers are", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1 }), fc.nat(120), (lates, conversionMs) => {
        const board = new VirtualBoard();
        board.run(12_345);
        const sensor = new SlowThermometer(board, conversionMs);
        const { sampler } = sampling({ board, sensors: [{ sensor, everyMs: 1000 }], maxReadings: 200 });
        sampler.start();
        let turn = 0;
        board.run(60_000, () => lates[turn++ % lates.length]!);
        assert.equal(sensor.triggeredMs.length, 61);
        for (const [slot, ms] of sensor.triggeredMs.entries()) {
          const late = ms - 12_345 - slot * 1000;
          assert.ok(late >= 0 && late <= 1000, `slot ${slot} is ${late} ms late`);
        }
        assert.equal(sampler.statistics.missed, 0);
      }),
    );
  });

  it("gives every sensor its own interval", () => {
    const board = new VirtualBoard();
    const [quick, slow] = [new SlowThermometer(board, 10), new SlowThermometer(board, 140)];
    const { sampler, packs } = sampling({
      board,
      sensors: [
        { sensor: quick, everyMs: 250, name: "quick" },
        { sensor: slow, everyMs: 4000, name: "slow" },
      ],
    });
    sampler.start();
    board.run(8000);
    sampler.stop();
    assert.deepEqual([quick.triggeredMs.length, slow.triggeredMs.length], [33, 3]);
    assert.deepEqual(slow.triggeredMs, [0, 4000, 8000]);
    const readings = packs.flatMap((pack) => pack.readings);
    // The slots at 8,000 ms were started and given up.
    assert.equal(readings.filter(({ name }) => name === "quick/temperature").length, 32);
    assert.equal(readings.filter(({ name }) => name === "slow/temperature").length, 2);
    assert.equal(board.pending, 0);
  });

  it("dates a reading by the start of its conversion", () => {
    const board = new VirtualBoard();
    const sensor = new SlowThermometer(board, 140);
    const seen: Reading[] = [];
    const { sampler } = sampling({
      board,
      sensors: [{ sensor, everyMs: 1000 }],
      onReading: (reading) => seen.push(reading),
    });
    sampler.start();
    board.run(1500);
    assert.deepEqual(
      seen.map(({ uptimeMs }) => uptimeMs),
      [0, 1000],
    );
  });

  it("counts the slots that it missed and records that it did, then is on time again", () => {
    const { board, sampler, packs } = single();
    sampler.start();
    board.run(1500);
    board.block(3700);
    board.run(2000);
    sampler.stop();
    assert.equal(sampler.statistics.missed, 3);
    const readings = packs.flatMap((pack) => pack.readings);
    assert.deepEqual(
      readings.map(({ uptimeMs, value }) => [uptimeMs, value]),
      [
        [0, 21.5],
        [1000, 21.5],
        [4000, { fault: "missed" }],
        [5200, 21.5],
        [6000, 21.5],
        [7000, 21.5],
      ],
    );
  });

  it("is late rather than silent where a conversion outlasts its interval", () => {
    const board = new VirtualBoard();
    const sensor = new SlowThermometer(board, 140);
    const { sampler } = sampling({ board, sensors: [{ sensor, everyMs: 100 }] });
    sampler.start();
    board.run(1000);
    assert.deepEqual(sensor.triggeredMs, [0, 140, 280, 420, 560, 700, 840, 980]);
    assert.equal(sampler.statistics.missed, 2);
  });

  it("changes an interval from the last sample on", () => {
    const board = new VirtualBoard();
    const sensor = new SlowThermometer(board, 10);
    const { sampler } = sampling({ board, sensors: [{ sensor, everyMs: 1000 }] });
    sampler.start();
    board.run(2500);
    sampler.setEveryMs(sensor, 300);
    assert.equal(sampler.nextDueMs, 2300);
    board.run(500);
    sampler.setEveryMs(sensor, 5000);
    board.run(6000);
    assert.deepEqual(sensor.triggeredMs, [0, 1000, 2000, 2500, 2600, 2900, 7900]);
    assert.throws(() => sampler.setEveryMs(new Thermometer(), 10), /not in the plan/);
    assert.throws(() => sampler.setEveryMs(sensor, 0), RangeError);
  });

  it("stops, hands over what it has, leaves no timer, and starts anew", () => {
    const { board, sampler, sensor, packs } = single();
    assert.equal(sampler.nextDueMs, undefined);
    sampler.start();
    sampler.start();
    board.run(2500);
    assert.equal(sampler.nextDueMs, 3000);
    sampler.stop();
    assert.equal(board.pending, 0);
    assert.equal(packs.length, 1);
    board.run(10_000);
    assert.equal(packs.length, 1);
    sampler.start();
    board.run(100);
    sampler.close();
    assert.equal(packs.length, 2);
    assert.equal(sensor.closed, 1);
  });

  it("goes on when a hook throws", () => {
    let calls = 0;
    const { board, sampler } = single(undefined, {
      onReading: () => {
        if (calls++ === 0) throw new Error("a maker's mistake");
      },
    });
    sampler.start();
    assert.throws(() => board.run(2500), /a maker's mistake/);
    board.run(2500);
    assert.equal(calls, 3);
  });
});

describe("sampler: what", () => {
  it("reads real drivers over simulated chips, start-up included, without a fault", () => {
    const board = new VirtualBoard();
    const bench = new Bench();
    const options = { ...bench.chipOptions, nowMs: () => WALL_MS + board.uptimeMs() };
    bench.attach(new BME280Chip(options));
    bench.attach(new SHT4xChip(options));
    const sensor = { io: bench.io };
    const { sampler, packs } = sampling({
      board,
      sensors: [
        { sensor: new BME280({ sensor }), everyMs: 1000 },
        { sensor: new SHT4x({ sensor }), everyMs: 2000, name: "outside" },
      ],
    });
    assert.deepEqual(sampler.quantities, [
      { name: "pressure", unit: "Pa" },
      { name: "humidity", unit: "%RH" },
      { name: "temperature", unit: "Cel" },
      { name: "outside/humidity", unit: "%RH" },
      { name: "outside/temperature", unit: "Cel" },
    ]);
    sampler.start();
    board.run(2500);
    sampler.stop();
    assert.deepEqual(sampler.statistics, { samples: 5, faults: 0, missed: 0 });
    const near = { pressure: 101325, humidity: 45, temperature: 21.5 } as const;
    for (const { name, value } of packs.flatMap((pack) => pack.readings)) {
      const expected = near[name.replace("outside/", "") as keyof typeof near];
      // One conversion of pressure resolves 2.6 Pa.
      assert.ok(Math.abs((value as number) - expected) < (name === "pressure" ? 2.6 : 0.1), `${name} ${value}`);
    }
  });

  it("makes a fault entry for each quantity of a sensor that is gone, and a value when it is back", () => {
    const board = new VirtualBoard();
    const bench = new Bench();
    const { sampler, packs } = sampling({
      board,
      sensors: [{ sensor: new SHT4x({ sensor: { io: bench.io } }), everyMs: 1000 }],
    });
    sampler.start();
    board.run(1500);
    bench.attach(new SHT4xChip({ ...bench.chipOptions, nowMs: () => WALL_MS + board.uptimeMs() }));
    board.run(1000);
    sampler.stop();
    const [pack] = packs;
    assert.deepEqual(
      resolve(pack!.payload, 0).map(({ text }) => text),
      ["no-ack", "no-ack", "no-ack", "no-ack", undefined, undefined],
    );
    assert.equal(sampler.statistics.faults, 4);
  });

  it("takes any ECMA-419 sensor, and turns what is no number into a fault", () => {
    const compound: Sensor = Object.assign(new Thermometer(), {
      identification: { model: "Test THB", classification: "AtmosphericPressure-Humidity-Temperature" },
    });
    const cases: [Sample | undefined | (() => never), unknown[]][] = [
      [
        { barometer: { pressure: 1e5 }, hygrometer: { humidity: 0.5 }, thermometer: { temperature: 20 } },
        [1e5, 50, 20],
      ],
      [{ hygrometer: { humidity: Number.NaN }, thermometer: { temperature: 20 } }, ["no-value", "no-value", 20]],
      [{ barometer: { pressure: Number.POSITIVE_INFINITY } }, ["no-value", "no-value", "no-value"]],
      [{ barometer: { pressure: 1e300 } }, ["range", "no-value", "no-value"]],
      [{ faults: { barometer: "crc", thermometer: "range" } }, ["crc", "no-value", "range"]],
      [{ barometer: { pressure: 1e5 }, faults: { barometer: "crc" } }, ["crc", "no-value", "no-value"]],
      [{ faults: { barometer: "on fire" as "crc" } }, ["no-value", "no-value", "no-value"]],
      [undefined, ["not-ready", "not-ready", "not-ready"]],
      [
        () => {
          throw new Error("a driver's mistake");
        },
        ["driver", "driver", "driver"],
      ],
    ];
    for (const [answer, expected] of cases) {
      const board = new VirtualBoard();
      let looks = 0;
      compound.sample = () => {
        looks++;
        return typeof answer === "function" ? answer() : answer;
      };
      const { sampler, packs } = sampling({ board, sensors: [{ sensor: compound, everyMs: 1000 }] });
      sampler.start();
      board.run(999);
      sampler.stop();
      assert.deepEqual(
        packs[0]!.readings.map(({ value }) => (typeof value === "number" ? value : value.fault)),
        expected,
      );
      assert.equal(looks, answer === undefined ? MAX_LOOKS : 1);
    }
  });

  it("turns what trigger() throws into a fault too", () => {
    const board = new VirtualBoard();
    const sensor = new SlowThermometer(board, 10);
    sensor.trigger = () => {
      throw new Error("a driver's mistake");
    };
    const { sampler, packs } = sampling({ board, sensors: [{ sensor, everyMs: 1000 }] });
    sampler.start();
    board.run(2500);
    sampler.stop();
    assert.deepEqual(
      packs[0]!.readings.map(({ value }) => value),
      [{ fault: "driver" }, { fault: "driver" }, { fault: "driver" }],
    );
  });

  it("rounds to the sensor's step, so that a number takes at most five bytes", () => {
    fc.assert(
      fc.property(fc.double({ min: -55, max: 150, noNaN: true }), (temperature) => {
        const { board, sampler, packs } = single(() => ({ temperature }));
        sampler.start();
        board.run(0);
        sampler.stop();
        const value = packs[0]!.readings[0]!.value as number;
        assert.ok(Math.abs(value - temperature) <= 1 / 256);
        assert.equal(Math.fround(value), value);
        assert.ok(!Object.is(value, -0));
      }),
    );
  });
});

describe("sampler: packs", () => {
  it("is read the same by a foreign decoder and by the record's own reader", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.double({ min: -50, max: 100, noNaN: true }), fc.constant(Number.NaN)), {
          minLength: 1,
          maxLength: 40,
        }),
        fc.boolean(),
        fc.integer({ min: 100, max: 90_000 }),
        (temperatures, clockSet, everyMs) => {
          const board = new VirtualBoard();
          board.run(777);
          if (clockSet) board.set(WALL_MS + 123, ClockState.network);
          let turn = 0;
          const sensor = new Thermometer(() => ({ temperature: temperatures[turn++ % temperatures.length]! }));
          const { sampler, packs } = sampling({ board, sensors: [{ sensor, everyMs }], maxReadings: 7 });
          sampler.start();
          board.run(everyMs * temperatures.length);
          sampler.stop();
          assert.ok(packs.length > 0);
          for (const pack of packs) {
            const entries = foreign(pack);
            const resolved = resolve(pack.payload, 0);
            const read = readPack(pack.payload, pack.clock);
            assert.ok(read.ok);
            assert.equal(entries.length, pack.readings.length);
            for (const [i, reading] of pack.readings.entries()) {
              const { name, unit, value, text, timeS } = resolved[i]!;
              assert.deepEqual([name, unit], [reading.name, "Cel"]);
              assert.deepEqual(value ?? { fault: text }, reading.value);
              assert.equal(entries[i]!.has(-3), clockSet && i === 0);
              const exactS =
                (clockSet ? WALL_MS + 123 - 777 + reading.uptimeMs : reading.uptimeMs - pack.uptimeMs) / 1000;
              assert.ok(Math.abs(timeS - exactS) <= 1 / 128 + 1 / 2048);
              assert.deepEqual(read.value[i], { name, unit, value: reading.value, timeS });
            }
          }
        },
      ),
      // A failing array of doubles can shrink for minutes.
      { interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true },
    );
  });

  it("has no base time while the clock is unset, and offsets of at most 0", () => {
    const { board, sampler, packs } = single();
    sampler.start();
    board.run(3400);
    sampler.stop();
    const [pack] = packs;
    assert.equal(pack!.clock, ClockState.unset);
    assert.equal(pack!.uptimeMs, 3400);
    assert.ok(foreign(pack!).every((entry) => !entry.has(-3)));
    assert.deepEqual(times(pack!), [-3.40625, -2.40625, -1.40625, -0.40625]);
  });

  it("closes the pack when the clock's state changes, and when wall time jumps", () => {
    const { board, sampler, packs } = single();
    sampler.start();
    board.run(1500);
    board.set(WALL_MS, ClockState.network);
    board.run(2000);
    board.set(board.wallMs()! + 500, ClockState.network);
    board.run(2000);
    board.set(board.wallMs()! - 86_400_000, ClockState.network);
    board.run(1000);
    board.set(board.wallMs()!, ClockState.relay);
    board.run(1000);
    sampler.stop();
    assert.deepEqual(
      packs.map((pack) => [pack.clock, pack.readings.length]),
      [
        [ClockState.unset, 2],
        [ClockState.network, 4],
        [ClockState.network, 1],
        [ClockState.relay, 1],
      ],
    );
    // The small correction moves the whole pack: its spacing is the monotonic clock's.
    assert.deepEqual(times(packs[1]!), [1_700_000_001, 1_700_000_002, 1_700_000_003, 1_700_000_004]);
    assert.deepEqual(times(packs[2]!), [1_700_000_005 - 86_400]);
  });

  it("takes a clock that says 1970, 1979 or 6000 for one that is not set", () => {
    for (const wallMs of [5000, Date.UTC(1979, 11, 31), Date.UTC(6000, 0)]) {
      const { board, sampler, packs } = single();
      board.set(wallMs, ClockState.retained);
      sampler.start();
      board.run(100);
      sampler.stop();
      assert.equal(packs[0]!.clock, ClockState.unset);
      assert.ok(!foreign(packs[0]!)[0]!.has(-3));
      assert.ok(readPack(packs[0]!.payload, ClockState.unset).ok);
    }
  });

  it("closes the pack at maxReadings and at maxAgeMs", () => {
    const many = single(undefined, { maxReadings: 3, maxAgeMs: 60_000 });
    many.sampler.start();
    many.board.run(10_500);
    assert.deepEqual(
      many.packs.map((pack) => pack.readings.length),
      [3, 3, 3],
    );
    const old = single(undefined, { maxReadings: 100, maxAgeMs: 2500 });
    old.sampler.start();
    old.board.run(10_500);
    assert.deepEqual(
      old.packs.map((pack) => [pack.uptimeMs, pack.readings.length]),
      [
        [2500, 3],
        [5500, 3],
        [8500, 3],
      ],
    );
  });

  it("never makes a pack longer than its limit, nor a record longer than a record may be", () => {
    const widest = encodeBody(
      {
        kid: new Uint8Array(8).fill(255),
        kind: Kind.readings,
        boot: Number.MAX_SAFE_INTEGER,
        seq: Number.MAX_SAFE_INTEGER,
        prev: new Uint8Array(32),
        uptimeMs: Number.MAX_SAFE_INTEGER,
        clock: ClockState.relay,
      },
      new Uint8Array(PACK_MAX_BYTES),
    );
    assert.ok(widest.length + SIGNATURE_BYTES <= RECORD_MAX_BYTES, `${widest.length + SIGNATURE_BYTES}`);
    fc.assert(
      fc.property(
        fc.integer({ min: 256, max: PACK_MAX_BYTES }),
        fc.boolean(),
        fc.nat(20),
        (maxBytes, clockSet, pad) => {
          const board = new VirtualBoard();
          if (clockSet) board.set(WALL_MS, ClockState.relay);
          let turn = 0;
          const sensor = new Thermometer(() => (turn++ % 3 ? { temperature: turn / 7 } : {}));
          const { sampler, packs } = sampling({
            board,
            sensors: [{ sensor, everyMs: 1000, name: `x${"y".repeat(pad)}` }],
            maxBytes,
            maxReadings: 200,
            maxAgeMs: 86_400_000,
          });
          sampler.start();
          board.run(400_000);
          sampler.stop();
          let count = 0;
          for (const { payload, readings } of packs) {
            assert.ok(payload.length <= maxBytes, `${payload.length} of ${maxBytes}`);
            count += readings.length;
          }
          assert.equal(count, 401);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("refuses a plan that cannot be recorded", () => {
    const board = new VirtualBoard();
    const sensor = new Thermometer();
    const refuses = (options: Partial<SamplerOptions>, message: RegExp) =>
      assert.throws(() => sampling({ board, ...options }), message);
    refuses({ sensors: [{ sensor, everyMs: 0 }] }, /everyMs/);
    refuses({ sensors: [{ sensor, everyMs: 1.5 }] }, /everyMs/);
    refuses({ sensors: [{ sensor, everyMs: 1, name: "in the attic" }] }, /SenML name/);
    refuses({ sensors: [{ sensor, everyMs: 1, name: "-" }] }, /SenML name/);
    refuses({ sensors: [{ sensor, everyMs: 1, name: "x".repeat(60) }] }, /SenML name/);
    refuses({ sensors: Array.from({ length: 2 }, () => ({ sensor, everyMs: 1 })) }, /two sensors/);
    refuses({ sensors: Array.from({ length: 17 }, (_, i) => ({ sensor, everyMs: 1, name: `${i}` })) }, /at most 16/);
    refuses({ maxReadings: 201 }, /maxReadings/);
    refuses({ maxBytes: 255 }, /maxBytes/);
    refuses({ maxAgeMs: 86_400_001 }, /maxAgeMs/);
    const odd = Object.assign(new Thermometer(), { identification: { model: "Odd", classification: "Telepathy" } });
    refuses({ sensors: [{ sensor: odd, everyMs: 1 }] }, /Odd.*Telepathy/);
  });
});
