import assert from "node:assert/strict";
import { type Bounds, boundsOf, STUCK_MS, STUCK_QUIET_MS, type WatchedQuantity } from "tallystick/insight/bounds";
import { Insight, type Observed } from "tallystick/insight/insight";
import {
  ALERTS_PER_DAY,
  ALERTS_PER_HOUR,
  type Holder,
  JUMPS_PER_DAY,
  RANGE_END_SAMPLES,
  STUCK_SAMPLES,
  Watch,
} from "tallystick/insight/watch";
import { type Alert, readAlert } from "tallystick/record/payload";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { findAll, type Sample } from "./naive.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const BOUNDS: Bounds = { minimum: -40, maximum: 85, stuckMs: HOUR, jump: 10, jumpPerMinute: 1 };
const THERMOMETER: WatchedQuantity = {
  name: "temperature",
  unit: "Cel",
  kind: "thermometer",
  step: 1 / 128,
  range: [-40, 85],
  noise: 0.005,
};
const RUNS = Number(process.env["RUNS"] ?? 400);

/** A record's id that tells which sample went into it. */
function idOf(n: number): Uint8Array {
  const id = new Uint8Array(32);
  new DataView(id.buffer).setUint32(0, n);
  return id;
}
const numberOf = (id: Uint8Array) => new DataView(id.buffer, id.byteOffset).getUint32(0);

/** One watch; each sample in a record of its own, which is committed at once. */
class Watched {
  readonly watch: Watch;
  readonly told: (Alert & { readonly atMs: number })[] = [];
  n = 0;
  atMs = 0;

  constructor(bounds: Bounds = BOUNDS) {
    this.watch = new Watch("temperature", "Cel", bounds);
  }

  /** Gives how many alerts it told. */
  see(value: number | undefined, everyMs = MINUTE): number {
    const before = this.told.length;
    this.watch.see(value, this.atMs, { isSettled: true, id: idOf(this.n) });
    for (let alert = this.watch.next(this.atMs); alert; alert = this.watch.next(this.atMs))
      this.told.push({ ...alert, atMs: this.atMs });
    this.n++;
    this.atMs += everyMs;
    return this.told.length - before;
  }

  get words(): string[] {
    return this.told.map(({ finding }) => finding);
  }
}

const named = ({ records }: Alert) => records.map(numberOf);

