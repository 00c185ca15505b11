import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { readBundle } from "tallystick/evidence/bundle";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { anchorBlock, readEvmAnchor } from "tallystick/evidence/evm";
import { readPolicy } from "tallystick/evidence/policy";
import { parseVerifierKey } from "tallystick/log/note";
import { verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { compileAnchor } from "../../../hosts/evm/compile.js";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { eraseInFolder, listErasures } from "../../../hosts/relay/erase-folder.js";
import { pathsOf } from "../../../hosts/relay/folder.js";
import { systemEntropy } from "../../../hosts/relay/keys.js";
import { findAnvil } from "../../../hosts/relay/ledger/anvil.js";
import { nodeDisk } from "../../../hosts/relay/log/disk.js";
import { readErasures, writeErasures } from "../../../hosts/relay/log/erasures.js";
import { Relay, type RelayOptions } from "../../../hosts/relay/relay.js";
import { changeRelayKeys } from "../../../hosts/relay/relay-keys.js";
import type { StoreOptions } from "../../../hosts/relay/store/open.js";
import { FixtureDevice, get } from "../../fixtures/device.js";
import { failureOf, must, ORIGIN, pool, StartedRelay } from "../started.js";
import { PostgresServer, programs } from "./server.js";

const { sha256 } = relayCrypto;
const FINAL_MAX_MS = 50_000;
const LOOK_MS = 100;

/** What readers ask for behind a load balancer: a process that takes records in answers as the sequencer does. */
(programs() ? describe : describe.skip)("relay: any process on one PostgreSQL", function () {
  this.timeout(120_000);
  let server: PostgresServer;
  let name: string;
  let store: StoreOptions;
  let started: StartedRelay;
  let ingest: Relay;
  let device: FixtureDevice;

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.close());
  beforeEach(async () => {
    name = await server.database();
    store = { url: server.url(name) };
  });
  afterEach(async () => {
    await ingest.close();
    await started.close();
  });

  /** A sequencer, and a process beside it that only takes records in; both in this process. */
  async function start(options: Partial<RelayOptions> = {}): Promise<void> {
    started = await StartedRelay.start({ ...options, store });
    ingest = await beside(options);
    device = await started.device();
  }

  async function beside({ keyBudget, attempts }: Partial<RelayOptions> = {}): Promise<Relay> {
    const limits = { ...(keyBudget && { keyBudget }), ...(attempts && { attempts }) };
    return must(await Relay.open({ dataDir: started.folder, store, role: "ingest", pool, ...limits }));
  }

  async function until(isSo: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + FINAL_MAX_MS;
    while (!(await isSo())) {
      assert.ok(performance.now() < deadline, "it does not come to be so");
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  const idOf = (seq: number) => recordId(sha256, device.chain[seq]!);
  const idHex = (seq: number) => toHex(idOf(seq));
  const proofOf = (url: string, seq: number, what: string) => get(`${url}/v1/records/${idHex(seq)}/${what}`);

  async function policy(more: object = {}): Promise<string> {
    const { did } = JSON.parse(Buffer.from((await get(`${ingest.url}/v1/devices/${device.kid}`)).bytes).toString());
    const require = ["signature", "device", "logged"];
    return JSON.stringify({ log: started.relay.identity.logKey, devices: [did], require, ...more });
  }

  it("gives receipts and evidence that verify, the same as the sequencer's", async () => {
    await start();
    const logKey = must(parseVerifierKey(sha256, started.relay.identity.logKey)).publicKey;
    for (const count of [3, 300]) {
      const first = device.chain.length;
      device.appendReadings(count);
      for (let from = first; from < device.chain.length; from += 200)
        device.read(await device.send(ingest.url, from, from + 199), started.key);
      await started.settled();
      for (const seq of [0, first, device.chain.length - 1]) {
        const [receipt, evidence] = [
          await proofOf(ingest.url, seq, "receipt"),
          await proofOf(ingest.url, seq, "evidence"),
        ];
        assert.deepEqual([receipt.status, evidence.status], [200, 200], JSON.stringify(receipt.problem));
        must(verifyInclusionReceipt(relayCrypto, logKey, receipt.bytes, recordId(sha256, device.chain[seq]!)));
        const report = must(verifyEvidence(relayCrypto, evidence.bytes, must(readPolicy(sha256, await policy()))));
        assert.equal(report.verdict, "proved", JSON.stringify(report.steps));
        assert.deepEqual(receipt.bytes, (await proofOf(started.url, seq, "receipt")).bytes);
        assert.deepEqual(evidence.bytes, (await proofOf(started.url, seq, "evidence")).bytes);
      }
    }
  });

  it("gives them while there is no sequencer, and says so where that has not written its signature down", async () => {
    await start();
    device.appendReadings(3);
    device.read(await device.send(ingest.url), started.key);
    await started.settled();
    await started.relay.close();
    assert.equal((await proofOf(ingest.url, 2, "receipt")).status, 200);
    rmSync(pathsOf(started.folder).logHeads);
    const another = await beside();
    try {
      const { status, problem } = await proofOf(another.url, 2, "receipt");
      assert.deepEqual([status, problem?.code], [421, "SEQUENCER_ONLY"]);
      await started.reopen();
      assert.equal((await proofOf(another.url, 2, "receipt")).status, 200, "its next start writes it");
    } finally {
      await another.close();
    }
  });

  it("gives receipts by the log's next key after that was changed, and none by the former", async () => {
    await start();
    device.appendReadings(3);
    device.read(await device.send(ingest.url), started.key);
    await started.settled();
    const former = must(parseVerifierKey(sha256, started.relay.identity.logKey)).publicKey;
    await started.relay.close();
    // Whoever changes the keys waits for all processes.
    const keys = { crypto: relayCrypto, entropy: systemEntropy, withLogKey: true };
    assert.equal(failureOf(await changeRelayKeys(started.folder, keys)).code, "DATA_FOLDER_LOCKED");
    await ingest.close();
    must(await changeRelayKeys(started.folder, keys));
    await started.reopen();
    ingest = await beside();
    const next = must(parseVerifierKey(sha256, started.relay.identity.logKey)).publicKey;
    const { bytes } = await proofOf(ingest.url, 2, "receipt");
    const id = idOf(2);
    must(verifyInclusionReceipt(relayCrypto, next, bytes, id));
    assert.equal(verifyInclusionReceipt(relayCrypto, former, bytes, id).ok, false);
    device.appendReadings(2);
    assert.equal((await device.send(ingest.url, 4)).status, 200);
    await started.settled();
    must(verifyInclusionReceipt(relayCrypto, next, (await proofOf(ingest.url, 5, "receipt")).bytes, idOf(5)));
  });

  it("lets a key bring its budget once, whichever processes it brings it to", async () => {
    const keyBudget = { burst: 10, perSecond: 0.0001 };
    await start({ keyBudget });
    device.appendReadings(20);
    device.read(await device.send(started.url, 1, 6), started.key);
    device.read(await device.send(ingest.url, 7, 9), started.key);
    device.read(await device.send(started.url, 10, 12), started.key);
    for (const url of [ingest.url, started.url]) {
      const { status, problem } = await device.send(url, 13);
      assert.deepEqual([status, problem?.code], [429, "KEY_BUDGET_SPENT"], url);
    }
    // Nor does one begin anew that is started again; and another key has its own.
    const another = await beside({ keyBudget });
    try {
      assert.equal((await device.send(another.url, 13)).problem?.code, "KEY_BUDGET_SPENT");
      device = await started.device();
      device.appendReadings(9);
      device.read(await device.send(another.url, 1), started.key);
    } finally {
      await another.close();
    }
    // A copy in which the table was left out: it is made anew, and so is what it counted.
    await started.relay.close();
    await server.sql(name, "DROP TABLE key_budgets");
    await started.reopen({ keyBudget });
    device.appendReadings(9);
    device.read(await device.send(started.url, 10), started.key);
  });

  it("counts failed attempts in each process: an address may fail as often as there are processes times its limit", async () => {
    await start({ attempts: { burst: 3 } });
    const failures = async (url: string) => {
      for (let failed = 0; ; failed++) {
        const stranger = new FixtureDevice({ crypto: relayCrypto });
        const { status, problem } = await stranger.enrol(url, ORIGIN, "0".repeat(32));
        if (status === 429) return failed;
        assert.equal(problem?.code, "TOKEN_INVALID", JSON.stringify(problem));
        assert.ok(failed < 6, "without an end");
      }
    };
    assert.equal(await failures(ingest.url), 3);
    assert.equal(await failures(started.url), 3);
    assert.equal(await failures(ingest.url), 0);
  });

  it("knows what is erased while it runs, before the bundle is gone", async () => {
    await start();
    device.appendReadings(300);
    for (const from of [1, 201]) device.read(await device.send(ingest.url, from, from + 199), started.key);
    await started.settled();
    const bundle = (url: string, index: number) => get(`${url}/tile/entries/${String(index).padStart(3, "0")}`);
    const page = () => get(`${ingest.url}/v1/devices/${device.kid}/records?from=5&to=8`);
    assert.equal((await bundle(ingest.url, 0)).status, 200);
    for (const seq of [5, 7]) {
      const request = { kid: device.identity.kid, from: seq, to: seq, reason: "asked", by: "operator" };
      must(await eraseInFolder(started.folder, request, { decided: true, store }));
      for (const url of [started.url, ingest.url]) {
        const { status, problem } = await bundle(url, 0);
        assert.deepEqual([status, problem?.code], [410, "LOG_ENTRY_ERASED"], url);
        assert.equal((await proofOf(url, seq, "evidence")).problem?.code, "RECORD_ERASED");
        assert.equal((await proofOf(url, seq, "receipt")).status, 200);
        assert.equal((await proofOf(url, seq + 1, "evidence")).status, 200);
        const behind = { ...device.request(), head: { seq: seq - 1, id: idOf(seq - 1) } };
        assert.equal(device.read(await device.askHead(url, behind), started.key).erasedSeq, seq, url);
      }
      assert.equal((await page()).problem?.code, "RECORD_ERASED");
    }
    // Listed and not carried out any further, as the moment between the two steps is: the file is still there.
    const erased = must(await listErasures(started.folder, store)).length;
    const path = join(
      pathsOf(started.folder).logPublic,
      "tile/entries/001.p",
      String(started.relay.log.head.size - 256),
    );
    assert.ok(existsSync(path));
    const { erasures } = pathsOf(started.folder);
    const line = {
      number: erased + 1,
      kid: device.identity.kid,
      from: 280,
      to: 280,
      reason: "x",
      by: "x",
      askedAtMs: 1,
    };
    const names = { seq: 280, id: recordId(sha256, device.chain[280]!), entry: 281, prev: new Uint8Array(32) };
    const record = { ...names, kind: 1, boot: 1, uptimeMs: 1 };
    const before = must(await readErasures(nodeDisk, erasures));
    await writeErasures(nodeDisk, erasures, [...before, { ...line, records: [record] }]);
    const grown = await get(`${ingest.url}/tile/entries/001.p/${started.relay.log.head.size - 256}`);
    assert.deepEqual([grown.status, grown.problem?.code], [410, "LOG_ENTRY_ERASED"]);
    await writeErasures(nodeDisk, erasures, before);
  });

  it("gives evidence with the anchor that the sequencer's ledger has made final", async function () {
    const anvil = findAnvil();
    if (!anvil.ok) {
      console.log(`      SKIPPED: ${anvil.failure.detail}`);
      this.skip();
    }
    await start({ ledger: { kind: "development", artifact: must(await compileAnchor()) } });
    device.appendReadings(3);
    device.read(await device.send(ingest.url), started.key);
    const bundleOf = async (url: string) => must(readBundle((await proofOf(url, 2, "evidence")).bytes));
    await started.settled();
    assert.deepEqual((await bundleOf(ingest.url)).anchors, []);
    await until(async () => (await bundleOf(started.url)).anchors.length > 0);
    const [anchor] = (await bundleOf(ingest.url)).anchors;
    const { number } = must(anchorBlock(must(readEvmAnchor(anchor!.anchor))));
    const ledgerOf = async (url: string) =>
      JSON.parse(Buffer.from((await get(`${url}/v1/relay`)).bytes).toString()).ledger as Record<string, unknown>;
    const ledger = await ledgerOf(started.url);
    const { rpc_url, ...told } = ledger;
    assert.deepEqual(await ledgerOf(ingest.url), told);
    const asked = await fetch(String(rpc_url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "eth_getBlockByNumber",
        params: [`0x${number.toString(16)}`, false],
      }),
    });
    const block = ((await asked.json()) as { result: { hash: string } }).result.hash;
    const anchored = await policy({
      ledgers: [{ kind: "evm", chainId: told["chain_id"], contract: told["contract"], block }],
      require: ["signature", "device", "logged", "anchored"],
    });
    const { bytes } = await proofOf(ingest.url, 2, "evidence");
    assert.equal(must(verifyEvidence(relayCrypto, bytes, must(readPolicy(sha256, anchored)))).verdict, "proved");
  });
});
