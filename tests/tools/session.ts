import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const TALLYSTICK = fileURLToPath(new URL("../../tools/tallystick.mjs", import.meta.url));
const COMMAND_MAX_MS = 50_000;

/**
 * Plays a session of the command line as a manual would print it: a line `$ tallystick …`, what it prints on both
 * streams, and its exit status in brackets. `…` in a line stands for any text, a line of its own for any lines.
 */
export function play(session: string, folder: string): void {
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

function run(command: string, folder: string): { received: string; left: number | null } {
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
