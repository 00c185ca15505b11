import assert from "node:assert/strict";
import { STUCK_QUIET_MS } from "tallystick/insight/bounds";
import { Insight } from "tallystick/insight/insight";
import { STUCK_SAMPLES } from "tallystick/insight/watch";
import { type Alert, readAlert } from "tallystick/record/payload";
import { Sampler } from "tallystick/sampler/sampler";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import { SHT4x } from "tallystick/sensors/sht4x/sht4x";
import { TMP117 } from "tallystick/sensors/tmp117/tmp117";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import { SHT4xChip } from "../../hosts/simulator/world/chips/sht4x.js";
import { TMP117Chip } from "../../hosts/simulator/world/chips/tmp117.js";
import { SITES, type Site } from "../../hosts/simulator/world/seattle.js";
import { weatherAt } from "../../hosts/simulator/world/weather.js";
import { VirtualBoard } from "../sampler/virtual.js";
import { Bench } from "../sensors/bench.js";

/** 2026 is brought onto a year of the record: world/seattle.ts. */
const START_MS = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const DAY = 86_400_000;
const SEED = Number(process.env["SEED"] ?? 1);

interface Measured {
  readonly alerts: readonly Alert[];
  readonly samples: number;
  /** By quantity: the most equal values in a row, how long that was, and the largest step. */
  readonly most: ReadonlyMap<string, { equal: number; equalMs: number; step: number }>;
}

/**
 * Three drivers read simulated chips with their data sheets' noise in recorded weather, through the sampler. `quiet`: with
 * as much averaging and filtering as the chips have, so that hardly any noise is left.
 */
function sample(site: Site, days: number, everyMs: number, quiet: boolean): Measured {
  const board = new VirtualBoard();
  const bench = new Bench();
  const options = { surroundings: weatherAt(site), nowMs: () => START_MS + board.uptimeMs(), seed: SEED };
  for (const chip of [new BME280Chip(options), new SHT4xChip(options), new TMP117Chip(options)]) bench.attach(chip);
  const sensor = { io: bench.io };
  const [bme280, sht4x, tmp117] = [new BME280({ sensor }), new SHT4x({ sensor }), new TMP117({ sensor })];
  if (quiet) {
    bme280.configure({ temperatureOversampling: 16, pressureOversampling: 16, humidityOversampling: 16, filter: 16 });
    tmp117.configure({ averaging: 64 });
  }
  const alerts: Alert[] = [];
  const most = new Map<string, { equal: number; equalMs: number; step: number }>();
  const runs = new Map<string, { value: number; atMs: number; count: number }>();
  let samples = 0;
  const sampler = new Sampler({
    sensors: [
      { sensor: bme280, everyMs, name: "bme280" },
      { sensor: sht4x, everyMs, name: "sht4x" },
      { sensor: tmp117, everyMs, name: "tmp117" },
    ],
    clock: board,
    timers: board,
    maxReadings: 30,
    maxAgeMs: DAY,
    onReading: ({ name, value, uptimeMs }) => {
      assert.ok(typeof value === "number", "honest chips have no faults");
      samples++;
      const run = runs.get(name);
      const seen = most.get(name) ?? { equal: 0, equalMs: 0, step: 0 };
      most.set(name, seen);
      if (run?.value === value) {
        // What insight/SPEC.md leaves out: no sensor shows more than all.
        if (++run.count <= seen.equal || value === 100) return;
        seen.equal = run.count;
        seen.equalMs = uptimeMs - run.atMs;
      } else {
        if (run) seen.step = Math.max(seen.step, Math.abs(value - run.value));
        runs.set(name, { value, atMs: uptimeMs, count: 1 });
      }
    },
    onPack: ({ readings }) => {
      insight.settle(insight.examine(readings), new Uint8Array(32));
      for (let payload = insight.next(board.uptimeMs()); payload; payload = insight.next(board.uptimeMs())) {
        const alert = readAlert(payload);
        assert.ok(alert.ok);
        alerts.push(alert.value);
      }
    },
  });
  const insight = new Insight({ quantities: sampler.described });
  sampler.start();
  for (let day = 0; day < days; day++) board.run(DAY);
  sampler.stop();
  return { alerts, samples, most };
}

/** The largest step from one sample to the next is below this share of what a jump is. */
const JUMPS = { temperature: 10 / 5, humidity: 40 / 5, pressure: 1000 / 5 } as const;

function checkFarOff({ alerts, samples, most }: Measured, quiet: boolean): void {
  assert.deepEqual(alerts, [], `SEED=${SEED} npx mocha tests/insight/weather.test.ts reruns this`);
  assert.ok(samples > 300_000, `${samples}`);
  for (const [name, { equal, equalMs, step }] of most) {
    const [chip, quantity] = name.split("/") as [string, keyof typeof JUMPS];
    const isQuiet = chip === "tmp117" || (quiet && chip === "bme280" && quantity !== "humidity");
    const what = `${name}: ${equal} equal values in ${equalMs} ms, steps up to ${step}`;
    if (process.env["SHOW"] !== undefined) console.log(`      ${what}`);
    if (isQuiet) assert.ok(equalMs < STUCK_QUIET_MS / 2, what);
    else assert.ok(equal < STUCK_SAMPLES / 2, what);
    assert.ok(step < JUMPS[quantity], what);
  }
}

describe("insight in recorded weather, SHOW=1 for the figures", function () {
  this.timeout(300_000);

  for (const site of Object.keys(SITES) as Site[])
    it(`finds nothing in a year, every ten minutes, by chips with their noise: ${site}`, () => {
      checkFarOff(sample(site, 365, 10 * MINUTE, false), false);
    });

  it("finds nothing in a year in the stillest place, with all averaging and filtering that the chips have", () => {
    checkFarOff(sample("cellar", 365, 10 * MINUTE, true), true);
  });

  it("finds nothing in a week, every ten seconds", () => {
    checkFarOff(sample("attic", 7, 10_000, false), false);
  });
});
