import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { toHex } from "tallystick/bytes/bytes";
import { Kind, recordId } from "tallystick/record/record";
import { makeStatement } from "tallystick/record/statement";
import { makePossession, type Position, splitRecords } from "tallystick/sync/messages";
import { encodeSuccessionRequest, makeSuccession, type SuccessionStatement } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { type Answer, FixtureDevice, get, post, readingPayload } from "../fixtures/device.js";
import { itOfSqlite } from "./postgres/of-sqlite.js";
import { MANY_ATTEMPTS, must, ORIGIN, StartedRelay } from "./started.js";

/** What a former key says, and the genesis that goes with it; each may be falsified. */
interface Sent {
  readonly statement: Uint8Array;
  readonly genesis: Uint8Array;
}

describe("relay: succession", () => {
  let started: StartedRelay;
  let former: FixtureDevice;
  let next: FixtureDevice;
  /** What `former` and `next` are made from, so that others can be made from it too. */
  let formerSeed: Uint8Array;
  let nextSeed: Uint8Array;

  before(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
  });
  after(() => started.close());
  beforeEach(async () => {
    formerSeed = new Uint8Array(randomBytes(32));
    former = await started.device({ seed: formerSeed });
    former.appendReadings(5);
    former.read(await former.send(started.url), started.key);
    nextSeed = new Uint8Array(randomBytes(32));
    next = successor(headOf(former), former.identity.kid, nextSeed);
  });

  const idAt = (seq: number) => recordId(relayCrypto.sha256, former.chain[seq]!);
  const headOf = (device: FixtureDevice): Position => ({ seq: device.head.seq, id: device.head.id });

  /** A device whose genesis names a head of `former`'s as its predecessor. */
  function successor(head = headOf(former), kid = former.identity.kid, seed?: Uint8Array): FixtureDevice {
    return new FixtureDevice({
      crypto: relayCrypto,
      genesis: { predecessor: { kid, ...head } },
      ...(seed && { seed }),
    });
  }

  function state(change: Partial<SuccessionStatement> = {}, by = former, to = next): Uint8Array {
    const content = { origin: ORIGIN, head: headOf(former), publicKey: to.identity.publicKey, ...change };
    return makeSuccession(by.identity.kid, content, (bytes) => must(by.identity.sign(bytes)));
  }

  function succeed(change: Partial<Sent> = {}, at = former): Promise<Answer> {
    const sent = { statement: state(), genesis: next.chain[0]!, ...change };
    const body = encodeSuccessionRequest({ request: next.request(), ...sent });
    return post(`${started.url}/v1/devices/${at.kid}/succession`, body);
  }

  /** A record of `former`'s key that would follow `head`. */
  const reading = (value: number, head: FixtureDevice["head"]) =>
    former.make(Kind.readings, readingPayload(value), head);
  const stored = (device: FixtureDevice) => started.relay.store.deviceByKid(device.identity.kid);

  /** Everything that a request could have written. */
  function rows(): string {
    const { database } = started.relay.store;
    return ["devices", "records", "forks", "successions", "late"]
      .map((table) => `${table} ${database.prepare(`SELECT count(*) FROM ${table}`).pluck().get()}`)
      .concat(JSON.stringify(database.prepare("SELECT kid, state FROM devices ORDER BY device").all()))
      .join();
  }

  async function refuses(status: number, code: string, change: Partial<Sent>, at = former): Promise<void> {
    const before = rows();
    const answer = await succeed(change, at);
    assert.equal(answer.problem?.code, code, JSON.stringify(answer.problem));
    assert.equal(answer.status, status);
    assert.equal(rows(), before, "nothing is stored");
  }

  it("closes the chain, lets the new key in without a token, and signs for its genesis", async () => {
    const acknowledgement = next.read(await succeed(), started.key);
    assert.equal(toHex(acknowledgement.kid), next.kid);
    assert.equal(acknowledgement.received?.seq, 0);
    assert.equal(toHex(acknowledgement.received.id), toHex(next.head.id));
    assert.equal(stored(former)?.state, "closed");
    assert.equal(stored(next)?.state, "active");
    next.appendReadings(3);
    assert.equal(next.read(await next.send(started.url), started.key).received?.seq, 3);
    await started.settled();
    assert.equal(next.read(await next.askHead(started.url), started.key).logged?.seq, 3);
    assert.equal(former.read(await former.askHead(started.url), started.key).received?.seq, 5);
  });

  it("answers the same statement a hundred times, and adds nothing", async () => {
    next.read(await succeed(), started.key);
    const before = rows();
    for (let i = 0; i < 100; i++) assert.equal(next.read(await succeed(), started.key).received?.seq, 0);
    assert.equal(rows(), before);
    next.appendReadings(2);
    next.read(await next.send(started.url), started.key);
    assert.equal(next.read(await succeed(), started.key).received?.seq, 2, "and tells where the new chain stands");
  });

  it("keeps what arrives late, in order, beside the chain and the log", async () => {
    const late = former.chain.length;
    const seq = late - 1;
    next.read(await succeed(), started.key);
    former.appendReadings(3);
    former.appendMark();
    const records = started.relay.store.countRecords();
    const { successions } = started.relay.store;
    const { device } = stored(former)!;
    const gap = await former.send(started.url, late + 1, late + 1);
    assert.equal(gap.problem?.code, "CHAIN_GAP");
    assert.equal(former.read(await former.send(started.url, late, late + 1), started.key).received?.seq, seq);
    former.read(await former.send(started.url, 0), started.key);
    former.read(await former.send(started.url, 0), started.key);
    assert.equal(successions.countLate(device), 4);
    assert.equal(started.relay.store.countRecords(), records, "none is in the chain");
    assert.deepEqual(started.relay.store.forks(device), []);
    await started.settled();
    assert.equal(former.read(await former.askHead(started.url), started.key).logged?.seq, seq);
    const forged = former.chain[late]!.slice();
    forged[forged.length - 1]! ^= 1;
    assert.equal((await former.sendBytes(started.url, forged)).problem?.code, "SIGNATURE_INVALID");
    assert.equal(stored(former)?.state, "closed");
  });

  it("gives out what came late, page by page, and none of it for a chain that has none", async () => {
    const first = former.chain.length;
    next.read(await succeed(), started.key);
    // More than one answer has room for.
    former.appendReadings(700);
    for (let from = first; from < former.chain.length; from += 100)
      former.read(await former.send(started.url, from, from + 99), started.key);
    const page = async (device: FixtureDevice, from: number) => {
      const answer = await get(`${started.url}/v1/devices/${device.kid}/late?from=${from}`);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("content-type"), "application/cbor-seq");
      assert.ok(answer.bytes.length <= 65_536);
      return must(splitRecords(answer.bytes));
    };
    const found: Uint8Array[] = [];
    let pages = 0;
    for (let more = await page(former, 0); more.length > 0; more = await page(former, first + found.length)) {
      found.push(...more);
      pages++;
    }
    assert.ok(pages > 1, `${pages} pages`);
    assert.deepEqual(found.map(toHex), former.chain.slice(first).map(toHex));
    assert.deepEqual((await page(former, first + 698)).map(toHex), former.chain.slice(-2).map(toHex));
    assert.deepEqual(await page(next, 0), []);
    const unknown = await get(`${started.url}/v1/devices/0011223344556677/late`);
    assert.deepEqual([unknown.status, unknown.problem?.code], [404, "DEVICE_UNKNOWN"]);
    const wrong = await get(`${started.url}/v1/devices/${former.kid}/late?from=-1`);
    assert.equal(wrong.problem?.code, "REQUEST_MALFORMED");
  });

  for (const where of ["in the chain", "among the late ones"])
    it(`a late record that conflicts with one ${where} is a fork`, async () => {
      const twin = former.head;
      const other = [reading(71, twin), reading(72, twin)];
      next.read(await succeed(), started.key);
      if (where === "in the chain") {
        const answer = await former.sendBytes(started.url, reading(73, { ...twin, seq: 4, id: idAt(4) }));
        assert.equal(answer.problem?.code, "CHAIN_FORK");
      } else {
        former.read(await former.sendBytes(started.url, other[0]!), started.key);
        const answer = await former.sendBytes(started.url, other[1]!);
        assert.equal(answer.problem?.code, "CHAIN_FORK");
      }
      assert.equal(stored(former)?.state, "forked");
      assert.equal(started.relay.store.forks(stored(former)!.device).length, 1);
      const view = await fetch(`${started.url}/v1/devices/${former.kid}`);
      assert.equal(view.status, 200);
      assert.equal(stored(next)?.state, "active", "the successor is none of that");
      assert.equal(next.read(await succeed(), started.key).received?.seq, 0, "and the same statement still holds");
    });

  it("takes a head that it signed for before more arrived: what arrived stays where it is", async () => {
    const head = headOf(former);
    former.appendReadings(3);
    former.read(await former.send(started.url, 6), started.key);
    next = successor(head);
    next.read(await succeed({ statement: state({ head }), genesis: next.chain[0]! }), started.key);
    assert.equal(former.read(await former.askHead(started.url), started.key).received?.seq, 8);
    former.appendReading(1);
    former.read(await former.send(started.url, 9), started.key);
    assert.equal(started.relay.store.successions.countLate(stored(former)!.device), 1);
  });

  it("refuses a second, different succession with one code, and says which key succeeded", async () => {
    next.read(await succeed(), started.key);
    const first = next;
    next = successor();
    const before = rows();
    for (let i = 0; i < 3; i++) {
      const answer = await succeed();
      assert.equal(answer.status, 409);
      assert.equal(answer.problem?.code, "SUCCESSION_TAKEN");
      assert.equal(answer.problem["successor"], first.kid);
      assert.equal(answer.problem["seq"], 5);
    }
    assert.equal(rows(), before);
  });

  it("takes another genesis of the new key for what it is: a fork of the new chain", async () => {
    next.read(await succeed(), started.key);
    const twin = new FixtureDevice({
      crypto: relayCrypto,
      seed: nextSeed,
      genesis: { predecessor: { kid: former.identity.kid, ...headOf(former) }, markIntervalS: 7 },
    });
    const answer = await succeed({ genesis: twin.chain[0]! });
    assert.equal(answer.problem?.code, "CHAIN_FORK");
    assert.equal(stored(next)?.state, "forked");
  });

  describe("stores nothing of", () => {
    it("a statement with a wrong signature", async () => {
      const statement = state();
      statement[statement.length - 1]! ^= 1;
      await refuses(422, "SIGNATURE_INVALID", { statement });
    });

    it("a statement of another typ, also where the former key signed it", async () => {
      const sign = (bytes: Uint8Array) => must(former.identity.sign(bytes));
      const possession = { origin: ORIGIN, challenge: new Uint8Array(32), leaveSha256: new Uint8Array(32) };
      await refuses(400, "STATEMENT_MALFORMED", {
        statement: makePossession(former.identity.kid, possession, sign),
      });
      await refuses(400, "STATEMENT_MALFORMED", {
        statement: makeStatement("text/plain", former.identity.kid, new Map(), sign),
      });
      await refuses(400, "STATEMENT_MALFORMED", { statement: former.chain[0]! });
    });

    it("a statement by another key, or for another device", async () => {
      const stranger = await started.device();
      await refuses(422, "KEY_MISMATCH", { statement: state({}, stranger) });
      await refuses(422, "KEY_MISMATCH", {}, stranger);
      const unknown = new FixtureDevice({ crypto: relayCrypto });
      await refuses(404, "DEVICE_UNKNOWN", {}, unknown);
    });

    it("a statement for another relay", () =>
      refuses(422, "SUCCESSION_FALSE", { statement: state({ origin: "relay.example/other" }) }));

    it("a head that the relay does not hold: another id, or above what it has", async () => {
      for (const head of [
        { seq: 5, id: new Uint8Array(32).fill(3) },
        { seq: 6, id: new Uint8Array(32).fill(3) },
      ]) {
        next = successor(head);
        await refuses(422, "SUCCESSION_FALSE", { statement: state({ head }), genesis: next.chain[0]! });
      }
    });

    it("a genesis that names another predecessor than the statement, or none", async () => {
      const elsewhere = successor({ seq: 4, id: idAt(4) }, former.identity.kid, nextSeed);
      await refuses(422, "SUCCESSION_FALSE", { genesis: elsewhere.chain[0]! });
      const foreign = successor(headOf(former), new Uint8Array(8).fill(1), nextSeed);
      await refuses(422, "SUCCESSION_FALSE", { genesis: foreign.chain[0]! });
      const orphan = new FixtureDevice({ crypto: relayCrypto, seed: nextSeed });
      await refuses(422, "SUCCESSION_FALSE", { genesis: orphan.chain[0]! });
    });

    it("a genesis of another key than the statement names", async () => {
      await refuses(422, "KEY_MISMATCH", { genesis: successor().chain[0]! });
      await refuses(400, "RECORD_MALFORMED", { genesis: former.chain[1]! });
    });

    it("a new key that is known here already, or the former one itself", async () => {
      const seed = new Uint8Array(randomBytes(32));
      await started.device({ seed });
      const again = successor(headOf(former), former.identity.kid, seed);
      await refuses(409, "SUCCESSION_KEY_TAKEN", { statement: state({}, former, again), genesis: again.chain[0]! });
      const itself = successor(headOf(former), former.identity.kid, formerSeed);
      await refuses(409, "SUCCESSION_KEY_TAKEN", { statement: state({}, former, itself), genesis: itself.chain[0]! });
    });

    it("a chain that a rotation has closed, or a key that has signed two histories", async () => {
      const conflict = reading(9, { ...former.head, seq: 4, id: idAt(4) });
      assert.equal((await former.sendBytes(started.url, conflict)).problem?.code, "CHAIN_FORK");
      await refuses(409, "DEVICE_FORKED", {});
      former = await started.device();
      former.appendRotate(next.identity.publicKey);
      former.read(await former.send(started.url), started.key);
      next = successor();
      await refuses(409, "CHAIN_CLOSED", {});
    });

    it("a body that is none", async () => {
      const before = rows();
      for (const body of [new Uint8Array(0), Uint8Array.of(0xa0), Uint8Array.of(0xff)]) {
        const answer = await post(`${started.url}/v1/devices/${former.kid}/succession`, body);
        assert.equal(answer.status, 400, JSON.stringify(answer.problem));
      }
      assert.equal(rows(), before);
    });

    it("a request from a device that knows a larger log", async () => {
      next.pinnedSize = 1_000_000;
      await refuses(409, "RELAY_BEHIND", {});
    });

    it("an enrolment by token whose genesis claims a predecessor", async () => {
      const before = rows();
      const answer = await next.enrol(started.url, ORIGIN, started.token());
      assert.equal(answer.problem?.code, "SUCCESSION_FALSE");
      assert.equal(rows(), before);
    });
  });

  itOfSqlite("closes the chain again where an older copy of the database is filled up from the log", async () => {
    next.read(await succeed(), started.key);
    await started.settled();
    const [before, after] = [stored(former)!.device, stored(next)!.device];
    await started.relay.close();
    const database = new Sqlite(join(started.folder, "store.sqlite"));
    database.exec(`
      DELETE FROM successions WHERE device = ${before};
      UPDATE logged SET size = (SELECT min(entry) FROM records WHERE device = ${after});
      DELETE FROM records WHERE device = ${after};
      DELETE FROM ids WHERE device = ${after};
      DELETE FROM devices WHERE device = ${after};
      UPDATE devices SET state = 'active' WHERE device = ${before};
    `);
    database.close();
    await started.reopen();
    assert.equal(stored(former)?.state, "closed");
    assert.equal(toHex(stored(next)!.kid), next.kid);
    assert.equal(next.read(await succeed(), started.key).received?.seq, 0);
    next = successor();
    assert.equal((await succeed()).problem?.code, "SUCCESSION_TAKEN");
  });
});
