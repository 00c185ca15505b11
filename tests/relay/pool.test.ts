import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "tallystick/bytes/bytes";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { buildThread } from "../../hosts/relay/verify/build-thread.js";
import { Rank, VerifierPool } from "../../hosts/relay/verify/pool.js";
import { type VerifiedBatch, verifyBatch } from "../../hosts/relay/verify/verified.js";
import { FixtureDevice } from "../fixtures/device.js";

/** Ends its thread where a batch begins with this byte, as a fault of the engine would. */
const ENDS = 0xff;
/** Takes memory without end. */
const FILLS = 0xfe;
const FAULTY = `require("node:worker_threads").parentPort.on("message", ({ sequence }) => {
  if (sequence[0] === ${ENDS}) process.exit(7);
  if (sequence[0] === ${FILLS}) for (const all = []; ; ) all.push(Array.from({ length: 100_000 }, (_, n) => "x" + n));
});\n`;

const HONEST = { name: "192.0.2.1", rank: Rank.proven };

/** A batch with every part of its records made. */
function wholeOf({ count, records, failure }: VerifiedBatch) {
  const whole = [...records].map(({ record, id }) => {
    const { kid, kind, boot, seq, prev, uptimeMs, clock } = record.header;
    const { protectedBytes, payload, bytes, body, signature } = record;
    const header = { kid, kind, boot, seq, prev, uptimeMs, clock };
    return { id, header, protectedBytes, payload, bytes, body, signature };
  });
  assert.equal(whole.length, count);
  return { whole, failure };
}

describe("relay: threads that verify", () => {
  const device = new FixtureDevice({ crypto: relayCrypto });
  const key = { kid: device.identity.kid, publicKey: device.identity.publicKey };
  let pool: VerifierPool;
  let deaths: string[];

  before(() => {
    device.appendReadings(5);
    device.appendMark();
  });
  beforeEach(() => {
    deaths = [];
  });
  afterEach(() => pool.close());

  const make = (threads: number, program?: () => string): void => {
    const onDeath = (error: Error) => void deaths.push(error.message);
    pool = new VerifierPool({ threads, onDeath, ...(program && { program }) });
  };

  it("say of any batch what the examination says, part for part", async () => {
    make(2);
    const whole = concatBytes(...device.chain);
    assert.equal(verifyBatch(relayCrypto, key, whole).count, device.chain.length);
    const changes = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(changes, fc.nat(whole.length), fc.nat(40), async (changed, end, front) => {
        // A view into something larger, as a body after its request is.
        const memory = concatBytes(new Uint8Array(front), whole);
        for (const [at, flip] of changed) memory[front + at]! ^= flip;
        const sequence = memory.subarray(front, front + end);
        assert.deepEqual(
          wholeOf(await pool.verify(key, sequence, HONEST)),
          wholeOf(verifyBatch(relayCrypto, key, sequence)),
        );
      }),
      { numRuns: 300 },
    );
    assert.deepEqual(deaths, []);
  });

  it("let senders take turns: who sends much waits for himself", async () => {
    make(1);
    const order: string[] = [];
    const send = (name: string) =>
      pool.verify(key, device.chain[0]!, { name, rank: Rank.unknown }).then(() => order.push(name));
    const all = Array.from({ length: 20 }, () => send("busy"));
    all.push(send("other"), send("third"), send("other"));
    await Promise.all(all);
    const last = Math.max(order.lastIndexOf("other"), order.lastIndexOf("third"));
    assert.ok(last < 8, `the others' three batches were through after ${last + 1} of ${order.length}: ${order.join()}`);
  });

  it("come to senders of what does not hold only when nobody else waits", async () => {
    make(2);
    const order: string[] = [];
    const send = (name: string, rank: Rank) =>
      pool.verify(key, device.chain[0]!, { name, rank }).then(() => order.push(name));
    const all = Array.from({ length: 30 }, (_, n) => send(`suspect ${n}`, Rank.suspect));
    all.push(...Array.from({ length: 30 }, (_, n) => send(`honest ${n}`, Rank.unknown)));
    await Promise.all(all);
    // The first suspect found a thread idle; when the second has its turn no honest one waits, but four may be in hand.
    const [, second] = order.flatMap((name, i) => (name.startsWith("suspect") ? [i] : []));
    const before = order.slice(0, second).filter((name) => name.startsWith("honest")).length;
    assert.ok(before >= 30 - 4, order.join());
  });

  it("come first to senders that have brought something, however many others there are", async () => {
    make(1);
    const order: string[] = [];
    const send = (name: string, rank: Rank) =>
      pool.verify(key, device.chain[0]!, { name, rank }).then(() => order.push(name));
    const all = Array.from({ length: 40 }, (_, n) => send(`unknown ${n}`, Rank.unknown));
    all.push(...Array.from({ length: 10 }, () => send("proven", Rank.proven)));
    await Promise.all(all);
    // One of the others was in the thread's hands, and no second one may be.
    assert.ok(order.lastIndexOf("proven") <= 10, order.join());
  });

  for (const [how, first] of [
    ["ends", ENDS],
    ["takes all memory of", FILLS],
  ] as const)
    it(`refuse a batch that ${how} a thread twice, and answer all others`, async () => {
      make(2, () => FAULTY + buildThread());
      const sequence = device.chain[1]!;
      const good = Array.from({ length: 12 }, (_, n) => pool.verify(key, sequence, { ...HONEST, name: `${n % 3}` }));
      const bad = pool.verify(key, Uint8Array.of(first), HONEST);
      good.push(...Array.from({ length: 12 }, () => pool.verify(key, sequence, HONEST)));
      await assert.rejects(bad, /ends its thread/);
      for (const batch of await Promise.all(good)) assert.equal(batch.count, 1);
      assert.equal(deaths.length, 2, deaths.join());
      assert.equal((await pool.verify(key, sequence, HONEST)).count, 1, "the pool goes on");
      assert.equal(pool.waiting, 0);
    });

  it("refuse what comes while the system gives no thread, and go on when it does", async () => {
    let refused = 0;
    make(2, () => {
      if (refused++ < 3) throw new Error("no thread to be had");
      return buildThread();
    });
    const send = () => pool.verify(key, device.chain[0]!, HONEST);
    await assert.rejects(send(), /no thread to be had/);
    await assert.rejects(send(), /no thread to be had/);
    assert.equal(pool.waiting, 0);
    await assert.rejects(send(), /no thread to be had/);
    assert.equal((await send()).count, 1);
    assert.equal(deaths.length, 3, "each is told");
  });

  it("reject what waits when the pool is closed, and all after that", async () => {
    make(1);
    const waiting = Array.from({ length: 5 }, () => pool.verify(key, device.chain[0]!, HONEST));
    const ended = Promise.allSettled(waiting);
    await pool.close();
    assert.ok((await ended).every(({ status }) => status === "rejected"));
    await assert.rejects(pool.verify(key, device.chain[0]!, HONEST), /closed/);
    assert.deepEqual(deaths, [], "it is no death");
  });
});
