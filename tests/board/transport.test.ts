import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Result } from "tallystick/codes/codes";
import type { TransportResponse } from "tallystick/sync/transport";
import { Operation } from "../../hosts/board/wire.js";
import { HttpNetwork, type Network, type NetworkAnswer } from "../../hosts/simulator/world/network.js";
import { type TestServer, testServer } from "../world/rig.js";
import { type Wired, wired } from "./wired.js";

/** A network of this test's own: answers when it is told to. */
class HeldNetwork implements Network {
  readonly held: { answer(answer: NetworkAnswer): void; signal: AbortSignal; body: Uint8Array; path: string }[] = [];
  request({ body, path }: { body: Uint8Array; path: string }, signal: AbortSignal): Promise<NetworkAnswer> {
    return new Promise((resolve) => this.held.push({ answer: resolve, signal, body, path }));
  }
}

const POST = { method: "POST", path: "/v1/x", maxResponseBytes: 65_536 } as const;

describe("transport over the wire", () => {
  let server: TestServer;
  before(async () => {
    server = await testServer();
  });
  after(() => server.close());

  /** Lets virtual time run until the request is settled. */
  async function settle(board: Wired, pending: Promise<Result<TransportResponse>>): Promise<Result<TransportResponse>> {
    await board.time.run(board.time.nowMs() + 1_000);
    return pending;
  }

  it("carries bodies of every size to a real server and back", async () => {
    const network = new HttpNetwork({ origin: server.origin });
    const board = wired({ network });
    for (const length of [0, 1, 1_023, 1_024, 1_025, 65_536]) {
      const body = Uint8Array.from({ length }, (_, i) => i * 7);
      const answer = await settle(board, board.board.transport.request({ ...POST, body }));
      assert.ok(answer.ok, `${length}`);
      assert.equal(answer.value.status, 200);
      const expected = createHash("sha256").update("POST /v1/x ").update(body).digest();
      assert.deepEqual(answer.value.body, new Uint8Array(expected), `${length}`);
    }
    const long = await settle(
      board,
      board.board.transport.request({ method: "GET", path: "/long", maxResponseBytes: 5_000 }),
    );
    assert.ok(long.ok && long.value.body.length === 5_000 && long.value.body.every((byte) => byte === 7));
    const missing = await settle(board, board.board.transport.request({ ...POST, method: "GET", path: "/missing" }));
    assert.ok(missing.ok && missing.value.status === 404, "any HTTP status is an answer");
    assert.equal(board.start.requestsUnderWay, 0, "all are closed");
    network.close();
  });

  it("tells when the server asks to come again, in seconds and in no other form", async () => {
    const network = new HttpNetwork({ origin: server.origin });
    const board = wired({ network });
    const seconds: (number | undefined)[] = [];
    for (const text of ["0", "300", "999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e3"]) {
      const path = `/busy?${encodeURIComponent(text)}`;
      const answer = await settle(board, board.board.transport.request({ method: "GET", path, maxResponseBytes: 10 }));
      assert.ok(answer.ok && answer.value.status === 503);
      seconds.push(answer.value.retryAfterS);
    }
    assert.deepEqual(seconds, [0, 300, 999_999_999, undefined, undefined, undefined]);
    network.close();
  });

  it("answers a failure, never a rejection", async () => {
    const network = new HttpNetwork({ origin: server.origin, timeoutMs: 50 });
    const board = wired({ network });
    const { transport } = board.board;
    const failures: string[] = [];
    for (const request of [
      { method: "GET", path: "/long", maxResponseBytes: 4_999 },
      { method: "GET", path: "/hang", maxResponseBytes: 10 },
    ] as const) {
      const answer = await settle(board, transport.request(request));
      assert.ok(!answer.ok);
      failures.push(`${answer.failure.code} ${answer.failure.detail}`);
    }
    const gone = wired({ network: new HttpNetwork({ origin: "http://127.0.0.1:1" }) });
    const refused = await settle(gone, gone.board.transport.request(POST));
    assert.ok(!refused.ok);
    failures.push(`${refused.failure.code} ${refused.failure.detail}`);
    const none = wired();
    const absent = await none.board.transport.request(POST);
    assert.ok(!absent.ok);
    assert.deepEqual(failures, [
      "TRANSPORT_FAILED the answer is longer than 4999 bytes",
      "TRANSPORT_FAILED no answer within 50 ms",
      "TRANSPORT_FAILED ECONNREFUSED",
    ]);
    assert.equal(board.start.requestsUnderWay, 0);
    network.close();
  });

  it("has at most four requests under way", async () => {
    const network = new HeldNetwork();
    const board = wired({ network });
    const body = Uint8Array.of(1, 2, 3);
    const pending = [1, 2, 3, 4].map((n) => board.board.transport.request({ ...POST, path: `/${n}`, body }));
    const fifth = await board.board.transport.request(POST);
    assert.ok(!fifth.ok && fifth.failure.code === "TRANSPORT_FAILED");
    assert.deepEqual(
      network.held.map(({ path, body }) => [path, ...body]),
      [1, 2, 3, 4].map((n) => [`/${n}`, 1, 2, 3]),
    );
    for (const held of network.held.reverse())
      held.answer({ outcome: "answered", status: 200, body: Buffer.from(held.path) });
    await board.time.run(board.time.nowMs() + 1);
    for (const [index, one] of pending.entries()) {
      const answer = await one;
      assert.ok(answer.ok);
      assert.equal(Buffer.from(answer.value.body).toString(), `/${index + 1}`, "each gets its own answer");
    }
    assert.equal(board.start.requestsUnderWay, 0);
  });

  it("stops what is under way when the start ends, and delivers nothing afterwards", async () => {
    const network = new HeldNetwork();
    const board = wired({ network });
    let settled = false;
    void board.board.transport.request(POST).then(() => {
      settled = true;
    });
    board.start.close();
    assert.equal(network.held[0]!.signal.aborted, true);
    network.held[0]!.answer({ outcome: "answered", status: 200, body: new Uint8Array(1) });
    await board.time.run(board.time.nowMs() + 1_000);
    assert.equal(settled, false);
    assert.throws(() => board.board.port.clock(), /the start ended/);
  });

  it("refuses paths and sizes that the wire does not carry", async () => {
    const { board, start } = wired({ network: new HeldNetwork() });
    assert.throws(() => board.transport.request({ ...POST, path: "v1" }), /path/);
    assert.throws(() => board.transport.request({ ...POST, path: "/a b" }), /path/);
    assert.throws(() => board.transport.request({ ...POST, path: "/\r\nHost: x" }), /path/);
    assert.throws(() => board.transport.request({ ...POST, path: `/${"x".repeat(512)}` }), RangeError);
    assert.throws(() => board.transport.request({ ...POST, body: new Uint8Array(65_537) }), RangeError);
    assert.equal(start.requestsUnderWay, 0);
  });

  it("asks for no more pieces than the body has", async () => {
    const network = new HeldNetwork();
    const { board, time, operations } = wired({ network });
    const pending = board.transport.request({ ...POST, body: new Uint8Array(2_049) });
    network.held[0]!.answer({ outcome: "answered", status: 200, body: new Uint8Array(1_024) });
    await time.run(time.nowMs() + 1);
    await pending;
    const { requestOpen, requestBody, responseRead, requestClose } = Operation;
    assert.deepEqual(operations, [requestOpen, requestBody, requestBody, requestBody, responseRead, requestClose]);
  });
});
