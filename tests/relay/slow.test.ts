import assert from "node:assert/strict";
import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { encodeRequest } from "tallystick/sync/messages";
import {
  ANSWER_GRACE_MS,
  BODY_GRACE_MS,
  CONNECTIONS_MAX,
  PIPELINED_MAX,
  REQUESTS_UNDER_WAY_MAX,
} from "../../hosts/relay/connections.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { changesOf } from "./dump.js";
import { StartedRelay } from "./started.js";

const TRICKLING = 5000;
const AT_ONCE = 250;
const TRICKLE_MS = 500;
const WAIT_MAX_MS = 30_000;

/** Whoever is slow, or says the same again and again, keeps nobody else out. */
describe("relay: the slow and the tireless", function () {
  this.timeout(90_000);
  let started: StartedRelay;
  let device: FixtureDevice;
  let sockets: Socket[];
  let timer: NodeJS.Timeout | undefined;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  beforeEach(async () => {
    device = await started.device();
    sockets = [];
  });
  afterEach(() => {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  });

  /** Opens a connection, says how it begins, and goes on with a byte now and then. */
  async function trickle(count: number, beginning: string): Promise<void> {
    const { hostname, port } = new URL(started.url);
    for (let n = 0; n < count; n += AT_ONCE)
      await Promise.all(
        Array.from({ length: Math.min(AT_ONCE, count - n) }, async () => {
          const socket = connect(Number(port), hostname);
          sockets.push(socket);
          socket.on("error", () => undefined);
          await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
          socket.write(beginning);
        }),
      );
    timer ??= setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write("x");
    }, TRICKLE_MS);
  }

  const isOpen = (socket: Socket): boolean => !socket.destroyed && socket.readable;

  async function until(what: string, happened: () => boolean): Promise<void> {
    const untilMs = performance.now() + WAIT_MAX_MS;
    while (!happened()) {
      assert.ok(performance.now() < untilMs, what);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Each record by a connection of its own; the first may have to come again for so long. */
  async function sendsOn(count: number, comesAgainMs = 0): Promise<void> {
    const untilMs = performance.now() + 2 * comesAgainMs;
    const agent = new Agent({ keepAlive: false });
    for (let n = 0; n < count; n++) {
      const record = device.appendReading(20 + n);
      const body = Buffer.concat([encodeRequest(device.request()), record]);
      let status = await post(agent, body);
      while (n === 0 && status === 503 && performance.now() < untilMs) status = await post(agent, body);
      assert.equal(status, 200, `record ${n + 1}`);
    }
    agent.destroy();
  }

  function post(agent: Agent, body: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      const headers = { "content-type": "application/cbor-seq", "content-length": body.length };
      const url = `${started.url}/v1/devices/${device.kid}/records`;
      const sent = httpRequest(url, { agent, method: "POST", headers }, (answer) => {
        answer.resume();
        answer.once("end", () => resolve(answer.statusCode!));
      });
      sent.once("error", reject);
      sent.end(body);
    });
  }

  it(`${TRICKLING} sockets that trickle their headers: as many as may be are kept, and a device is served at once`, async () => {
    const trickling = trickle(TRICKLING, "POST /v1/devices HTTP/1.1\r\nhost: relay\r\nx-slow: ");
    await until("the first sockets", () => sockets.length > CONNECTIONS_MAX);
    await sendsOn(20);
    await trickling;
    await until("no more than may be", () => sockets.filter(isOpen).length <= CONNECTIONS_MAX);
    assert.ok(sockets.filter(isOpen).length > CONNECTIONS_MAX / 2, "and not fewer, before their time is over");
    await sendsOn(20);
  });

  it("bodies that trickle under a device's own name: they make room for its records", async () => {
    const head =
      `POST /v1/devices/${device.kid}/records HTTP/1.1\r\nhost: relay\r\n` +
      "content-type: application/cbor-seq\r\ncontent-length: 60000\r\n\r\nx";
    await trickle(REQUESTS_UNDER_WAY_MAX + 50, head);
    // The first is told to come again, until a body has had its time.
    await sendsOn(20, BODY_GRACE_MS);
  });

  it("requests one behind the other on one connection, which is then reset: their places are free again", async () => {
    const { hostname, port } = new URL(started.url);
    for (let n = 0; n < 5; n++) {
      const socket = connect(Number(port), hostname);
      sockets.push(socket);
      socket.on("error", () => undefined);
      await new Promise((resolve) => socket.once("connect", resolve));
      socket.write("GET /checkpoint HTTP/1.1\r\nhost: relay\r\n\r\n".repeat(2 * REQUESTS_UNDER_WAY_MAX));
      socket.resetAndDestroy();
    }
    // As many connections as there are places, each with some requests that nobody waits for.
    await trickle(REQUESTS_UNDER_WAY_MAX, "GET /checkpoint HTTP/1.1\r\nhost: relay\r\n\r\n".repeat(3));
    for (const socket of sockets.splice(0)) socket.resetAndDestroy();
    await sendsOn(20);
  });

  it("answers that nobody reads: they make room", async () => {
    const { hostname, port } = new URL(started.url);
    await Promise.all(
      Array.from({ length: REQUESTS_UNDER_WAY_MAX + 50 }, async () => {
        const socket = connect(Number(port), hostname);
        sockets.push(socket);
        socket.pause();
        socket.on("error", () => undefined);
        await new Promise((resolve) => socket.once("connect", resolve));
        socket.write("GET /openapi.json HTTP/1.1\r\nhost: relay\r\n\r\n".repeat(PIPELINED_MAX));
      }),
    );
    await sendsOn(20, ANSWER_GRACE_MS);
  });

  it("a thousand times the same batch: no row more", async () => {
    device.appendReadings(20);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    const before = changesOf(started);
    for (let n = 0; n < 1000; n++) {
      const acknowledgement = device.read(await device.send(started.url, n % 20), started.key);
      assert.equal(acknowledgement.received?.seq, 20);
    }
    assert.equal(changesOf(started), before);
  });
});
