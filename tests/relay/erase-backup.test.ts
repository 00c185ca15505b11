import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { backUp } from "../../hosts/relay/backup.js";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { type Disk, nodeDisk } from "../../hosts/relay/log/disk.js";
import { restore } from "../../hosts/relay/restore.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { filesWith } from "./files-with.js";
import { describeOfSqlite } from "./postgres/of-sqlite.js";
import { must, StartedRelay, temporaryFolder } from "./started.js";

/** Bundles, each of which is erased from at a moment of a backup, and once more at another. */
const BUNDLES = 5;
const POSITIONS = [10, 20];
const BATCH = 200;

/** A disk that calls `act` once before its step with number `at`, and counts. */
function interrupted(at: number, act: () => Promise<void>) {
  let steps = 0;
  const step =
    <Args extends unknown[], T>(run: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      if (++steps === at) await act();
      return run(...args);
    };
  const disk: Disk = {
    ...nodeDisk,
    read: step(nodeDisk.read),
    write: step(nodeDisk.write),
    syncFile: step(nodeDisk.syncFile),
    rename: step(nodeDisk.rename),
    syncFolder: step(nodeDisk.syncFolder),
    makeFolder: step(nodeDisk.makeFolder),
    list: step(nodeDisk.list),
    remove: step(nodeDisk.remove),
  };
  return { disk, steps: () => steps };
}

describeOfSqlite("relay: bodies erased while a backup is made", function () {
  this.timeout(180_000);
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(BUNDLES * 256);
    for (let from = 1; from < device.chain.length; from += BATCH)
      device.read(await device.send(started.url, from, from + BATCH - 1), started.key);
    await started.settled();
  });
  after(() => started.close());

  async function erase(seq: number): Promise<void> {
    const request = { kid: device.identity.kid, from: seq, to: seq, reason: "asked", by: "operator" };
    const erased = must(await eraseInFolder(started.folder, request, { decided: true }));
    assert.deepEqual([erased.records, erased.done, erased.running], [1, true, true]);
  }

  /** The backup that is made while `seq` is erased: whole, with the body or without, and the next one is without. */
  async function check(at: number, seq: number): Promise<"with" | "without"> {
    const [backups, elsewhere] = [temporaryFolder(), temporaryFolder()];
    const body = [device.chain[seq]!];
    try {
      const { disk, steps } = interrupted(at, () => erase(seq));
      const made = must(await backUp(started.folder, backups.path, { withKeys: true, disk }));
      assert.ok(steps() > at, `step ${at} of ${steps()}`);
      assert.deepEqual(filesWith(started.folder, body), [], `erased at step ${at}`);
      const data = join(elsewhere.path, "relay");
      const newest = readFileSync(join(backups.path, made.name, "checkpoint"));
      assert.deepEqual(must(await restore(backups.path, data, { newest })).lacking, []);
      const { findings } = must(await examineFolder(data));
      // What a restore has emptied the next start marks as done.
      const others = findings.filter(({ code }) => code !== "ERASURE_UNFINISHED");
      assert.deepEqual(others, [], `erased at step ${at}`);
      const found = filesWith(data, body);
      // In the database and its bundle, or in neither.
      assert.ok(found.length === 0 || found.length === 2, found.join());

      must(await backUp(started.folder, backups.path, { withKeys: true, keep: 1 }));
      assert.deepEqual(filesWith(backups.path, body), [], `erased at step ${at}`);
      return found.length === 0 ? "without" : "with";
    } finally {
      backups.remove();
      elsewhere.remove();
    }
  }

  it("are in it whole or not at all, wherever in it they are erased, and in none that is begun afterwards", async () => {
    const counting = temporaryFolder();
    const { disk, steps } = interrupted(-1, async () => undefined);
    must(await backUp(started.folder, counting.path, { withKeys: true, disk }));
    counting.remove();
    const seen = new Set<string>();
    for (const [round, seq] of POSITIONS.entries())
      for (let bundle = 0; bundle < BUNDLES; bundle++) {
        const share = (bundle * POSITIONS.length + round) / (BUNDLES * POSITIONS.length);
        seen.add(await check(1 + Math.floor((steps() - 2) * share), bundle * 256 + seq));
      }
    assert.deepEqual([...seen].sort(), ["with", "without"]);
  });
});
