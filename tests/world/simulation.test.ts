import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Operation } from "../../hosts/board/wire.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { type End, EVENTS_WAITING_MAX, Simulation } from "../../hosts/simulator/simulation.js";
import { difference, Trace } from "../../hosts/simulator/trace.js";
import { openFlashFile } from "../../hosts/simulator/world/flash.js";
import { FileKeys } from "../../hosts/simulator/world/keys.js";
import { HttpNetwork } from "../../hosts/simulator/world/network.js";
import { WallTime } from "../../hosts/simulator/world/time.js";
import application from "./application.js";
import { HASH_ONLY, rig, START_MS, type TestServer, testServer } from "./rig.js";

const MINUTE = 60_000;

describe("simulation, lane A", () => {
  let server: TestServer;
  let network: HttpNetwork;
  before(async () => {
    server = await testServer();
    network = new HttpNetwork({ origin: server.origin });
  });
  after(async () => {
    network.close();
    await server.close();
  });

  async function run(minutes: number) {
    const { time, world, chip, cells, keys } = rig({ network, latencyMs: 40 });
    chip.registers.set([9, 1, 2, 3, 4]);
    const lines: string[] = [];
    const trace = new Trace();
    const simulation = new Simulation({
      world,
      lane: laneA(application, HASH_ONLY),
      trace,
      onPrint: (line) => lines.push(line),
    });
    await simulation.powerOn();
    await time.run(START_MS + minutes * MINUTE + 1_000);
    return { simulation, lines, trace, cells, keys, time, world };
  }

  it("runs an application through every part of its platform", async () => {
    const { simulation, lines, cells, keys } = await run(2);
    assert.equal(simulation.lastEnd, undefined);
    assert.deepEqual(lines, [
      "entropy is seeded: this board's keys protect nothing",
      "start 1 simulator 0.1.0-test, 0 readings",
      "60000 1767225660000 2 reading 1",
      lines[3],
      "120000 1767225720000 2 reading 2",
      lines[5],
    ]);
    assert.match(lines[3]!, /^status 200, 32 bytes, \d+$/);
    assert.deepEqual([...cells.read(0, 4)], [1, 2, 3, 4]);
    assert.deepEqual([...keys.read("tallystick", "count")!], [2]);
  });

  it("gives the same trace again, byte for byte", async () => {
    const [first, second] = [await run(3), await run(3)];
    assert.ok(first.trace.count > 50);
    assert.equal(difference(first.trace, second.trace), undefined);
  });

  it("goes on with the same cells and keys after the power was cut between events", async () => {
    const { simulation, lines, time } = await run(1);
    await simulation.cutPower();
    assert.equal(simulation.state, "off");
    await time.run(time.nowMs() + 10 * MINUTE);
    await simulation.powerOn();
    await time.run(time.nowMs() + MINUTE);
    assert.deepEqual(lines.slice(4), [
      "entropy is seeded: this board's keys protect nothing",
      "start 1 simulator 0.1.0-test, 1 readings",
      "60000 undefined 0 reading 2",
    ]);
  });

  it("goes on in another process, on flash and keys in files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tallystick-board-"));
    try {
      const lines: string[] = [];
      for (let process = 0; process < 3; process++) {
        const flash = openFlashFile(join(folder, "flash.bin"), { sizeBytes: 16_384 });
        const keys = new FileKeys(join(folder, "keys.json"));
        const { time, world, chip } = rig({ flash: { chain: flash }, keys });
        chip.registers.set([0, process + 1, 2, 3, 4]);
        const lane = laneA(application, HASH_ONLY);
        const simulation = new Simulation({ world, lane, onPrint: (line) => lines.push(line) });
        await simulation.powerOn();
        await time.run(START_MS + 2 * MINUTE);
        await simulation.cutPower();
        flash.close();
      }
      assert.deepEqual(
        lines.filter((line) => line.startsWith("start")).map((line) => line.split(", ")[1]),
        ["0 readings", "2 readings", "4 readings"],
      );
      const cells = readFileSync(join(folder, "flash.bin"));
      assert.deepEqual(
        [0, 1, 2, 3, 4, 5].map((reading) => cells[reading * 32]),
        [1, 1, 2, 2, 3, 3],
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("cuts the power before, within and after each durable operation", async () => {
    // Operations of the first start: erase, id, then for each reading: program, count.
    for (const moment of ["before", "within", "after"] as const)
      for (let operation = 1; operation <= 4; operation++) {
        const { time, world, cells, keys, chip } = rig();
        chip.registers.set([0, 1, 2, 3, 4]);
        const ends: End[] = [];
        const lines: string[] = [];
        const simulation = new Simulation({
          world,
          lane: laneA(application, HASH_ONLY),
          onEnd: (end) => ends.push(end),
          onPrint: (line) => lines.push(line),
        });
        world.power.plan({ operation, moment });
        await simulation.powerOn();
        await time.run(START_MS + MINUTE);
        const where = `${moment} operation ${operation}`;
        assert.deepEqual(ends, [{ kind: "power-cut" }], where);
        assert.equal(simulation.state, "off", where);
        const done = operation - (moment === "after" ? 0 : 1);
        assert.equal(keys.read("tallystick", "id") !== undefined, done >= 2, where);
        assert.equal(keys.read("tallystick", "count") !== undefined, done >= 4, where);
        const torn = moment === "within";
        assert.equal(
          cells.bytes[0],
          torn && operation === 1 ? 0 : (torn && operation === 3) || done >= 3 ? 1 : 0xff,
          where,
        );
        assert.equal(cells.bytes[31] === 0xff, done < 3 && !(torn && operation === 1), where);
        await simulation.powerOn();
        await time.run(time.nowMs() + MINUTE);
        assert.equal(simulation.state, "running", where);
        assert.match(lines.at(-2)!, /reading/, where);
      }
  });

  it("runs on wall time, and ends at once while a request is under way", async () => {
    const time = new WallTime();
    const { world } = rig({ network, time });
    const lines: string[] = [];
    let told: (line: string) => void = () => {};
    const simulation = new Simulation({
      world,
      lane: laneA(
        ({ timers, transport, print, clock }) => ({
          start() {
            timers.after(15, async () => {
              print(`timer after ${clock.uptimeMs() >= 15 ? "15 ms or more" : `${clock.uptimeMs()} ms`}`);
              const answer = await transport.request({ method: "GET", path: "/missing", maxResponseBytes: 10 });
              print(answer.ok ? `status ${answer.value.status}` : answer.failure.detail);
              void transport.request({ method: "GET", path: "/hang", maxResponseBytes: 10 }).then(() => print("never"));
              print("hanging");
            });
          },
        }),
        HASH_ONLY,
      ),
      onPrint(line) {
        lines.push(line);
        told(line);
      },
    });
    const hanging = new Promise<void>((resolve) => {
      told = (line) => line === "hanging" && resolve();
    });
    await simulation.powerOn();
    await hanging;
    await simulation.cutPower();
    assert.equal(simulation.state, "off");
    assert.deepEqual(lines.slice(1), ["timer after 15 ms or more", "status 404", "hanging"]);
    assert.equal(simulation.uptimeMs, undefined);
    await simulation.cutPower();
    assert.equal(simulation.starts, 1);
  });

  it("gives up on a board that crashes again and again, until it is turned on anew", async () => {
    const { world, time } = rig();
    const ends: string[] = [];
    const simulation = new Simulation({
      world,
      lane: laneA(() => {
        throw new Error("does not start");
      }, HASH_ONLY),
      onEnd: (end) => ends.push(`${time.nowMs() - START_MS} ${end.kind}`),
    });
    await simulation.powerOn();
    await time.run(START_MS + 60 * MINUTE);
    assert.equal(simulation.state, "halted");
    assert.deepEqual(ends, ["0 crash", "1000 crash", "2000 crash", "3000 crash", "4000 crash"]);
    await simulation.powerOn();
    assert.equal(simulation.starts, 6);
  });

  it("lets nothing that a dead start still does reach the world", async () => {
    const { world, cells, time } = rig();
    const simulation = new Simulation({
      world,
      lane: laneA(
        ({ flash, timers }) => ({
          start() {
            timers.after(1, async () => {
              // A defect of an application on purpose: it takes no notice of what its flash throws.
              for (let sector = 0; sector < 4; sector++) {
                try {
                  flash.write(sector * 4096, Uint8Array.of(0));
                } catch {}
                await undefined;
              }
            });
          },
        }),
        HASH_ONLY,
      ),
    });
    world.power.plan({ operation: 2, moment: "before" });
    await simulation.powerOn();
    await time.run(START_MS + 10);
    assert.deepEqual(
      [0, 1, 2, 3].map((sector) => cells.bytes[sector * 4096]),
      [0, 0xff, 0xff, 0xff],
    );
    assert.deepEqual(simulation.lastEnd, { kind: "power-cut" });
  });

  it("drops edges that come faster than the board takes them, and counts them", async () => {
    const { world, time } = rig();
    let edges = 0;
    const lane: Lane = {
      name: "counting",
      async boot(call) {
        call(Operation.digitalOpen, Uint8Array.of(4, 0, 3));
        return {
          async event() {
            edges++;
          },
          discard() {},
        };
      },
    };
    const simulation = new Simulation({ world, lane });
    await simulation.powerOn();
    for (let i = 0; i < 1_000; i++) world.pins.setLevel(4, i % 2 === 0 ? 1 : 0);
    await simulation.idle();
    assert.equal(edges, EVENTS_WAITING_MAX);
    assert.equal(simulation.eventsDropped, 1_000 - EVENTS_WAITING_MAX);
    assert.equal(time.nowMs(), START_MS);
  });
});
