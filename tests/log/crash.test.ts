import assert from "node:assert/strict";
import type { Result } from "tallystick/codes/codes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import type { Log } from "../../hosts/relay/log/log.js";
import { naiveLeaf, naiveRoot } from "../merkle/naive.js";
import { MemorySource, openOn } from "./bench.js";
import { MemoryDisk, type Moment, PowerCut, seeded } from "./disk.js";

/** Entries that become durable before each run of the sequencer: a few, nearly a tile, across its end. */
const WORKLOAD = [2, 252, 3];

/** All that was ever signed and could have been seen, whatever happened afterwards. */
class History {
  readonly checkpoints = new Map<string, Uint8Array>();

  see(disk: MemoryDisk): void {
    for (const [path, bytes] of disk.files()) {
      if (path === "/log/public/checkpoint" || path === "/log/lock/head") {
        this.checkpoints.set(Buffer.from(bytes).toString(), bytes);
      }
    }
    // Whoever follows the log finds the signature of whatever checkpoint he reads, wherever the sequencer has stopped.
    const [published, heads] = ["/log/public/checkpoint", "/log/heads"].map((path) => disk.files().get(path));
    const text = published && JSON.stringify(Buffer.from(published).toString());
    if (text) assert.ok(heads && Buffer.from(heads).toString().includes(text), "a checkpoint without its signature");
  }

  /** Each checkpoint is the naive tree over the first entries of the log as it is in the end. */
  async check(log: Log, source: MemorySource): Promise<void> {
    const entries: Uint8Array[] = [];
    while (entries.length < log.head.size) {
      const more = await log.entriesFrom(entries.length);
      assert.ok(more.ok, more.ok ? "" : more.failure.detail);
      entries.push(...more.value);
    }
    assert.equal(entries.length, source.entries.length + 1);
    source.entries.forEach((entry, i) => {
      assert.equal(Buffer.compare(entry, entries[i + 1]!), 0, `entry ${i}: every entry once, in the source's order`);
    });
    const leaves = entries.map(naiveLeaf);
    for (let i = 0; i < source.entries.length; i++) assert.equal(source.indexOf.get(i), i + 1, `index of entry ${i}`);
    assert.ok(this.checkpoints.size > 0);
    for (const bytes of this.checkpoints.values()) checkTree(bytes, log.key, leaves);
    checkTree(log.head.checkpoint, log.key, leaves);
  }
}

function checkTree(bytes: Uint8Array, key: VerifierKey, leaves: readonly Uint8Array[]): void {
  const opened = openCheckpoint(relayCrypto, bytes, key);
  assert.ok(opened.ok, opened.ok ? "" : opened.failure.detail);
  assert.ok(opened.value.size <= leaves.length, "no checkpoint is larger than the log");
  assert.equal(hex(opened.value.root), hex(rootAt(opened.value.size, leaves)), `root at ${opened.value.size}`);
}

