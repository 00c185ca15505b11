import assert from "node:assert/strict";
import { join } from "node:path";
import { pino } from "pino";
import { toHex } from "tallystick/bytes/bytes";
import { headOf } from "tallystick/chain/chain";
import { encodeGap } from "tallystick/record/gap";
import { GapBuilder } from "tallystick/record/gap-summary";
import { encodeMark } from "tallystick/record/payload";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { decideErasure, planErasure } from "../../../hosts/relay/erase.js";
import { eraseInFolder } from "../../../hosts/relay/erase-folder.js";
import { Relay } from "../../../hosts/relay/relay.js";
import type { StoreOptions } from "../../../hosts/relay/store/open.js";
import { type Answer, FixtureDevice, get } from "../../fixtures/device.js";
import { filesWith } from "../files-with.js";
import { ask, operatorToken } from "../operator/operators.js";
import { failureOf, must, ORIGIN, pool, StartedRelay } from "../started.js";
import { PASSWORD, PostgresServer, programs } from "./server.js";

const { sha256 } = relayCrypto;
const BACK_MAX_MS = 30_000;
const LOOK_MS = 50;

/** A server that goes away under a relay, and comes back: what is said meanwhile, and what becomes of it. */
(programs() ? describe : describe.skip)("relay: PostgreSQL away for a while", function () {
  this.timeout(120_000);
  let server: PostgresServer;
  let store: StoreOptions;
  let name: string;
  let started: StartedRelay;
  let ingest: Relay;
  let device: FixtureDevice;
  const lines: string[] = [];

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.close());
  beforeEach(async () => {
    lines.length = 0;
    name = await server.database();
    store = { url: server.url(name) };
    const logger = pino({ level: "info", messageKey: "event" }, { write: (line: string) => void lines.push(line) });
    started = await StartedRelay.start({ store, logger });
    ingest = must(await Relay.open({ dataDir: started.folder, store, role: "ingest", pool }));
    device = await started.device();
    device.appendReadings(20);
    device.read(await device.send(started.url), started.key);
    await started.settled();
  });
  afterEach(async () => {
    if (!(await server.answers())) await server.run();
    await ingest.close();
    await started.close();
  });

  const urls = () => [started.url, ingest.url];
  const idHex = (seq: number) => toHex(recordId(sha256, device.chain[seq]!));
  const branch = () => device.make(Kind.mark, encodeMark({}), headOf(sha256, device.parse(device.chain[9]!)));

  async function until(isSo: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + BACK_MAX_MS;
    while (!(await isSo())) {
      assert.ok(performance.now() < deadline, "it does not come to be so");
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Refused for now, in words that say nothing of the server. */
  function waits({ status, problem, headers }: Answer, what: string): void {
    assert.deepEqual([status, problem?.code], [503, "STORE_FAILED"], `${what}: ${JSON.stringify(problem)}`);
    assert.ok(Number(headers.get("retry-after")) > 0, what);
    assert.doesNotMatch(JSON.stringify(problem), new RegExp(`127\\.0\\.0\\.1|${PASSWORD}|${server.port}`), what);
  }

  async function back(): Promise<void> {
    await server.run();
    await ready();
  }

  async function ready(): Promise<void> {
    await until(async () => {
      const answers = await Promise.all(urls().map((url) => get(`${url}/readyz`)));
      return answers.every(({ status }) => status === 200);
    });
  }

  it("refuses for now whatever is brought or asked, serves the log, and goes on by itself", async () => {
    const token = operatorToken(started, "admin");
    await server.stop("SIGQUIT");
    for (const url of urls()) {
      device.appendReading(1);
      waits(await device.send(url, 21), "records");
      waits(await device.sendBytes(url, branch()), "another branch");
      waits(await device.askHead(url), "a head");
      waits(await new FixtureDevice({ crypto: relayCrypto }).enrol(url, ORIGIN, "0".repeat(32)), "an enrolment");
      for (const path of ["", "/receipt", "/evidence"])
        waits(await get(`${url}/v1/records/${idHex(3)}${path}`), `a record's ${path}`);
      waits(await get(`${url}/v1/devices`), "devices");
      const ready = await get(`${url}/readyz`);
      assert.deepEqual([ready.status, ready.problem?.code], [503, "STORE_FAILED"], JSON.stringify(ready.problem));
      assert.doesNotMatch(JSON.stringify(ready.problem), new RegExp(`127\\.0\\.0\\.1|${PASSWORD}`));
      for (const path of ["/livez", "/checkpoint", "/tile/0/000.p/22", "/v1/relay"])
        assert.equal((await get(`${url}${path}`)).status, 200, path);
    }
    const asked = await ask(started.url, "GET", "/v1/operator/devices", token);
    assert.deepEqual([asked.status, asked.body.code], [503, "STORE_FAILED"]);
    await back();
    device.read(await device.send(ingest.url, 21), started.key);
    await started.settled();
    assert.equal(started.relay.store.forks(1).length, 0, "what was refused was not kept");
    assert.equal((await get(`${ingest.url}/v1/records/${idHex(21)}/receipt`)).status, 200);
    assert.doesNotMatch(lines.join(""), new RegExp(PASSWORD));
    assert.ok(lines.every((line) => !line.includes('"damage found"')));
  });

  it("keeps a fork once, and a gap, where each was brought before, while and after it was away", async () => {
    device.appendReadings(6);
    const builder = new GapBuilder(sha256, 21);
    for (let seq = 21; seq <= 23; seq++)
      must(builder.add(recordId(sha256, device.chain[seq]!), device.parse(device.chain[seq]!)));
    device.append(Kind.gap, encodeGap(builder.build()));
    const gap = device.chain[27]!;
    await server.stop("SIGQUIT");
    waits(await device.sendBytes(ingest.url, gap, ...device.chain.slice(24)), "a gap");
    await back();
    for (const url of urls()) device.read(await device.sendBytes(url, gap, ...device.chain.slice(24)), started.key);
    assert.deepEqual(
      started.relay.store.gaps.holes(1).map(({ first, last }) => [first, last]),
      [[21, 23]],
    );
    const other = branch();
    assert.equal((await device.sendBytes(ingest.url, other)).problem?.code, "CHAIN_FORK");
    await server.stop("SIGKILL");
    waits(await device.sendBytes(started.url, other), "another branch");
    await back();
    for (const url of urls()) assert.equal((await device.sendBytes(url, other)).status, 409);
    assert.equal(started.relay.store.forks(1).length, 1);
    await started.settled();
    assert.equal(started.relay.log.head.size, started.relay.store.countRecords() + 1);
  });

  it("finishes an erasure that it went away in the middle of, and gives nobody the bytes meanwhile", async () => {
    const body = device.chain[7]!;
    const request = { kid: device.identity.kid, from: 7, to: 7, reason: "asked", by: "operator" };
    const { store: held } = started.relay;
    decideErasure(held, must(planErasure({ store: held, crypto: relayCrypto }, request)), Date.now());
    await server.stop("SIGQUIT");
    const failed = failureOf(
      await eraseInFolder(started.folder, request, { decided: true, store: { ...store, tries: 1 } }),
    );
    assert.equal(failed.code, "STORE_UNREACHABLE");
    waits(await get(`${started.url}/v1/records/${idHex(7)}`), "a record");
    await server.run();
    await until(async () => (await server.sql(name, "SELECT 1 FROM erasures WHERE done_at_ms IS NOT NULL")).length > 0);
    await ready();
    for (const url of urls()) {
      assert.equal((await get(`${url}/v1/records/${idHex(7)}`)).problem?.code, "RECORD_ERASED");
      assert.equal((await get(`${url}/v1/records/${idHex(8)}/evidence`)).status, 200);
    }
    assert.deepEqual(filesWith(started.folder, [body]), []);
    await server.sql(name, "CHECKPOINT");
    assert.deepEqual(filesWith(join(server.folder, "data", "base"), [body]), []);
    device.appendReading(1);
    device.read(await device.send(ingest.url, 21), started.key);
  });
});
