import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import Fastify from "fastify";
import { pino } from "pino";
import { CODES } from "tallystick/codes/codes";
import { encodeRequest } from "tallystick/sync/messages";
import { createServer } from "../../hosts/relay/server.js";
import { type FixtureDevice, get, post } from "../fixtures/device.js";
import { StartedRelay } from "./started.js";

interface Raw {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly problem: { readonly code: string };
  readonly reused: boolean;
}

describe("relay: HTTP", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    started = await StartedRelay.start();
    device = await started.device();
  });
  after(() => started.close());

  /** One request over a given agent, so that a test sees whether the connection was kept. */
  function raw(
    agent: Agent,
    method: string,
    path: string,
    headers: NodeJS.Dict<string> = {},
    body: Uint8Array = Buffer.alloc(0),
  ): Promise<Raw> {
    return new Promise((resolve, reject) => {
      const outgoing = request(`${started.url}${path}`, { agent, method, headers }, (incoming) => {
        const parts: Buffer[] = [];
        incoming.on("data", (part: Buffer) => parts.push(part));
        incoming.on("end", () => {
          const text = Buffer.concat(parts).toString();
          const { statusCode: status = 0, headers: answered } = incoming;
          resolve({
            status,
            headers: answered,
            problem: text.startsWith("{") ? JSON.parse(text) : {},
            reused: outgoing.reusedSocket,
          });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }

  it("answers what it does not know with problem documents whose codes are in the table", async () => {
    const cases: [string, string, number, string][] = [
      ["GET", "/nothing", 404, "ROUTE_UNKNOWN"],
      ["GET", "/v1/devices/0011223344556677", 404, "DEVICE_UNKNOWN"],
      ["GET", "/v1/devices/00", 400, "REQUEST_MALFORMED"],
      ["GET", "/v1/devices/00112233445566ZZ/records", 400, "REQUEST_MALFORMED"],
      ["GET", "/v1/devices?limit=0", 400, "REQUEST_MALFORMED"],
      ["GET", "/v1/devices?color=red", 400, "REQUEST_MALFORMED"],
      ["GET", `/v1/devices/${device.kid}/records?from=-1`, 400, "REQUEST_MALFORMED"],
      ["GET", `/v1/records/${"00".repeat(32)}`, 404, "RECORD_UNKNOWN"],
      ["GET", "/v1/records/zz", 400, "REQUEST_MALFORMED"],
      ["GET", "/v1/%zz", 400, "REQUEST_MALFORMED"],
      ["GET", "/tile/0/000.p/200", 404, "LOG_ENTRY_UNKNOWN"],
      ["GET", "/tile/0/1", 404, "ROUTE_UNKNOWN"],
      ["GET", "/tile/../key", 404, "ROUTE_UNKNOWN"],
      ["GET", "/tile/%2e%2e%2f%2e%2e%2fkey", 404, "ROUTE_UNKNOWN"],
      ["DELETE", `/v1/devices/${device.kid}`, 405, "METHOD_UNKNOWN"],
      ["PUT", "/v1/devices", 405, "METHOD_UNKNOWN"],
      ["POST", "/checkpoint", 405, "METHOD_UNKNOWN"],
    ];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (const [method, path, status, code] of cases) {
      const answer = await raw(agent, method, path);
      assert.equal(answer.problem.code, code, `${method} ${path}`);
      assert.equal(answer.status, status, `${method} ${path}`);
      assert.match(String(answer.headers["content-type"]), /^application\/problem\+json/);
      assert.equal(CODES[code as keyof typeof CODES].status, status);
      if (status === 405) assert.match(String(answer.headers.allow), /GET/);
    }
    agent.destroy();
  });

  it("keeps the connection after every refusal", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const records = `/v1/devices/${device.kid}/records`;
    const cbor = { "content-type": "application/cbor" };
    const good = Buffer.from(encodeRequest(device.request()));
    const cases: [string, NodeJS.Dict<string>, Uint8Array, number, string | undefined][] = [
      [records, cbor, good, 200, undefined],
      [records, cbor, Buffer.from("ff", "hex"), 400, "CBOR_INVALID"],
      [records, cbor, Buffer.concat([good, Buffer.alloc(70_000)]), 413, "BODY_TOO_LARGE"],
      [records, { "content-type": "application/json" }, Buffer.from("{}"), 415, "MEDIA_TYPE_UNKNOWN"],
      [records, {}, good, 415, "MEDIA_TYPE_UNKNOWN"],
      [records, { ...cbor, "content-encoding": "gzip" }, gzipSync(good), 415, "MEDIA_TYPE_UNKNOWN"],
      ["/v1/devices/0011223344556677/records", cbor, Buffer.alloc(60_000), 404, "DEVICE_UNKNOWN"],
      [records, cbor, good, 200, undefined],
    ];
    for (const [i, [path, headers, body, status, code]] of cases.entries()) {
      const answer = await raw(agent, "POST", path, { ...headers, "content-length": String(body.length) }, body);
      assert.equal(answer.problem.code, code, `case ${i}`);
      assert.equal(answer.status, status, `case ${i}`);
      assert.equal(answer.reused, i > 0, `case ${i} came over the same connection`);
    }
    agent.destroy();
  });

  it("ends the connection of a body that is declared far too long, unread", async () => {
    const socket = connect(Number(new URL(started.url).port), "127.0.0.1");
    socket.write(
      `POST /v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ncontent-length: 9999999999\r\n\r\n`,
    );
    const answer = await readAll(socket);
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.match(answer, /"code":"BODY_TOO_LARGE"/);
  });

  it("answers what is not HTTP with a problem document", async () => {
    const socket = connect(Number(new URL(started.url).port), "127.0.0.1");
    socket.write("hello\r\n\r\n");
    const answer = await readAll(socket);
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.match(answer, /"code":"REQUEST_MALFORMED"/);
  });

  it("gives a request that is still being answered no answer to what comes behind it", async () => {
    const device = await started.device();
    const body = Buffer.concat([encodeRequest(device.request()), device.appendReading(20)]);
    const socket = connect(Number(new URL(started.url).port), "127.0.0.1");
    const head =
      `POST /v1/devices/${device.kid}/records HTTP/1.1\r\nhost: x\r\n` +
      `content-type: application/cbor-seq\r\ncontent-length: ${body.length}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), body, Buffer.from("hello\r\n\r\n")]));
    assert.doesNotMatch(await readAll(socket), /^HTTP\/1\.1 400 /, "the batch was no bad request");
  });

  it("refuses headers that are too long", async () => {
    const socket = connect(Number(new URL(started.url).port), "127.0.0.1");
    socket.write(`GET /livez HTTP/1.1\r\nhost: x\r\nx: ${"a".repeat(10_000)}\r\n\r\n`);
    assert.match(await readAll(socket), /"code":"REQUEST_MALFORMED"/);
  });

  it("has bounds on the time that a request may take", () => {
    const app = createServer({ logger: pino({ level: "silent" }), onFault: () => undefined, isStopping: () => false });
    assert.equal(app.server.headersTimeout, 10_000);
    assert.equal(app.server.requestTimeout, 20_000);
    assert.notEqual(Fastify().server.headersTimeout, app.server.headersTimeout, "it is our own");
  });

  it("tells a request that is one too many to come again", async () => {
    const app = createServer({
      logger: pino({ level: "silent" }),
      onFault: () => undefined,
      isStopping: () => false,
      requestsUnderWayMax: 1,
    });
    let finish = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let begun = (): void => undefined;
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    app.get("/slow", async () => {
      begun();
      await held;
      return "done";
    });
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    const first = fetch(`${url}/slow`);
    await beginning;
    const second = await get(`${url}/slow`);
    assert.equal(second.status, 503);
    assert.equal(second.problem?.code, "RELAY_BUSY");
    assert.ok(Number(second.headers.get("retry-after")) > 0);
    finish();
    assert.equal((await first).status, 200);
    assert.equal((await get(`${url}/slow`)).status, 200, "its place is free again");
    await app.close();
  });

  it("does not tell a stranger what went wrong inside", async () => {
    const faults: unknown[] = [];
    const app = createServer({
      logger: pino({ level: "silent" }),
      onFault: (error) => {
        faults.push(error);
        return undefined;
      },
      isStopping: () => false,
    });
    app.get("/fault", async () => {
      throw new Error("secret path /home/relay");
    });
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    const answer = await get(`${url}/fault`);
    assert.equal(answer.status, 500);
    assert.equal(answer.problem?.code, "RELAY_FAULT");
    assert.equal(JSON.stringify(answer.problem).includes("secret"), false);
    assert.equal(faults.length, 1);
    await app.close();
  });

  it("finishes what is under way when it stops, and logs it", async () => {
    const own = await StartedRelay.start({ batchIntervalMs: 60_000 });
    const sender = await own.device();
    sender.appendReadings(100);
    const body = Buffer.concat([encodeRequest(sender.request()), ...sender.chain]);
    const socket = connect(Number(new URL(own.url).port), "127.0.0.1");
    socket.write(
      `POST /v1/devices/${sender.kid}/records HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n` +
        `content-type: application/cbor\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    const [continued] = (await once(socket, "data")) as [Buffer];
    assert.match(continued.toString(), /^HTTP\/1\.1 100 /);
    const answer = readAll(socket);
    const closed = own.relay.close();
    socket.write(body);
    assert.match(await answer, /^HTTP\/1\.1 200 /);
    await closed;
    await own.restart();
    assert.equal(own.relay.log.head.size, 102, "opening, genesis and 100 readings");
    assert.equal(sender.read(await sender.askHead(own.url), own.key).logged?.seq, 100);
    await own.close();
  });

  it("logs what it received before it stops", async () => {
    const own = await StartedRelay.start({ batchIntervalMs: 60_000 });
    const sender = await own.device();
    sender.appendReadings(3);
    sender.read(await sender.send(own.url), own.key);
    assert.equal(own.relay.log.head.size, 1, "nothing was logged yet");
    await own.relay.close();
    await own.restart();
    assert.equal(own.relay.log.head.size, 5);
    await own.close();
  });

  it("says that it lives and that it is ready", async () => {
    assert.equal((await get(`${started.url}/livez`)).status, 200);
    const ready = await fetch(`${started.url}/readyz`);
    assert.equal(ready.status, 200);
    assert.equal(((await ready.json()) as { ready: boolean }).ready, true);
  });

  it("is not ready while a record waits longer for the log than was promised", async () => {
    let nowMs = Date.now();
    const own = await StartedRelay.start({ batchIntervalMs: 3_600_000, nowMs: () => nowMs });
    const sender = await own.device({}, nowMs);
    assert.equal(sender.read(await sender.send(own.url), own.key).received?.seq, 0);
    nowMs += own.relay.identity.logWithinS * 1000;
    assert.equal((await get(`${own.url}/readyz`)).status, 200, "the promise is still to be kept");
    nowMs += 1000;
    const ready = await get(`${own.url}/readyz`);
    assert.equal(ready.status, 503);
    assert.equal(ready.problem?.code, "LOG_LATE");
    await own.settled();
    assert.equal((await get(`${own.url}/readyz`)).status, 200);
    await own.close();
  });

  it("takes both types that its bodies have", async () => {
    for (const type of ["application/cbor", "application/cbor-seq"]) {
      const answer = await post(`${started.url}/v1/devices/${device.kid}/head`, encodeRequest(device.request()), type);
      assert.equal(answer.status, 200, type);
    }
  });
});

function readAll(socket: ReturnType<typeof connect>): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (part: string) => {
      text += part;
    });
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });
}
