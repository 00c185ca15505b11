import assert from "node:assert/strict";
import { chmodSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { Relay } from "../../hosts/relay/relay.js";
import { repairFolder } from "../../hosts/relay/repair.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { must, StartedRelay, temporaryFolder } from "../relay/started.js";
import { play } from "./session.js";

/** One relay of two devices and 302 records, stopped, copied for each damage. */
describe("tallystick fsck of a relay's data folder", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  let devices: FixtureDevice[];
  let folder: ReturnType<typeof temporaryFolder>;
  const at = (...path: string[]) => join(folder.path, "relay", ...path);

  before(async () => {
    started = await StartedRelay.start();
    devices = [await started.device(), await started.device()];
    for (const device of devices) {
      device.appendReadings(150);
      device.read(await device.send(started.url, 1, 100), started.key);
      device.read(await device.send(started.url, 101), started.key);
    }
    await started.settled();
    await started.relay.close();
  });
  after(() => started.close());
  beforeEach(() => {
    folder = temporaryFolder();
    cpSync(started.folder, at(), { recursive: true });
  });
  afterEach(() => folder.remove());

  function flip(path: string, byte = 40): void {
    const bytes = readFileSync(at(path));
    bytes[byte % bytes.length]! ^= 4;
    writeFileSync(at(path), bytes);
  }
  function sql(text: string): void {
    const database = new Sqlite(at("store.sqlite"));
    database.pragma("foreign_keys = OFF");
    database.exec(text);
    database.close();
  }
  const found = async () =>
    must(await examineFolder(at())).findings.map(({ severity, code, where }) => `${severity} ${code} ${where}`);

  it("tells where list and database of what was erased differ: a restore goes by the list", async () => {
    const list = pathsOf(at()).erasures;
    for (const seq of [5, 7]) {
      const what = { kid: devices[0]!.identity.kid, from: seq, to: seq, reason: "asked for", by: "test" };
      must(await eraseInFolder(at(), what, { decided: true, ...started.where }));
    }
    assert.deepEqual(await found(), []);
    const whole = readFileSync(list, "utf8");
    const [first] = whole.split("\n");
    for (const [text, severity] of [
      ["", "recovers ERASURE_UNFINISHED"],
      [`${first}\n`, "recovers ERASURE_UNFINISHED"],
      [whole.replace("asked for", "asked far"), "damaged ERASURES_CORRUPT"],
    ] as const) {
      writeFileSync(list, text);
      assert.deepEqual(await found(), [`${severity} log/lock/erasures`], text);
    }
    rmSync(list);
    assert.deepEqual(await found(), ["recovers ERASURE_UNFINISHED log/lock/erasures"]);
    writeFileSync(list, whole);
    assert.deepEqual(await found(), []);
  });

  it("a whole one is clean; progress is told", async () => {
    const heard: string[] = [];
    const examined = must(
      await examineFolder(at(), { onProgress: (part, done, all) => heard.push(`${part} ${done}/${all}`) }),
    );
    assert.deepEqual(examined.findings, []);
    assert.deepEqual([examined.records, examined.devices, examined.tree!.size, examined.running], [302, 2, 303, false]);
    assert.ok(heard.includes("log 2/2") && heard.includes("chains 2/2"), heard.join());
  });

  it("plays as a manual would print it", () => {
    play(
      `
$ tallystick fsck relay
relay relay.example/test, stopped
log of 303 entries in 2 bundles
database of 302 records of 2 devices

verdict: clean
[0]
$ tallystick fsck nothing-there
tallystick fsck: nothing-there: FILE_UNREADABLE: …
[2]
`,
      folder.path,
    );
    flip("log/public/tile/0/000");
    play(
      `
$ tallystick fsck relay
relay relay.example/test, stopped
log of 303 entries in 2 bundles
database of 302 records of 2 devices

damaged    log/public/tile/0/000: LOG_TILE_CORRUPT: expected a tile of root …, received one of …; restore the file from a mirror or backup, or stop the relay and run tallystick fsck --repair, which makes it again from what is left: the root says which bytes are right

verdict: damaged
[1]
$ tallystick fsck relay --repair
relay relay.example/test, stopped
log of 303 entries in 2 bundles
database of 302 records of 2 devices
repaired log/public/tile/0/000

verdict: clean
[0]
$ tallystick fsck relay --json
{
  "folder": "relay",
  "verdict": "clean",
…
}
[0]
$ tallystick fsck .
tallystick fsck: .: DATA_FOLDER_FOREIGN: the folder is not a relay's, and not blank (expected relay.json in ., found relay; a relay's data is in relay); …
[2]
`,
      folder.path,
    );
  });

  for (const [what, damage, expected] of [
    ["a bundle", () => flip("log/public/tile/entries/000"), "damaged LOG_TILE_CORRUPT log/public/tile/entries/000"],
    [
      "a bundle gone",
      () => rmSync(at("log/public/tile/entries/000")),
      "damaged LOG_TILE_MISSING log/public/tile/entries/000",
    ],
    ["the right edge", () => flip("log/public/tile/1/000.p/1"), "damaged LOG_TILE_CORRUPT log/public/tile/1/000.p/1"],
    [
      "the published checkpoint",
      () => flip("log/public/checkpoint"),
      "recovers CHECKPOINT_MALFORMED log/public/checkpoint",
    ],
    ["the lock", () => flip("log/lock/head"), "damaged LOG_LOCK_CORRUPT log/lock/head"],
    ["the lock gone", () => rmSync(at("log/lock/head")), "damaged LOG_LOCK_MISSING log/lock/head"],
    ["the key's memory", () => flip("log/key.signed"), "damaged LOG_SIGNER_STATE_CORRUPT log/key.signed"],
    ["the memory gone", () => rmSync(at("log/key.signed")), "damaged LOG_SIGNER_STATE_CORRUPT log/key.signed"],
    ["the log's key", () => flip("log/key"), "damaged LOG_KEY_MALFORMED log/key"],
    [
      "the device-facing key gone",
      () => rmSync(at("device-facing.key")),
      "damaged RELAY_KEY_MISSING device-facing.key",
    ],
    [
      "a key that others can read",
      () => chmodSync(at("device-facing.key"), 0o644),
      "damaged RELAY_KEY_UNSAFE device-facing.key",
    ],
    [
      "statements of no meaning",
      () => writeFileSync(at("relay-keys.cborseq"), "x"),
      "damaged RELAY_FOREIGN relay-keys.cborseq",
    ],
    ["the database gone", () => rmSync(at("store.sqlite")), "damaged STORE_MISSING store.sqlite"],
    [
      "the database cut",
      () => writeFileSync(at("store.sqlite"), readFileSync(at("store.sqlite")).subarray(0, 8192)),
      "damaged STORE_CORRUPT store.sqlite",
    ],
    ["a database of a newer version", () => sql("PRAGMA user_version = 99"), "damaged STORE_NEWER store.sqlite"],
    [
      "a database of an older version",
      () => sql("PRAGMA user_version = 1"),
      "unexamined STORE_UNEXAMINED store.sqlite",
    ],
    [
      "a row's bytes",
      () => sql("UPDATE records SET bytes = zeroblob(90) WHERE device = 1 AND seq = 9"),
      /^damaged STORE_CORRUPT store.sqlite device \w{16} seq 9$/,
    ],
    [
      "a row gone",
      () => sql("DELETE FROM records WHERE device = 1 AND seq = 9"),
      /^damaged STORE_INCOHERENT store.sqlite device \w{16} seq 9$/,
    ],
    [
      "a row of another chain",
      () => sql("UPDATE records SET device = 2, seq = 900 WHERE device = 1 AND seq = 150"),
      /^damaged STORE_INCOHERENT store.sqlite device \w{16} seq 900$/,
    ],
    [
      "an index",
      () => sql("UPDATE records SET entry = 9999 WHERE entry = 20"),
      "damaged STORE_INCOHERENT store.sqlite records entry 20",
    ],
    ["indices beyond the log", () => sql("UPDATE logged SET size = 10000"), "damaged LOG_BEHIND store.sqlite"],
    ["a database that is behind", () => sql("UPDATE logged SET size = 291"), "recovers STORE_INCOHERENT store.sqlite"],
    [
      "a hole that is none",
      () => sql("INSERT INTO holes VALUES (1, 5, 6)"),
      /^damaged STORE_INCOHERENT store.sqlite device \w{16} seq 5$/,
    ],
    [
      "a device's key",
      () => sql("UPDATE devices SET kid = zeroblob(8) WHERE device = 2"),
      "damaged STORE_CORRUPT store.sqlite devices device 2",
    ],
    [
      "a fork that is none",
      () => sql("INSERT INTO forks SELECT id, device, seq, bytes, 0 FROM records WHERE seq = 3 AND device = 1"),
      /^damaged STORE_INCOHERENT store.sqlite device \w{16} seq 3$/,
    ],
    [
      "a revocation of nothing",
      () => sql("INSERT INTO revocations VALUES (1, 4, x'00', 0)"),
      /^damaged STORE_INCOHERENT store.sqlite device \w{16} seq 4$/,
    ],
  ] as const)
    it(`finds ${what}`, async () => {
      damage();
      const findings = await found();
      const fits = findings.some((line) => (typeof expected === "string" ? line === expected : expected.test(line)));
      assert.ok(fits, `expected ${expected}, received\n${findings.join("\n")}`);
    });

  it("tells two histories apart from damage", async () => {
    const other = await StartedRelay.start();
    await other.relay.close();
    // A relay of another key is no fork: it is foreign.
    writeFileSync(at("log/lock/head"), readFileSync(join(other.folder, "log/lock/head")));
    assert.deepEqual(await found(), ["damaged LOG_LOCK_CORRUPT log/lock/head"]);
    await other.close();
    // Two copies of one folder went on with different records, each under the one key.
    writeFileSync(at("log/lock/head"), readFileSync(join(started.folder, "log/lock/head")));
    const copy = temporaryFolder();
    cpSync(started.folder, copy.path, { recursive: true });
    for (const [dataDir, device] of [
      [at(), devices[0]!],
      [copy.path, devices[1]!],
    ] as const) {
      const relay = must(await Relay.open({ dataDir }));
      device.appendReading(1);
      await device.send(relay.url, device.chain.length - 1);
      assert.ok((await relay.log.sequence()).ok);
      await relay.close();
    }
    assert.deepEqual(await found(), []);
    writeFileSync(at("log/lock/head"), readFileSync(join(copy.path, "log/lock/head")));
    assert.deepEqual(await found(), ["damaged LOG_FORKED log"]);
    copy.remove();
  });

  it("beside a relay that runs: only read, and nothing is wrong", async () => {
    const running = await StartedRelay.start();
    const device = await running.device();
    device.appendReadings(40);
    device.read(await device.send(running.url), running.key);
    const examined = must(await examineFolder(running.folder));
    assert.equal(examined.running, true);
    assert.deepEqual(examined.findings, []);
    const repair = await repairFolder(running.folder);
    assert.equal(repair.ok ? "ok" : repair.failure.code, "DATA_FOLDER_LOCKED");
    await running.close();
  });

  it("repairs what it can show to be right: files from the database, records from the log, and no more", async () => {
    flip("log/public/tile/entries/000", 30_000);
    rmSync(at("log/public/tile/1"), { recursive: true });
    sql("UPDATE records SET bytes = zeroblob(90) WHERE entry = 300");
    sql("INSERT INTO ids VALUES (0, zeroblob(8), 1, 5)");
    const repaired = must(await repairFolder(at()));
    assert.deepEqual([...repaired.repaired].sort(), [
      "log/public/tile/1/000.p/1",
      "log/public/tile/entries/000",
      "store.sqlite ids generation 0",
      "store.sqlite records entry 300",
    ]);
    assert.deepEqual(repaired.after.findings, []);
    // The same record in both: nobody knows its bytes any more.
    flip("log/public/tile/entries/000", 30_000);
    sql("UPDATE records SET bytes = zeroblob(90) WHERE entry < 256");
    const whole = readFileSync(at("log/public/tile/entries/000"));
    const left = must(await repairFolder(at()));
    assert.deepEqual(left.repaired, []);
    assert.equal(left.refused?.ok, false);
    assert.ok(left.after.findings.length > 0);
    assert.deepEqual(readFileSync(at("log/public/tile/entries/000")), whole);
    play(
      `
$ tallystick fsck relay --repair
…
damaged    log/public/tile/entries/000: LOG_TILE_CORRUPT: …; a repair cannot make it again: restore the file from a mirror of the log, or run tallystick restore
…
damaged    store.sqlite device …: STORE_CORRUPT: …; a repair cannot put it right: move store.sqlite aside with its -wal, and run tallystick restore with a backup
…
not repaired: what is left gives …
…
verdict: damaged
[1]
`,
      folder.path,
    );
  });
});
