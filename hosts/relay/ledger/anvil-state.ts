import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { fail, ok, type Result } from "tallystick/codes/codes";

/**
 * The development chain's state on disk. anvil rewrites the file in place, so a cut in the middle of it leaves a torn
 * file that anvil refuses. Beside it the last whole one is kept: it is older by some blocks, and those are lost as in a
 * reorganisation, which the outbox mends. A final anchor must not be among them.
 */
export class AnvilState {
  readonly keptFile: string;

  constructor(readonly file: string) {
    this.keptFile = `${file}.kept`;
  }

  /**
   * Makes `file` whole before anvil reads it. `neededBlock` is the newest block that a final anchor stands on. Answers
   * what was lost, where something was. LEDGER_STATE_DAMAGED: neither file holds the needed block.
   */
  recover(neededBlock: number): Result<string | undefined> {
    const current = bestBlock(this.file);
    if (typeof current === "number" && current >= neededBlock) {
      this.keep();
      return ok(undefined);
    }
    const kept = bestBlock(this.keptFile);
    const found = `${this.file} ${describe(current)}, ${this.keptFile} ${describe(kept)}`;
    if (current === "missing" && kept === "missing" && neededBlock === 0) return ok(undefined);
    if (typeof kept !== "number" || kept < neededBlock) {
      return fail("LEDGER_STATE_DAMAGED", `final anchors stand on block ${neededBlock}; ${found}`);
    }
    if (current !== "missing") renameSync(this.file, `${this.file}.damaged`);
    replaceFile(this.file, readFileSync(this.keptFile));
    return ok(`${found}: went back to block ${kept}; no final anchor is lost`);
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
