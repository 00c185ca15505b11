import assert from "node:assert/strict";
import { concatBytes } from "tallystick/bytes/bytes";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import {
  BAD_BATCHES_BURST,
  INTAKE_SENDER_MAX_BYTES,
  INTAKE_SUSPECTS_MAX,
  INTAKE_UNPROVEN_MAX_BYTES,
  Intake,
  type IntakeOptions,
} from "../../hosts/relay/intake.js";
import type { Store, StoredDevice } from "../../hosts/relay/store/store.js";
import { Rank, type Sender, type VerifierPool } from "../../hosts/relay/verify/pool.js";
import { type BatchKey, type VerifiedBatch, verifyBatch } from "../../hosts/relay/verify/verified.js";
import { FixtureDevice } from "../fixtures/device.js";
import { sqliteOf } from "./dump.js";
import { itOfSqlite } from "./postgres/of-sqlite.js";
import { StartedRelay } from "./started.js";

/** What a batch goes through between its admission and the disk, over a real store. */
describe("relay: intake", () => {
  let started: StartedRelay;
  let store: Store;
  let nowMs = 0;

  before(async () => {
    started = await StartedRelay.start();
    ({ store } = started.relay);
  });
  after(() => started.close());
  beforeEach(() => {
    nowMs = 1_000_000;
  });

  /** Threads whose answers come when the test says so. */
  class HeldPool {
    readonly held: { readonly sender: Sender; answer(): void }[] = [];
    verify(key: BatchKey, sequence: Uint8Array, sender: Sender): Promise<VerifiedBatch> {
      return new Promise((resolve) => {
        this.held.push({ sender, answer: () => resolve(verifyBatch(relayCrypto, key, sequence)) });
      });
    }
  }

  function intakeOver(pool: HeldPool, options: Partial<IntakeOptions> = {}): Intake {
    return new Intake({
      store,
      crypto: relayCrypto,
      nowMs: Date.now,
      steadyMs: () => nowMs,
      onStored: () => undefined,
      pool: pool as unknown as VerifierPool,
      ...options,
    });
  }

  async function enrolled(readings: number): Promise<{ device: FixtureDevice; stored: StoredDevice }> {
    const device = await started.device();
    device.appendReadings(readings);
    return { device, stored: store.deviceByKid(device.identity.kid)! };
  }

  const headOf = ({ stored }: { stored: StoredDevice }) => store.head(stored.device).seq;
  const falsified = (bytes: Uint8Array): Uint8Array =>
    bytes.map((byte, i) => (i === bytes.length - 9 ? byte ^ 1 : byte));

  itOfSqlite("makes what is ready durable in one transaction", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const fleet = await Promise.all(Array.from({ length: 20 }, () => enrolled(3)));
    const taken = fleet.map(({ device, stored }) =>
      intake.take(stored, concatBytes(...device.chain.slice(1)), "192.0.2.1"),
    );
    let commits = 0;
    const whole = store.transaction.bind(store);
    store.transaction = (write) => {
      if (!sqliteOf(store).inTransaction) commits++;
      return whole(write);
    };
    try {
      for (const { answer } of pool.held) answer();
      assert.deepEqual(
        await Promise.all(taken),
        fleet.map(() => ({ stored: 3, repeated: 0, backdated: [], refusal: undefined })),
      );
    } finally {
      store.transaction = whole;
    }
    assert.equal(commits, 1);
    assert.equal(intake.waitingBytes, 0);
  });

  it("ingests a device's batches in the order in which they came, whatever threads do", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const one = await enrolled(6);
    const [a, b, c] = [1, 3, 5].map((seq) =>
      intake.take(one.stored, concatBytes(...one.device.chain.slice(seq, seq + 2)), "192.0.2.1"),
    );
    pool.held[2]!.answer();
    pool.held[1]!.answer();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(headOf(one), 0, "the first is not there yet");
    pool.held[0]!.answer();
    for (const taken of await Promise.all([a, b, c])) assert.equal(taken!.refusal, undefined);
    assert.equal(headOf(one), 6);
  });

  itOfSqlite("fails nobody else where the disk refuses one", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const fleet = await Promise.all(Array.from({ length: 5 }, () => enrolled(2)));
    const bad = fleet[2]!;
    const name = "no_records_of_one";
    store.database.exec(`CREATE TRIGGER ${name} BEFORE INSERT ON records WHEN new.device = ${bad.stored.device}
      BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`);
    try {
      const taken = fleet.map(({ device, stored }) =>
        intake.take(stored, concatBytes(...device.chain.slice(1)), "192.0.2.1"),
      );
      const ended = Promise.allSettled(taken);
      for (const { answer } of pool.held) answer();
      const outcomes = (await ended).map(({ status }) => status);
      assert.deepEqual(outcomes, ["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled"]);
      assert.deepEqual(fleet.map(headOf), [2, 2, 0, 2, 2]);
    } finally {
      store.database.exec(`DROP TRIGGER ${name}`);
    }
    const again = intake.take(bad.stored, concatBytes(...bad.device.chain.slice(1)), "192.0.2.1");
    pool.held[5]!.answer();
    assert.equal((await again).stored, 2, "nothing of it was lost");
  });

  it("takes no more of one key from one address than may wait, and goes on with all others", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const [one, other] = [await enrolled(1), await enrolled(1)];
    const large = new Uint8Array(65_536);
    const taken: Promise<unknown>[] = [];
    while (!intake.refusal(one.stored, "192.0.2.1")) taken.push(intake.take(one.stored, large, "192.0.2.1"));
    assert.equal(taken.length * large.length, INTAKE_SENDER_MAX_BYTES);
    const refusal = intake.refusal(one.stored, "192.0.2.1")!;
    assert.equal(refusal.failure.code, "INTAKE_FULL");
    assert.ok(refusal.retryAfterS! > 0);
    assert.equal(intake.refusal(other.stored, "192.0.2.1"), undefined, "another key from there");
    assert.equal(intake.refusal(one.stored, "192.0.2.2"), undefined, "the key from elsewhere");
    for (const { answer } of pool.held) answer();
    await Promise.all(taken);
    assert.equal(intake.refusal(one.stored, "192.0.2.1"), undefined);
  });

  it("keeps room for addresses that have brought something, however many others send", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const one = await enrolled(1);
    const proving = intake.take(one.stored, one.device.chain[1]!, "192.0.2.1");
    pool.held[0]!.answer();
    assert.equal((await proving).stored, 1);
    const large = new Uint8Array(65_536);
    const waiting: Promise<unknown>[] = [];
    for (let n = 0; n < 1000; n++) {
      const address = `198.51.${n >> 8}.${n & 255}`;
      if (intake.refusal(one.stored, address)) break;
      waiting.push(intake.take(one.stored, large, address));
    }
    assert.equal(waiting.length * large.length, INTAKE_UNPROVEN_MAX_BYTES);
    assert.equal(intake.refusal(one.stored, "203.0.113.1")!.failure.code, "INTAKE_FULL");
    assert.equal(intake.refusal(one.stored, "192.0.2.1"), undefined);
    for (const { answer } of pool.held.slice(1)) answer();
    await Promise.all(waiting);
    assert.equal(intake.refusal(one.stored, "203.0.113.1"), undefined);
  });

  it("puts an address that sends what does not hold behind others, and forgives it with time", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const one = await enrolled(1);
    const bad = falsified(one.device.chain[1]!);
    const send = async (bytes: Uint8Array, address: string) => {
      const taken = intake.take(one.stored, bytes, address);
      const { sender, answer } = pool.held[pool.held.length - 1]!;
      answer();
      await taken;
      return sender.rank === Rank.suspect;
    };
    for (let n = 0; n < BAD_BATCHES_BURST; n++) assert.equal(await send(bad, "192.0.2.66"), false);
    assert.equal(await send(bad, "192.0.2.66"), true);
    assert.equal(await send(one.device.chain[1]!, "192.0.2.66"), true, "it is taken nevertheless");
    assert.equal(headOf(one), 1);
    assert.equal(await send(one.device.chain[1]!, "192.0.2.1"), false);
    const waiting: Promise<unknown>[] = [];
    while (!intake.refusal(one.stored, "192.0.2.66")) waiting.push(intake.take(one.stored, bad, "192.0.2.66"));
    assert.equal(waiting.length, INTAKE_SUSPECTS_MAX);
    assert.equal(intake.refusal(one.stored, "192.0.2.66")!.failure.code, "INTAKE_FULL");
    assert.equal(intake.refusal(one.stored, "192.0.2.1"), undefined);
    for (const { answer } of pool.held) answer();
    await Promise.all(waiting);
    nowMs += 3_600_000;
    assert.equal(await send(one.device.chain[1]!, "192.0.2.66"), false);
  });

  it("puts an address behind others that sends what is held again and again", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const one = await enrolled(2);
    const send = async (from: number) => {
      const taken = intake.take(one.stored, one.device.chain[from]!, "192.0.2.77");
      const { sender, answer } = pool.held[pool.held.length - 1]!;
      answer();
      return { isSuspect: sender.rank === Rank.suspect, ...(await taken) };
    };
    assert.equal((await send(1)).stored, 1);
    for (let n = 0; n < BAD_BATCHES_BURST; n++)
      assert.deepEqual(await send(1), { isSuspect: false, stored: 0, repeated: 1, backdated: [], refusal: undefined });
    assert.equal((await send(1)).isSuspect, true);
    assert.equal((await send(2)).stored, 1, "what is new is taken nevertheless");
  });

  it("puts an address before others whose last batch brought something", async () => {
    const pool = new HeldPool();
    const intake = intakeOver(pool);
    const one = await enrolled(4);
    const send = async (bytes: Uint8Array) => {
      const taken = intake.take(one.stored, bytes, "192.0.2.88");
      const { sender, answer } = pool.held[pool.held.length - 1]!;
      answer();
      await taken;
      return sender.rank;
    };
    assert.equal(await send(one.device.chain[1]!), Rank.unknown);
    assert.equal(await send(one.device.chain[2]!), Rank.proven);
    assert.equal(await send(falsified(one.device.chain[3]!)), Rank.proven);
    assert.equal(await send(one.device.chain[3]!), Rank.unknown, "what it sent last did not hold");
    assert.equal(await send(one.device.chain[4]!), Rank.proven);
  });

  it("lets a key bring as many records as its budget has, and more as time goes on", async () => {
    const limited = await StartedRelay.start({ keyBudget: { burst: 5, perSecond: 0.5 }, nowMs: () => nowMs });
    try {
      const device = new FixtureDevice({ crypto: relayCrypto });
      const enrolment = await device.enrol(limited.url, limited.pins.origin, limited.token(nowMs));
      device.read(enrolment, limited.key);
      device.appendReadings(12);
      assert.equal(device.read(await device.send(limited.url, 1, 6), limited.key).received?.seq, 6);
      const refused = await device.send(limited.url, 7);
      assert.equal(refused.status, 429);
      assert.equal(refused.problem?.code, "KEY_BUDGET_SPENT");
      const retryAfterS = Number(refused.headers.get("retry-after"));
      assert.equal(retryAfterS, 4);
      nowMs += (retryAfterS - 1) * 1000;
      assert.equal((await device.send(limited.url, 7)).status, 429, "not before");
      nowMs += 1000;
      assert.equal(device.read(await device.send(limited.url, 7), limited.key).received?.seq, 12);
    } finally {
      await limited.close();
    }
  });
});
