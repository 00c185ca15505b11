import assert from "node:assert/strict";
import { pino } from "pino";
import { Call, encodeUp } from "tallystick/sync/mqtt";
import {
  MQTT_KEY_UNDER_WAY_MAX,
  MQTT_REFUSALS_WAITING_MAX,
  MQTT_UNDER_WAY_MAX,
} from "../../hosts/relay/mqtt/listener.js";
import { get } from "../fixtures/device.js";
import { StartedRelay } from "../relay/started.js";
import { publishPacket, StallingBroker } from "./stalling-broker.js";
import { BACK_OFF, until } from "./started.js";

const MESSAGES = 700;

describe("MQTT: a broker that takes no answers", () => {
  let broker: StallingBroker | undefined;
  let started: StartedRelay | undefined;
  const lines: string[] = [];

  afterEach(async () => {
    broker?.close();
    await started?.close();
    lines.length = 0;
  });

  /** Once subscribed, sends a challenge's request on the topic of `kidOf(i)` for each i. */
  async function flood(receiveMax: number, kidOf: (i: number) => number): Promise<void> {
    broker = await StallingBroker.start(receiveMax);
    broker.onSubscribed = (send) => {
      for (let i = 0; i < MESSAGES; i++) {
        const id = new Uint8Array(8);
        new DataView(id.buffer).setUint32(0, i);
        const up = encodeUp({ id, call: Call.challenge, arguments: [], body: new Uint8Array(0) });
        send(publishPacket(`tally/v1/${kidOf(i).toString(16).padStart(16, "0")}/up`, up));
      }
    };
    const logger = pino({ level: "debug" }, { write: (line: string) => void lines.push(line) });
    started = await StartedRelay.start({ logger, mqtt: { url: broker.url, backOff: BACK_OFF } });
  }

  /** The broker takes one after another: answers that come in all, and the most that were under way. */
  async function drain(expected: number): Promise<number> {
    let most = 0;
    while (broker!.published < expected || broker!.unacknowledged.length > 0) {
      await until("an answer comes", () => broker!.unacknowledged.length > 0);
      most = Math.max(most, broker!.unacknowledged.length);
      broker!.acknowledge();
    }
    return most;
  }

  const ignored = () =>
    lines
      .filter((line) => line.includes("were not answered"))
      .reduce((sum, line) => sum + (JSON.parse(line).ignored.flood ?? 0), 0);

  it("has so many answers waiting and no more, in all, and the rest is counted", async () => {
    await flood(65_535, (i) => i);
    await until("as many as may be are on their way", () => broker!.published >= MQTT_UNDER_WAY_MAX);
    assert.equal((await get(`${started!.url}/readyz`)).status, 200, "HTTP answers");
    const answers = MQTT_UNDER_WAY_MAX + MQTT_REFUSALS_WAITING_MAX;
    assert.equal(await drain(answers), MQTT_UNDER_WAY_MAX);
    await started!.relay.close();
    assert.equal(broker!.published, answers);
    assert.equal(ignored(), MESSAGES - answers);
  });

  it("has so many of one topic, and of others as ever", async () => {
    await flood(65_535, (i) => (i < MESSAGES - 1 ? 1 : 2));
    const answers = MQTT_KEY_UNDER_WAY_MAX + MQTT_REFUSALS_WAITING_MAX + 1;
    await drain(answers);
    await started!.relay.close();
    assert.equal(broker!.published, answers);
    assert.equal(ignored(), MESSAGES - answers);
  });

  it("is sent no more at once than it has said that it takes", async () => {
    await flood(10, (i) => i);
    assert.equal(await drain(MQTT_UNDER_WAY_MAX + MQTT_REFUSALS_WAITING_MAX), 10);
  });

  it("may give out what it retained although it was told not to: it is not answered", async () => {
    broker = await StallingBroker.start();
    broker.onSubscribed = (send) => {
      const up = encodeUp({ id: new Uint8Array(8), call: Call.challenge, arguments: [], body: new Uint8Array(0) });
      const retained = publishPacket("tally/v1/0011223344556677/up", up);
      retained[0]! |= 1;
      send(retained);
      send(publishPacket("tally/v1/0011223344556677/up", up));
    };
    const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
    started = await StartedRelay.start({ logger, mqtt: { url: broker.url, backOff: BACK_OFF } });
    await drain(1);
    await started.relay.close();
    assert.equal(broker.published, 1);
    assert.ok(lines.some((line) => JSON.parse(line).ignored?.retained === 1));
  });

  it("is left in bounded time when the relay stops, and what waits is given up", async () => {
    await flood(10, (i) => i);
    await until("answers are on their way", () => broker!.published === 10);
    await started!.relay.close();
    assert.ok(lines.some((line) => line.includes('"stopped"')));
  });
});
