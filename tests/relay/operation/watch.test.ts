import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { toHex } from "tallystick/bytes/bytes";
import { encodeAlert } from "tallystick/record/payload";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { type RelayEvent, RelayEvents } from "../../../hosts/relay/events.js";
import { Figures } from "../../../hosts/relay/store/figures.js";
import { Ladder } from "../../../hosts/relay/store/ladder.js";
import { Watch } from "../../../hosts/relay/watch/watch.js";
import { FixtureDevice } from "../../fixtures/device.js";
import { StartedRelay } from "../started.js";
import { type Receiver, startReceiver } from "../webhooks/receiver.js";

describe("relay: what it watches", () => {
  let nowMs = Date.UTC(2026, 0, 1);
  let started: StartedRelay;
  let receiver: Receiver;
  const batchIntervalMs = 3_600_000;
  before(async () => {
    receiver = await startReceiver();
    started = await StartedRelay.start({
      nowMs: () => nowMs,
      batchIntervalMs,
      watch: { silenceIntervals: 2, logStuckS: 100 },
      webhooks: {
        url: `http://127.0.0.1:${receiver.port}/`,
        secret: new Uint8Array(randomBytes(32)),
        allowInsecure: true,
        repeatAfterS: 1,
        allowAddresses: ["127.0.0.1"],
      },
    });
  });
  after(async () => {
    await started.close();
    await receiver.close();
  });

  /** What the receiver is told of while `act` runs; it looks at the fleet afterwards. */
  async function told(count: number, act: () => unknown): Promise<Record<string, unknown>[]> {
    const before = receiver.received.length;
    await act();
    await started.relay.operation.watch.look();
    await receiver.came(before + count);
    return receiver.received.slice(before).map(({ body }) => JSON.parse(body));
  }

  /** The messages about silence of one device, once there are so many. */
  async function silences(kid: string, count: number): Promise<Record<string, unknown>[]> {
    for (;;) {
      const all = receiver.received.map(({ body }) => JSON.parse(body));
      const found = all.filter((message) => message.event === "silence" && message.kid === kid);
      if (found.length >= count) return found;
      await receiver.came(all.length + 1);
    }
  }

  it("tells a receiver of a fork and of a record that the key has not signed", async () => {
    const seed = new Uint8Array(32).fill(9);
    const device = await started.device({ seed }, nowMs);
    const twin = new FixtureDevice({ crypto: relayCrypto, seed });
    const forged = Buffer.from(device.appendReading(1));
    forged[forged.length - 1]! ^= 1;
    const [bad] = await told(1, () => device.sendBytes(started.url, forged));
    assert.deepEqual([bad!["event"], bad!["kid"]], ["bad-signature", device.kid]);
    device.read(await device.send(started.url), started.key);
    twin.appendReading(2);
    const [fork] = await told(1, () => twin.send(started.url));
    assert.deepEqual([fork!["event"], fork!["kid"]], ["fork", device.kid]);
    assert.equal((fork!["details"] as { seq: number }).seq, 1);
  });

  it("tells once of a log that does not go on", async () => {
    nowMs += 99_000;
    await told(0, () => undefined);
    nowMs += 2000;
    const [stuck] = await told(1, () => undefined);
    assert.deepEqual([stuck!["event"], stuck!["kid"], stuck!["details"]], ["log-stuck", null, { waiting_s: 101 }]);
    await started.relay.operation.watch.look();
    await started.relay.log.sequence();
    // What comes next is of another kind: nothing was told again before it.
    const device = await started.device({ seed: new Uint8Array(32).fill(0x5a) }, nowMs);
    device.appendReading(1);
    device.read(await device.send(started.url), started.key);
    const twin = new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(0x5a) });
    twin.appendReading(2);
    const [next] = await told(1, () => twin.send(started.url, 1));
    assert.equal(next!["event"], "fork");
  });

  it("tells of a device that is not heard for its intervals, and again after it was heard", async () => {
    const device = await started.device({}, nowMs);
    const { watch } = started.relay.operation;
    await watch.look();
    const { markIntervalS } = [...watch.fleet.quiet(nowMs)].find(({ kid }) => kid === device.kid)!;
    nowMs += markIntervalS * 2000 + 60_000;
    await watch.look();
    nowMs += 1;
    await watch.look();
    const [first] = await silences(device.kid, 1);
    assert.deepEqual(first!["details"], { quiet_s: markIntervalS * 2 + 60, mark_interval_s: markIntervalS });
    device.appendMark();
    device.read(await device.send(started.url), started.key);
    await watch.look();
    assert.equal([...watch.fleet.quiet(nowMs)].find(({ kid }) => kid === device.kid)!.quietS, 0);
    nowMs += markIntervalS * 3000;
    await watch.look();
    const second = (await silences(device.kid, 2))[1]!;
    assert.deepEqual(second["details"], { quiet_s: markIntervalS * 3, mark_interval_s: markIntervalS });
  });

  it("tells of what a device has found in its own readings, when its record is new", async () => {
    const device = await started.device({}, nowMs);
    device.appendReadings(1);
    const [, reading] = device.chain;
    const found = { finding: "stuck", text: "21.5 Cel, 64 times in 63 min", quantity: "temperature" };
    const records = [recordId(relayCrypto.sha256, reading!)];
    const bytes = device.append(Kind.alert, encodeAlert({ ...found, records }));
    const send = () => device.send(started.url, 1);
    const [alert] = await told(1, send);
    const id = toHex(recordId(relayCrypto.sha256, bytes));
    assert.deepEqual(
      [alert!["event"], alert!["kid"], alert!["details"]],
      ["alert", device.kid, { seq: 2, id, ...found }],
    );
    const before = receiver.received.length;
    await send();
    // A second message would have to come before this one.
    const twin = await started.device({}, nowMs);
    twin.append(Kind.alert, encodeAlert({ ...found, records }));
    await told(1, () => twin.send(started.url, 1));
    assert.equal(receiver.received.length, before + 1);
  });

  it("tells of positions that have come to be missing", async () => {
    const device = await started.device({}, nowMs);
    const { store } = started.relay;
    const stored = store
      .devicesAfter(new Uint8Array(0), 100)
      .find(({ kid }) => Buffer.from(kid).toString("hex") === device.kid)!;
    await started.relay.operation.watch.look();
    const [gap] = await told(1, () =>
      store.transaction(() => store.gaps.replace(stored.device, [], [{ first: 3, last: 6 }], nowMs)),
    );
    assert.deepEqual([gap!["event"], gap!["kid"], gap!["details"]], ["gap", device.kid, { missing: 4 }]);
  });

  it("tells of a checkpoint that waits for the ledger, once until it moves", async () => {
    const events: RelayEvent[] = [];
    const emitted = new RelayEvents((error) => assert.fail(String(error)));
    emitted.on((event) => events.push(event));
    const { database } = started.relay.store;
    const ladder = new Ladder(database);
    const root = new Uint8Array(32);
    let clockMs = nowMs + 1e9;
    const watch = new Watch({
      figures: new Figures(database),
      ladder,
      events: emitted,
      nowMs: () => clockMs,
      logTrouble: () => undefined,
      ledgerTrouble: () => ({ code: "LEDGER_UNREACHABLE", detail: "" }),
      ledgerStuckS: 60,
      onFault: (error) => assert.fail(String(error)),
    });
    const stuck = async () => {
      await watch.look();
      return events.filter(({ event }) => event === "ledger-stuck");
    };
    ladder.climbed("final", { size: 1000, root }, clockMs);
    assert.deepEqual(await stuck(), []);
    ladder.logged({ size: 1001, root }, clockMs);
    clockMs += 60_000;
    assert.deepEqual(await stuck(), []);
    clockMs += 1000;
    const first = { event: "ledger-stuck", waitingS: 61, code: "LEDGER_UNREACHABLE" };
    assert.deepEqual(await stuck(), [first]);
    assert.deepEqual(await stuck(), [first]);
    ladder.climbed("final", { size: 1001, root }, clockMs);
    await stuck();
    ladder.logged({ size: 1002, root }, clockMs);
    clockMs += 61_000;
    assert.equal((await stuck()).length, 2);
    await watch.close();
  });

  it("does not let a listener that fails keep word from the others", () => {
    const faults: unknown[] = [];
    const events = new RelayEvents((error) => faults.push(error));
    const heard: RelayEvent[] = [];
    events.on(() => {
      throw new Error("x");
    });
    events.on((event) => heard.push(event));
    events.emit({ event: "gap", kid: "", missing: 1 });
    assert.deepEqual([faults.length, heard.length], [1, 1]);
  });
});
