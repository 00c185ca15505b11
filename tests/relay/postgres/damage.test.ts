import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { headOf } from "tallystick/chain/chain";
import { encodeMark } from "tallystick/record/payload";
import { Kind } from "tallystick/record/record";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { eraseInFolder } from "../../../hosts/relay/erase-folder.js";
import { examineFolder } from "../../../hosts/relay/examine.js";
import { SCRUB_PERIOD_MS } from "../../../hosts/relay/scrubbing.js";
import { openPostgres } from "../../../hosts/relay/store/postgres/database.js";
import { parsePlace } from "../../../hosts/relay/store/postgres/place.js";
import { SCHEMA_VERSION } from "../../../hosts/relay/store/schema.js";
import { type FixtureDevice, get } from "../../fixtures/device.js";
import { TALLYSTICK } from "../../tools/session.js";
import { must, StartedRelay } from "../started.js";
import { PASSWORD, PostgresServer, programs } from "./server.js";

const HOUR_MS = 3_600_000;

/** What a relay says of damage in a database that is none of its files. */
(programs() ? describe : describe.skip)("relay: damage in PostgreSQL", function () {
  this.timeout(60_000);
  let server: PostgresServer;
  let name: string;
  let started: StartedRelay;
  let device: FixtureDevice;
  let nowMs: number;

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.close());
  beforeEach(async () => {
    nowMs = Date.now();
    name = await server.database();
    started = await StartedRelay.start({
      store: { url: server.url(name) },
      nowMs: () => nowMs,
      batchIntervalMs: HOUR_MS,
    });
    device = await started.device({}, nowMs);
    device.appendReadings(20);
    device.read(await device.send(started.url), started.key);
    await started.settled();
  });
  afterEach(() => started.close());

  async function found(): Promise<string> {
    nowMs += SCRUB_PERIOD_MS;
    await started.relay.scrub.round();
    const { code, detail } = (await get(`${started.url}/readyz`)).problem ?? {};
    device.appendReading(1);
    assert.equal((await device.send(started.url, device.chain.length - 1)).status, code === undefined ? 200 : 500);
    return `${code} ${detail}`;
  }

  it("names the table and the row where bytes are not those of their id, or stand elsewhere than in the log", async () => {
    await server.sql(name, "UPDATE records SET bytes = set_byte(bytes, 30, get_byte(bytes, 30) # 1) WHERE seq = 7");
    assert.match(await found(), /^STORE_CORRUPT postgres records device 1 seq 7: the stored bytes are those of /);
  });

  it("is found by an examination, too, beside the relay or without it, which writes nothing", async () => {
    const store = { url: server.url(name) };
    const other = device.make(Kind.mark, encodeMark({}), headOf(relayCrypto.sha256, device.parse(device.chain[9]!)));
    assert.equal((await device.sendBytes(started.url, other)).problem?.code, "CHAIN_FORK");
    const request = { kid: device.identity.kid, from: 7, to: 7, reason: "asked", by: "operator" };
    must(await eraseInFolder(started.folder, request, { decided: true, store }));
    const examine = async () => must(await examineFolder(started.folder, { store }));
    const clean = await examine();
    assert.deepEqual([clean.running, clean.findings, clean.records, clean.devices], [true, [], 21, 1]);
    const command = spawnSync(process.execPath, [TALLYSTICK, "fsck", started.folder], {
      encoding: "utf8",
      env: { ...process.env, TALLYSTICK_STORE_URL: store.url },
    });
    assert.deepEqual([command.status, command.stderr], [0, ""], command.stdout);
    assert.match(command.stdout, /\ndatabase of 21 records of 1 devices\n\nverdict: clean\n$/);
    await started.relay.close();
    const stopped = await examine();
    assert.deepEqual([stopped.running, stopped.findings], [false, []]);
    await server.sql(name, "UPDATE records SET bytes = set_byte(bytes, 30, get_byte(bytes, 30) # 1) WHERE seq = 9");
    await server.sql(name, "UPDATE records SET entry = entry + 100 WHERE entry = 13");
    const found = (await examine()).findings.map(({ severity, code, where }) => `${severity} ${code} ${where}`);
    assert.ok(found.includes(`damaged STORE_CORRUPT postgres device ${device.kid} seq 9`), found.join());
    assert.ok(found.includes("damaged STORE_INCOHERENT postgres records entry 13"), found.join());
    // Who may not look, and a server that is away, say nothing of what it holds.
    for (const url of [store.url.replace(PASSWORD, "wrong"), store.url.replace(/:\d+\//, ":1/")]) {
      const unseen = must(await examineFolder(started.folder, { store: { url, tries: 1 } }));
      assert.deepEqual(
        unseen.findings.map(({ severity, code, where }) => [severity, code, where]),
        [["unexamined", "STORE_UNREACHABLE", "postgres"]],
      );
    }
    const place = parsePlace(store.url)!;
    const mark = String((await server.sql(name, "SELECT relay FROM relay_store"))[0]!["relay"]);
    const reader = must(openPostgres({ place, role: "reader" }, mark));
    assert.throws(() => reader.exec("UPDATE logged SET size = 0"), { code: "25006" });
    reader.close();
    await server.sql(name, "UPDATE relay_store SET version = 4");
    const older = must(await examineFolder(started.folder, { store }));
    assert.deepEqual(
      older.findings.map(({ severity, code }) => [severity, code]),
      [["unexamined", "STORE_UNEXAMINED"]],
    );
    await server.sql(name, `UPDATE relay_store SET version = ${SCHEMA_VERSION}`);
    await started.reopen({ store });
  });

  it("names the entry that the log has otherwise", async () => {
    await server.sql(name, "UPDATE records SET entry = entry + 100 WHERE entry = 9");
    await server.sql(name, "UPDATE records SET entry = 9 WHERE entry = 10");
    assert.match(await found(), /^STORE_INCOHERENT postgres records entry 9: expected /);
  });

  it("names the table of a page that PostgreSQL finds damaged, and repeats none of its words", async () => {
    const [{ path } = {}] = await server.sql(name, "SELECT pg_relation_filepath('records') AS path");
    await server.sql(name, "CHECKPOINT");
    await server.stop("SIGINT");
    const file = join(server.folder, "data", String(path));
    const bytes = readFileSync(file);
    bytes.fill(0x5a, 0, 24);
    writeFileSync(file, bytes);
    await server.run();
    // The first look meets the connection that was lost.
    nowMs += SCRUB_PERIOD_MS;
    await started.relay.scrub.round();
    const text = await found();
    assert.match(text, /^STORE_CORRUPT postgres records: PostgreSQL refuses with XX001$/);
    assert.doesNotMatch(text, new RegExp(`${PASSWORD}|base/`));
  });
});
