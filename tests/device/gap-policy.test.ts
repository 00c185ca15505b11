import assert from "node:assert/strict";
import { readGenesis } from "tallystick/record/payload";
import { Kind } from "tallystick/record/record";
import { type Reading, readPack } from "tallystick/record/senml";
import { StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";

const MINUTE = 60_000;

/** What a device does when its journal fills and the relay is away, by its options. */
describe("a device whose journal fills", function () {
  this.timeout(120_000);
  let started: StartedRelay;
  let bench: Bench;
  let seed = 4100;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  afterEach(() => bench.close());

  const levels = () => bench.lines.flatMap((line) => /event=journal level=(\w+)/.exec(line)?.[1] ?? []);

  async function enrolled(options: ConstructorParameters<typeof Bench>[0]): Promise<void> {
    bench = new Bench({ seed: seed++, ...options });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.climb(started);
    bench.disconnect();
  }

  it("warns once at each level, stops by default, and drops nothing", async () => {
    const warnings: string[] = [];
    await enrolled({
      sectors: 10,
      device: { onProblem: ({ code, detail }) => void (code === "JOURNAL_FILLING" && warnings.push(detail)) },
    });
    await bench.until("a full journal", () => bench.codes.includes("JOURNAL_FULL"), 60 * MINUTE);
    // A shorter record may still find room behind the first that found none.
    await bench.run(10 * MINUTE);
    const { headSeq } = bench;
    await bench.run(10 * MINUTE);
    assert.equal(bench.headSeq, headSeq, "nothing is recorded any more");
    assert.deepEqual(levels(), ["warning", "critical", "full"]);
    assert.equal(warnings.length, 2, warnings.join());
    assert.match(warnings[0]!, /\(warning\)$/);
    assert.match(warnings[1]!, /\(critical\)$/);
    bench.connect(started.url);
    await bench.checkNothingLost(started);
    await bench.until("a normal level", () => levels().at(-1) === "normal");
    assert.ok(bench.held.every(({ kind }) => kind !== "gap"));
  });

  it("reads its sensors less often while it fills, and never stops, where it is to thin", async () => {
    const taken: number[] = [];
    await enrolled({
      sectors: 12,
      device: {
        whenFilling: "thin",
        onReading: ({ uptimeMs, name }) => void (name === "pressure" && taken.push(uptimeMs)),
      },
    });
    const spacings: string[] = [];
    for (let n = 0; n < 40 * 60 && levels().at(-1) !== "full"; n++) {
      await bench.run(1000);
      if (taken.length > 1) spacings.push(`${levels().at(-1) ?? "normal"} ${taken.at(-1)! - taken.at(-2)!}`);
    }
    const most = (level: string) => {
      const counts = new Map<string, number>();
      for (const line of spacings) if (line.startsWith(`${level} `)) counts.set(line, (counts.get(line) ?? 0) + 1);
      return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
    };
    assert.equal(most("normal"), "normal 1000");
    assert.equal(most("warning"), "warning 2000");
    assert.equal(most("critical"), "critical 8000");
    bench.connect(started.url);
    await bench.climb(started);
    await bench.until("a normal level", () => levels().at(-1) === "normal");
    taken.length = 0;
    await bench.run(20_000);
    assert.ok(taken.length >= 19, `${taken.length} readings in 20 s`);
    await bench.checkNothingLost(started);
    const records = bench.recordsAt(started.relay).map(parsed);
    const genesis = readGenesis(records[0]!.payload);
    assert.ok(genesis.ok);
    assert.deepEqual(genesis.value.sampling, { minMs: 1000, maxMs: 8000 });
    const faults = records.flatMap((record): Reading[] => {
      const pack = record.header.kind === Kind.readings ? readPack(record.payload, record.header.clock) : undefined;
      return pack?.ok ? pack.value.filter(({ value }) => typeof value !== "number") : [];
    });
    assert.deepEqual(faults, [], "a slot that thinning left out is no fault");
  });
});
