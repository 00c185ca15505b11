import assert from "node:assert/strict";
import { cpSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { follow, openCheckpoint } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Relay } from "../../hosts/relay/relay.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { failureOf, must, StartedRelay, temporaryFolder } from "./started.js";

/** A data folder that was copied, and two relays that take themselves for the one. */
describe("relay: two on one log", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  let device: FixtureDevice;
  let copy: ReturnType<typeof temporaryFolder>;
  let lock: ReturnType<typeof temporaryFolder>;

  beforeEach(async () => {
    [copy, lock] = [temporaryFolder(), temporaryFolder()];
    started = await StartedRelay.start({ batchIntervalMs: 3_600_000 });
    device = await started.device();
    device.appendReadings(10);
    device.read(await device.send(started.url, 1, 5), started.key);
    await started.relay.close();
  });
  afterEach(async () => {
    await started.close();
    copy.remove();
    lock.remove();
  });

  /** The lock on another disk, as README.md advises, and a copy of the rest that shares it. */
  function shareLock(): void {
    const at = join(started.folder, "log", "lock");
    cpSync(at, join(lock.path, "lock"), { recursive: true });
    renameSync(at, join(started.folder, "log", "lock.moved"));
    symlinkSync(join(lock.path, "lock"), at);
    cpSync(started.folder, copy.path, { recursive: true, verbatimSymlinks: true });
  }

  it("that share the lock: the second is refused while the first runs, and afterwards, and signs nothing", async () => {
    shareLock();
    await started.reopen();
    assert.equal(failureOf(await Relay.open({ dataDir: copy.path })).code, "LOG_LOCK_HELD");
    device.read(await device.send(started.url, 6), started.key);
    await started.settled();
    await started.relay.close();
    const signed = readFileSync(join(copy.path, "log/key.signed"));
    assert.equal(failureOf(await Relay.open({ dataDir: copy.path })).code, "LOG_BEHIND");
    assert.deepEqual(readFileSync(join(copy.path, "log/key.signed")), signed);
    await started.reopen();
  });

  it("that share the lock, and the copy went first: the original signs nothing any more", async () => {
    shareLock();
    const other = must(await Relay.open({ dataDir: copy.path, batchIntervalMs: 3_600_000 }));
    await device.send(other.url, 6, 8);
    must(await other.log.sequence());
    await other.close();
    const signed = readFileSync(join(started.folder, "log/key.signed"));
    assert.equal(failureOf(await Relay.open({ dataDir: started.folder })).code, "LOG_BEHIND");
    assert.deepEqual(readFileSync(join(started.folder, "log/key.signed")), signed);
    await other.close();
  });

  it("that share nothing sign two histories, which whoever follows the log sees, and which what others know refuses", async () => {
    cpSync(started.folder, copy.path, { recursive: true });
    const other = must(await Relay.open({ dataDir: copy.path, batchIntervalMs: 3_600_000 }));
    await started.reopen();
    const logKey = must(parseVerifierKey(relayCrypto.sha256, other.identity.logKey));
    const second = await started.device();
    device.read(await device.send(other.url, 6), started.key);
    must(await other.log.sequence());
    await started.settled();
    await other.close();
    second.appendReadings(20);
    second.read(await second.send(started.url, 1), started.key);
    await started.settled();
    const [one, two] = [other.log.head, started.relay.log.head].map(({ checkpoint }) =>
      must(openCheckpoint(relayCrypto, checkpoint, logKey)),
    );
    assert.ok(two!.size > one!.size);
    const path = must(await started.relay.log.consistency(one!.size, two!.size));
    assert.equal(failureOf(follow(relayCrypto.sha256, one, two!, path)).code, "CONSISTENCY_FALSE");
    await started.relay.close();
    const known = [{ ...one!, whence: "a witness" }];
    assert.equal(failureOf(await Relay.open({ dataDir: started.folder, known })).code, "LOG_FORKED");
    await started.reopen();
  });
});
