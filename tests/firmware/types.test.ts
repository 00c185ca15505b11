import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

describe("types of hosts/esp32", () => {
  it("hold against npm's typings of the SDK and ours", function () {
    this.timeout(60_000);
    const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", "hosts/esp32"], { cwd: ROOT, encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
});
