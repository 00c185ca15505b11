import assert from "node:assert/strict";
import { closeSync, cpSync, openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { pathsOf } from "../../hosts/relay/folder.js";
import { Relay } from "../../hosts/relay/relay.js";
import { PAGES_AT_ONCE_MAX_BYTES, PageCheck, pagesCanWait } from "../../hosts/relay/store/pages.js";
import { SCHEMA_VERSION } from "../../hosts/relay/store/schema.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { sqliteOf } from "./dump.js";
import { failureOf, must, StartedRelay, temporaryFolder } from "./started.js";

/** In the middle of what makes the database large; nothing but a look at every page comes by there. */
const DAMAGED_AT = PAGES_AT_ONCE_MAX_BYTES / 2;

/** When a relay looks at its database's pages: at once, or beside service. */
describe("relay: the look at every page", function () {
  this.timeout(60_000);
  let template: string;
  let removeTemplate: () => void;
  let folder: ReturnType<typeof temporaryFolder>;
  let device: FixtureDevice;
  let file: string;

  before(async () => {
    const started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(20);
    device.read(await device.send(started.url, 1, 10), started.key);
    const database = sqliteOf(started.relay.store);
    database.exec("CREATE TABLE filler (bytes BLOB)");
    database.prepare("INSERT INTO filler VALUES (zeroblob(?))").run(PAGES_AT_ONCE_MAX_BYTES + 2 ** 20);
    await started.relay.close();
    const kept = temporaryFolder();
    [template, removeTemplate] = [kept.path, kept.remove];
    cpSync(started.folder, template, { recursive: true });
    rmSync(started.folder, { recursive: true });
  });
  after(() => removeTemplate());
  beforeEach(() => {
    folder = temporaryFolder();
    cpSync(template, folder.path, { recursive: true });
    file = pathsOf(folder.path).store;
  });
  afterEach(() => folder.remove());

  /** Overwrites the number of the page that comes after one of a long value. */
  function damage(): void {
    const database = new Sqlite(file, { readonly: true });
    const pageBytes = database.pragma("page_size", { simple: true }) as number;
    database.close();
    const opened = openSync(file, "r+");
    writeSync(opened, Buffer.alloc(4, 0xee), 0, 4, DAMAGED_AT - (DAMAGED_AT % pageBytes));
    closeSync(opened);
  }

  it("waits where the file is large and was closed in order, and nowhere else", () => {
    assert.equal(statSync(`${file}-wal`, { throwIfNoEntry: false }), undefined, "a relay that stops leaves none");
    assert.equal(pagesCanWait(file), true);
    writeFileSync(`${file}-wal`, "");
    assert.equal(pagesCanWait(file), true);
    writeFileSync(`${file}-wal`, "x");
    assert.equal(pagesCanWait(file), false);
    rmSync(`${file}-wal`);
    truncateSync(file, PAGES_AT_ONCE_MAX_BYTES);
    assert.equal(pagesCanWait(file), false);
    rmSync(file);
    assert.equal(pagesCanWait(file), false);
  });

  /** What a relay of the folder does from its start to its stop. */
  async function serving(run: (relay: Relay) => Promise<void>): Promise<void> {
    const relay = must(await Relay.open({ dataDir: folder.path }));
    try {
      await run(relay);
    } finally {
      await relay.close();
    }
  }

  it("after a stop in order: it serves, looks first of all, and then takes nothing more in", async () => {
    damage();
    await serving(async ({ url, scrub }) => {
      assert.equal((await get(`${url}/readyz`)).status, 200);
      assert.equal((await device.send(url, 11, 12)).status, 200);
      await scrub.round();
      const ready = await get(`${url}/readyz`);
      assert.deepEqual([ready.status, ready.problem?.code], [503, "STORE_CORRUPT"]);
      assert.match(String(ready.problem?.["detail"]), /quick_check/);
      assert.equal((await device.send(url, 13, 14)).problem?.code, "STORE_CORRUPT");
    });
    await serving(async ({ url, scrub }) => {
      await scrub.round();
      assert.equal((await get(`${url}/readyz`)).problem?.code, "STORE_CORRUPT", "still so after a restart");
    });
  });

  it("after a stop in order, with nothing wrong: it stays well", () =>
    serving(async ({ url, scrub }) => {
      await scrub.round();
      assert.equal((await get(`${url}/readyz`)).status, 200);
      assert.equal((await device.send(url, 11, 12)).status, 200);
    }));

  it("after a stop in order, of an older version: it refuses to start, and adds no table", async () => {
    const database = new Sqlite(file);
    database.pragma(`user_version = ${SCHEMA_VERSION - 1}`);
    database.close();
    damage();
    assert.equal(failureOf(await Relay.open({ dataDir: folder.path })).code, "STORE_CORRUPT");
    const after = new Sqlite(file, { readonly: true });
    assert.equal(after.pragma("user_version", { simple: true }), SCHEMA_VERSION - 1);
    after.close();
  });

  it("after the power failed: it refuses to start", async () => {
    const crashed = temporaryFolder();
    await serving(async ({ url }) => {
      assert.equal((await device.send(url, 11, 12)).status, 200);
      cpSync(folder.path, crashed.path, { recursive: true, filter: (path) => !path.endsWith(".lock") });
    });
    folder.remove();
    folder = crashed;
    file = pathsOf(folder.path).store;
    assert.notEqual(statSync(`${file}-wal`).size, 0);
    damage();
    assert.equal(failureOf(await Relay.open({ dataDir: folder.path })).code, "STORE_CORRUPT");
  });

  it("can be ended at any moment, and is begun again by the next start", async () => {
    const check = new PageCheck(file);
    const looking = check.run();
    check.stop();
    await assert.rejects(looking);
    assert.equal(await check.run(), undefined);

    damage();
    let round: Promise<void> | undefined;
    await serving(async ({ scrub }) => {
      round = scrub.round();
    });
    await round;
    await serving(async ({ scrub }) => {
      await scrub.round();
      assert.equal(scrub.findings[0]?.code, "STORE_CORRUPT");
    });
  });

  it("tells what is wrong from what it could not look at", async () => {
    const at = (name: string) => join(folder.path, name);
    await assert.rejects(new PageCheck(at("none.sqlite")).run(), /cannot be looked at: unable to open database file/);
    writeFileSync(at("other.sqlite"), Buffer.alloc(8192, 0x5a));
    assert.match((await new PageCheck(at("other.sqlite")).run())!, /file is not a database/);
  });
});
