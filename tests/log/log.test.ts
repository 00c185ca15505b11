import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { equalBytes } from "tallystick/bytes/bytes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { readOpening } from "tallystick/log/opening";
import { verifyConsistency, verifyInclusion } from "tallystick/merkle/proof";
import { verifyConsistencyReceipt, verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { type Disk, DiskError, nodeDisk } from "../../hosts/relay/log/disk.js";
import { Log, type LogOptions } from "../../hosts/relay/log/log.js";
import type { SignedHead } from "../../hosts/relay/log/sequencer.js";
import { naiveLeaf, naiveRoot } from "../merkle/naive.js";
import { entropy, entryOf, OPENING, ORIGIN } from "./bench.js";
import { QueueSource } from "./queue.js";
import { makeRecords } from "./records.js";

const { sha256 } = relayCrypto;

/** The machine's disk, whose step that makes names in `path` durable can be held up, or fail, once. */
function heldDisk(path: string) {
  let isReached: () => void = () => undefined;
  let release: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => {
    isReached = resolve;
  });
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let next: "goes on" | "waits" | "fails" = "goes on";
  const disk: Disk = {
    ...nodeDisk,
    syncFolder: async (folder) => {
      if (folder !== path || next === "goes on") return nodeDisk.syncFolder(folder);
      const what = next;
      next = "goes on";
      if (what === "fails") throw new DiskError("syncFolder", folder, new Error("EIO"));
      isReached();
      await released;
      return nodeDisk.syncFolder(folder);
    },
  };
  return {
    disk,
    reached,
    hold: () => {
      next = "waits";
    },
    release,
    failNext: () => {
      next = "fails";
    },
  };
}

