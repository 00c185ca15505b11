import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { RECORD_MAX_BYTES, recordId } from "tallystick/record/record";
import { accept } from "tallystick/sync/acceptance";
import type { ChainStore } from "tallystick/sync/chain-store";
import { BATCH_MAX_BYTES, NONCE_BYTES, type Position, readRequest, splitBatch } from "tallystick/sync/messages";
import { readRelayPins } from "tallystick/sync/relay-pins";
import { readSentMark } from "tallystick/sync/sent-mark";
import { Sync } from "tallystick/sync/sync";
import type { Transport, TransportRequest, TransportResponse } from "tallystick/sync/transport";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { VirtualTime } from "../../hosts/simulator/world/time.js";
import { FixtureDevice, MemoryKeys } from "../fixtures/device.js";
import { must } from "../relay/started.js";
import { acknowledge, clockOf, NOW_MS, pinned, timersOf } from "./memory-relay.js";

const MINUTE = 60_000;
const FAILED: Result<TransportResponse> = fail("TRANSPORT_FAILED", "no route");

describe("sync", () => {
  let time: VirtualTime;
  let device: FixtureDevice;
  let keys: MemoryKeys;
  let problems: Failure[];
  let asked: { readonly atMs: number; readonly request: TransportRequest }[];

  beforeEach(() => {
    time = new VirtualTime(NOW_MS);
    device = new FixtureDevice({ crypto: relayCrypto });
    keys = pinned(new MemoryKeys());
    problems = [];
    asked = [];
  });

  const idOf = (seq: number) => recordId(relayCrypto.sha256, device.chain[seq]!);
  const positionAt = (seq: number): Position => ({ seq, id: idOf(seq) });

  function connect(answer: Transport["request"], overrides: Partial<ChainStore> = {}): Sync {
    const chain: ChainStore = {
      get head() {
        return positionAt(device.chain.length - 1);
      },
      firstSeq: 0,
      record: (seq) =>
        device.chain[seq] ? ok(device.chain[seq]) : fail("JOURNAL_RECORD_ABSENT", `seq ${seq} is not in the chain`),
      restore: (bytes) => ok(device.adopt(bytes)),
      release: () => ok(undefined),
    };
    // What a test gives may be a getter, and stays one.
    Object.defineProperties(chain, Object.getOwnPropertyDescriptors(overrides));
    return new Sync({
      identity: device.identity,
      crypto: relayCrypto,
      keys,
      entropy: { bytes: (length) => new Uint8Array(randomBytes(length)) },
      clock: clockOf(time),
      timers: timersOf(time),
      transport: {
        request: (request) => {
          asked.push({ atMs: time.nowMs(), request });
          return answer(request);
        },
      },
      relay: must(readRelayPins(keys, relayCrypto.sha256)),
      chain,
      onReady: () => undefined,
      onHold: () => undefined,
      onSuccession: () => fail("SUCCESSION_NEEDED", "not in this test"),
      onAcknowledged: () => undefined,
      onProblem: (failure) => problems.push(failure),
    });
  }

  /** A relay that takes everything; `limit` records of a batch at most. */
  function honest(received = { seq: 0 }, limit = Number.POSITIVE_INFINITY): Transport["request"] {
    return async ({ path, body }) => {
      const batch = path.endsWith("/records") ? must(splitBatch(body!)) : undefined;
      const request = batch?.request ?? must(readRequest(body!));
      received.seq += Math.min(batch?.records.length ?? 0, limit);
      return ok({ status: 200, body: acknowledge(device, request, { received: positionAt(received.seq) }) });
    };
  }

  const gaps = () => asked.slice(1).map(({ atMs }, i) => atMs - asked[i]!.atMs);

  it("waits longer after each failure, up to a cap, with jitter; a new record changes nothing about it", async () => {
    const sync = connect(async () => FAILED);
    must(sync.start());
    for (let passed = 0; passed < 120; passed++) {
      await time.run(time.nowMs() + MINUTE);
      device.appendReading(passed);
      sync.wake();
    }
    const waits = gaps();
    for (const [i, wait] of waits.entries()) {
      const base = Math.min(1000 * 2 ** i, 300_000);
      assert.ok(wait >= 0.75 * base && wait <= 1.25 * base + 1, `wait ${i} is ${wait} ms`);
    }
    const capped = waits.slice(9);
    assert.ok(capped.length > 15);
    assert.ok(new Set(capped).size > capped.length / 2, "jitter spreads the waits");
    assert.equal(problems.length, asked.length);
    sync.close();
  });

  it("does not take a greeting for progress: sendings that fail are tried later and later", async () => {
    device.appendReadings(3);
    const take = honest();
    const sync = connect(async (request) => (request.path.endsWith("/records") ? FAILED : take(request)));
    must(sync.start());
    await time.run(time.nowMs() + 60 * MINUTE);
    const sendings = asked.filter(({ request }) => request.path.endsWith("/records"));
    assert.ok(sendings.length < 25, `${sendings.length} sendings in an hour`);
    assert.ok(asked.length <= 2 * sendings.length + 1);
    sync.close();
  });

  it("begins again with short waits after a success", async () => {
    let up = false;
    const take = honest();
    const sync = connect(async (request) => (up ? take(request) : FAILED));
    must(sync.start());
    await time.run(time.nowMs() + 30 * MINUTE);
    up = true;
    await time.run(time.nowMs() + 10 * MINUTE);
    up = false;
    const before = asked.length;
    device.appendReading(1);
    sync.wake();
    await time.run(time.nowMs() + 20_000);
    assert.ok(asked.length - before >= 4, `${asked.length - before} tries in 20 s`);
    sync.close();
  });

  it("honours Retry-After, up to an hour", async () => {
    for (const [retryAfterS, least] of [
      [120, 120_000],
      [1_000_000, 3_600_000],
    ] as const) {
      asked.length = 0;
      const sync = connect(async () => ok({ status: 503, body: new Uint8Array(0), retryAfterS }));
      must(sync.start());
      await time.run(time.nowMs() + 5 * 3_600_000);
      for (const gap of gaps()) assert.ok(gap >= least && gap <= Math.max(least, 375_000), `${gap} ms`);
      assert.ok(asked.length >= 4);
      sync.close();
    }
  });

  it("sends a backlog in order, in batches that a board can hold, each after the mark of what is sent", async () => {
    device.appendReadings(300);
    const marks: number[] = [];
    const take = honest();
    const sync = connect((request) => {
      if (request.path.endsWith("/records")) {
        const { records } = must(splitBatch(request.body!));
        const last = device.parse(records[records.length - 1]!).header.seq;
        assert.equal(must(readSentMark(keys)), last, "the mark is durable before the sending");
        marks.push(last);
        assert.ok(request.body!.length <= 8192 + 128 && request.body!.length <= BATCH_MAX_BYTES);
      }
      return take(request);
    });
    must(sync.start());
    await time.run(time.nowMs() + MINUTE);
    assert.equal(marks[marks.length - 1], 300);
    assert.ok(marks.length >= 5);
    assert.deepEqual(problems, []);
    sync.close();
  });

  it("goes on from what the relay took of a batch", async () => {
    device.appendReadings(20);
    const received = { seq: 0 };
    const sync = connect(honest(received, 3));
    must(sync.start());
    await time.run(time.nowMs() + MINUTE);
    assert.equal(received.seq, 20);
    sync.close();
  });

  it("sends what comes before a damaged record, tells of it, and does not ask without end", async () => {
    device.appendReadings(10);
    const received = { seq: 0 };
    const sync = connect(honest(received), {
      record: (seq) => (seq === 6 ? fail("JOURNAL_RECORD_DAMAGED", "seq 6") : ok(device.chain[seq]!)),
    });
    must(sync.start());
    await time.run(time.nowMs() + 60 * MINUTE);
    assert.equal(received.seq, 5);
    assert.deepEqual([...new Set(problems.map(({ code }) => code))], ["JOURNAL_RECORD_DAMAGED"]);
    assert.ok(asked.length < 60, `${asked.length} requests in an hour`);
    sync.close();
  });

  it("goes on where a record cannot be released", async () => {
    device.appendReadings(10);
    const received = { seq: 0 };
    const take = honest(received);
    const sync = connect(
      async (request) => {
        const answer = await take(request);
        const batch = request.path.endsWith("/records") ? must(splitBatch(request.body!)).request : undefined;
        const asking = batch ?? must(readRequest(request.body!));
        return answer.ok
          ? ok({
              status: 200,
              body: acknowledge(device, asking, { received: positionAt(received.seq), logged: positionAt(0) }),
            })
          : answer;
      },
      { release: () => fail("JOURNAL_RECORD_DAMAGED", "seq 0") },
    );
    must(sync.start());
    await time.run(time.nowMs() + MINUTE);
    assert.equal(received.seq, 10);
    assert.ok(problems.every(({ code }) => code === "JOURNAL_RECORD_DAMAGED"));
    sync.close();
  });

  it("asks anew where a relay that was set back stands, and sends again what it lost", async () => {
    device.appendReadings(10);
    const received = { seq: 0 };
    let firstSeq = 0;
    const take = honest(received);
    const sync = connect(take, {
      get firstSeq() {
        return firstSeq;
      },
      record: (seq) => (seq < firstSeq ? fail("JOURNAL_RECORD_ABSENT", `seq ${seq}`) : ok(device.chain[seq]!)),
    });
    must(sync.start());
    await time.run(time.nowMs() + MINUTE);
    assert.equal(received.seq, 10);
    received.seq = 4;
    await time.run(time.nowMs() + 2 * MINUTE);
    assert.equal(received.seq, 10);
    // What the journal has let go of, the relay must bring back by itself; the device hears of it as soon as it has.
    received.seq = 4;
    firstSeq = 8;
    await time.run(time.nowMs() + 30 * MINUTE);
    assert.deepEqual([...new Set(problems.map(({ code }) => code))], ["RELAY_BEHIND"]);
    received.seq = 9;
    await time.run(time.nowMs() + 10 * MINUTE);
    assert.equal(received.seq, 10);
    sync.close();
  });

  it("asks for few records at once, so that an answer fits a board", async () => {
    const seed = new Uint8Array(randomBytes(32));
    device = new FixtureDevice({ crypto: relayCrypto, seed });
    device.appendReadings(10);
    const all = device.chain.slice();
    const take = honest({ seq: 10 });
    keys.write("sent", Uint8Array.of(10));
    const whole = device;
    device = new FixtureDevice({ crypto: relayCrypto, seed });
    const pages: number[] = [];
    const sync = connect(async (request) => {
      assert.ok(request.maxResponseBytes <= 16384);
      if (request.method === "POST") {
        const lost = device;
        device = whole;
        const answer = await take(request);
        device = lost;
        return answer;
      }
      const [from, to] = /from=(\d+)&to=(\d+)/.exec(request.path)!.slice(1).map(Number) as [number, number];
      pages.push(to - from + 1);
      return ok({ status: 200, body: new Uint8Array(Buffer.concat(all.slice(from, to + 1))) });
    });
    must(sync.start());
    await time.run(time.nowMs() + MINUTE);
    assert.deepEqual(problems, []);
    assert.equal(device.chain.length, 11);
    assert.ok(pages.every((count) => count * RECORD_MAX_BYTES <= 16384) && pages.length >= 3, pages.join());
    sync.close();
  });

  it("accepts an acknowledgement whole, and none of which a bit was changed", () => {
    device.appendReadings(5);
    const request = { nonce: new Uint8Array(NONCE_BYTES).fill(1), pinnedSize: 0 };
    const good = acknowledge(device, request, { received: positionAt(5), logged: positionAt(3), final: positionAt(1) });
    const check = (bytes: Uint8Array) =>
      accept(
        {
          crypto: relayCrypto,
          kid: device.identity.kid,
          relay: must(readRelayPins(keys, relayCrypto.sha256)),
          keys,
          ownId: idOf,
          lastSeq: 5,
        },
        request,
        bytes,
      );
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = good.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(check(bad).ok, false, `bit ${bit}`);
      assert.equal(keys.read("pin"), undefined, `bit ${bit}: something was pinned`);
    }
    for (let length = 0; length < good.length; length += 13) assert.equal(check(good.slice(0, length)).ok, false);
    assert.ok(check(good).ok);
    assert.notEqual(keys.read("pin"), undefined);
  });
});
