import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type Image, type LoadedEngine, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { BoardCrash, buildBoardImage, laneB, type XSInstance } from "../../hosts/simulator/lane-b.js";
import { type End, Simulation } from "../../hosts/simulator/simulation.js";
import { difference, Trace } from "../../hosts/simulator/trace.js";
import { HttpNetwork } from "../../hosts/simulator/world/network.js";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import type { FlashCells } from "../../hosts/simulator/world/world.js";
import { ensureEngine } from "../../tools/engine/build.js";
import application from "./application.js";
import faulty from "./faulty.js";
import { HASH_ONLY, PlainCells, rig, START_MS, type TestServer, testServer } from "./rig.js";

const MINUTE = 60_000;
const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

describe("lanes A and B", function () {
  this.timeout(180_000);
  let server: TestServer;
  let network: HttpNetwork;
  let engine: LoadedEngine;
  let image: Image;

  before(async () => {
    server = await testServer();
    network = new HttpNetwork({ origin: server.origin });
    engine = loadEngine(await ensureEngine());
    image = await buildBoardImage(engine, here("application.ts"));
  });
  after(async () => {
    network.close();
    await server.close();
  });

  /** Runs for ten minutes of the board's time, with the power cut and restored where `cuts` say. */
  async function run(lane: Lane, cuts: readonly CutPlan[], cells: FlashCells = new PlainCells()) {
    const { time, world, chip } = rig({ network, latencyMs: 120, flash: { chain: cells } });
    chip.registers.set([9, 1, 2, 3, 4]);
    const trace = new Trace();
    const lines: string[] = [];
    const simulation = new Simulation({ world, lane, trace, onPrint: (line) => lines.push(line) });
    for (const cut of [...cuts, undefined]) {
      world.power.plan(cut);
      await simulation.powerOn();
      await time.run(time.nowMs() + 3 * MINUTE, () => simulation.state === "off");
    }
    return { trace, lines, cells, simulation };
  }

  it("give the same trace, byte for byte, with the power cut on the way", async () => {
    const cuts = [
      { operation: 1, moment: "within" },
      { operation: 3, moment: "within" },
      { operation: 4, moment: "before" },
      { operation: 5, moment: "after" },
    ] as const;
    const a = await run(laneA(application, HASH_ONLY), cuts);
    const b = await run(laneB(engine, image), cuts);
    assert.equal(difference(a.trace, b.trace), undefined);
    assert.deepEqual(a.lines, b.lines);
    assert.deepEqual(a.cells.read(0, 16_384), b.cells.read(0, 16_384));
    assert.equal(b.simulation.state, "running");
    assert.ok(a.trace.lines.filter((line) => line === "end power-cut").length === cuts.length);
    assert.ok(a.lines.some((line) => /^status 200, 32 bytes/.test(line)));
  });

  it("give the same trace on torn and unstable cells, wherever the power is cut", async () => {
    const random = new SeededRandom(Number(process.env["SEED"] ?? 1));
    for (let round = 0; round < 12; round++) {
      const seed = random.next();
      const plan = Array.from({ length: 1 + random.below(4) }, () => ({
        operation: 1 + random.below(8),
        moment: random.pick(["before", "within", "after"] as const),
      }));
      const writeUnitBytes = random.pick([1, 32] as const);
      const flash = () => new NorFlash({ sizeBytes: 16_384, writeUnitBytes, seed });
      const a = await run(laneA(application, HASH_ONLY), plan, flash());
      const b = await run(laneB(engine, image), plan, flash());
      const parted = difference(a.trace, b.trace);
      assert.equal(parted, undefined, `SEED=${process.env["SEED"] ?? 1}, round ${round}: ${parted}`);
    }
  });

  it("leave room on a board of an ESP32-C3's figures", async () => {
    const { simulation } = await run(laneB(engine, image), []);
    const stats = (simulation.instance as XSInstance).stats();
    assert.ok(stats.freeBytes > 48 * 1024, `free bytes: ${stats.freeBytes}`);
  });

  it("end a start in the same way: restart, sleep, exception, rejection", async () => {
    const faultyImage = await buildBoardImage(engine, here("faulty.ts"));
    const ends: string[][] = [];
    for (const lane of [laneA(faulty, HASH_ONLY), laneB(engine, faultyImage)]) {
      const { time, world } = rig();
      const seen: string[] = [];
      const describe = (end: End) =>
        end.kind === "crash" ? `crash ${/boom \w+/.exec(String((end.error as Error).message))?.[0]}` : end.kind;
      const simulation = new Simulation({
        world,
        lane,
        onEnd: (end) => seen.push(`${time.nowMs() - START_MS} ${describe(end)}`),
        onPrint: (line) => seen.push(line),
      });
      await simulation.powerOn();
      await time.run(START_MS + 10 * MINUTE);
      seen.push(simulation.state);
      ends.push(seen);
    }
    assert.deepEqual(ends[0], [
      "entropy is seeded: this board's keys protect nothing",
      "start 0: reason 1, uptime 0, clock 0",
      "1000 restart",
      "start 1: reason 3, uptime 0, clock 1",
      "2000 sleep",
      "start 2: reason 8, uptime 6000, clock 1",
      "8000 crash boom timer",
      "start 3: reason 4, uptime 0, clock 1",
      "10000 crash boom job",
      "start 4: reason 4, uptime 0, clock 1",
      "running",
    ]);
    assert.deepEqual(ends[1], ends[0]);
  });

  it("answer the SDK's own specifiers on XS", async () => {
    const { time, world } = rig();
    world.pins.wireAnalog(1, () => 0.25);
    const lines: string[] = [];
    const simulation = new Simulation({
      world,
      lane: laneB(engine, await buildBoardImage(engine, here("embedded.js"))),
      onPrint: (line) => lines.push(line),
      onEnd: (end) => lines.push(end.kind === "crash" ? String(end.error) : end.kind),
    });
    await simulation.powerOn();
    await time.run(START_MS + 250);
    world.pins.setLevel(4, 1);
    await simulation.idle();
    await time.run(START_MS + 2_000);
    assert.deepEqual(lines.slice(1), [
      "i2c 1234",
      "Error I2C bus 0, address 0x22: no acknowledge",
      "analog 0.25",
      "button 0",
      "flash 1,2,3 4 chain",
      "key dachboden name",
      "tick 1",
      "tick 2",
      "button 1",
      "tick 3",
    ]);
  });

  it("name module and line of what crashed a board", async () => {
    const faultyImage = await buildBoardImage(engine, here("faulty.ts"));
    const { time, world } = rig();
    world.keys.write("tallystick", "starts", Uint8Array.of(2));
    const ends: End[] = [];
    const simulation = new Simulation({ world, lane: laneB(engine, faultyImage), onEnd: (end) => ends.push(end) });
    await simulation.powerOn();
    await time.run(START_MS + 1_500);
    const [end] = ends;
    assert.ok(end?.kind === "crash" && end.error instanceof BoardCrash, `got ${end?.kind}`);
    assert.equal(end.error.end.reason, "exception");
    assert.equal(end.error.end.source, "tests/world/faulty.ts");
    assert.ok(end.error.end.line! > 10);
  });
});
