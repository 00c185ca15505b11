import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { readGenesis } from "tallystick/record/payload";
import { readSuccession, readSuccessionRequest } from "tallystick/sync/succession";
import { readSentMark } from "tallystick/sync/sync";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import type { NetworkAnswer } from "../../hosts/simulator/world/network.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { StartedRelay } from "../relay/started.js";
import { Bench, type BenchOptions, parsed } from "./bench.js";

const MINUTE = 60_000;
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;
const MOMENTS: readonly CutPlan["moment"][] = ["before", "within", "after"];

/** Deliveries that were under way when the device forgot them. */
type Late = () => Promise<NetworkAnswer>;

/** A device that has lost records which it may have sent goes on with a new key: SPEC.md of modules/sync, "Succession". */
describe("a device whose chain cannot go on", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: Bench;
  let seed = 9000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  function begin(options: BenchOptions = {}): void {
    bench = new Bench({ seed: seed++, sectors: 8, ...options });
    bench.provision(started);
    bench.connect(started.url);
  }

  const deviceOf = (kid: string) => started.relay.store.deviceByKid(fromHex(kid)!)!;
  const chainOf = (kid: string) => [
    ...started.relay.store.recordsBetween(deviceOf(kid).device, 0, Number.MAX_SAFE_INTEGER),
  ];
  const sentMark = () => {
    const mark = readSentMark(bench.keys);
    assert.ok(mark.ok);
    return mark.value!;
  };
  /** Both seeds were there once, and one is left. */
  const hasEnded = () => sinceDecision() !== undefined && bench.keys.read("succession") === undefined;
  /** What the device has said since it last told of a succession that is under way. */
  function sinceDecision(): string[] | undefined {
    const at = bench.lines.map((line) => line.includes("event=succession ")).lastIndexOf(true);
    return at < 0 ? undefined : bench.lines.slice(at);
  }
  /** The relay's newest word on the new chain; -1 before it. */
  function received(): number {
    const words = (sinceDecision() ?? []).flatMap((line) => /event=acknowledged received=(\d+)/.exec(line)?.[1] ?? []);
    return Number(words[words.length - 1] ?? -1);
  }
  const isOff = () => bench.simulation.state === "off";
  /** Runs to the end of the succession, or to where the power goes. */
  async function runOut(): Promise<void> {
    await bench.run(5 * MINUTE, () => isOff() || received() >= 1 || hasEnded());
    await started.settled();
    await bench.run(5 * MINUTE, () => isOff() || hasEnded());
  }

  /** Records are sent, lost on the way, and then by the device, whose power is off afterwards. */
  async function lose(): Promise<{ readonly kid: string; readonly head: number; readonly late: Late[] }> {
    if (isOff()) await bench.powerOn();
    const first = bench.headSeq;
    await bench.until("records", () => bench.headSeq >= Math.max(first, 0) + 6);
    await bench.climb(started);
    const { target } = bench.network;
    const late: Late[] = [];
    bench.network.target = {
      request: async (request, signal) => {
        if (!request.path.endsWith("/records")) return target!.request(request, signal);
        late.push(() => target!.request(request, new AbortController().signal));
        return { outcome: "timed-out", detail: "lost" };
      },
    };
    const head = bench.headSeq;
    const snapshot = bench.flash.snapshot();
    await bench.until("a sending", () => sentMark() > head + 1);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    bench.network.target = target;
    return { kid: bench.kid, head, late };
  }

  /** All devices at the relay whose genesis names `kid` as its predecessor. */
  function successorsOf(kid: string): string[] {
    return started.relay.store
      .devicesAfter(new Uint8Array(0), 100_000)
      .filter(({ device }) => {
        const genesis = readGenesis(parsed(started.relay.store.recordAt(device, 0)!.bytes).payload);
        return genesis.ok && genesis.value.predecessor && toHex(genesis.value.predecessor.kid) === kid;
      })
      .map((device) => toHex(device.kid));
  }

  /** One new chain, which continues the old one where the relay stood; the old one is closed, and nothing contradicts. */
  async function checkSucceeded(former: { readonly kid: string; readonly head: number }, from = 0): Promise<void> {
    await runOut();
    assert.ok(hasEnded(), `the succession has not ended:\n${bench.lines.slice(-12).join("\n")}`);
    assert.notEqual(bench.kid, former.kid);
    assert.deepEqual(successorsOf(former.kid), [bench.kid]);
    await bench.checkNothingLost(started, from);
    const old = deviceOf(former.kid);
    assert.equal(old.state, "closed");
    const chain = chainOf(former.kid);
    const head = chain[chain.length - 1]!;
    assert.equal(head.seq, former.head);
    assert.deepEqual(started.relay.store.forks(old.device), []);
    assert.deepEqual(bench.network.equivocations, []);
    const genesis = readGenesis(parsed(chainOf(bench.kid)[0]!.bytes).payload);
    assert.ok(genesis.ok);
    assert.deepEqual(genesis.value.predecessor, { kid: old.kid, seq: head.seq, id: head.id });
    assert.equal(bench.keys.read("succession"), undefined, "one seed is left");
    assert.equal(bench.keys.read("token"), undefined);
  }

  it("tells so, makes a new key and a chain that continues the old one, and records on", async () => {
    begin();
    const former = await lose();
    const seedBefore = toHex(bench.keys.read("seed")!);
    const asked = bench.network.requests.length;
    await bench.powerOn();
    await checkSucceeded(former);
    assert.deepEqual(
      bench.codes.filter((code) => code !== "TRANSPORT_FAILED"),
      ["SUCCESSION_NEEDED"],
    );
    const posts = bench.network.requests.slice(asked).filter(({ path }) => path.endsWith("/succession"));
    assert.deepEqual(
      posts.map(({ path }) => path),
      [`/v1/devices/${former.kid}/succession`],
    );
    assert.notEqual(toHex(bench.keys.read("seed")!), seedBefore);
    const own = bench.held.filter(({ kid }) => kid === bench.kid);
    assert.deepEqual(
      own
        .slice(0, 2)
        .map(({ seq, kind }) => `${seq} ${kind}`)
        .join(),
      "0 genesis,1 mark",
    );
    assert.ok(own.some(({ kind }) => kind === "readings"));
    // A further start needs neither the former key nor the relay.
    await bench.cutPower();
    bench.disconnect();
    const offline = bench.held.length;
    await bench.powerOn();
    await bench.until("records offline", () => bench.held.length > offline + 2);
    assert.equal(bench.held[offline]!.kind, "boot");
    bench.connect(started.url);
    await bench.checkNothingLost(started);
  });

  it("what was under way arrives afterwards: kept as late, once, outside of the chain, and no fork", async () => {
    begin();
    const former = await lose();
    await bench.powerOn();
    await checkSucceeded(former);
    const { store } = started.relay;
    const records = store.countRecords();
    const old = deviceOf(former.kid).device;
    const before = store.successions.countLate(old);
    assert.equal(before, 0);
    let kept = 0;
    for (let round = 0; round < 3; round++) {
      for (const deliver of former.late) {
        const answer = await deliver();
        assert.ok(answer.outcome === "answered" && answer.status === 200, JSON.stringify(answer));
      }
      if (round === 0) kept = store.successions.countLate(old);
      assert.equal(store.successions.countLate(old), kept);
    }
    assert.ok(kept >= 2, `${kept} late records`);
    assert.ok(store.countRecords() >= records);
    assert.equal(chainOf(former.kid).length, former.head + 1);
    await checkSucceeded(former);
    const view = JSON.parse(await (await fetch(`${started.url}/v1/devices/${former.kid}`)).text());
    assert.deepEqual(
      { state: view.state, successor: view.successor, late: view.late, forks: view.forks },
      { state: "closed", successor: bench.kid, late: kept, forks: [] },
    );
  });

  it("what it still holds and the relay lacks enters the old chain before that is closed", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 6);
    await bench.climb(started);
    const { target } = bench.network;
    bench.network.target = {
      request: async (request, signal) =>
        request.path.endsWith("/records") ? { outcome: "timed-out", detail: "lost" } : target!.request(request, signal),
    };
    const known = bench.level("received");
    await bench.until("records that do not arrive", () => bench.headSeq >= known + 4);
    const snapshot = bench.flash.snapshot();
    const head = bench.headSeq;
    await bench.until("a sending", () => sentMark() > head);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    bench.network.target = target;
    const kid = bench.kid;
    await bench.powerOn();
    await checkSucceeded({ kid, head });
  });

  it("two branches: the other one is never sent", async () => {
    begin();
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
    bench.cells.values.clear();
    for (const [name, value] of values) bench.cells.values.set(name, value);
    bench.disconnect();
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("a record offline", () => bench.held.length > reported, 5 * MINUTE);
    const other = bench.held.slice(reported);
    const { kid } = bench;
    bench.connect(started.url);
    const last = chainOf(kid).length - 1;
    assert.ok(last >= head);
    await checkSucceeded({ kid, head: last });
    for (const { seq, id } of other) assert.notEqual(bench.network.sent.get(`${kid} ${seq}`), id);
  });

  it("an answer that is lost: the same bytes again, the same answer", async () => {
    begin();
    const former = await lose();
    const statements = new Set<string>();
    const bodies = new Set<string>();
    const inner = bench.network.target!;
    let posts = 0;
    bench.network.target = {
      request: async (request, signal) => {
        const answer = await inner.request(request, signal);
        if (!request.path.endsWith("/succession")) return answer;
        const read = readSuccessionRequest(request.body);
        assert.ok(read.ok);
        statements.add(toHex(read.value.statement) + toHex(read.value.genesis));
        bodies.add(toHex(request.body));
        return ++posts <= 2 ? { outcome: "timed-out", detail: "lost" } : answer;
      },
    };
    // The first answer is lost to the network, the second to the power as well, the relay is asked for its head then.
    await bench.powerOn();
    await bench.until("a first sending", () => posts === 1);
    await bench.cutPower();
    await bench.powerOn();
    await checkSucceeded(former);
    assert.equal(statements.size, 1, "one statement, one genesis");
    assert.equal(bodies.size, posts, "a nonce of its own for each");
  });

  it("a false, a stale and a foreign head make no key", async () => {
    begin();
    const heads: NetworkAnswer[] = [];
    bench.network.alter = ({ path }, answer) => {
      if (path.endsWith("/head") && answer.outcome === "answered") heads.push(answer);
      return answer;
    };
    const former = await lose();
    assert.ok(heads.length > 0);
    const keys = () => [...bench.cells.values].map(([name, value]) => `${name} ${toHex(value)}`);
    const before = keys();
    const lies: ((answer: NetworkAnswer) => NetworkAnswer)[] = [
      (answer) => {
        if (answer.outcome !== "answered") return answer;
        const body = answer.body.slice();
        body[body.length - 1]! ^= 1;
        return { ...answer, body };
      },
      () => heads[0]!,
    ];
    for (const lie of lies) {
      bench.network.alter = ({ path }, answer) => (path.endsWith("/head") ? lie(answer) : answer);
      await bench.powerOn();
      await bench.run(20 * MINUTE);
      await bench.cutPower();
      assert.deepEqual(keys(), before);
      assert.equal(bench.codes[bench.codes.length - 1], "ACKNOWLEDGEMENT_FALSE");
    }
    bench.network.alter = undefined;
    await bench.powerOn();
    await checkSucceeded(former);
  });

  it("flash that is set back behind the new genesis: it is fetched back, and no other is made", async () => {
    begin();
    const former = await lose();
    const snapshot = bench.flash.snapshot();
    await bench.powerOn();
    await bench.until("the relay's word", () => received() >= 0);
    await bench.cutPower();
    assert.ok(bench.keys.read("succession"), "it has not ended yet");
    bench.flash.restore(snapshot);
    const reported = bench.held.length;
    await bench.powerOn();
    // What was held and never sent went with the flash.
    await checkSucceeded(former, reported);
    assert.equal(bench.held[reported]!.kind, "boot");
    assert.equal(bench.held.filter(({ kind }) => kind === "genesis").length, 2);
  });

  for (const ended of [true, false])
    it(`a second time, after the first has ${ended ? "ended" : "been acknowledged only"}`, async () => {
      // Nothing is ever final here, so that what waits for it does not end.
      begin(ended ? {} : { device: { releaseAt: "final" }, sectors: 16 });
      const first = await lose();
      await bench.powerOn();
      if (ended) await checkSucceeded(first);
      else await bench.until("the relay's word", () => received() >= 1);
      const second = await lose();
      assert.notEqual(second.kid, first.kid);
      assert.equal(bench.keys.read("succession") === undefined, ended);
      bench.lines.length = 0;
      await bench.powerOn();
      if (ended) await checkSucceeded(second);
      else await bench.until("a third key", () => bench.kid !== second.kid && received() > 0);
      await bench.checkNothingLost(started);
      assert.deepEqual(successorsOf(first.kid), [second.kid]);
      assert.deepEqual(successorsOf(second.kid), [bench.kid]);
    });

  describe("cut at each operation from the first on", () => {
    async function countOperations(options: BenchOptions): Promise<number> {
      begin(options);
      const former = await lose();
      bench.world.power.plan(undefined);
      await bench.powerOn();
      await runOut();
      const operations = bench.world.power.operations;
      await checkSucceeded(former);
      await bench.close();
      return operations;
    }

    async function cutAt(options: BenchOptions, cut: CutPlan, second?: CutPlan): Promise<boolean> {
      begin(options);
      const former = await lose();
      for (const plan of [cut, second]) {
        bench.world.power.plan(plan);
        await bench.powerOn();
        await runOut();
        bench.world.power.plan(undefined);
        if (!isOff()) break;
      }
      const happened = bench.ends.filter(({ kind }) => kind === "power-cut").length > 1;
      if (isOff()) await bench.powerOn();
      await checkSucceeded(former);
      assert.deepEqual(
        bench.ends.filter(({ kind }) => kind !== "power-cut"),
        [],
        "no start ended of itself",
      );
      await bench.close();
      return happened;
    }

    for (const writeUnitBytes of [1, 32] as const)
      it(`on flash in units of ${writeUnitBytes}: one new chain, nothing lost, no fork`, async () => {
        const total = await countOperations({ writeUnitBytes });
        assert.ok(total >= 10, `${total} operations`);
        let cuts = 0;
        for (let operation = 1; operation <= total; operation++)
          for (const moment of MOMENTS) {
            const again = seed;
            try {
              if (await cutAt({ writeUnitBytes }, { operation, moment })) cuts++;
            } catch (error) {
              throw new Error(`seed ${again}, operation ${operation} of ${total}, ${moment}`, { cause: error });
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

    it("on XS", async () => {
      const engine = loadEngine(await ensureEngine());
      const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
      const lane: Lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
      const total = await countOperations({ lane });
      for (let operation = 1; operation <= total; operation += 3)
        await cutAt({ lane }, { operation, moment: MOMENTS[operation % 3]! });
    });
  });

  it("signs one statement by the former key", async () => {
    begin();
    const former = await lose();
    let statement: Uint8Array | undefined;
    const inner = bench.network.target!;
    bench.network.target = {
      request: (request, signal) => {
        if (request.path.endsWith("/succession")) {
          const read = readSuccessionRequest(request.body);
          if (read.ok) statement = read.value.statement;
        }
        return inner.request(request, signal);
      },
    };
    await bench.powerOn();
    await checkSucceeded(former);
    const read = readSuccession(statement!);
    assert.ok(read.ok);
    assert.equal(toHex(read.value.statement.kid), former.kid);
    assert.equal(read.value.succession.head.seq, former.head);
    assert.equal(toHex(deviceOf(bench.kid).publicKey), toHex(read.value.succession.publicKey));
  });
});
