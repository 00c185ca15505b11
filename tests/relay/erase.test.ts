import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "tallystick/bytes/bytes";
import { headOf } from "tallystick/chain/chain";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { encodeMark } from "tallystick/record/payload";
import { Kind, recordId } from "tallystick/record/record";
import { splitRecords } from "tallystick/sync/messages";
import { backUp } from "../../hosts/relay/backup.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { decideErasure, planErasure } from "../../hosts/relay/erase.js";
import { eraseInFolder, listErasures } from "../../hosts/relay/erase-folder.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { repairFolder } from "../../hosts/relay/repair.js";
import { restore } from "../../hosts/relay/restore.js";
import { SCRUB_PERIOD_MS } from "../../hosts/relay/scrubbing.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { filesWith } from "./files-with.js";
import { failureOf, must, StartedRelay, temporaryFolder } from "./started.js";

const { sha256 } = relayCrypto;
/** Records behind genesis: more than a bundle, so that one is full and one grows. */
const RECORDS = 400;
const VERIFIER = fileURLToPath(new URL("../log/go/verify.go", import.meta.url));
const GOPATH = "/usr/share/gocode";

describe("relay: bodies erased on request", function () {
  this.timeout(120_000);
  let started: StartedRelay;
  let device: FixtureDevice;

  beforeEach(async () => {
    started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(RECORDS);
    for (let from = 1; from <= RECORDS; from += 200)
      device.read(await device.send(started.url, from, from + 199), started.key);
    await started.settled();
  });
  afterEach(() => started.close());

  const id = (seq: number) => recordId(sha256, device.chain[seq]!);
  const idHex = (seq: number) => toHex(id(seq));
  const bodies = (from: number, to = from) => device.chain.slice(from, to + 1);
  const request = (from: number, to = from) => ({
    kid: device.identity.kid,
    from,
    to,
    reason: "a person asked for it",
    by: "operator",
  });
  const erase = (from: number, to = from) => eraseInFolder(started.folder, request(from, to), { decided: true });
  const refusal = async (from: number, to = from) => {
    const { code, detail } = failureOf(await erase(from, to));
    return `${code} ${detail}`;
  };

  async function clean(): Promise<void> {
    assert.deepEqual(must(await examineFolder(started.folder)).findings, []);
  }

  /** Evidence of each record that is there verifies, with this project's verifier. */
  async function proved(isErased: (seq: number) => boolean): Promise<void> {
    const { did } = JSON.parse(Buffer.from((await get(`${started.url}/v1/devices/${device.kid}`)).bytes).toString());
    const require = ["signature", "device", "logged"];
    const text = JSON.stringify({ log: started.relay.identity.logKey, devices: [did], require });
    const policy = must(readPolicy(sha256, text));
    for (let seq = 0; seq < device.chain.length; seq++) {
      const { bytes, status, problem } = await get(`${started.url}/v1/records/${idHex(seq)}/evidence`);
      assert.equal(status, isErased(seq) ? 410 : 200, `seq ${seq}: ${problem?.detail}`);
      if (status === 410) continue;
      const report = must(verifyEvidence(relayCrypto, bytes, policy));
      assert.equal(report.verdict, "proved", `seq ${seq}: ${JSON.stringify(report.steps)}`);
    }
  }

  it("leaves nothing of the bytes in the data folder of a running relay, and all proofs of the rest", async () => {
    assert.notDeepEqual(filesWith(started.folder, bodies(5, 7)), [], "the search finds what is there");
    const erased = must(await erase(5, 7));
    assert.deepEqual(erased, { number: 1, records: 3, already: 0, bundles: 1, done: true, running: true });
    assert.deepEqual(filesWith(started.folder, bodies(5, 7)), []);
    await proved((seq) => seq >= 5 && seq <= 7);
    await clean();
    for (const wanted of [{}, { accept: "application/json" }]) {
      const { status, problem } = await get(`${started.url}/v1/records/${idHex(6)}`, wanted);
      assert.equal(status, 410);
      const { code, seq, kid, reason, log_index } = problem as unknown as Record<string, unknown>;
      assert.deepEqual(
        { code, seq, kid, reason, log_index },
        { code: "RECORD_ERASED", seq: 6, kid: device.kid, reason: "a person asked for it", log_index: 7 },
      );
    }
    assert.equal((await get(`${started.url}/v1/records/${idHex(6)}/receipt`)).status, 200, "its hash is in the log");
    assert.equal(toHex((await get(`${started.url}/v1/records/${idHex(8)}`)).bytes), toHex(device.chain[8]!));
    for (const path of ["tile/entries/000", "tile/entries/000.p/3"]) {
      const { status, problem } = await get(`${started.url}/${path}`);
      assert.deepEqual([status, problem?.code], [410, "LOG_ENTRY_ERASED"], path);
      assert.ok(!existsSync(join(pathsOf(started.folder).logPublic, path)), "a file server has nothing there either");
    }
    assert.equal((await get(`${started.url}/tile/entries/001.p/${started.relay.log.head.size - 256}`)).status, 200);
    assert.equal((await get(`${started.url}/tile/0/000`)).status, 200);
  });

  it("ends a page of records before what was erased, and says where one begins in it", async () => {
    must(await erase(5, 7));
    const page = async (from: number) => get(`${started.url}/v1/devices/${device.kid}/records?from=${from}&to=20`);
    assert.equal(must(splitRecords((await page(2)).bytes)).length, 3);
    assert.equal((await page(6)).problem?.code, "RECORD_ERASED");
    assert.equal(must(splitRecords((await page(8)).bytes)).length, 13);
  });

  it("goes on with a bundle of which an entry was erased while it grows, and after a restart", async () => {
    const partial = RECORDS - 10;
    must(await erase(partial, partial + 3));
    assert.deepEqual(filesWith(started.folder, bodies(partial, partial + 3)), []);
    for (let round = 0; round < 3; round++) {
      const first = device.chain.length;
      device.appendReadings(60);
      device.read(await device.send(started.url, first), started.key);
      await started.settled();
      if (round === 1) await started.restart();
    }
    await clean();
    await proved((seq) => seq >= partial && seq <= partial + 3);
    assert.deepEqual(filesWith(started.folder, bodies(partial, partial + 3)), []);
    // 256 to 511 are full by now, and withheld; what began after that is published.
    assert.equal((await get(`${started.url}/tile/entries/001`)).status, 410);
    assert.equal((await get(`${started.url}/tile/entries/002.p/${started.relay.log.head.size - 512}`)).status, 200);
    assert.deepEqual(readdirSync(join(pathsOf(started.folder).logKept, "tile/entries")), ["001"]);
  });

  it("takes an erased record that is sent again for repeated, keeps nothing of it, and still knows a fork", async () => {
    must(await erase(5, 7));
    device.read(await device.send(started.url, 4, 9), started.key);
    assert.deepEqual(filesWith(started.folder, bodies(5, 7)), []);
    const other = device.make(Kind.mark, encodeMark({}), headOf(sha256, device.parse(device.chain[5]!)));
    const forked = await device.sendBytes(started.url, other);
    assert.deepEqual(
      [forked.problem?.code, (forked.problem as unknown as Record<string, unknown>)["held"]],
      ["CHAIN_FORK", idHex(6)],
    );
    const proof = await get(`${started.url}/v1/devices/${device.kid}/forks/${toHex(recordId(sha256, other))}`);
    assert.equal(proof.problem?.code, "RECORD_ERASED", "one branch is no proof");
    await clean();
    // The other branch at an erased position is held, until it is erased, too.
    assert.notDeepEqual(filesWith(started.folder, [other]), []);
    assert.deepEqual([must(await erase(6)).records, filesWith(started.folder, [other])], [1, []]);
    await device.sendBytes(started.url, other);
    assert.deepEqual(filesWith(started.folder, [other]), []);
    await clean();
  });

  it("is done once: again, overlapping, and listed", async () => {
    must(await erase(5, 7));
    const again = must(await erase(5, 7));
    assert.deepEqual([again.number, again.records, again.already], [undefined, 0, 3]);
    const overlapping = must(await erase(6, 10));
    assert.deepEqual([overlapping.number, overlapping.records, overlapping.already], [2, 3, 2]);
    assert.deepEqual(filesWith(started.folder, bodies(5, 10)), []);
    const listed = must(await listErasures(started.folder));
    assert.deepEqual(
      listed.map(({ number, from, to, records, by, doneAtMs }) => [
        number,
        from,
        to,
        records,
        by,
        doneAtMs !== undefined,
      ]),
      [
        [1, 5, 7, 3, "operator", true],
        [2, 6, 10, 3, "operator", true],
      ],
    );
    await proved((seq) => seq >= 5 && seq <= 10);
    await clean();
  });

  it("changes nothing where it is only asked what would be", async () => {
    const planned = must(await eraseInFolder(started.folder, request(5, 7), { decided: false }));
    assert.deepEqual([planned.number, planned.records, planned.bundles, planned.done], [undefined, 3, 1, false]);
    assert.equal((await get(`${started.url}/v1/records/${idHex(6)}`)).status, 200);
    assert.deepEqual(must(await listErasures(started.folder)), []);
  });

  it("refuses what the proof of others needs, and what is not in the log yet", async () => {
    assert.match(await refusal(0, 3), /^ERASURE_REFUSED .*genesis/);
    assert.match(await refusal(RECORDS - 1, RECORDS), /^ERASURE_REFUSED .*newest/);
    assert.match(await refusal(9, 5), /^ERASURE_REFUSED .*lower to the higher/);
    assert.match(await refusal(RECORDS + 5, RECORDS + 9), /^ERASURE_REFUSED .*none from seq/);
    const unknown = { ...request(1), kid: new Uint8Array(8) };
    assert.equal(failureOf(await eraseInFolder(started.folder, unknown, { decided: true })).code, "DEVICE_UNKNOWN");
    const wordy = { ...request(1), reason: "x".repeat(257) };
    assert.match(failureOf(await eraseInFolder(started.folder, wordy, { decided: true })).detail, /1 to 256 bytes/);
    await started.restart({ batchIntervalMs: 3_600_000 });
    device.appendReadings(2);
    device.read(await device.send(started.url, RECORDS + 1), started.key);
    assert.match(await refusal(RECORDS + 1), /^RECORD_NOT_LOGGED/);
    await started.settled();
    must(await erase(RECORDS + 1));
  });

  it("is not damage to the scrub, and repair brings nothing back", async () => {
    must(await erase(5, 7));
    must(await erase(RECORDS - 9));
    const nowMs = Date.now() + 2 * SCRUB_PERIOD_MS;
    await started.restart({ nowMs: () => nowMs });
    for (let round = 0; round < 20; round++) await started.relay.scrub.round();
    assert.deepEqual(started.relay.scrub.findings, []);
    await started.relay.close();
    const { logKept } = pathsOf(started.folder);
    const kept = join(logKept, "tile/entries/000");
    const bytes = readFileSync(kept);
    bytes[20_000]! ^= 1;
    writeFileSync(kept, bytes);
    assert.equal(must(await examineFolder(started.folder)).findings[0]?.where, "log/kept/tile/entries/000");
    const repair = must(await repairFolder(started.folder));
    assert.deepEqual(repair.repaired, ["log/kept/tile/entries/000"]);
    assert.deepEqual(repair.after.findings, []);
    const partial = `log/kept/tile/entries/001.p/${RECORDS + 2 - 256}`;
    rmSync(join(started.folder, partial));
    assert.equal(must(await examineFolder(started.folder)).findings[0]?.code, "LOG_TILE_MISSING");
    assert.deepEqual(must(await repairFolder(started.folder)).repaired, [partial]);
    assert.deepEqual(filesWith(started.folder, [...bodies(5, 7), ...bodies(RECORDS - 9)]), []);
    await started.reopen();
    await proved((seq) => (seq >= 5 && seq <= 7) || seq === RECORDS - 9);
  });

  it("is tried again where the disk refuses a step, and the relay says so; nobody is given the bytes meanwhile", async () => {
    const { erasures } = pathsOf(started.folder);
    const { store } = started.relay;
    // No file can be written under this name.
    mkdirSync(`${erasures}.new`);
    decideErasure(store, must(planErasure({ store, crypto: relayCrypto }, request(5, 7))), Date.now());
    await until(async () => (await get(`${started.url}/readyz`)).problem?.code === "LOG_IO_FAILED");
    assert.equal((await get(`${started.url}/v1/records/${idHex(6)}`)).status, 410);
    const page = (from: number) => get(`${started.url}/v1/devices/${device.kid}/records?from=${from}&to=20`);
    assert.equal(must(splitRecords((await page(2)).bytes)).length, 3);
    assert.equal((await page(5)).problem?.code, "RECORD_ERASED");
    device.appendReadings(5);
    device.read(await device.send(started.url, RECORDS + 1), started.key);
    await started.settled();
    rmdirSync(`${erasures}.new`);
    await until(async () => (await get(`${started.url}/readyz`)).status === 200);
    assert.deepEqual(filesWith(started.folder, bodies(5, 7)), []);
    await proved((seq) => seq >= 5 && seq <= 7);
    await clean();
  });

  /** Looks again until it is so. */
  async function until(isSo: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!(await isSo())) {
      assert.ok(performance.now() < deadline, "it does not come to be so");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it("takes the rest back from the log where the database is older, and of the erased their names", async () => {
    await started.relay.close();
    const { store } = pathsOf(started.folder);
    const older = temporaryFolder();
    try {
      cpSync(store, join(older.path, "store.sqlite"));
      await started.reopen();
      device.appendReadings(100);
      device.read(await device.send(started.url, RECORDS + 1), started.key);
      await started.settled();
      must(await erase(5, 7));
      must(await erase(RECORDS + 20, RECORDS + 29));
      await started.relay.close();
      cpSync(join(older.path, "store.sqlite"), store);
      await started.reopen();
    } finally {
      older.remove();
    }
    const isErased = (seq: number) => (seq >= 5 && seq <= 7) || (seq >= RECORDS + 20 && seq <= RECORDS + 29);
    assert.deepEqual(
      filesWith(
        started.folder,
        device.chain.filter((_, seq) => isErased(seq)),
      ),
      [],
    );
    await proved(isErased);
    await clean();
    device.appendReadings(5);
    device.read(await device.send(started.url, RECORDS + 95), started.key);
    await started.settled();
    assert.equal(must(await listErasures(started.folder)).length, 2);
  });

  it("writes the list again where it is lost", async () => {
    must(await erase(5, 7));
    await started.relay.close();
    const { erasures } = pathsOf(started.folder);
    const list = readFileSync(erasures, "utf8");
    writeFileSync(erasures, list.slice(0, -20));
    const { findings } = must(await examineFolder(started.folder));
    assert.ok(findings.some(({ code }) => code === "ERASURES_CORRUPT"));
    rmSync(erasures);
    await started.reopen();
    assert.equal(readFileSync(erasures, "utf8"), list);
    await clean();
  });

  it("is done again by the restore of an older backup, whose database and bundles have the bodies", async () => {
    const backups = temporaryFolder();
    try {
      must(await backUp(started.folder, backups.path));
      assert.notDeepEqual(filesWith(backups.path, bodies(5, 7)), []);
      must(await erase(5, 7));
      await started.relay.close();
      const { store, logKept } = pathsOf(started.folder);
      rmSync(store);
      rmSync(logKept, { recursive: true });
      const restored = must(await restore(backups.path, started.folder));
      assert.deepEqual(restored.written, ["log/kept/tile/entries/000", "store.sqlite"]);
      assert.deepEqual(filesWith(started.folder, bodies(5, 7)), [], "before any start");
      await started.reopen();
      await proved((seq) => seq >= 5 && seq <= 7);
      assert.deepEqual(filesWith(started.folder, bodies(5, 7)), []);
      await clean();
    } finally {
      backups.remove();
    }
  });

  it("is done again at the start of a folder into which files from before it were put", async () => {
    await started.relay.close();
    const older = temporaryFolder();
    const { logPublic, logKept } = pathsOf(started.folder);
    try {
      cpSync(logPublic, older.path, { recursive: true });
      await started.reopen();
      must(await erase(5, 7));
      await started.relay.close();
      rmSync(logKept, { recursive: true });
      cpSync(older.path, logPublic, { recursive: true });
    } finally {
      older.remove();
    }
    const { findings } = must(await examineFolder(started.folder));
    assert.ok(findings.some(({ code, severity }) => code === "ERASURE_UNFINISHED" && severity === "recovers"));
    await started.reopen();
    assert.deepEqual(filesWith(started.folder, bodies(5, 7)), []);
    await proved((seq) => seq >= 5 && seq <= 7);
    await clean();
  });

  it("is in the next backup as it is in the folder, which takes the bundle out of the backups, too, where only it stays", async () => {
    const backups = temporaryFolder();
    const elsewhere = temporaryFolder();
    try {
      must(await backUp(started.folder, backups.path));
      must(await erase(5, 7));
      must(await erase(RECORDS - 9));
      const beside = must(await backUp(started.folder, backups.path));
      assert.deepEqual(beside.withErased, ["backup-000001"]);
      assert.notDeepEqual(filesWith(backups.path, bodies(5, 7)), [], "all stay where nothing is said");
      const made = must(await backUp(started.folder, backups.path, { withKeys: true, keep: 1 }));
      assert.deepEqual([made.removed, made.withErased], [["backup-000001", "backup-000002"], []]);
      assert.equal(made.name, "backup-000003");
      assert.deepEqual(filesWith(backups.path, [...bodies(5, 7), ...bodies(RECORDS - 9)]), []);
      const data = join(elsewhere.path, "relay");
      const newest = readFileSync(join(backups.path, made.name, "checkpoint"));
      assert.deepEqual(must(await restore(backups.path, data, { newest })).lacking, []);
      await started.relay.close();
      cpSync(data, started.folder, { recursive: true, force: true });
      assert.deepEqual(must(await examineFolder(data)).findings, []);
      await started.reopen();
      await proved((seq) => (seq >= 5 && seq <= 7) || seq === RECORDS - 9);
    } finally {
      backups.remove();
      elsewhere.remove();
    }
  });

  it("is done without a relay, too", async () => {
    await started.relay.close();
    const erased = must(await erase(5, 7));
    assert.deepEqual([erased.done, erased.running], [true, false]);
    assert.deepEqual(filesWith(started.folder, bodies(5, 7)), []);
    await clean();
    await started.reopen();
    await proved((seq) => seq >= 5 && seq <= 7);
  });

  it("leaves a log that Go's golang.org/x/mod/sumdb verifies", async function () {
    const environment = { ...process.env, GO111MODULE: "off", GOPATH };
    if (spawnSync("go", ["list", "golang.org/x/mod/sumdb/tlog"], { env: environment }).status !== 0) {
      console.log("      SKIPPED, the foreign verifier did not run: go or golang-golang-x-mod-dev is not installed");
      this.skip();
    }
    const olds = { oldSize: started.relay.log.head.size, oldCheckpoint: checkpointText() };
    must(await erase(5, 7));
    device.appendReadings(120);
    device.read(await device.send(started.url, RECORDS + 1), started.key);
    await started.settled();
    const { log } = started.relay;
    const base64 = (path: readonly Uint8Array[]) => path.map((hash) => Buffer.from(hash).toString("base64"));
    const inclusion = [];
    for (const index of [0, 5, 6, 7, 8, 9, 255, 256, log.head.size - 1])
      inclusion.push({ index, path: base64(must(await log.inclusion(index))) });
    const consistency = [{ ...olds, path: base64(must(await log.consistency(olds.oldSize))) }];
    const folder = temporaryFolder();
    try {
      const [program, proofs] = [join(folder.path, "verify"), join(folder.path, "proofs.json")];
      execFileSync("go", ["build", "-o", program, VERIFIER], { env: environment });
      writeFileSync(proofs, JSON.stringify({ inclusion, consistency }));
      const { logPublic } = pathsOf(started.folder);
      const run = (...withheld: string[]) =>
        spawnSync(program, [logPublic, started.relay.identity.logKey, proofs, ...withheld], { encoding: "utf8" });
      const { size } = log.head;
      assert.equal(run("0").stdout, `checkpoint ${size}\nentries ${size}\ninclusion 9\nconsistency 1\n`);
      assert.match(run().stderr, /tile\/entries\/000/, "it would have missed the bundle");
      assert.match(run("0", "1").stderr, /is there/);
    } finally {
      folder.remove();
    }
  });

  function checkpointText(): string {
    return Buffer.from(started.relay.log.head.checkpoint).toString();
  }
});
