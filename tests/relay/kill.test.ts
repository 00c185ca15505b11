import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { follow, openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { parseVerifierKey, type VerifierKey } from "tallystick/log/note";
import { recordId } from "tallystick/record/record";
import { type Acknowledgement, splitRecords } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { Relay } from "../../hosts/relay/relay.js";
import { buildThread } from "../../hosts/relay/verify/build-thread.js";
import { FixtureDevice, get } from "../fixtures/device.js";
import { must, ORIGIN, temporaryFolder } from "./started.js";

/**
 * Kills the relay's process at random moments while two devices send. What was acknowledged must be there afterwards,
 * byte for byte and at its place in the log, and every checkpoint that a device was told of must continue the one before.
 * SEED=… reruns one run's moments and batches; how far the process came by then is the machine's.
 */
const KILLS = 20;
const KILL_MAX_MS = 150;
const START_MAX_MS = 20_000;
const LOADED_AHEAD = 2;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

describe("relay: killed", () => {
  let bundle: string;
  let child: ChildProcess | undefined;
  const loaded: ChildProcess[] = [];

  before(async () => {
    // Bundled once, so that twenty starts do not each compile: inside the project, where the packages are found.
    bundle = mkdtempSync(join(ROOT, "node_modules", ".relay-child-"));
    await build({
      entryPoints: [join(ROOT, "tests/relay/relay-child.ts")],
      outdir: bundle,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      // What the relay loads late, its ledger's library, stays out of these starts.
      splitting: true,
      platform: "node",
      format: "esm",
      external: ["better-sqlite3", "sodium-native", "fastify", "pino", "viem", "esbuild", "prom-client", "mqtt"],
      logLevel: "error",
    });
    writeFileSync(join(bundle, "thread.cjs"), buildThread());
    for (let i = 0; i < LOADED_AHEAD; i++) loadChild();
  });
  after(() => {
    for (const each of [...loaded, child]) each?.kill("SIGKILL");
    rmSync(bundle, { recursive: true, force: true });
  });

  /** Processes are loaded ahead of their turn: loading takes longer than all else here. */
  function loadChild(): void {
    const script = join(bundle, "relay-child.mjs");
    loaded.push(spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "pipe"] }));
  }

  async function startChild(folder: string): Promise<string> {
    child = loaded.shift()!;
    loadChild();
    let complaint = "";
    child.stderr!.on("data", (data: Buffer) => {
      complaint += data.toString();
    });
    const timer = setTimeout(() => child?.kill("SIGKILL"), START_MAX_MS);
    const exited = once(child, "exit").then(() => Promise.reject(new Error(`the relay did not start: ${complaint}`)));
    exited.catch(() => undefined);
    child.stdin!.write(`${folder}\n`);
    const [url] = await Promise.race([once(createInterface({ input: child.stdout! }), "line"), exited]);
    clearTimeout(timer);
    return url as string;
  }

  it(`keeps all it has acknowledged, ${KILLS} times`, async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
    const random = xorshift(seed);
    const folder = temporaryFolder();
    try {
      const identity = must(await Relay.initialise(folder.path, { origin: ORIGIN }));
      const key = fromHex(identity.publicKey)!;
      const logKey = must(parseVerifierKey(relayCrypto.sha256, identity.logKey));
      const senders = [0, 1].map(() => new Sender(new FixtureDevice({ crypto: relayCrypto }), key, logKey));
      let killedWhileSending = 0;
      for (let kill = 0; kill <= KILLS; kill++) {
        const url = await startChild(folder.path);
        for (const sender of senders) await sender.check(url, folder.path);
        if (kill === KILLS) break;
        // Of two lives one is cut soon after its start, whatever it has come to, the other once it has answered a batch: how
        // long a process takes to its first answer is the machine's.
        const moment = random() * KILL_MAX_MS;
        let begin = (): void => undefined;
        const begun = kill % 2 === 0 ? Promise.resolve() : new Promise<void>((resolve) => (begin = resolve));
        const sending = senders.map((sender) => sender.sendUntilCut(url, random, () => begin()));
        await Promise.race([begun, Promise.all(sending)]);
        await new Promise((resolve) => setTimeout(resolve, moment));
        child!.kill("SIGKILL");
        const cuts = await Promise.all(sending);
        killedWhileSending += cuts.filter(Boolean).length;
        if (child!.exitCode === null && child!.signalCode === null) await once(child!, "exit");
      }
      const sent = senders.map(({ acknowledged }) => acknowledged);
      assert.ok(killedWhileSending >= KILLS / 2, `only ${killedWhileSending} requests were cut off`);
      assert.ok(Math.min(...sent) > KILLS, `only ${sent.join(" and ")} records were acknowledged`);
    } catch (error) {
      throw new Error(`SEED=${seed} npx mocha tests/relay/kill.test.ts reruns this`, { cause: error });
    } finally {
      child?.kill("SIGKILL");
      folder.remove();
    }
  });
});

