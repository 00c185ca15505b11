import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { follow, openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { parseVerifierKey, type VerifierKey } from "tallystick/log/note";
import { verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import type { Acknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../../hosts/relay/enrol.js";
import { pathsOf } from "../../../hosts/relay/folder.js";
import { nodeDisk } from "../../../hosts/relay/log/disk.js";
import { TileStore } from "../../../hosts/relay/log/tiles.js";
import { Relay, type RelayOptions } from "../../../hosts/relay/relay.js";
import type { StoreOptions } from "../../../hosts/relay/store/open.js";
import { type Answer, FixtureDevice, get } from "../../fixtures/device.js";
import { failureOf, must, ORIGIN, temporaryFolder } from "../started.js";
import { PostgresServer, programs } from "./server.js";

/** One sequencer and others that take records in, as processes of their own over one PostgreSQL. */

const START_MAX_MS = 40_000;
const SETTLE_MAX_MS = 30_000;
const PROGRAM = fileURLToPath(new URL("./process.ts", import.meta.url));
const BATCHES = 12;

class RelayProcess {
  readonly #child: ChildProcess;
  readonly options: Pick<RelayOptions, "dataDir" | "store" | "role">;
  url = "";

  constructor(options: Pick<RelayOptions, "dataDir" | "store" | "role">) {
    this.options = options;
    this.#child = spawn(process.execPath, ["--import", "tsx", PROGRAM], { stdio: ["pipe", "pipe", "pipe"] });
  }

  async start(): Promise<this> {
    let complaint = "";
    this.#child.stderr!.on("data", (data: Buffer) => {
      complaint += data.toString();
    });
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), START_MAX_MS);
    const exited = once(this.#child, "exit").then(() => Promise.reject(new Error(`it did not start: ${complaint}`)));
    exited.catch(() => undefined);
    this.#child.stdin!.write(`${JSON.stringify(this.options)}\n`);
    const [url] = await Promise.race([once(createInterface({ input: this.#child.stdout! }), "line"), exited]);
    clearTimeout(timer);
    this.url = url as string;
    return this;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

/** A device that goes from process to process, and remembers what it was promised by any of them. */
class Sender {
  readonly device = new FixtureDevice({ crypto: relayCrypto });
  acknowledged = -1;
  readonly #key: Uint8Array;
  readonly #logKey: VerifierKey;
  #pinned: TreeHead | undefined;

  constructor(key: Uint8Array, logKey: VerifierKey) {
    this.#key = key;
    this.#logKey = logKey;
  }

  async enrol(url: string, token: string): Promise<void> {
    this.believe(this.device.read(await this.device.enrol(url, ORIGIN, token), this.#key));
  }

  /** One batch; false where no acknowledgement came. */
  async send(url: string): Promise<boolean> {
    while (this.device.chain.length < this.acknowledged + 8) this.device.appendReading(Math.random());
    let answer: Answer;
    try {
      answer = await this.device.send(url, this.acknowledged + 1);
    } catch {
      return false;
    }
    if (answer.status !== 200) {
      assert.equal(answer.status, 503, JSON.stringify(answer.problem));
      assert.ok(Number(answer.headers.get("retry-after")) > 0);
      assert.doesNotMatch(JSON.stringify(answer.problem), /127\.0\.0\.1|geheim|postgres:/);
      return false;
    }
    this.believe(this.device.read(answer, this.#key));
    return true;
  }

  /** Each checkpoint continues the one before, whichever process told of it. */
  believe({ received, checkpoint, consistency }: Acknowledgement): void {
    assert.ok(received && received.seq >= this.acknowledged, `received fell to ${received?.seq}`);
    assert.equal(toHex(received.id), toHex(recordId(relayCrypto.sha256, this.device.chain[received.seq]!)));
    this.acknowledged = received.seq;
    const opened = must(openCheckpoint(relayCrypto, utf8(checkpoint), this.#logKey));
    this.#pinned = must(follow(relayCrypto.sha256, this.#pinned, opened, consistency));
    this.device.pinnedSize = this.#pinned.size;
  }
}

(programs() ? describe : describe.skip)("relay: several processes on one PostgreSQL", function () {
  this.timeout(180_000);
  let server: PostgresServer;
  let folder: { readonly path: string; remove(): void };
  let store: StoreOptions;
  let database: string;
  let key: Uint8Array;
  let logKey: VerifierKey;
  const processes: RelayProcess[] = [];

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.close());
  beforeEach(async () => {
    folder = temporaryFolder();
    database = await server.database();
    store = { url: server.url(database) };
    const identity = must(await Relay.initialise(folder.path, { origin: ORIGIN, store }));
    key = fromHex(identity.publicKey)!;
    logKey = must(parseVerifierKey(relayCrypto.sha256, identity.logKey));
  });
  afterEach(async () => {
    for (const each of processes.splice(0)) await each.kill();
    folder.remove();
  });

  async function start(role: "all" | "ingest"): Promise<RelayProcess> {
    const started = new RelayProcess({ dataDir: folder.path, store, role });
    processes.push(started);
    return await started.start();
  }

  function token(): string {
    return must(makeEnrolmentToken(folder.path, { store })).token;
  }

  /** That the log has every acknowledged record once, each chain in its order, and nothing between. */
  async function checkLog(senders: readonly Sender[], url: string): Promise<void> {
    const tiles = new TileStore(nodeDisk, relayCrypto.sha256, pathsOf(folder.path).logPublic);
    const records = Number((await server.sql(database, "SELECT count(*) FROM records"))[0]!["count"]);
    const deadline = Date.now() + SETTLE_MAX_MS;
    let size = 0;
    while (size < records + 1) {
      if (Date.now() > deadline) throw new Error(`the log has ${size} entries of ${records + 1}`);
      const note = await get(`${url}/checkpoint`);
      size = must(openCheckpoint(relayCrypto, note.bytes, logKey)).size;
    }
    assert.equal(size, records + 1, "contiguous: as many entries as records, and the opening");
    const places = new Map<string, number[]>();
    for (let index = 0; index * 256 < size; index++)
      for (const [at, bytes] of must(await tiles.bundle(index, Math.min(256, size - index * 256))).entries()) {
        const id = toHex(recordId(relayCrypto.sha256, bytes));
        places.set(id, [...(places.get(id) ?? []), index * 256 + at]);
      }
    for (const { device, acknowledged } of senders) {
      let last = 0;
      for (let seq = 0; seq <= acknowledged; seq++) {
        const found = places.get(toHex(recordId(relayCrypto.sha256, device.chain[seq]!))) ?? [];
        assert.equal(found.length, 1, `seq ${seq} stands ${found.length} times in the log`);
        assert.ok(found[0]! > last, "a chain is logged in its order");
        last = found[0]!;
      }
    }
    const told = await server.sql(database, "SELECT min(entry), max(entry), count(*) FROM records");
    assert.deepEqual(Object.values(told[0]!).map(Number), [1, records, records]);
  }

  function sendersOf(count: number): Sender[] {
    return Array.from({ length: count }, () => new Sender(key, logKey));
  }

  it("takes records in by three, gives each its place once, and shows every device one history", async () => {
    const all = await start("all");
    const [one, two] = await Promise.all([start("ingest"), start("ingest")]);
    const senders = sendersOf(4);
    const urls = [all.url, one.url, two.url];
    // A challenge of one process is taken by the next; the last device goes from one to the other all the time.
    for (const [i, sender] of senders.entries()) await sender.enrol(urls[i % 3]!, token());
    // A reader has his receipt from any of them, however fast the log goes on under the others.
    const first = recordId(relayCrypto.sha256, senders[0]!.device.chain[0]!);
    let isOver = false;
    let receipts = 0;
    const reading = (async () => {
      for (let n = 0; !isOver; n++) {
        const { bytes, problem } = await get(`${urls[n % 3]}/v1/records/${toHex(first)}/receipt`);
        if (problem?.code === "RECORD_NOT_LOGGED") continue;
        must(verifyInclusionReceipt(relayCrypto, logKey.publicKey, bytes, first));
        receipts++;
      }
    })();
    try {
      await Promise.all(
        senders.map(async (sender, i) => {
          for (let batch = 0; batch < BATCHES; batch++)
            assert.ok(await sender.send(urls[(i === 3 ? batch : i) % 3]!), "it was answered");
        }),
      );
    } finally {
      isOver = true;
    }
    await reading;
    assert.ok(receipts > BATCHES, `${receipts} receipts`);
    await checkLog(senders, one.url);
    const id = recordId(relayCrypto.sha256, senders[0]!.device.chain[1]!);
    for (const url of urls) {
      const { bytes } = await get(`${url}/v1/records/${toHex(id)}/receipt`);
      must(verifyInclusionReceipt(relayCrypto, logKey.publicKey, bytes, id));
    }
  });

  it("lets one process be the sequencer, and no command change what several use", async () => {
    const all = await start("all");
    await start("ingest");
    assert.equal(failureOf(await Relay.open({ dataDir: folder.path, store })).code, "DATA_FOLDER_LOCKED");
    // Another folder with the same relay in it, as a copy would be: the database has one sequencer, too.
    const copy = temporaryFolder();
    const { cpSync, rmSync } = await import("node:fs");
    cpSync(folder.path, copy.path, { recursive: true });
    for (const lock of ["relay.lock", "ingest.lock"]) rmSync(`${copy.path}/${lock}`, { force: true });
    const second = await Relay.open({ dataDir: copy.path, store: { ...store, tries: 2 } });
    assert.equal(failureOf(second).code, "STORE_HELD");
    copy.remove();
    await all.kill();
    const { lockFolder } = await import("../../../hosts/relay/folder.js");
    assert.equal(failureOf(lockFolder(folder.path)).code, "DATA_FOLDER_LOCKED", "one takes records in");
  });

  it("keeps all that was acknowledged where ingest, sequencer and server are killed", async () => {
    let all = await start("all");
    let ingest = await start("ingest");
    const senders = sendersOf(2);
    for (const sender of senders) await sender.enrol(ingest.url, token());
    let isOver = false;
    const sending = senders.map(async (sender, i) => {
      for (let batch = 0; !isOver; batch++) await sender.send([all.url, ingest.url][(i + batch) % 2]!);
    });
    const grown = async (by: number) => {
      const wanted = senders.map(({ acknowledged }) => acknowledged + by);
      const deadline = Date.now() + SETTLE_MAX_MS;
      while (senders.some(({ acknowledged }, i) => acknowledged < wanted[i]!)) {
        if (Date.now() > deadline) throw new Error("the devices are not answered");
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    try {
      await grown(16);
      await ingest.kill();
      ingest = await start("ingest");
      await grown(16);
      await all.kill();
      await grown(16);
      all = await start("all");
      await grown(16);
      await server.stop("SIGKILL");
      await server.run();
      await grown(16);
    } finally {
      isOver = true;
      await Promise.all(sending);
    }
    await checkLog(senders, all.url);
  });
});