describe("insight: what is found", () => {
  it("a value that stands still: with the 64th sample and not before an hour, and when it moves again", () => {
    const fast = new Watched();
    let samples = 0;
    while (fast.see(21.5, 10_000) === 0) samples++;
    assert.equal(samples, HOUR / 10_000, "every ten seconds: after an hour");
    const watched = new Watched();
    watched.see(20);
    for (let n = 1; n < STUCK_SAMPLES; n++) assert.equal(watched.see(21.5), 0, `sample ${n}`);
    assert.equal(watched.see(21.5), 1, "every minute: with the 64th");
    assert.deepEqual(
      named(watched.told[0]!),
      [1, STUCK_SAMPLES],
      "the first of them and the one by which it was found",
    );
    assert.equal(watched.told[0]!.text, "21.5 Cel, 64 times in 63 min");
    for (let n = 0; n < 500; n++) assert.equal(watched.see(21.5), 0, "told once");
    assert.equal(watched.see(21.5078125), 1);
    assert.deepEqual(named(watched.told[1]!), [STUCK_SAMPLES + 500, STUCK_SAMPLES + 501]);
    assert.deepEqual(watched.words, ["stuck", "stuck-end"]);
    assert.equal(watched.told[1]!.text, "21.5078 Cel after 21.5 for 563 min");
  });

  it("no value at the end of its range as stuck: there a sensor has nothing more to tell", () => {
    const watched = new Watched({ ...BOUNDS, minimum: 0, maximum: 100 });
    for (const value of [100, 0])
      for (let n = 0; n < 10_000; n++) assert.equal(watched.see(value), n === 0 && value === 0 ? 1 : 0);
    assert.deepEqual(watched.words, ["jump"]);
  });

  it("a jump: with the first sample after it, and by what the time in between allows", () => {
    for (const [step, everyMs, jumps] of [
      [11, MINUTE, 0],
      [11.0078125, MINUTE, 1],
      [-11.0078125, MINUTE, 1],
      [40, 30 * MINUTE, 0],
      [40.0078125, 30 * MINUTE, 1],
    ] as const) {
      const watched = new Watched();
      watched.see(20, everyMs);
      assert.equal(watched.see(20 + step), jumps, `${step} in ${everyMs} ms`);
      if (jumps) assert.deepEqual(named(watched.told[0]!), [0, 1]);
    }
    const watched = new Watched();
    watched.see(21.5);
    watched.see(79.25);
    assert.equal(watched.told[0]!.text, "21.5 to 79.25 Cel in 60 s, at most 11");
  });

  it("a value beyond the range, or the driver's word for it: with the first one, until 16 are within", () => {
    for (const value of [85.0078125, -41, undefined]) {
      // Jumps are not what this is about.
      const watched = new Watched({ ...BOUNDS, jump: 1000 });
      watched.see(20);
      assert.equal(watched.see(value), 1);
      assert.deepEqual(named(watched.told[0]!), [1]);
      for (let n = 1; n < RANGE_END_SAMPLES; n++) assert.equal(watched.see(20 + n / 128), 0);
      watched.see(value);
      for (let n = 1; n < RANGE_END_SAMPLES; n++) assert.equal(watched.see(20 + n / 128), 0, "it counts anew");
      assert.equal(watched.see(21), 1);
      assert.deepEqual(named(watched.told[1]!), [1 + RANGE_END_SAMPLES, 1 + 2 * RANGE_END_SAMPLES]);
      assert.deepEqual(watched.words, ["range", "range-end"]);
    }
    const watched = new Watched();
    watched.see(undefined);
    assert.equal(watched.told[0]!.text, "no value, beyond -40 to 85");
  });

  it(`what a second reading of the rules finds in ${RUNS} random courses, each with its records`, () => {
    const first = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000);
    const counts = new Map<string, number>();
    for (let run = 0; run < (process.env["SEED"] === undefined ? RUNS : 1); run++) {
      const seed = first + run;
      const random = new SeededRandom(seed);
      const samples = course(random);
      const bounds = { ...BOUNDS, stuckMs: random.pick([1, HOUR, 5 * HOUR]) };
      const watch = new Watch("temperature", "Cel", bounds);
      const seen: { word: string; by: number; names: number[] }[] = [];
      // By the hand of one who forgets what was told: the limits on telling are another test.
      for (const [n, { value, atMs }] of samples.entries()) {
        watch.see(value, atMs, { isSettled: true, id: idOf(n) });
        const nowMs = n * 100 * DAY;
        for (let alert = watch.next(nowMs); alert; alert = watch.next(nowMs + 50 * DAY))
          seen.push({ word: alert.finding, by: n, names: named(alert) });
      }
      const key = (one: { readonly word: string; readonly by: number }) => `${String(one.by).padStart(6)} ${one.word}`;
      const sorted = (
        all: readonly { readonly word: string; readonly by: number; readonly names: readonly number[] }[],
      ) => all.map((one) => `${key(one)} ${one.names.join(" ")}`).sort();
      const expected = findAll(samples, bounds);
      assert.deepEqual(
        sorted(seen),
        sorted(expected),
        `SEED=${seed} npx mocha tests/insight/watch.test.ts reruns this`,
      );
      for (const { word } of expected) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    if (process.env["SEED"] === undefined)
      for (const word of ["jump", "range", "range-end", "stuck", "stuck-end"])
        assert.ok((counts.get(word) ?? 0) >= RUNS / 10, `${word}: ${counts.get(word)} in all`);
  });
});

/** Walks, stands still, jumps, leaves the range, has faults: all in turn. */
function course(random: SeededRandom): Sample[] {
  const samples: Sample[] = [];
  let value = 20;
  let atMs = random.below(10_000);
  for (let part = 0; part < 12; part++) {
    const everyMs = random.pick([1000, MINUTE, 10 * MINUTE]);
    const way = random.pick(["walk", "still", "jump", "fault", "beyond"]);
    for (let n = way === "jump" ? 2 : 1 + random.below(way === "still" ? 200 : 25); n > 0; n--) {
      if (way === "walk") value += (random.below(65) - 32) / 128;
      if (way === "jump") value += random.pick([-1, 1]) * (random.below(30 * 128) / 128);
      if (way === "beyond") value = random.pick([-40, -40.0078125, 85, 85.0078125, 84]);
      samples.push({ value: way === "fault" && random.oneIn(2) ? undefined : value, atMs });
      atMs += everyMs;
    }
    if (Math.abs(value) > 84) value = 20;
  }
  return samples;
}

