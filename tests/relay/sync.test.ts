import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, type MemoryKeys } from "../fixtures/device.js";
import { checkHeld, httpTransport, provision, SyncingDevice } from "../fixtures/syncing.js";
import { StartedRelay } from "./started.js";

/** The device's half of the protocol, modules/sync itself, against this relay. */
describe("relay: with a device's own sync", () => {
  let started: StartedRelay;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());

  const connect = (device: FixtureDevice, keys: MemoryKeys) =>
    new SyncingDevice(
      device,
      keys,
      httpTransport(() => started.url),
    );

  it("enrols, sends, pins each checkpoint and releases what is logged, over a restart of the relay", async () => {
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReadings(50);
    const syncing = connect(device, provision(started));
    await syncing.releasedTo(50);
    device.appendReadings(7);
    syncing.wake();
    await syncing.releasedTo(57);
    assert.deepEqual(syncing.problems, []);
    await started.restart();
    device.appendReadings(2);
    syncing.wake();
    await syncing.releasedTo(59);
    syncing.close();
    checkHeld(started.relay, device);
  });

  it("gives a device that lost its flash its own records back", async () => {
    const seed = new Uint8Array(randomBytes(32));
    const keys = provision(started);
    const device = new FixtureDevice({ crypto: relayCrypto, seed });
    device.appendReadings(20);
    const first = connect(device, keys);
    await first.releasedTo(20);
    first.close();

    const restored = new FixtureDevice({ crypto: relayCrypto, seed });
    const second = connect(restored, keys);
    await second.releasedTo(20);
    second.close();
    assert.deepEqual(
      restored.chain,
      device.chain.map((bytes) => new Uint8Array(bytes)),
    );
  });
});
