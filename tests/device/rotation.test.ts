import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { toHex } from "tallystick/bytes/bytes";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { readGenesis, readRotate } from "tallystick/record/payload";
import { Kind } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { TORN_FUSES, type TornFuse } from "../../hosts/simulator/world/efuse.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { must, StartedRelay } from "../relay/started.js";
import { type BenchOptions, parsed } from "./bench.js";
import rotating, { ROTATES_AT } from "./rotating-application.js";
import { SuccessionBench } from "./succession-bench.js";

const MINUTE = 60_000;
const MOMENTS: readonly CutPlan["moment"][] = ["before", "within", "after"];
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;

/** A device changes its key by its own will: chain/SPEC.md, "Rotation". CUT=… reruns one cut. */
describe("a rotation", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: SuccessionBench;
  let seed = 40_000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  function begin(options: BenchOptions = {}): void {
    bench = new SuccessionBench(started, { seed: seed++, lane: laneA(rotating, relayCrypto), ...options });
  }

  /** Lets virtual time pass with a log that publishes as time passes. */
  async function until(what: string, happened: () => boolean, maxMs = 10 * MINUTE): Promise<void> {
    for (let passed = 0; !happened() && passed < maxMs; passed += 5000) {
      await bench.run(5000, happened);
      await started.settled();
    }
    assert.ok(happened(), `${what} did not happen:\n${bench.lines.slice(-25).join("\n")}`);
  }

  const asked = () => bench.keys.read("asked") !== undefined;
  const ended = () => asked() && bench.hasEnded() && bench.keys.read("rotation") === undefined;

  /** One chain that ends with a rotate record, one that begins with it, and nothing lost or said twice. */
  async function checkRotated(former: string, from = 0): Promise<void> {
    await until("the end of the rotation", () => bench.isOff() || ended());
    assert.ok(!bench.isOff());
    assert.notEqual(bench.kid, former);
    const chain = bench.chainOf(former);
    const last = parsed(chain[chain.length - 1]!.bytes);
    assert.equal(last.header.kind, Kind.rotate);
    assert.deepEqual(
      chain.map(({ seq }) => seq),
      chain.map((_, seq) => seq),
    );
    const next = bench.deviceOf(bench.kid);
    assert.deepEqual(must(readRotate(last.payload)), next.publicKey);
    const genesis = must(readGenesis(parsed(bench.chainOf(bench.kid)[0]!.bytes).payload));
    const { seq, id } = chain[chain.length - 1]!;
    assert.deepEqual(genesis.predecessor, { kid: bench.deviceOf(former).kid, seq, id });
    assert.deepEqual(bench.successorsOf(former), [bench.kid]);
    assert.equal(bench.deviceOf(former).state, "closed");
    assert.deepEqual(started.relay.store.forks(bench.deviceOf(former).device), []);
    for (const name of ["succession", "rotation", "rotated", "token"])
      assert.equal(bench.keys.read(name), undefined, `${name} is left`);
    const old = new Map(chain.map((record) => [record.seq, toHex(record.id)]));
    for (const held of bench.held)
      if (held.kid === former && held.kind !== "rotate") assert.equal(old.get(held.seq), held.id, `seq ${held.seq}`);
    await bench.checkNothingLost(started, from);
  }

  it("is asked for, and takes place when the relay has logged all of the chain", async () => {
    begin();
    await bench.powerOn();
    await until("the wish", asked);
    const former = bench.kid;
    const seeds = [bench.keys.read("seed"), bench.keys.read("rotation")].map((bytes) => toHex(bytes!));
    assert.notEqual(seeds[0], seeds[1]);
    await checkRotated(former);
    assert.equal(toHex(bench.keys.read("seed")!), seeds[1], "the former seed is gone");
    const rotated = bench.held.findIndex(({ kind }) => kind === "rotate");
    assert.equal(bench.held[rotated + 1]!.kind, "genesis");
    assert.ok(!bench.codes.includes("DEVICE_BUSY"), "nothing that was sampled was lost for it");
    const view = JSON.parse(await (await fetch(`${started.url}/v1/devices/${former}`)).text());
    assert.equal(view.successor, bench.kid);
    // A further start needs nothing of it, and the device is asked no second time.
    await bench.cutPower();
    await bench.powerOn();
    await until("records", () => bench.headSeq > ROTATES_AT + 4);
    assert.equal(bench.held.filter(({ kind }) => kind === "rotate").length, 1);
  });

  it("leaves evidence that knows the new key by the old one", async () => {
    begin();
    await bench.powerOn();
    await until("the wish", asked);
    const former = bench.kid;
    await checkRotated(former);
    const log = started.relay.identity.logKey;
    const policyOf = (kid: string) => ({
      log,
      devices: [didKey(bench.deviceOf(kid).publicKey)],
      require: ["signature", "device", "logged"],
    });
    for (const kid of [former, bench.kid]) {
      const record = bench.chainOf(kid)[2]!;
      const file = await fetch(`${started.url}/v1/records/${toHex(record.id)}/evidence`);
      const bytes = new Uint8Array(await file.arrayBuffer());
      for (const known of kid === former ? [former] : [former, bench.kid]) {
        const policy = must(readPolicy(relayCrypto.sha256, JSON.stringify(policyOf(known))));
        const report = must(verifyEvidence(relayCrypto, bytes, policy));
        assert.equal(report.verdict, "proved", JSON.stringify(report.steps));
      }
    }
  });

  it("waits while the relay is away: the chain goes on, over restarts, and ends when it is back", async () => {
    begin();
    await bench.powerOn();
    await until("records", () => bench.headSeq >= 2);
    bench.disconnect();
    await until("the wish", asked);
    const former = bench.kid;
    const head = bench.headSeq;
    await bench.run(2 * MINUTE);
    assert.ok(bench.headSeq > head + 4, "it records on");
    await bench.cutPower();
    await bench.powerOn();
    await bench.run(2 * MINUTE);
    assert.equal(bench.kid, former);
    assert.equal(bench.held.filter(({ kind }) => kind === "rotate").length, 0);
    assert.ok(!bench.codes.includes("DEVICE_BUSY"), "nothing waits for it");
    bench.connect(started.url);
    await checkRotated(former);
  });

  it("loses no record where the relay goes away at its moment, or its answers are lost", async () => {
    for (const lost of ["/records", "/head", "/succession"]) {
      begin();
      await bench.powerOn();
      await until("the wish", asked);
      const former = bench.kid;
      let count = 0;
      bench.network.alter = (request, answer) =>
        request.path.endsWith(lost) && ++count <= 3 ? { outcome: "timed-out", detail: "lost" } : answer;
      await checkRotated(former);
      await bench.close();
    }
  });

  it("is finished where the flash was set back behind it: the key store has the record", async () => {
    begin();
    await bench.powerOn();
    await until("the wish", asked);
    const former = bench.kid;
    const snapshot = bench.flash.snapshot();
    await until("the decision", () => bench.keys.read("rotated") !== undefined);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    const forgotten = bench.held.length;
    await bench.powerOn();
    await checkRotated(former, forgotten);
  });

  it("is forgotten where the chain has to end otherwise: no record names a key that nobody has", async () => {
    begin();
    await bench.powerOn();
    await until("records", () => bench.headSeq >= 2);
    await bench.climb(started);
    bench.disconnect();
    await until("the wish", asked);
    const former = bench.kid;
    const head = bench.headSeq;
    const snapshot = bench.flash.snapshot();
    bench.connect(started.url);
    const { target } = bench.network;
    bench.network.target = {
      request: async (request, signal) =>
        request.path.endsWith("/records") ? { outcome: "timed-out", detail: "lost" } : target!.request(request, signal),
    };
    await until("a sending", () => bench.sentMark() > head);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    bench.network.target = target;
    assert.ok(bench.keys.read("rotation"), "planned");
    await bench.powerOn();
    await until("another key", () => bench.kid !== former && bench.hasEnded());
    const records = bench.held.length;
    await until("records", () => bench.held.length > records + 10);
    assert.ok(!bench.codes.includes("CHAIN_CLOSED"), bench.codes.join());
    assert.equal(bench.held.filter(({ kind }) => kind === "rotate").length, 0);
    await bench.checkNothingLost(started, records);
  });

  describe("that is cut", () => {
    async function ready(options: BenchOptions): Promise<string> {
      begin(options);
      await bench.powerOn();
      await until("records", () => bench.headSeq >= ROTATES_AT - 1 && bench.level("logged") >= ROTATES_AT - 2);
      return bench.kid;
    }

    async function countOperations(options: BenchOptions): Promise<number> {
      const former = await ready(options);
      bench.world.power.plan(undefined);
      await until("the end of the rotation", ended);
      const { operations } = bench.world.power;
      await checkRotated(former);
      await bench.close();
      return operations;
    }

    async function cutAt(options: BenchOptions, cuts: readonly CutPlan[], torn?: TornFuse): Promise<boolean> {
      const former = await ready(options);
      if (torn) bench.fuses!.torn = torn;
      for (const plan of cuts) {
        bench.world.power.plan(plan);
        if (bench.isOff()) await bench.powerOn();
        await until("a cut or the end", () => bench.isOff() || ended());
        bench.world.power.plan(undefined);
        if (!bench.isOff()) break;
      }
      const happened = bench.isOff();
      if (bench.isOff()) await bench.powerOn();
      await checkRotated(former);
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
        const { writeUnitBytes, cuts, ...rest } = JSON.parse(given);
        seed = rest.seed;
        await cutAt({ writeUnitBytes }, cuts);
      });

    async function tryCuts(options: BenchOptions, cuts: readonly CutPlan[]): Promise<boolean> {
      const { writeUnitBytes } = options;
      const again = JSON.stringify({ writeUnitBytes, cuts, seed });
      try {
        return await cutAt(options, cuts);
      } catch (error) {
        throw new Error(`CUT='${again}' npx mocha tests/device/rotation.test.ts -g 'at {' reruns this`, {
          cause: error,
        });
      }
    }

    for (const writeUnitBytes of [1, 32] as const)
      it(`at its operations, on flash in units of ${writeUnitBytes}: one new key, nothing lost`, async () => {
        const total = await countOperations({ writeUnitBytes });
        assert.ok(total >= 15, `${total} operations`);
        let cuts = 0;
        // On encrypted flash each second one: what differs there is the journal's, which has its own cuts.
        for (let operation = 1; operation <= total; operation += writeUnitBytes === 1 ? 1 : 2)
          if (await tryCuts({ writeUnitBytes }, [{ operation, moment: MOMENTS[operation % 3]! }])) cuts++;
        assert.ok(cuts > total / 4, `${cuts} cuts of ${total} operations`);
      });

    it("around the burn of a fuse: the next number's key, and no other", async () => {
      const options = { fused: true };
      const former = await ready(options);
      bench.world.power.plan(undefined);
      const burns = bench.watchBurns();
      await checkRotated(former);
      await bench.close();
      assert.equal(burns.length, 1, "a rotation burns one fuse");
      for (let operation = burns[0]! - 1; operation <= burns[0]! + 1; operation++)
        for (const moment of MOMENTS)
          for (const torn of operation === burns[0] && moment === "within" ? TORN_FUSES : TORN_FUSES.slice(0, 1)) {
            assert.ok(await cutAt(options, [{ operation, moment }], torn), `no cut at ${operation}`);
            assert.deepEqual(bench.keys.read("seed"), Uint8Array.of(1, 0, 0, 0, 2), "no number is left out");
            assert.ok(bench.fuses!.read().lastIndexOf(1) <= 1);
          }
    });

    it("behind its record, and has lost the next seed: nothing is signed any more", async () => {
      await ready({});
      const { cells } = bench;
      const write = cells.write.bind(cells);
      cells.write = (domain, name, value) => {
        write(domain, name, value);
        if (name === "rotated") bench.world.power.plan({ operation: 1, moment: "before" });
      };
      await until("the cut", () => bench.isOff());
      bench.world.power.plan(undefined);
      cells.write = write;
      assert.equal(bench.keys.read("succession"), undefined, "between the record and the decision");
      assert.ok(bench.keys.read("rotation"));
      bench.keys.delete("rotation");
      const held = bench.held.length;
      await bench.powerOn();
      await bench.run(MINUTE);
      assert.equal(bench.codes[bench.codes.length - 1], "CHAIN_CLOSED");
      assert.equal(bench.held.length, held);
    });

    it("and again while it recovers", async () => {
      for (let operation = 1; operation <= 24; operation += 2)
        await tryCuts({}, [
          { operation, moment: MOMENTS[operation % 3]! },
          { operation: 1 + ((operation * 5) % 7), moment: MOMENTS[(operation >> 1) % 3]! },
        ]);
    });

    it("on XS", async () => {
      const engine = loadEngine(await ensureEngine());
      const image = await buildBoardImage(engine, fileURLToPath(new URL("rotating-application.ts", import.meta.url)));
      const lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
      const total = await countOperations({ lane });
      for (let operation = 1; operation <= total; operation += 6)
        await tryCuts({ lane }, [{ operation, moment: MOMENTS[operation % 3]! }]);
    });
  });
});
