import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { play, TALLYSTICK } from "./session.js";

describe("tallystick check-config", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-check-config-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("says what a relay would take and from where, or what is wrong", () => {
    writeFileSync(
      join(folder, "good.toml"),
      '[http]\nport = 8080\n[ledger]\nkind = "evm"\nrpc_url = "https://a:b@node.example/c"\n',
    );
    writeFileSync(join(folder, "false.toml"), "[http]\nprot = 8080\n[limits]\ncheckpoint_interval_ms = 0\n");
    writeFileSync(join(folder, "broken.toml"), "[http\n");
    play(
      `
$ tallystick check-config good.toml
[relay]
data = "tallystick-relay"…# default
…
[http]
host = "127.0.0.1"…# default
port = 8080…# good.toml:2
…
kind = "evm"…# good.toml:4
rpc_url = "https://node.example/…"…# good.toml:5
…
[0]
$ tallystick check-config false.toml
CONFIG_UNKNOWN_KEY: the configuration names what is no setting (false.toml:2:1: http.prot; did you mean http.port?); …
CONFIG_INVALID: a setting has a value that it cannot have (false.toml:4:1: limits.checkpoint_interval_ms: expected a whole number from 1 to 3600000, received 0); …
[1]
$ tallystick check-config broken.toml
CONFIG_MALFORMED: the configuration is not TOML (broken.toml:1:6: …); correct it at the line that is named
[2]
$ tallystick check-config absent.toml
CONFIG_UNREADABLE: the configuration cannot be read (ENOENT: …
[2]
$ tallystick relay --config false.toml
CONFIG_UNKNOWN_KEY: …
CONFIG_INVALID: …
[1]
`,
      folder,
    );
  });

  it("answers programs in JSON, and without a file for environment and defaults", () => {
    const run = spawnSync(process.execPath, [TALLYSTICK, "check-config", "--json"], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, TALLYSTICK_HTTP_PORT: "99", TALLYSTICK_HTP_PORT: "98" },
    });
    assert.equal(run.status, 0, run.stderr);
    assert.deepEqual(JSON.parse(run.stdout).unknown_variables, [
      { variable: "TALLYSTICK_HTP_PORT", nearest: "TALLYSTICK_HTTP_PORT" },
    ]);
    const text = spawnSync(process.execPath, [TALLYSTICK, "check-config"], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, TALLYSTICK_HTP_PORT: "98" },
    });
    assert.equal(text.stderr, "warning: TALLYSTICK_HTP_PORT is no setting; did you mean TALLYSTICK_HTTP_PORT?\n");
    const { ok, settings } = JSON.parse(run.stdout);
    assert.equal(ok, true);
    assert.deepEqual(
      settings.find(({ key }: { key: string }) => key === "port"),
      { section: "http", key: "port", value: 99, source: "TALLYSTICK_HTTP_PORT" },
    );
  });

  it("starts a relay with what it checked", () => {
    writeFileSync(join(folder, "start.toml"), '[relay]\ndata = "fresh"\n');
    play(
      `
$ tallystick relay --config start.toml
DATA_FOLDER_BLANK: …
[1]
`,
      folder,
    );
  });
});
