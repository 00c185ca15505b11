import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { writeSentMark } from "tallystick/sync/sent-mark";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { must, StartedRelay } from "../relay/started.js";
import type { BenchOptions } from "./bench.js";
import { SuccessionBench } from "./succession-bench.js";

const MINUTE = 60_000;
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;
const MOMENTS: readonly CutPlan["moment"][] = ["before", "within", "after"];

/** A relay that was asked to erase records cannot give them back: what becomes of a device that has lost them, too. */
describe("a device and what its relay has erased", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: SuccessionBench;
  let seed = 31_000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  /** At the relay: durable, and no bytes are given any more. */
  async function erase(kid: string, from: number, to = from): Promise<void> {
    const request = { kid: fromHex(kid)!, from, to, reason: "asked", by: "operator" };
    const erased = must(await eraseInFolder(started.folder, request, { decided: true }));
    assert.ok(erased.done && erased.records > 0, JSON.stringify(erased));
  }

  const known = () => bench.codes.filter((code) => code !== "TRANSPORT_FAILED");

  interface SetBack {
    readonly kid: string;
    /** What the flash holds, and what was received. */
    readonly back: number;
    readonly head: number;
  }

  /** A device that has run, without power: its flash as it was some 20 records ago, its key store too with `keysToo`. */
  async function setBack({ keysToo = false, ...options }: BenchOptions & { keysToo?: boolean } = {}): Promise<SetBack> {
    bench = new SuccessionBench(started, { seed: seed++, ...options });
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 8);
    await bench.climb(started);
    const snapshot = bench.flash.snapshot();
    const values = new Map(bench.cells.values);
    const back = bench.headSeq;
    await bench.until("more records", () => bench.headSeq >= back + 20);
    const head = await bench.climb(started);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    if (keysToo) {
      bench.cells.values.clear();
      for (const [name, value] of values) bench.cells.values.set(name, value);
    }
    return { kid: bench.kid, back, head: Math.max(head, bench.chainOf(bench.kid).length - 1) };
  }

  /** The former chain is at the relay as it was, but for the bytes that were erased; the next one has readings. */
  async function checkGoneOn({ kid, head }: SetBack, erased: (seq: number) => boolean): Promise<void> {
    const before = new Map(bench.held.filter((held) => held.kid === kid).map(({ seq, id }) => [seq, id]));
    await bench.checkSucceeded({ kid, head });
    const chain = bench.chainOf(kid);
    for (const { seq, id, bytes } of chain) {
      assert.equal(toHex(id), before.get(seq), `seq ${seq}`);
      assert.equal(bytes.length === 0, erased(seq), `the bytes at seq ${seq}`);
    }
    const isReadings = ({ kid: of, kind }: (typeof bench.held)[number]) => of === bench.kid && kind === "readings";
    await bench.until("readings under the next key", () => bench.held.some(isReadings));
    await bench.checkNothingLost(started);
  }

  for (const [what, first, last] of [
    ["right above its head", 1, 1],
    ["further up", 9, 9],
    ["all of it but the newest", 1, undefined],
  ] as const)
    it(`set back below an erased record, ${what}: goes on with a new key at the relay's head`, async () => {
      const back = await setBack();
      const [from, to] = [back.back + first, last === undefined ? back.head - 1 : back.back + last];
      await erase(back.kid, from, to);
      const asked = bench.network.requests.length;
      await bench.powerOn();
      await checkGoneOn(back, (seq) => seq >= from && seq <= to);
      assert.deepEqual(known(), ["SUCCESSION_NEEDED"], "told once");
      const fetched = bench.network.requests.slice(asked).filter(({ method }) => method === "GET");
      assert.deepEqual(
        fetched.map(({ path }) => path.split("?")[1]),
        [`from=${back.back}&to=${back.back}`],
      );
      // A further start needs neither the former key nor the relay.
      await bench.cutPower();
      bench.disconnect();
      const offline = bench.held.length;
      await bench.powerOn();
      await bench.until("records offline", () => bench.held.length > offline + 2);
    });

  it("set back, with what was erased below its head: fetches back as ever, and goes on with its chain", async () => {
    const { kid, back, head } = await setBack();
    await erase(kid, back - 3, back);
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("records", () => bench.held.length > reported + 3);
    assert.equal(bench.held[reported]!.seq, head + 1);
    await bench.climb(started);
    assert.deepEqual([known(), bench.kid], [[], kid]);
    assert.deepEqual(bench.network.equivocations, []);
  });

  it("not set back: goes on with its chain, whatever was erased of it", async () => {
    const { kid, back, head } = await setBack();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq > head + 3);
    await bench.climb(started);
    await erase(kid, 1, back + 10);
    const reported = bench.held.length;
    await bench.until("records meanwhile", () => bench.held.length > reported + 5);
    await bench.cutPower();
    await bench.powerOn();
    await bench.until("records after a start", () => bench.held.length > reported + 10);
    await bench.climb(started);
    assert.deepEqual([known(), bench.kid], [[], kid]);
  });

  it("set back, and told 410 by somebody on the way: waits, and fetches back what the relay has", async () => {
    const { kid, head } = await setBack();
    bench.network.alter = (request, answer) =>
      request.method === "GET" && answer.outcome === "answered"
        ? { ...answer, status: 410, body: utf8('{"code":"RECORD_ERASED","detail":"a lie"}') }
        : answer;
    const reported = bench.held.length;
    const keys = [...bench.cells.values].map(([name, value]) => `${name} ${toHex(value)}`);
    await bench.powerOn();
    await bench.run(30 * MINUTE);
    assert.deepEqual([new Set(known()), bench.held.length], [new Set(["RECORD_ERASED"]), reported]);
    assert.deepEqual(
      [...bench.cells.values].map(([name, value]) => `${name} ${toHex(value)}`),
      keys,
      "no key, no mark",
    );
    bench.network.alter = undefined;
    await bench.until("records", () => bench.held.length > reported + 3, 30 * MINUTE);
    assert.equal(bench.held[reported]!.seq, head + 1);
    assert.equal(bench.kid, kid);
    await bench.checkNothingLost(started);
  });

  it("set back with its key store: learns it from the first answer, and goes on with a new key", async () => {
    const back = await setBack({ keysToo: true });
    await erase(back.kid, back.back + 1, back.back + 4);
    await bench.powerOn();
    await checkGoneOn(back, (seq) => seq > back.back && seq <= back.back + 4);
    assert.deepEqual(known(), ["SUCCESSION_NEEDED"]);
  });

  it("set back with its key store, and records signed before it could ask: that branch is never sent", async () => {
    const back = await setBack({ keysToo: true });
    await erase(back.kid, back.back + 1, back.back + 4);
    bench.disconnect();
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("records offline", () => bench.held.length > reported + 1);
    const other = bench.held.splice(reported);
    bench.connect(started.url);
    await checkGoneOn(back, (seq) => seq > back.back && seq <= back.back + 4);
    for (const { seq, id } of other) assert.notEqual(bench.network.sent.get(`${back.kid} ${seq}`), id);
  });

  it("set back behind the new genesis, before the succession has ended: that is fetched back, and succeeded in turn", async () => {
    // Nothing is ever final here, so that what waits for it does not end.
    bench = new SuccessionBench(started, { seed: seed++, device: { releaseAt: "final" }, sectors: 16 });
    const former = await bench.lose();
    const snapshot = bench.flash.snapshot();
    await bench.powerOn();
    await bench.until("the relay's word", () => bench.received() >= 6);
    await started.settled();
    await bench.cutPower();
    const { kid } = bench;
    assert.notEqual(kid, former.kid);
    assert.ok(bench.keys.read("succession"), "it has not ended yet");
    bench.flash.restore(snapshot);
    await erase(kid, 3);
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("a third key", () => bench.kid !== kid && bench.held.length > reported + 3);
    await bench.checkNothingLost(started, reported);
    assert.deepEqual(bench.successorsOf(kid), [bench.kid]);
    assert.equal(started.relay.store.forks(bench.deviceOf(kid).device).length, 0);
  });

  it("set back to a journal that gap records have filled to the brim: that its head is shown makes room", async () => {
    bench = new SuccessionBench(started, { seed: seed++ });
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 6);
    await bench.climb(started);
    await bench.cutPower();
    const { kid } = bench;
    const back = await bench.bringGaps();
    const brim = bench.flash.snapshot();
    writeSentMark(bench.keys, fromHex(kid)!, back);
    await bench.powerOn();
    await bench.until("records behind it", () => bench.headSeq >= back + 4, 30 * MINUTE);
    const head = await bench.climb(started);
    await bench.cutPower();
    bench.flash.restore(brim);
    await erase(kid, back + 1, back + 2);
    const told = known().length;
    await bench.powerOn();
    await bench.until("the decision", () => bench.sinceDecision() !== undefined, 30 * MINUTE);
    // What was released is forgotten with the power, for the open sector had no room to keep it.
    await bench.cutPower();
    await bench.powerOn();
    await bench.checkSucceeded({ kid, head: Math.max(head, bench.chainOf(kid).length - 1) });
    assert.ok(!known().slice(told).includes("RECORD_ERASED"));
  });

  /** The power goes once in the succession; then all is as if it had not. */
  async function cutAt(options: BenchOptions, cut: CutPlan): Promise<boolean> {
    const back = await setBack(options);
    await erase(back.kid, back.back + 2);
    bench.world.power.plan(cut);
    await bench.powerOn();
    await bench.runOut();
    bench.world.power.plan(undefined);
    const happened = bench.isOff();
    if (happened) await bench.powerOn();
    try {
      await checkGoneOn(back, (seq) => seq === back.back + 2);
    } catch (error) {
      throw new Error(`cut at ${JSON.stringify(cut)}`, { cause: error });
    }
    await bench.close();
    return happened;
  }

  async function countOperations(options: BenchOptions = {}): Promise<number> {
    const back = await setBack(options);
    await erase(back.kid, back.back + 2);
    bench.world.power.plan(undefined);
    await bench.powerOn();
    await bench.runOut();
    const { operations } = bench.world.power;
    await checkGoneOn(back, (seq) => seq === back.back + 2);
    await bench.close();
    return operations;
  }

  it("whose power goes while it goes on with a new key: one new chain, nothing lost, no fork", async () => {
    const total = await countOperations();
    let cuts = 0;
    for (let operation = 1; operation <= total; operation += 2)
      if (await cutAt({}, { operation, moment: MOMENTS[operation % 3]! })) cuts++;
    assert.ok(cuts > total / 3, `${cuts} cuts of ${total} operations`);
  });

  it("on XS: the same, in the stack of the smallest board", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
    const lane: Lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
    for (const keysToo of [false, true]) {
      const back = await setBack({ lane, keysToo });
      await erase(back.kid, back.back + 1, back.back + 2);
      await bench.powerOn();
      await checkGoneOn(back, (seq) => seq > back.back && seq <= back.back + 2);
      assert.deepEqual(
        bench.ends.filter(({ kind }) => kind !== "power-cut"),
        [],
        "no start ended of itself",
      );
      await bench.close();
    }
  });
});
