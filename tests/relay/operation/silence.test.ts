import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { FixtureDevice } from "../../fixtures/device.js";
import { StartedRelay } from "../started.js";
import { type Receiver, startReceiver } from "../webhooks/receiver.js";

const RECORDS = 6;

/** Whoever deletes the end of a chain on its way makes a device silent: that is all a relay can see of it, and it is enough. */
describe("relay: an end of a chain that never comes", () => {
  let nowMs = Date.UTC(2026, 0, 1);
  let started: StartedRelay;
  let receiver: Receiver;
  before(async () => {
    receiver = await startReceiver();
    started = await StartedRelay.start({
      nowMs: () => nowMs,
      webhooks: {
        url: `http://127.0.0.1:${receiver.port}/`,
        secret: new Uint8Array(randomBytes(32)),
        allowInsecure: true,
        allowAddresses: ["127.0.0.1"],
      },
    });
  });
  after(async () => {
    await started.close();
    await receiver.close();
  });

  const silent = (): string[] =>
    receiver.received
      .map(({ body }) => JSON.parse(body) as { event: string; kid: string })
      .filter(({ event }) => event === "silence")
      .map(({ kid }) => kid)
      .sort();

  it("is told within one mark interval, whatever its first position, and of no device that goes on", async () => {
    const { watch } = started.relay.operation;
    const devices: FixtureDevice[] = [];
    for (let kept = 0; kept < RECORDS; kept++) {
      const device = await started.device({}, nowMs);
      device.appendReadings(RECORDS);
      // Position `kept` is the last that arrives.
      if (kept > 0) device.read(await device.send(started.url, 1, kept), started.key);
      devices.push(device);
    }
    const whole = await started.device({}, nowMs);
    await watch.look();
    const { markIntervalS } = [...watch.fleet.quiet(nowMs)].find(({ kid }) => kid === whole.kid)!;
    nowMs += markIntervalS * 1000;
    whole.appendMark();
    whole.read(await whole.send(started.url), started.key);
    await watch.look();
    assert.deepEqual(silent(), [], "none before the interval is over");
    nowMs += Math.min(60, markIntervalS / 10) * 1000;
    await watch.look();
    assert.deepEqual(silent(), [], "and a mark may be on its way");
    nowMs += 1;
    await watch.look();
    // Other words come between, of a log that stands still.
    while (silent().length < RECORDS) await receiver.came(receiver.received.length + 1);
    assert.deepEqual(silent(), devices.map(({ kid }) => kid).sort());
    for (const [kept, { kid }] of devices.entries()) {
      const { device } = started.relay.store.deviceByKid(Buffer.from(kid, "hex"))!;
      assert.equal(started.relay.store.head(device).seq, kept, "from where on it is missing");
    }
  });
});