describe("insight: what is told", () => {
  it("at most two alerts an hour and eight a day, four of them jumps, however the values alternate", () => {
    const watched = new Watched();
    const days = 5;
    for (let n = 0; n < (days * DAY) / 1000; n++) watched.see(n % 2 === 0 ? 20 : 60, 1000);
    assertBounded(watched);
    assert.equal(watched.told.length, days * JUMPS_PER_DAY);
    // The first one, and what came of it, is told; then the count of those that were not grows.
    const withheld = watched.told.reduce((sum, alert) => sum + (alert.withheld ?? 0), 0);
    assert.ok(withheld > (days - 1) * 86_000 && withheld < days * 86_400, `${withheld}`);
  });

  it("as much and no more of random lies, and what lasts is told in the end", () => {
    const first = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000);
    for (let run = 0; run < (process.env["SEED"] === undefined ? 20 : 1); run++) {
      const seed = first + run;
      const random = new SeededRandom(seed);
      const watched = new Watched({ ...BOUNDS, stuckMs: MINUTE });
      for (let part = 0; part < 200; part++) {
        const way = random.pick(["still", "jump", "beyond", "fault"]);
        for (let n = random.below(100); n > 0; n--) {
          const value = { still: 20, jump: random.below(80), beyond: 90, fault: undefined }[way];
          watched.see(value, random.pick([1000, MINUTE]));
        }
      }
      assertBounded(watched, `SEED=${seed} npx mocha tests/insight/watch.test.ts reruns this`);
      for (let n = 0; n < 2 * 1440; n++) watched.see(20);
      assert.equal(watched.words.filter((word) => word.startsWith("stuck")).pop(), "stuck", `SEED=${seed}`);
      const ranges = watched.words.filter((word) => word.startsWith("range"));
      assert.equal(ranges.pop() ?? "range-end", "range-end", `SEED=${seed}`);
      for (const kind of ["stuck", "range"]) {
        const turns = watched.words.filter((word) => word.startsWith(kind));
        for (const [n, word] of turns.entries()) assert.equal(word, n % 2 === 0 ? kind : `${kind}-end`, `SEED=${seed}`);
      }
    }
  });

  function assertBounded({ told }: Watched, message = ""): void {
    assert.ok(told.length > 0, message);
    const most = (all: readonly { readonly atMs: number }[], spanMs: number) =>
      Math.max(0, ...all.map(({ atMs }, n) => all.slice(n).filter((later) => later.atMs - atMs < spanMs).length));
    assert.ok(most(told, HOUR) <= ALERTS_PER_HOUR, message);
    assert.ok(most(told, DAY) <= ALERTS_PER_DAY, message);
    const jumps = told.filter(({ finding }) => finding === "jump");
    assert.ok(most(jumps, DAY) <= JUMPS_PER_DAY, message);
  }

  it("what came and went within the hour as a number", () => {
    const watched = new Watched({ ...BOUNDS, jump: 1000 });
    const flap = () => {
      watched.see(90, 1000);
      for (let n = 0; n < RANGE_END_SAMPLES; n++) watched.see(20 + n / 128, 1000);
    };
    for (let n = 0; n < 4; n++) flap();
    assert.deepEqual(watched.words, ["range", "range-end"], "three more begins and ends are not told");
    for (let n = 0; n < 60; n++) watched.see(20 + n / 128);
    flap();
    assert.deepEqual(watched.words, ["range", "range-end", "range", "range-end"]);
    assert.deepEqual(
      watched.told.map(({ withheld }) => withheld),
      [undefined, undefined, 6, undefined],
    );
  });

  it("names only what was committed, waits for it, and tells nothing that names nothing", () => {
    const watch = new Watch("temperature", "Cel", BOUNDS);
    const holders: Holder[] = Array.from({ length: 4 }, () => ({ isSettled: false, id: undefined }));
    watch.see(20, 0, holders[0]!);
    watch.see(60, MINUTE, holders[1]!);
    assert.equal(watch.next(MINUTE), undefined, "neither is committed");
    holders[1]!.isSettled = true;
    holders[1]!.id = idOf(1);
    assert.equal(watch.next(MINUTE), undefined, "the first is not");
    holders[0]!.isSettled = true;
    assert.deepEqual(named(watch.next(MINUTE)!), [1], "the first was refused");
    watch.see(20, 2 * MINUTE, holders[2]!);
    watch.see(20, 3 * MINUTE, holders[3]!);
    for (const holder of holders.slice(1)) holder.isSettled = true;
    holders[1]!.id = undefined;
    assert.equal(watch.next(3 * MINUTE), undefined, "none of the two was committed");
    watch.see(60, 4 * MINUTE, { isSettled: true, id: idOf(4) });
    assert.equal(watch.next(4 * MINUTE)!.withheld, 1);
  });

  it("finds a condition anew whose records were refused", () => {
    const watch = new Watch("temperature", "Cel", BOUNDS);
    const refused: Holder = { isSettled: true, id: undefined };
    for (let n = 0; n < 100; n++) watch.see(20, n * MINUTE, refused);
    assert.equal(watch.next(100 * MINUTE), undefined);
    watch.see(20, 100 * MINUTE, { isSettled: true, id: idOf(7) });
    const alert = watch.next(100 * MINUTE)!;
    assert.deepEqual([alert.finding, named(alert)], ["stuck", [7]]);
    watch.see(undefined, 101 * MINUTE, refused);
    assert.equal(watch.next(101 * MINUTE), undefined);
    watch.see(undefined, 102 * MINUTE, { isSettled: true, id: idOf(8) });
    assert.deepEqual(named(watch.next(102 * MINUTE)!), [8]);
  });

  it("as a payload that its reader takes, by quantity", () => {
    const insight = new Insight({ quantities: [THERMOMETER, { ...THERMOMETER, name: "cellar/temperature" }] });
    const pack = (a: Observed["value"], b: Observed["value"], uptimeMs: number): Observed[] => [
      { name: "temperature", value: a, uptimeMs },
      { name: "cellar/temperature", value: b, uptimeMs },
      { name: "unknown", value: 1e9, uptimeMs },
    ];
    const first = insight.examine(pack(20, 20, 0));
    const second = insight.examine(pack({ fault: "range" }, { fault: "crc" }, MINUTE));
    insight.settle(first, idOf(1));
    assert.equal(insight.next(MINUTE), undefined);
    insight.settle(second, idOf(2));
    const alert = readAlert(insight.next(MINUTE)!);
    assert.ok(alert.ok);
    assert.deepEqual(alert.value, {
      finding: "range",
      records: [idOf(2)],
      text: "no value, beyond -40 to 85",
      quantity: "temperature",
    });
    assert.equal(insight.next(MINUTE), undefined, "a fault of the bus is no value, and no lie");
  });
});

