import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeBundle } from "tallystick/evidence/bundle";
import { DATE_TOLERANCE_S } from "tallystick/evidence/dating";
import { type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { Kind } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { inspect } from "../../tools/inspect/inspect.js";
import { appendDated, appendMarkOf } from "../fixtures/dated.js";
import { FixtureDevice } from "../fixtures/device.js";
import { memoryLog } from "../fixtures/memory-log.js";
import { must } from "../relay/started.js";

const ORIGIN = "tallystick.example/log";
const DAY = 86_400;
const NOW_S = Date.UTC(2026, 0, 1) / 1000;
const TREE = { size: 7, root: new Uint8Array(32).fill(7) };

/** What a file, or a chain without its log, shows by the device's own word alone. */
describe("evidence: dates", () => {
  const device = (fill: number) => new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(fill) });

  /** A file of these records. */
  function verify(records: readonly Uint8Array[], require: readonly string[] = ["signature", "dated"]): Report {
    const log = memoryLog(ORIGIN, new Uint8Array(32).fill(0x10), records);
    const bytes = encodeBundle({
      origin: ORIGIN,
      entries: records.map((record, i) => ({ record, receipt: log.receipt(i, records.length) })),
      checkpoint: log.checkpoint(records.length),
      anchors: [],
      claims: { logKey: log.vkey, witnessKeys: [] },
    });
    const policy = { log: log.vkey, devices: [didKey(device(1).identity.publicKey)], require };
    return must(verifyEvidence(relayCrypto, bytes, must(readPolicy(relayCrypto.sha256, JSON.stringify(policy)))));
  }

  const dated = (report: Report) =>
    report.steps.filter(({ requirement }) => requirement === "dated").map(({ state }) => state);

  it("are proved behind a mark, false before what it names, and open without one", () => {
    const one = device(1);
    appendDated(one, [NOW_S]);
    assert.deepEqual(dated(verify(one.chain)), ["open"]);
    assert.deepEqual(dated(verify(one.chain, ["signature"])), [], "nobody has asked");
    assert.equal(verify(one.chain).verdict, "incomplete");
    appendMarkOf(one, TREE, NOW_S);
    appendDated(one, [NOW_S - 3600, NOW_S]);
    assert.deepEqual(dated(verify([one.chain[0]!, ...one.chain.slice(2)])), ["proved"]);
    assert.equal(verify([one.chain[0]!, ...one.chain.slice(2)]).verdict, "proved");
    appendDated(one, [NOW_S - 2 * DAY]);
    const report = verify(one.chain, ["signature"]);
    assert.deepEqual(dated(report), ["proved", "false"]);
    assert.equal(report.verdict, "false");
    assert.equal(report.steps.find(({ state }) => state === "false")?.failure?.code, "RECORD_BACKDATED");
  });

  it("count no mark of another key, none behind the record, and none that is not signed", () => {
    const [one, other] = [device(1), device(2)];
    appendDated(one, [NOW_S - 9 * DAY]);
    appendMarkOf(one, TREE, NOW_S);
    appendMarkOf(other, TREE, NOW_S);
    assert.deepEqual(dated(verify([...one.chain, ...other.chain])), ["open"]);
    const forged = device(1);
    appendMarkOf(forged, TREE, NOW_S);
    appendDated(forged, [NOW_S - 9 * DAY]);
    const mark = forged.chain[1]!.slice();
    mark[mark.length - 1]! ^= 1;
    assert.deepEqual(dated(verify([forged.chain[0]!, mark, forged.chain[2]!])), ["open"]);
  });

  it("say of a clock that is not set, and of other kinds, nothing", () => {
    const one = device(1);
    appendMarkOf(one, TREE, NOW_S);
    one.appendReading(1);
    one.appendBoot();
    assert.deepEqual(dated(verify(one.chain)), []);
  });

  it("are false by any order of the file exactly where some mark before says a later time (seeded)", () => {
    const step = fc.record({ mark: fc.boolean(), days: fc.integer({ min: -4, max: 4 }), seconds: fc.nat(DAY) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(), (steps, turn) => {
        const one = device(1);
        const expected: string[] = [];
        let latestS = Number.NEGATIVE_INFINITY;
        for (const { mark, days, seconds } of steps) {
          const timeS = NOW_S + days * DAY + seconds;
          if (mark) appendMarkOf(one, TREE, timeS);
          else appendDated(one, [timeS]);
          const isFalse = timeS < latestS - DATE_TOLERANCE_S;
          if (mark) latestS = Math.max(latestS, timeS);
          if (isFalse) expected.push(`false ${one.head.seq}`);
          else if (!mark && latestS > 0) expected.push(`proved ${one.head.seq}`);
        }
        const at = turn % one.chain.length;
        const report = verify([...one.chain.slice(at), ...one.chain.slice(0, at)], ["signature"]);
        const seqs = new Map(
          report.records.map(({ id, record }) => [Buffer.from(id).toString("hex"), record.header.seq]),
        );
        const found = report.steps
          .filter(({ requirement }) => requirement === "dated")
          .map(({ state, subject }) => `${state} ${seqs.get(subject)}`);
        assert.deepEqual(found.sort(), expected.sort());
        // The same of the bare chain, as its device or relay gives it out.
        const lines = inspect(new Uint8Array(Buffer.concat(one.chain))).lines.filter((line) => /^backdated/.test(line));
        assert.deepEqual(
          lines.map((line) => `false ${/seq (\d+)/.exec(line)![1]}`).sort(),
          expected.filter((text) => text.startsWith("false")).sort(),
        );
      }),
      { numRuns: 30 },
    );
  });

  it("stand in what inspect prints of a chain, and not where there is nothing to say", () => {
    const one = device(1);
    appendMarkOf(one, TREE, NOW_S);
    appendDated(one, [NOW_S]);
    const told = () =>
      inspect(new Uint8Array(Buffer.concat(one.chain))).lines.filter((line) => /^backdated/.test(line));
    assert.deepEqual(told(), []);
    appendDated(one, [NOW_S - 2 * DAY]);
    assert.deepEqual(told(), [
      `backdated: seq 3 of ${one.kid} is dated 2025-12-30T00:00:00.000Z, its mark at seq 1 names 2026-01-01T00:00:00.000Z`,
    ]);
    assert.equal(one.parse(one.chain[3]!).header.kind, Kind.readings);
  });
});
