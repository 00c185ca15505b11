import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fromHex } from "tallystick/bytes/bytes";
import type { ClockState } from "tallystick/clock/clock";
import { type Reading, readPack } from "tallystick/record/senml";
import { loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { Simulation } from "../../hosts/simulator/simulation.js";
import { difference, Trace } from "../../hosts/simulator/trace.js";
import { I2CBus } from "../../hosts/simulator/world/bus.js";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import { SHT4xChip } from "../../hosts/simulator/world/chips/sht4x.js";
import { TMP117Chip } from "../../hosts/simulator/world/chips/tmp117.js";
import { weatherAt } from "../../hosts/simulator/world/weather.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { HASH_ONLY, rig, START_MS } from "../world/rig.js";
import application from "./application.js";

const MINUTE = 60_000;

/** Ten minutes in a greenhouse, with a fault of each kind on the way. */
async function run(lane: Lane) {
  const bus = new I2CBus();
  const { time, world } = rig({ i2c: [bus] });
  const options = { surroundings: weatherAt("greenhouse"), nowMs: () => time.nowMs(), seed: 11 };
  const [bme280, sht4x, tmp117] = [new BME280Chip(options), new SHT4xChip(options), new TMP117Chip(options)];
  for (const chip of [bme280, sht4x, tmp117]) bus.attach(chip);
  bme280.inject({ kind: "no-ack", fromMs: START_MS + 2 * MINUTE, untilMs: START_MS + 3 * MINUTE });
  sht4x.inject({ kind: "crc", chance: 0.3 });
  tmp117.inject({ kind: "busy", fromMs: START_MS + 4 * MINUTE, untilMs: START_MS + 5 * MINUTE });
  bme280.inject({ kind: "spike", quantity: "pressurePa", by: 50_000, chance: 0.2, fromMs: START_MS + 6 * MINUTE });
  const trace = new Trace();
  const lines: string[] = [];
  const simulation = new Simulation({ world, lane, trace, onPrint: (line) => lines.push(line) });
  await simulation.powerOn();
  await time.run(START_MS + 10 * MINUTE);
  return { trace, lines, serials: [sht4x.serial.toString(16).padStart(8, "0"), tmp117.serial] };
}

describe("sampler and drivers on a board", function () {
  this.timeout(180_000);

  it("read chips in recorded weather through the wire, faults and all", async () => {
    const { lines, serials } = await run(laneA(application, HASH_ONLY));
    for (const serial of serials)
      assert.ok(
        lines.some((line) => line.endsWith(` ${serial}`)),
        serial,
      );
    const readings: Reading[] = [];
    for (const line of lines) {
      const [uptime, clock, payload] = line.split(" ");
      if (!/^\d+$/.test(uptime!)) continue;
      const pack = readPack(fromHex(payload!)!, Number(clock) as ClockState);
      assert.ok(pack.ok, `${line}: ${pack.ok || pack.failure.detail}`);
      readings.push(...pack.value);
    }
    const faults = new Set(readings.flatMap(({ value }) => (typeof value === "number" ? [] : [value.fault])));
    assert.deepEqual([...faults].sort(), ["crc", "no-ack", "not-ready", "range"]);
    const values = (name: string) =>
      readings.flatMap((reading) =>
        reading.name === name && typeof reading.value === "number" ? [reading.value] : [],
      );
    const air = weatherAt("greenhouse").at(START_MS + 5 * MINUTE);
    for (const name of ["s0/temperature", "s1/temperature", "s2/temperature"]) {
      assert.ok(values(name).length > 20, name);
      for (const value of values(name)) assert.ok(Math.abs(value - air.temperatureC) < 0.5, `${name} ${value}`);
    }
    for (const value of values("s0/pressure")) assert.ok(Math.abs(value - air.pressurePa) < 30, `pressure ${value}`);
  });

  it("do the same on XS, byte for byte", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("application.ts", import.meta.url)));
    const a = await run(laneA(application, HASH_ONLY));
    const b = await run(laneB(engine, image));
    assert.equal(difference(a.trace, b.trace), undefined);
    assert.deepEqual(b.lines, a.lines);
    assert.ok(b.lines.length > 20);
  });
});
