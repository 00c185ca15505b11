import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Logger, pino } from "pino";
import { compileAnchor } from "../../hosts/evm/compile.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { findAnvil } from "../../hosts/relay/ledger/anvil.js";
import { type EvmArtifact, EvmLedger } from "../../hosts/relay/ledger/evm.js";
import { openLedgerKey } from "../../hosts/relay/ledger/key.js";
import { Relay, type RelayOptions } from "../../hosts/relay/relay.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { type Bench, openBench } from "../ledger/chain.js";
import { type NodeProxy, openProxy } from "../ledger/proxy.js";
import { failureOf, must, StartedRelay, temporaryFolder } from "./started.js";

const STATES = 4;
const ROUNDS_MAX = 100;
const LOOK_MS = 200;

/** A whole folder that is put back, lock and key's memory included, knows nothing of what it lost. The ledger does. */
describe("relay: what its ledger knows at the start", function () {
  this.timeout(120_000);
  let bench: Bench;
  let proxy: NodeProxy;
  let started: StartedRelay;
  let device: FixtureDevice;
  let artifact: EvmArtifact;
  let options: Pick<RelayOptions, "ledger">;
  const copies = temporaryFolder();
  const copyOf = (state: number) => join(copies.path, String(state));
  const signed = () => readFileSync(join(started.folder, "log", "key.signed"));

  before(async function () {
    const anvil = findAnvil();
    if (!anvil.ok) {
      console.log(`      skipped: ${anvil.failure.detail}`);
      this.skip();
    }
    artifact = must(await compileAnchor());
    bench = await openBench();
    proxy = await openProxy(bench.chain.url);
    options = { ledger: { kind: "evm", artifact, rpcUrl: proxy.url } };
    started = await StartedRelay.start();
    mkdirSync(pathsOf(started.folder).ledger);
    await bench.ask("anvil_setBalance", ledger().account, "0x56bc75e2d63100000");
    await started.restart(options);
    device = await started.device();
    for (let state = 0; state < STATES; state++) {
      device.appendReadings(3);
      device.read(await device.send(started.url, device.head.seq - 2), started.key);
      await started.settled();
      await anchored();
      await started.relay.close();
      cpSync(started.folder, copyOf(state), { recursive: true });
      await started.reopen(options);
    }
    await started.relay.close();
  });
  beforeEach(() => {
    proxy.behave = () => undefined;
    putBack(STATES - 1);
  });
  after(async () => {
    await proxy?.close();
    await bench?.close();
    rmSync(started.folder, { recursive: true, force: true });
    copies.remove();
  });

  /** The relay's own contract, asked without the proxy. */
  function ledger(): EvmLedger {
    const key = must(openLedgerKey(join(pathsOf(started.folder).ledger, "ledger.key")));
    return new EvmLedger({ rpcUrl: bench.chain.url, key, artifact });
  }

  /** Resolves once the contract holds the log's newest tree. */
  async function anchored(): Promise<void> {
    const asked = ledger();
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const newest = await asked.newest();
      if (newest.ok && newest.value?.view.held.size === started.relay.log.head.size) return;
      await bench.mine();
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    assert.fail("the ledger does not come to hold the log's newest tree");
  }

  function putBack(state: number, ...parts: string[]): void {
    for (const part of parts.length > 0 ? parts : [""]) {
      rmSync(join(started.folder, part), { recursive: true, force: true });
      cpSync(join(copyOf(state), part), join(started.folder, part), { recursive: true });
    }
  }

  const open = (logger?: Logger) => Relay.open({ dataDir: started.folder, ...options, ...(logger && { logger }) });

  it(`each of the ${STATES - 1} states before the newest, lock included, is refused, and nothing is signed`, async () => {
    for (let state = 0; state < STATES - 1; state++) {
      putBack(state);
      const before = signed();
      const { code, detail } = failureOf(await open());
      assert.equal(code, "LOG_BEHIND", detail);
      assert.match(detail, /of the ledger evm:0x[0-9a-f]{40} at block \d+/);
      assert.deepEqual(signed(), before);
    }
  });

  it("without the ledger such a state starts: it is the ledger's word that refuses", async () => {
    putBack(0);
    await must(await Relay.open({ dataDir: started.folder })).close();
  });

  it("an older database beside the newest log recovers forward", async () => {
    // Closed, it has no -wal.
    putBack(0, "store.sqlite");
    started.relay = must(await open());
    assert.equal(started.relay.store.countRecords(), device.chain.length);
    await started.relay.close();
  });

  it("another root at a size that the log had is refused as a second history", async () => {
    proxy.behave = (method) =>
      method === "eth_getStorageAt"
        ? { kind: "lie", lie: (slot) => (/^0x0{48}/.test(String(slot)) ? slot : `0x${"77".repeat(32)}`) }
        : undefined;
    assert.equal(failureOf(await open()).code, "LOG_FORKED");
  });

  for (const [what, behave] of [
    ["hangs", () => ({ kind: "hang" })],
    ["answers nothing but errors", () => ({ kind: "error", message: "overloaded" })],
    [
      "is another chain",
      (method: string) => (method === "eth_chainId" ? { kind: "lie", lie: () => "0x1" } : undefined),
    ],
  ] as const satisfies readonly (readonly [string, NodeProxy["behave"]])[])
    it(`one that ${what} is told of in the log, and the relay starts`, async () => {
      proxy.behave = behave;
      const lines: { readonly event?: string; readonly code?: string }[] = [];
      const logger = pino({ messageKey: "event" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
      const relay = must(await open(logger));
      const told = lines.filter(({ event }) => event === "ledger not heard");
      assert.deepEqual(
        told.map(({ code }) => code),
        [what === "is another chain" ? "LEDGER_CHANGED" : "LEDGER_UNREACHABLE"],
      );
      await relay.close();
    });

  it("and the newest state itself goes on", async () => {
    started.relay = must(await open());
    const { size } = started.relay.log.head;
    device.appendReading(20);
    device.read(await device.send(started.url, device.head.seq), started.key);
    await started.settled();
    assert.equal(started.relay.log.head.size, size + 1);
    await started.relay.close();
  });
});
