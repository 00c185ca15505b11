import assert from "node:assert/strict";
import { Bench } from "../device/bench.js";
import { networkOf } from "./board-network.js";
import { needMosquitto } from "./mosquitto.js";
import { StartedBoth } from "./started.js";
import { MqttTransport } from "./transport.js";

describe("MQTT: a whole simulated device over a broker", function () {
  this.timeout(60_000);
  let both: StartedBoth;
  let bench: Bench | undefined;
  const transports: MqttTransport[] = [];

  before(async function () {
    needMosquitto(this);
    both = await StartedBoth.start();
  });
  after(async () => {
    await bench?.close();
    for (const transport of transports) await transport.close();
    await both?.close();
  });

  it("makes its key, enrols, records, loses its power and its broker, and loses no record", async () => {
    const device = new Bench({ seed: 5 });
    bench = device;
    device.provision(both.started);
    device.network.target = networkOf(() => {
      const transport = new MqttTransport({ port: both.broker.port, kid: device.kid, timeoutMs: 1000 });
      transports.push(transport);
      return transport;
    });
    await device.powerOn();
    await device.until("some records", () => device.headSeq >= 5);
    await device.climb(both.started);
    await both.broker.kill();
    await device.run(20_000);
    await both.broker.run();
    await both.connected();
    await device.cutPower();
    await device.run(5000);
    await device.powerOn();
    await device.run(20_000);
    await device.checkNothingLost(both.started);
    assert.ok(device.codes.includes("TRANSPORT_FAILED"), "the broker was missed");
    assert.ok(device.headSeq > 10);
  });
});
