import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SCRUB_PERIOD_MS } from "../../../hosts/relay/scrubbing.js";
import { type FixtureDevice, get } from "../../fixtures/device.js";
import { StartedRelay } from "../started.js";
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
