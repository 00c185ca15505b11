import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { concatBytes } from "tallystick/bytes/bytes";
import { BATCH_MAX_BYTES, encodeRequest } from "tallystick/sync/messages";
import { INTAKE_MAX_BYTES, INTAKE_UNPROVEN_MAX_BYTES } from "../../hosts/relay/intake.js";
import { Rank, type Sender, VerifierPool } from "../../hosts/relay/verify/pool.js";
import type { BatchKey, VerifiedBatch } from "../../hosts/relay/verify/verified.js";
import { StartedRelay } from "./started.js";

/**
 * Ten times as many bad signatures as the relay verifies at all, beside an honest device. What that costs in milliseconds is
 * for the bench; here it is counted in batches, which no busy machine changes: how many of the flood's are examined while an
 * honest one waits.
 */

/** More than one would each do as much beside an honest batch as one of them does before it. */
const THREADS = 1;
const ADDRESSES = 32;
const CONNECTIONS = 96;
const HOSTILE_DEVICES = 4;
const HOSTILE_RECORDS = 200;
const HONEST_BATCHES = 30;
const HONEST_RECORDS = 25;
const FACTOR = 10;
/** An attacker does not wait for what he does not want. */
const PATIENCE_MS = 200;
/** Batches that the flood may offer until it is ten times what was verified: it would be far below. */
const OFFERS_MAX = 50_000;

/** Counts what threads are given. */
class CountingPool extends VerifierPool {
  /** Signatures that were verified, of anybody. */
  verified = 0;
  /** Of the flood: batches that were examined to their end. */
  examined = 0;
  mostBytes = 0;
  mostUnprovenBytes = 0;
  /** For each honest batch: the flood's batches that ended between its coming and its end. */
  readonly overtakenBy: number[] = [];
  readonly hostile = new Set<string>();
  #bytes = 0;
  #unprovenBytes = 0;

  override async verify(key: BatchKey, sequence: Uint8Array, sender: Sender): Promise<VerifiedBatch> {
    const before = this.examined;
    const isUnproven = sender.rank !== Rank.proven;
    this.#count(sequence.length, isUnproven);
    try {
      const batch = await super.verify(key, sequence, sender);
      this.verified += batch.count + (batch.failure ? 1 : 0);
      if (this.hostile.has(Buffer.from(key.kid).toString("hex"))) this.examined++;
      else this.overtakenBy.push(this.examined - before);
      return batch;
    } finally {
      this.#count(-sequence.length, isUnproven);
    }
  }

  #count(bytes: number, isUnproven: boolean): void {
    this.#bytes += bytes;
    if (isUnproven) this.#unprovenBytes += bytes;
    this.mostBytes = Math.max(this.mostBytes, this.#bytes);
    this.mostUnprovenBytes = Math.max(this.mostUnprovenBytes, this.#unprovenBytes);
  }
}

/** Other loopback addresses than 127.0.0.1 are there on Linux alone. */
(process.platform === "linux" ? describe : describe.skip)("relay: a flood of bad signatures", function () {
  this.timeout(120_000);
  let started: StartedRelay;
  let pool: CountingPool;
  before(async () => {
    pool = new CountingPool({ threads: THREADS });
    started = await StartedRelay.start({ pool });
  });
  after(async () => {
    await started.close();
    await pool.close();
  });

  it("ten times what is verified at all: loses no honest record, keeps none waiting behind it, and takes no more memory than may be", async () => {
    const honest = await started.device();
    honest.appendReadings(HONEST_RECORDS);
    // Its address has brought something.
    honest.read(await honest.send(started.url, 1), started.key);

    const bodies: { readonly path: string; readonly body: Uint8Array }[] = [];
    for (let n = 0; n < HOSTILE_DEVICES; n++) {
      const device = await started.device();
      pool.hostile.add(device.kid);
      device.appendReadings(HOSTILE_RECORDS);
      const records = device.chain.slice(1);
      // All of them false, which ends at the first; and none but the last, which costs as much as an honest one.
      for (const from of [0, records.length - 1]) {
        const falsified = records.map((record, at) => (at < from ? record : flipped(record)));
        bodies.push({
          path: `/v1/devices/${device.kid}/records`,
          body: concatBytes(encodeRequest(device.request()), ...falsified),
        });
      }
    }
    pool.overtakenBy.length = 0;
    const verifiedBefore = pool.verified;
    let [offered, offers, isOver] = [0, 0, false];
    const agents = Array.from({ length: ADDRESSES }, (_, n) => {
      return new Agent({ keepAlive: true, localAddress: `127.0.1.${n + 1}` });
    });
    const flood = Array.from({ length: CONNECTIONS }, async () => {
      while (!isOver && offers < OFFERS_MAX) {
        const { path, body } = bodies[offers % bodies.length]!;
        const agent = agents[offers++ % ADDRESSES]!;
        offered += HOSTILE_RECORDS;
        await offer(agent, `${started.url}${path}`, body);
      }
    });
    const isTenfold = (): boolean => offered >= FACTOR * (pool.verified - verifiedBefore);
    for (let batch = 0; batch < HONEST_BATCHES || !isTenfold(); batch++) {
      assert.ok(offers < OFFERS_MAX, "the flood is ten times what is verified");
      const from = honest.head.seq + 1;
      honest.appendReadings(HONEST_RECORDS);
      const answer = await honest.send(started.url, from);
      assert.equal(answer.status, 200, JSON.stringify(answer.problem));
      assert.equal(honest.read(answer, started.key).received?.seq, honest.head.seq);
    }
    isOver = true;
    await Promise.all(flood);
    for (const agent of agents) agent.destroy();

    // What the thread had in its hands already when it came: of strangers one, as many as there are threads.
    const most = Math.max(...pool.overtakenBy);
    assert.ok(most <= THREADS, `an honest batch waited for ${most} of the flood`);
    assert.ok(pool.examined > 0, "what is left over is the strangers'");
    assert.ok(pool.mostBytes <= INTAKE_MAX_BYTES + BATCH_MAX_BYTES, `${pool.mostBytes} bytes waited`);
    assert.ok(
      pool.mostUnprovenBytes <= INTAKE_UNPROVEN_MAX_BYTES + BATCH_MAX_BYTES,
      `${pool.mostUnprovenBytes} bytes of strangers waited`,
    );
    await started.settled();
    const { store } = started.relay;
    const { device } = store.deviceByKid(honest.identity.kid)!;
    assert.equal(store.lastInLog(device, started.relay.log.head.size)?.seq, honest.head.seq, "all of it is logged");
    for (const kid of pool.hostile) {
      const of = store.deviceByKid(Buffer.from(kid, "hex"))!;
      assert.ok(store.head(of.device).seq < HOSTILE_RECORDS, "a false record is in no chain");
    }
  });
});

function flipped(record: Uint8Array): Uint8Array {
  const bytes = record.slice();
  bytes[bytes.length - 40]! ^= 1;
  return bytes;
}

/** Resolves with the answer, or when none is waited for any more. */
function offer(agent: Agent, url: string, body: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const headers = { "content-type": "application/cbor-seq", "content-length": body.length };
    const sent = request(url, { agent, method: "POST", headers }, (response) => {
      response.resume();
      response.on("end", () => resolve());
      response.on("error", () => resolve());
    });
    sent.on("error", () => resolve());
    sent.setTimeout(PATIENCE_MS, () => sent.destroy());
    sent.end(body);
  });
}
