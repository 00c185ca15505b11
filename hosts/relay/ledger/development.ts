import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Database } from "../store/database.js";
import { DevelopmentChain, type DevelopmentChainOptions } from "./anvil.js";
import { type EvmArtifact, EvmLedger, type EvmLedgerOptions } from "./evm.js";
import { openLedgerKey } from "./key.js";
import { Outbox, type OutboxOptions } from "./outbox.js";
import { createOutboxTables } from "./outbox-tables.js";

/** The relay's default ledger: a development chain of its own, and the outbox that submits to it. */
export interface DevelopmentLedgerOptions
  extends Pick<OutboxOptions, "rootAt" | "onChange" | "onTrouble" | "everyMs" | "pollMs" | "stuckMs" | "wallMs">,
    Pick<DevelopmentChainOptions, "blockMs" | "onNotice" | "onFailed"> {
  /** Folder for the chain's state and the ledger key; made where missing. */
  readonly dataDir: string;
  /** The relay's database; the outbox's tables are created in it. */
  readonly database: Database;
  /** What hosts/evm compiles. */
  readonly artifact: EvmArtifact;
}

export interface DevelopmentLedger {
  readonly outbox: Outbox;
  readonly chain: DevelopmentChain;
  readonly ledger: EvmLedger;
  /** What `ledger` was made with. */
  readonly ledgerOptions: EvmLedgerOptions;
  /** Ends the outbox, then the chain. */
  close(): Promise<void>;
}

/** Starts the chain and the outbox; the outbox runs once `outbox.start()` is called. */
export async function openDevelopmentLedger(options: DevelopmentLedgerOptions): Promise<Result<DevelopmentLedger>> {
  const { dataDir, database, artifact } = options;
  try {
    mkdirSync(dataDir, { recursive: true });
  } catch (error) {
    return fail("LEDGER_START_FAILED", `the folder ${dataDir} cannot be made: ${String(error)}`);
  }
  const key = openLedgerKey(join(dataDir, "ledger.key"));
  if (!key.ok) return key;
  createOutboxTables(database);
  // The address follows from the key alone, so the tables can be asked before the chain runs.
  const { name } = new EvmLedger({ rpcUrl: "http://127.0.0.1/", key: key.value, artifact });
  const chain = await DevelopmentChain.start({ ...options, neededBlock: Outbox.newestProvedBlock(database, name) });
  if (!chain.ok) return chain;
  const ledgerOptions = { rpcUrl: chain.value.url, key: key.value, artifact, developmentFunds: true };
  const ledger = new EvmLedger(ledgerOptions);
  const outbox = new Outbox({ ...options, ledger, beforeFinal: (block) => chain.value.keep(block.number) });
  const close = async (): Promise<void> => {
    await outbox.close();
    await chain.value.close();
  };
  return ok({ outbox, chain: chain.value, ledger, ledgerOptions, close });
}
