import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const TALLYSTICK = fileURLToPath(new URL("../tallystick.mjs", import.meta.url));
/** From its start until it says where it listens; a chain and a contract may have to be made. */
const START_MAX_MS = 60_000;
/** From the request to stop until it is gone. */
const STOP_MAX_MS = 15_000;
const COMPLAINTS_MAX = 20;

/** The relay, as a process of its own: nothing of it is shared with the boards or with whoever verifies. */
export interface RelayProcess {
  readonly url: string;
  /** Ends it as an operator would (SIGTERM); it finishes what it began. */
  stop(): Promise<void>;
  /** Resolves when it ended by itself, with why. */
  readonly ended: Promise<string>;
}

export async function startRelay(dataDir: string, port: number): Promise<RelayProcess> {
  const child = spawn(
    process.execPath,
    [TALLYSTICK, "relay", "--data", dataDir, "--port", String(port), "--ledger", "dev", "--json"],
    {
      // The channel tells the relay when this process is gone, however it went.
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      // An interrupt from the terminal reaches the whole group: the demo stops the relay itself, in its order.
      detached: true,
    },
  );
  // What it says for people, which a refusal to start is, and the newest line of its log that tells of an error.
  const complaints: string[] = [];
  let logged: string | undefined;
  createInterface({ input: child.stderr! }).on("line", (line) => {
    if (line.startsWith("{")) logged = messageOf(line) ?? logged;
    else complaints.push(line);
    if (complaints.length > COMPLAINTS_MAX) complaints.shift();
  });
  const ended = once(child, "exit").then(([code, signal]) => {
    const last = complaints.length > 0 ? complaints.join(" ") : logged;
    return `the relay ended with ${signal ?? `status ${code}`}${last === undefined ? "" : `: ${last}`}`;
  });
  const late = setTimeout(() => child.kill("SIGKILL"), START_MAX_MS);
  try {
    const url = await Promise.race([listening(child), ended.then((why) => Promise.reject(new Error(why)))]);
    return { url, ended, stop: () => stop(child, ended) };
  } finally {
    clearTimeout(late);
  }
}

/** The relay's first line of output says where it listens. */
async function listening(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout! });
  for await (const line of lines) {
    const message = parse(line);
    if (typeof message?.url === "string") {
      lines.on("line", () => {});
      child.stdout!.resume();
      return message.url;
    }
  }
  return new Promise(() => {});
}

/** What a line of its log says of an error. */
function messageOf(line: string): string | undefined {
  const { level, event, code, detail } = (parse(line) ?? {}) as Readonly<Record<string, unknown>>;
  if (level !== "error" && level !== "fatal") return undefined;
  return [event, code, detail].filter((part) => typeof part === "string").join(": ");
}

function parse(line: string): { url?: unknown } | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

async function stop(child: ChildProcess, ended: Promise<string>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
  await ended;
  clearTimeout(timer);
}