describe("insight: bounds", () => {
  it("are the data sheet's and the class's by default, longer where no noise moves the value", () => {
    assert.deepEqual(boundsOf(THERMOMETER, undefined), { ...BOUNDS, stuckMs: STUCK_MS });
    for (const noise of [0, 0.0039])
      assert.equal(boundsOf({ ...THERMOMETER, noise }, undefined)!.stuckMs, STUCK_QUIET_MS);
    const { range: _, ...unknown } = THERMOMETER;
    assert.equal(boundsOf(unknown, undefined), undefined, "a driver that names no range is not watched");
    assert.equal(boundsOf(THERMOMETER, false), undefined);
    assert.deepEqual(boundsOf(unknown, { maximum: 30 }), {
      minimum: Number.NEGATIVE_INFINITY,
      maximum: 30,
      stuckMs: Number.POSITIVE_INFINITY,
      jump: Number.POSITIVE_INFINITY,
      jumpPerMinute: 0,
    });
    assert.equal(boundsOf(THERMOMETER, { jump: 3 })!.jump, 3);
    assert.equal(boundsOf(THERMOMETER, { jump: 3 })!.minimum, -40);
  });

  it("are refused where they are none, and where no quantity has the name", () => {
    for (const own of [{ minimum: 85 }, { stuckMs: 0 }, { jump: -1 }, { jumpPerMinute: Number.NaN }])
      assert.throws(() => boundsOf(THERMOMETER, own), RangeError);
    assert.throws(() => new Insight({ quantities: [THERMOMETER], watch: { humidity: false } }), /humidity/);
    const many = Array.from({ length: 33 }, (_, i) => ({ ...THERMOMETER, name: `t${i}` }));
    assert.throws(() => new Insight({ quantities: many }), /at most 32/);
  });

  it("are off as a whole where the application says so", () => {
    const insight = new Insight({ quantities: [THERMOMETER], watch: false });
    insight.settle(insight.examine([{ name: "temperature", value: 999, uptimeMs: 0 }]), idOf(0));
    assert.equal(insight.next(0), undefined);
  });
});
