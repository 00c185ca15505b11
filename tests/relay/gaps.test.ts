import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { verifyRun } from "tallystick/chain/gap";
import { encodeGap, type Gap } from "tallystick/record/gap";
import { GapBuilder } from "tallystick/record/gap-summary";
import { Kind, recordId } from "tallystick/record/record";
import { splitRecords } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { GAPS_MAX_PER_DEVICE } from "../../hosts/relay/gaps.js";
import { type Answer, FixtureDevice, readingPayload } from "../fixtures/device.js";
import { sqliteOf } from "./dump.js";
import { itOfSqlite } from "./postgres/of-sqlite.js";
import { must, StartedRelay } from "./started.js";

const { sha256 } = relayCrypto;

/** What a relay makes of gap records, honest and other. The device has records 0 to 3 there, and makes more. */
describe("relay: gaps", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  beforeEach(async () => {
    device = await started.device();
    device.appendReadings(3);
    assert.equal(device.read(await device.send(started.url), started.key).received?.seq, 3);
  });

  const idOf = (seq: number) => recordId(sha256, device.chain[seq]!);
  const record = (seq: number) => device.parse(device.chain[seq]!);

  function gapOver(first: number, last: number, change: Partial<Gap> = {}): Uint8Array {
    const builder = new GapBuilder(sha256, first);
    for (let seq = first; seq <= last; seq++) must(builder.add(idOf(seq), record(seq)));
    return encodeGap({ ...builder.build(), ...change });
  }

  const stored = () => started.relay.store.deviceByKid(device.identity.kid)!;
  const head = () => started.relay.store.head(stored().device).seq;
  const pending = () => started.relay.store.gaps.pending(stored().device).map(({ seq }) => seq);
  const holes = () => started.relay.store.gaps.holes(stored().device);
  const held = () =>
    [...started.relay.store.recordsBetween(stored().device, 0, Number.MAX_SAFE_INTEGER)].map(({ bytes }) => bytes);

  function refused(answer: Answer, code: string): void {
    assert.equal(answer.problem?.code, code, JSON.stringify(answer.problem));
    assert.equal(head(), 3, "nothing entered the chain");
    assert.deepEqual(pending(), []);
    assert.deepEqual(holes(), []);
    assert.equal(stored().state, "active");
  }

  /** Records 4 to 9, a gap over 4 to 6 at 10, and one more: what a device offline with little flash has. */
  function goOffline(): void {
    device.appendReadings(6);
    device.append(Kind.gap, gapOver(4, 6));
    device.appendReading(30);
  }

  it("takes a gap before its position, and what follows behind it", async () => {
    goOffline();
    const { chain } = device;
    const answer = await device.sendBytes(started.url, chain[10]!, chain[7]!, chain[8]!);
    assert.equal(device.read(answer, started.key).received?.seq, 8);
    assert.deepEqual(pending(), [10]);
    assert.deepEqual(holes(), [{ first: 4, last: 6 }]);
    const run = must(verifyRun(relayCrypto, device.identity.publicKey, held(), [chain[10]!]));
    assert.equal(run.head.seq, 8);
    assert.deepEqual(
      run.holes.map(({ first, last, named }) => [first, last, named.seq]),
      [[4, 6, 10]],
    );
    const again = await device.sendBytes(started.url, chain[10]!, chain[7]!, chain[8]!, chain[9]!);
    assert.equal(device.read(again, started.key).received?.seq, 9);
    const rest = await device.sendBytes(started.url, chain[10]!, chain[11]!);
    assert.equal(device.read(rest, started.key).received?.seq, 11);
    assert.deepEqual(pending(), [], "it stands at its own position");
    must(verifyRun(relayCrypto, device.identity.publicKey, held()));
    const view = (await (await fetch(`${started.url}/v1/devices/${device.kid}`)).json()) as {
      received: { seq: number; count: number };
    };
    assert.equal(view.received.seq, 11);
    assert.equal(view.received.count, 9);
    assert.equal(stored().state, "active");
  });

  it("keeps a gap that comes alone, and tells where its chain stands", async () => {
    goOffline();
    const answer = await device.sendBytes(started.url, device.chain[10]!);
    assert.equal(device.read(answer, started.key).received?.seq, 3, "it acknowledges what it holds");
    await started.restart();
    assert.deepEqual(pending(), [10]);
    const rest = await device.send(started.url, 7);
    assert.equal(device.read(rest, started.key).received?.seq, 11);
  });

  it("gives out the gap that waits, at its own position: a device that lost it learns of what it dropped", async () => {
    goOffline();
    const { chain } = device;
    await device.sendBytes(started.url, chain[10]!, chain[7]!);
    const between = async (from: number, to: number) => {
      const answer = await fetch(`${started.url}/v1/devices/${device.kid}/records?from=${from}&to=${to}`);
      return must(splitRecords(new Uint8Array(await answer.arrayBuffer())));
    };
    assert.deepEqual(await between(3, 20), [chain[3]!, chain[7]!, chain[10]!]);
    assert.deepEqual(await between(4, 9), [chain[7]!]);
    assert.deepEqual(await between(10, 10), [chain[10]!]);
    await device.sendBytes(started.url, ...chain.slice(8));
    assert.deepEqual(await between(8, 20), chain.slice(8), "each once");
  });

  it("takes the records instead, where they come after all", async () => {
    goOffline();
    const answer = await device.sendBytes(started.url, device.chain[10]!, ...device.chain.slice(4));
    assert.equal(device.read(answer, started.key).received?.seq, 11);
    assert.deepEqual(holes(), []);
    assert.deepEqual(pending(), []);
  });

  it("fills a hole from its edges where records come late, and takes no others", async () => {
    goOffline();
    const { chain } = device;
    device.read(await device.sendBytes(started.url, chain[10]!, ...chain.slice(7)), started.key);
    const middle = await device.sendBytes(started.url, chain[5]!);
    assert.equal(middle.problem?.code, "CHAIN_GAP");
    const late = await device.sendBytes(started.url, chain[6]!);
    assert.equal(device.read(late, started.key).received?.seq, 11);
    assert.deepEqual(holes(), [{ first: 4, last: 5 }]);
    const other = device.make(Kind.readings, readingPayload(77), { ...record(4).header, seq: 4, id: idOf(4) });
    assert.equal((await device.sendBytes(started.url, other)).problem?.code, "CHAIN_BROKEN");
    device.read(await device.sendBytes(started.url, chain[4]!, chain[5]!), started.key);
    assert.deepEqual(holes(), []);
    assert.equal(stored().state, "active");
    assert.deepEqual(held().map(toHex), chain.map(toHex));
    const fork = device.make(Kind.readings, readingPayload(78), { ...record(3).header, seq: 3, id: idOf(3) });
    assert.equal((await device.sendBytes(started.url, fork)).problem?.code, "CHAIN_FORK");
  });

  it("takes a later gap in place of the one that it takes over", async () => {
    goOffline();
    device.appendReadings(3);
    const earlier = { seq: 10, id: idOf(10), gap: must(readGapOf(10)) };
    const builder = new GapBuilder(sha256, 7, earlier);
    for (let seq = 7; seq <= 11; seq++) must(builder.add(idOf(seq), record(seq)));
    device.append(Kind.gap, encodeGap(builder.build()));
    device.appendReading(1);
    const { chain } = device;
    device.read(await device.sendBytes(started.url, chain[10]!), started.key);
    const answer = await device.sendBytes(started.url, chain[15]!, ...chain.slice(12));
    assert.equal(device.read(answer, started.key).received?.seq, 16);
    assert.deepEqual(holes(), [{ first: 4, last: 11 }]);
    assert.deepEqual(pending(), []);
    const { head: last, holes: named } = must(verifyRun(relayCrypto, device.identity.publicKey, held()));
    assert.equal(last.seq, 16);
    assert.equal(named[0]!.named.gap.count, 8);
  });

  function readGapOf(seq: number) {
    const builder = new GapBuilder(sha256, 4);
    for (let at = 4; at <= 6; at++) must(builder.add(idOf(at), record(at)));
    assert.equal(record(seq).header.kind, Kind.gap);
    return { ok: true, value: builder.build() } as const;
  }

  it("refuses a record whose predecessor is not the gap's last", async () => {
    device.appendReadings(6);
    device.append(Kind.gap, gapOver(4, 6, { lastId: new Uint8Array(32).fill(1) }));
    const answer = await device.sendBytes(started.url, device.chain[10]!, device.chain[7]!);
    assert.equal(answer.problem?.code, "CHAIN_BROKEN");
    assert.equal(head(), 3);
    assert.deepEqual(holes(), []);
  });

  it("refuses a record behind a gap that does not end right before it", async () => {
    device.appendReadings(6);
    device.append(Kind.gap, gapOver(4, 6));
    for (const seq of [8, 9]) {
      const answer = await device.sendBytes(started.url, device.chain[10]!, device.chain[seq]!);
      assert.equal(answer.problem?.code, "CHAIN_GAP");
    }
    assert.equal(head(), 3);
  });

  it("refuses a gap over genesis, one with another count, and one that names itself", async () => {
    device.appendReadings(6);
    const after = device.head;
    for (const change of [{ first: 0, count: 7 }, { count: 2 }, { count: 4 }, { last: 10, count: 7 }, { last: 3 }]) {
      const made = device.make(Kind.gap, gapOver(4, 6, change), after);
      refused(await device.sendBytes(started.url, made), "RECORD_MALFORMED");
    }
  });

  it("refuses a gap in the future, which leaves a position that nothing names", async () => {
    device.appendReadings(6);
    const answer = await device.sendBytes(started.url, device.make(Kind.gap, gapOver(5, 6)));
    refused(answer, "CHAIN_GAP");
    assert.equal(answer.problem?.expected_seq, 4);
  });

  it("refuses a gap whose last id is not that of the record that is held", async () => {
    device.appendReadings(2);
    device.read(await device.send(started.url, 4, 4), started.key);
    const wrong = device.make(Kind.gap, gapOver(2, 3, { lastId: new Uint8Array(32).fill(1) }));
    assert.equal((await device.sendBytes(started.url, wrong)).problem?.code, "GAP_FALSE");
    assert.deepEqual(pending(), []);
    const past = device.make(Kind.gap, gapOver(2, 3));
    device.read(await device.sendBytes(started.url, past), started.key);
    assert.deepEqual(pending(), [], "it names nothing that is missing");
  });

  it("refuses a gap that says other than the one that it takes over", async () => {
    goOffline();
    const { chain } = device;
    device.read(await device.sendBytes(started.url, chain[10]!), started.key);
    for (const change of [{ count: 4 }, { first: 3, count: 5 }]) {
      const builder = new GapBuilder(sha256, 7, { seq: 10, id: idOf(10), gap: readGapOf(10).value });
      must(builder.add(idOf(7), record(7)));
      must(builder.add(idOf(8), record(8)));
      const made = device.make(Kind.gap, encodeGap({ ...builder.build(), ...change }));
      assert.equal((await device.sendBytes(started.url, made)).problem?.code, "GAP_FALSE");
    }
    assert.deepEqual(pending(), [10]);
  });

  it("takes two gap records at one position for the fork that they are", async () => {
    goOffline();
    const before = device.chain.slice();
    const other = device.make(Kind.gap, gapOver(4, 5), { ...record(9).header, seq: 9, id: idOf(9) });
    device.read(await device.sendBytes(started.url, before[10]!), started.key);
    const answer = await device.sendBytes(started.url, other);
    assert.equal(answer.problem?.code, "CHAIN_FORK");
    assert.equal(answer.problem?.held, toHex(idOf(10)));
    const view = await fetch(`${started.url}/v1/devices/${device.kid}`);
    assert.equal(view.status, 200);
    assert.deepEqual(pending(), [10]);
  });

  it("does not take a gap that another key signed, or that stands behind a record", async () => {
    goOffline();
    const stranger = new FixtureDevice({ crypto: relayCrypto });
    const forged = stranger.sign(device.chain[10]!.subarray(0, device.chain[10]!.length - 64));
    refused(await device.sendBytes(started.url, forged), "SIGNATURE_INVALID");
    const answer = await device.sendBytes(started.url, device.chain[3]!, device.chain[10]!);
    assert.equal(device.read(answer, started.key).received?.seq, 3);
    assert.deepEqual(pending(), [], "only first may it be out of order");
  });

  it("lets a bounded number of gaps wait", async () => {
    device.appendReadings(60);
    for (let n = 0; n <= GAPS_MAX_PER_DEVICE; n++) {
      device.append(Kind.gap, gapOver(4, 50 - n));
      const answer = await device.sendBytes(started.url, device.chain.at(-1)!);
      if (n < GAPS_MAX_PER_DEVICE) device.read(answer, started.key);
      else assert.equal(answer.problem?.code, "GAP_FALSE");
    }
    assert.equal(pending().length, GAPS_MAX_PER_DEVICE);
  });

  itOfSqlite("takes a chain with a hole back from its log where the database was set back", async () => {
    const folder = sqliteOf(started.relay.store).name;
    const copy = sqliteOf(started.relay.store).serialize();
    goOffline();
    device.read(await device.sendBytes(started.url, device.chain[10]!, ...device.chain.slice(7)), started.key);
    await started.settled();
    await started.relay.close();
    const { rmSync, writeFileSync } = await import("node:fs");
    for (const end of ["-wal", "-shm"]) rmSync(folder + end, { force: true });
    writeFileSync(folder, copy);
    await started.reopen();
    assert.equal(head(), 11);
    assert.deepEqual(holes(), [{ first: 4, last: 6 }]);
    must(verifyRun(relayCrypto, device.identity.publicKey, held()));
  });
});
