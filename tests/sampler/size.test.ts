import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ClockState } from "tallystick/clock/clock";
import { encodeBody, Kind, SIGNATURE_BYTES } from "tallystick/record/record";
import { type Pack, Sampler } from "tallystick/sampler/sampler";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import type { Sensor } from "tallystick/sensors/sensor";
import { TMP117 } from "tallystick/sensors/tmp117/tmp117";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import { TMP117Chip } from "../../hosts/simulator/world/chips/tmp117.js";
import type { I2CChip } from "../../hosts/simulator/world/i2c.js";
import { weatherAt } from "../../hosts/simulator/world/weather.js";
import { Bench } from "../sensors/bench.js";
import { VirtualBoard } from "./virtual.js";

const spec = readFileSync(new URL("../../modules/sampler/SPEC.md", import.meta.url), "utf8");
const WALL_MS = 1_767_225_600_123;
const EVERY_MS = 5000;
/** Turns of a timer that is up to 3 ms late, as a busy board's is. */
const LATE_MS = [1, 0, 3, 2, 0, 1];

interface Case {
  readonly what: string;
  readonly clockSet: boolean;
  readonly readings: number;
  readonly chip: (options: ConstructorParameters<typeof BME280Chip>[0]) => I2CChip;
  readonly sensor: (io: Bench["io"]) => Sensor;
}

const bme280 = {
  chip: (options: ConstructorParameters<typeof BME280Chip>[0]) => new BME280Chip(options),
  sensor: (io: Bench["io"]) => new BME280({ sensor: { io } }),
};
const tmp117 = {
  chip: (options: ConstructorParameters<typeof BME280Chip>[0]) => new TMP117Chip(options),
  sensor: (io: Bench["io"]) => new TMP117({ sensor: { io } }),
};
const CASES: readonly Case[] = [
  { what: "BME280, clock set", clockSet: true, readings: 33, ...bme280 },
  { what: "BME280, clock unset", clockSet: false, readings: 33, ...bme280 },
  { what: "BME280, clock set", clockSet: true, readings: 198, ...bme280 },
  { what: "TMP117, clock set", clockSet: true, readings: 32, ...tmp117 },
  { what: "TMP117, clock set", clockSet: true, readings: 1, ...tmp117 },
];

/** The first pack of a sensor that is read every five seconds in the recorded weather of a greenhouse. */
function firstPack({ clockSet, readings, chip, sensor }: Case): Pack {
  const board = new VirtualBoard();
  if (clockSet) board.set(WALL_MS, ClockState.relay);
  const bench = new Bench();
  bench.attach(chip({ surroundings: weatherAt("greenhouse"), nowMs: () => WALL_MS + board.uptimeMs(), seed: 5 }));
  const packs: Pack[] = [];
  const sampler = new Sampler({
    sensors: [{ sensor: sensor(bench.io), everyMs: EVERY_MS }],
    clock: board,
    timers: board,
    onPack: (pack) => packs.push(pack),
    maxReadings: readings,
    maxAgeMs: 3_600_000,
  });
  sampler.start();
  let turn = 0;
  board.run(EVERY_MS * readings, () => LATE_MS[turn++ % LATE_MS.length]!);
  sampler.close();
  assert.equal(packs[0]!.readings.length, readings);
  return packs[0]!;
}

/** The record around a pack, in the thousands of its chain. */
function recordBytes({ payload, uptimeMs, clock }: Pack): number {
  const header = { kid: new Uint8Array(8), kind: Kind.readings, boot: 3, seq: 5000, prev: new Uint8Array(32) };
  return encodeBody({ ...header, uptimeMs, clock }, payload).length + SIGNATURE_BYTES;
}

describe("sizes in sampler/SPEC.md", () => {
  for (const example of CASES) {
    it(`${example.what}, ${example.readings} readings`, () => {
      const pack = firstPack(example);
      const bytes = recordBytes(pack);
      const each = (bytes / example.readings).toFixed(1);
      const row = `| ${example.what} | ${example.readings} | ${pack.payload.length} | ${bytes} | ${each} |`;
      const rows = spec.split("\n").map((line) => line.replace(/ +/g, " "));
      assert.ok(rows.includes(row), `measured: ${row}`);
    });
  }
});
