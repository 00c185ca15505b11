import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Runs what the README tells a newcomer to type, in its order, on a data folder of this test's. The first command is the
 * whole path: engine, boards, relay, ledger, evidence, verifier.
 */
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const README = readFileSync(join(ROOT, "README.md"), "utf8");
/** These run around this test. */
const AROUND = ["npm ci", "npm test"];
const COMMAND_MAX_MS = 400_000;

const commands = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)]
  .flatMap(([, block]) => block!.trim().split("\n"))
  .filter((line) => !AROUND.includes(line));

describe("README", function () {
  this.timeout(COMMAND_MAX_MS + 10_000);
  const folder = mkdtempSync(join(tmpdir(), "tallystick-readme-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** The same command on this test's folder. */
  const here = (command: string) =>
    command
      .replaceAll("tallystick-data", folder)
      .replaceAll("out.json", join(folder, "out.json"))
      .replace("npm start -- ", `npm start -- --data ${folder} `);

  it("has commands to run", () => assert(commands.some((command) => command.startsWith("npm start"))));

  for (const command of commands) {
    it(command, () => {
      const { status, stdout, stderr } = spawnSync(here(command), { cwd: ROOT, shell: true, timeout: COMMAND_MAX_MS });
      assert.equal(status, 0, `${here(command)}\n${stdout}\n${stderr}`);
      assert(stdout.length > 0);
      if (!command.startsWith("npm start")) return;
      const reached = JSON.parse(readFileSync(join(folder, "out.json"), "utf8"));
      assert.equal(reached.devices, 3);
      assert.equal(reached.evidence_verified, 3);
      assert.equal(reached.engine, "xs");
      assert(reached.records_final >= 3 && reached.records_held >= reached.records_final, JSON.stringify(reached));
    });
  }

  it("shows an application that is the demo's own, word for word", () => {
    const application = readFileSync(join(ROOT, "tools/demo/boards/attic.ts"), "utf8").trim();
    assert(README.includes(application));
  });
});
