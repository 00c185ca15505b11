import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { encodeCbor } from "tallystick/record/cbor";
import { readToken } from "tallystick/sync/enrolment";
import { writeSentMark } from "tallystick/sync/sent-mark";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { GENERATION_FUSES, TORN_FUSES, type TornFuse } from "../../hosts/simulator/world/efuse.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { StartedRelay } from "../relay/started.js";
import { Bench, type BenchOptions } from "./bench.js";
import { SuccessionBench } from "./succession-bench.js";

const MINUTE = 60_000;
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;
const MOMENTS: readonly CutPlan["moment"][] = ["before", "within", "after"];
const FIRST = Uint8Array.of(1, 0, 0, 0, 1);

/** The key of a generation, by the specification and not by the code of the device. */
function kidOf(bench: Bench, generation: number): string {
  const message = Buffer.from([...Buffer.from("tallystick/seed/v1"), 0, 0, 0, generation]);
  return toHex(Identity.ofSeed(bench.fuses!.hmac(message), relayCrypto).kid);
}

function burned(bench: Bench): number {
  return bench.fuses!.read().lastIndexOf(1) + 1;
}

/** A device whose chip makes its seeds: what its key store holds is a number. */
describe("a device with its key in its chip's fuses", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: Bench;
  let seed = 50_000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  function begin(options: BenchOptions = {}): void {
    bench = new Bench({ seed: seed++, sectors: 8, fused: true, ...options });
    bench.provision(started);
    bench.connect(started.url);
  }

  const isEnrolled = () => bench.headSeq >= 1 && readToken(bench.keys) === undefined;

  /** A device that has run and whose records the relay has, without power. */
  async function ran(): Promise<void> {
    await bench.powerOn();
    await bench.until("records", () => isEnrolled() && bench.headSeq >= 5);
    await bench.climb(started);
    await bench.cutPower();
  }

  /** A start that finds a key and no chain begins one and does not name it: the next does. */
  async function checkAll(): Promise<void> {
    await bench.cutPower();
    const told = bench.lines.length;
    await bench.powerOn();
    await bench.until("its name", () => bench.lines.slice(told).some((line) => line.includes("event=resumed")));
    await bench.checkNothingLost(started);
  }

  const things = () => ({
    flash: createHash("sha256").update(bench.flash.snapshot().cells).digest("hex"),
    keys: [...bench.cells.values].map(([name, value]) => `${name} ${toHex(value)}`),
    burned: burned(bench),
  });

  /** That a start ends with `code` and leaves everything as it was; gives what it told. */
  async function refuses(code: string): Promise<string> {
    const before = things();
    const codes = bench.codes.length;
    const reported = bench.held.length;
    const asked = bench.network.requests.length;
    await bench.powerOn();
    await bench.run(10 * MINUTE);
    assert.deepEqual(bench.codes.slice(codes), [code]);
    assert.equal(bench.held.length, reported);
    assert.equal(bench.network.requests.length, asked, "nothing was sent");
    assert.deepEqual(things(), before);
    return bench.lines.findLast((line) => line.includes(`code=${code}`))!;
  }

  it("stores a number, burns one fuse, and is the same device at every start", async () => {
    begin();
    await ran();
    assert.deepEqual(bench.keys.read("seed"), FIRST);
    assert.equal(bench.kid, kidOf(bench, 1));
    for (let start = 0; start < 3; start++) {
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("records", () => bench.held.length > reported + 1);
      await bench.cutPower();
    }
    await bench.powerOn();
    await bench.checkNothingLost(started);
    assert.equal(bench.kid, kidOf(bench, 1));
    assert.deepEqual(bench.fuses!.read(), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(bench.codes, []);
  });

  describe("cut anywhere between power and enrolment", () => {
    /** The device is then what it would have been without the cut; false where the cut did not come. */
    async function cutAt(options: BenchOptions, cut: CutPlan, torn: TornFuse): Promise<boolean> {
      begin(options);
      bench.fuses!.torn = torn;
      bench.world.power.plan(cut);
      await bench.powerOn();
      await bench.run(MINUTE, () => bench.simulation.state === "off" || isEnrolled());
      const happened = bench.simulation.state === "off";
      bench.world.power.plan(undefined);
      const token = readToken(bench.keys) !== undefined;
      if (happened) await bench.powerOn();
      await bench.until(`the enrolment, ${token ? "still to come" : "done"}`, isEnrolled);
      await checkAll();
      assert.equal(bench.kid, kidOf(bench, 1), "the one key that was ever drawn");
      // A fuse that was torn and read as burned is left as it is: now it may read as either.
      const count = burned(bench);
      assert.ok(count === 1 || (count === 0 && cut.moment === "within" && torn === "unstable"), `${count} fuses`);
      assert.deepEqual(bench.keys.read("seed"), FIRST);
      assert.deepEqual(bench.codes, []);
      await bench.close();
      return happened;
    }

    async function countOperations(options: BenchOptions): Promise<number> {
      begin(options);
      bench.world.power.plan(undefined);
      await bench.powerOn();
      await bench.until("the enrolment", isEnrolled);
      const { operations } = bench.world.power;
      await bench.close();
      return operations;
    }

    for (const writeUnitBytes of [1, 32] as const)
      it(`on flash in units of ${writeUnitBytes}: one key, one fuse`, async () => {
        const total = await countOperations({ writeUnitBytes });
        assert.ok(total >= 15, `${total} operations`);
        let cuts = 0;
        // The key is made and the journal begun by then; what follows is cut in other tests.
        const dense = 10;
        for (let operation = 1; operation <= total; operation++)
          for (const moment of operation <= dense ? MOMENTS : [MOMENTS[operation % 3]!])
            for (const torn of moment === "within" && operation <= 4 ? TORN_FUSES : TORN_FUSES.slice(2)) {
              const again = JSON.stringify({ writeUnitBytes, operation, moment, torn, seed });
              try {
                if (await cutAt({ writeUnitBytes }, { operation, moment }, torn)) cuts++;
              } catch (error) {
                throw new Error(again, { cause: error });
              }
            }
        assert.ok(cuts >= total + 2 * dense, `${cuts} cuts of ${total} operations`);
      });

    it("on XS", async () => {
      const engine = loadEngine(await ensureEngine());
      const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
      const lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
      const total = await countOperations({ lane });
      for (let operation = 1; operation <= total; operation += operation < 6 ? 1 : 4)
        await cutAt({ lane }, { operation, moment: MOMENTS[operation % 3]! }, TORN_FUSES[operation % 3]!);
    });
  });

  describe("that has lost its key store", () => {
    const lose = () => bench.cells.values.clear();

    it("refuses, names its key to a person, and makes no other", async () => {
      begin();
      await ran();
      const { kid } = bench;
      lose();
      const told = await refuses("DEVICE_NOT_PROVISIONED");
      assert.ok(told.includes(kid) && told.includes("0100000001"), told);
    });

    it("the same where only the seed is gone, and where only the relay's name is back", async () => {
      begin();
      await ran();
      const { kid } = bench;
      const relay = bench.keys.read("relay")!;
      bench.keys.delete("seed");
      assert.ok((await refuses("DEVICE_NOT_PROVISIONED")).includes(kid));
      await bench.cutPower();
      lose();
      bench.keys.write("relay", relay);
      assert.ok((await refuses("DEVICE_NOT_PROVISIONED")).includes(kid));
    });

    it("names none where only the relay is gone: the store still holds its key", async () => {
      begin();
      await ran();
      bench.keys.delete("relay");
      assert.ok(!(await refuses("DEVICE_NOT_PROVISIONED")).includes(bench.kid));
    });

    it("is a new device, with a new key, where a person leaves a token and blank flash", async () => {
      begin();
      await ran();
      const former = bench.kid;
      lose();
      bench.flash.fill(new Uint8Array(bench.flash.sizeBytes).fill(0xff));
      bench.provision(started);
      await bench.powerOn();
      const held = bench.held.length;
      await bench.until("records of another", () => bench.kid !== former && bench.held.length > held);
      await bench.checkNothingLost(started, held);
      assert.equal(bench.kid, kidOf(bench, 2));
      assert.equal(burned(bench), 2);
      const old = started.relay.store.deviceByKid(fromHex(former)!)!;
      assert.deepEqual(started.relay.store.forks(old.device), []);
    });

    it("is nobody where a person leaves a token and the flash holds the chain: JOURNAL_FOREIGN", async () => {
      begin();
      await ran();
      const flash = things().flash;
      lose();
      bench.provision(started);
      await bench.powerOn();
      await bench.run(MINUTE);
      assert.ok(["JOURNAL_FOREIGN", "KEY_MISMATCH"].includes(bench.codes[0]!), bench.codes.join());
      assert.equal(things().flash, flash);
    });

    for (const back of [0, 20])
      it(`goes on where a person writes back what the refusal and the relay name, its flash ${back} records behind`, async () => {
        begin();
        await ran();
        const snapshot = bench.flash.snapshot();
        const relay = bench.keys.read("relay")!;
        if (back > 0) {
          await bench.powerOn();
          const goal = bench.headSeq + back;
          await bench.until("more records", () => bench.headSeq >= goal);
          await bench.climb(started);
          await bench.cutPower();
          bench.flash.restore(snapshot);
        }
        const { kid } = bench;
        lose();
        const told = await refuses("DEVICE_NOT_PROVISIONED");
        await bench.cutPower();
        const [, named, reference] = /has made: ([0-9a-f]{16}), seed ([0-9a-f]{10})/.exec(told)!;
        const received = bench.recordsAt(started.relay).length - 1;
        bench.keys.write("relay", relay);
        bench.keys.write("seed", fromHex(reference!)!);
        writeSentMark(bench.keys, fromHex(named!)!, received);
        const held = bench.held.length;
        await bench.powerOn();
        await bench.until("records", () => bench.held.length > held + 2);
        assert.ok(bench.held[held]!.seq > received || back === 0);
        await bench.checkNothingLost(started);
        assert.equal(bench.kid, kid);
        assert.equal(burned(bench), 1);
        assert.deepEqual(bench.codes, ["DEVICE_NOT_PROVISIONED"]);
      });
  });

  it("with a stored seed from before keeps it, and is succeeded by a fused one", async () => {
    const succeeding = new SuccessionBench(started, { seed: seed++, fused: true });
    bench = succeeding;
    const stored = Identity.create({
      keys: bench.keys,
      crypto: relayCrypto,
      entropy: { bytes: (length) => new Uint8Array(createHash("sha256").update(`${seed}`).digest()).slice(0, length) },
    });
    assert.ok(stored.ok);
    await bench.powerOn();
    await bench.until("a chain", () => bench.headSeq > 0);
    await bench.cutPower();
    const former = await succeeding.lose();
    assert.equal(former.kid, toHex(stored.value.kid));
    assert.equal(burned(bench), 0);
    await bench.powerOn();
    await succeeding.checkSucceeded(former);
    assert.deepEqual(bench.keys.read("seed"), FIRST);
    assert.equal(bench.kid, kidOf(bench, 1));
    assert.equal(burned(bench), 1);
  });

  describe("whose fuses", () => {
    it("are used up makes no key: KEY_FUSES_USED_UP", async () => {
      begin();
      for (let bit = 0; bit < GENERATION_FUSES; bit++) bench.fuses!.burn(bit);
      await refuses("KEY_FUSES_USED_UP");
    });

    it("are used up keeps its key, and its chain ends where it may not go on", async () => {
      const succeeding = new SuccessionBench(started, { seed: seed++, fused: true });
      bench = succeeding;
      for (let bit = 0; bit < GENERATION_FUSES - 1; bit++) bench.fuses!.burn(bit);
      const former = await succeeding.lose();
      assert.equal(former.kid, kidOf(bench, GENERATION_FUSES));
      const held = bench.held.length;
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      assert.ok(bench.codes.includes("KEY_FUSES_USED_UP"), bench.codes.join());
      assert.equal(bench.held.length, held, "nothing is signed");
      assert.equal(bench.keys.read("succession"), undefined);
      assert.deepEqual(succeeding.successorsOf(former.kid), []);
      assert.deepEqual(bench.network.equivocations, []);
      assert.deepEqual(
        bench.ends.filter(({ kind }) => kind !== "power-cut"),
        [],
      );
    });

    it("do not burn waits: KEY_FUSES_FAILED, and the same key when they do", async () => {
      begin();
      bench.fuses!.broken = true;
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      assert.deepEqual(bench.codes, ["KEY_FUSES_FAILED"]);
      assert.equal(bench.held.length, 0);
      await bench.cutPower();
      await refuses("KEY_FUSES_FAILED");
      await bench.cutPower();
      bench.fuses!.broken = false;
      await bench.powerOn();
      await bench.until("the enrolment", isEnrolled);
      await checkAll();
      assert.equal(bench.kid, kidOf(bench, 1));
      assert.equal(burned(bench), 1);
    });

    it("do not burn for a successor: it waits, and is the same when they do", async () => {
      const succeeding = new SuccessionBench(started, { seed: seed++, fused: true });
      bench = succeeding;
      const former = await succeeding.lose();
      bench.fuses!.broken = true;
      await bench.powerOn();
      await bench.until("a refusal", () => bench.codes.includes("KEY_FUSES_FAILED"));
      const held = bench.held.length;
      await bench.run(5 * MINUTE);
      assert.equal(bench.held.length, held);
      await bench.cutPower();
      bench.fuses!.broken = false;
      await bench.powerOn();
      await succeeding.checkSucceeded(former);
      assert.equal(bench.kid, kidOf(bench, 2));
    });
  });

  it("and a number that this chip has not come to: KEY_UNREADABLE", async () => {
    begin();
    await ran();
    bench.keys.write("seed", Uint8Array.of(1, 0, 0, 0, 3));
    await refuses("KEY_UNREADABLE");
    await bench.cutPower();
    bench.keys.write("seed", encodeCbor(1));
    await refuses("KEY_UNREADABLE");
  });
});
