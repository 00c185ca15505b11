import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { endStale, forgetProcess, rememberProcess } from "./anvil-process.js";
import { AnvilState } from "./anvil-state.js";
import { numberOf } from "./evm-block.js";
import { isObject, JsonRpc } from "./rpc.js";

/**
 * The embedded development chain: one anvil process on loopback with its state in the relay's data folder. It is an EVM
 * chain in everything that the outbox and the contract see (signatures, gas, blocks, finality, proofs), and no ledger in
 * what matters: one party makes its blocks and can rewrite them. Its anchors show that the path works; they convince
 * no one who does not trust this machine.
 */
export interface DevelopmentChainOptions {
  /** Folder for state, pid and nothing else; made where missing. */
  readonly dataDir: string;
  /** The newest block that a final anchor stands on; 0 where there is none. The chain must not start without it. */
  readonly neededBlock?: number;
  /** Time between two blocks. */
  readonly blockMs?: number;
  /** Something worth telling an operator that stops nothing. */
  readonly onNotice?: (text: string) => void;
  /** The chain ended and could not be brought back. */
  readonly onFailed?: (failure: Failure) => void;
}

export const ANVIL_CHAIN_ID = 31337;
export const ANVIL_BLOCK_MS = 1_000;
/** A block is final once two epochs follow it. */
const SLOTS_IN_AN_EPOCH = 4;
/**
 * Blocks that are made after the last one with a transaction, then none: anvil's state file grows by 1.7 KB a block,
 * and it writes all of it each time. Also at each start, since anvil proves only states of blocks of its own run.
 */
const BLOCKS_TO_FINALITY = 2 * SLOTS_IN_AN_EPOCH + 4;
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;
const READY_POLL_MS = 20;
const MAX_RESTARTS = 5;
/** Restarts before this long a life count together. */
const STABLE_LIFE_MS = 60_000;
/** Tries for a whole state file while anvil keeps writing it. */
const KEEP_TRIES = 20;
const KEEP_RETRY_MS = 100;
const STATE_LARGE_BYTES = 64 * 1024 * 1024;
/** What is remembered of what anvil printed. */
const OUTPUT_MAX_CHARACTERS = 2_000;

/** What npm calls the platforms that @foundry-rs/anvil is built for. */
const PLATFORMS: Readonly<Record<string, string>> = {
  "linux x64": "linux-amd64",
  "linux arm64": "linux-arm64",
  "darwin x64": "darwin-amd64",
  "darwin arm64": "darwin-arm64",
  "win32 x64": "win32-amd64",
};

/** The binary of this platform's optional package. npm's own wrapper would leave the chain running when it is ended. */
export function findAnvil(platform: string = process.platform, arch: string = process.arch): Result<string> {
  const name = PLATFORMS[`${platform} ${arch}`];
  if (name === undefined)
    return fail("LEDGER_BINARY_MISSING", `@foundry-rs/anvil has no build for ${platform} ${arch}`);
  try {
    // The optional package is installed beside, or below, the package that names it.
    const wrapper = createRequire(import.meta.url).resolve("@foundry-rs/anvil/package.json");
    const manifest = createRequire(wrapper).resolve(`@foundry-rs/anvil-${name}/package.json`);
    const binary = join(dirname(manifest), "bin", platform === "win32" ? "anvil.exe" : "anvil");
    if (existsSync(binary)) return ok(binary);
  } catch {
    return fail("LEDGER_BINARY_MISSING", `@foundry-rs/anvil-${name} is not in node_modules`);
  }
  return fail("LEDGER_BINARY_MISSING", `@foundry-rs/anvil-${name} holds no program`);
}

export class DevelopmentChain {
  private child: ChildProcess | undefined;
  private rpc: JsonRpc;
  private output = "";
  private closing = false;
  private restarts = 0;
  private startedMs = 0;
  private emptyBlocks = 0;
  private neededBlock: number;
  private mining: NodeJS.Timeout | undefined;
  private readonly state: AnvilState;

