import assert from "node:assert/strict";
import { closeSync, cpSync, openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { pathsOf } from "../../hosts/relay/folder.js";
import { Relay } from "../../hosts/relay/relay.js";
import { PAGES_AT_ONCE_MAX_BYTES, PageCheck, pagesCanWait } from "../../hosts/relay/store/pages.js";
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

  it("after a stop in order: it serves, looks first of all, and then takes nothing more in", async () => {
    damage();
    const relay = must(await Relay.open({ dataDir: folder.path }));
    try {
      assert.equal((await get(`${relay.url}/readyz`)).status, 200);
      assert.equal((await device.send(relay.url, 11, 12)).status, 200);
      await relay.scrub.round();
      const ready = await get(`${relay.url}/readyz`);
      assert.deepEqual([ready.status, ready.problem?.code], [503, "STORE_CORRUPT"]);
      assert.match(String(ready.problem?.["detail"]), /quick_check/);
      assert.equal((await device.send(relay.url, 13, 14)).problem?.code, "STORE_CORRUPT");
    } finally {
      await relay.close();
    }
    const again = must(await Relay.open({ dataDir: folder.path }));
    await again.scrub.round();
    assert.equal((await get(`${again.url}/readyz`)).problem?.code, "STORE_CORRUPT", "still so after a restart");
    await again.close();
  });

  it("after a stop in order, with nothing wrong: it stays well", async () => {
    const relay = must(await Relay.open({ dataDir: folder.path }));
    await relay.scrub.round();
    assert.equal((await get(`${relay.url}/readyz`)).status, 200);
    assert.equal((await device.send(relay.url, 11, 12)).status, 200);
    await relay.close();
  });

  it("after the power failed: it refuses to start", async () => {
    const relay = must(await Relay.open({ dataDir: folder.path }));
    assert.equal((await device.send(relay.url, 11, 12)).status, 200);
    const crashed = temporaryFolder();
    cpSync(folder.path, crashed.path, { recursive: true, filter: (path) => !path.endsWith(".lock") });
    await relay.close();
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
    const relay = must(await Relay.open({ dataDir: folder.path }));
    const round = relay.scrub.round();
    await relay.close();
    await round;
    assert.deepEqual(relay.scrub.findings, [], "it was not given the time");
    const again = must(await Relay.open({ dataDir: folder.path }));
    await again.scrub.round();
    assert.equal(again.scrub.findings[0]?.code, "STORE_CORRUPT");
    await again.close();
  });

  it("tells what is wrong from what it could not look at", async () => {
    const at = (name: string) => join(folder.path, name);
    await assert.rejects(new PageCheck(at("none.sqlite")).run(), /cannot be looked at: unable to open database file/);
    writeFileSync(at("other.sqlite"), Buffer.alloc(8192, 0x5a));
    assert.match((await new PageCheck(at("other.sqlite")).run())!, /file is not a database/);
  });
});
