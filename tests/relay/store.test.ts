import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import fc from "fast-check";
import { headOf } from "tallystick/chain/chain";
import { explain } from "tallystick/codes/codes";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { lockFolder, pathsOf } from "../../hosts/relay/folder.js";
import { newRecord } from "../../hosts/relay/ingest.js";
import { Relay } from "../../hosts/relay/relay.js";
import { SCHEMA_VERSION } from "../../hosts/relay/store/schema.js";
import { FORKS_MAX_PER_DEVICE, Store } from "../../hosts/relay/store/store.js";
import { FixtureDevice, get, post, readingPayload } from "../fixtures/device.js";
import { sqliteOf } from "./dump.js";
import { setBackTo } from "./older-store.js";
import { failureOf, must, ORIGIN, StartedRelay, temporaryFolder } from "./started.js";

/** A relay's data folder with one device of 20 records in it, made once and copied for each test. */
let template: { readonly path: string; remove(): void };
let device: FixtureDevice;
let folder: { readonly path: string; remove(): void };

describe("relay: data folder", () => {
  before(async () => {
    template = temporaryFolder();
    const started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(20);
    device.read(await device.send(started.url), started.key);
    await started.relay.close();
    cpSync(started.folder, template.path, { recursive: true });
    rmSync(started.folder, { recursive: true });
  });
  after(() => template.remove());
  beforeEach(() => {
    folder = temporaryFolder();
    cpSync(template.path, folder.path, { recursive: true });
  });
  afterEach(() => folder.remove());

  /** That the relay refuses to start, and that refusing changes nothing: what a person repairs starts again. */
  async function refuses(code: string, pattern = /./): Promise<void> {
    const failure = failureOf(await Relay.open({ dataDir: folder.path }));
    assert.equal(failure.code, code, failure.detail);
    assert.match(failure.detail, pattern);
    assert.equal(explain(failure).includes("\n"), false, "one line");
  }

  async function starts(): Promise<void> {
    const relay = must(await Relay.open({ dataDir: folder.path }));
    assert.equal(relay.store.countRecords(), 21);
    assert.equal(relay.log.head.size, 22);
    await relay.close();
  }

  const paths = () => pathsOf(folder.path);

  it("goes on where it stopped", starts);

  it("refuses a blank folder, and makes a relay there only when told to", async () => {
    const blank = temporaryFolder();
    const missing = join(blank.path, "missing");
    for (const dataDir of [blank.path, missing]) {
      assert.equal(failureOf(await Relay.open({ dataDir })).code, "DATA_FOLDER_BLANK");
      assert.equal(existsSync(pathsOf(dataDir).identity), false);
      must(await Relay.initialise(dataDir, { origin: ORIGIN }));
      assert.equal(failureOf(await Relay.initialise(dataDir, { origin: ORIGIN })).code, "DATA_FOLDER_TAKEN");
      await must(await Relay.open({ dataDir })).close();
    }
    blank.remove();
  });

  it("makes no relay among someone else's files", async () => {
    const taken = temporaryFolder();
    writeFileSync(join(taken.path, "notes.txt"), "mine");
    assert.equal(failureOf(await Relay.initialise(taken.path, { origin: ORIGIN })).code, "DATA_FOLDER_TAKEN");
    assert.equal(readFileSync(join(taken.path, "notes.txt"), "utf8"), "mine");
    taken.remove();
  });

  it("begins again where making a relay was interrupted, since nothing of it was used", async () => {
    const half = temporaryFolder();
    must(await Relay.initialise(half.path, { origin: ORIGIN }));
    const interrupted = pathsOf(half.path);
    rmSync(interrupted.identity);
    writeFileSync(interrupted.beginning, "");
    rmSync(interrupted.store);
    writeFileSync(`${interrupted.beginning}.new`, "");
    assert.equal(failureOf(await Relay.open({ dataDir: half.path })).code, "DATA_FOLDER_BLANK");
    must(await Relay.initialise(half.path, { origin: ORIGIN }));
    await must(await Relay.open({ dataDir: half.path })).close();
    half.remove();
  });

  it("never takes an old relay for an interrupted beginning", async () => {
    writeFileSync(paths().beginning, "");
    await starts();
    assert.equal(existsSync(paths().beginning), false);
    rmSync(paths().identity);
    assert.equal(failureOf(await Relay.initialise(folder.path, { origin: ORIGIN })).code, "DATA_FOLDER_TAKEN");
  });

  it("refuses a folder whose relay.json is gone, and makes no new relay in it", async () => {
    rmSync(paths().identity);
    await refuses("DATA_FOLDER_INCOMPLETE", /store\.sqlite/);
    assert.equal(failureOf(await Relay.initialise(folder.path, { origin: ORIGIN })).code, "DATA_FOLDER_TAKEN");
  });

  it("names few of the files of a folder that is not a relay's, and the relay below it", () => {
    const strange = temporaryFolder();
    for (let i = 0; i < 190; i++) writeFileSync(join(strange.path, `file-${i}`), "");
    const { code, detail } = failureOf(makeEnrolmentToken(strange.path));
    assert.equal(code, "DATA_FOLDER_FOREIGN");
    assert.match(detail, /found (?:file-\d+, ){4}file-\d+ and 185 more$/);
    mkdirSync(join(strange.path, "relay"));
    writeFileSync(join(strange.path, "relay", "relay.json"), "{}");
    const below = failureOf(makeEnrolmentToken(strange.path)).detail;
    assert.ok(below.endsWith(`and 186 more; a relay's data is in ${join(strange.path, "relay")}`), below);
    strange.remove();
  });

  it("refuses a relay.json that is not one", async () => {
    for (const text of ["", "{", "{}", '{"format":2}', "null"]) {
      writeFileSync(paths().identity, text);
      await refuses("RELAY_FOREIGN");
    }
  });

  it("refuses another relay's name", async () => {
    const failure = failureOf(await Relay.open({ dataDir: folder.path, origin: "relay.example/other" }));
    assert.equal(failure.code, "RELAY_FOREIGN");
  });

  it("refuses a missing database, and makes none", async () => {
    const whole = readFileSync(paths().store);
    rmSync(paths().store);
    await refuses("STORE_MISSING");
    assert.equal(existsSync(paths().store), false);
    writeFileSync(paths().store, whole);
    await starts();
  });

  it("refuses a database of a newer version and leaves it as it is", async () => {
    const database = new Sqlite(paths().store);
    database.pragma(`user_version = ${SCHEMA_VERSION + 1}`);
    database.close();
    await refuses("STORE_NEWER", /expected schema version \d+ .* found \d+/);
  });

  it("gives a database of version 1 the tables that it lacks", async () => {
    setBackTo(1, paths().store).close();
    await starts();
    await starts();
  });

  it("holds a key back of which a database of version 2 has a fork", async () => {
    const database = setBackTo(2, paths().store);
    const columns = "INSERT INTO forks (id, device, seq, bytes, received_at_ms) VALUES (?, 1, 3, ?, 77)";
    database.prepare(columns).run(Buffer.alloc(32, 9), device.chain[3]!);
    database.exec("UPDATE devices SET state = 'forked'");
    database.close();
    const relay = must(await Relay.open({ dataDir: folder.path }));
    assert.equal(relay.store.standing.heldSinceMs(1), 77);
    await relay.close();
  });

  it("keeps what a database of version 3 holds, logged and not: ids, places and bytes", async () => {
    const database = setBackTo(3, paths().store);
    const { n } = database.prepare("SELECT count(*) AS n FROM records").get() as { n: number };
    // The last three had not been logged, and one had come before another that stands further up.
    database.exec(`UPDATE records SET log_index = NULL WHERE log_index > ${n - 3}`);
    database.close();
    const store = must(Store.open(paths().store));
    assert.equal(store.loggedSize, n - 2);
    for (const [seq, bytes] of device.chain.entries()) {
      const id = recordId(relayCrypto.sha256, bytes);
      const stored = store.recordById(id)!;
      assert.deepEqual([stored.seq, stored.bytes], [seq, new Uint8Array(bytes)]);
      assert.equal(stored.logIndex, seq < n - 3 ? seq + 1 : undefined);
    }
    store.close();
    await starts();
  });

  it("refuses a database of another program", async () => {
    rmSync(paths().store);
    const database = new Sqlite(paths().store);
    database.exec("CREATE TABLE mine (a)");
    database.close();
    await refuses("STORE_CORRUPT", /application id 0/);
  });

  it("refuses an empty, a cut and a garbled database", async () => {
    const whole = readFileSync(paths().store);
    truncateSync(paths().store, 0);
    await refuses("STORE_CORRUPT");
    writeFileSync(paths().store, whole.subarray(0, Math.floor(whole.length / 8192) * 4096));
    await refuses("STORE_CORRUPT");
    writeFileSync(paths().store, Buffer.alloc(whole.length, 0x5a));
    await refuses("STORE_CORRUPT");
    writeFileSync(paths().store, whole);
    await starts();
  });

  it("never serves or logs a record whose bytes changed in the database", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(20), fc.nat(99), async (seq, byte) => {
        const at = join(folder.path, "damaged.sqlite");
        cpSync(paths().store, at);
        const store = must(Store.open(at));
        const [stored] = store.recordsBetween(1, seq, seq);
        const bytes = stored!.bytes.slice();
        bytes[byte]! ^= 0x10;
        store.database.prepare("UPDATE records SET bytes = ? WHERE id = ?").run(bytes, stored!.id);
        store.close();
        const kept = readFileSync(paths().store);
        cpSync(at, paths().store);
        const relay = must(await Relay.open({ dataDir: folder.path, batchIntervalMs: 1 }));
        try {
          const answer = await get(`${relay.url}/v1/devices/${device.kid}/records?from=${seq}&to=${seq}`);
          assert.equal(answer.problem?.code, "STORE_CORRUPT");
          assert.equal(answer.status, 500);
        } finally {
          await relay.close();
          writeFileSync(paths().store, kept);
        }
        assert.equal(relay.log.head.size, 22, "nothing was logged");
      }),
      { numRuns: 5 },
    );
    await starts();
  });

  it("takes in nothing more once it has seen damage, and says so", async () => {
    const relay = must(await Relay.open({ dataDir: folder.path }));
    try {
      relay.store.database.prepare("UPDATE records SET bytes = zeroblob(10) WHERE seq = 5").run();
      const page = `${relay.url}/v1/devices/${device.kid}/records`;
      assert.equal((await get(page)).status, 500);
      const posted = await post(page, Uint8Array.of(0xa0));
      assert.equal(posted.problem?.code, "STORE_CORRUPT");
      assert.ok(Number(posted.headers.get("retry-after")) > 0);
      const ready = await get(`${relay.url}/readyz`);
      assert.equal(ready.status, 503);
      assert.equal(ready.problem?.code, "STORE_CORRUPT");
    } finally {
      await relay.close();
    }
  });

  it("refuses a missing key beside existing data, and makes none", async () => {
    for (const key of [paths().deviceFacingKey, paths().logKey]) {
      const whole = readFileSync(key);
      rmSync(key);
      await refuses("RELAY_KEY_MISSING");
      assert.equal(existsSync(key), false);
      writeFileSync(key, whole, { mode: 0o600 });
    }
    await starts();
  });

  it("refuses a device-facing key that is another's, or no key", async () => {
    const other = temporaryFolder();
    must(await Relay.initialise(other.path, { origin: ORIGIN }));
    writeFileSync(paths().deviceFacingKey, readFileSync(pathsOf(other.path).deviceFacingKey));
    await refuses("RELAY_FOREIGN");
    writeFileSync(paths().deviceFacingKey, "not a key");
    await refuses("KEY_UNREADABLE");
    other.remove();
  });

  it("keeps its keys for itself, and refuses one that others can read", async function () {
    if (process.platform === "win32") this.skip();
    for (const key of [paths().deviceFacingKey, paths().logKey]) {
      assert.equal(statSync(key).mode & 0o777, 0o600);
      chmodSync(key, 0o640);
      await refuses(key === paths().logKey ? "LOG_KEY_UNSAFE" : "RELAY_KEY_UNSAFE", /600/);
      chmodSync(key, 0o600);
    }
    await starts();
  });

  it("refuses a corrupt or missing lock of the log", async () => {
    const lock = join(paths().log, "lock", "head");
    const whole = readFileSync(lock);
    writeFileSync(lock, whole.subarray(0, whole.length - 20));
    await refuses("LOG_LOCK_CORRUPT");
    rmSync(lock);
    await refuses("LOG_LOCK_MISSING");
    writeFileSync(lock, whole);
    await starts();
  });

  it("takes back from its log what an older copy of the database has not", async () => {
    const database = new Sqlite(paths().store);
    database.exec(
      "DELETE FROM records; DELETE FROM ids; UPDATE logged SET size = 0; DELETE FROM tokens; DELETE FROM devices",
    );
    database.close();
    await starts();
    const store = must(Store.open(paths().store));
    const [stored] = store.devicesAfter(new Uint8Array(0), 2);
    assert.deepEqual(stored?.kid, device.identity.kid);
    const chain = [...store.recordsBetween(stored!.device, 0, 1000)];
    assert.deepEqual(
      chain.map(({ bytes }) => bytes),
      device.chain.map((bytes) => new Uint8Array(bytes)),
    );
    assert.deepEqual(
      chain.map(({ logIndex }) => logIndex),
      chain.map((_, i) => i + 1),
    );
    store.close();
  });

  it("makes room for what the log has where an older copy of the database holds records that were never logged", async () => {
    const older = readFileSync(paths().store);
    const other = new FixtureDevice({ crypto: relayCrypto });
    const { token } = must(makeEnrolmentToken(folder.path, { nowMs: Date.now() }));
    other.appendReadings(3);
    const before = must(await Relay.open({ dataDir: folder.path, batchIntervalMs: 1 }));
    assert.equal((await other.enrol(before.url, ORIGIN, token)).status, 200);
    assert.equal((await other.send(before.url)).status, 200);
    await before.close();
    const logged = before.log.head.size;
    writeFileSync(paths().store, older);
    const store = must(Store.open(paths().store));
    const first = device.make(Kind.readings, readingPayload(21.5));
    const head = headOf(relayCrypto.sha256, device.parse(first));
    const own = [first, device.make(Kind.readings, readingPayload(22.5), head)];
    const records = own.map((bytes) => newRecord(device.parse(bytes), recordId(relayCrypto.sha256, bytes)));
    store.transaction(() => store.append(1, records, Date.now()));
    store.close();
    const relay = must(await Relay.open({ dataDir: folder.path, batchIntervalMs: 1 }));
    try {
      const untilMs = performance.now() + 20_000;
      while (relay.log.head.size < logged + own.length && performance.now() < untilMs)
        await new Promise((resolve) => setTimeout(resolve, 5));
      for (const [i, bytes] of [...other.chain, ...own].entries()) {
        const index = logged - other.chain.length + i;
        assert.deepEqual(must(await relay.log.entry(index)), new Uint8Array(bytes));
        const stored = relay.store.recordById(recordId(relayCrypto.sha256, bytes))!;
        assert.deepEqual([stored.logIndex, stored.bytes], [index, new Uint8Array(bytes)]);
      }
    } finally {
      await relay.close();
    }
  });

  it("refuses a database that tells other chains than its log", async () => {
    const database = new Sqlite(paths().store);
    database.exec("DELETE FROM records WHERE seq IN (7, 8); UPDATE logged SET size = 7");
    database.close();
    await refuses("RELAY_FOREIGN", /the log has seq 7 next/);
  });

  it("is of one process at a time", async () => {
    const relay = must(await Relay.open({ dataDir: folder.path }));
    await refuses("DATA_FOLDER_LOCKED");
    await relay.close();
    const lock = must(lockFolder(folder.path));
    await refuses("DATA_FOLDER_LOCKED");
    lock.release();
    await starts();
  });

  it("says that its port is taken, and starts on another", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const failure = failureOf(await Relay.open({ dataDir: folder.path, port }));
    assert.equal(failure.code, "PORT_TAKEN");
    assert.match(explain(failure), /--port/);
    await new Promise((resolve) => server.close(resolve));
    await starts();
  });

  it("says that it cannot listen where it is told to", async () => {
    const failure = failureOf(await Relay.open({ dataDir: folder.path, host: "203.0.113.1" }));
    assert.equal(failure.code, "ADDRESS_UNUSABLE");
  });

  it("says that its folder cannot be written", async () => {
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    const below = failureOf(await Relay.initialise(join(file, "data"), { origin: ORIGIN }));
    assert.equal(below.code, "DATA_FOLDER_UNWRITABLE");
    assert.match(explain(below), /--data/);
    const nowhere = process.platform === "linux" ? "/proc/tallystick" : join(file, "below", "data");
    assert.equal(failureOf(await Relay.initialise(nowhere, { origin: ORIGIN })).code, "DATA_FOLDER_UNWRITABLE");
  });

  it("says that its folder cannot be written, where the system forbids it", async function () {
    // The superuser may write everywhere.
    if (process.platform === "win32" || process.getuid?.() === 0) this.skip();
    chmodSync(folder.path, 0o500);
    await refuses("DATA_FOLDER_UNWRITABLE");
    chmodSync(folder.path, 0o700);
  });

  it("makes tokens only for a relay that is there", () => {
    const blank = temporaryFolder();
    assert.equal(failureOf(makeEnrolmentToken(blank.path)).code, "DATA_FOLDER_BLANK");
    mkdirSync(join(blank.path, "log"));
    assert.equal(failureOf(makeEnrolmentToken(blank.path)).code, "DATA_FOLDER_FOREIGN");
    blank.remove();
  });

  it("writes through to the disk before it goes on", () => {
    const store = must(Store.open(paths().store));
    assert.equal(sqliteOf(store).pragma("journal_mode", { simple: true }), "wal");
    assert.equal(sqliteOf(store).pragma("synchronous", { simple: true }), 2);
    store.close();
  });

  it("keeps a bounded number of a device's forks", () => {
    const store = must(Store.open(paths().store));
    const [stored] = store.devicesAfter(new Uint8Array(0), 1);
    store.transaction(() => {
      for (let i = 0; i < FORKS_MAX_PER_DEVICE + 10; i++) {
        const bytes = Uint8Array.of(i);
        store.keepFork(stored!.device, { seq: 1, id: relayCrypto.sha256(bytes), bytes, closesChain: false }, 0);
      }
    });
    assert.equal(store.forks(stored!.device).length, FORKS_MAX_PER_DEVICE);
    store.close();
  });
});
