import assert from "node:assert/strict";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice } from "../fixtures/device.js";
import { checkHeld, provision, SyncingDevice } from "../fixtures/syncing.js";
import { needMosquitto } from "./mosquitto.js";
import { StartedBoth, until } from "./started.js";
import { MqttTransport } from "./transport.js";

/** Records that make some ten batches of a device. */
const RECORDS = 500;

describe("MQTT: a device's own sync over a broker", () => {
  let both: StartedBoth;
  let device: FixtureDevice;
  let transport: MqttTransport;
  let syncing: SyncingDevice | undefined;

  before(async function () {
    needMosquitto(this);
    both = await StartedBoth.start();
  });
  beforeEach(() => {
    device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReadings(RECORDS);
    transport = new MqttTransport({ port: both.broker.port, kid: device.kid, timeoutMs: 500 });
  });
  afterEach(async () => {
    syncing?.close();
    await transport.close();
  });
  after(() => both?.close());

  function begin(): SyncingDevice {
    syncing = new SyncingDevice(device, provision(both.started), transport);
    return syncing;
  }

  /** Calls `act` with each message on its way up, counted from 1. */
  function onUp(act: (number: number, publish: () => void) => void): void {
    let number = 0;
    transport.onUp = (publish) => act(++number, publish);
  }

  async function settles(): Promise<void> {
    await syncing!.releasedTo(RECORDS);
    checkHeld(both.started.relay, device);
    assert.ok(!syncing!.codes.has("CHAIN_FORK"));
    assert.ok(!syncing!.codes.has("ACKNOWLEDGEMENT_FALSE"), JSON.stringify(syncing!.problems));
  }

  it("enrols, sends and releases what is logged, without a problem", async () => {
    await begin().releasedTo(RECORDS);
    assert.deepEqual(syncing!.problems, []);
    await settles();
  });

  it("goes on where the broker is killed in the middle, and comes back blank", async () => {
    let killed: Promise<void> | undefined;
    onUp((number, publish) => {
      publish();
      if (number !== 5) return;
      // Not before the device has missed it: a broker can be back sooner than that.
      const isMissed = () => syncing!.codes.has("TRANSPORT_FAILED");
      killed ??= both.broker
        .kill()
        .then(() => until("the device has missed the broker", isMissed))
        .then(() => both.broker.run());
    });
    await begin().releasedTo(RECORDS);
    assert.ok(killed);
    await killed;
    await settles();
  });

  it("goes on where the connection is cut between a request and its answer", async () => {
    let cuts = 0;
    onUp((number, publish) => {
      publish();
      if (number % 4 === 0 && cuts < 4) {
        cuts++;
        transport.client.once("packetreceive", () => transport.cut());
      }
    });
    begin();
    await settles();
    assert.equal(cuts, 4);
  });

  it("goes on where answers are lost", async () => {
    let number = 0;
    transport.onDown = (deliver) => {
      if (++number % 3 !== 0) deliver();
    };
    begin();
    await settles();
    assert.ok(syncing!.codes.has("TRANSPORT_FAILED"));
  });

  it("is served once where each message is delivered twice, requests and answers", async () => {
    onUp((_number, publish) => {
      publish();
      publish();
    });
    transport.onDown = (deliver) => {
      deliver();
      deliver();
    };
    begin();
    await settles();
    assert.ok(transport.unasked >= RECORDS / 50, "answers came that nobody waited for");
    assert.deepEqual(syncing!.problems, []);
  });

  it("is not disturbed by messages that were held, and come late and in another order", async () => {
    const held: (() => void)[] = [];
    let count = 0;
    onUp((number, publish) => {
      // The device times out, and asks anew.
      if (number % 3 === 0 && count < 6) {
        count++;
        held.push(publish);
      } else publish();
      if (held.length === 3) for (const late of held.splice(0).reverse()) late();
      if (count === 5 && held.length > 1) held.shift()!();
    });
    begin();
    await syncing!.releasedTo(RECORDS);
    for (const late of held.reverse()) late();
    // Behind what was late, all of it looked at.
    await transport.ask({ method: "GET", path: "/v1/challenge" });
    device.appendReadings(1);
    await syncing!.releasedTo(RECORDS + 1);
    checkHeld(both.started.relay, device);
    assert.ok(!syncing!.codes.has("CHAIN_FORK"));
  });

  it("is not disturbed by all of its messages again, in any order, when all is done", async () => {
    const all: (() => void)[] = [];
    onUp((_number, publish) => {
      all.push(publish);
      publish();
    });
    begin();
    await settles();
    const before = transport.unasked;
    for (const again of [...all].reverse()) again();
    await transport.ask({ method: "GET", path: "/v1/challenge" });
    await transport.ask({ method: "GET", path: "/v1/challenge" });
    assert.ok(transport.unasked > before, "they were answered");
    checkHeld(both.started.relay, device);
  });

  it("goes on where the relay is closed and opened again", async () => {
    let restarted: Promise<void> | undefined;
    onUp((number, publish) => {
      publish();
      if (number === 6) restarted ??= both.started.restart();
    });
    begin();
    await syncing!.releasedTo(RECORDS);
    await restarted;
    await settles();
  });

  it("hurts neither HTTP nor the log while the broker is away: the relay is ready, and says so", async () => {
    const before = both.lines.length;
    await both.broker.kill();
    const other = await both.started.device();
    other.appendReadings(3);
    const answer = other.read(await other.send(both.started.url, 1), both.started.key);
    assert.equal(answer.received?.seq, 3);
    await both.started.settled();
    assert.equal(await both.isConnected(), false);
    assert.ok(both.lines.slice(before).some((line) => JSON.parse(line).code === "BROKER_AWAY"));
    await both.broker.run();
    await both.connected();
  });
});
