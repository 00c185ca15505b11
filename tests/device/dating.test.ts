import assert from "node:assert/strict";
import { pino } from "pino";
import { beaconOf, DATE_TOLERANCE_S, dateOf, OwnWord } from "tallystick/evidence/dating";
import { Kind } from "tallystick/record/record";
import { MAX_AGE_MS } from "tallystick/sampler/sampler";
import { StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";

const HOUR = 3_600_000;
const DAYS = 12;

/** The rule of modules/evidence/SPEC.md, Dates, and what a whole device does that lets its readings wait for as long as it may. */
describe("a device whose readings wait for a day", function () {
  this.timeout(120_000);
  let bench: Bench;
  let started: StartedRelay;
  const lines: string[] = [];

  before(async () => {
    const device = { maxAgeMs: MAX_AGE_MS, maxReadings: 200, markIntervalS: 3600, pollMs: 20 * 60_000 };
    // One sample in thirty hours: it waits in its pack by itself, until that is a day old.
    bench = new Bench({ seed: 401, device, everyMs: 30 * HOUR });
    const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
    started = await StartedRelay.start({ nowMs: () => bench.time.nowMs(), logger });
    bench.provision({ pins: started.pins, token: () => started.token(bench.time.nowMs()) });
  });
  after(async () => {
    await bench.close();
    await started.close();
  });

  it("has them dated before the marks between, and is not told of as one that dates them back", async () => {
    bench.connect(started.url);
    await bench.powerOn();
    await bench.run((DAYS / 2) * 24 * HOUR);
    await bench.cutPower();
    await bench.powerOn();
    await bench.run((DAYS / 2) * 24 * HOUR);
    await bench.checkNothingLost(started);
    const records = bench.recordsAt(started.relay).map(parsed);
    const own = new OwnWord(records);
    const lagsS = records
      .filter(({ header }) => header.kind === Kind.readings && header.clock > 0)
      .map((record) => (own.before(record.header.seq)!.timeMs - dateOf(record)!) / 1000);
    assert.ok(records.filter((record) => beaconOf(record)).length > DAYS * 20, "marks come between");
    assert.ok(lagsS.length >= DAYS / 2, `${lagsS.length} packs`);
    const mostS = Math.max(...lagsS);
    assert.ok(mostS > (MAX_AGE_MS / 1000) * 0.9, `the tolerance is needed: ${mostS} s`);
    assert.ok(mostS < DATE_TOLERANCE_S, `${mostS} s`);
    assert.deepEqual(
      lines.filter((line) => line.includes("record backdated")),
      [],
    );
  });
});
