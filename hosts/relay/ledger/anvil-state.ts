import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { numberOf } from "./evm-block.js";
import { isObject } from "./rpc.js";

/**
 * The development chain's state on disk. anvil rewrites the file in place, so a cut in the middle of it leaves a torn
 * file that anvil refuses. Beside it the last whole one is kept: it is older by some blocks, and those are lost as in a
 * reorganisation, which the outbox mends. A final anchor must not be among them.
 */
export interface Recovered {
  /** Time of block 0, in seconds since 1970; absent where the chain is new. */
  readonly genesisSeconds?: number | undefined;
  /** What was lost, where something was. */
  readonly notice?: string;
}

export class AnvilState {
  readonly keptFile: string;

  constructor(readonly file: string) {
    this.keptFile = `${file}.kept`;
  }

  /**
   * Makes `file` whole before anvil reads it. `neededBlock` is the newest block that a final anchor stands on. LEDGER_STATE_DAMAGED: neither file holds the needed block.
   */
  recover(neededBlock: number): Result<Recovered> {
    const current = bestBlock(this.file);
    if (typeof current === "number" && current >= neededBlock) {
      this.keep();
      return ok({ genesisSeconds: genesisSeconds(readFileSync(this.file)) });
    }
    const kept = bestBlock(this.keptFile);
    const found = `${this.file} ${describe(current)}, ${this.keptFile} ${describe(kept)}`;
    if (current === "missing" && kept === "missing" && neededBlock === 0) return ok({});
    if (typeof kept !== "number" || kept < neededBlock) {
      return fail("LEDGER_STATE_DAMAGED", `final anchors stand on block ${neededBlock}; ${found}`);
    }
    if (current !== "missing") renameSync(this.file, `${this.file}.damaged`);
    const bytes = readFileSync(this.keptFile);
    replaceFile(this.file, bytes);
    const notice = `${found}: went back to block ${kept}; no final anchor is lost`;
    return ok({ genesisSeconds: genesisSeconds(bytes), notice });
  }

  /** Keeps the present state, if it is whole now: anvil may be in the middle of writing it. Answers its newest block. */
  keep(): number | undefined {
    if (!existsSync(this.file)) return undefined;
    const bytes = readFileSync(this.file);
    const block = bestBlockOf(bytes);
    if (block === undefined) return undefined;
    replaceFile(this.keptFile, bytes);
    return block;
  }

  /** Bytes of the state file now. */
  sizeBytes(): number {
    return existsSync(this.file) ? readFileSync(this.file).length : 0;
  }
}

function bestBlock(file: string): number | "missing" | "damaged" {
  if (!existsSync(file)) return "missing";
  return bestBlockOf(readFileSync(file)) ?? "damaged";
}

function describe(block: number | "missing" | "damaged"): string {
  return typeof block === "number" ? `ends at block ${block}` : `is ${block}`;
}

/** The newest block of a whole state, or undefined: a torn file is no JSON. */
function bestBlockOf(bytes: Uint8Array): number | undefined {
  try {
    const state = JSON.parse(Buffer.from(bytes).toString("utf8")) as { best_block_number?: unknown };
    const block = Number(state.best_block_number);
    return Number.isSafeInteger(block) ? block : undefined;
  } catch {
    return undefined;
  }
}

/**
 * When the chain began. anvil makes block 0 anew at each start, from that time alone, and picks any of several that its
 * state file then holds: without the first one's time the chain would change its identity.
 */
function genesisSeconds(bytes: Uint8Array): number | undefined {
  const { blocks } = JSON.parse(Buffer.from(bytes).toString("utf8")) as { blocks?: unknown };
  let first: number | undefined;
  for (const block of Array.isArray(blocks) ? (blocks as unknown[]) : []) {
    const header = isObject(block) && isObject(block["header"]) ? block["header"] : undefined;
    const seconds = numberOf(header?.["timestamp"]);
    if (seconds === undefined || numberOf(header?.["number"]) !== 0) continue;
    first = Math.min(first ?? seconds, seconds);
  }
  return first;
}

/** Whole or not at all, wherever the power fails. */
function replaceFile(file: string, bytes: Uint8Array): void {
  const part = `${file}.part`;
  rmSync(part, { force: true });
  const handle = openSync(part, "wx", 0o600);
  try {
    writeSync(handle, bytes);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(part, file);
  if (process.platform === "win32") return;
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
