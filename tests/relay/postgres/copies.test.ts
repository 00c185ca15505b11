import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { toHex } from "tallystick/bytes/bytes";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { eraseInFolder, listErasures } from "../../../hosts/relay/erase-folder.js";
import { Relay } from "../../../hosts/relay/relay.js";
import { type FixtureDevice, get } from "../../fixtures/device.js";
import { filesWith } from "../files-with.js";
import { failureOf, must, StartedRelay, temporaryFolder } from "../started.js";
import { PASSWORD, PostgresServer, programs } from "./server.js";

const run = promisify(execFile);
const { sha256 } = relayCrypto;
const bin = programs();
const hasDump = bin !== undefined && ["pg_dump", "pg_restore"].every((name) => existsSync(join(bin, name)));

/** Copies of the database by PostgreSQL's own programs, as store/postgres/README.md says. */
(hasDump ? describe : describe.skip)("relay: copies of its database in PostgreSQL", function () {
  this.timeout(120_000);
  let server: PostgresServer;
  let folder: { readonly path: string; remove(): void };
  let name: string;
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.close());
  beforeEach(async () => {
    folder = temporaryFolder();
    name = await server.database();
    started = await StartedRelay.start({ store: { url: server.url(name) } });
    device = await started.device();
  });
  afterEach(async () => {
    await started.close();
    folder.remove();
  });

  const environment = { ...process.env, PGPASSWORD: PASSWORD };
  const connection = () => ["-h", "127.0.0.1", "-p", String(server.port), "-U", "relay"];
  const dumpFile = () => join(folder.path, "store.dump");
  const dump = () => run(join(bin!, "pg_dump"), ["-Fc", ...connection(), "-f", dumpFile(), name], { env: environment });

  /** The dump in a blank database of its own, by which the relay is then started. */
  async function restored(): Promise<string> {
    const copy = await server.database();
    await run(join(bin!, "pg_restore"), [...connection(), "--exit-on-error", "-d", copy, dumpFile()], {
      env: environment,
    });
    return copy;
  }

  async function send(count: number): Promise<void> {
    const first = device.chain.length;
    device.appendReadings(count);
    device.read(await device.send(started.url, first), started.key);
  }

  async function proved(seq: number): Promise<void> {
    const { did } = JSON.parse(Buffer.from((await get(`${started.url}/v1/devices/${device.kid}`)).bytes).toString());
    const require = ["signature", "device", "logged"];
    const policy = JSON.stringify({ log: started.relay.identity.logKey, devices: [did], require });
    const { bytes } = await get(`${started.url}/v1/records/${toHex(recordId(sha256, device.chain[seq]!))}/evidence`);
    assert.equal(must(verifyEvidence(relayCrypto, bytes, must(readPolicy(sha256, policy)))).verdict, "proved");
  }

  it("made while records come in are put back beside the newer log, which tells them what they lack", async () => {
    await send(10);
    await started.settled();
    // The dump is of one moment, wherever in a batch that falls.
    let isOver = false;
    const dumping = dump().finally(() => {
      isOver = true;
    });
    while (!isOver) await send(5);
    await dumping;
    const dumped = device.chain.length;
    await send(300);
    await started.settled();
    const records = started.relay.store.countRecords();
    await started.relay.close();

    const copy = await restored();
    const [{ count } = {}] = await server.sql(copy, "SELECT count(*) FROM records");
    assert.ok(Number(count) > 10 && Number(count) <= dumped, `${count} of ${dumped} records when the dump was done`);
    started.store = { url: server.url(copy) };
    await started.reopen({ store: started.store });
    assert.equal(started.relay.store.countRecords(), records);
    const { received, logged } = device.read(await device.askHead(started.url), started.key);
    assert.deepEqual([received?.seq, logged?.seq], [device.head.seq, device.head.seq]);
    await send(3);
    await started.settled();
    for (const seq of [0, 9, dumped + 1, device.chain.length - 1]) await proved(seq);
    // And with another process beside it.
    const ingest = must(await Relay.open({ dataDir: started.folder, store: started.store, role: "ingest" }));
    device.appendReading(1);
    device.read(await device.send(ingest.url, device.chain.length - 1), started.key);
    await ingest.close();
  });

  it("that are newer than the log are refused, and nothing is signed", async () => {
    await send(10);
    await started.settled();
    await started.relay.close();
    const older = join(folder.path, "older");
    cpSync(started.folder, older, { recursive: true });
    await started.reopen();
    await send(10);
    await started.settled();
    await dump();
    await started.relay.close();
    const store = { url: server.url(await restored()) };
    assert.equal(failureOf(await Relay.open({ dataDir: older, store })).code, "LOG_BEHIND");
    await started.reopen();
  });

  it("from before an erasure have the bodies, which the start takes out of the database that they are put back in", async () => {
    await send(20);
    await started.settled();
    await dump();
    const request = { kid: device.identity.kid, from: 7, to: 8, reason: "asked", by: "operator" };
    must(await eraseInFolder(started.folder, request, { decided: true, ...started.where }));
    await started.relay.close();
    const copy = await restored();
    const files = join(server.folder, "data");
    const bodies = [7, 8].map((seq) => device.chain[seq]!.slice(-64));
    await server.sql(copy, "CHECKPOINT");
    assert.notDeepEqual(filesWith(join(files, "base"), bodies), [], "the search finds what is there");
    started.store = { url: server.url(copy) };
    await started.reopen({ store: started.store });
    const found = await server.sql(copy, "SELECT seq FROM records WHERE length(bytes) = 0 ORDER BY seq");
    assert.deepEqual(
      found.map(({ seq }) => Number(seq)),
      [7, 8],
    );
    await server.sql(copy, "CHECKPOINT");
    assert.deepEqual(filesWith(join(files, "base"), bodies), []);
    assert.equal(must(await listErasures(started.folder, started.store)).length, 1);
    await proved(9);
    // Whoever copies the database from here on has none of them.
    rmSync(dumpFile());
    await run(join(bin!, "pg_dump"), ["-Fp", ...connection(), "-f", dumpFile(), copy], { env: environment });
    const hex = (seq: number) => new Uint8Array(Buffer.from(toHex(device.chain[seq]!.slice(-64)), "ascii"));
    assert.deepEqual(filesWith(folder.path, [hex(7), hex(8)]), []);
    assert.notDeepEqual(filesWith(folder.path, [hex(9)]), [], "the search finds what is there");
  });
});

if (programs() && !hasDump) console.warn("pg_dump and pg_restore are not installed: copies by them were not tried");
