import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import { checkFork, checkForkProof } from "tallystick/chain/fork";
import { ClockState } from "tallystick/clock/clock";
import { encodeBody, Kind, RECORD_MAX_BYTES, recordId } from "tallystick/record/record";
import { BATCH_MAX_BYTES, encodeRequest } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ingest } from "../../hosts/relay/ingest.js";
import { verifyBatch } from "../../hosts/relay/verify/verified.js";
import { type Answer, FixtureDevice, post, readingPayload } from "../fixtures/device.js";
import { sqliteOf } from "./dump.js";
import { itOfSqlite } from "./postgres/of-sqlite.js";
import { StartedRelay } from "./started.js";

describe("relay: records", () => {
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
  afterEach(async () => {
    // Whatever was refused, the honest device goes on; after a fork when its operator has decided so.
    const { state } = started.relay.store.deviceByKid(device.identity.kid)!;
    if (state === "forked") started.operate((operator) => operator.decide(device.identity.kid, "continue"));
    const { seq } = device.head;
    device.appendReading(21);
    assert.equal(device.read(await device.send(started.url, seq), started.key).received?.seq, seq + 1);
  });

  function heldCount(): number {
    return started.relay.store.head(started.relay.store.deviceByKid(device.identity.kid)!.device).seq + 1;
  }

  function refused(answer: Answer, status: number, code: string): void {
    assert.equal(answer.problem?.code, code, JSON.stringify(answer.problem));
    assert.equal(answer.status, status);
    assert.equal(answer.type, "application/problem+json; charset=utf-8");
    assert.equal(answer.problem.status, status);
    assert.equal(heldCount(), device.chain.length, "nothing entered the chain");
  }

  it("takes a batch in order and acknowledges its last", async () => {
    device.appendBoot();
    device.appendReadings(200);
    device.appendMark();
    const acknowledgement = device.read(await device.send(started.url, 4), started.key);
    assert.equal(acknowledgement.received?.seq, 205);
    assert.equal(toHex(acknowledgement.received.id), toHex(device.head.id));
  });

  it("gives the same answer to the same bytes, and adds no row", async () => {
    const before = started.relay.store.countRecords();
    for (let i = 0; i < 20; i++)
      assert.equal(device.read(await device.send(started.url), started.key).received?.seq, 3);
    assert.equal(started.relay.store.countRecords(), before);
  });

  it("takes what is new of an overlapping batch", async () => {
    device.appendReadings(2);
    assert.equal(device.read(await device.send(started.url, 1), started.key).received?.seq, 5);
  });

  it("answers a batch of no records with where it stands", async () => {
    assert.equal(device.read(await device.sendBytes(started.url), started.key).received?.seq, 3);
  });

  it("refuses a gap with the expected position", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto });
    assert.notEqual(other.kid, device.kid);
    const skipped = device.make(Kind.readings, readingPayload(1));
    const record = device.parse(skipped);
    const id = recordId(relayCrypto.sha256, skipped);
    const after = { ...device.head, seq: record.header.seq, id };
    const answer = await device.sendBytes(started.url, device.make(Kind.readings, readingPayload(2), after));
    refused(answer, 409, "CHAIN_GAP");
    assert.equal(answer.problem?.expected_seq, 4);
    assert.equal(answer.problem?.received_seq, 5);
  });

  it("keeps a fork aside with both ids, as a proof that needs no one's word", async () => {
    const { kid } = device.identity;
    const branch = device.make(Kind.readings, readingPayload(99), {
      ...device.head,
      seq: 1,
      id: recordId(relayCrypto.sha256, device.chain[1]!),
    });
    const held = device.chain[2]!;
    const answer = await device.sendBytes(started.url, branch);
    refused(answer, 409, "CHAIN_FORK");
    assert.equal(answer.problem?.held, toHex(recordId(relayCrypto.sha256, held)));
    assert.equal(answer.problem?.received, toHex(recordId(relayCrypto.sha256, branch)));
    const stored = started.relay.store.deviceByKid(kid)!;
    assert.equal(stored.state, "forked");
    const [fork, ...more] = started.relay.store.forks(stored.device);
    assert.equal(more.length, 0);
    assert.ok(checkFork(relayCrypto, device.identity.publicKey, held, fork!.bytes).ok);
    await device.sendBytes(started.url, branch);
    assert.equal(started.relay.store.forks(stored.device).length, 1, "the same fork is kept once");
    const view = await (await fetch(`${started.url}/v1/devices/${device.kid}`)).json();
    assert.deepEqual((view as { forks: unknown }).forks, [
      { seq: 2, held: answer.problem?.held, received: answer.problem?.received },
    ]);
    const proof = await fetch(`${started.url}/v1/devices/${device.kid}/forks/${answer.problem?.received}`);
    assert.equal(proof.headers.get("content-type"), "application/vnd.tallystick.fork+cbor");
    const proved = checkForkProof(relayCrypto, new Uint8Array(await proof.arrayBuffer()));
    assert.ok(proved.ok);
    assert.deepEqual(proved.value.publicKey, device.identity.publicKey);
    const none = await fetch(`${started.url}/v1/devices/${device.kid}/forks/${answer.problem?.held}`);
    assert.equal(none.status, 404);
    assert.equal(((await none.json()) as { code: string }).code, "RECORD_UNKNOWN");
  });

  it("keeps a fork at the head aside, of two in one batch the second", async () => {
    const one = device.make(Kind.readings, readingPayload(1));
    const other = device.make(Kind.readings, readingPayload(2));
    const answer = await device.sendBytes(started.url, one, other);
    assert.equal(device.read(answer, started.key).received?.seq, 4);
    const stored = started.relay.store.deviceByKid(device.identity.kid)!;
    assert.deepEqual(
      started.relay.store.forks(stored.device).map(({ id }) => toHex(id)),
      [toHex(recordId(relayCrypto.sha256, other))],
    );
    device.adopt(one);
  });

  it("does not take a record of another key for a fork", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto });
    const body = nextBody(device.identity.kid, { ...device.head, seq: 1 }, reading(7));
    refused(await device.sendBytes(started.url, other.sign(body)), 422, "SIGNATURE_INVALID");
    assert.equal(started.relay.store.deviceByKid(device.identity.kid)?.state, "active");
  });

  it("refuses a record that another key signed", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto });
    const answer = await device.sendBytes(
      started.url,
      other.sign(nextBody(device.identity.kid, device.head, reading(7))),
    );
    refused(answer, 422, "SIGNATURE_INVALID");
  });

  it("refuses a record of another enrolled device's chain", async () => {
    const other = await started.device();
    other.appendReadings(1);
    refused(await device.sendBytes(started.url, other.chain[1]!), 422, "KEY_MISMATCH");
  });

  it("refuses a record that contradicts its predecessor", async () => {
    const wrong = device.make(Kind.readings, readingPayload(1), { ...device.head, id: new Uint8Array(32).fill(9) });
    refused(await device.sendBytes(started.url, wrong), 409, "CHAIN_BROKEN");
    const start = device.make(Kind.readings, readingPayload(1), { ...device.head, boot: 7 });
    refused(await device.sendBytes(started.url, start), 409, "CHAIN_BROKEN");
  });

  it("refuses a payload that is not what its kind says", async () => {
    const wrong = device.make(Kind.readings, Uint8Array.of(0x80));
    refused(await device.sendBytes(started.url, wrong), 400, "RECORD_MALFORMED");
  });

  it("refuses CBOR that is not deterministic, though its signature holds", async () => {
    const record = device.make(Kind.readings, readingPayload(1));
    assert.equal(record[2], 0x58, "the protected header's length takes one byte");
    const longer = new Uint8Array([...record.subarray(0, 2), 0x59, 0x00, record[3]!, ...record.subarray(4)]);
    refused(await device.sendBytes(started.url, longer), 400, "CBOR_INVALID");
  });

  it("refuses a record above 4,000 bytes", async () => {
    const { kid } = device.identity;
    const header = {
      kid,
      kind: Kind.readings,
      boot: 0,
      seq: 4,
      prev: device.head.id,
      uptimeMs: 9999,
      clock: 0,
    } as const;
    const body = encodeBody(header, new Uint8Array(RECORD_MAX_BYTES));
    const answer = await device.sendBytes(started.url, new Uint8Array([...body, ...new Uint8Array(64)]));
    refused(answer, 413, "RECORD_TOO_LARGE");
  });

  it("refuses a body above 65,536 bytes", async () => {
    const body = new Uint8Array(BATCH_MAX_BYTES + 1);
    body.set(encodeRequest(device.request()));
    refused(await post(`${started.url}/v1/devices/${device.kid}/records`, body), 413, "BODY_TOO_LARGE");
  });

  it("refuses a body that is no batch", async () => {
    const route = `${started.url}/v1/devices/${device.kid}/records`;
    refused(await post(route, new Uint8Array(0)), 400, "CBOR_INVALID");
    refused(await post(route, Uint8Array.of(0xa0)), 400, "MESSAGE_MALFORMED");
    refused(await post(route, Uint8Array.of(0xff)), 400, "CBOR_INVALID");
    const cut = new Uint8Array([...encodeRequest(device.request()), ...device.chain[1]!.subarray(0, 50)]);
    refused(await post(route, cut), 400, "CBOR_INVALID");
  });

  it("does not know an unknown device before it has looked at a byte", async () => {
    const stranger = new FixtureDevice({ crypto: relayCrypto });
    const nonsense = Uint8Array.of(0xff, 0xff);
    for (const path of ["records", "head"]) {
      const answer = await post(`${started.url}/v1/devices/${stranger.kid}/${path}`, nonsense);
      refused(answer, 404, "DEVICE_UNKNOWN");
    }
    refused(await stranger.send(started.url), 404, "DEVICE_UNKNOWN");
  });

  it("stores what stands before a record that it refuses, and acknowledges that", async () => {
    const good = device.make(Kind.readings, readingPayload(5));
    device.adopt(good);
    const flipped = device.make(Kind.readings, readingPayload(6));
    flipped[flipped.length - 1]! ^= 1;
    const answer = await device.sendBytes(started.url, good, flipped);
    assert.equal(device.read(answer, started.key).received?.seq, 4);
    assert.equal(heldCount(), 5);
    refused(await device.sendBytes(started.url, flipped), 422, "SIGNATURE_INVALID");
  });

  it("acknowledges what it held already before a record that it refuses", async () => {
    const answer = await device.sendBytes(started.url, ...device.chain, Uint8Array.of(0xff));
    assert.equal(device.read(answer, started.key).received?.seq, 3);
  });

  it("ends a chain with its rotation", async () => {
    const other = await started.device();
    other.appendRotate(device.identity.publicKey);
    assert.equal(other.read(await other.send(started.url), started.key).received?.seq, 1);
    other.appendReading(1);
    const answer = await other.send(started.url, 2);
    assert.equal(answer.problem?.code, "CHAIN_CLOSED");
    assert.equal(started.relay.store.deviceByKid(other.identity.kid)?.state, "closed");
  });

  itOfSqlite("acknowledges nothing while the disk is full, and goes on when it is not", async () => {
    const database = sqliteOf(started.relay.store);
    const pages = database.pragma("page_count", { simple: true });
    const before = database.pragma("max_page_count", { simple: true });
    database.pragma(`max_page_count = ${pages}`);
    try {
      const { length } = device.chain;
      device.appendReadings(300);
      const answer = await device.send(started.url, length);
      assert.equal(answer.problem?.code, "STORE_FAILED");
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers.get("retry-after")) > 0);
      assert.equal(heldCount(), length, "nothing entered the chain");
    } finally {
      database.pragma(`max_page_count = ${before}`);
    }
    device.read(await device.send(started.url, 4), started.key);
  });

  it("refuses a record with any one bit flipped", () => {
    const record = device.make(Kind.readings, readingPayload(20.5));
    const { store } = started.relay;
    const stored = store.deviceByKid(device.identity.kid)!;
    const before = store.countRecords();
    for (let bit = 0; bit < record.length * 8; bit++) {
      const flipped = record.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const verified = verifyBatch(relayCrypto, stored, flipped);
      const { stored: count, refusal } = ingest({ store, crypto: relayCrypto, nowMs: Date.now }, stored, verified);
      assert.equal(count, 0, `bit ${bit}`);
      assert.ok(refusal && FLIP_CODES.has(refusal.failure.code), `bit ${bit}: ${refusal?.failure.code}`);
    }
    assert.equal(store.countRecords(), before);
    assert.equal(store.forks(stored.device).length, 0);
  });

  it("refuses any mutation of a batch over HTTP, and holds only a prefix of the chain", async () => {
    device.appendReadings(5);
    const honest = Buffer.concat(device.chain.slice(4));
    await fc.assert(
      fc.asyncProperty(fc.nat(honest.length * 8 - 1), async (bit) => {
        const flipped = new Uint8Array(honest);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const answer = await device.sendBytes(started.url, flipped);
        assert.ok(answer.status === 200 || answer.problem !== undefined);
        const held = started.relay.store.head(started.relay.store.deviceByKid(device.identity.kid)!.device);
        assert.equal(toHex(held.id), toHex(recordId(relayCrypto.sha256, device.chain[held.seq]!)));
      }),
      { numRuns: 40 },
    );
    device.read(await device.send(started.url, 4), started.key);
  });
});

const FLIP_CODES = new Set([
  "CBOR_INVALID",
  "RECORD_MALFORMED",
  "SIGNATURE_INVALID",
  "KEY_MISMATCH",
  "RECORD_TOO_LARGE",
]);

function reading(value: number) {
  return { kind: Kind.readings, payload: readingPayload(value), uptimeMs: 100_000, clock: ClockState.unset } as const;
}
