import assert from "node:assert/strict";
import { follow } from "tallystick/chain/chain";
import { followOver, readNamedGap, verifyRun } from "tallystick/chain/gap";
import type { Result } from "tallystick/codes/codes";
import { encodeGap, type Gap } from "tallystick/record/gap";
import { type EarlierGap, GapBuilder } from "tallystick/record/gap-summary";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, readingPayload } from "../fixtures/device.js";

const { sha256 } = relayCrypto;

function code(result: Result<unknown>): string {
  return result.ok ? "ok" : result.failure.code;
}

describe("chain/gap", () => {
  const device = new FixtureDevice({ crypto: relayCrypto });
  const { publicKey } = device.identity;

  function gapOver(first: number, last: number, earlier?: EarlierGap, change: Partial<Gap> = {}): Gap {
    const builder = new GapBuilder(sha256, first, earlier);
    for (let seq = first; seq <= last; seq++)
      assert.ok(builder.add(recordId(sha256, device.chain[seq]!), device.parse(device.chain[seq]!)).ok);
    return { ...builder.build(), ...change };
  }

  // 0 genesis, 1–6 readings, 7 boot, 8 a gap over 1–3, 9–10 readings, 11 one that takes it over and names up to 5, 12.
  device.appendReadings(6);
  device.appendBoot();
  const first = gapOver(1, 3);
  const firstBytes = device.append(Kind.gap, encodeGap(first));
  device.appendReadings(2);
  const second = gapOver(4, 5, { seq: 8, id: recordId(sha256, firstBytes), gap: first });
  device.append(Kind.gap, encodeGap(second));
  device.appendReading(1);
  const { chain } = device;
  const without = (...seqs: number[]) => chain.filter((_, seq) => !seqs.includes(seq));
  const run = (records: readonly Uint8Array[], gaps: readonly Uint8Array[] = []) =>
    verifyRun(relayCrypto, publicKey, records, gaps);

  it("verifies a whole chain, and one that lacks what its gaps name", () => {
    assert.deepEqual(run(chain), { ok: true, value: { head: device.head, holes: [] } });
    for (const [missing, by] of [
      [[1, 2, 3], 8],
      [[1, 2, 3, 4, 5], 11],
      [[2, 3], 8],
      [[1, 2], 8],
      [[4], 11],
    ] as const) {
      const verified = run(without(...missing));
      assert.ok(verified.ok, `${missing}: ${JSON.stringify(verified)}`);
      const [hole] = verified.value.holes;
      assert.deepEqual([hole?.first, hole?.last, hole?.named.seq], [missing[0], missing.at(-1), by]);
    }
    // A gap that has not come at its own position yet.
    assert.equal(code(run(chain.slice(0, 1).concat(chain.slice(4, 8)))), "CHAIN_GAP");
    assert.equal(code(run(chain.slice(0, 1).concat(chain.slice(4, 8)), [firstBytes])), "ok");
  });

  it("lets nothing be missing that no gap names", () => {
    for (const missing of [[6], [5, 6], [7], [8], [9], [0], [1, 2, 3, 4, 5, 6]])
      assert.equal(code(run(without(...missing))), "CHAIN_GAP", String(missing));
    assert.equal(code(run([])), "CHAIN_GAP");
  });

  it("refuses a signature, a link, a start and an uptime that do not fit", () => {
    const forged = chain.map((bytes, seq) => (seq === 8 ? flipLast(bytes) : bytes));
    assert.equal(code(run(forged)), "SIGNATURE_INVALID");
    const named = readNamedGap(relayCrypto, device.parse(firstBytes));
    const genesis = follow(sha256, undefined, device.parse(chain[0]!));
    assert.ok(named.ok && genesis.ok);
    const over = (bytes: Uint8Array, gap = named.value) =>
      code(followOver(relayCrypto, genesis.value, gap, device.parse(bytes)));
    assert.equal(over(chain[4]!), "ok");
    assert.equal(over(chain[5]!), "CHAIN_GAP");
    assert.equal(over(chain[1]!), "CHAIN_GAP");
    const other = { ...named.value, gap: { ...first, lastId: new Uint8Array(32) } };
    assert.equal(over(chain[4]!, other), "CHAIN_BROKEN");
    const head = { ...genesis.value, seq: 3, id: first.lastId };
    assert.equal(over(device.make(Kind.readings, readingPayload(1), { ...head, boot: 2 })), "CHAIN_BROKEN");
    const late = { ...genesis.value, uptimeMs: 1_000_000 };
    assert.equal(code(followOver(relayCrypto, late, named.value, device.parse(chain[4]!))), "CHAIN_BROKEN");
    assert.equal(code(readNamedGap(relayCrypto, device.parse(chain[1]!))), "RECORD_MALFORMED");
  });

  it("lets no more be missing than a gap counts", () => {
    // The gap takes over 1–2 and drops 5–6: 3 and 4 were acknowledged in between, and are named without being dropped.
    const odd = new FixtureDevice({ crypto: relayCrypto });
    odd.appendReadings(6);
    const build = (from: number, to: number, earlier?: EarlierGap): Gap => {
      const builder = new GapBuilder(sha256, from, earlier);
      for (let seq = from; seq <= to; seq++) builder.add(recordId(sha256, odd.chain[seq]!));
      return builder.build();
    };
    const early = build(1, 2);
    const bytes = odd.append(Kind.gap, encodeGap(early));
    odd.append(Kind.gap, encodeGap(build(5, 6, { seq: 7, id: recordId(sha256, bytes), gap: early })));
    odd.appendReading(1);
    const kept = (...missing: number[]) => odd.chain.filter((_, seq) => !missing.includes(seq));
    const verified = (records: readonly Uint8Array[]) => code(verifyRun(relayCrypto, odd.identity.publicKey, records));
    assert.equal(verified(kept(1, 2, 5, 6)), "ok");
    assert.equal(verified(kept(1, 2, 3, 4, 5, 6)), "CHAIN_GAP");
  });
});

function flipLast(bytes: Uint8Array): Uint8Array {
  const flipped = bytes.slice();
  flipped[flipped.length - 1]! ^= 1;
  return flipped;
}
