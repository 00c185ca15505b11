import { spawn } from "node:child_process";
import { TALLYSTICK } from "./session.js";

const COMMAND_MAX_MS = 50_000;

/** What a command printed on both streams, and how it ended: its status, or the signal. */
export interface Ran {
  readonly received: string;
  readonly left: number | string | null;
}

/** Runs one command line while this process goes on: what it asks may be a server here. `begun` may end it early. */
export function runBeside(
  folder: string,
  args: readonly string[],
  begun: (end: (signal: "SIGINT") => void) => void = () => undefined,
): Promise<Ran> {
  const child = spawn(process.execPath, [TALLYSTICK, ...args], { cwd: folder, timeout: COMMAND_MAX_MS });
  let received = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (received += data.toString()));
  begun((signal) => child.kill(signal));
  return new Promise((resolve) => child.on("close", (status, signal) => resolve({ received, left: status ?? signal })));
}