  /** Starts the chain, or a typed reason why not: LEDGER_BINARY_MISSING, LEDGER_STATE_DAMAGED, LEDGER_START_FAILED. */
  static async start(options: DevelopmentChainOptions): Promise<Result<DevelopmentChain>> {
    const binary = findAnvil();
    if (!binary.ok) return binary;
    try {
      mkdirSync(options.dataDir, { recursive: true });
    } catch (error) {
      return fail("LEDGER_START_FAILED", `the folder ${options.dataDir} cannot be made: ${String(error)}`);
    }
    const stale = await endStale(options.dataDir);
    if (!stale.ok) return stale;
    const chain = new DevelopmentChain(options, binary.value, await freePort());
    const started = await chain.launch();
    return started.ok ? ok(chain) : started;
  }

  private constructor(
    private readonly options: DevelopmentChainOptions,
    private readonly binary: string,
    private readonly port: number,
  ) {
    this.neededBlock = options.neededBlock ?? 0;
    this.state = new AnvilState(join(options.dataDir, "chain.json"));
    this.rpc = new JsonRpc({ url: this.url });
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The chain's process, while it runs. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /**
   * Makes sure that the kept copy of the state holds the block: for the outbox, before it calls an anchor final. Fails
   * with LEDGER_UNREACHABLE while anvil has not written it; asked again at the outbox's next step.
   */
  async keep(block: number): Promise<Result<void>> {
    for (let tries = 0; tries < KEEP_TRIES; tries++) {
      const kept = this.state.keep();
      if (kept !== undefined && kept >= block) {
        // Whatever brings the chain back from now on must bring this block back.
        this.neededBlock = Math.max(this.neededBlock, block);
        return ok(undefined);
      }
      await delay(KEEP_RETRY_MS);
    }
    return fail("LEDGER_UNREACHABLE", `the chain has not written block ${block} to its state file yet`);
  }

  /** Ends the chain; it writes its state first. */
  async close(): Promise<void> {
    this.closing = true;
    clearTimeout(this.mining);
    const child = this.child;
    if (child !== undefined) await end(child);
    this.rpc.close();
    forgetProcess(this.options.dataDir);
  }

  private async launch(): Promise<Result<void>> {
    const recovered = this.state.recover(this.neededBlock);
    if (!recovered.ok) return recovered;
    const { notice, genesisSeconds = nowSeconds() } = recovered.value;
    if (notice !== undefined) this.options.onNotice?.(notice);
    this.output = "";
    this.startedMs = performance.now();
    this.emptyBlocks = 0;
    const child = spawnTied(this.binary, [
      ...["--host", "127.0.0.1", "--port", String(this.port), "--chain-id", String(ANVIL_CHAIN_ID)],
      ...["--state", this.state.file, "--state-interval", "1", "--timestamp", String(genesisSeconds)],
      ...["--slots-in-an-epoch", String(SLOTS_IN_AN_EPOCH), "--no-mining", "--accounts", "1", "--quiet"],
      // Or any page in a browser on this machine could drive the chain.
      "--no-cors",
    ]);
    this.child = child;
    const remember = (text: string) => {
      this.output = `${this.output}${text}`.slice(-OUTPUT_MAX_CHARACTERS);
    };
    child.stdout?.setEncoding("utf8").on("data", remember);
    child.stderr?.setEncoding("utf8").on("data", remember);
    child.on("error", (error) => remember(error.message));
    const exited = new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    if (child.pid !== undefined) rememberProcess(this.options.dataDir, child.pid, this.state.file);
    const ready = await Promise.race([this.ready(child), exited.then(() => this.startFailed("it ended"))]);
    if (!ready.ok) {
      this.child = undefined;
      await end(child);
      return ready;
    }
    void exited.then(() => this.ended(child));
    this.mineLater();
    return ok(undefined);
  }

  /** Ready is what answers, with our chain id: another program may have taken the port. */
  private async ready(child: ChildProcess): Promise<Result<void>> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
      const version = await this.rpc.call("web3_clientVersion", []);
      if (version.ok) {
        if (!String(version.value).startsWith("anvil/")) return this.startFailed(`${this.url} is ${version.value}`);
        return this.setTime();
      }
      await delay(READY_POLL_MS);
    }
    return this.startFailed(`no answer within ${START_TIMEOUT_MS} ms`);
  }

  /** Told when it began, anvil counts on from there: it has to be told the time too, and never an earlier one. */
  private async setTime(): Promise<Result<void>> {
    const latest = await this.rpc.call("eth_getBlockByNumber", ["latest", false]);
    const seconds = latest.ok && isObject(latest.value) ? numberOf(latest.value["timestamp"]) : undefined;
    if (seconds === undefined) return this.startFailed("it tells no latest block");
    const set = await this.rpc.call("anvil_setTime", [Math.max(nowSeconds(), seconds)]);
    return set.ok ? ok(undefined) : set;
  }

  private startFailed(detail: string): Result<never> {
    return fail("LEDGER_START_FAILED", `${detail}; it printed: ${this.output.trim() || "nothing"}`);
  }

  /** It ended by itself: bring it back on the same port, so that nobody else has to learn of it. */
  private async ended(child: ChildProcess): Promise<void> {
    if (this.child !== child) return;
    this.child = undefined;
    clearTimeout(this.mining);
    if (this.closing) return;
    if (performance.now() - this.startedMs >= STABLE_LIFE_MS) this.restarts = 0;
    if (this.restarts++ >= MAX_RESTARTS) {
      this.options.onFailed?.(this.failureOf(`it ended ${this.restarts} times`));
      return;
    }
    this.options.onNotice?.(`the development chain ended (${describeExit(child)}); starting it again`);
    const started = await this.launch();
    if (!started.ok) this.options.onFailed?.(started.failure);
  }

  private failureOf(detail: string): Failure {
    const result = this.startFailed(detail);
    return result.ok ? { code: "LEDGER_START_FAILED", detail } : result.failure;
  }

  private mineLater(): void {
    if (this.closing) return;
    this.mining = setTimeout(
      () => void this.mine().then(() => this.mineLater()),
      this.options.blockMs ?? ANVIL_BLOCK_MS,
    );
    this.mining.unref();
  }

  /** One block, unless all transactions are final and none waits. */
  private async mine(): Promise<void> {
    if (this.child === undefined) return;
    if (this.emptyBlocks >= BLOCKS_TO_FINALITY) {
      const pool = await this.rpc.call("txpool_status", []);
      if (!pool.ok || !isObject(pool.value) || (numberOf(pool.value["pending"]) ?? 0) === 0) return;
    }
    const mined = await this.rpc.call("evm_mine", []);
    if (!mined.ok) return;
    // Asked of the block itself: a transaction may have come after any look into the pool.
    const count = await this.rpc.call("eth_getBlockTransactionCountByNumber", ["latest"]);
    this.emptyBlocks = count.ok && numberOf(count.value) === 0 ? this.emptyBlocks + 1 : 0;
    if (this.emptyBlocks === BLOCKS_TO_FINALITY) this.tellSize();
  }

  private tellSize(): void {
    const { file } = this.state;
    if (!existsSync(file)) return;
    const { size } = statSync(file);
    if (size < STATE_LARGE_BYTES) return;
    this.options.onNotice?.(`${file} has ${size} bytes and grows: a development chain is not for long running`);
  }
}

/**
 * Starts a process whose life is tied to this one: a small shell waits beside it on a pipe from here, and ends it when
 * the pipe closes without a word, as it does when this process is killed. The chain itself takes the shell's place
 * (exec), so pid, signals and exit are its own. It gets its own process group: Ctrl-C in the terminal reaches the relay,
 * which ends the chain last. Windows has no such shell; there the next start ends what was left.
 */
function spawnTied(binary: string, parameters: readonly string[]): ChildProcess {
  if (process.platform === "win32") return spawn(binary, parameters, { stdio: ["pipe", "pipe", "pipe"] });
  const script = 'exec 3<&0; (read -r word <&3 || kill -TERM $$) >/dev/null 2>&1 & exec "$0" "$@" </dev/null 3<&-';
  const child = spawn("/bin/sh", ["-c", script, binary, ...parameters], {
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  // The word lets the waiting shell go without ending a process that may have got the same number since.
  child.once("exit", () => child.stdin?.end("ended\n"));
  child.stdin?.on("error", () => undefined);
  return child;
}

/** Asks the process to end, then makes it. */
async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function describeExit(child: ChildProcess): string {
  return child.signalCode === null ? `exit ${child.exitCode}` : `signal ${child.signalCode}`;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
