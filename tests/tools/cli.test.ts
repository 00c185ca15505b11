import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHex } from "tallystick/bytes/bytes";
import { play } from "./session.js";

const vector: { records: { record: string }[] } = JSON.parse(
  readFileSync(new URL("../vectors/record.json", import.meta.url), "utf8"),
);

const CLI = fileURLToPath(new URL("../../tools/cli.ts", import.meta.url));
/** What only a relay, a simulator or a compiler needs. */
const HEAVY = /node_modules\/(better-sqlite3|fastify|viem|solc|esbuild|typescript)\//;

/** The modules of `node_modules` and `hosts` that a command loads, as a loader of Node's own sees them. */
function loadedBy(args: readonly string[], folder: string): string[] {
  const list = join(folder, "loaded");
  writeFileSync(list, "");
  const hook = `
    import { appendFileSync } from "node:fs";
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(list)}, url + "\\n");
      return next(url, context);
    }`;
  const register = `
    import { register } from "node:module";
    register("data:text/javascript," + ${JSON.stringify(encodeURIComponent(hook))});`;
  const url = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
  const { stderr } = spawnSync(process.execPath, ["--import", "tsx", "--import", url(register), CLI, ...args], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    encoding: "utf8",
  });
  const urls = readFileSync(list, "utf8").trim().split("\n");
  assert(
    urls.some((loaded) => loaded.includes("tools/cli.ts")),
    `nothing was seen: ${stderr}`,
  );
  return urls;
}

describe("tallystick", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-cli-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("tells a wrong command from a false proof by the status", () =>
    play(
      `
$ tallystick nonsense
error: unknown command 'nonsense'
(--help lists what it takes)
[2]
$ tallystick demo --for soon
error: option '--for <time>' argument 'soon' is invalid. expected a time such as 30s, 5m or 2h
(--help lists what it takes)
[2]
$ tallystick demo --port 99999
error: option '--port <number>' argument '99999' is invalid. expected a port from 0 to 65535
(--help lists what it takes)
[2]
$ tallystick demo --help
Usage: tallystick demo [options]

three simulated boards on the real engine, a relay and a ledger: readings proved
from sensor to block

Options:
  --for <time>     …
  --data <dir>     …
                   …
  --port <number>  …
  --json <file>    …
  -h, --help       …

Ctrl-C stops it; …
[0]
`,
      folder,
    ));

  it("has a status of its own where what it prints cannot be written", function () {
    if (!existsSync("/dev/full")) this.skip();
    writeFileSync(join(folder, "record"), fromHex(vector.records[0]!.record)!);
    const unwritten =
      "tallystick: FILE_UNWRITABLE: … (standard output: ENOSPC: no space left on device, write); …\n[74]";
    play(
      ["inspect record", "verify absent --policy absent --json", "--help", "verify --help"]
        .map((command) => `$ tallystick ${command} > /dev/full\n${unwritten}`)
        .join("\n"),
      folder,
    );
    play("$ tallystick inspect absent 2> /dev/full\n[2]", folder);
  });

  for (const args of [
    ["--help"],
    ["verify", "absent.tally", "--policy", "absent.json"],
    ["inspect", "absent"],
    ["fsck", "absent"],
  ])
    it(`loads neither relay nor simulator for ${args.join(" ")}`, () => {
      const loaded = loadedBy(args, folder);
      const heavy = loaded.filter((url) => HEAVY.test(url) || /\/hosts\/(relay|simulator|board)\//.test(url));
      assert.deepEqual(heavy, []);
    });
});
