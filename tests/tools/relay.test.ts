import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
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

describe("tallystick relay: where its log cannot be written", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  after(() => folder.remove());

  it("serves all the same, answers as ever, and ends in order", async function () {
    if (!existsSync("/dev/full")) this.skip();
    const full = openSync("/dev/full", "w");
    const args = ["relay", "--data", folder.path, "--init", "--port", "0", "--json", "--log", "debug"];
    const relay = spawn(process.execPath, [TALLYSTICK, ...args], { stdio: ["ignore", "pipe", full] });
    const ended = once(relay, "exit");
    try {
      const [line] = (await Promise.race([
        once(createInterface({ input: relay.stdout! }), "line"),
        ended.then(([status]) => Promise.reject(new Error(`it ended with ${status}`))),
      ])) as [string];
      const { url } = JSON.parse(line) as { url: string };
      for (let i = 0; i < 50; i++) {
        const answer = await fetch(`${url}/v1/nothing`);
        assert.equal(answer.status, 404);
        assert.equal(((await answer.json()) as { code: string }).code, "ROUTE_UNKNOWN");
      }
      assert.equal((await fetch(`${url}/readyz`)).status, 200);
      relay.kill("SIGTERM");
      assert.deepEqual(await ended, [0, null]);
    } finally {
      relay.kill("SIGKILL");
      closeSync(full);
    }
  });
});
