import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { encodeRequest } from "tallystick/sync/messages";
import { PACKET_MAX_BYTES } from "../../hosts/relay/mqtt/broker.js";
import { PacketMeter } from "../../hosts/relay/mqtt/packets.js";
import { readMqttSettings } from "../../hosts/relay/mqtt/settings.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { failureOf, must, StartedRelay } from "../relay/started.js";
import { Mosquitto, needMosquitto } from "./mosquitto.js";
import { StallingBroker } from "./stalling-broker.js";
import { BACK_OFF, StartedBoth, until } from "./started.js";
import { MqttTransport } from "./transport.js";

describe("MQTT: the options of a broker", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-mqtt-"));
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("name a host, and the port that is usual where there is none", () => {
    const { host, port, isSecure, prefix } = must(readMqttSettings({ url: "mqtt://broker.example" }));
    assert.deepEqual(
      { host, port, isSecure, prefix },
      { host: "broker.example", port: 1883, isSecure: false, prefix: "tally/v1" },
    );
    assert.equal(must(readMqttSettings({ url: "mqtts://broker.example" })).port, 8883);
    assert.equal(must(readMqttSettings({ url: "mqtt://[::1]:1884" })).host, "::1");
    const passwordFile = file("password", "päss word\n");
    const { password } = must(readMqttSettings({ url: "mqtt://x", user: "relay", passwordFile }));
    assert.equal(password?.toString(), "päss word", "without the line's end");
  });

  it("are refused with what was expected, and without a word that may be secret", () => {
    const url = "mqtt://x";
    const cases = [
      [{ url: "http://x" }, "MQTT_UNUSABLE"],
      [{ url: "mqtt://" }, "MQTT_UNUSABLE"],
      [{ url: "x:1883" }, "MQTT_UNUSABLE"],
      [{ url: "mqtt://name:hunter2@x" }, "MQTT_UNUSABLE"],
      [{ url: "mqtt://x/path" }, "MQTT_UNUSABLE"],
      [{ url, prefix: "tally/+" }, "MQTT_UNUSABLE"],
      [{ url, prefix: "#" }, "MQTT_UNUSABLE"],
      [{ url, prefix: "$SYS" }, "MQTT_UNUSABLE"],
      [{ url, prefix: "/tally" }, "MQTT_UNUSABLE"],
      [{ url, prefix: "tally/" }, "MQTT_UNUSABLE"],
      [{ url, prefix: "" }, "MQTT_UNUSABLE"],
      [{ url, clientId: "a b" }, "MQTT_UNUSABLE"],
      [{ url, user: "a\nb" }, "MQTT_UNUSABLE"],
      [{ url, passwordFile: file("p", "x") }, "MQTT_UNUSABLE"],
      [{ url, caFile: file("ca", "x") }, "MQTT_UNUSABLE"],
      [{ url, user: "a", passwordFile: join(folder, "none") }, "FILE_UNREADABLE"],
      [{ url, user: "a", passwordFile: file("empty", "\n") }, "FILE_UNREADABLE"],
      [{ url, user: "a", passwordFile: file("long", "x".repeat(1025)) }, "FILE_UNREADABLE"],
    ] as const;
    for (const [options, code] of cases) {
      const failure = failureOf(readMqttSettings(options));
      assert.equal(failure.code, code, JSON.stringify(options));
      assert.ok(!failure.detail.includes("hunter2"));
    }
  });

  it("that cannot be used end the start, before anything listens", async () => {
    const refused = await StartedRelay.start({ mqtt: { url: "mqtt://x", prefix: "#" } }).then(
      () => undefined,
      (error: Error) => error.message,
    );
    assert.match(refused ?? "", /^MQTT_UNUSABLE/);
  });
});

