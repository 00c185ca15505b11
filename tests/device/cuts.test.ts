import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { loadEngine } from "../../hosts/simulator/board.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

const RUNS = 8;
const CUTS = 10;

/**
 * The power goes at random flash and key store operations while the device talks to its relay, and the relay's answers
 * are lost now and then. SEED=… reruns one run.
 */
describe("a device whose power is cut while it syncs", function () {
  this.timeout(180_000);
  let started: StartedRelay;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());

  async function runThrough(bench: Bench, random: SeededRandom, cuts: number): Promise<number> {
    let cut = 0;
    bench.provision(started);
    bench.connect(started.url);
    bench.network.alter = (_request, answer) =>
      random.below(5) === 0 ? { outcome: "timed-out", detail: "lost" } : answer;
    for (let start = 0; start < cuts; start++) {
      const plan: CutPlan = { operation: 1 + random.below(60), moment: random.pick(["before", "within", "after"]) };
      bench.world.power.plan(plan);
      await bench.powerOn();
      await bench.run(3 * 60_000, () => bench.simulation.state === "off");
      if (bench.simulation.state === "off") cut++;
      bench.world.power.plan(undefined);
      await bench.cutPower();
    }
    bench.network.alter = undefined;
    await bench.powerOn();
    await bench.checkNothingLost(started);
    assert.deepEqual(
      bench.ends.filter(({ kind }) => kind !== "power-cut"),
      [],
      "no start ended of itself",
    );
    return cut;
  }

  it(`${RUNS} devices, up to ${CUTS} cuts each: no fork, nothing lost, on flash as it is and encrypted`, async () => {
    const first = Number(process.env["SEED"] ?? 1000 + (Date.now() % 100_000) * RUNS);
    let cuts = 0;
    for (let run = 0; run < (process.env["SEED"] === undefined ? RUNS : 1); run++) {
      const seed = first + run;
      const bench = new Bench({ seed, sectors: 8, writeUnitBytes: seed % 2 === 0 ? 1 : 32 });
      try {
        cuts += await runThrough(bench, new SeededRandom(seed), CUTS);
      } catch (error) {
        throw new Error(`SEED=${seed} npx mocha tests/device/cuts.test.ts reruns this`, { cause: error });
      } finally {
        await bench.close();
      }
    }
    assert.ok(process.env["SEED"] !== undefined || cuts > (RUNS * CUTS) / 4, `${cuts} cuts`);
  });

  it("one on XS, the same", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
    const seed = Number(process.env["SEED"] ?? 7);
    const bench = new Bench({ seed, sectors: 8, lane: laneB(engine, image) });
    try {
      await runThrough(bench, new SeededRandom(seed), 6);
    } finally {
      await bench.close();
    }
  });
});
