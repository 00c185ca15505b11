import { strict as assert } from "node:assert";
import { createHmac } from "node:crypto";
import { ClockState } from "tallystick/clock/clock";
import type { Result } from "tallystick/codes/codes";
import { portableCrypto } from "tallystick/identity/portable";
import { readMaker, writeMaker } from "tallystick/sync/enrolment";
import type { TransportResponse } from "tallystick/sync/transport";
import { FixtureMaker } from "../fixtures/maker.js";
import { clockwork, efuse, http, makerPartition, net, nvs, partition, Time, wifi } from "./sdk/fakes.js";
import { type Host, loadHost, type Network } from "./sdk/host.js";

const RELAY = { host: "relay.lan", port: 8080 };
const YEAR_2026_MS = 1_780_000_000_000;

describe("the board's host code, on stand-ins for the SDK", () => {
  let host: Host;
  let dateMs = YEAR_2026_MS;

  before(async () => {
    host = await loadHost(() => dateMs);
  });

  function joined(): Network {
    const network = new host.network.Network("attic", "secret", () => {});
    network.start();
    wifi.made.at(-1)!.become(500, "192.168.1.9");
    return network;
  }

  describe("transport", () => {
    const body = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);

    function begin(maxResponseBytes = 1000) {
      const answer = host.transport
        .httpTransport(RELAY, joined())
        .request({ method: "POST", path: "/v1/devices", body, maxResponseBytes });
      const client = http.made.at(-1)!;
      return { answer, client, request: client.requests[0]! };
    }

    async function expectFailure(answer: Promise<Result<TransportResponse>>, detail: RegExp): Promise<void> {
      const result = await answer;
      assert.ok(!result.ok, "expected a failure");
      assert.equal(result.failure.code, "TRANSPORT_FAILED");
      assert.match(result.failure.detail, detail);
    }

    it("sends the body in the pieces that the socket takes, and gives the answer", async () => {
      const { answer, client, request } = begin();
      assert.deepEqual([client.options.host, client.options.port], ["relay.lan", 8080]);
      assert.deepEqual(client.options.dns.servers, ["192.168.1.1"]);
      assert.deepEqual([request.options.method, request.options.path], ["POST", "/v1/devices"]);
      request.take(128);
      request.take(1000);
      assert.deepEqual(Uint8Array.from(request.written), body);
      request.answer(200, { "content-length": "3" });
      request.deliver(Uint8Array.of(1, 2));
      request.deliver(Uint8Array.of(3));
      request.done(null);
      const result = await answer;
      assert.ok(result.ok, JSON.stringify(result));
      assert.equal(result.value.status, 200);
      assert.deepEqual([...result.value.body], [1, 2, 3]);
      assert.equal(client.closed, false, "closed while it still worked on its state");
      clockwork.advance(0);
      assert.equal(client.closed, true);
    });

    it("fails at once without a network, and opens nothing", async () => {
      const network = new host.network.Network("attic", undefined, () => {});
      const made = http.made.length;
      const request = { method: "GET", path: "/v1/relay", maxResponseBytes: 10 } as const;
      await expectFailure(host.transport.httpTransport(RELAY, network).request(request), /no network/);
      assert.equal(http.made.length, made);
    });

    it("fails when no answer comes in time", async () => {
      const { answer, client } = begin();
      clockwork.advance(29_999);
      assert.equal(client.closed, false);
      clockwork.advance(2);
      await expectFailure(answer, /no answer within 30000 ms/);
      assert.equal(client.closed, true);
    });

    it("fails when the connection breaks, before the answer or within it", async () => {
      const first = begin();
      first.client.options.onError();
      await expectFailure(first.answer, /connection to relay\.lan:8080 failed/);
      const second = begin();
      second.request.answer(200, { "content-length": "10" });
      second.request.deliver(Uint8Array.of(1));
      second.request.done(new Error());
      await expectFailure(second.answer, /ended before the answer did/);
      const third = begin();
      http.refuse = "no memory";
      try {
        await expectFailure(
          host.transport.httpTransport(RELAY, joined()).request({ method: "GET", path: "/", maxResponseBytes: 1 }),
          /no memory/,
        );
      } finally {
        http.refuse = undefined;
      }
      third.request.done(null);
      assert.ok((await third.answer).ok);
    });

    it("stops at an answer that is too long, and settles once", async () => {
      const { answer, client, request } = begin(2);
      request.answer(200, {});
      request.deliver(Uint8Array.of(1, 2, 3));
      await expectFailure(answer, /at most 2 bytes/);
      request.done(null);
      client.options.onError();
      clockwork.advance(60_000);
      assert.equal(client.closed, true);
    });

    it("keeps the SDK's resolver where the network names none", () => {
      net.servers = [];
      try {
        assert.deepEqual(begin().client.options.dns.servers, ["1.1.1.1"]);
      } finally {
        net.servers = ["192.168.1.1"];
      }
    });
  });

  describe("network", () => {
    it("joins, tells so, and joins again after a loss", () => {
      let told = 0;
      const network = new host.network.Network("attic", "secret", () => {});
      network.onJoined = () => void told++;
      network.start();
      const radio = wifi.made.at(-1)!;
      assert.equal(JSON.stringify(radio.attempts), '[{"SSID":"attic","password":"secret"}]');
      radio.become(400);
      assert.equal(network.joined, false);
      radio.become(500, "192.168.1.9");
      radio.become(500, "192.168.1.9");
      assert.deepEqual([network.joined, told], [true, 1]);
      radio.become(200);
      assert.equal(network.joined, false);
      clockwork.advance(1_000);
      assert.equal(radio.attempts.length, 2);
      radio.become(500, "192.168.1.9");
      assert.deepEqual([network.joined, told], [true, 2]);
    });

    it("backs off from 1 s to 60 s, and never gives up", () => {
      const network = new host.network.Network("attic", undefined, () => {});
      network.start();
      const radio = wifi.made.at(-1)!;
      assert.equal(JSON.stringify(radio.attempts), '[{"SSID":"attic"}]');
      const startMs = clockwork.nowMs;
      const at: number[] = [];
      for (let seen = 1; at.length < 8; clockwork.advance(500))
        if (radio.attempts.length > seen) {
          seen = radio.attempts.length;
          at.push(clockwork.nowMs - startMs);
        }
      // Each attempt is given 20 s; the pauses between are 1, 2, 4, … 60 s.
      const pauses = at.map((ms, i) => Math.round((ms - (at[i - 1] ?? 0) - 20_000) / 1000));
      assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    });

    it("tries again where the radio refuses", () => {
      const network = new host.network.Network("attic", undefined, () => {});
      network.start();
      const radio = wifi.made.at(-1)!;
      radio.refuse = true;
      clockwork.advance(25_000);
      radio.refuse = false;
      clockwork.advance(10_000);
      assert.ok(radio.attempts.length > 1, `${radio.attempts.length} attempts`);
    });
  });

  describe("clock and timers", () => {
    it("keeps wall time that the chip kept, and none that it lost", () => {
      const kept = host.clock.boardClock();
      assert.deepEqual([kept.state, kept.wallMs()], [ClockState.retained, YEAR_2026_MS]);
      dateMs = 5_000;
      const lost = host.clock.boardClock();
      dateMs = YEAR_2026_MS;
      assert.deepEqual([lost.state, lost.wallMs()], [ClockState.unset, undefined]);
    });

    it("runs on from what it is set to, in milliseconds, and sets the chip's clock", () => {
      const clock = host.clock.boardClock();
      clock.set(YEAR_2026_MS + 1_234, ClockState.relay);
      clockwork.advance(766);
      assert.deepEqual([clock.state, clock.wallMs()], [ClockState.relay, YEAR_2026_MS + 2_000]);
      assert.equal(Time.setTo, Math.floor((YEAR_2026_MS + 1_234) / 1000));
    });

    it("waits longer than the SDK's timers can", () => {
      const beforeMs = clockwork.nowMs;
      const delayMs = 30 * 24 * 3_600_000;
      let fired: number | undefined;
      host.clock.boardTimers.after(delayMs, () => {
        fired = clockwork.nowMs - beforeMs;
      });
      clockwork.advance(delayMs - 1);
      assert.equal(fired, undefined);
      clockwork.advance(1);
      assert.equal(fired, delayMs);
    });

    it("cancels, also what has fired", () => {
      let fired = 0;
      const timer = host.clock.boardTimers.after(10, () => void fired++);
      timer.cancel();
      timer.cancel();
      const second = host.clock.boardTimers.after(10, () => void fired++);
      clockwork.advance(20);
      second.cancel();
      assert.equal(fired, 1);
    });
  });

  describe("flash and key store", () => {
    it("reads, programs and erases the partition by sectors", () => {
      const flash = host.flash.openPartition("chain");
      assert.deepEqual([flash.sizeBytes, flash.sectorBytes, flash.writeUnitBytes], [16_384, 4_096, 1]);
      flash.write(4_096, Uint8Array.of(0x0f, 0xf0));
      flash.write(4_096, Uint8Array.of(0xff, 0x3f));
      const into = new Uint8Array(3);
      flash.read(4_096, into);
      assert.deepEqual([...into], [0x0f, 0x30, 0xff]);
      flash.erase(1);
      flash.read(4_096, into);
      assert.deepEqual([...into], [0xff, 0xff, 0xff]);
      assert.ok(partition.calls.includes("erase 1 2"), partition.calls.join());
    });

    it("writes an encrypted partition in units of 32 bytes", () => {
      partition.encrypted = true;
      try {
        assert.equal(host.flash.openPartition("chain").writeUnitBytes, 32);
      } finally {
        partition.encrypted = false;
      }
    });

    it("names operation and offset where the chip reports a fault", () => {
      const flash = host.flash.openPartition("chain");
      partition.fault = "write failed";
      try {
        assert.throws(() => flash.write(8, new Uint8Array(1)), { name: "FlashError", operation: "write", offset: 8 });
        assert.throws(() => flash.erase(2), { name: "FlashError", operation: "erase", offset: 8_192 });
        assert.throws(() => flash.read(0, new Uint8Array(1)), { name: "FlashError", operation: "read" });
      } finally {
        partition.fault = undefined;
      }
      assert.throws(() => host.flash.openPartition("factory"), /can't find partition/);
    });

    it("counts keys in the chip's fuses where they hold a key, and says that one did not burn", () => {
      assert.equal(host.efuse.openFuses(), undefined);
      efuse.key = new Uint8Array(32).fill(9);
      try {
        const fuses = host.efuse.openFuses()!;
        assert.deepEqual([fuses.generationsMax, fuses.generation()], [8, 0]);
        fuses.burn(1);
        fuses.burn(2);
        assert.deepEqual([efuse.bits, fuses.generation()], [0b11, 2]);
        const message = Uint8Array.of(1, 2, 3);
        assert.deepEqual([...fuses.hmac(message)], [...createHmac("sha256", efuse.key).update(message).digest()]);
        efuse.fault = "the fuse did not burn";
        assert.throws(() => fuses.burn(3), {
          name: "FuseError",
          code: "KEY_FUSES_FAILED",
          message: "fuse 2: the fuse did not burn",
        });
        assert.equal(fuses.generation(), 2);
      } finally {
        Object.assign(efuse, { key: undefined, bits: 0, fault: undefined });
      }
    });

    it("takes over a maker's statement that was flashed, where one is awaited, and nothing else", () => {
      const keys = host.keystore.openKeyStore("tallystick");
      const statement = new FixtureMaker(portableCrypto).vouch(portableCrypto.ed25519.publicKey(new Uint8Array(32)));
      makerPartition.set(statement);
      host.statement.adoptStatement(keys);
      assert.equal(readMaker(keys), undefined, "nobody asked for it");
      makerPartition.fill(0xff);
      writeMaker(keys, "awaited");
      host.statement.adoptStatement(keys);
      assert.equal(readMaker(keys), "awaited", "the partition is erased");
      makerPartition.set(statement);
      host.statement.adoptStatement(keys);
      assert.deepEqual(readMaker(keys), statement);
      makerPartition.fill(0);
      host.statement.adoptStatement(keys);
      assert.deepEqual(readMaker(keys), statement, "what was taken over stays");
      nvs.clear();
    });

    it("gives back bytes, nothing for a missing name, and never nothing for what it cannot read", () => {
      const keys = host.keystore.openKeyStore("tallystick");
      assert.equal(keys.read("seed"), undefined);
      keys.write("seed", Uint8Array.of(1, 2, 3));
      assert.deepEqual([...keys.read("seed")!], [1, 2, 3]);
      keys.delete("seed");
      assert.equal(keys.read("seed"), undefined);
      nvs.set("tallystick/buffer/seed", "text");
      assert.throws(() => keys.read("seed"), /expected bytes, received string/);
    });
  });
});
