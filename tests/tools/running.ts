import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { TALLYSTICK } from "./session.js";

const WAIT_MAX_MS = 240_000;

/** One command that runs until it is told to end, with all that it printed so far. */
export class Running {
  output = "";
  readonly child: ChildProcess;
  /** Its status, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly #heard = new Set<() => void>();

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, [TALLYSTICK, ...args]);
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.on("data", (text) => {
        this.output += text;
        for (const listener of this.#heard) listener();
      });
    this.ended = once(this.child, "close").then(([status, signal]) => status ?? signal);
  }

  /** Resolves once it has printed this, or what is looked for; fails where it ends before, or takes too long. */
  async until(wanted: string | RegExp | ((output: string) => boolean)): Promise<void> {
    const isThere = () => {
      if (typeof wanted === "function") return wanted(this.output);
      return typeof wanted === "string" ? this.output.includes(wanted) : wanted.test(this.output);
    };
    let listener = () => {};
    let late: NodeJS.Timeout | undefined;
    const heard = new Promise<boolean>((resolve) => {
      listener = () => {
        if (isThere()) resolve(true);
      };
      this.#heard.add(listener);
      listener();
      late = setTimeout(() => resolve(false), WAIT_MAX_MS);
    });
    const isHeard = await Promise.race([heard, this.ended.then(isThere)]);
    clearTimeout(late);
    this.#heard.delete(listener);
    if (isHeard) return;
    this.child.kill("SIGKILL");
    assert.fail(`waited for ${wanted}:\n${this.output}`);
  }
}
