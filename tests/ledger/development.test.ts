import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readEvmAnchor, verifyEvmAnchor } from "tallystick/evidence/evm";
import { decodeCbor } from "tallystick/record/cbor";
import { bytesToHex, type Hex, hexToBytes } from "viem";
import { compileAnchor } from "../../hosts/evm/compile.js";
import { type DevelopmentLedger, openDevelopmentLedger } from "../../hosts/relay/ledger/development.js";
import { openLedgerKey } from "../../hosts/relay/ledger/key.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { checkpoint, openDatabase, rootAt } from "./chain.js";

const SEED = Number(process.env["SEED"] ?? 1);
const KILLS = 3;
const LIMIT_MS = 30_000;

describe("the relay's own ledger, killed with -9 again and again", () => {
  const dir = mkdtempSync(join(tmpdir(), "tallystick-development-"));
  const databaseFile = join(dir, "store.sqlite");
  const dataDir = join(dir, "ledger");
  let relay: ChildProcess | undefined;

  after(() => {
    relay?.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });

  it("loses no final anchor, anchors nothing twice, and every proof verifies offline", async () => {
    const random = new SeededRandom(SEED);
    // Each life gets a little further than the one before, so that every stage is cut in some run.
    const delaysMs = Array.from({ length: KILLS }, (_, i) => i * 350 + random.below(350));
    const told = `SEED=${SEED}: killed after ${delaysMs.join(", ")} ms from the first change`;
    let finalSize = 0;
    let size = 0;
    for (const delayMs of delaysMs) {
      relay = startRelay(databaseFile, dataDir, size);
      const lines = await relayUntil(relay, () => true, told);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      relay.kill("SIGKILL");
      await new Promise((resolve) => relay?.once("exit", resolve));
      const database = openDatabase(databaseFile);
      const nowFinal = Number(
        database.prepare("SELECT max(size) FROM anchor WHERE state = 'final'").pluck().get() ?? 0,
      );
      size = Math.max(size, ...lines.map((line) => line.size), nowFinal);
      database.close();
      assert.ok(nowFinal >= finalSize, told);
      finalSize = nowFinal;
    }
    const compiled = await compileAnchor();
    assert.ok(compiled.ok);
    const database = openDatabase(databaseFile);
    const opened = await openDevelopmentLedger({
      dataDir,
      database,
      artifact: compiled.value,
      rootAt,
      blockMs: 50,
      pollMs: 20,
    });
    assert.ok(opened.ok, opened.ok ? "" : `${opened.failure.detail}; ${told}`);
    try {
      await finish(opened.value, size + 1_000, told);
      check(opened.value, told);
    } finally {
      await opened.value.close();
      database.close();
    }
  });
});

async function finish({ outbox }: DevelopmentLedger, size: number, told: string): Promise<void> {
  outbox.submit(checkpoint(size));
  outbox.start();
  const deadline = performance.now() + LIMIT_MS;
  while (outbox.newestFinal()?.size !== size) {
    assert.ok(performance.now() < deadline, `not final: ${JSON.stringify(outbox.anchors(3))}; ${told}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function check({ outbox, ledger }: DevelopmentLedger, told: string): void {
  const anchors = outbox.anchors(1_000);
  const slots = anchors.map((anchor) => anchor.slot);
  assert.deepEqual(
    slots,
    Array.from(slots, (_, i) => slots.length - i),
    `one slot an anchor, none skipped after the deployment in slot 0; ${told}`,
  );
  for (const anchor of anchors) {
    assert.equal(anchor.state, "final", told);
    const decoded = decodeCbor(anchor.proof!.anchor);
    assert.ok(decoded.ok);
    const read = readEvmAnchor(decoded.value);
    assert.ok(read.ok);
    const contract = hexToBytes(ledger.contract);
    const blockHash = hexToBytes(anchor.proof!.block.hash as Hex);
    const proved = verifyEvmAnchor(read.value, { chainId: 31337, contract, blockHash });
    assert.ok(proved.ok, told);
    assert.deepEqual([proved.value.size, proved.value.root], [anchor.size, rootAt(anchor.size)]);
  }
}

interface Line {
  readonly size: number;
  readonly state: string;
}

/** A relay as far as its ledger goes: wants a larger checkpoint all the time, prints each change of an anchor. */
function startRelay(databaseFile: string, dataDir: string, from: number): ChildProcess {
  const at = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  const script = `
    const { openDatabase, rootAt, checkpoint } = await import(${at("./chain.ts")});
    const { compileAnchor } = await import(${at("../../hosts/evm/compile.ts")});
    const { openDevelopmentLedger } = await import(${at("../../hosts/relay/ledger/development.ts")});
    const artifact = (await compileAnchor()).value;
    const opened = await openDevelopmentLedger({
      dataDir: ${JSON.stringify(dataDir)}, database: openDatabase(${JSON.stringify(databaseFile)}), artifact, rootAt,
      blockMs: 50, pollMs: 20, onChange: ({ size, state }) => console.log(JSON.stringify({ size, state })),
    });
    if (!opened.ok) { console.error(opened.failure); process.exit(1); }
    let size = ${from};
    setInterval(() => opened.value.outbox.submit(checkpoint(++size)), 10);
    opened.value.outbox.start();
  `;
  return spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Collects what the relay prints; resolves at the first line that `enough` accepts, and goes on collecting. */
function relayUntil(relay: ChildProcess, enough: (line: Line) => boolean, told: string): Promise<Line[]> {
  const lines: Line[] = [];
  return new Promise((resolve, reject) => {
    relay.once("exit", (code) => reject(new Error(`the relay ended with ${code}; ${told}`)));
    let rest = "";
    relay.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const line = JSON.parse(part) as Line;
        lines.push(line);
        if (enough(line)) resolve(lines);
      }
    });
  });
}

describe("the ledger key", () => {
  const dir = mkdtempSync(join(tmpdir(), "tallystick-key-"));
  after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "ledger.key");

  it("is made once, for its owner alone, and read again", () => {
    const made = openLedgerKey(file);
    assert.ok(made.ok);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(openLedgerKey(file), made);
    assert.ok(!existsSync(`${file}.part`));
    assert.equal(readFileSync(file, "utf8"), `${made.value.slice(2)}\n`);
  });

  it("is never replaced because it cannot be read, and never used where others may read it", () => {
    for (const [mode, text] of [
      [0o600, ""],
      [0o600, "00".repeat(32)],
      [0o600, `${"00".repeat(32)}\n`],
      [0o600, `${"ff".repeat(32)}\n`],
      [0o600, `${"GG".repeat(32)}\n`],
      [0o644, `${"11".repeat(32)}\n`],
    ] as const) {
      writeFileSync(file, text);
      chmodSync(file, mode);
      const opened = openLedgerKey(file);
      assert.ok(!opened.ok && opened.failure.code === "LEDGER_KEY_UNREADABLE", text);
      assert.equal(readFileSync(file, "utf8"), text);
      assert.ok(!opened.failure.detail.includes(text.slice(0, 8)) || text === "", "the key is in no message");
    }
    assert.ok(!openLedgerKey(join(dir, "absent", "ledger.key")).ok);
  });

  it("survives a cut while it is made", () => {
    const other = join(dir, "other.key");
    writeFileSync(`${other}.part`, "half");
    const opened = openLedgerKey(other);
    assert.ok(opened.ok);
    assert.notEqual(opened.value, bytesToHex(new Uint8Array(32)));
  });
});
