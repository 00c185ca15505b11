import assert from "node:assert/strict";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { verifyRun } from "tallystick/chain/gap";
import { writeSentMark } from "tallystick/sync/sent-mark";
import { readSuccession, readSuccessionRequest } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import type { NetworkAnswer } from "../../hosts/simulator/world/network.js";
import { must, StartedRelay } from "../relay/started.js";
import type { BenchOptions } from "./bench.js";
import { SuccessionBench } from "./succession-bench.js";

const MINUTE = 60_000;

/** A device that has lost records which it may have sent goes on with a new key: SPEC.md of modules/sync, "Succession". */
describe("a device whose chain cannot go on", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: SuccessionBench;
  let seed = 9000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  function begin(options: BenchOptions = {}): void {
    bench = new SuccessionBench(started, { seed: seed++, ...options });
  }

  it("tells so, makes a new key and a chain that continues the old one, and records on", async () => {
    begin();
    const former = await bench.lose();
    const seedBefore = toHex(bench.keys.read("seed")!);
    const asked = bench.network.requests.length;
    await bench.powerOn();
    await bench.checkSucceeded(former);
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
    const former = await bench.lose();
    await bench.powerOn();
    await bench.checkSucceeded(former);
    const { store } = started.relay;
    const records = store.countRecords();
    const old = bench.deviceOf(former.kid).device;
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
    assert.equal(bench.chainOf(former.kid).length, former.head + 1);
    await bench.checkSucceeded(former);
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
    await bench.until("a sending", () => bench.sentMark() > head);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    bench.network.target = target;
    const kid = bench.kid;
    await bench.powerOn();
    await bench.checkSucceeded({ kid, head });
  });

  for (const [where, beyond] of [
    ["short of the relay's head", "no"],
    ["beyond it", "yes"],
    ["up to the journal's end", "full"],
  ] as const) {
    it(`two branches, the device's ${where}: that one is never sent`, () => twoBranches(beyond));
  }

  /** Flash and key store are set back together, and records are signed before the relay can be asked. */
  async function twoBranches(beyond: "no" | "yes" | "full"): Promise<void> {
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
    const { kid } = bench;
    const last = bench.chainOf(kid).length - 1;
    const goal = beyond === "no" ? 0 : last + 3;
    const isFar = () => (beyond === "full" ? bench.codes.includes("JOURNAL_FULL") : bench.headSeq >= goal);
    await bench.until("records offline", () => bench.held.length > reported && isFar());
    const other = bench.held.slice(reported);
    assert.equal(other[other.length - 1]!.seq > last, beyond !== "no");
    bench.connect(started.url);
    assert.ok(last >= head);
    await bench.checkSucceeded({ kid, head: last });
    for (const { seq, id } of other) assert.notEqual(bench.network.sent.get(`${kid} ${seq}`), id);
  }

  it("a journal without room for the new genesis: the relay's word on the old chain makes it, after a restart too", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 6);
    await bench.climb(started);
    await bench.cutPower();
    const { kid } = bench;
    const head = await bench.bringGaps();
    // As if more had been sent, and lost.
    writeSentMark(bench.keys, fromHex(kid)!, head + 3);
    await bench.powerOn();
    await bench.until("the decision", () => bench.sinceDecision() !== undefined);
    // What was released is forgotten with the power, for the open sector had no room to keep it.
    bench.disconnect();
    await bench.cutPower();
    await bench.powerOn();
    await bench.run(10 * MINUTE);
    assert.ok(bench.codes.includes("JOURNAL_FULL"), bench.codes.join());
    assert.equal(bench.held.filter(({ kind }) => kind === "genesis").length, 1);
    bench.connect(started.url);
    await bench.until("genesis", () => bench.held.filter(({ kind }) => kind === "genesis").length === 2, 30 * MINUTE);
    await bench.checkSucceeded({ kid, head });
  });

  it("a newest record that the flash has damaged does not hold it up", async () => {
    begin();
    const former = await bench.lose();
    const chain = bench.chainOf(former.kid);
    const { cells, ...rest } = bench.flash.snapshot();
    // The body stands right before its signature; all places that hold it.
    const newest = Buffer.from(chain[chain.length - 1]!.bytes);
    const body = newest.subarray(0, newest.length - 64);
    let found = 0;
    for (let at = cells.indexOf(body[0]!); at >= 0; at = cells.indexOf(body[0]!, at + 1))
      if (body.equals(cells.subarray(at, at + body.length))) {
        cells[at + 20]! &= 0x0f;
        cells[at + 21] = 0;
        found++;
      }
    assert.ok(found > 0);
    bench.flash.restore({ cells, ...rest });
    await bench.powerOn();
    await bench.checkSucceeded(former);
    assert.ok(bench.lines.some((line) => line.includes(`event=resumed seq=${former.head - 1} `)));
    await bench.cutPower();
    await bench.powerOn();
    await bench.checkNothingLost(started);
  });

  it("a chain with a gap is closed with its hole, and that gap is nobody's in the new chain", async () => {
    begin({ sectors: 10, device: { whenFull: "gap" } });
    const gapsOf = (kid: string) => bench.held.filter((held) => held.kid === kid && held.kind === "gap");
    const holesOf = (kid: string) => started.relay.store.gaps.holes(bench.deviceOf(kid).device);
    await bench.powerOn();
    await bench.climb(started);
    const { kid } = bench;
    bench.disconnect();
    await bench.until("gaps", () => gapsOf(kid).length >= 2, 120 * MINUTE);
    await bench.cutPower();
    const head = bench.headSeq;
    // As if more had been sent, and lost.
    writeSentMark(bench.keys, fromHex(kid)!, head + 3);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.checkSucceeded({ kid, head });
    assert.equal(bench.deviceOf(kid).state, "closed");
    assert.equal(holesOf(kid).length, 1);
    // The new chain drops, too, once the relay has its genesis. Its first gap takes over none.
    const told = bench.codes.length;
    bench.disconnect();
    await bench.until("a gap", () => gapsOf(bench.kid).length >= 3, 120 * MINUTE);
    await bench.cutPower();
    await bench.powerOn();
    bench.connect(started.url);
    await bench.climb(started);
    const { publicKey, device } = bench.deviceOf(bench.kid);
    const waiting = started.relay.store.gaps.pending(device).map(({ bytes }) => bytes);
    const run = must(verifyRun(relayCrypto, publicKey, bench.recordsAt(started.relay), waiting));
    assert.deepEqual(
      run.holes.map(({ first, last }) => ({ first, last })),
      holesOf(bench.kid),
    );
    assert.equal(run.holes.length, 1);
    assert.ok(!bench.codes.includes("GAP_FALSE"), bench.codes.join());
    assert.ok(!bench.codes.slice(told).includes("JOURNAL_FULL"), "nothing that was sampled was refused");
  });

  it("an answer that is lost: the same bytes again, the same answer", async () => {
    begin();
    const former = await bench.lose();
    const statements = new Set<string>();
    const bodies = new Set<string>();
    const inner = bench.network.target!;
    let posts = 0;
    bench.network.target = {
      request: async (request, signal) => {
        const answer = await inner.request(request, signal);
        if (!request.path.endsWith("/succession")) return answer;
        const read = readSuccessionRequest(request.body);
        assert.ok(read.ok && "statement" in read.value);
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
    await bench.checkSucceeded(former);
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
    const former = await bench.lose();
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
    await bench.checkSucceeded(former);
  });

  it("flash that is set back behind the new genesis: it is fetched back, and no other is made", async () => {
    begin();
    const former = await bench.lose();
    const snapshot = bench.flash.snapshot();
    await bench.powerOn();
    await bench.until("the relay's word", () => bench.received() >= 0);
    await bench.cutPower();
    assert.ok(bench.keys.read("succession"), "it has not ended yet");
    bench.flash.restore(snapshot);
    const reported = bench.held.length;
    await bench.powerOn();
    // What was held and never sent went with the flash.
    await bench.checkSucceeded(former, reported);
    assert.equal(bench.held[reported]!.kind, "boot");
    assert.equal(bench.held.filter(({ kind }) => kind === "genesis").length, 2);
  });

  /** A succession that has not ended, and flash that holds nothing of the new chain; so much of that the relay has. */
  async function lostGenesis(): Promise<string> {
    const former = await bench.lose();
    const snapshot = bench.flash.snapshot();
    await bench.powerOn();
    await bench.until("the relay's word", () => bench.received() >= 1);
    await bench.cutPower();
    assert.ok(bench.keys.read("succession"), "it has not ended yet");
    assert.notEqual(bench.kid, former.kid);
    bench.flash.restore(snapshot);
    return bench.kid;
  }

  it("flash set back behind the new genesis, and records of it lost: that is fetched back, and then succeeded", async () => {
    begin();
    const kid = await lostGenesis();
    writeSentMark(bench.keys, fromHex(kid)!, bench.sentMark() + 3);
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("a third key", () => bench.kid !== kid && bench.held.length > reported + 3);
    assert.ok(!bench.codes.includes("JOURNAL_FOREIGN"), bench.codes.join());
    await bench.checkNothingLost(started, reported);
    assert.deepEqual(bench.successorsOf(kid), [bench.kid]);
  });

  it("flash set back behind the new genesis, which is logged: the former key is kept until it is held again", async () => {
    begin();
    await lostGenesis();
    await started.settled();
    const asked = bench.network.requests.length;
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("a greeting", () => bench.network.requests.length > asked);
    await bench.run(50, () => bench.received() >= 1);
    await bench.cutPower();
    await bench.powerOn();
    await bench.until("records", () => bench.held.length > reported + 3);
    await bench.checkNothingLost(started, reported);
    assert.ok(bench.hasEnded());
  });

  it("flash set back behind the new genesis, full of the old chain: that the new one is logged makes room for it", async () => {
    begin({ sectors: 6 });
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 6);
    await bench.climb(started);
    bench.disconnect();
    await bench.until("a full journal", () => bench.codes.includes("JOURNAL_FULL"), 30 * MINUTE);
    const full = bench.flash.snapshot();
    bench.connect(started.url);
    await bench.climb(started);
    const kid = await lostGenesis();
    bench.flash.restore(full);
    await started.settled();
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("records", () => bench.held.length > reported + 3);
    assert.equal(bench.kid, kid);
    await bench.checkNothingLost(started, reported);
  });

  for (const ended of [true, false])
    it(`a second time, after the first has ${ended ? "ended" : "been acknowledged only"}`, async () => {
      // Nothing is ever final here, so that what waits for it does not end.
      begin(ended ? {} : { device: { releaseAt: "final" }, sectors: 16 });
      const first = await bench.lose();
      await bench.powerOn();
      if (ended) await bench.checkSucceeded(first);
      else await bench.until("the relay's word", () => bench.received() >= 1);
      const second = await bench.lose();
      assert.notEqual(second.kid, first.kid);
      assert.equal(bench.keys.read("succession") === undefined, ended);
      bench.lines.length = 0;
      await bench.powerOn();
      if (ended) await bench.checkSucceeded(second);
      else await bench.until("a third key", () => bench.kid !== second.kid && bench.received() > 0);
      await bench.checkNothingLost(started);
      assert.deepEqual(bench.successorsOf(first.kid), [second.kid]);
      assert.deepEqual(bench.successorsOf(second.kid), [bench.kid]);
    });

  it("signs one statement by the former key", async () => {
    begin();
    const former = await bench.lose();
    let statement: Uint8Array | undefined;
    const inner = bench.network.target!;
    bench.network.target = {
      request: (request, signal) => {
        if (request.path.endsWith("/succession")) {
          const read = readSuccessionRequest(request.body);
          if (read.ok && "statement" in read.value) statement = read.value.statement;
        }
        return inner.request(request, signal);
      },
    };
    await bench.powerOn();
    await bench.checkSucceeded(former);
    const read = readSuccession(statement!);
    assert.ok(read.ok);
    assert.equal(toHex(read.value.statement.kid), former.kid);
    assert.equal(read.value.succession.head.seq, former.head);
    assert.equal(toHex(bench.deviceOf(bench.kid).publicKey), toHex(read.value.succession.publicKey));
  });
});