describe("MQTT: lengths of packets, before they are there", () => {
  const packet = (length: number): Buffer => {
    const head = [0x30];
    for (let left = length; ; ) {
      const byte = left % 128;
      left = Math.floor(left / 128);
      head.push(left > 0 ? byte | 0x80 : byte);
      if (left === 0) return Buffer.concat([Buffer.from(head), Buffer.alloc(length)]);
    }
  };

  it("are followed through any cut of the bytes", () => {
    const lengths = [0, 1, 127, 128, 16_383, 16_384, 1000];
    const good = Buffer.concat(lengths.map(packet));
    for (const step of [1, 2, 3, 7, 1000, good.length]) {
      const meter = new PacketMeter(16_384);
      for (let at = 0; at < good.length; at += step)
        assert.ok(meter.takes(good.subarray(at, at + step)), `step ${step}`);
    }
  });

  it("are refused where they are too long, or no length at all", () => {
    assert.equal(new PacketMeter(16_384).takes(packet(16_385).subarray(0, 4)), false);
    assert.equal(new PacketMeter(1 << 30).takes(Buffer.from("30ffffffff7f", "hex")), false);
    const meter = new PacketMeter(100);
    assert.ok(meter.takes(packet(100)));
    assert.equal(meter.takes(packet(101)), false);
  });

  it("end the connection to a broker that announces more than it was told to", async () => {
    const broker = await StallingBroker.start();
    // The header of a PUBLISH of 200 MB, which never comes.
    broker.onSubscribed = (send) => send(Buffer.from("3280c2af60", "hex"));
    const started = await StartedRelay.start({ mqtt: { url: broker.url, backOff: BACK_OFF } });
    await until("the relay has come back twice", () => broker.sockets.length >= 3);
    assert.ok(broker.sockets.slice(0, 2).every((socket) => socket.destroyed || socket.readableEnded));
    broker.onSubscribed = () => undefined;
    await until("it stays", async () => {
      const ready = await fetch(`${started.url}/readyz`).then((answer) => answer.json());
      return (ready as { mqtt?: string }).mqtt === "connected";
    });
    await started.close();
    broker.close();
    assert.ok(PACKET_MAX_BYTES < 200_000_000);
  });
});

