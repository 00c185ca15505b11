import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { STOP_MAX_MS, STOP_REQUESTS_MAX_MS } from "../../../hosts/relay/stop.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const UNIT = `${ROOT}hosts/relay/tallystick-relay.service`;
/** systemd's scale goes from 0 to 100: above this it warns less and less. */
const EXPOSURE_MAX = 20;

describe("relay: systemd unit", () => {
  const text = readFileSync(UNIT, "utf8");

  it("starts what is here, and waits for longer than the relay takes to stop", () => {
    const commands = [...text.matchAll(/^Exec\w+=\/usr\/bin\/env node (?:--\S+ )*\/opt\/tallystick\/(\S+) (\S+)/gm)];
    assert.deepEqual(
      commands.map(([, , command]) => command),
      ["check-config", "relay"],
    );
    for (const [, script] of commands) assert(existsSync(ROOT + script!), script);
    const timeoutS = Number(/^TimeoutStopSec=(\d+)$/m.exec(text)![1]);
    assert(timeoutS * 1000 > STOP_MAX_MS);
    assert(STOP_MAX_MS > STOP_REQUESTS_MAX_MS);
  });

  for (const args of [["verify"], ["security", "--offline=true", `--threshold=${EXPOSURE_MAX}`]])
    it(`stands before systemd-analyze ${args[0]}`, function () {
      const { error, status, stdout, stderr } = spawnSync("systemd-analyze", [...args, UNIT], { encoding: "utf8" });
      if (error) {
        console.log("      skipped: systemd-analyze is not here");
        this.skip();
      }
      assert.equal(status, 0, stdout + stderr);
      if (args[0] === "verify") assert.equal(stdout + stderr, "");
    });
});
