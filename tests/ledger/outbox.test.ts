import assert from "node:assert/strict";
import { readEvmAnchor, verifyEvmAnchor } from "tallystick/evidence/evm";
import { decodeCbor } from "tallystick/record/cbor";
import { type Hex, hexToBytes } from "viem";
import type { EvmLedger } from "../../hosts/relay/ledger/evm.js";
import type { OutboxStep } from "../../hosts/relay/ledger/outbox.js";
import { type Bench, checkpoint, openBench, openDatabase, openOutbox, rootAt, untilFinal } from "./chain.js";

describe("the outbox on a real chain", () => {
  let bench: Bench;
  let ledger: EvmLedger;

  before(async () => {
    bench = await openBench();
  });
  beforeEach(async () => {
    ledger = await bench.ledger();
  });
  after(() => bench?.close());

  it("climbs signed, submitted, included, final, and hands over a proof that verifies offline", async () => {
    const database = openDatabase();
    const states: string[] = [];
    const outbox = openOutbox(database, ledger, { onChange: ({ state }) => states.push(state) });
    assert.deepEqual(await outbox.step(), { ok: true, value: "idle" });
    outbox.submit(checkpoint(7));
    const final = await untilFinal(bench, outbox, 7);
    assert.deepEqual(states, ["signed", "submitted", "included", "final"]);
    assert.deepEqual(final.root, rootAt(7));
    assert.equal(final.transactions.length, 1);

    const anchor = decodeCbor(final.proof!.anchor);
    assert.ok(anchor.ok);
    const read = readEvmAnchor(anchor.value);
    assert.ok(read.ok, read.ok ? "" : read.failure.detail);
    const verified = verifyEvmAnchor(read.value, {
      chainId: 31337,
      contract: hexToBytes(ledger.contract),
      blockHash: hexToBytes(final.proof!.block.hash as Hex),
    });
    assert.ok(verified.ok, verified.ok ? "" : verified.failure.detail);
    assert.equal(verified.value.size, 7);
    assert.deepEqual(verified.value.root, rootAt(7));
    assert.equal(verified.value.blockNumber, final.proof!.block.number);
    // What the block says of itself, asked in another way.
    const block = (await bench.ask("eth_getBlockByHash", final.proof!.block.hash, false)) as { timestamp: string };
    assert.equal(verified.value.timestamp, Number(block.timestamp));
    assert.equal(outbox.finalFor(7)?.slot, final.slot);
    assert.equal(outbox.finalFor(8), undefined);
  });

  it("is final no sooner than two epochs after the block", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(3));
    await outbox.step();
    await bench.mine();
    for (let after = 0; after < 8; after++) {
      await outbox.step();
      assert.equal(outbox.current()?.state, "included", `${after} blocks after`);
      await bench.mine();
    }
    await outbox.step();
    assert.equal(outbox.newestFinal()?.size, 3);
  });

  it("lets the newest checkpoint win while one is in flight", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(2));
    await outbox.step();
    for (const size of [3, 9, 4, 8]) outbox.submit(checkpoint(size));
    await untilFinal(bench, outbox, 9);
    assert.deepEqual(
      outbox.anchors(10).map(({ size, state }) => [size, state]),
      [
        [9, "final"],
        [2, "final"],
      ],
    );
  });

  it("keeps a distance between anchors where one is asked for", async () => {
    let nowMs = 0;
    const outbox = openOutbox(openDatabase(), ledger, { everyMs: 60_000, uptimeMs: () => nowMs });
    outbox.submit(checkpoint(2));
    await untilFinal(bench, outbox, 2);
    outbox.submit(checkpoint(3));
    await outbox.step();
    assert.equal(outbox.current(), undefined);
    nowMs = 60_000;
    await untilFinal(bench, outbox, 3);
  });

  it("sends the same bytes again after a reorganisation took the block away", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await outbox.step();
    await bench.mine(3);
    await outbox.step();
    const before = outbox.current();
    assert.equal(before?.state, "included");
    await bench.ask("anvil_reorg", 4, []);
    assert.equal((await heldSize(ledger)) as number, 0, "the reorganisation took the anchor away");
    const final = await untilFinal(bench, outbox, 5);
    assert.deepEqual(final.transactions, before.transactions);
    assert.notEqual(final.block?.hash, before.block?.hash);
  });

  it("says so when a reorganisation moves the anchor to another block", async () => {
    const states: string[] = [];
    const outbox = openOutbox(openDatabase(), ledger, { onChange: ({ state }) => states.push(state) });
    outbox.submit(checkpoint(5));
    await outbox.step();
    await bench.mine(2);
    await outbox.step();
    const before = outbox.current();
    const raw = (await bench.ask("eth_getRawTransactionByHash", before!.transactions[0])) as string;
    await bench.ask("anvil_reorg", 3, [[raw, 2]]);
    await outbox.step();
    const moved = outbox.current();
    assert.equal(moved?.state, "included");
    assert.notEqual(moved.block?.hash, before?.block?.hash);
    await untilFinal(bench, outbox, 5);
    assert.deepEqual(states, ["signed", "submitted", "included", "included", "final"]);
  });

  it("sends again what the node dropped", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await outbox.step();
    const [hash] = outbox.current()!.transactions;
    await bench.ask("anvil_dropTransaction", hash);
    await bench.mine(2);
    const final = await untilFinal(bench, outbox, 5);
    assert.deepEqual(final.transactions, [hash]);
  });

  it("outbids a transaction that is stuck, by 12.5 % or more, with the newest checkpoint", async () => {
    let nowMs = 0;
    const database = openDatabase();
    const outbox = openOutbox(database, ledger, { stuckMs: 1_000, uptimeMs: () => nowMs });
    outbox.submit(checkpoint(5));
    await outbox.step();
    outbox.submit(checkpoint(6));
    nowMs = 999;
    await outbox.step();
    assert.equal(outbox.current()!.transactions.length, 1);
    nowMs = 1_000;
    await outbox.step();
    nowMs = 2_500;
    await outbox.step();
    const fees = database.prepare("SELECT fee FROM anchor_transaction ORDER BY number").pluck().all() as string[];
    assert.equal(fees.length, 3);
    for (let i = 1; i < fees.length; i++) {
      for (const part of [0, 1]) {
        const [old, bumped] = [fees[i - 1]!, fees[i]!].map((fee) => BigInt(fee.split("/")[part]!));
        assert.ok(bumped! * 1000n >= old! * 1125n, `${old} to ${bumped}`);
      }
    }
    const final = await untilFinal(bench, outbox, 6);
    assert.equal(final.transactions.length, 3);
    assert.equal(outbox.anchors(10).length, 1, "one slot, whatever was tried for it");
  });

  it("takes the old transaction for done when that one lands after it was outbid", async () => {
    let nowMs = 0;
    const outbox = openOutbox(openDatabase(), ledger, { stuckMs: 1_000, uptimeMs: () => nowMs });
    outbox.submit(checkpoint(5));
    await outbox.step();
    const raw = (await bench.ask("eth_getRawTransactionByHash", outbox.current()!.transactions[0])) as string;
    outbox.submit(checkpoint(6));
    nowMs = 1_000;
    await outbox.step();
    const [, second] = outbox.current()!.transactions;
    await bench.ask("anvil_dropTransaction", second);
    await bench.ask("eth_sendRawTransaction", raw);
    await bench.mine();
    await outbox.step();
    assert.deepEqual([outbox.current()!.size, outbox.current()!.state], [5, "included"]);
    await untilFinal(bench, outbox, 6);
    assert.equal(outbox.finalFor(5)?.size, 5);
  });

  it("gives a slot up when another transaction of its key used it, and goes on from the ledger", async () => {
    const key = `0x${"5e".repeat(32)}` as const;
    const own = await bench.ledger({ key });
    const other = await bench.ledger({ key });
    const outbox = openOutbox(openDatabase(), own);
    outbox.submit(checkpoint(5));
    await outbox.step();
    await bench.ask("anvil_dropTransaction", outbox.current()!.transactions[0]);
    // A former self of this relay, whose tables were lost, had sent another checkpoint of the same log.
    const former = openOutbox(openDatabase(), other);
    former.submit(checkpoint(4));
    await untilFinal(bench, former, 4);
    const final = await untilFinal(bench, outbox, 5);
    assert.deepEqual(
      outbox.anchors(10).map(({ size, state }) => [size, state]),
      [
        [5, "final"],
        // The slot's own transaction never landed; what did land there is the former self's, and it is final.
        [4, "final"],
      ],
    );
    assert.equal(final.slot, 2);
  });

  it("adopts what the ledger holds when its tables were lost, without a second transaction", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await untilFinal(bench, outbox, 5);
    const restored = openOutbox(openDatabase(), ledger);
    restored.submit(checkpoint(5));
    const final = await untilFinal(bench, restored, 5);
    assert.deepEqual(final.transactions, []);
    restored.submit(checkpoint(6));
    await untilFinal(bench, restored, 6);
  });

  it("plans the slot anew when a reorganisation takes away what it had adopted", async () => {
    const former = openOutbox(openDatabase(), ledger);
    former.submit(checkpoint(4));
    await former.step();
    await bench.mine(2);
    const restored = openOutbox(openDatabase(), ledger);
    restored.submit(checkpoint(6));
    await restored.step();
    assert.deepEqual([restored.current()?.size, restored.current()?.transactions], [4, []]);
    await bench.ask("anvil_reorg", 3, []);
    await untilFinal(bench, restored, 6);
    assert.deepEqual(
      restored.anchors(10).map(({ slot, size, state }) => [slot, size, state]),
      [[1, 6, "final"]],
    );
  });

  it("signs the slot anew, at a higher price, when what it was planned from is gone", async () => {
    const database = openDatabase();
    const outbox = openOutbox(database, ledger);
    outbox.submit(checkpoint(5));
    await outbox.step();
    // As after a reorganisation that left another of this log's checkpoints on the ledger.
    const rolled: EvmLedger = Object.create(ledger, {
      view: {
        value: async () => {
          const view = await ledger.view();
          return view.ok ? { ok: true, value: { ...view.value, held: checkpoint(2) } } : view;
        },
      },
    });
    const again = openOutbox(database, rolled);
    assert.ok((await again.step()).ok);
    const rows = database.prepare("SELECT slot, old_size, size FROM anchor_transaction ORDER BY number").raw().all();
    assert.deepEqual(rows, [
      [1, 0, 5],
      [1, 2, 5],
    ]);
    await bench.ask("anvil_dropTransaction", again.current()!.transactions[1]);
    // The ledger as it really is: the second plan is wrong there, and is replaced in its turn.
    await untilFinal(bench, outbox, 5);
    assert.equal(outbox.anchors(10).length, 1);
  });

  it("stops when the ledger holds what this log never had, or has not reached", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await untilFinal(bench, outbox, 5);
    for (const stranger of [() => undefined, () => rootAt(999)]) {
      const other = openOutbox(openDatabase(), ledger, { rootAt: stranger });
      other.submit(checkpoint(6));
      const result = await other.step();
      assert.ok(!result.ok && result.failure.code === "LEDGER_CONFLICT");
      assert.equal(other.current(), undefined);
    }
  });

  it("refuses another chain, another contract, and a chain that lost a final anchor", async () => {
    const database = openDatabase();
    const outbox = openOutbox(database, ledger);
    outbox.submit(checkpoint(5));
    await untilFinal(bench, outbox, 5);
    const elsewhere = await openBench();
    try {
      const moved = await elsewhere.ledger({ key: `0x${"77".repeat(32)}` });
      Object.defineProperty(moved, "name", { value: ledger.name });
      const result = await openOutbox(database, moved).step();
      assert.ok(!result.ok && result.failure.code === "LEDGER_CHANGED", JSON.stringify(result));
    } finally {
      await elsewhere.close();
    }
    const forgetful: typeof ledger = Object.create(ledger, {
      view: {
        value: async () => {
          const view = await ledger.view();
          return view.ok ? { ok: true, value: { ...view.value, held: checkpoint(4) } } : view;
        },
      },
    });
    const result = await openOutbox(database, forgetful).step();
    assert.ok(!result.ok && result.failure.code === "LEDGER_CHANGED", JSON.stringify(result));
  });

  const steps: OutboxStep[] = ["signed", "persisted", "sent", "marked", "placed", "proved", "kept", "final"];
  for (const step of steps) {
    it(`survives a cut right after "${step}": one anchor, one slot, no second transaction`, async () => {
      const database = openDatabase();
      let cuts = 0;
      const fragile = openOutbox(database, ledger, {
        onStep: (now) => {
          if (now === step) {
            cuts++;
            throw new Cut();
          }
        },
      });
      fragile.submit(checkpoint(5));
      for (let round = 0; round < 20 && cuts === 0; round++) {
        await fragile.step().catch((error) => assert.ok(error instanceof Cut, String(error)));
        if (cuts === 0) await bench.mine();
      }
      assert.equal(cuts, 1);
      const outbox = openOutbox(database, ledger);
      outbox.submit(checkpoint(5));
      const final = await untilFinal(bench, outbox, 5);
      assert.equal(outbox.anchors(10).length, 1);
      assert.equal(final.transactions.length, 1);
      assert.equal(await bench.ask("eth_getTransactionCount", ledger.account, "latest"), "0x2");
    });
  }
});

class Cut extends Error {
  override name = "Cut";
}

async function heldSize(ledger: EvmLedger): Promise<number> {
  const view = await ledger.view();
  assert.ok(view.ok, view.ok ? "" : view.failure.detail);
  return view.value.held.size;
}
