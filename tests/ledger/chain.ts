import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { bytesToHex } from "viem";
import { compileAnchor } from "../../hosts/evm/compile.js";
import { DevelopmentChain } from "../../hosts/relay/ledger/anvil.js";
import { EvmLedger, type EvmLedgerOptions } from "../../hosts/relay/ledger/evm.js";
import type { Checkpoint, Ledger } from "../../hosts/relay/ledger/ledger.js";
import { type AnchorStatus, Outbox, type OutboxOptions } from "../../hosts/relay/ledger/outbox.js";
import { createOutboxTables } from "../../hosts/relay/ledger/outbox-tables.js";
import { JsonRpc } from "../../hosts/relay/ledger/rpc.js";

/** A real development chain that makes blocks only when the test says so, and what stands on it. */
export interface Bench {
  readonly chain: DevelopmentChain;
  readonly rpc: JsonRpc;
  readonly dir: string;
  /** A ledger of a key of its own: tests that share the chain share no account and no contract. */
  ledger(options?: Partial<EvmLedgerOptions>): Promise<EvmLedger>;
  mine(blocks?: number): Promise<void>;
  /** Asks the node and insists on an answer. */
  ask(method: string, ...params: unknown[]): Promise<unknown>;
  close(): Promise<void>;
}

/** Longer than any test: the manager's own blocks would make the tests depend on time. */
const NEVER_MS = 2 ** 31 - 1;
let keys = 0;

export async function openBench(): Promise<Bench> {
  const dir = mkdtempSync(join(tmpdir(), "tallystick-ledger-"));
  const artifact = await compileAnchor();
  assert.ok(artifact.ok, artifact.ok ? "" : artifact.failure.detail);
  const started = await DevelopmentChain.start({ dataDir: dir, blockMs: NEVER_MS });
  assert.ok(started.ok, started.ok ? "" : started.failure.detail);
  const chain = started.value;
  const rpc = new JsonRpc({ url: chain.url });
  const ask = async (method: string, ...params: unknown[]): Promise<unknown> => {
    const answer = await rpc.call(method, params);
    assert.ok(answer.ok, answer.ok ? "" : answer.failure.detail);
    return answer.value;
  };
  const mine = async (blocks = 1): Promise<void> => {
    await ask("anvil_mine", `0x${blocks.toString(16)}`, "0x1");
  };
  const ledger = async (options: Partial<EvmLedgerOptions> = {}): Promise<EvmLedger> => {
    const key = options.key ?? bytesToHex(createHash("sha256").update(`ledger key ${keys++}`).digest());
    const direct = new EvmLedger({ rpcUrl: chain.url, artifact: artifact.value, key, developmentFunds: true });
    if (!(await direct.prepare()).ok) {
      await mine();
      const prepared = await direct.prepare();
      assert.ok(prepared.ok, prepared.ok ? "" : prepared.failure.detail);
    }
    // The finalized state must hold the contract too, or the first proof has nothing to prove.
    await mine(9);
    return new EvmLedger({ rpcUrl: chain.url, artifact: artifact.value, key, developmentFunds: true, ...options });
  };
  const close = async (): Promise<void> => {
    rpc.close();
    await chain.close();
    rmSync(dir, { recursive: true, force: true });
  };
  return { chain, rpc, dir, ledger, mine, ask, close };
}

/** A log of which only the roots matter: one for each size, the same every time. */
export function rootAt(size: number): Uint8Array {
  return Uint8Array.from(createHash("sha256").update(`root at ${size}`).digest());
}

export function checkpoint(size: number): Checkpoint {
  return { size, root: rootAt(size) };
}

export function openDatabase(file = ":memory:"): Database.Database {
  const database = new Database(file);
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  database.pragma("foreign_keys = ON");
  createOutboxTables(database);
  return database;
}

export function openOutbox(database: Database.Database, ledger: Ledger, options: Partial<OutboxOptions> = {}): Outbox {
  return new Outbox({ database, ledger, rootAt, ...options });
}

/** Steps and mines until the newest final anchor has this size; the bound is a failure, not a wait. */
export async function untilFinal(bench: Bench, outbox: Outbox, size: number, maxRounds = 40): Promise<AnchorStatus> {
  const seen: string[] = [];
  for (let round = 0; round < maxRounds; round++) {
    const result = await outbox.step();
    seen.push(result.ok ? result.value : `${result.failure.code} ${result.failure.detail}`);
    const final = outbox.newestFinal();
    if (final?.size === size) return final;
    // Once it is included only finality is missing: two epochs and the block that ends them.
    await bench.mine(outbox.current()?.state === "included" ? 9 : 1);
  }
  assert.fail(`not final after ${maxRounds} rounds: ${JSON.stringify(outbox.anchors(5))} ${seen.join("; ")}`);
}
