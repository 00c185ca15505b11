import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Code } from "tallystick/codes/codes";
import { tilePath } from "tallystick/log/tile";
import { pathsOf } from "../../hosts/relay/folder.js";
import { memoryPath } from "../../hosts/relay/log/signer.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { sqliteOf } from "./dump.js";
import { failureOf, StartedRelay } from "./started.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const PERIOD_MS = 7 * DAY_MS;

/** What the log's tests do not reach: the database's rows, and what a relay does about damage. */
describe("relay: damage in what it stores", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  let device: FixtureDevice;
  let nowMs: number;

  beforeEach(async () => {
    nowMs = Date.now();
    // Checkpoints are made when the test says so, and rounds of the scrub, too.
    started = await StartedRelay.start({ nowMs: () => nowMs, scrubPeriodMs: PERIOD_MS, batchIntervalMs: 3_600_000 });
    device = await started.device({}, nowMs);
    device.appendReadings(300);
    for (let from = 1; from <= 300; from += 100)
      device.read(await device.send(started.url, from, from + 99), started.key);
    await started.settled();
  });
  afterEach(() => started.close());

  function flip(path: string, at = 40): () => void {
    const whole = readFileSync(path);
    const bytes = Buffer.from(whole);
    bytes[at % bytes.length]! ^= 4;
    writeFileSync(path, bytes);
    return () => writeFileSync(path, whole);
  }

  /** Virtual milliseconds until the relay calls itself unwell, and by which code. */
  async function unwell(): Promise<{ readonly code: Code; readonly afterMs: number; readonly detail: string }> {
    const fromMs = nowMs;
    for (;;) {
      const ready = await get(`${started.url}/readyz`);
      const { code, detail } = (ready.problem ?? {}) as { code?: Code; detail?: string };
      // A record whose place was changed waits for the log, which is told at once, and is not what is looked for.
      if (ready.status === 503 && code !== "LOG_LATE") return { code: code!, afterMs: nowMs - fromMs, detail: detail! };
      nowMs += DAY_MS / 4;
      assert.ok(nowMs <= fromMs + PERIOD_MS + DAY_MS, "not found within a period");
      await started.relay.scrub.round();
    }
  }

  const one = async () => {
    device.appendReading(1);
    return device.send(started.url, device.chain.length - 1);
  };
  const sql = (text: string) => started.relay.store.database.exec(text);

  it("an old file of the log: it is unwell and says so, and goes on taking in and signing", async () => {
    const restore = flip(join(started.folder, "log/public/tile/entries/000"));
    const { code, afterMs, detail } = await unwell();
    assert.equal(code, "LOG_TILE_CORRUPT");
    assert.ok(afterMs <= PERIOD_MS);
    assert.match(detail, /^tile\/entries\/000: entry 0 hashes to/);
    device.read(await one(), started.key);
    const { size } = started.relay.log.head;
    await started.settled();
    assert.equal(started.relay.log.head.size, size + 1, "the damage is of the past: what is new is signed");
    restore();
    await started.relay.scrub.round();
    assert.equal((await get(`${started.url}/readyz`)).status, 200, "restored, it is well again without a restart");
  });

  for (const [what, damage] of [
    ["a logged record's bytes", "UPDATE records SET bytes = zeroblob(100) WHERE seq = 17"],
    [
      "a record's index",
      "UPDATE records SET entry = 9999 WHERE seq = 300; UPDATE records SET entry = 301 WHERE seq = 299",
    ],
    ["a device's key", "UPDATE devices SET public_key = zeroblob(32)"],
    ["a device's genesis", "UPDATE devices SET genesis_id = zeroblob(32)"],
    ["a fork's bytes", "INSERT INTO forks VALUES (zeroblob(32), 1, 5, x'00', 0)"],
    ["what finds records by id", "INSERT INTO ids VALUES (0, zeroblob(8), 1, 5)"],
    ["a waiting gap record's bytes", "INSERT INTO gaps VALUES (zeroblob(32), 1, 900, x'00', 0)"],
  ] as const)
    it(`${what} in the database: found within the period, and nothing more is taken in`, async () => {
      sql(damage);
      const { code, afterMs } = await unwell();
      assert.match(code, /^STORE_(CORRUPT|INCOHERENT)$/);
      assert.ok(afterMs <= PERIOD_MS);
      const answer = await one();
      assert.equal(answer.status >= 500, true);
      assert.equal(answer.problem?.code, code);
    });

  it("a page that SQLite cannot read: found within the period", async () => {
    sql("PRAGMA wal_checkpoint(TRUNCATE)");
    const { store } = pathsOf(started.folder);
    const whole = readFileSync(store);
    const page = sqliteOf(started.relay.store).pragma("page_size", { simple: true }) as number;
    // Every page but the first few, which hold the schema.
    writeFileSync(store, Buffer.concat([whole.subarray(0, 20 * page), Buffer.alloc(whole.length - 20 * page, 0xa5)]));
    sqliteOf(started.relay.store).pragma("shrink_memory");
    const { code, afterMs } = await unwell();
    assert.equal(code, "STORE_CORRUPT");
    assert.ok(afterMs <= PERIOD_MS);
  });

  it("lock, key's memory, right edge, a record that is not logged yet: before the next signature", async () => {
    const { log: folder, logPublic } = pathsOf(started.folder);
    const { log } = started.relay;
    const memory = memoryPath(join(folder, "key"));
    const edge = () => tilePath({ level: 0, index: 1, width: log.head.size - 256 });
    const signed = () => [readFileSync(memory), readFileSync(join(logPublic, "checkpoint"))];
    for (const [path, code] of [
      [() => join(folder, "lock", "head"), "LOG_LOCK_MOVED"],
      [() => memory, "LOG_SIGNER_STATE_CORRUPT"],
      [() => join(logPublic, edge()), "LOG_TILE_CORRUPT"],
    ] as const) {
      await one();
      const restore = flip(path());
      const before = signed();
      const failure = failureOf(await log.sequence());
      assert.equal(failure.code, code, failure.detail);
      assert.deepEqual(signed(), before, "nothing was signed, nothing published");
      restore();
      await started.settled();
    }
    await one();
    sql("UPDATE records SET bytes = zeroblob(100) WHERE entry >= (SELECT size FROM logged)");
    const before = signed();
    await assert.rejects(log.sequence(), /the stored bytes at seq \d+ are not those of record/);
    assert.deepEqual(signed(), before);
  });
});