/** A device that sends as fast as it is answered, and remembers all that it was promised. */
class Sender {
  /** Highest position that was ever acknowledged as received. */
  acknowledged = -1;
  readonly #device: FixtureDevice;
  readonly #key: Uint8Array;
  readonly #logKey: VerifierKey;
  readonly #indices = new Map<string, number>();
  #logged = -1;
  #pinned: TreeHead | undefined;

  constructor(device: FixtureDevice, key: Uint8Array, logKey: VerifierKey) {
    this.#device = device;
    this.#key = key;
    this.#logKey = logKey;
  }

  /** Enrols on first sight; then checks that the relay still has, and still says, all that it said before. */
  async check(url: string, folder: string): Promise<void> {
    const device = this.#device;
    if (this.acknowledged < 0) {
      const { token } = must(makeEnrolmentToken(folder));
      this.#believe(device.read(await device.enrol(url, ORIGIN, token), this.#key));
      return;
    }
    this.#believe(device.read(await device.askHead(url), this.#key));
    const held: Uint8Array[] = [];
    while (held.length <= this.acknowledged) {
      const page = must(splitRecords((await get(`${url}/v1/devices/${device.kid}/records?from=${held.length}`)).bytes));
      assert.notEqual(page.length, 0, `record ${held.length} of ${this.acknowledged} acknowledged ones is gone`);
      held.push(...page);
    }
    for (const [seq, bytes] of held.entries()) assert.equal(toHex(bytes), toHex(device.chain[seq]!), `record ${seq}`);
    for (const [id, index] of this.#indices) {
      const view = await get(`${url}/v1/records/${id}`, { accept: "application/json" });
      assert.equal(JSON.parse(Buffer.from(view.bytes).toString()).log_index, index, `index of ${id}`);
    }
    await this.#rememberIndex(url);
  }

  /** The index of one logged record, to be the same for ever. */
  async #rememberIndex(url: string): Promise<void> {
    if (this.#logged < 0) return;
    const id = toHex(recordId(relayCrypto.sha256, this.#device.chain[this.#logged]!));
    const view = await get(`${url}/v1/records/${id}`, { accept: "application/json" });
    this.#indices.set(id, JSON.parse(Buffer.from(view.bytes).toString()).log_index);
  }

  /** True where the relay died in the middle of a request. */
  async sendUntilCut(url: string, random: () => number, onAnswered: () => void): Promise<boolean> {
    const device = this.#device;
    for (;;) {
      const from = this.acknowledged + 1;
      while (device.chain.length < from + 1 + random() * 20) device.appendReading(random());
      let answer: Awaited<ReturnType<FixtureDevice["send"]>>;
      try {
        answer = await device.send(url, from);
      } catch {
        return true;
      }
      this.#believe(device.read(answer, this.#key));
      onAnswered();
    }
  }

  /** Holds an acknowledgement against everything that was acknowledged before. */
  #believe({ received, logged, checkpoint, consistency }: Acknowledgement): void {
    assert.ok(received, "nothing is received");
    assert.ok(received.seq >= this.acknowledged, `received fell from ${this.acknowledged} to ${received.seq}`);
    assert.ok((logged?.seq ?? -1) >= this.#logged, `logged fell from ${this.#logged} to ${logged?.seq}`);
    const id = recordId(relayCrypto.sha256, this.#device.chain[received.seq]!);
    assert.equal(toHex(received.id), toHex(id));
    this.acknowledged = received.seq;
    this.#logged = logged?.seq ?? -1;
    const opened = must(openCheckpoint(relayCrypto, utf8(checkpoint), this.#logKey));
    this.#pinned = must(follow(relayCrypto.sha256, this.#pinned, opened, consistency));
    this.#device.pinnedSize = this.#pinned.size;
  }
}

/** Numbers from 0 up to 1, the same for the same seed (Marsaglia's xorshift32). */
function xorshift(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
