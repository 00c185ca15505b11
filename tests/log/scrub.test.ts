import assert from "node:assert/strict";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Log } from "../../hosts/relay/log/log.js";
import { SCRUB_PERIOD_MS, SCRUB_UNITS_PER_ROUND_MAX, Scrub } from "../../hosts/relay/log/scrub.js";
import { bundlesOf, checkBundle, type Finding } from "../../hosts/relay/log/tree-check.js";
import { MemorySource, optionsFor } from "./bench.js";
import { MemoryDisk, seeded } from "./disk.js";

const { sha256 } = relayCrypto;
const FOLDER = "/log/public";
const DAY_MS = 24 * 60 * 60 * 1000;
/** Enough for a full tile of level 1 below a partial one of level 2, and partial tiles of all levels. */
const ENTRIES = 65_536 + 256 + 30;

/** Every kind of file that such a log has, and what a flipped bit in it is called. */
const KINDS = [
  "tile/entries/000",
  "tile/entries/255",
  "tile/entries/257.p/31",
  "tile/0/000",
  "tile/0/130",
  "tile/0/257.p/31",
  "tile/1/000",
  "tile/1/001.p/1",
  "tile/2/000.p/1",
] as const;

describe("log: the rolling scrub", function () {
  this.timeout(120_000);
  let disk: MemoryDisk;
  let log: Log;
  let nowMs = 0;

  before(async () => {
    disk = new MemoryDisk();
    const source = new MemorySource();
    const opened = await Log.open("/log", optionsFor(disk, source));
    assert.ok(opened.ok);
    log = opened.value;
    source.add(ENTRIES - 10);
    assert.ok((await log.sequence()).ok);
    source.add(10);
    assert.ok((await log.sequence()).ok);
    assert.equal(log.head.size, ENTRIES + 1);
  });
  beforeEach(() => {
    disk.tamper("/scrub.json", undefined);
    nowMs = 1_700_000_000_000;
  });

  async function openScrub(found: Finding[], units: number[] = []): Promise<Scrub> {
    return Scrub.open({
      parts: [
        {
          name: "log",
          units: () => bundlesOf(log.head.size),
          check: async (unit) => {
            units.push(unit);
            return (await checkBundle({ disk, sha256, folder: FOLDER }, log.head, unit)).findings;
          },
        },
      ],
      disk,
      path: "/scrub.json",
      periodMs: SCRUB_PERIOD_MS,
      nowMs: () => nowMs,
      onFinding: (finding) => found.push(finding),
      onFault: (error) => assert.fail(String(error)),
    });
  }

  function flip(path: string, bit: number): () => void {
    const whole = disk.files().get(`${FOLDER}/${path}`)!;
    const bytes = whole.slice();
    bytes[Math.floor(bit / 8) % bytes.length]! ^= 1 << (bit % 8);
    disk.tamper(`${FOLDER}/${path}`, bytes);
    return () => disk.tamper(`${FOLDER}/${path}`, whole);
  }

  it("finds nothing where nothing is", async () => {
    for (let unit = 0; unit < bundlesOf(log.head.size); unit++) {
      const { findings, ids } = await checkBundle({ disk, sha256, folder: FOLDER }, log.head, unit);
      assert.deepEqual(findings, []);
      assert.equal(ids!.length, unit === 257 ? 31 : 256);
    }
  });

  it("finds a flipped bit in every kind of file within one period, names the file, and sees that it is restored", async () => {
    const draw = seeded(7);
    for (const path of KINDS) {
      const found: Finding[] = [];
      const scrub = await openScrub(found);
      // The bit flips at a drawn moment of the pass, before or after the scrub was there.
      const flipsAtMs = nowMs + Math.floor(draw() * SCRUB_PERIOD_MS);
      const bit = Math.floor(draw() * 1_000_000);
      let restore: (() => void) | undefined;
      const label = `${path} bit ${bit}`;
      while (found.length === 0) {
        nowMs += SCRUB_PERIOD_MS / 200;
        if (!restore && nowMs >= flipsAtMs) restore = flip(path, bit);
        await scrub.round();
        assert.ok(nowMs <= flipsAtMs + SCRUB_PERIOD_MS * 1.01, `${label}: not found within a period`);
      }
      assert.deepEqual(
        found.map(({ where, code }) => [where, code]),
        [[path, "LOG_TILE_CORRUPT"]],
        `${label}: ${JSON.stringify(found)}`,
      );
      assert.equal(scrub.findings[0]!.where, path);
      restore!();
      await scrub.round();
      assert.deepEqual(scrub.findings, [], `${label}: restored`);
      await scrub.close();
      disk.tamper("/scrub.json", undefined);
    }
  });

  it("finds files that are gone, and earlier partial ones that changed", async () => {
    for (const path of KINDS) {
      const whole = disk.files().get(`${FOLDER}/${path}`)!;
      disk.tamper(`${FOLDER}/${path}`, undefined);
      const [, level, index] = /^tile\/(\w+)\/(\d+)/.exec(path)!;
      const unit = level === "0" || level === "entries" ? Number(index) : Number(index) * 256;
      const { findings } = await checkBundle({ disk, sha256, folder: FOLDER }, log.head, unit);
      assert.deepEqual([findings[0]?.where, findings[0]?.code, findings.length], [path, "LOG_TILE_MISSING", 1]);
      disk.tamper(`${FOLDER}/${path}`, whole);
    }
    for (const path of ["tile/0/257.p/21", "tile/entries/257.p/21"]) {
      const restore = flip(path, 77);
      const { findings } = await checkBundle({ disk, sha256, folder: FOLDER }, log.head, 257);
      assert.deepEqual(
        findings.map(({ where }) => where),
        [path],
      );
      restore();
    }
  });

  it("keeps its period over daily restarts, and what it found", async () => {
    const [found, units]: [Finding[], number[]] = [[], []];
    const restore = flip("tile/0/200", 9);
    const firstMs = nowMs;
    const days: number[] = [];
    while (new Set(units).size < bundlesOf(log.head.size)) {
      const scrub = await openScrub(found, units);
      // Two hours a day; the rest of it the relay is off.
      for (let round = 0; round < 12; round++) {
        nowMs += DAY_MS / 144;
        await scrub.round();
      }
      days.push(units.length);
      if (found.length > 0) assert.equal(scrub.findings[0]!.where, "tile/0/200", "still known after a restart");
      await scrub.close();
      nowMs += (DAY_MS * 22) / 24;
      assert.ok(nowMs - firstMs <= SCRUB_PERIOD_MS + DAY_MS, `after ${days.length} days: ${days}`);
    }
    assert.equal(days.length, 8, "the last unit is due with the period's end, which was in the night");
    assert.ok(found.length > 0);
    restore();
  });

  it("reads no more at once than it may, however long it was off, and catches up", async () => {
    const [found, units]: [Finding[], number[]] = [[], []];
    const scrub = await openScrub(found, units);
    nowMs += 30 * DAY_MS;
    for (let before = 0; units.length < bundlesOf(log.head.size); before = units.length) {
      await scrub.round();
      assert.ok(units.length - before <= SCRUB_UNITS_PER_ROUND_MAX);
      assert.ok(units.length > before);
    }
    assert.deepEqual(units, [...units.keys()]);
    await scrub.close();
  });

  it("begins again where its file is gone or garbled, and goes on under a clock that was set back", async () => {
    for (const text of ["", "{", "null", '{"format":1,"started_ms":-0.5,"done":{},"suspects":[]}', '{"format":2}']) {
      disk.tamper("/scrub.json", new Uint8Array(Buffer.from(text)));
      const units: number[] = [];
      const scrub = await openScrub([], units);
      nowMs += DAY_MS;
      await scrub.round();
      assert.equal(units[0], 0, text);
      nowMs -= 100 * DAY_MS;
      await scrub.round();
      nowMs += SCRUB_PERIOD_MS;
      for (let round = 0; round < 5; round++) await scrub.round();
      assert.equal(new Set(units).size, bundlesOf(log.head.size));
      await scrub.close();
    }
  });

  it("looks first at what is due at once, and ends it where it is closed meanwhile", async () => {
    const looked: string[] = [];
    let end: (() => void) | undefined;
    let began: () => void;
    const beginning = () =>
      new Promise<void>((resolve) => {
        began = resolve;
      });
    const open = (isDue: boolean) =>
      Scrub.open({
        parts: [
          {
            name: "few",
            units: () => 1,
            check: async () => {
              looked.push("few");
              return [];
            },
          },
          {
            name: "long",
            units: () => 1,
            isDue,
            check: () =>
              new Promise((_, reject) => {
                looked.push("long");
                began();
                end = () => reject(new Error("ended"));
              }),
            stop: () => end?.(),
          },
        ],
        disk,
        path: "/scrub.json",
        periodMs: SCRUB_PERIOD_MS,
        nowMs: () => nowMs,
        onFinding: () => assert.fail("nothing is wrong"),
        onFault: (error) => assert.fail(String(error)),
      });
    const scrub = await open(true);
    const begun = beginning();
    const round = scrub.round();
    await begun;
    assert.deepEqual(looked, ["long"]);
    await scrub.close();
    await round;
    assert.deepEqual(looked, ["long"], "the rest is for the next start");
    const next = await open(false);
    const begunAgain = beginning();
    const again = next.round();
    await begunAgain;
    assert.deepEqual(looked, ["long", "long"], "which begins with what was not ended");
    await next.close();
    await again;
  });

  it("says what it saw so that a person can compare", async () => {
    const restore = flip("tile/entries/003", 8 * 20);
    const { findings } = await checkBundle({ disk, sha256, folder: FOLDER }, log.head, 3);
    assert.match(findings[0]!.detail, /^entry \d+ hashes to [0-9a-f]{64}, its tile has [0-9a-f]{64}$/);
    restore();
  });
});
