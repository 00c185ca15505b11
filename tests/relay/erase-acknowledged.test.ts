import assert from "node:assert/strict";
import { headOf } from "tallystick/chain/chain";
import { encodeMark } from "tallystick/record/payload";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { decideErasure, planErasure } from "../../hosts/relay/erase.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { must, ORIGIN, StartedRelay } from "./started.js";

const { sha256 } = relayCrypto;
const RECORDS = 40;

/** What the relay's signed word says of records that were erased on request: label 11 (modules/sync/SPEC.md). */
describe("relay: acknowledgements of what was erased", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  beforeEach(async () => {
    started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(RECORDS);
    device.read(await device.send(started.url, 1), started.key);
    await started.settled();
  });
  afterEach(() => started.close());

  const positionAt = (seq: number) => ({ seq, id: recordId(sha256, device.chain[seq]!) });

  /** As an operator decides it: from then on the relay says so, whether the bytes are gone by now or not. */
  function erase(from: number, to = from): void {
    const { store } = started.relay;
    const request = { kid: device.identity.kid, from, to, reason: "asked", by: "operator" };
    decideErasure(store, must(planErasure({ store, crypto: relayCrypto }, request)), Date.now());
  }

  async function toldFrom(head: number | undefined): Promise<number | undefined> {
    const { nonce, pinnedSize } = device.request();
    const request = { nonce, pinnedSize, ...(head !== undefined && { head: positionAt(head) }) };
    return device.read(await device.askHead(started.url, request), started.key).erasedSeq;
  }

  it("name the lowest above the head that is asked from, and nothing where there is none", async () => {
    for (const head of [undefined, 0, 20, RECORDS]) assert.equal(await toldFrom(head), undefined);
    erase(12, 14);
    erase(30);
    erase(3);
    const expected = new Map<number | undefined, number | undefined>([
      [undefined, 3],
      [0, 3],
      [2, 3],
      [3, 12],
      [11, 12],
      [12, 13],
      [14, 30],
      [29, 30],
      [30, undefined],
      [RECORDS, undefined],
    ]);
    const check = async () => {
      for (const [head, erased] of expected) assert.equal(await toldFrom(head), erased, `asked from ${head}`);
    };
    await check();
    await started.restart();
    await check();
  });

  it("of another chain are not this one's", async () => {
    const other = device;
    device = await started.device();
    device.appendReadings(RECORDS);
    device.read(await device.send(started.url, 1), started.key);
    await started.settled();
    erase(12);
    assert.equal(await toldFrom(2), 12);
    device = other;
    assert.equal(await toldFrom(2), undefined);
  });

  it("answer records, too; not an enrolment, which names no head although its device may have one", async () => {
    erase(12);
    device.appendReadings(1);
    const [ahead, behind] = [device.request(), { ...device.request(), head: positionAt(5) }];
    assert.equal(device.read(await device.askHead(started.url, behind), started.key).erasedSeq, 12);
    assert.equal(device.read(await device.askHead(started.url, ahead), started.key).erasedSeq, undefined);
    const batch = device.chain.slice(RECORDS);
    device.request = () => behind;
    assert.equal(device.read(await device.sendBytes(started.url, ...batch), started.key).erasedSeq, 12);
    device.request = () => ahead;
    assert.equal(device.read(await device.sendBytes(started.url, ...batch), started.key).erasedSeq, undefined);
    const again = device.read(await device.enrol(started.url, ORIGIN, started.token()), started.key);
    assert.deepEqual([again.received?.seq, again.erasedSeq], [RECORDS + 1, undefined]);
  });

  it("are about the chain alone: neither about another branch, nor about what came late", async () => {
    const other = device.make(Kind.mark, encodeMark({}), headOf(sha256, device.parse(device.chain[24]!)));
    assert.equal((await device.sendBytes(started.url, other)).problem?.code, "CHAIN_FORK");
    started.operate((operator) => operator.decide(device.identity.kid, "continue"));
    const head = positionAt(RECORDS);
    await started.succeed(device, head);
    await started.settled();
    device.appendReadings(3);
    device.read(await device.send(started.url, RECORDS + 1), started.key);
    erase(RECORDS + 1, RECORDS + 3);
    assert.equal(await toldFrom(2), undefined);
    // The record of the chain goes with the other branch at its position: it is the chain's that counts.
    erase(25);
    assert.equal(await toldFrom(2), 25);
    erase(RECORDS);
    assert.equal(await toldFrom(25), RECORDS);
    assert.equal(await toldFrom(RECORDS), undefined);
  });

  it("cost no query where the device is where the relay is", async () => {
    erase(12);
    const { erasures } = started.relay.store;
    const asked: number[] = [];
    const lowestBetween = erasures.lowestBetween.bind(erasures);
    erasures.lowestBetween = (kid, head, last) => {
      asked.push(head);
      return lowestBetween(kid, head, last);
    };
    for (let batch = 0; batch < 5; batch++) {
      device.appendReadings(2);
      device.read(await device.send(started.url, device.chain.length - 2), started.key);
      device.read(await device.askHead(started.url), started.key);
    }
    assert.deepEqual(asked, []);
    assert.equal(await toldFrom(2), 12);
    assert.deepEqual(asked, [2]);
  });

  it("find it by an index", function () {
    const { database } = started.relay.store;
    if (database.dialect === "postgres") this.skip();
    const plan = database
      .prepare("EXPLAIN QUERY PLAN SELECT min(seq) FROM erased WHERE kid = ? AND seq > ? AND seq <= ?")
      .all(device.identity.kid, 2, RECORDS) as { detail: string }[];
    assert.match(
      plan.map(({ detail }) => detail).join("; "),
      /^SEARCH erased USING (COVERING )?INDEX erased_by_position \(kid=\? AND seq>\? AND seq<\?\)$/,
    );
  });
});
