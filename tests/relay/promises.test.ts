import assert from "node:assert/strict";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { OmissionCheck, type OmissionReport } from "tallystick/evidence/omission";
import { readPolicy } from "tallystick/evidence/policy";
import { encodeGap } from "tallystick/record/gap";
import { GapBuilder } from "tallystick/record/gap-summary";
import { Kind, recordId } from "tallystick/record/record";
import { encodeSuccessionRequest, makeSuccession } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openSource, readLeaves, readOpeningEntry } from "../../tools/verify/log-source.js";
import { type Answer, FixtureDevice, post } from "../fixtures/device.js";
import { must, ORIGIN, StartedRelay } from "./started.js";

const { sha256 } = relayCrypto;

/** What an honest relay's acknowledgements promise, of records that do not simply follow one another: all of it is kept. */
describe("relay: what acknowledgements promise by name", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  beforeEach(async () => {
    started = await StartedRelay.start({ batchIntervalMs: 3_600_000 });
    device = await started.device();
    device.appendReadings(3);
    device.read(await device.send(started.url), started.key);
    await started.settled();
  });
  afterEach(() => started.close());

  const idOf = (seq: number) => recordId(sha256, device.chain[seq]!);

  /** The relay's answer, held against its log as it is by now; and the ids in that log. */
  async function judge(answer: Answer): Promise<{ report: OmissionReport; ids: readonly string[] }> {
    const source = openSource(join(pathsOf(started.folder).log, "public"));
    const policy = must(readPolicy(sha256, JSON.stringify({ log: started.relay.identity.logKey })));
    const { size, checkpoint } = started.relay.log.head;
    const opening = must(await readOpeningEntry(source, size));
    const check = must(
      OmissionCheck.begin(relayCrypto, { acknowledgement: answer.bytes, later: checkpoint, policy, opening }),
    );
    const ids: string[] = [];
    for await (const hashes of readLeaves(source, check.size)) {
      check.append(must(hashes));
      for (let at = 0; at < must(hashes).length; at += 32) ids.push(toHex(must(hashes).subarray(at, at + 32)));
    }
    return { report: check.report(), ids };
  }

  const promisesOf = ({ steps }: OmissionReport) =>
    steps.filter(({ part }) => ["received", "logged", "final"].includes(part)).map(({ part, state }) => [part, state]);

  async function keeps(answer: Answer): Promise<void> {
    const { report } = await judge(answer);
    assert.equal(report.verdict, "false", JSON.stringify(report.steps));
  }

  it("a gap record that waits for its position is promised to nobody, and what follows the hole is", async () => {
    device.appendReadings(6);
    const builder = new GapBuilder(sha256, 4);
    for (let seq = 4; seq <= 6; seq++) must(builder.add(idOf(seq), device.parse(device.chain[seq]!)));
    device.append(Kind.gap, encodeGap(builder.build()));
    const alone = await device.sendBytes(started.url, device.chain[10]!);
    assert.equal(device.read(alone, started.key).received?.seq, 3);
    assert.equal(device.read(alone, started.key).logByS, undefined, "it raises nothing");
    await keeps(alone);
    const behind = await device.sendBytes(started.url, device.chain[10]!, device.chain[7]!, device.chain[8]!);
    const { received, logged, logByS } = device.read(behind, started.key);
    assert.deepEqual([received?.seq, logged?.seq], [8, 3]);
    assert.ok(logByS !== undefined);
    assert.deepEqual(promisesOf((await judge(behind)).report), [
      ["received", "open"],
      ["logged", "false"],
    ]);
    await started.settled();
    await keeps(behind);
    const { ids } = await judge(behind);
    assert.ok(
      ids.includes(toHex(idOf(8))) && !ids.includes(toHex(idOf(10))),
      "the gap waits on, and breaks no promise",
    );
    // What was dropped is named by what follows it, and was never here: no acknowledgement has its id.
    assert.ok(!ids.includes(toHex(idOf(6))));
  });

  it("what comes late for a chain that was succeeded is answered with its head, and never logged", async () => {
    const { seq, id } = device.head;
    const next = new FixtureDevice({
      crypto: relayCrypto,
      genesis: { predecessor: { kid: device.identity.kid, seq, id } },
    });
    const content = { origin: ORIGIN, head: { seq, id }, publicKey: next.identity.publicKey };
    const statement = makeSuccession(device.identity.kid, content, (bytes) => must(device.identity.sign(bytes)));
    const body = encodeSuccessionRequest({ request: next.request(), statement, genesis: next.chain[0]! });
    const succeeded = await post(`${started.url}/v1/devices/${device.kid}/succession`, body);
    assert.equal(next.read(succeeded, started.key).received?.seq, 0);
    device.appendReadings(2);
    const late = await device.send(started.url, seq + 1);
    const answered = device.read(late, started.key);
    assert.equal(answered.received?.seq, seq);
    assert.equal(answered.logByS, undefined);
    await started.settled();
    await keeps(late);
    await keeps(succeeded);
    const { ids } = await judge(late);
    assert.ok(!ids.includes(toHex(idOf(seq + 1))), "the late one is beside chain and log");
    assert.ok(ids.includes(toHex(next.head.id)));
  });

  it("asking again puts nothing off, and every answer on the way is kept", async () => {
    const answers: Answer[] = [];
    for (let round = 0; round < 6; round++) {
      device.appendReadings(round * 60 + 1);
      answers.push(await device.send(started.url, device.chain.length - round * 60 - 1));
      answers.push(await device.askHead(started.url));
      if (round % 2 === 1) await started.settled();
    }
    assert.ok(started.relay.log.head.size > 512);
    for (const answer of answers) {
      assert.equal(answer.status, 200);
      await keeps(answer);
    }
  });
});
