import assert from "node:assert/strict";
import { toHex, utf8 } from "tallystick/bytes/bytes";
import { ClockState } from "tallystick/clock/clock";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { readBoot, readMark } from "tallystick/record/payload";
import { Kind, type Record } from "tallystick/record/record";
import { ABSOLUTE_TIME_MIN_S, readPack } from "tallystick/record/senml";
import { readAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { must, StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";

const MINUTE = 60_000;

/** A board without a battery does not know the time: its relay tells it, and no record ever pretends otherwise. */
describe("a device's clock", () => {
  let started: StartedRelay;
  let bench: Bench;
  let answers: Uint8Array[];
  let seed = 301;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  beforeEach(() => {
    bench = new Bench({ seed: seed++, device: { markIntervalS: 60 } });
    bench.provision(started);
    answers = [];
    bench.network.alter = (request, answer) => {
      if (answer.outcome === "answered" && answer.status === 200 && request.method === "POST")
        answers.push(answer.body);
      return answer;
    };
  });
  afterEach(() => bench.close());

  const records = (): Record[] => bench.recordsAt(started.relay).map(parsed);

  /** Every time in a record is one that somebody told, or none. */
  function checkTimes(all: readonly Record[], earliestS: number): void {
    const latestS = Date.now() / 1000 + 3600;
    for (const { header, payload } of all) {
      if (header.kind === Kind.mark) {
        const { acknowledgement } = must(readMark(payload));
        if (acknowledgement) assert.ok(acknowledgement.timeS >= earliestS && acknowledgement.timeS < latestS);
      }
      if (header.kind !== Kind.readings) continue;
      for (const { timeS } of must(readPack(payload, header.clock)))
        if (header.clock === ClockState.unset) assert.ok(timeS <= 0, `seq ${header.seq} says ${timeS}`);
        else assert.ok(timeS >= earliestS && timeS < latestS, `seq ${header.seq} says ${timeS}`);
    }
  }

  it("is unset until the first answer, and the relay's from then on", async () => {
    const beforeS = Math.floor(Date.now() / 1000) - 60;
    await bench.powerOn();
    await bench.until("records offline", () => bench.headSeq >= 5);
    bench.connect(started.url);
    await bench.until("the first answer", () => bench.level("received") >= 0);
    const { headSeq } = bench;
    await bench.until("records", () => bench.headSeq > headSeq + 5);
    await bench.checkNothingLost(started);
    const all = records();
    checkTimes(all, beforeS);
    const first = all.findIndex(({ header }) => header.clock === ClockState.relay);
    assert.ok(first >= 5, `seq ${first} is the first with a time`);
    for (const { header } of all.slice(0, first)) assert.equal(header.clock, ClockState.unset);
    // A pack that was begun before the answer is closed as it was begun.
    for (const { header } of all.slice(first))
      assert.ok(header.clock === ClockState.relay || header.seq <= first + 1, `seq ${header.seq}: ${header.clock}`);
  });

  it("has its first answer in a mark: the log that it cannot be older than, and how the clock changed", async () => {
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("a mark", () => bench.held.some(({ kind }) => kind === "mark"));
    await bench.checkNothingLost(started);
    const mark = must(readMark(records().find(({ header }) => header.kind === Kind.mark)!.payload));
    const hashes = answers.map((bytes) => toHex(relayCrypto.sha256(bytes)));
    const at = hashes.indexOf(toHex(mark.acknowledgement!.sha256));
    assert.equal(at, 0, "it names the first answer");
    const { acknowledgement } = must(readAcknowledgement(answers[at]!));
    const logKey = must(parseVerifierKey(relayCrypto.sha256, started.relay.identity.logKey));
    const { size, root } = must(openCheckpoint(relayCrypto, utf8(acknowledgement.checkpoint), logKey));
    assert.equal(mark.acknowledgement!.logSize, size);
    assert.equal(toHex(mark.acknowledgement!.logRoot), toHex(root));
    assert.equal(mark.acknowledgement!.timeS, Math.floor(acknowledgement.timeMs / 1000));
    assert.equal(mark.clockEvents?.length, 1);
    const [uptimeMs, was, is] = mark.clockEvents![0]!;
    assert.deepEqual([was, is], [ClockState.unset, ClockState.relay]);
    assert.ok(uptimeMs < 10_000);
  });

  it("has a mark at the interval that genesis promises, with the newest answer", async () => {
    bench.connect(started.url);
    await bench.powerOn();
    await bench.run(5 * MINUTE + 1000);
    await bench.checkNothingLost(started);
    const marks = records().filter(({ header }) => header.kind === Kind.mark);
    assert.equal(marks.length, 6, "the first answer's, and five of the interval");
    const sizes = marks.map(({ payload }) => must(readMark(payload)).acknowledgement!.logSize);
    assert.deepEqual(
      sizes,
      [...sizes].sort((a, b) => a - b),
    );
    assert.ok(sizes[5]! > sizes[0]!);
    for (const { payload } of marks.slice(1)) assert.equal(must(readMark(payload)).clockEvents ?? undefined, undefined);
  });

  it("forgets the time with the power, and never writes 1970", async () => {
    bench.connect(started.url);
    for (let start = 0; start < 3; start++) {
      const reported = bench.held.length;
      await bench.powerOn();
      await bench.until("records", () => bench.held.length > reported + 6);
      await bench.cutPower();
      bench.disconnect();
      const offline = bench.held.length;
      await bench.powerOn();
      await bench.until("records offline", () => bench.held.length > offline + 3);
      await bench.cutPower();
      bench.connect(started.url);
    }
    await bench.powerOn();
    await bench.checkNothingLost(started);
    const all = records();
    checkTimes(all, ABSOLUTE_TIME_MIN_S);
    const boots = all.filter(({ header }) => header.kind === Kind.boot);
    assert.ok(boots.length >= 5, `${boots.length} starts`);
    for (const boot of boots) {
      const next = all[boot.header.seq + 1];
      const { handshake } = must(readBoot(boot.payload));
      // A start that had asked says so; one that had not has no time.
      assert.equal(handshake !== undefined, boot.header.clock === ClockState.relay, `boot at seq ${boot.header.seq}`);
      if (next && !handshake) assert.equal(next.header.clock, ClockState.unset);
    }
    assert.ok(boots.some(({ header }) => header.clock === ClockState.unset));
    assert.ok(boots.some(({ header }) => header.clock === ClockState.relay));
  });
});
