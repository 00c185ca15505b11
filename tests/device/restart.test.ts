import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { toHex } from "tallystick/bytes/bytes";
import { encodeCbor } from "tallystick/record/cbor";
import { Kind } from "tallystick/record/record";
import { readToken, writeToken } from "tallystick/sync/enrolment";
import { readSentMark } from "tallystick/sync/sent-mark";
import { StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";

const MINUTE = 60_000;

/** What a device may do after a restart depends on what others may hold of its chain: the rules, one after the other. */
describe("a device after a restart", () => {
  let started: StartedRelay;
  let bench: Bench;
  /** Each test has a device of its own. */
  let seed = 1;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  beforeEach(() => {
    bench = new Bench({ seed: seed++ });
    bench.provision(started);
    bench.connect(started.url);
  });
  afterEach(() => bench.close());

  const sentMark = () => {
    const mark = readSentMark(bench.keys);
    assert.ok(mark.ok);
    return mark.value;
  };
  const cellsOf = () => createHash("sha256").update(bench.flash.snapshot().cells).digest("hex");
  const keysOf = () => [...bench.cells.values].map(([name, value]) => `${name} ${toHex(value)}`);

  /** Runs until `seq` is held, then takes everything that the relay has. */
  async function grow(seq: number): Promise<void> {
    await bench.until(`seq ${seq} held`, () => bench.headSeq >= seq);
    await bench.climb(started);
  }

  describe("with its flash set back", () => {
    for (const back of [1, 3, 40])
      it(`by about ${back} records: asks first, fetches its own records back, byte for byte, and goes on`, async () => {
        await bench.powerOn();
        await grow(10);
        const snapshot = bench.flash.snapshot();
        const before = bench.headSeq;
        await grow(before + back);
        await bench.cutPower();
        bench.flash.restore(snapshot);

        const sent = sentMark()!;
        assert.ok(sent >= before + back);
        const asked = bench.network.requests.length;
        const reported = bench.held.length;
        await bench.powerOn();
        await bench.until("records", () => bench.held.length > reported + 3);
        const [greeting, fetch] = bench.network.requests.slice(asked);
        assert.match(greeting!.path, /\/head$/);
        assert.match(fetch!.path, /\/records\?from=/);
        assert.ok(bench.held[reported]!.seq > sent, "the first record of this start follows what was sent");
        assert.equal(bench.held[reported]!.kind, "boot");
        // What was committed before the rollback was sent, so that nothing at all may be missing.
        await bench.checkNothingLost(started);
        // Every record that was fetched back is in flash again: a further start needs no relay.
        await bench.cutPower();
        bench.disconnect();
        const offline = bench.held.length;
        await bench.powerOn();
        await bench.until("records", () => bench.held.length > offline);
      });

    for (const keysToo of [false, true])
      it(`by more than its journal holds${keysToo ? ", and its key store with it" : ""}: the log makes room`, async () => {
        await bench.close();
        bench = new Bench({ seed: seed++, sectors: 8 });
        bench.provision(started);
        bench.connect(started.url);
        await bench.powerOn();
        await grow(10);
        const snapshot = bench.flash.snapshot();
        const values = new Map(bench.cells.values);
        // Twice round the ring.
        const { erases } = bench.flash.counters;
        while (bench.flash.counters.erases < erases + 16) await grow(bench.headSeq + 20);
        await bench.cutPower();
        bench.flash.restore(snapshot);
        if (keysToo) for (const [name, value] of values) bench.cells.values.set(name, value);
        const reported = bench.held.length;
        await bench.powerOn();
        await bench.until("records", () => bench.held.length > reported + 3);
        assert.equal(bench.held[reported]!.seq, bench.held[reported - 1]!.seq + 1);
        await bench.checkNothingLost(started);
      });

    it("signs nothing while the relay cannot be asked", async () => {
      await bench.powerOn();
      await grow(10);
      const snapshot = bench.flash.snapshot();
      await grow(20);
      await bench.cutPower();
      bench.flash.restore(snapshot);
      bench.disconnect();
      const before = cellsOf();
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.run(30 * MINUTE);
      assert.equal(bench.held.length, reported);
      assert.equal(cellsOf(), before, "not a cell of the flash was driven");
      bench.connect(started.url);
      await bench.until("records", () => bench.held.length > reported);
      await bench.checkNothingLost(started);
    });

    it("whole records that were never sent are no reason to ask", async () => {
      await bench.powerOn();
      await grow(10);
      const snapshot = bench.flash.snapshot();
      const reported = bench.held.length;
      bench.disconnect();
      // The mark goes before the sending, so that nothing may be tried either.
      const mark = sentMark();
      await bench.until("records", () => bench.held.length > reported + 1);
      await bench.cutPower();
      bench.keys.write("sent", encodeCbor(mark!));
      bench.flash.restore(snapshot);
      await bench.powerOn();
      const offline = bench.held.length;
      await bench.until("records", () => bench.held.length > offline, MINUTE);
    });

    it("and records that never arrived: SUCCESSION_NEEDED, and nothing is signed on this chain again", async () => {
      await bench.powerOn();
      await grow(10);
      const snapshot = bench.flash.snapshot();
      // Sent, as far as the device can tell: they were lost on the way.
      const { target } = bench.network;
      bench.network.target = {
        request: async (request, signal) =>
          request.path.endsWith("/records")
            ? { outcome: "timed-out", detail: "lost" }
            : target!.request(request, signal),
      };
      const head = bench.headSeq;
      await bench.until("a sending", () => sentMark()! > head + 1);
      await bench.cutPower();
      bench.flash.restore(snapshot);
      bench.network.target = target;
      const reported = bench.held.length;
      const { kid } = bench;
      const codes = bench.codes.length;
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      // What becomes of the device then is in succession.test.ts.
      assert.deepEqual(bench.codes.slice(codes), ["SUCCESSION_NEEDED"]);
      assert.ok(bench.held.slice(reported).every((record) => record.kid !== kid));
      assert.deepEqual(bench.network.equivocations, []);
    });

    it("and records that arrive late: goes on once the relay has them", async () => {
      await bench.powerOn();
      await grow(10);
      const snapshot = bench.flash.snapshot();
      const { target } = bench.network;
      const late: (() => Promise<unknown>)[] = [];
      bench.network.target = {
        request: async (request, signal) => {
          if (!request.path.endsWith("/records")) return target!.request(request, signal);
          late.push(() => target!.request(request, new AbortController().signal));
          return { outcome: "timed-out", detail: "still under way" };
        },
      };
      const head = bench.headSeq;
      await bench.until("a sending", () => sentMark()! > head + 1);
      await bench.cutPower();
      bench.flash.restore(snapshot);
      bench.network.target = target;
      await bench.powerOn();
      await bench.until("a refusal", () => bench.codes.includes("SUCCESSION_NEEDED"));
      const reported = bench.held.length;
      for (const deliver of late) await deliver();
      await bench.until("records", () => bench.held.length > reported);
      await bench.checkNothingLost(started);
    });
  });

  describe("with flash and key store set back together", () => {
    /** Everything that the device has, as it was after ten records. */
    async function setBack(): Promise<void> {
      await bench.powerOn();
      await grow(10);
      const snapshot = bench.flash.snapshot();
      const values = new Map(bench.cells.values);
      await grow(30);
      await bench.cutPower();
      bench.flash.restore(snapshot);
      bench.cells.values.clear();
      for (const [name, value] of values) bench.cells.values.set(name, value);
    }

    it("learns it from the first answer, before it has signed anything, and goes on where it was", async () => {
      await setBack();
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("records", () => bench.held.length > reported + 3);
      assert.ok(bench.held[reported]!.seq > 30, `it went on at ${bench.held[reported]!.seq}`);
      assert.equal(bench.held[reported]!.kind, "boot");
      await bench.checkNothingLost(started);
    });

    it("remembers it: after a cut it signs nothing before it has caught up", async () => {
      await setBack();
      const reported = bench.held.length;
      const asked = bench.network.requests.length;
      await bench.powerOn();
      await bench.until(
        "a fetch",
        () => bench.network.requests.slice(asked).filter(({ method }) => method === "GET").length > 2,
      );
      await bench.cutPower();
      bench.disconnect();
      await bench.powerOn();
      await bench.run(30 * MINUTE);
      assert.equal(bench.held.length, reported);
      bench.connect(started.url);
      await bench.until("records", () => bench.held.length > reported);
      await bench.checkNothingLost(started);
    });

    it("and a relay that cannot be asked for its records: signs nothing meanwhile", async () => {
      await setBack();
      const reported = bench.held.length;
      bench.network.alter = (request, answer) =>
        request.method === "GET" && answer.outcome === "answered"
          ? { ...answer, status: 503, body: new Uint8Array(Buffer.from('{"code":"RELAY_BUSY"}')) }
          : answer;
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      assert.equal(bench.held.length, reported);
      bench.network.alter = undefined;
      await bench.until("records", () => bench.held.length > reported);
      await bench.checkNothingLost(started);
    });

    it("and a record signed before it could ask: SUCCESSION_NEEDED, the other branch is never sent", async () => {
      await setBack();
      bench.disconnect();
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("a record offline", () => bench.held.length > reported, 5 * MINUTE);
      bench.connect(started.url);
      await bench.until("the refusal", () => bench.codes.includes("SUCCESSION_NEEDED"));
      const refused = bench.held.length;
      const { kid } = bench;
      await bench.cutPower();
      bench.disconnect();
      await bench.powerOn();
      await bench.run(5 * MINUTE);
      assert.equal(bench.held.length, refused, "nor after a restart without a network");
      await bench.cutPower();
      bench.connect(started.url);
      const codes = bench.codes.length;
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      assert.ok(bench.codes.slice(codes).includes("SUCCESSION_NEEDED"));
      assert.ok(bench.held.slice(refused).every((record) => record.kid !== kid));
      assert.deepEqual(bench.network.equivocations, []);
      bench.recordsAt(started.relay);
    });
  });

  describe("refuses to start, erases nothing and makes no key", () => {
    /** That a start ends with `code`, and that flash and key store are as they were. */
    async function refuses(code: string): Promise<void> {
      const flash = cellsOf();
      const keys = keysOf();
      const codes = bench.codes.length;
      const reported = bench.held.length;
      const asked = bench.network.requests.length;
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      assert.deepEqual(bench.codes.slice(codes), [code]);
      assert.equal(bench.held.length, reported);
      assert.equal(bench.network.requests.length, asked, "nothing was sent");
      assert.equal(cellsOf(), flash);
      assert.deepEqual(keysOf(), keys);
    }
    /** A device that has run, without power. */
    async function ran(): Promise<void> {
      await bench.powerOn();
      await grow(5);
      await bench.cutPower();
    }

    it("without a relay's name", async () => {
      bench.keys.delete("relay");
      await refuses("DEVICE_NOT_PROVISIONED");
    });
    it("without a token, where there was no key yet", async () => {
      bench.keys.delete("token");
      await refuses("DEVICE_NOT_PROVISIONED");
    });
    it("on blank flash beside a key", async () => {
      await ran();
      bench.flash.fill(new Uint8Array(bench.flash.sizeBytes).fill(0xff));
      await refuses("DEVICE_NOT_PROVISIONED");
    });
    it("on blank flash beside a key, even with a new token, once anything was sent", async () => {
      await ran();
      writeToken(bench.keys, new Uint8Array(Buffer.from(started.token())));
      bench.flash.fill(new Uint8Array(bench.flash.sizeBytes).fill(0xff));
      await refuses("DEVICE_NOT_PROVISIONED");
    });
    it("without its seed, even with a new token, once anything was sent", async () => {
      await ran();
      writeToken(bench.keys, new Uint8Array(Buffer.from(started.token())));
      bench.keys.delete("seed");
      await refuses("DEVICE_NOT_PROVISIONED");
    });
    it("without its seed where a chain is, even where nothing was ever sent", async () => {
      bench.disconnect();
      await bench.powerOn();
      await bench.until("a record", () => bench.headSeq >= 3);
      await bench.cutPower();
      bench.keys.delete("seed");
      bench.keys.delete("sent");
      const flash = cellsOf();
      await bench.powerOn();
      await bench.run(MINUTE);
      assert.ok(["JOURNAL_FOREIGN", "KEY_MISMATCH"].includes(bench.codes[bench.codes.length - 1]!), bench.codes.join());
      assert.equal(cellsOf(), flash);
    });
    for (const name of ["seed", "relay", "sent"])
      it(`where ${name} cannot be read`, async () => {
        await ran();
        bench.keys.write(name, Uint8Array.of(0xff, 1, 2));
        await refuses("KEY_UNREADABLE");
      });
    it("on flash that holds no journal", async () => {
      bench.flash.fill(Uint8Array.from({ length: bench.flash.sizeBytes }, (_, i) => (i * 89) & 0xff));
      const flash = cellsOf();
      await bench.powerOn();
      await bench.run(10 * MINUTE);
      assert.deepEqual(bench.codes, ["JOURNAL_UNREADABLE"]);
      assert.equal(cellsOf(), flash);
      assert.equal(bench.network.requests.length, 0);
    });

    it("on encrypted flash that has become unreadable; blank, it reads as anything too, and is begun once", async () => {
      await bench.close();
      bench = new Bench({ seed: seed++, writeUnitBytes: 32 });
      bench.provision(started);
      await bench.powerOn();
      await bench.until("records", () => bench.headSeq >= 3);
      await bench.cutPower();
      bench.flash.fill(Uint8Array.from({ length: bench.flash.sizeBytes }, (_, i) => (i * 89) & 0xff));
      bench.codes.length = 0;
      await refuses("JOURNAL_UNREADABLE");
    });

    for (const settled of [true, false])
      it(`on the flash of another device, its genesis ${settled ? "still there" : "alone"}`, async () => {
        const other = new Bench({ seed: seed++ });
        other.provision(started);
        if (settled) other.connect(started.url);
        await other.powerOn();
        await other.until("records", () => other.headSeq >= (settled ? 10 : 0));
        await other.close();
        await ran();
        bench.flash.restore(other.flash.snapshot());
        const flash = cellsOf();
        const keys = keysOf();
        const reported = bench.held.length;
        const codes = bench.codes.length;
        await bench.powerOn();
        await bench.run(10 * MINUTE);
        const code = bench.codes[codes]!;
        assert.ok(["JOURNAL_FOREIGN", "KEY_MISMATCH"].includes(code), bench.codes.slice(codes).join());
        assert.equal(bench.held.length, reported);
        assert.equal(cellsOf(), flash);
        assert.deepEqual(keysOf(), keys);
      });
  });

  describe("with a token left over", () => {
    it("takes the same enrolment as done", async () => {
      await bench.powerOn();
      const token = readToken(bench.keys)!;
      await bench.until("the enrolment", () => readToken(bench.keys) === undefined);
      await bench.cutPower();
      // As after a cut between the answer and the deletion.
      writeToken(bench.keys, token);
      await bench.powerOn();
      await bench.until("the enrolment", () => readToken(bench.keys) === undefined);
      await bench.checkNothingLost(started);
      assert.deepEqual(bench.codes, []);
    });

    it("goes on where the token is worthless, since the relay knows the device", async () => {
      await bench.powerOn();
      await grow(3);
      await bench.cutPower();
      writeToken(bench.keys, new Uint8Array(24).fill(65));
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("records", () => bench.held.length > reported + 2);
      await bench.checkNothingLost(started);
      assert.deepEqual(bench.codes, []);
      assert.equal(readToken(bench.keys), undefined);
    });

    it("goes on where its genesis is long released", async () => {
      await bench.close();
      bench = new Bench({ seed: seed++, sectors: 8 });
      bench.provision(started);
      bench.connect(started.url);
      await bench.powerOn();
      // Eight to format, eight for the first round: the next takes genesis.
      while (bench.flash.counters.erases < 17) {
        await bench.run(MINUTE);
        await bench.climb(started);
      }
      await bench.cutPower();
      writeToken(bench.keys, new Uint8Array(Buffer.from(started.token())));
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("records", () => bench.held.length > reported + 2);
      await bench.checkNothingLost(started);
      assert.deepEqual(bench.codes, []);
    });

    it("keeps a refused token, keeps recording, and enrols with a good one", async () => {
      writeToken(bench.keys, new Uint8Array(24).fill(65));
      await bench.powerOn();
      await bench.until("records", () => bench.headSeq >= 20);
      assert.ok(bench.codes.length > 1 && bench.codes.every((code) => code === "TOKEN_INVALID"), bench.codes.join());
      await bench.cutPower();
      writeToken(bench.keys, new Uint8Array(Buffer.from(started.token())));
      await bench.powerOn();
      await bench.until("the enrolment", () => readToken(bench.keys) === undefined);
      await bench.checkNothingLost(started);
    });
  });

  it("has its chain's starts counted, each by one boot record before anything else of that start", async () => {
    await bench.powerOn();
    await grow(2);
    for (let start = 1; start <= 3; start++) {
      await bench.cutPower();
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("records", () => bench.held.length > reported + 2);
      assert.deepEqual(
        bench.held.slice(reported).map(({ kind }) => kind === "boot"),
        bench.held.slice(reported).map((_, i) => i === 0),
      );
    }
    await bench.checkNothingLost(started);
    const boots = bench.recordsAt(started.relay).map((bytes) => parsed(bytes).header);
    assert.deepEqual(
      boots.filter(({ kind }) => kind === Kind.boot).map(({ boot }) => boot),
      [1, 2, 3],
    );
  });
});
