import assert from "node:assert/strict";
import fc from "fast-check";
import type { EvmLedger } from "../../hosts/relay/ledger/evm.js";
import { RPC_MAX_ANSWER_BYTES } from "../../hosts/relay/ledger/rpc.js";
import { type Bench, checkpoint, openBench, openDatabase, openOutbox, rootAt, untilFinal } from "./chain.js";
import { type Misbehaviour, type NodeProxy, openProxy } from "./proxy.js";

/** Long enough for an honest answer on a busy machine, short enough to wait for twice. */
const TIMEOUT_MS = 1_000;

describe("the outbox behind a node that hangs, errs and lies", () => {
  let bench: Bench;
  let proxy: NodeProxy;
  let ledger: EvmLedger;

  before(async () => {
    bench = await openBench();
    proxy = await openProxy(bench.chain.url);
  });
  beforeEach(async () => {
    proxy.behave = () => undefined;
    ledger = await bench.ledger({ rpcUrl: proxy.url, timeoutMs: TIMEOUT_MS });
    proxy.asked.length = 0;
  });
  after(async () => {
    await proxy?.close();
    await bench?.close();
  });

  const troubles: [string, Misbehaviour, RegExp][] = [
    ["hangs", { kind: "hang" }, /no answer within 1000 ms/],
    ["cuts the connection", { kind: "drop" }, /fetch failed/],
    ["is behind a gateway that fails", { kind: "status", status: 502, body: "<html>" }, /not JSON/],
    ["answers something else", { kind: "status", status: 200, body: '{"id":0,"result":1}' }, /another question/],
    ["answers nothing", { kind: "status", status: 200, body: "" }, /not JSON/],
    ["never ends its answer", { kind: "endless" }, new RegExp(`more than ${RPC_MAX_ANSWER_BYTES} bytes|1000 ms`)],
    ["refuses", { kind: "error", message: `header not found ${"x".repeat(5_000)}` }, /^.{0,400}$/],
  ];
  for (const [what, misbehaviour, expected] of troubles) {
    it(`reports a node that ${what}, once, changes nothing, and goes on when it is well again`, async () => {
      const seen: (string | undefined)[] = [];
      const database = openDatabase();
      const outbox = openOutbox(database, ledger, { onTrouble: (failure) => seen.push(failure?.detail) });
      outbox.submit(checkpoint(5));
      proxy.behave = () => misbehaviour;
      for (let i = 0; i < 2; i++) {
        const result = await outbox.step();
        assert.ok(!result.ok && result.failure.code === "LEDGER_UNREACHABLE");
      }
      assert.equal(database.prepare("SELECT count(*) FROM anchor_transaction").pluck().get(), 0);
      proxy.behave = () => undefined;
      await untilFinal(bench, outbox, 5);
      assert.equal(seen.length, 2);
      assert.match(seen[0]!, expected);
      assert.equal(seen[1], undefined);
    });
  }

  it("sends nothing twice when the answer to sending is lost", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    proxy.behave = (method) => (method === "eth_sendRawTransaction" ? { kind: "deaf" } : undefined);
    assert.ok(!(await outbox.step()).ok);
    assert.equal(outbox.current()?.state, "signed");
    proxy.behave = () => undefined;
    await outbox.step();
    assert.equal(outbox.current()?.state, "submitted");
    const final = await untilFinal(bench, outbox, 5);
    assert.equal(final.transactions.length, 1);
    assert.equal(await bench.ask("eth_getTransactionCount", ledger.account, "latest"), "0x2");
  });

  it("survives any sequence of troubles at any request: one slot an anchor, final in the end", async () => {
    const kinds: Misbehaviour[] = [
      { kind: "drop" },
      { kind: "deaf" },
      { kind: "status", status: 500, body: "" },
      { kind: "error", message: "header not found" },
      { kind: "lie", lie: () => null },
      { kind: "lie", lie: () => "0x1" },
      { kind: "lie", lie: () => ({}) },
    ];
    const database = openDatabase();
    // Which ledger it is, the outbox learns at its first contact, and holds on to: a lie about that is never final.
    let size = 1;
    proxy.behave = () => undefined;
    const first = openOutbox(database, ledger);
    first.submit(checkpoint(size));
    await untilFinal(bench, first, size);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(fc.constantFrom(...kinds)), { minLength: 40, maxLength: 40 }),
        async (plan) => {
          let at = 0;
          proxy.behave = () => plan[at++] ?? undefined;
          size++;
          const outbox = openOutbox(database, ledger);
          outbox.submit(checkpoint(size));
          await untilFinal(bench, outbox, size, 120);
          assert.equal(outbox.anchors(100).filter((anchor) => anchor.state === "final").length, size);
          const nonce = Number(await bench.ask("eth_getTransactionCount", ledger.account, "latest"));
          assert.equal(nonce, size + 1, "the deployment and one transaction an anchor");
        },
      ),
      { numRuns: 5, endOnFailure: true },
    );
  });

  const lies: [string, string, (result: unknown) => unknown, string][] = [
    [
      "a header that is not the block's",
      "eth_getBlockByNumber",
      set("stateRoot", `0x${"ab".repeat(32)}`),
      "LEDGER_LIES",
    ],
    ["a block without fields", "eth_getBlockByNumber", () => ({}), "LEDGER_LIES"],
    ["a nonce that is none", "eth_getTransactionCount", () => "many", "LEDGER_LIES"],
    ["a size out of range", "eth_getStorageAt", () => `0x${"ff".repeat(32)}`, "LEDGER_LIES"],
    ["a root that is not ours", "eth_getStorageAt", () => `0x${"00".repeat(31)}07`, "LEDGER_CONFLICT"],
    ["another chain", "eth_chainId", () => "0x1", "LEDGER_CHANGED"],
    ["no contract", "eth_getCode", () => "0x", "LEDGER_CHANGED"],
    ["another relay's contract", "eth_call", () => `0x${"22".repeat(32)}`, "LEDGER_REJECTED"],
  ];
  it("believes nothing of a node that contradicts the tables, the log or itself", async () => {
    const database = openDatabase();
    const outbox = openOutbox(database, ledger);
    outbox.submit(checkpoint(5));
    await untilFinal(bench, outbox, 5);
    const rows = database.prepare("SELECT * FROM anchor").all();
    for (const [what, method, lie, code] of lies) {
      const again = openOutbox(database, ledger);
      again.submit(checkpoint(6));
      proxy.behave = (asked) => (asked === method ? { kind: "lie", lie } : undefined);
      const result = await again.step();
      assert.ok(!result.ok, what);
      assert.equal(result.failure.code, code, `${what}: ${result.failure.detail}`);
      assert.deepEqual(database.prepare("SELECT * FROM anchor").all(), rows, what);
    }
    proxy.behave = () => undefined;
    await untilFinal(bench, outbox, 5);
  });

  const proofLies: [string, (result: unknown) => unknown][] = [
    ["another size", setSlot(0, "value", "0x6")],
    ["another root", setSlot(1, "value", `0x${"cd".repeat(32)}`)],
    ["no nodes", setSlot(0, "proof", [])],
    ["nodes of another tree", setSlot(1, "proof", ["0xc0"])],
    ["no account", set("accountProof", ["0xc0"])],
    ["no storage", set("storageProof", [])],
    ["nothing", () => null],
  ];
  it("calls nothing final on a proof that does not verify", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await outbox.step();
    await bench.mine(12);
    for (const [what, lie] of proofLies) {
      proxy.behave = (asked) => (asked === "eth_getProof" ? { kind: "lie", lie } : undefined);
      const result = await outbox.step();
      assert.ok(!result.ok && result.failure.code === "LEDGER_LIES", `${what}: ${JSON.stringify(result)}`);
      assert.equal(outbox.current()?.state, "included", what);
    }
    proxy.behave = () => undefined;
    await untilFinal(bench, outbox, 5);
  });

  it("calls nothing final when only receipts say so", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await outbox.step();
    proxy.behave = (asked) =>
      asked === "eth_getTransactionReceipt"
        ? { kind: "lie", lie: () => ({ blockNumber: "0x1", status: "0x1" }) }
        : undefined;
    for (let i = 0; i < 3; i++) await outbox.step();
    assert.equal(outbox.newestFinal(), undefined);
    proxy.behave = () => undefined;
    await untilFinal(bench, outbox, 5);
  });

  it("waits for a node that lags behind what was final", async () => {
    const database = openDatabase();
    const outbox = openOutbox(database, ledger);
    outbox.submit(checkpoint(5));
    await untilFinal(bench, outbox, 5);
    const genesis = await bench.ask("eth_getBlockByNumber", "0x0", false);
    let blocks = 0;
    proxy.behave = (asked) =>
      // The genesis block, then the latest, then the finalized one.
      asked === "eth_getBlockByNumber" && ++blocks === 3 ? { kind: "lie", lie: () => genesis } : undefined;
    const again = openOutbox(database, ledger);
    const result = await again.step();
    assert.ok(!result.ok && result.failure.code === "LEDGER_LIES" && /lags/.test(result.failure.detail));
  });

  it("waits while gas is dearer than it may be, and for an account without funds", async () => {
    const dear = await bench.ledger({ maxFeePerGas: 1n });
    const outbox = openOutbox(openDatabase(), dear);
    outbox.submit(checkpoint(5));
    const refused = await outbox.step();
    assert.ok(!refused.ok && refused.failure.code === "LEDGER_REJECTED" && /1$/.test(refused.failure.detail));

    const poor = await bench.ledger({ developmentFunds: false });
    await bench.ask("anvil_setBalance", poor.account, "0x0");
    const second = openOutbox(openDatabase(), poor);
    second.submit(checkpoint(5));
    const unpaid = await second.step();
    assert.ok(!unpaid.ok && unpaid.failure.code === "LEDGER_REJECTED", JSON.stringify(unpaid));
    await bench.ask("anvil_setBalance", poor.account, "0xde0b6b3a7640000");
    await untilFinal(bench, second, 5);
  });

  it("waits for a proof that the node does not give yet", async () => {
    const outbox = openOutbox(openDatabase(), ledger);
    outbox.submit(checkpoint(5));
    await outbox.step();
    await bench.mine(12);
    proxy.behave = (asked) => (asked === "eth_getProof" ? { kind: "error", message: "missing trie node" } : undefined);
    assert.deepEqual(await outbox.step(), { ok: true, value: "waiting" });
    assert.equal(outbox.current()?.state, "included");
    proxy.behave = () => undefined;
    await untilFinal(bench, outbox, 5);
  });

  it("runs by itself, and stops at once in the middle of a request", async () => {
    let finals = 0;
    const outbox = openOutbox(openDatabase(), ledger, {
      pollMs: 20,
      onChange: ({ state }) => {
        if (state === "final") finals++;
      },
    });
    outbox.start();
    outbox.submit(checkpoint(5));
    const deadline = performance.now() + 10_000;
    while (finals === 0 && performance.now() < deadline) await bench.mine();
    assert.equal(finals, 1);
    assert.deepEqual(outbox.newestFinal()?.root, rootAt(5));
    proxy.behave = () => ({ kind: "hang" });
    outbox.submit(checkpoint(6));
    const startMs = performance.now();
    await outbox.close();
    assert.ok(performance.now() - startMs < TIMEOUT_MS, "the request was cut off, not waited for");
  });
});

function set(name: string, value: unknown): (result: unknown) => unknown {
  return (result) => ({ ...(result as object), [name]: value });
}

function setSlot(index: number, name: string, value: unknown): (result: unknown) => unknown {
  return (result) => {
    const answer = result as { storageProof: object[] };
    const storageProof = answer.storageProof.map((slot, i) => (i === index ? { ...slot, [name]: value } : slot));
    return { ...answer, storageProof };
  };
}
