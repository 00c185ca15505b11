import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { TALLYSTICK } from "../tools/session.js";

const START_MAX_MS = 60_000;

/** A `tallystick` server as a process of its own, started with --json: its first line, and its end. */
export class Served<Line extends { readonly url: string }> {
  private constructor(
    readonly child: ChildProcess,
    readonly line: Line,
    readonly complaint: () => string,
  ) {}

  static async start<Line extends { readonly url: string }>(
    folder: string,
    args: readonly string[],
  ): Promise<Served<Line>> {
    const child = spawn(process.execPath, [TALLYSTICK, ...args, "--json"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let complaint = "";
    child.stderr!.on("data", (data: Buffer) => {
      complaint += data.toString();
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), START_MAX_MS);
    const exited = once(child, "exit").then(() => Promise.reject(new Error(`${args[0]} did not start: ${complaint}`)));
    exited.catch(() => undefined);
    const [line] = await Promise.race([once(createInterface({ input: child.stdout! }), "line"), exited]);
    clearTimeout(timer);
    return new Served<Line>(child, JSON.parse(line as string), () => complaint);
  }

  get url(): string {
    return this.line.url;
  }

  /** Ends it; with which status, or by which signal. */
  async end(signal: "SIGINT" | "SIGTERM" | "SIGKILL" = "SIGINT"): Promise<number | string | null> {
    const { child } = this;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, "exit");
    }
    return child.exitCode ?? child.signalCode;
  }
}
