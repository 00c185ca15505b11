import assert from "node:assert/strict";
import { readToken } from "tallystick/sync/enrolment";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";

const MINUTE = 60_000;

/** The real device on lane A against the real relay over HTTP: what is committed climbs, whatever comes between. */
describe("a device and its relay", () => {
  let started: StartedRelay;
  let bench: Bench;
  /** Each test has a device of its own. */
  let seed = 101;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  it("enrols, climbs to logged, and goes on for longer than its flash is large", async () => {
    bench = new Bench({ seed: seed++, sectors: 8 });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.climb(started);
    assert.equal(readToken(bench.keys), undefined, "the token is spent");
    const erases = bench.flash.counters.erases;
    // 16 sectors' worth: only what the journal was told to release makes room for it.
    while (bench.headSeq < 120) {
      await bench.run(MINUTE);
      await bench.climb(started);
    }
    assert.deepEqual(bench.codes, []);
    assert.ok(bench.flash.counters.erases > erases, "released sectors were erased and written again");
    await bench.checkNothingLost(started);
  });

  it("fills its flash while it is told of nothing logged, loses nothing that was committed, and goes on after", async () => {
    await started.restart({ batchIntervalMs: 3_600_000 });
    bench = new Bench({ seed: seed++, sectors: 8 });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("a full journal", () => bench.codes.includes("JOURNAL_FULL"), 60 * MINUTE);
    const warned = bench.lines.findIndex((line) => /event=journal level=warning/.test(line));
    const critical = bench.lines.findIndex((line) => /event=journal level=critical/.test(line));
    const full = bench.lines.findIndex((line) => /code=JOURNAL_FULL/.test(line));
    assert.ok(warned >= 0 && warned < critical && critical < full, `${warned} ${critical} ${full}`);
    assert.equal(bench.level("logged"), -1);
    const before = bench.headSeq;
    await started.settled();
    await bench.until("more records", () => bench.headSeq > before + 20);
    await started.restart();
    bench.connect(started.url);
    await bench.checkNothingLost(started);
  });

  it("keeps what it records while the relay is away, and backfills in order, each once", async () => {
    bench = new Bench({ seed: seed++, sectors: 64 });
    bench.provision(started);
    await bench.powerOn();
    await bench.until("a backlog", () => bench.headSeq >= 400, 60 * MINUTE);
    assert.ok(bench.codes.every((code) => code === "TRANSPORT_FAILED"));
    const first = bench.network.requests.length;
    bench.connect(started.url);
    await bench.climb(started);
    const posts = bench.network.requests.slice(first).filter(({ path }) => path.endsWith("/records"));
    assert.ok(posts.length > 5, `${posts.length} batches`);
    for (const { bytes } of posts) assert.ok(bytes <= 8192 + 128, `a batch of ${bytes} bytes`);
    await bench.checkNothingLost(started);
    assert.ok(bench.recordsAt(started.relay).length > 400);
  });

  it("goes on where it was when the relay is closed and opened in the middle of a backlog", async () => {
    bench = new Bench({ seed: seed++, sectors: 64 });
    bench.provision(started);
    await bench.powerOn();
    await bench.until("a backlog", () => bench.headSeq >= 200, 60 * MINUTE);
    bench.connect(started.url);
    let batches = 0;
    bench.network.onRequest = async ({ path }) => {
      if (!path.endsWith("/records") || ++batches % 3 !== 0 || batches > 9) return;
      await started.restart();
      bench.connect(started.url);
    };
    await bench.climb(started);
    assert.ok(batches > 6, `${batches} batches`);
    await bench.checkNothingLost(started);
  });

  it("sends what was received again where the answer was lost, and the relay has it once", async () => {
    bench = new Bench({ seed: seed++ });
    bench.provision(started);
    bench.connect(started.url);
    const random = new SeededRandom(1);
    let lost = 0;
    // The relay has done what it was asked, and the device never hears of it.
    bench.network.alter = ({ path }, answer) => {
      if (random.below(2) === 0) return answer;
      if (path.endsWith("/records")) lost++;
      return { outcome: "timed-out", detail: "lost" };
    };
    await bench.powerOn();
    await bench.until("losses", () => lost >= 8, 60 * MINUTE);
    bench.network.alter = undefined;
    await bench.checkNothingLost(started);
    assert.equal(parsed(bench.recordsAt(started.relay)[0]!).header.kind, 0);
  });
});
