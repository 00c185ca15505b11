import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { Relay } from "../../hosts/relay/relay.js";
import { must, ORIGIN, temporaryFolder } from "../relay/started.js";
import { TALLYSTICK } from "./session.js";

const START_MAX_MS = 50_000;

/** Starts that are refused: what the command says, and that it is no stack. */
describe("tallystick relay: what it refuses to start with", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  after(() => folder.remove());

  before(async () => {
    must(await Relay.initialise(folder.path, { origin: ORIGIN, logWithinS: 1 }));
  });

  function refusal(args: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
    const { status, stdout, stderr } = spawnSync(process.execPath, [TALLYSTICK, "relay", ...args], {
      cwd: folder.path,
      env: { ...process.env, ...environment },
      encoding: "utf8",
      timeout: START_MAX_MS,
    });
    assert.equal(status, 1, stdout + stderr);
    assert.equal(stdout, "");
    assert.doesNotMatch(stderr, /^ {4}at /m, stderr);
    return stderr;
  }

  it("warns of a variable that looks like a setting and is none", () => {
    const said = refusal(["--data", "nowhere"], { TALLYSTICK_HTP_PORT: "1" });
    const { level, event, variable, nearest } = JSON.parse(said.split("\n")[0]!);
    assert.deepEqual(
      { level, event, variable, nearest },
      {
        level: "warn",
        event: "unknown variable",
        variable: "TALLYSTICK_HTP_PORT",
        nearest: "TALLYSTICK_HTTP_PORT",
      },
    );
  });

  it("checkpoints so far apart that the promise of the relay that is there would be broken", () => {
    assert.match(
      refusal(["--data", folder.path]),
      /^CONFIG_INVALID: .*limits\.checkpoint_interval_ms: expected at most 500, half of the 1 s of .*, received 1000\)/m,
    );
  });
});
