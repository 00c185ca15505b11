import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { connectAsync, type MqttClient } from "mqtt";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Call, MQTT_PREFIX, readUp } from "tallystick/sync/mqtt";
import { readSentMark } from "tallystick/sync/sent-mark";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { Bench } from "../device/bench.js";
import { networkOf } from "./board-network.js";
import { freePort, Mosquitto, needMosquitto } from "./mosquitto.js";
import { StartedBoth, until } from "./started.js";
import { MqttTransport } from "./transport.js";

/** `SEED=n` tries other devices, `SEEDS=n` more of them: the bridge between the brokers takes its seconds. */
const SEED = Number(process.env["SEED"] ?? 1);
const SEEDS = Number(process.env["SEEDS"] ?? 1);
const MINUTE = 60_000;
/** A device that only asks whether anybody hears it. */
const PROBE = "00000000000000aa";
const CHALLENGE = { method: "GET", path: "/v1/challenge" } as const;

/** The way between two brokers: while it is shut, the first one keeps what it has for the second. */
class Gate {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(
    readonly port: number,
    private readonly target: number,
  ) {}

  /** Nothing where it is open. */
  async open(): Promise<void> {
    if (this.#server) return;
    const server = createServer((near) => {
      const far = connect(this.target, "127.0.0.1");
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket
          .on("error", () => undefined)
          .on("close", () => {
            this.#sockets.delete(socket);
            other.destroy();
          });
        socket.pipe(other);
      }
    });
    this.#server = server;
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
  }