/** The naive tree is slow, and the logs here are all of the same entries: each of its roots is computed once. */
const roots = new Map<string, Uint8Array>();
function rootAt(size: number, leaves: readonly Uint8Array[]): Uint8Array {
  const name = `${size} ${hex(leaves[0]!)} ${hex(leaves[size - 1]!)}`;
  const root = roots.get(name) ?? naiveRoot(leaves.slice(0, size));
  roots.set(name, root);
  return root;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Runs the workload from wherever it is; true when it ran to its end, false when the power went. */
async function run(disk: MemoryDisk, source: MemorySource, history: History): Promise<Log | undefined> {
  try {
    const log = await openOn(disk, source);
    assert.ok(log.ok, log.ok ? "" : `${log.failure.code} ${log.failure.detail}`);
    for (;;) {
      const sequenced = await log.value.sequence();
      assert.ok(sequenced.ok, sequenced.ok ? "" : `${sequenced.failure.code} ${sequenced.failure.detail}`);
      const runs = WORKLOAD.findIndex((_, i) => total(i + 1) > source.entries.length);
      if (runs < 0) return log.value;
      source.add(WORKLOAD[runs]!);
    }
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error;
    return undefined;
  } finally {
    history.see(disk);
  }
}

/** Only writes and syncs can be half done. */
function momentsOf(step: string): Moment[] {
  return /^(write|syncFolder) /.test(step) ? ["before", "half", "after"] : ["before", "after"];
}

const total = (runs: number) => WORKLOAD.slice(0, runs).reduce((sum, count) => sum + count, 0);

describe("log: power cuts at every step of the sequencer", function () {
  this.timeout(120_000);
  let steps = 0;
  let trace: readonly string[] = [];

  it("the workload runs whole, and every kind of step is in it", async () => {
    const [disk, source, history] = [new MemoryDisk(), new MemorySource(), new History()];
    const log = await run(disk, source, history);
    assert.ok(log);
    await history.check(log, source);
    steps = disk.steps;
    trace = disk.trace;
    const kinds = new Set(disk.trace.map((line) => line.split(" ")[0]));
    assert.deepEqual([...kinds].sort(), ["integrated", "makeFolder", "remove", "rename", "syncFolder", "write"]);
    for (const path of ["/log/key", "/log/key.signed", "/log/lock/head", "/log/heads", "/log/public/checkpoint"]) {
      assert.ok(disk.trace.includes(`rename ${path}`), path);
    }
  });

  const keeps: [string, (seed: number) => () => boolean][] = [
    ["nothing unsynced is there after it", () => () => false],
    ["everything unsynced is there after it", () => () => true],
    [
      "a drawn part of what was unsynced is there after it",
      (seed) => {
        const draw = seeded(seed);
        return () => draw() < 0.5;
      },
    ],
  ];
  for (const [name, keep] of keeps) {
    it(`one cut; ${name}`, async () => {
      assert.ok(steps > 80, "the first test counts the steps");
      for (let step = 1; step <= steps; step++) {
        // After one step is before the next: for a cut it is the same moment.
        for (const moment of momentsOf(trace[step - 1]!).filter((each) => each !== "after")) {
          const label = `cut ${moment} step ${step}`;
          const [disk, source, history] = [new MemoryDisk(), new MemorySource(), new History()];
          disk.injection = { kind: "cut", step, moment };
          assert.equal(await run(disk, source, history), undefined, label);
          const again = disk.restart(keep(step));
          const log = await run(again, source, history);
          assert.ok(log, label);
          try {
            await history.check(log, source);
          } catch (error) {
            throw new Error(`${label} (${disk.trace.at(-1)})`, { cause: error });
          }
        }
      }
    });
  }

  it("several cuts, also during recovery, at drawn steps", async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const draw = seeded(seed);
      let disk = new MemoryDisk();
      const [source, history] = [new MemorySource(), new History()];
      let log: Log | undefined;
      for (let cut = 0; log === undefined; cut++) {
        const within = cut % 2 === 0 ? steps : 12;
        const moment = (["before", "half", "after"] as const)[Math.floor(draw() * 3)]!;
        if (cut < 8) disk.injection = { kind: "cut", step: 1 + Math.floor(draw() * within), moment };
        log = await run(disk, source, history);
        if (log === undefined) disk = disk.restart(() => draw() < 0.5);
      }
      try {
        await history.check(log, source);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });
});

describe("log: a step that fails, and the same process goes on", function () {
  this.timeout(120_000);

  it("every step of the workload, once", async () => {
    const whole = new MemoryDisk();
    assert.ok(await run(whole, new MemorySource(), new History()));
    let [failures, injected] = [0, 0];
    for (let step = 1; step <= whole.steps; step++) {
      for (const moment of momentsOf(whole.trace[step - 1]!)) {
        const [disk, source, history] = [new MemoryDisk(), new MemorySource(), new History()];
        disk.injection = { kind: "fault", step, moment };
        injected += 1;
        /** Runs until it succeeds; a failure is of the disk, or what the source threw. */
        const persist = async <T>(attempt: () => Promise<Result<T>>): Promise<T> => {
          for (let tries = 0; tries < 3; tries++) {
            try {
              const result = await attempt();
              if (result.ok) return result.value;
              assert.equal(result.failure.code, "LOG_IO_FAILED", result.failure.detail);
            } catch (error) {
              assert.match(String(error), /injected at step \d+, \w+ integrated/);
            }
            failures += 1;
          }
          throw new Error(`fault ${moment} step ${step}: it never recovered`);
        };
        const log = await persist(() => openOn(disk, source));
        for (const count of WORKLOAD) {
          source.add(count);
          await persist(() => log.sequence());
          history.see(disk);
        }
        try {
          await history.check(log, source);
        } catch (error) {
          throw new Error(`fault ${moment} step ${step} (${disk.trace[step - 1]})`, { cause: error });
        }
      }
    }
    assert.equal(failures, injected, "each injected fault was reported once");
  });
});
