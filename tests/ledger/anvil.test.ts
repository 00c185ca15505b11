import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DevelopmentChain, type DevelopmentChainOptions, findAnvil } from "../../hosts/relay/ledger/anvil.js";
import { JsonRpc } from "../../hosts/relay/ledger/rpc.js";

describe("the development chain's process", () => {
  const root = mkdtempSync(join(tmpdir(), "tallystick-anvil-"));
  const open: DevelopmentChain[] = [];
  let dataDir: string;
  let folders = 0;

  beforeEach(() => {
    dataDir = join(root, String(folders++));
  });
  afterEach(async () => {
    for (const chain of open.splice(0)) await chain.close();
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  async function start(options: Partial<DevelopmentChainOptions> = {}): Promise<DevelopmentChain> {
    const started = await DevelopmentChain.start({ dataDir, blockMs: 20, ...options });
    assert.ok(started.ok, started.ok ? "" : started.failure.detail);
    open.push(started.value);
    return started.value;
  }

  async function ask(chain: DevelopmentChain, method: string, ...params: unknown[]): Promise<unknown> {
    const rpc = new JsonRpc({ url: chain.url });
    const answer = await rpc.call(method, params);
    assert.ok(answer.ok, answer.ok ? "" : answer.failure.detail);
    return answer.value;
  }

  const height = async (chain: DevelopmentChain) => Number(await ask(chain, "eth_blockNumber"));

  it("makes blocks until everything is final, then rests", async () => {
    const chain = await start();
    await until(async () => (await height(chain)) >= 12, "12 blocks");
    await delay(200);
    assert.equal(await height(chain), 12);
    const final = (await ask(chain, "eth_getBlockByNumber", "finalized", false)) as { number: string };
    assert.equal(Number(final.number), 12 - 8);
  });

  it("goes on where it stopped, as the same chain, in the present, and stops cleanly", async () => {
    const blocks = new Set<string>();
    // anvil made another block 0 at each start until it was told the first one's time.
    for (let starts = 0; starts < 3; starts++) {
      const chain = await start();
      await until(async () => (await height(chain)) >= 12 * (starts + 1), "12 more blocks");
      for (const number of ["0x0", "0x7"]) {
        const block = (await ask(chain, "eth_getBlockByNumber", number, false)) as { hash: string };
        blocks.add(block.hash);
      }
      const latest = (await ask(chain, "eth_getBlockByNumber", "latest", false)) as { timestamp: string };
      assert.ok(Math.abs(Number(latest.timestamp) - Date.now() / 1000) < 5, "block time is wall time");
      const { pid } = chain;
      await chain.close();
      assert.ok(!isAlive(pid));
      assert.ok(!existsSync(join(dataDir, "chain.pid")));
      // Block times have whole seconds: the next start must be in another one.
      await delay(1_100);
    }
    assert.equal(blocks.size, 2);
  });

  it("is brought back on the same address when it is killed", async () => {
    const notices: string[] = [];
    const chain = await start({ onNotice: (text) => notices.push(text) });
    await until(async () => (await height(chain)) >= 12, "12 blocks");
    await until(() => existsSync(join(dataDir, "chain.json")), "a state file");
    const { pid, url } = chain;
    process.kill(pid!, "SIGKILL");
    await until(() => chain.pid !== undefined && chain.pid !== pid, "another process");
    await until(async () => (await new JsonRpc({ url }).call("eth_blockNumber", [])).ok, "an answer");
    assert.equal(chain.url, url);
    assert.match(notices.join(), /ended \(signal SIGKILL\)/);
  });

  it("gives up after a bounded number of restarts", async () => {
    let failed = "";
    const chain = await start({ onFailed: (failure) => (failed = failure.code) });
    for (let kills = 0; kills < 10 && failed === ""; kills++) {
      const { pid } = chain;
      if (pid !== undefined) process.kill(pid, "SIGKILL");
      await until(() => failed !== "" || (chain.pid !== undefined && chain.pid !== pid), "a restart or the end");
    }
    assert.equal(failed, "LEDGER_START_FAILED");
  });

  it("falls back to the kept state when the file is torn and no final anchor is lost", async () => {
    const first = await start();
    await until(async () => (await height(first)) >= 12, "12 blocks");
    assert.deepEqual(await first.keep(10), { ok: true, value: undefined });
    await first.close();
    const file = join(dataDir, "chain.json");
    truncateSync(file, Math.floor(readFileSync(file).length / 2));
    const notices: string[] = [];
    const second = await start({ neededBlock: 10, onNotice: (text) => notices.push(text) });
    assert.ok((await height(second)) >= 10);
    assert.match(notices.join(), /is damaged.*no final anchor is lost/);
  });

  for (const damage of ["torn", "gone"] as const) {
    it(`refuses when the file is ${damage} and the kept one lacks a final anchor, and touches nothing`, async () => {
      const first = await start();
      await until(async () => (await height(first)) >= 12, "12 blocks");
      await first.keep(5);
      await first.close();
      const file = join(dataDir, "chain.json");
      if (damage === "torn") truncateSync(file, 1_000);
      else rmSync(file);
      const before = existsSync(file) && readFileSync(file);
      const refused = await DevelopmentChain.start({ dataDir, neededBlock: 1_000 });
      assert.ok(!refused.ok);
      assert.equal(refused.failure.code, "LEDGER_STATE_DAMAGED");
      assert.match(refused.failure.detail, /block 1000/);
      assert.deepEqual(existsSync(file) && readFileSync(file), before);
    });
  }

  it("refuses to start a new chain in place of one that held final anchors", async () => {
    const refused = await DevelopmentChain.start({ dataDir, neededBlock: 1 });
    assert.ok(!refused.ok && refused.failure.code === "LEDGER_STATE_DAMAGED");
  });

  it("refuses a second relay on one folder, and dies with the first when that is killed", async () => {
    const relay = await startInChild(dataDir);
    const refused = await DevelopmentChain.start({ dataDir });
    assert.ok(!refused.ok);
    assert.equal(refused.failure.code, "LEDGER_START_FAILED");
    assert.match(refused.failure.detail, /runs a relay/);
    assert.ok(isAlive(relay.chainPid));
    relay.kill();
    await until(() => !isAlive(relay.chainPid), "the chain's end");
    // Asked to end, it has written its state whole: the next start needs no fallback.
    const notices: string[] = [];
    await start({ onNotice: (text) => notices.push(text) });
    assert.deepEqual(notices, []);
  });

  it("lets no page in a browser drive the chain", async () => {
    const chain = await start();
    const response = await fetch(chain.url, { method: "OPTIONS", headers: { origin: "https://example.org" } });
    assert.equal(response.headers.get("access-control-allow-origin"), null);
  });

  it("ends a chain that an earlier relay left behind, and no process that only has its number", async () => {
    const binary = findAnvil();
    assert.ok(binary.ok);
    mkdirSync(dataDir, { recursive: true });
    const stateFile = join(dataDir, "chain.json");
    // An orphan as it stays where no shell can wait beside it: its recorded owner is gone.
    const orphan = spawn(binary.value, ["--port", "0", "--state", stateFile, "--quiet"], { stdio: "ignore" });
    const bystander = spawn("sleep", ["60"], { stdio: "ignore" });
    const note = (pid: number | undefined) =>
      writeFileSync(join(dataDir, "chain.pid"), JSON.stringify({ pid, owner: 0x7ffffff0, stateFile }));
    try {
      note(bystander.pid);
      await (await start()).close();
      assert.ok(isAlive(bystander.pid));
      note(orphan.pid);
      await until(() => readFileSync(`/proc/${orphan.pid}/cmdline`, "utf8").includes(stateFile), "the orphan's start");
      await start();
      await until(() => orphan.exitCode !== null || orphan.signalCode !== null, "the orphan's end");
    } finally {
      orphan.kill("SIGKILL");
      bystander.kill("SIGKILL");
    }
  });

  it("names what is missing in one line", () => {
    const unknown = findAnvil("aix", "ppc64");
    assert.ok(!unknown.ok && unknown.failure.code === "LEDGER_BINARY_MISSING");
    const absent = findAnvil("darwin", process.arch === "arm64" ? "x64" : "arm64");
    assert.ok(!absent.ok && /anvil-darwin-a/.test(absent.failure.detail));
  });

  it("says so when the folder cannot be made", async () => {
    writeFileSync(dataDir, "a file");
    const refused = await DevelopmentChain.start({ dataDir });
    assert.ok(!refused.ok && refused.failure.code === "LEDGER_START_FAILED");
  });
});

const POLL_MS = 10;
const LIMIT_MS = 15_000;

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `waited ${LIMIT_MS} ms for ${what}`);
    await delay(POLL_MS);
  }
}

function isAlive(pid: number | undefined): boolean {
  try {
    if (pid === undefined) return false;
    // A process that ended and was not waited for has no command line.
    return process.platform === "linux" ? readFileSync(`/proc/${pid}/cmdline`).length > 0 : process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** A relay of its own process, as far as the chain can tell. */
async function startInChild(dataDir: string): Promise<{ chainPid: number; kill: () => void }> {
  const script = `
    const { DevelopmentChain } = await import(${JSON.stringify(new URL("../../hosts/relay/ledger/anvil.ts", import.meta.url).href)});
    const started = await DevelopmentChain.start({ dataDir: ${JSON.stringify(dataDir)}, blockMs: 20 });
    console.log(started.ok ? started.value.pid : JSON.stringify(started.failure));
  `;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").once("data", resolve);
    child.once("exit", (code) => reject(new Error(`the relay ended with ${code}`)));
  });
  assert.match(line, /^\d+\n$/);
  return { chainPid: Number(line), kill: () => child.kill("SIGKILL") };
}
