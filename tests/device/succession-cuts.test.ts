import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { TORN_FUSES } from "../../hosts/simulator/world/efuse.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { StartedRelay } from "../relay/started.js";
import type { BenchOptions } from "./bench.js";
import { SuccessionBench } from "./succession-bench.js";

/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;
const MOMENTS: readonly CutPlan["moment"][] = ["before", "within", "after"];

/** The power goes at each flash and key store operation of a succession, one after the other. CUT=… reruns one. */
describe("a succession that is cut", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: SuccessionBench;
  let seed = 20_000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  function begin(options: BenchOptions = {}): void {
    bench = new SuccessionBench(started, { seed: seed++, ...options });
  }

  async function countOperations(options: BenchOptions, burns?: number[]): Promise<number> {
    begin(options);
    const former = await bench.lose();
    bench.world.power.plan(undefined);
    const burned = burns && bench.watchBurns();
    await bench.powerOn();
    await bench.runOut();
    const operations = bench.world.power.operations;
    burns?.push(...burned!);
    await bench.checkSucceeded(former);
    await bench.close();
    return operations;
  }

  async function cutAt(options: BenchOptions, cut: CutPlan, second?: CutPlan, torn = TORN_FUSES[0]!): Promise<boolean> {
    begin(options);
    const former = await bench.lose();
    if (bench.fuses) bench.fuses.torn = torn;
    for (const plan of [cut, second]) {
      bench.world.power.plan(plan);
      await bench.powerOn();
      await bench.runOut();
      bench.world.power.plan(undefined);
      if (!bench.isOff()) break;
    }
    const happened = bench.ends.filter(({ kind }) => kind === "power-cut").length > 1;
    if (bench.isOff()) await bench.powerOn();
    await bench.checkSucceeded(former);
    assert.deepEqual(
      bench.ends.filter(({ kind }) => kind !== "power-cut"),
      [],
      "no start ended of itself",
    );
    await bench.close();
    return happened;
  }

  const given = process.env["CUT"];
  if (given !== undefined)
    it(`at ${given}`, async () => {
      const { writeUnitBytes, cut, ...rest } = JSON.parse(given);
      seed = rest.seed;
      await cutAt({ writeUnitBytes }, cut);
    });

  for (const writeUnitBytes of [1, 32] as const)
    it(`on flash in units of ${writeUnitBytes}: one new chain, nothing lost, no fork`, async () => {
      const total = await countOperations({ writeUnitBytes });
      assert.ok(total >= 10, `${total} operations`);
      let cuts = 0;
      for (let operation = 1; operation <= total; operation++)
        for (const moment of MOMENTS) {
          const cut = { operation, moment };
          const again = JSON.stringify({ writeUnitBytes, cut, seed });
          try {
            if (await cutAt({ writeUnitBytes }, cut)) cuts++;
          } catch (error) {
            const rerun = `CUT='${again}' npx mocha tests/device/succession-cuts.test.ts -g 'at {' reruns this`;
            throw new Error(rerun, { cause: error });
          }
        }
      assert.ok(cuts > total * 2, `${cuts} cuts of ${total} operations`);
    });

  it("and again while it recovers", async () => {
    for (let operation = 1; operation <= 12; operation++)
      await cutAt(
        {},
        { operation, moment: MOMENTS[operation % 3]! },
        { operation: 1 + ((operation * 5) % 7), moment: MOMENTS[(operation >> 1) % 3]! },
      );
  });

  /** All cuts around the burn of the next key's fuse: what lies further off is the same as with stored seeds. */
  async function cutAroundBurn(options: BenchOptions): Promise<void> {
    const burns: number[] = [];
    await countOperations(options, burns);
    assert.equal(burns.length, 1, "a succession burns one fuse");
    for (let operation = burns[0]! - 1; operation <= burns[0]! + 2; operation++)
      for (const moment of MOMENTS)
        for (const torn of operation === burns[0] && moment === "within" ? TORN_FUSES : TORN_FUSES.slice(0, 1)) {
          assert.ok(await cutAt(options, { operation, moment }, undefined, torn));
          assert.deepEqual(bench.keys.read("seed"), Uint8Array.of(1, 0, 0, 0, 2), "no number is left out");
          assert.ok(bench.fuses!.read().lastIndexOf(1) <= 1);
        }
  }

  it("around the burn of a fuse: the next number's key, and no other", () => cutAroundBurn({ fused: true }));

  it("around the burn of a fuse, on XS", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
    const lane: Lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
    await cutAroundBurn({ fused: true, lane });
  });

  it("on XS", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
    const lane: Lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
    const total = await countOperations({ lane });
    for (let operation = 1; operation <= total; operation += 3)
      await cutAt({ lane }, { operation, moment: MOMENTS[operation % 3]! });
  });
});