  async shut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/**
 * The device's broker is not the relay's: it hands on what it gets over a bridge of mosquitto's own, and keeps it while that is
 * down. So it holds what a device has sent and, its flash set back, does not know of.
 */
describe("MQTT: a device whose flash goes back while a broker holds what it sent", function () {
  this.timeout(120_000);
  let both: StartedBoth;
  let near: Mosquitto;
  let gate: Gate;
  let spy: MqttClient;
  /** What has come to the relay's broker, each batch of records by its message id. */
  const arrived = new Set<string>();
  let bench: Bench;
  let transports: MqttTransport[] = [];
  /** Batches of records that the device has handed to its broker. */
  let handed: string[] = [];

  before(async function () {
    needMosquitto(this);
    both = await StartedBoth.start();
    gate = new Gate(await freePort(), both.broker.port);
    await gate.open();
    near = await Mosquitto.start({
      lines: [
        "allow_anonymous true",
        "connection relay",
        `address 127.0.0.1:${gate.port}`,
        `topic ${MQTT_PREFIX}/+/up out 1`,
        `topic ${MQTT_PREFIX}/+/down in 1`,
        "cleansession false",
        "restart_timeout 1 2",
        "notifications false",
      ],
    });
    spy = await connectAsync(both.broker.url, { protocolVersion: 5 });
    spy.on("message", (_topic, payload) => {
      const up = readUp(new Uint8Array(payload));
      if (up.ok && up.value.call === Call.records) arrived.add(toHex(up.value.id));
    });
    await spy.subscribeAsync(`${MQTT_PREFIX}/+/up`, { qos: 1 });
  });
  after(async () => {
    await spy?.endAsync(true);
    await gate?.shut();
    await near?.close();
    await both?.close();
  });
  afterEach(async () => {
    await bench.close();
    for (const transport of transports) await transport.close();
    await gate.open();
  });

  /** The device reaches its relay over a broker, by a connection of its own. */
  function connectTo(broker: Mosquitto): void {
    bench.network.target = networkOf(() => {
      const transport = new MqttTransport({ port: broker.port, kid: bench.kid, timeoutMs: 800 });
      const publish = transport.publish.bind(transport);
      transport.publish = (topic, bytes) => {
        const up = readUp(bytes);
        assert.ok(up.ok);
        if (up.value.call === Call.records) handed.push(toHex(up.value.id));
        publish(topic, bytes);
      };
      transports.push(transport);
      return transport;
    });
  }

  const deviceOf = (kid: string) => both.started.relay.store.deviceByKid(fromHex(kid)!)!;
  const received = (kid: string) => both.started.relay.store.head(deviceOf(kid).device).seq;
  const sentMark = () => {
    const mark = readSentMark(bench.keys);
    assert.ok(mark.ok);
    return mark.value!;
  };

  interface Lost {
    readonly kid: string;
    /** What the relay has, and what was handed to the broker. */
    readonly head: number;
    readonly sent: number;
    /** Of what is held. */
    readonly batches: readonly string[];
    /** Reports of records before the flash went back. */
    readonly reported: number;
  }

  /** A device with records at the relay and others in its broker, whose flash has gone back behind both; its power is off. */
  async function lose(random: SeededRandom, seed: number): Promise<Lost> {
    bench = new Bench({ seed });
    transports = [];
    handed = [];
    bench.provision(both.started);
    connectTo(near);
    await bridged();
    await bench.powerOn();
    const some = 3 + random.below(6);
    await bench.until("some records", () => bench.headSeq >= some);
    await bench.climb(both.started);
    const snapshot = bench.flash.snapshot();
    const more = bench.headSeq + random.below(5);
    await bench.until("more records", () => bench.headSeq >= more);
    await bench.climb(both.started);
    const { kid, headSeq } = bench;
    // What comes together while there is no way to any broker, the first batch then takes with it.
    const { target } = bench.network;
    bench.network.target = undefined;
    const together = headSeq + 1 + random.below(20);
    await bench.until("records offline", () => bench.headSeq >= together);
    bench.network.target = target;
    const before = handed.length;
    bench.network.onRequest = async ({ path }) => {
      if (path.endsWith("/records")) await gate.shut();
    };
    await bench.until("a sending", () => handed.length > before);
    const asked = bench.network.requests.length + random.below(3);
    await bench.until("questions without an answer", () => bench.network.requests.length >= asked);
    bench.network.onRequest = undefined;
    await bench.cutPower();
    bench.flash.restore(snapshot);
    const lost = {
      kid,
      head: received(kid),
      sent: sentMark(),
      batches: handed.slice(before),
      reported: bench.held.length,
    };
    assert.ok(lost.sent > lost.head, "something is held");
    assert.ok(
      lost.batches.every((id) => !arrived.has(id)),
      "it is held",
    );
    return lost;
  }

  /** Resolves once the bridge between the brokers is up. */
  async function bridged(): Promise<void> {
    const probe = new MqttTransport({ port: near.port, kid: PROBE, timeoutMs: 200 });
    transports.push(probe);
    await until("the bridge is up", async () => (await probe.ask(CHALLENGE)) !== undefined);
  }

  /** Resolves when the first broker has brought all that it held, and the relay has looked at it. */
  async function deliver({ batches }: Lost): Promise<void> {
    await gate.open();
    await until("what was held arrives", () => batches.every((id) => arrived.has(id)));
    // Behind what was held, on the same way.
    await bridged();
  }

  /** Whatever was ever handed to a broker is at the relay once, in its chain or beside it, and nobody is accused. */
  async function checkAll({ kid, reported }: Lost): Promise<void> {
    await bench.checkNothingLost(both.started, reported);
    const { store } = both.started.relay;
    for (const each of new Set([kid, bench.kid])) {
      const { device, state } = deviceOf(each);
      assert.equal(state, each === bench.kid ? "active" : "closed");
      assert.deepEqual(store.forks(device), []);
      const places = new Map<number, string>();
      for (const { seq, id } of store.recordsBetween(device, 0, Number.MAX_SAFE_INTEGER)) places.set(seq, toHex(id));
      for (const [place, id] of bench.network.sent) {
        const [of, at] = place.split(" ");
        const seq = Number(at);
        if (of !== each) continue;
        const late = store.successions.lateAt(device, seq);
        assert.ok(!(late && places.has(seq)), `seq ${seq} is held once`);
        assert.equal(places.get(seq) ?? (late && toHex(late.id)), id, `seq ${seq} of ${each} is what was sent`);
      }
    }
    const codes = both.lines
      .map((line) => JSON.parse(line))
      .filter(({ event, msg }) => (event ?? msg) === "record refused");
    for (const { code, kid: of } of codes) assert.ok(of !== kid || code === "CHAIN_GAP", `refused with ${code}`);
  }

  async function goesOn(): Promise<void> {
    const { length } = bench.held;
    await bench.until("records", () => bench.held.length > length + 3, 30 * MINUTE);
  }

  for (let n = 0; n < SEEDS; n++) {
    const seed = SEED * 1000 + n;
    const random = new SeededRandom(seed);

    it(`before it asks for its head: goes on with its chain, seed ${seed}`, async () => {
      const lost = await lose(random, seed);
      await deliver(lost);
      await until("the relay has it", () => received(lost.kid) === lost.sent);
      const codes = bench.codes.length;
      connectTo(near);
      await bench.powerOn();
      await goesOn();
      assert.deepEqual([bench.kid, bench.codes.slice(codes)], [lost.kid, []]);
      await checkAll(lost);
    });

    it(`after it has asked and before it has given up its chain: goes on with it, seed ${seed}`, async () => {
      const lost = await lose(random, seed + 100);
      connectTo(both.broker);
      await bench.powerOn();
      await bench.until("the relay's word", () => bench.codes.includes("SUCCESSION_NEEDED"));
      await deliver(lost);
      await until("the relay has it", () => received(lost.kid) === lost.sent);
      await goesOn();
      assert.equal(bench.kid, lost.kid);
      await checkAll(lost);
    });

    it(`while it asks: goes on, with its chain or the next, seed ${seed}`, async () => {
      const lost = await lose(random, seed + 200);
      connectTo(both.broker);
      const asks = 1 + random.below(3);
      let asked = 0;
      let opened: Promise<void> | undefined;
      bench.network.onRequest = () => {
        if (++asked === asks) opened = gate.open();
      };
      await bench.powerOn();
      await goesOn();
      await opened;
      await deliver(lost);
      await goesOn();
      await checkAll(lost);
    });

    it(`between its next key and the relay's hearing of it: goes on with that, seed ${seed}`, async () => {
      const lost = await lose(random, seed + 300);
      connectTo(both.broker);
      await bench.powerOn();
      await bench.until("the next key", () => bench.kid !== lost.kid, 30 * MINUTE);
      await deliver(lost);
      await until("the relay has it", () => received(lost.kid) === lost.sent);
      await goesOn();
      await checkAll(lost);
    });

    it(`after it has gone on with its next key: kept as late, once, seed ${seed}`, async () => {
      const lost = await lose(random, seed + 400);
      connectTo(both.broker);
      await bench.powerOn();
      const next = () => both.started.relay.store.deviceByKid(fromHex(bench.kid)!);
      await bench.until("the next key at the relay", () => bench.kid !== lost.kid && next() !== undefined, 30 * MINUTE);
      assert.equal(received(lost.kid), lost.head);
      await deliver(lost);
      const { successions } = both.started.relay.store;
      const { device } = deviceOf(lost.kid);
      await until("it is kept", () => successions.countLate(device) === lost.sent - lost.head);
      await goesOn();
      await checkAll(lost);
      assert.equal(received(lost.kid), lost.head);
    });
  }
});
