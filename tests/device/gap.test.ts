import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { concatBytes, fromHex, toHex } from "tallystick/bytes/bytes";
import { verifyRun } from "tallystick/chain/gap";
import { Kind, recordId } from "tallystick/record/record";
import { splitBatch } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import type { FlashSnapshot } from "../../hosts/simulator/world/nor.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { must, StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";

const MINUTE = 60_000;
const { sha256 } = relayCrypto;

/** Devices that are offline for longer than their flash lasts, and name what they drop. */
describe("a device that drops by name", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: Bench;
  let seed = Number(process.env["SEED"] ?? 5200);

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  async function enrolled(sectors: number, lane?: Lane): Promise<void> {
    bench = new Bench({ seed: seed++, sectors, device: { whenFull: "gap" }, ...(lane && { lane }) });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.climb(started);
    bench.disconnect();
  }

  /** Until so many rounds of the ring have been written since now. */
  async function rounds(count: number): Promise<void> {
    const before = bench.flash.counters.erases;
    const erases = (count * bench.flash.sizeBytes) / bench.flash.sectorBytes;
    await bench.until(`${erases} erases`, () => bench.flash.counters.erases - before >= erases, 24 * 60 * MINUTE);
  }

  function device() {
    return started.relay.store.deviceByKid(fromHex(bench.kid)!)!;
  }

  /** What is missing at the relay is named by a gap; all else that was committed is there, and the chain verifies. */
  async function checkNamed(): Promise<readonly (readonly [number, number])[]> {
    await bench.climb(started);
    const { publicKey, device: number, state } = device();
    assert.equal(state, "active");
    const records = bench.recordsAt(started.relay);
    const gaps = started.relay.store.gaps.pending(number).map(({ bytes }) => bytes);
    const run = must(verifyRun(relayCrypto, publicKey, records, gaps));
    const ids = new Map(records.map((bytes) => [parsed(bytes).header.seq, toHex(recordId(sha256, bytes))]));
    for (const { seq, id } of bench.held) {
      if (seq > run.head.seq) continue;
      const hole = run.holes.find(({ first, last }) => seq >= first && seq <= last);
      if (hole) assert.equal(ids.get(seq), undefined);
      else assert.equal(ids.get(seq), id, `record ${seq} was committed, the relay holds ${ids.get(seq)}`);
      if (hole?.named.gap.last === seq) assert.equal(toHex(hole.named.gap.lastId), id);
    }
    assert.deepEqual(bench.network.equivocations, [], "two contents were sent for one position");
    assert.ok(!bench.codes.includes("CHAIN_FORK") && !bench.codes.includes("GAP_FALSE"), bench.codes.join());
    const holes = run.holes.map(({ first, last }) => [first, last] as const);
    assert.deepEqual(
      started.relay.store.gaps.holes(number),
      holes.map(([first, last]) => ({ first, last })),
    );
    return holes;
  }

  it("records through three rounds of its flash, and the relay gets all that is left", async () => {
    await enrolled(10);
    await rounds(3);
    assert.ok(!bench.codes.includes("JOURNAL_FULL"), "nothing that was sampled was refused");
    const gaps = bench.held.filter(({ kind }) => kind === "gap").length;
    assert.ok(gaps > 5, `${gaps} gaps`);
    bench.connect(started.url);
    const holes = await checkNamed();
    assert.equal(holes.length, 1, "the newest gap names all that is missing");
    assert.deepEqual(
      bench.codes.filter((code) => code !== "TRANSPORT_FAILED"),
      [],
    );
    const [hole] = holes;
    const sent = bench.recordsAt(started.relay).length;
    assert.equal(sent + hole![1] - hole![0] + 1, bench.level("received") + 1);
    // And again, with what was acknowledged in between.
    bench.disconnect();
    await rounds(2);
    bench.connect(started.url);
    assert.equal((await checkNamed()).length, 2);
    // It goes on as ever.
    const { headSeq } = bench;
    await bench.until("more records", () => bench.headSeq > headSeq + 20);
    assert.equal((await checkNamed()).length, 2);
  });

  it("keeps genesis, and stops, where no relay ever took it", async () => {
    bench = new Bench({ seed: seed++, sectors: 8, device: { whenFull: "gap" } });
    bench.provision(started);
    await bench.powerOn();
    await bench.until("a full journal", () => bench.codes.includes("JOURNAL_FULL"), 60 * MINUTE);
    assert.ok(bench.held.every(({ kind }) => kind !== "gap"));
    bench.connect(started.url);
    await bench.checkNothingLost(started);
    assert.equal(parsed(bench.recordsAt(started.relay)[0]!).header.kind, Kind.genesis);
  });

  /** What a device does that was set back to before what it had dropped: it cannot go on with its key. */
  async function goesOnWithANewKey(snapshot: FlashSnapshot): Promise<void> {
    const { kid } = bench;
    bench.flash.restore(snapshot);
    const reported = bench.held.length;
    await bench.powerOn();
    const said = () => bench.lines.slice(bench.lines.findIndex((line) => line.includes("event=succession ")));
    const isKnown = () => bench.kid !== kid && said().some((line) => /event=acknowledged received=[1-9]/.test(line));
    await bench.until("records", isKnown, 30 * MINUTE);
    // Nobody has the record behind the head any more: nothing can follow it.
    assert.ok(bench.codes.includes("SUCCESSION_NEEDED"), bench.codes.join());
    assert.ok(bench.held.slice(reported).every((held) => held.kid !== kid));
    assert.equal(bench.held[reported]!.kind, "genesis");
    await bench.checkNothingLost(started, reported);
  }

  for (const keysToo of [false, true])
    it(`set back to before what it dropped${keysToo ? ", its key store too" : ""}: goes on with a new key`, async () => {
      await enrolled(8);
      const snapshot = bench.flash.snapshot();
      const values = new Map(bench.cells.values);
      await rounds(2);
      bench.connect(started.url);
      await checkNamed();
      await bench.cutPower();
      assert.ok(bench.held.some((held) => held.kind === "gap"));
      if (keysToo) for (const [name, value] of values) bench.cells.values.set(name, value);
      await goesOnWithANewKey(snapshot);
    });

  it("set back to before what it dropped while the gap waits at the relay: the same", async () => {
    await enrolled(8);
    const snapshot = bench.flash.snapshot();
    await rounds(2);
    bench.connect(started.url);
    const relay = bench.network.target!;
    let batches = 0;
    // Of the first batch the gap, and the record right behind what it names; what else it has may be an older gap.
    bench.network.target = {
      request: (request, signal) => {
        const batch = request.path.endsWith("/records") ? splitBatch(request.body) : undefined;
        if (!batch?.ok) return relay.request(request, signal);
        if (batches++ > 0) return Promise.resolve({ outcome: "no-route", detail: "the cable is out" });
        const rest = concatBytes(...batch.value.records.slice(2));
        return relay.request({ ...request, body: request.body.subarray(0, request.body.length - rest.length) }, signal);
      },
    };
    await bench.until("a second batch", () => batches > 1);
    await bench.cutPower();
    const [waiting] = started.relay.store.gaps.pending(device().device);
    assert.ok(waiting && waiting.seq > started.relay.store.head(device().device).seq, "the gap waits for its position");
    bench.connect(started.url);
    await goesOnWithANewKey(snapshot);
  });

  it("set back behind its newest gap: the one before it is the newest again", async () => {
    await enrolled(8);
    const gaps = () => bench.held.filter(({ kind }) => kind === "gap");
    await bench.until("a gap", () => gaps().length >= 1, 60 * MINUTE);
    // By then a sector was opened, and says what was let go of.
    const { seq } = gaps()[0]!;
    await bench.until("more records", () => bench.headSeq >= seq + 15, 60 * MINUTE);
    const held = bench.held.length;
    const mark = bench.keys.read("sent")!;
    const snapshot = bench.flash.snapshot();
    await bench.until("another gap", () => gaps().length >= 2, 60 * MINUTE);
    assert.deepEqual(bench.keys.read("sent"), mark, "nothing of it was sent");
    await bench.cutPower();
    bench.flash.restore(snapshot);
    const lost = gaps()[1]!;
    bench.held.splice(held);
    await bench.powerOn();
    await bench.until("more than was lost", () => bench.headSeq > lost.seq + 5, 60 * MINUTE);
    bench.connect(started.url);
    assert.equal((await checkNamed()).length, 1);
  });

  async function throughCuts(sectors: number, cuts: number, lane?: Lane): Promise<void> {
    const random = new SeededRandom(seed);
    await enrolled(sectors, lane);
    await rounds(1);
    for (let n = 0; n < cuts; n++) {
      const plan: CutPlan = { operation: 1 + random.below(90), moment: random.pick(["before", "within", "after"]) };
      bench.world.power.plan(plan);
      await bench.run(10 * MINUTE, () => bench.simulation.state === "off");
      bench.world.power.plan(undefined);
      await bench.cutPower();
      await bench.powerOn();
    }
    assert.ok(!bench.codes.includes("JOURNAL_FULL"), "nothing that was sampled was refused");
    bench.connect(started.url);
    assert.equal((await checkNamed()).length, 1);
    assert.deepEqual(
      bench.ends.filter(({ kind }) => kind !== "power-cut"),
      [],
    );
  }

  it("does so through cuts of its power", () => throughCuts(10, 30));

  it("and on XS", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("gap-application.ts", import.meta.url)));
    await throughCuts(10, 4, laneB(engine, image));
  });
});
