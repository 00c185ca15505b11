import assert from "node:assert/strict";
import { createPublicKey, verify as nodeVerify, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { decode as foreignDecode } from "cborg";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Cbor } from "tallystick/record/cbor";
import { recordId } from "tallystick/record/record";
import { makeStatement, readStatement } from "tallystick/record/statement";
import { accept } from "tallystick/sync/acceptance";
import {
  ACKNOWLEDGEMENT_TYP,
  NONCE_BYTES,
  type Position,
  type Request,
  readAcknowledgement,
  readRequest,
  splitBatch,
} from "tallystick/sync/messages";
import { readRelayPins } from "tallystick/sync/relay-pins";
import { readSentMark, writeSentMark } from "tallystick/sync/sent-mark";
import { Sync } from "tallystick/sync/sync";
import type { TransportResponse } from "tallystick/sync/transport";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { VirtualTime } from "../../hosts/simulator/world/time.js";
import { FixtureDevice, MemoryKeys } from "../fixtures/device.js";
import { failureOf, must } from "../relay/started.js";
import { acknowledge, clockOf, NOW_MS, pinned, relay, timersOf } from "./memory-relay.js";

const MINUTE = 60_000;
const { sha256 } = relayCrypto;

/** Label 11 of an acknowledgement: what the relay was asked to erase above a device's head (modules/sync/SPEC.md). */
describe("sync: what was erased on request", () => {
  /** All that was ever signed. */
  let whole: FixtureDevice;
  let keys: MemoryKeys;

  beforeEach(() => {
    whole = new FixtureDevice({ crypto: relayCrypto });
    whole.appendReadings(30);
    keys = pinned(new MemoryKeys());
  });

  const positionAt = (seq: number): Position => ({ seq, id: recordId(sha256, whole.chain[seq]!) });

  it("is label 11 to a foreign decoder, under the relay's signature to a foreign verifier (cborg, node:crypto)", () => {
    const vector = JSON.parse(readFileSync(new URL("../vectors/acknowledgement.json", import.meta.url), "utf8"));
    const tags = Object.assign([], { 18: (decode: () => unknown) => decode() });
    const decode = (bytes: Uint8Array) => foreignDecode(bytes, { useMaps: true, strict: true, tags: tags as never });
    const labels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    for (const [hex, expected] of [
      [vector.acknowledgement, labels],
      [vector.erased.acknowledgement, [...labels, 11]],
    ]) {
      const [header, , payload, signature] = decode(fromHex(hex)!) as Uint8Array[];
      const content = decode(payload!) as Map<number, unknown>;
      assert.deepEqual([...content.keys()], expected);
      assert.equal(content.get(11), expected.includes(11) ? vector.erased.seq : undefined);
      const length = Buffer.alloc(3);
      length[0] = 0x59;
      length.writeUInt16BE(payload!.length, 1);
      const signed = Buffer.concat([
        Buffer.from("846a5369676e617475726531", "hex"),
        Buffer.from([0x58, header!.length]),
        header!,
        Buffer.from("40", "hex"),
        length,
        payload!,
      ]);
      const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), fromHex(vector.relayPublicKey)!]);
      const key = createPublicKey({ key: spki, format: "der", type: "spki" });
      assert.ok(nodeVerify(null, signed, key, signature!));
    }
  });

  const request = (head?: number): Request => ({
    nonce: new Uint8Array(NONCE_BYTES).fill(1),
    pinnedSize: 0,
    ...(head !== undefined && { head: positionAt(head) }),
  });
  const check = (asked: Request, bytes: Uint8Array) =>
    accept(
      {
        crypto: relayCrypto,
        kid: whole.identity.kid,
        relay: must(readRelayPins(keys, sha256)),
        keys,
        ownId: () => undefined,
        lastSeq: 30,
      },
      asked,
      bytes,
    );

  it("is no position above genesis: malformed, whoever signs it", () => {
    const good = must(readStatement(ACKNOWLEDGEMENT_TYP, acknowledge(whole, request(2), { received: positionAt(9) })));
    const withLabel = (value: Cbor) =>
      makeStatement(ACKNOWLEDGEMENT_TYP, relay.kid, new Map([...good.payload, [11, value]]), (bytes) =>
        must(relay.sign(bytes)),
      );
    assert.equal(must(readAcknowledgement(withLabel(4))).acknowledgement.erasedSeq, 4);
    const wrong: Cbor[] = [0, -1, "4", utf8("4"), [4], [4, new Uint8Array(32)], new Map([[1, 4]]), true, null, 4.5];
    for (const value of wrong) {
      const failure = failureOf(readAcknowledgement(withLabel(value)));
      assert.ok(["MESSAGE_MALFORMED", "CBOR_INVALID"].includes(failure.code), `${String(value)}: ${failure.detail}`);
      assert.equal(check(request(2), withLabel(value)).ok, false);
    }
    assert.equal(keys.read("pin"), undefined, "nothing was pinned by it");
    const twelve = new Map<number, Cbor>([...(good.payload as Map<number, Cbor>), [12, 4]]);
    const unknown = makeStatement(ACKNOWLEDGEMENT_TYP, relay.kid, twelve, (bytes) => must(relay.sign(bytes)));
    assert.equal(failureOf(readAcknowledgement(unknown)).code, "MESSAGE_MALFORMED");
  });

  for (const [what, head, received, erasedSeq] of [
    ["at the head", 5, 9, 5],
    ["below it", 5, 9, 1],
    ["above received", 5, 9, 10],
    ["above received, without a head", undefined, 9, 10],
    ["where nothing is received", undefined, undefined, 1],
    ["where received is the head", 9, 9, 10],
  ] as const)
    it(`${what}: the answer is refused, and nothing is pinned`, () => {
      const levels = received === undefined ? {} : { received: positionAt(received) };
      const failure = failureOf(check(request(head), acknowledge(whole, request(head), { ...levels, erasedSeq })));
      assert.equal(failure.code, "ACKNOWLEDGEMENT_FALSE");
      assert.match(failure.detail, /erased/);
      assert.equal(keys.read("pin"), undefined);
    });

  it("between head and received, both ends included: accepted", () => {
    for (const [head, erasedSeq] of [
      [undefined, 1],
      [5, 6],
      [5, 9],
    ] as const) {
      const bytes = acknowledge(whole, request(head), { received: positionAt(9), erasedSeq });
      assert.equal(must(check(request(head), bytes)).erasedSeq, erasedSeq);
    }
  });

  it("put into an honest answer by who has no key, or taken out of one: not the relay's word", () => {
    for (const [given, put] of [
      [undefined, 6],
      [6, undefined],
      [6, 7],
    ] as const) {
      const word = { received: positionAt(9), ...(given !== undefined && { erasedSeq: given }) };
      const honest = acknowledge(whole, request(5), word);
      assert.ok(check(request(5), honest).ok);
      const { signature, payload } = must(readStatement(ACKNOWLEDGEMENT_TYP, honest));
      const changed = new Map<number, Cbor>(payload as Map<number, Cbor>);
      changed.delete(11);
      if (put !== undefined) changed.set(11, put);
      const forged = makeStatement(ACKNOWLEDGEMENT_TYP, relay.kid, changed, () => signature);
      assert.equal(failureOf(check(request(5), forged)).code, "ACKNOWLEDGEMENT_FALSE");
    }
  });

  describe("and a device", () => {
    let time: VirtualTime;
    let problems: Failure[];
    let succeeded: Position[];
    let pages: { readonly from: number; readonly to: number }[];
    let holds: number;
    let readies: number;
    let sync: Sync;
    /** What the flash holds: positions up to here. */
    let head: number;
    /** What the relay holds, and what of it was erased. */
    let received: number;
    let erased: Set<number>;
    let released: number;
    /** Changes the relay's word, or what it gives. */
    let word: (asked: Request) => { received?: Position; logged?: Position; erasedSeq?: number };
    let page: (from: number, to: number) => Result<TransportResponse>;

    beforeEach(() => {
      time = new VirtualTime(NOW_MS);
      problems = [];
      succeeded = [];
      pages = [];
      [holds, readies, released] = [0, 0, -1];
      [head, received] = [10, 30];
      erased = new Set();
      word = honestWord;
      page = honestPage;
    });
    afterEach(() => sync.close());

    function honestWord({ head: asked }: Request) {
      const lowest = [...erased].filter((seq) => seq > (asked?.seq ?? -1) && seq <= received).sort((a, b) => a - b)[0];
      const at = positionAt(received);
      return { received: at, logged: at, ...(lowest !== undefined && { erasedSeq: lowest }) };
    }

    function honestPage(from: number, to: number): Result<TransportResponse> {
      if (erased.has(from)) return ok({ status: 410, body: utf8('{"code":"RECORD_ERASED","detail":"asked"}') });
      let end = from;
      while (end <= Math.min(to, received) && !erased.has(end)) end++;
      return ok({ status: 200, body: new Uint8Array(Buffer.concat(whole.chain.slice(from, end))) });
    }

    function connect({ sent }: { readonly sent: number }): void {
      writeSentMark(keys, whole.identity.kid, sent);
      sync = new Sync({
        identity: whole.identity,
        crypto: relayCrypto,
        keys,
        entropy: { bytes: (length) => new Uint8Array(randomBytes(length)) },
        clock: clockOf(time),
        timers: timersOf(time),
        transport: {
          request: async ({ method, path, body }) => {
            if (method === "GET") {
              const [from, to] = /from=(\d+)&to=(\d+)/.exec(path)!.slice(1).map(Number) as [number, number];
              pages.push({ from, to });
              return page(from, to);
            }
            const batch = path.endsWith("/records") ? must(splitBatch(body!)) : undefined;
            const asked = batch?.request ?? must(readRequest(body!));
            received = Math.max(received, ...(batch?.records ?? []).map((bytes) => whole.parse(bytes).header.seq));
            return ok({ status: 200, body: acknowledge(whole, asked, word(asked)) });
          },
        },
        relay: must(readRelayPins(keys, sha256)),
        chain: {
          get head() {
            return positionAt(head);
          },
          firstSeq: 0,
          record: (seq) => (seq <= head ? ok(whole.chain[seq]!) : fail("JOURNAL_RECORD_ABSENT", `seq ${seq}`)),
          restore: (bytes) =>
            toHex(bytes) === toHex(whole.chain[head + 1]!) ? ok(++head) : fail("CHAIN_BROKEN", "another"),
          release: ({ seq }) => {
            released = seq;
            return ok(undefined);
          },
        },
        onReady: () => readies++,
        onHold: () => holds++,
        onSuccession: (at) => {
          succeeded.push(at);
          return ok(undefined);
        },
        onAcknowledged: () => undefined,
        onProblem: (failure) => problems.push(failure),
      });
      must(sync.start());
    }

    const run = (ms = 10 * MINUTE) => time.run(time.nowMs() + ms);
    const codes = () => problems.map(({ code }) => code);

    it("below its mark: goes on by succession at the relay's head, tells it once, and fetches nothing of what is lost", async () => {
      erased = new Set([15, 16, 20]);
      connect({ sent: 30 });
      await run();
      assert.deepEqual(codes(), ["SUCCESSION_NEEDED"]);
      assert.match(problems[0]!.detail, /seq 15 was erased/);
      assert.deepEqual(succeeded, [positionAt(30)]);
      assert.deepEqual([readies, head], [0, 10]);
      // Its own head is shown, so that what is held may go: the next genesis needs room.
      assert.deepEqual(pages, [{ from: 10, to: 10 }]);
      assert.equal(released, 10);
    });

    it("whose head is not what the relay shows there: succeeds, and lets go of nothing", async () => {
      erased = new Set([11]);
      page = () => ok({ status: 200, body: whole.chain[9]! });
      connect({ sent: 30 });
      await run();
      assert.deepEqual([codes(), succeeded.length, released], [["SUCCESSION_NEEDED"], 1, -1]);
    });

    it("whose head was erased itself: succeeds; below the level that releases nothing is let go of", async () => {
      erased = new Set([10, 11]);
      connect({ sent: 30 });
      await run();
      assert.deepEqual([codes(), succeeded.length, released], [["SUCCESSION_NEEDED"], 1, -1]);
      sync.close();
      erased = new Set([11]);
      const logged = positionAt(9);
      word = (asked) => ({ ...honestWord(asked), logged });
      connect({ sent: 30 });
      await run();
      assert.equal(succeeded.length, 2);
      assert.equal(released, 9, "that level itself is, as ever");
    });

    it("with an erased record below its head: fetches back as ever, and goes on", async () => {
      erased = new Set([4, 5]);
      connect({ sent: 30 });
      await run();
      assert.deepEqual([problems, succeeded, readies, head], [[], [], 1, 30]);
    });

    it("that is told 410 on the way, and nothing by the relay: tries again, and signs and succeeds nothing", async () => {
      page = () => ok({ status: 410, body: utf8('{"code":"RECORD_ERASED","detail":"a lie"}') });
      connect({ sent: 30 });
      await run(60 * MINUTE);
      assert.ok(problems.length > 5);
      assert.deepEqual([new Set(codes()), succeeded, readies, head], [new Set(["RECORD_ERASED"]), [], 0, 10]);
      page = honestPage;
      await run();
      assert.deepEqual([succeeded, readies, head], [[], 1, 30]);
    });

    it("erased from while it fetches: hears of it from the next answer, and succeeds", async () => {
      page = (from, to) => {
        if (from > 14) erased = new Set([17]);
        return honestPage(from, to);
      };
      connect({ sent: 30 });
      await run();
      assert.deepEqual(codes(), ["RECORD_ERASED", "SUCCESSION_NEEDED"]);
      assert.deepEqual([succeeded, head, readies], [[positionAt(30)], 16, 0]);
    });

    it("at its mark: takes no notice, and goes on", async () => {
      head = 28;
      received = 28;
      // It appends while the answer is on its way, so that the relay's word may be about more than it has asked from.
      word = () => {
        head = 30;
        word = honestWord;
        return { received: positionAt(29), logged: positionAt(29), erasedSeq: 29 };
      };
      connect({ sent: 28 });
      await run();
      assert.equal(head, 30, "the word about more was given");
      assert.deepEqual([problems, succeeded, holds, readies, pages], [[], [], 0, 1, []]);
      assert.equal(sync.acknowledged.received?.seq, 30);
    });

    describe("whose key store was set back, too", () => {
      it("is shown the newest record, then told what was erased: succeeds at the relay's head", async () => {
        erased = new Set([11, 12]);
        connect({ sent: 10 });
        await run();
        assert.deepEqual(codes(), ["SUCCESSION_NEEDED"]);
        assert.deepEqual(succeeded, [positionAt(30)]);
        assert.equal(must(readSentMark(keys)), 30);
      });

      for (const [what, all] of [
        ["the newest alone", [30]],
        ["the newest, and what follows the head", [11, 12, 13, 30]],
        ["all but one above the head", Array.from({ length: 20 }, (_, i) => 11 + i).filter((seq) => seq !== 18)],
      ] as const)
        it(`and ${what} was erased: another record of its own shows it as well`, async () => {
          erased = new Set(all);
          connect({ sent: 10 });
          await run();
          assert.deepEqual(codes(), ["SUCCESSION_NEEDED"]);
          assert.deepEqual([succeeded, readies, holds], [[positionAt(30)], 1, 1]);
          assert.equal(must(readSentMark(keys)), 30);
        });

      it("and all above its head was erased: signs nothing and waits, for the relay's word alone moves no mark", async () => {
        erased = new Set(Array.from({ length: 20 }, (_, i) => 11 + i));
        connect({ sent: 10 });
        await run(60 * MINUTE);
        assert.deepEqual([new Set(codes()), succeeded, holds > 0], [new Set(["RECORD_ERASED"]), [], true]);
        assert.equal(must(readSentMark(keys)), 10);
      });

      it("by the word of a relay that invents it: no succession, whatever is shown, and it goes on", async () => {
        head = 30;
        const invented = { seq: 1000, id: new Uint8Array(32).fill(1) };
        word = () => ({ received: invented, logged: positionAt(30), erasedSeq: 31 });
        const lies = [
          () => ok({ status: 200, body: whole.chain[30]! }),
          () => ok({ status: 200, body: new Uint8Array(0) }),
          (from: number) => ok({ status: from === 1000 ? 410 : 200, body: utf8('{"code":"RECORD_ERASED"}') }),
        ];
        for (const lie of lies) {
          page = lie;
          const before = problems.length;
          connect({ sent: 30 });
          await run();
          assert.ok(problems.length > before);
          assert.deepEqual(succeeded, []);
          assert.equal(must(readSentMark(keys)), 30);
          sync.close();
        }
        word = honestWord;
        page = honestPage;
        connect({ sent: 30 });
        await run();
        assert.deepEqual(succeeded, []);
        assert.equal(sync.acknowledged.received?.seq, 30);
      });

      it("and that has signed another branch since: is shown the highest that differs, which is not erased", async () => {
        head = 30;
        const other = (seq: number): Position => ({ seq, id: new Uint8Array(32).fill(seq) });
        erased = new Set([12]);
        // The relay's records are those that this flash lacks: here the other way round, which is the same to the device.
        word = () => ({ received: positionAt(20), logged: other(12) });
        connect({ sent: 30 });
        await run(5000);
        assert.deepEqual(pages[0], { from: 12, to: 12 }, "what does not differ is not asked for");
        sync.close();
        pages.length = 0;
        word = () => ({ received: other(20), logged: other(12) });
        connect({ sent: 30 });
        await run(5000);
        assert.deepEqual(pages[0], { from: 20, to: 20 });
        assert.deepEqual(succeeded, []);
      });
    });
  });
});