describe("log: on the machine's own disk", function () {
  this.timeout(60_000);
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-log-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const optionsOf = (source: QueueSource, more: Partial<LogOptions> = {}): LogOptions => ({
    origin: ORIGIN,
    crypto: relayCrypto,
    entropy,
    source,
    opening: OPENING,
    ...more,
  });

  async function opened(source: QueueSource, more: Partial<LogOptions> = {}): Promise<Log> {
    const log = await Log.open(join(folder, "log"), optionsOf(source, more));
    assert.ok(log.ok, log.ok ? "" : `${log.failure.code} ${log.failure.detail}`);
    return log.value;
  }

  it("leaf 0 is the opening; records get receipts that a verifier takes with nothing but the key", async () => {
    const source = new QueueSource();
    const heads: SignedHead[] = [];
    const log = await opened(source, { onCheckpoint: (head) => heads.push(head) });
    assert.equal(log.head.size, 1);
    const records = makeRecords(300);
    source.entries.push(...records);
    assert.deepEqual(await log.sequence(), { ok: true, value: 300 });
    assert.deepEqual(
      heads.map(({ size }) => size),
      [301],
    );

    const first = await log.entry(0);
    assert.ok(first.ok);
    const opening = readOpening(relayCrypto, first.value);
    assert.deepEqual(opening, { ok: true, value: { ...OPENING, origin: ORIGIN, logKey: log.key.publicKey } });

    const checkpoint = openCheckpoint(relayCrypto, log.head.checkpoint, log.key);
    assert.ok(checkpoint.ok);
    for (const seq of [0, 1, 254, 255, 256, 299]) {
      const receipt = await log.receipt(seq + 1);
      assert.ok(receipt.ok);
      const id = recordId(sha256, records[seq]!);
      const proved = verifyInclusionReceipt(relayCrypto, log.key.publicKey, receipt.value, id);
      assert.ok(proved.ok);
      assert.deepEqual(proved.value, { size: 301, index: seq + 1, root: checkpoint.value.root });
    }
    await log.close();
  });

  it("paths to every size that was a head, and codes for what the log has not", async () => {
    const source = new QueueSource();
    const log = await opened(source);
    const heads = [log.head];
    for (let end = 1; end <= 600; end += 77) {
      while (source.entries.length < end) source.entries.push(entryOf(source.entries.length));
      assert.ok((await log.sequence()).ok);
      heads.push(log.head);
    }
    for (const [i, older] of heads.entries()) {
      for (const newer of heads.slice(i)) {
        const path = await log.consistency(older.size, newer.size);
        assert.ok(path.ok);
        assert.ok(verifyConsistency(sha256, older.size, older.root, newer.size, newer.root, path.value).ok);
      }
      assert.deepEqual(await log.rootAt(older.size), { ok: true, value: older.root });
      const index = Math.floor(older.size / 2);
      const path = await log.inclusion(index, older.size);
      const entry = await log.entry(index);
      assert.ok(path.ok && entry.ok);
      assert.ok(verifyInclusion(sha256, naiveLeaf(entry.value), index, older.size, path.value, older.root).ok);
      if (older.size === log.head.size) continue;
      const receipt = await log.consistencyReceipt(older.size);
      assert.ok(receipt.ok);
      assert.ok(verifyConsistencyReceipt(relayCrypto, log.key.publicKey, receipt.value, older).ok);
    }
    const { size } = log.head;
    for (const wrong of [-1, 0.5, Number.NaN, size, size + 1, 2 ** 53]) {
      for (const result of [await log.entry(wrong), await log.inclusion(wrong), await log.receipt(wrong)]) {
        assert.equal(result.ok ? "ok" : result.failure.code, "LOG_ENTRY_UNKNOWN", String(wrong));
      }
    }
    for (const [from, to] of [
      [size + 1, size],
      [5, size + 1],
      [-1, size],
      [6, 5],
    ] as const) {
      const result = await log.consistency(from, to);
      assert.equal(result.ok ? "ok" : result.failure.code, "LOG_ENTRY_UNKNOWN", `${from} ${to}`);
    }
    await log.close();
  });

  it("keeps key, memory and lock to its owner, publishes the rest, drops partial files that a full one replaced", async () => {
    const source = new QueueSource();
    const log = await opened(source);
    for (const end of [10, 300]) {
      while (source.entries.length < end) source.entries.push(entryOf(source.entries.length));
      assert.ok((await log.sequence()).ok);
    }
    await log.close();
    const mode = (path: string) => (statSync(join(folder, "log", path)).mode & 0o777).toString(8);
    for (const path of ["key", "key.signed", "lock/head"]) assert.equal(mode(path), "600", path);
    for (const path of ["public/checkpoint", "public/tile/0/000", "public/tile/entries/000"]) {
      assert.equal(mode(path), "644", path);
    }
    const names = readdirSync(join(folder, "log/public"), { recursive: true, encoding: "utf8" });
    const files = names.filter((name) => statSync(join(folder, "log/public", name)).isFile()).sort();
    assert.deepEqual(files, [
      "checkpoint",
      "tile/0/000",
      "tile/0/001.p/45",
      "tile/1/000.p/1",
      "tile/entries/000",
      "tile/entries/001.p/45",
    ]);
    chmodSync(join(folder, "log/key"), 0o644);
    const refused = await Log.open(join(folder, "log"), optionsOf(source));
    assert.equal(refused.ok ? "ok" : refused.failure.code, "LOG_KEY_UNSAFE");
  });

  it("a reader of its files may know of a checkpoint first: it is reached then, and is not beyond what is signed", async () => {
    const source = new QueueSource();
    const gate = heldDisk(join(folder, "log", "public"));
    const log = await opened(source, { disk: gate.disk });
    const reader = await Log.follow(join(folder, "log"), relayCrypto, log.key);
    assert.ok(reader.ok);
    assert.deepEqual([log.follows, reader.value.follows], [false, true]);
    source.entries.push(...makeRecords(20));
    gate.hold();
    const sequenced = log.sequence();
    await gate.reached;
    // In place, and its name not yet durable.
    assert.deepEqual([log.head.size, log.signed.size, reader.value.head.size], [1, 21, 21]);
    let isReached = false;
    const reaching = log.reach(21).then((reached) => {
      isReached = true;
      return reached;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isReached, false);
    const beyond = await log.reach(22);
    assert.equal(!beyond.ok && beyond.failure.code, "LOG_ENTRY_UNKNOWN");
    gate.release();
    assert.deepEqual(await reaching, { ok: true, value: true });
    assert.equal(log.head.size, 21);
    assert.deepEqual(await sequenced, { ok: true, value: 20 });

    source.entries.push(...makeRecords(3, 8));
    gate.failNext();
    assert.equal((await log.sequence()).ok, false);
    assert.deepEqual([log.head.size, log.signed.size], [21, 24]);
    const failed = await log.reach(24);
    assert.equal(!failed.ok && failed.failure.code, "LOG_IO_FAILED");
    assert.ok((await log.sequence()).ok, "the next run publishes what was signed");
    assert.deepEqual(await log.reach(24), { ok: true, value: true });
    assert.deepEqual(await reader.value.reach(24), { ok: true, value: true });
    const checkpoint = join(folder, "log", "public", "checkpoint");
    renameSync(checkpoint, `${checkpoint}.away`);
    const unread = await reader.value.reach(24);
    assert.equal(!unread.ok && unread.failure.code, "LOG_IO_FAILED", "no word of an old checkpoint at a later time");
    await log.close();
  });

  it("what the source throws reaches the caller, and no entry is taken twice", async () => {
    const source = new QueueSource();
    const told: number[] = [];
    const log = await opened(source, { onCheckpoint: ({ size }) => told.push(size) });
    for (const method of ["next", "integrated"] as const) {
      source.entries.push(entryOf(source.entries.length));
      const honest = source[method];
      const locked = () => {
        throw new Error("database is locked");
      };
      Object.assign(source, { [method]: locked });
      await assert.rejects(log.sequence(), /database is locked/);
      Object.assign(source, { [method]: honest });
      assert.ok((await log.sequence()).ok);
    }
    assert.equal(log.head.size, 3);
    assert.deepEqual(told, [2, 3], "also of the one that the source failed after");
    await log.close();
  });

  /** Starts the child; resolves when it has said `lines` lines, or has ended. */
  async function child(lines: number): Promise<{ process: ChildProcess; said: string[] }> {
    const path = fileURLToPath(new URL("./child.ts", import.meta.url));
    const process_ = spawn(process.execPath, ["--import", "tsx", path, folder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const said: string[] = [];
    let rest = "";
    await new Promise<void>((resolve) => {
      process_.stdout!.on("data", (chunk) => {
        rest += chunk;
        const whole = rest.split("\n");
        rest = whole.pop()!;
        said.push(...whole);
        if (said.length >= lines) resolve();
      });
      process_.on("close", () => resolve());
    });
    return { process: process_, said };
  }

  const ended = (process_: ChildProcess) =>
    new Promise<void>((resolve) =>
      (process_.exitCode ?? process_.signalCode) === null ? process_.on("exit", () => resolve()) : resolve(),
    );

  it("kill -9 in the middle, five times: every size it ever said is still there; the lock died with the process", async () => {
    const said: string[] = [];
    for (let round = 0; round < 5; round++) {
      const run = await child(4 + round * 5);
      if (round === 0) {
        const held = await Log.open(folder, optionsOf(new QueueSource()));
        assert.equal(held.ok ? "ok" : held.failure.code, "LOG_LOCK_HELD");
      }
      run.process.kill("SIGKILL");
      await ended(run.process);
      assert.match(run.said[0]!, /^open /, run.said[0]);
      said.push(...run.said.filter((line) => line.startsWith("size ")));
    }
    const source = new QueueSource();
    const log = await Log.open(folder, optionsOf(source));
    assert.ok(log.ok, log.ok ? "" : `${log.failure.code} ${log.failure.detail}`);
    const entries: Uint8Array[] = [];
    while (entries.length < log.value.head.size) {
      const more = await log.value.entriesFrom(entries.length);
      assert.ok(more.ok);
      entries.push(...more.value);
    }
    const leaves = entries.map(naiveLeaf);
    for (let i = 1; i < entries.length; i++) assert.ok(equalBytes(entries[i]!, entryOf(i - 1)), `entry ${i}`);
    assert.ok(said.length >= 5 * 3);
    for (const line of said) {
      const [, size, root] = line.split(" ");
      assert.equal(Buffer.from(naiveRoot(leaves.slice(0, Number(size)))).toString("hex"), root, line);
    }
    const told = readFileSync(join(folder, "told"), "utf8").split("\n").filter(Boolean);
    assert.deepEqual(
      told,
      leaves.slice(1).map((leaf) => Buffer.from(leaf).toString("hex")),
    );
    await log.value.close();
  });
});
