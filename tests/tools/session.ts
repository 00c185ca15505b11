import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const TALLYSTICK = fileURLToPath(new URL("../../tools/tallystick.mjs", import.meta.url));
const COMMAND_MAX_MS = 50_000;

/**
 * Plays a session of the command line as a manual would print it: a line `$ tallystick …`, what it prints on both
 * streams, and its exit status in brackets. `…` in a line stands for any text, a line of its own for any lines.
 */
export function play(session: string, folder: string, run: Run = inItsOwnProcess): void {
  for (const block of session
    .trim()
    .split(/^\$ tallystick /m)
    .slice(1)) {
    const lines = block.trimEnd().split("\n");
    const [command, status] = [lines[0]!, lines.at(-1)!];
    const expected = lines.slice(1, -1).join("\n");
    const { received, left } = run(command, folder);
    const shown = `$ tallystick ${command}\n${received}[${left}]`;
    assert.match(received.trimEnd(), new RegExp(`^${patternOf(expected)}$`), `${shown}\nexpected\n${expected}`);
    assert.equal(`[${left}]`, status, shown);
    assert.doesNotMatch(received, /^ {4}at /m, `a stack trace: ${shown}`);
  }
}

/** Runs one command line in a folder: what it prints, and its exit status. */
type Run = (command: string, folder: string) => { readonly received: string; readonly left: number | null };

/**
 * Runs commands in this process, which saves the start of one for each: `main` gets the arguments behind the command's
 * name, prints, and answers with the exit status. How the command line takes its arguments is not tried.
 */
export function inThisProcess(main: (...args: string[]) => number): Run {
  return (command, folder) => {
    const { log, error } = console;
    const back = process.cwd();
    const lines: string[] = [];
    console.log = console.error = (line: string) => void lines.push(`${line}\n`);
    process.chdir(folder);
    try {
      const left = main(...command.split(" ").slice(1));
      return { received: lines.join(""), left };
    } finally {
      process.chdir(back);
      Object.assign(console, { log, error });
    }
  };
}

function inItsOwnProcess(command: string, folder: string): ReturnType<Run> {
  const { stdout, stderr, status } = spawnSync(`"${process.execPath}" "${TALLYSTICK}" ${command}`, {
    cwd: folder,
    shell: true,
    encoding: "utf8",
    timeout: COMMAND_MAX_MS,
  });
  return { received: stdout + stderr, left: status };
}

function patternOf(expected: string): string {
  return expected
    .replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
    .replace(/^…$/gm, "[\\s\\S]*")
    .replaceAll("…", ".*");
}
