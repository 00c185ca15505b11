import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { toHex } from "tallystick/bytes/bytes";
import { encodeRotate } from "tallystick/record/payload";
import { Kind, recordId } from "tallystick/record/record";
import { encodeSuccessionRequest } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { type Answer, FixtureDevice, post, readingPayload } from "../fixtures/device.js";
import { MANY_ATTEMPTS, StartedRelay } from "./started.js";

/** The rotate record that ends a chain is the leave for the key that it names, and for no other. */
describe("relay: rotation", () => {
  let started: StartedRelay;
  let former: FixtureDevice;
  let next: FixtureDevice;
  let rotation: Uint8Array;

  before(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
  });
  after(() => started.close());
  beforeEach(async () => {
    former = await started.device();
    former.appendReadings(5);
    former.read(await former.send(started.url), started.key);
    const seed = new Uint8Array(randomBytes(32));
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    rotation = former.appendRotate(publicKey);
    next = successor(former.head, seed);
  });

  function successor({ seq, id }: FixtureDevice["head"], seed?: Uint8Array): FixtureDevice {
    const predecessor = { kid: former.identity.kid, seq, id };
    return new FixtureDevice({ crypto: relayCrypto, genesis: { predecessor }, ...(seed && { seed }) });
  }

  function send(
    sent: { readonly rotation?: Uint8Array; readonly genesis?: Uint8Array } = {},
    at = former,
  ): Promise<Answer> {
    const body = encodeSuccessionRequest({ request: next.request(), rotation, genesis: next.chain[0]!, ...sent });
    return post(`${started.url}/v1/devices/${at.kid}/succession`, body);
  }

  /** As if the former chain's head were at `seq`. */
  const behind = (seq: number) => ({ ...former.head, seq, id: recordId(relayCrypto.sha256, former.chain[seq]!) });
  const stored = (device: FixtureDevice) => started.relay.store.deviceByKid(device.identity.kid);

  /** That all tables are as they were. */
  async function refuses(status: number, code: string, answer: () => Promise<Answer>): Promise<void> {
    const { database } = started.relay.store;
    const rows = () =>
      JSON.stringify(
        ["devices", "records", "forks", "successions"].map((table) => database.prepare(`SELECT * FROM ${table}`).all()),
      );
    const before = rows();
    const refused = await answer();
    assert.equal(refused.problem?.code, code, JSON.stringify(refused.problem));
    assert.equal(refused.status, status);
    assert.equal(rows(), before, "nothing is stored");
  }

  for (const held of [false, true])
    it(`lets the next key in where the rotate record ${held ? "is held already" : "comes with it"}`, async () => {
      if (held) assert.equal(former.read(await former.send(started.url, 6), started.key).received?.seq, 6);
      assert.equal(next.read(await send(), started.key).received?.seq, 0);
      assert.equal(stored(former)?.state, "closed");
      assert.equal(toHex(started.relay.store.head(stored(former)!.device).id), toHex(former.head.id));
      next.appendReadings(3);
      assert.equal(next.read(await next.send(started.url), started.key).received?.seq, 3);
      for (let i = 0; i < 20; i++) assert.equal(next.read(await send(), started.key).received?.seq, 3);
      await started.settled();
      const [before, after] = [former, next].map((device) => started.relay.store.head(stored(device)!.device));
      assert.ok(before!.logIndex! < after!.logIndex!, "the log has the old chain before the new one");
      assert.equal(started.relay.store.forks(stored(former)!.device).length, 0);
    });

  it("takes nothing behind it, and no second successor", async () => {
    next.read(await send(), started.key);
    former.appendReading(1);
    assert.equal((await former.send(started.url, 7)).problem?.code, "CHAIN_CLOSED");
    const seed = new Uint8Array(randomBytes(32));
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    const other = former.make(Kind.rotate, encodeRotate(publicKey), behind(5));
    const pretender = successor({ ...former.head, seq: 6, id: recordId(relayCrypto.sha256, other) }, seed);
    assert.equal((await send({ rotation: other, genesis: pretender.chain[0]! })).problem?.code, "SUCCESSION_TAKEN");
  });

  it("keeps a rotate record that contradicts what is held as the fork that it is", async () => {
    former.read(
      await former.sendBytes(started.url, former.make(Kind.readings, readingPayload(1), behind(5))),
      started.key,
    );
    assert.equal((await send()).problem?.code, "CHAIN_FORK");
    assert.equal(stored(former)?.state, "forked");
    assert.equal(stored(next), undefined);
    assert.equal((await send()).problem?.code, "DEVICE_FORKED");
  });

  it("stores nothing of one that is none, is another's, or does not follow", async () => {
    const stranger = await started.device();
    await refuses(400, "RECORD_MALFORMED", () => send({ rotation: former.chain[5]! }));
    await refuses(400, "RECORD_MALFORMED", () => send({ rotation: new Uint8Array(40) }));
    await refuses(422, "KEY_MISMATCH", () => send({}, stranger));
    await refuses(422, "KEY_MISMATCH", () => send({ rotation: stranger.appendRotate(next.identity.publicKey) }));
    const forged = rotation.slice();
    forged[forged.length - 1]! ^= 1;
    await refuses(422, "SIGNATURE_INVALID", () => send({ rotation: forged }));
    // Behind a record that the relay does not have.
    const hidden = former.make(Kind.readings, readingPayload(1), behind(5));
    const seed = new Uint8Array(randomBytes(32));
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    const gap = { ...former.head, seq: 6, id: recordId(relayCrypto.sha256, hidden) };
    const far = former.make(Kind.rotate, encodeRotate(publicKey), gap);
    const genesis = successor({ ...gap, seq: 7, id: recordId(relayCrypto.sha256, far) }, seed).chain[0]!;
    await refuses(409, "CHAIN_GAP", () => send({ rotation: far, genesis }));
  });

  it("stores nothing of a genesis that is not the named key's, or names another predecessor", async () => {
    await refuses(422, "KEY_MISMATCH", () => send({ genesis: successor(former.head).chain[0]! }));
    await refuses(422, "SUCCESSION_FALSE", () => send({ genesis: nextNaming(5) }));
    await refuses(400, "RECORD_MALFORMED", () => send({ genesis: former.chain[2]! }));
  });

  it("stores nothing for a key that is revoked or held back", async () => {
    const { kid } = former.identity;
    started.operate((operator) => operator.decide(kid, "hold"));
    await refuses(409, "DEVICE_FORKED", () => send());
    started.operate((operator) => operator.revoke(kid, { fromSeq: 90 }));
    await refuses(403, "KEY_REVOKED", () => send());
  });

  it("stores nothing of a body of which a byte was changed", async () => {
    const body = encodeSuccessionRequest({ request: next.request(), rotation, genesis: next.chain[0]! });
    const url = `${started.url}/v1/devices/${former.kid}/succession`;
    // The nonce and the pinned size are nobody's word.
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 22, max: body.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const changed = body.slice();
          changed[at]! ^= flip;
          const answer = await post(url, changed);
          assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} at ${at}`);
          assert.equal(stored(next), undefined);
        },
      ),
      { numRuns: 60 },
    );
    next.read(await send(), started.key);
  });

  /** Genesis of `next` that names another position of the former chain. */
  function nextNaming(seq: number): Uint8Array {
    const seed = new Uint8Array(randomBytes(32));
    const device = new FixtureDevice({ crypto: relayCrypto, seed });
    rotation = former.make(Kind.rotate, encodeRotate(device.identity.publicKey), behind(5));
    const predecessor = { kid: former.identity.kid, seq, id: recordId(relayCrypto.sha256, former.chain[seq]!) };
    return new FixtureDevice({ crypto: relayCrypto, seed, genesis: { predecessor } }).chain[0]!;
  }
});
