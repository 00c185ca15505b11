import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { encodeEnrolment, encodeRequest } from "tallystick/sync/messages";
import { Call, encodeUp, type Up } from "tallystick/sync/mqtt";
import { ATTEMPTS_BURST, keyPlace, placeOf } from "../../hosts/relay/attempts.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { BAD_BATCHES_BURST } from "../../hosts/relay/intake.js";
import { MQTT_KEY_UNDER_WAY_MAX } from "../../hosts/relay/mqtt/listener.js";
import { FixtureDevice, get } from "../fixtures/device.js";
import { ORIGIN } from "../relay/started.js";
import { needMosquitto } from "./mosquitto.js";
import { StartedBoth, until } from "./started.js";
import { MqttTransport, publishOnce } from "./transport.js";

const STRANGE = 'x\n\u001b[31m{"level":60}';

describe("MQTT: whoever may write to the broker", () => {
  let both: StartedBoth;
  let device: FixtureDevice;
  let transport: MqttTransport;
  let unanswered = 0;

  before(async function () {
    needMosquitto(this);
    // Of a clock that stands still nothing is forgiven.
    both = await StartedBoth.start({ nowMs: () => 1_800_000_000_000 });
    device = await both.started.device({}, 1_800_000_000_000);
    transport = new MqttTransport({ port: both.broker.port, kid: device.kid });
  });
  after(async () => {
    await transport?.close();
    await both?.close();
  });

  const head = (of: FixtureDevice = device) =>
    ({ method: "POST", path: `/v1/devices/${of.kid}/head`, body: encodeRequest(of.request()) }) as const;
  const codeOf = (answer: { readonly body: Uint8Array } | undefined): string => {
    assert.ok(answer, "it is answered");
    return JSON.parse(Buffer.from(answer.body).toString()).code;
  };
  const message = (parts: Partial<Up> = {}): Uint8Array =>
    encodeUp({
      id: new Uint8Array(randomBytes(8)),
      call: Call.head,
      arguments: [],
      body: encodeRequest(device.request()),
      ...parts,
    });
  const publishAll = async (topics: readonly string[], bytes: Uint8Array): Promise<void> => {
    for (const topic of topics) await publishOnce(both.broker.port, topic, bytes);
  };

  it("is not answered on other topics, with wildcards, in other letters or without a request in it", async () => {
    const { kid } = device;
    const answered: string[] = [];
    const listener = new MqttTransport({ port: both.broker.port, kid });
    listener.onDown = () => undefined;
    listener.client.on("message", (topic) => answered.push(topic));
    await listener.client.subscribeAsync(["tally/v1/+/down", "tally/v1/down", "tally/v2/#"], { qos: 1 });
    const upper = kid.replace(/[0-9]/g, "A").toUpperCase();
    await publishAll(
      [
        `tally/v1/${upper}/up`,
        `tally/v1/${kid}0/up`,
        `tally/v1/${kid.slice(1)}/up`,
        "tally/v1//up",
        `tally/v1/${kid}/x/up`,
        `tally/v1/${kid}`,
        `/tally/v1/${kid}/up`,
        `tally/v1/${kid}\n/up`,
        `tally/v1/${STRANGE}/up`,
        "tally/v1/..%2f..%2f/up",
      ],
      message(),
    );
    await publishAll([`tally/v1/${kid}/up`], new Uint8Array(0));
    await publishAll([`tally/v1/${kid}/up`], Buffer.from(STRANGE));
    await publishAll([`tally/v1/${kid}/up`], new Uint8Array(60_000).fill(0x9f));
    // Behind all of these the relay has seen this one, and answered it alone.
    assert.equal((await transport.ask(head()))?.status, 200);
    await until("that answer is heard", () => answered.length > 0);
    assert.deepEqual(answered, [`tally/v1/${kid}/down`]);
    await listener.close();
  });

  it("reaches nobody through a wildcard in a topic, nor through one that no library would send", async () => {
    const socket = connect(both.broker.port, "127.0.0.1");
    await once(socket, "connect");
    // CONNECT of MQTT 3.1.1, then PUBLISH to tally/v1/+/up: no library would send that.
    socket.write(Buffer.from("101000044d5154540402003c000474657374", "hex"));
    await once(socket, "data");
    const topic = Buffer.from("tally/v1/+/up");
    socket.write(Buffer.concat([Buffer.from([0x30, topic.length + 2, 0, topic.length]), topic]));
    // PINGREQ: answered, or the connection is gone; either way the broker has looked at what came before.
    socket.write(Buffer.from("c000", "hex"));
    await Promise.race([once(socket, "data"), once(socket, "close")]);
    socket.destroy();
    assert.equal((await transport.ask(head()))?.status, 200);
  });

  it("has what it retained ignored: it comes once, when it is published, and never again", async () => {
    const other = await both.started.device({}, 1_800_000_000_000);
    const watcher = new MqttTransport({ port: both.broker.port, kid: other.kid });
    let heard = 0;
    watcher.onDown = (deliver) => {
      heard++;
      deliver();
    };
    // So that the answer to the first is heard.
    assert.equal((await watcher.ask(head(other)))?.status, 200);
    const body = encodeRequest(other.request());
    const topic = `tally/v1/${other.kid}/up`;
    await watcher.client.publishAsync(topic, Buffer.from(message({ body })), { qos: 1, retain: true });
    await until("the first is answered", () => heard === 2);
    await both.started.restart();
    await both.connected();
    // The relay has subscribed anew. What it had been sent would have come before this.
    assert.equal((await watcher.ask(head(other)))?.status, 200);
    assert.equal(heard, 3);
    await watcher.client.publishAsync(topic, "", { qos: 1, retain: true });
    await watcher.close();
  });

  it("does not speak for another key than the topic's", async () => {
    const [own, other] = [1, 2].map(() => new FixtureDevice({ crypto: relayCrypto }));
    const parts = await other!.enrolment(both.started.url, ORIGIN, both.started.token(1_800_000_000_000));
    const up = message({ call: Call.enrolment, body: encodeEnrolment(parts) });
    const misplaced = await transport.exchange(own!.kid, up, up.slice(3, 11));
    assert.equal(codeOf(misplaced), "KEY_MISMATCH");
    const right = await transport.exchange(other!.kid, up, up.slice(3, 11));
    assert.equal(right?.status, 200, "the same message on its own topic");
    other!.appendReading(1);
    const batch = new Uint8Array(Buffer.concat([encodeRequest(other!.request()), other!.chain[1]!]));
    const foreign = message({ call: Call.records, body: batch });
    assert.equal(codeOf(await transport.exchange(device.kid, foreign, foreign.slice(3, 11))), "KEY_MISMATCH");
    assert.equal((await transport.exchange(other!.kid, foreign, foreign.slice(3, 11)))?.status, 200);
  });

  it("is told of a body that is too long, and is not brought what is longer than a packet may be", async () => {
    const long = (length: number) => message({ call: Call.records, body: new Uint8Array(length).fill(0x80) });
    const over = long(65_537);
    assert.equal(codeOf(await transport.exchange(device.kid, over, over.slice(3, 11))), "BODY_TOO_LARGE");
    for (const length of [140_000, 5_000_000]) await publishAll([`tally/v1/${device.kid}/up`], long(length));
    assert.equal((await transport.ask(head()))?.status, 200, "the next message comes as ever");
    assert.ok(!both.lines.some((line) => line.includes("at once")), "the broker has kept it");
  });

  it("may fail as often as an address may, by its topic, and slows no other key", async () => {
    const { started } = both;
    const [bad, good] = [1, 2].map(() => new FixtureDevice({ crypto: relayCrypto }));
    const enrol = async (of: FixtureDevice, token: string) => {
      const parts = await of.enrolment(started.url, ORIGIN, token);
      const up = message({ call: Call.enrolment, body: encodeEnrolment(parts) });
      return transport.exchange(of.kid, up, up.slice(3, 11));
    };
    for (let i = 0; i < ATTEMPTS_BURST; i++) assert.equal(codeOf(await enrol(bad!, "no such token")), "TOKEN_INVALID");
    const limited = await enrol(bad!, started.token(1_800_000_000_000));
    assert.equal(codeOf(limited), "ATTEMPTS_EXHAUSTED");
    assert.equal(limited?.status, 429);
    assert.ok(limited.retryAfterS! > 0);
    const let_in = await enrol(good!, started.token(1_800_000_000_000));
    assert.equal(let_in?.status, 200, "another key is let in");
    // And over HTTP so is the key that has failed here: an address is no key, and has a table of its own.
    const byAddress = await bad!.enrol(started.url, ORIGIN, started.token(1_800_000_000_000));
    assert.equal(byAddress.status, 200);
    assert.notEqual(keyPlace(bad!.kid), placeOf(bad!.kid).name);
    assert.deepEqual(placeOf(keyPlace(bad!.kid)), { name: `key:${bad!.kid}`, family: "key" });
  });

  it("comes behind others with batches that do not hold, and the others are answered", async () => {
    const { started } = both;
    const [bad, good] = [await started.device({}, 1_800_000_000_000), await started.device({}, 1_800_000_000_000)];
    const forged = (of: FixtureDevice): Uint8Array => {
      const record = of.appendReading(3).slice();
      record[record.length - 1]! ^= 1;
      return new Uint8Array(Buffer.concat([encodeRequest(of.request()), record]));
    };
    const send = (of: FixtureDevice, body: Uint8Array) =>
      transport.ask({ method: "POST", path: `/v1/devices/${of.kid}/records`, body });
    const bodies = Array.from({ length: 3 * BAD_BATCHES_BURST }, () => forged(bad));
    for (const body of bodies) assert.match(codeOf(await send(bad, body)), /^SIGNATURE_INVALID$/);
    good.appendReadings(5);
    const honest = new Uint8Array(Buffer.concat([encodeRequest(good.request()), ...good.chain.slice(1)]));
    const [answer] = await Promise.all([send(good, honest), ...bodies.slice(0, 4).map((body) => send(bad, body))]);
    assert.equal(answer?.status, 200);
    assert.equal(started.relay.store.head(started.relay.store.deviceByKid(good.identity.kid)!.device).seq, 5);
  });

  it("floods one topic without end to others: it is told to come again, and they are answered", async () => {
    const flooder = new MqttTransport({ port: both.broker.port, kid: device.kid, timeoutMs: 3000 });
    const other = await both.started.device({}, 1_800_000_000_000);
    const path = `/v1/devices/${device.kid}/head`;
    const flood = Array.from({ length: 400 }, () =>
      flooder.ask({ method: "POST", path, body: encodeRequest(device.request()) }),
    );
    for (let i = 0; i < 5; i++) assert.equal((await transport.ask(head(other)))?.status, 200);
    assert.equal((await get(`${both.started.url}/livez`)).status, 200);
    const statuses = (await Promise.all(flood)).map((answer) => answer?.status);
    assert.ok(statuses.filter((status) => status === 200).length >= MQTT_KEY_UNDER_WAY_MAX);
    for (const status of statuses) assert.ok(status === 200 || status === 503 || status === undefined, `${status}`);
    unanswered = statuses.filter((status) => status === undefined).length;
    await flooder.close();
  });

  it("leaves no word of its own in the log, and counts in place of lines", async () => {
    await both.started.relay.close();
    const text = both.lines.join("");
    for (const line of text.trimEnd().split("\n")) JSON.parse(line);
    assert.ok(!text.includes("\u001b"), "no control character");
    assert.ok(!text.includes("[31m"), "nor what would be one");
    const counts = both.lines
      .filter((line) => line.includes("were not answered"))
      .map((line) => JSON.parse(line).ignored);
    assert.ok(counts.length >= 1 && counts.length <= 4, "of each start the first, a line a minute, and one at the end");
    const sum = (why: string) => counts.reduce((all, count) => all + (count[why] ?? 0), 0);
    assert.ok(sum("topic") >= 5, JSON.stringify(counts));
    // One of them ended what was retained.
    assert.equal(sum("head"), 4);
    assert.equal(sum("flood"), unanswered, "what was not answered was counted");
    assert.equal(sum("retained"), 0, "the broker was told to keep them");
    await both.started.reopen();
  });
});
