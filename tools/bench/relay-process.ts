import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const LOGGED_WAIT_MAX_MS = 120_000;

const COMMAND = fileURLToPath(new URL("../tallystick.mjs", import.meta.url));
const UNIT = fileURLToPath(new URL("../../hosts/relay/tallystick-relay.service", import.meta.url));

/** Node's options as the shipped systemd unit has them. */
function nodeOptions(): string[] {
  const options = /^ExecStart=\/usr\/bin\/env node ((?:--\S+ )*)\S+ relay /m.exec(readFileSync(UNIT, "utf8"))?.[1];
  if (options === undefined) throw new Error(`expected an ExecStart that runs node with a relay in ${UNIT}`);
  return options.split(" ").filter((option) => option !== "");
}

/** The relay as its unit starts it. */
export class RelayProcess {
  readonly url: string;
  readonly origin: string;
  readonly #child: ChildProcess;
  /** Entries that the log has, or will have soon: its opening is the first. */
  #expected = 1;

  private constructor(child: ChildProcess, url: string, origin: string) {
    this.#child = child;
    this.url = url;
    this.origin = origin;
  }

  static async start(folder: string): Promise<RelayProcess> {
    const args = ["relay", "--data", join(folder, "relay"), "--init", "--open-enrolment", "--json", "--log", "error"];
    const child = spawn(process.execPath, [...nodeOptions(), COMMAND, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout! })) {
      const { url, origin } = JSON.parse(line) as { url: string; origin: string };
      return new RelayProcess(child, url, origin);
    }
    throw new Error("the relay did not start");
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Entries of the newest checkpoint. */
  async size(): Promise<number> {
    const checkpoint = await (await fetch(`${this.url}/checkpoint`)).text();
    return Number(checkpoint.split("\n")[1]);
  }

  /** Until the log has so many entries more than when it was waited for last. */
  async logged(entries: number): Promise<void> {
    this.#expected += entries;
    const size = this.#expected;
    const untilMs = performance.now() + LOGGED_WAIT_MAX_MS;
    while ((await this.size()) < size) {
      if (performance.now() > untilMs)
        throw new Error(`expected ${size} entries in the log within ${LOGGED_WAIT_MAX_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Most memory that it has had since the last look, in MiB; 0 where the system does not say. */
  rssMb(): number {
    if (process.platform !== "linux") return 0;
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  }

  /** SIGKILL: as when the machine dies, but for what its disk would lose. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill(signal);
    await exited;
  }
}

/** Processor time that a process has had with all its threads; 0 where the system does not say. */
export function cpuMs(pid: number): number {
  if (process.platform !== "linux") return 0;
  // proc(5): fields 14 and 15, in ticks of 10 ms, behind a name that may contain anything but a closing bracket.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
