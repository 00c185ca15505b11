import { execFile } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { fail, ok, type Result } from "tallystick/codes/codes";

/**
 * A development chain that outlived its relay: found by a note in the data folder, ended only if the process with that
 * number is an anvil on this very state file. Two chains writing one file would destroy it.
 */
const FILE = "chain.pid";
const END_TIMEOUT_MS = 10_000;
const END_POLL_MS = 20;

interface Note {
  readonly pid: number;
  readonly owner: number;
  readonly stateFile: string;
}

export function rememberProcess(dataDir: string, pid: number, stateFile: string): void {
  const note: Note = { pid, owner: process.pid, stateFile };
  writeFileSync(join(dataDir, FILE), `${JSON.stringify(note)}\n`);
}

export function forgetProcess(dataDir: string): void {
  rmSync(join(dataDir, FILE), { force: true });
}

/** Ends what an earlier relay left behind. LEDGER_START_FAILED where that relay still runs, or it cannot be ended. */
export async function endStale(dataDir: string): Promise<Result<void>> {
  const note = readNote(dataDir);
  if (note === undefined) return ok(undefined);
  const found = await inspect(note.pid);
  if (found?.command.includes(note.stateFile)) {
    if (found.parent === note.owner && note.owner !== process.pid) {
      return fail("LEDGER_START_FAILED", `process ${note.owner} runs a relay on ${dataDir} already; stop it first`);
    }
    const ended = await endProcess(note);
    if (!ended)
      return fail("LEDGER_START_FAILED", `process ${note.pid} of an earlier run does not end; end it by hand`);
  }
  forgetProcess(dataDir);
  return ok(undefined);
}

/** SIGTERM lets anvil write its state; what hangs is killed after half of the time. */
async function endProcess(note: Note): Promise<boolean> {
  const startMs = performance.now();
  let signal: NodeJS.Signals = "SIGTERM";
  if (!signalProcess(note.pid, signal)) return true;
  while (performance.now() - startMs < END_TIMEOUT_MS) {
    const found = await inspect(note.pid);
    if (!found?.command.includes(note.stateFile)) return true;
    if (signal === "SIGTERM" && performance.now() - startMs > END_TIMEOUT_MS / 2) {
      signal = "SIGKILL";
      signalProcess(note.pid, signal);
    }
    await delay(END_POLL_MS);
  }
  return false;
}

function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

function readNote(dataDir: string): Note | undefined {
  try {
    const note = JSON.parse(readFileSync(join(dataDir, FILE), "utf8")) as Partial<Note>;
    if (!Number.isSafeInteger(note.pid) || !Number.isSafeInteger(note.owner)) return undefined;
    return typeof note.stateFile === "string" && note.stateFile !== "" ? (note as Note) : undefined;
  } catch {
    return undefined;
  }
}

/** Parent and command line of a process; undefined where there is none (or, on Windows, where they cannot be had). */
async function inspect(pid: number): Promise<{ parent: number; command: string } | undefined> {
  if (process.platform === "linux") {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      const parent = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
      return { parent, command };
    } catch {
      return undefined;
    }
  }
  if (process.platform === "win32") return undefined;
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "ppid=,command=", "-p", String(pid)]);
    const [, parent, command] = /^\s*(\d+)\s+(.*)$/m.exec(stdout) ?? [];
    return command === undefined ? undefined : { parent: Number(parent), command };
  } catch {
    return undefined;
  }
}