describe("MQTT: a broker with users", () => {
  let folder: string;

  before(function () {
    needMosquitto(this);
    folder = mkdtempSync(join(tmpdir(), "tallystick-mqtt-"));
  });
  after(() => folder !== undefined && rmSync(folder, { recursive: true, force: true }));

  const passwordFile = (text: string): string => {
    const path = join(folder, "password");
    writeFileSync(path, `${text}\n`);
    return path;
  };
  const hashed = (users: Readonly<Record<string, string>>): string => {
    const path = join(folder, "users");
    writeFileSync(path, "", { mode: 0o600 });
    for (const [name, password] of Object.entries(users)) {
      const made = spawnSync("mosquitto_passwd", ["-b", path, name, password]);
      assert.equal(made.status, 0, made.stderr.toString());
    }
    return spawnSync("cat", [path]).stdout.toString();
  };
  const headOf = (device: FixtureDevice) =>
    ({ method: "POST", path: `/v1/devices/${device.kid}/head`, body: encodeRequest(device.request()) }) as const;

  it("lets a device write its own up and read its own down, by the README's list, and nothing else", async () => {
    const acl = [
      "user relay",
      "topic read tally/v1/+/up",
      "topic write tally/v1/+/down",
      "pattern write tally/v1/%u/up",
      "pattern read tally/v1/%u/down",
    ].join("\n");
    // The device's name at the broker is its kid, which is known once it has a key.
    const [own, other] = await (async () => {
      const outside = await StartedRelay.start();
      const made = [await outside.device(), await outside.device()] as const;
      await outside.close();
      return made;
    })();
    const users = hashed({ relay: "of the relay", [own.kid]: "own", [other.kid]: "other" });
    const both = await StartedBoth.start(
      { mqtt: { user: "relay", passwordFile: passwordFile("of the relay") } },
      {
        lines: ["allow_anonymous false", "password_file FOLDER/users", "acl_file FOLDER/acl"],
        files: { users, acl: `${acl}\n` },
      },
    );
    const { port } = both.broker;
    const first = new MqttTransport({ port, kid: own.kid, user: own.kid, password: "own" });
    const second = new MqttTransport({ port, kid: other.kid, user: other.kid, password: "other", timeoutMs: 300 });
    // It is answered: that it is unknown to this relay is an answer.
    assert.equal((await first.ask(headOf(own)))?.status, 404);
    assert.equal((await second.ask(headOf(other)))?.status, 404);
    const heard = new Set<string>();
    second.client.on("message", (topic) => heard.add(topic));
    const [granted] = await second.client.subscribeAsync("tally/v1/+/down", { qos: 1 });
    assert.ok(granted, "mosquitto grants the filter, and gives out what may be read");
    assert.equal(await second.ask(headOf(own)), undefined, "another's up is not brought");
    assert.equal((await first.ask(headOf(own)))?.status, 404);
    assert.equal((await second.ask(headOf(other)))?.status, 404);
    assert.deepEqual([...heard], [`tally/v1/${other.kid}/down`], "its own answers and none of another's");
    await first.close();
    await second.close();
    await both.close();
  });

  it("that does not let the relay in leaves it there over HTTP, and is told in the log, once", async () => {
    const broker = await Mosquitto.start({
      lines: ["allow_anonymous false", "password_file FOLDER/users"],
      files: { users: hashed({ relay: "right" }) },
    });
    const lines: string[] = [];
    const logger = pino({ level: "debug" }, { write: (line: string) => void lines.push(line) });
    const mqtt = { url: broker.url, user: "relay", passwordFile: passwordFile("wrong"), backOff: BACK_OFF };
    const started = await StartedRelay.start({ mqtt, logger });
    const away = () => lines.map((line) => JSON.parse(line)).filter(({ code }) => code === "BROKER_AWAY");
    await until("it has tried three times", () => away().length >= 3);
    assert.deepEqual(
      away()
        .map(({ level }) => level)
        .slice(0, 3),
      [40, 20, 20],
      "aloud the first time, then for who looks closely",
    );
    assert.ok(!lines.join("").includes("wrong"), "no password");
    const device = await started.device();
    device.appendReading(1);
    device.read(await device.send(started.url, 1), started.key);
    await started.close();
    await broker.close();
  });

  it("is spoken to by TLS, where its certificate leads to the one that is named", async function () {
    const made = (name: string) => {
      const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
      const openssl = spawnSync("openssl", [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
        ...["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
      ]);
      return openssl.status === 0 ? { key, certificate } : undefined;
    };
    const [right, wrong] = [made("right"), made("wrong")];
    if (!right || !wrong) {
      console.log("      SKIPPED, no certificate was made: openssl is not installed");
      return this.skip();
    }
    const broker = await Mosquitto.start({
      lines: ["allow_anonymous true", `certfile ${right.certificate}`, `keyfile ${right.key}`],
    });
    const url = `mqtts://127.0.0.1:${broker.port}`;
    const state = async (started: StartedRelay) =>
      ((await fetch(`${started.url}/readyz`).then((answer) => answer.json())) as { mqtt?: string }).mqtt;
    const lines: string[] = [];
    const logger = pino({ level: "debug" }, { write: (line: string) => void lines.push(line) });
    const astray = await StartedRelay.start({ logger, mqtt: { url, caFile: wrong.certificate, backOff: BACK_OFF } });
    await until("it has tried twice", () => lines.filter((line) => line.includes("BROKER_AWAY")).length >= 2);
    assert.equal(await state(astray), "away");
    await astray.close();
    const started = await StartedRelay.start({ mqtt: { url, caFile: right.certificate, backOff: BACK_OFF } });
    await until("it is connected", async () => (await state(started)) === "connected");
    await started.close();
    await broker.close();
  });
});
