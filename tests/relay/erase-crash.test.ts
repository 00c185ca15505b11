import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import type { Result } from "tallystick/codes/codes";
import { recordId } from "tallystick/record/record";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { decideErasure, planErasure } from "../../hosts/relay/erase.js";
import { eraseFromFiles, finishErasures, openErasures } from "../../hosts/relay/erasing.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { type Disk, nodeDisk } from "../../hosts/relay/log/disk.js";
import { Relay } from "../../hosts/relay/relay.js";
import { repairFolder } from "../../hosts/relay/repair.js";
import { openDatabase } from "../../hosts/relay/store/database.js";
import { Store } from "../../hosts/relay/store/store.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { filesWith } from "./files-with.js";
import { must, pool, StartedRelay, temporaryFolder } from "./started.js";

/** The process ended here. */
class Killed extends Error {
  override readonly name = "Killed";
}

/** Mutating steps of the disk and of the database, of which the one with number `last` is the last: before it, or after. */
class Steps {
  readonly names: string[] = [];

  constructor(
    readonly last: number,
    readonly moment: "before" | "after",
  ) {}

  async take<T>(name: string, run: () => T | Promise<T>): Promise<T> {
    this.begin(name);
    const value = await run();
    this.end(name);
    return value;
  }

  takeAtOnce<T>(name: string, run: () => T): T {
    this.begin(name);
    const value = run();
    this.end(name);
    return value;
  }

  begin(name: string): void {
    this.names.push(name);
    if (this.names.length === this.last && this.moment === "before") throw new Killed(name);
  }

  end(name: string): void {
    if (this.names.length === this.last && this.moment === "after") throw new Killed(name);
  }
}

function steppedDisk(steps: Steps): Disk {
  return {
    ...nodeDisk,
    write: (path, bytes, mode) => steps.take(`write ${path}`, () => nodeDisk.write(path, bytes, mode)),
    rename: (from, to) => steps.take(`rename ${to}`, () => nodeDisk.rename(from, to)),
    makeFolder: (path) => steps.take(`makeFolder ${path}`, () => nodeDisk.makeFolder(path)),
    remove: (path) => steps.take(`remove ${path}`, () => nodeDisk.remove(path)),
  };
}

/** The database's own steps are whole or not there: SQLite's transactions, which are its to keep. */
class SteppedStore extends Store {
  steps: Steps | undefined;

  override transaction<T>(write: () => T): T {
    return this.steps ? this.steps.takeAtOnce("transaction", () => super.transaction(write)) : super.transaction(write);
  }
}

describe("relay: an erasure that is killed at any of its steps", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let device: FixtureDevice;
  let work: ReturnType<typeof temporaryFolder>;
  const data = () => join(work.path, "relay");

  before(async () => {
    work = temporaryFolder();
    started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(300);
    for (let from = 1; from <= 300; from += 150)
      device.read(await device.send(started.url, from, from + 149), started.key);
    await started.settled();
    await started.relay.close();
    // Of the bundle that still grows something was erased before.
    must(await decideAndFinish(started.folder, 290, 291, new Steps(0, "before")));
  });
  after(async () => {
    work.remove();
    await started.close();
  });

  async function decideAndFinish(dataDir: string, from: number, to: number, steps: Steps): Promise<Result<number>> {
    const store = new SteppedStore(must(openDatabase(pathsOf(dataDir).store)));
    try {
      store.steps = steps;
      const folder = { dataDir, store, disk: steppedDisk(steps), nowMs: Date.now };
      const erased = must(await openErasures(folder));
      const request = { kid: device.identity.kid, from, to, reason: "asked", by: "operator" };
      decideErasure(store, must(planErasure({ store, crypto }, request)), Date.now());
      // VACUUM and the emptying of the write-ahead log are a step, too.
      const compact = store.erasures.compact.bind(store.erasures);
      store.erasures.compact = () => steps.takeAtOnce("compact", compact);
      return await finishErasures(folder, eraseFromFiles(folder, erased));
    } finally {
      store.close();
    }
  }

  /** Bodies that are to go: of a full bundle, and of the one that grows. */
  const [from, to] = [250, 260];
  const bodies = () => device.chain.slice(from, to + 1);

  async function goesOn(name: string): Promise<void> {
    const { findings } = must(await examineFolder(data()));
    assert.deepEqual(
      findings.filter(({ severity }) => severity !== "recovers"),
      [],
      `${name}: no damage`,
    );
    const relay = must(await Relay.open({ dataDir: data(), pool, batchIntervalMs: 3_600_000 }));
    const isDecided = relay.store.erasures.record(recordId(crypto.sha256, device.chain[from]!)) !== undefined;
    for (const [seq, bytes] of device.chain.entries()) {
      const isErased = seq === 290 || seq === 291 || (isDecided && seq >= from && seq <= to);
      const stored = relay.store.recordAt(1, seq)!;
      assert.equal(toHex(stored.bytes), isErased ? "" : toHex(bytes), `${name}: seq ${seq}`);
      must(await relay.log.receipt(stored.logIndex!));
    }
    await relay.close();
    assert.deepEqual(must(await examineFolder(data())).findings, [], name);
    if (isDecided) assert.deepEqual(filesWith(data(), bodies()), [], name);
    assert.deepEqual(filesWith(data(), device.chain.slice(290, 292)), [], name);
  }

  for (const moment of ["before", "after"] as const)
    it(`is finished by the next start, ${moment} each step`, async () => {
      const ends = new Set<string>();
      let step = 1;
      for (; ; step++) {
        rmSync(data(), { recursive: true, force: true });
        cpSync(started.folder, data(), { recursive: true });
        const steps = new Steps(step, moment);
        try {
          must(await decideAndFinish(data(), from, to, steps));
          break;
        } catch (error) {
          if (!(error instanceof Killed)) throw error;
          ends.add(error.message.split(" ")[0]!);
          await goesOn(`${moment} step ${step}, ${error.message}`);
        }
      }
      assert.ok(step > 15, `${step} steps`);
      assert.deepEqual([...ends].sort(), ["compact", "makeFolder", "remove", "rename", "transaction", "write"]);
    });

  it("is not undone by a repair between the steps", async () => {
    for (let step = 1; ; step++) {
      rmSync(data(), { recursive: true, force: true });
      cpSync(started.folder, data(), { recursive: true });
      try {
        must(await decideAndFinish(data(), from, to, new Steps(step, "before")));
        break;
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
        // All that it may find wrong is that something is there still.
        const { repaired } = must(await repairFolder(data()));
        assert.ok(
          repaired.every((path) => path.startsWith("log/kept/")),
          `step ${step}: ${repaired}`,
        );
        if (step % 5 === 0) await goesOn(`repaired before step ${step}, ${error.message}`);
      }
    }
  });
});
