/** Fetching the engine's sources: what npm brings is checked, what fails says so in one line, what is there is left alone. */
import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { missingSources } from "../../tools/engine/fetch.mjs";
import { readTarball } from "../../tools/engine/tar.mjs";

const ENGINE_TOOLS = fileURLToPath(new URL("../../tools/engine/", import.meta.url));

function header(name: string, bytes: number, type: string): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write(bytes.toString(8).padStart(11, "0"), 124);
  block.write(type, 156);
  block.write("ustar\0", 257);
  return block;
}

function tarball(files: Record<string, string>): Buffer {
  const blocks: Buffer[] = [header("package/", 0, "5")];
  for (const [name, text] of Object.entries(files)) {
    const bytes = Buffer.from(text);
    blocks.push(header(name, bytes.length, "0"), bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

describe("the engine's sources", () => {
  let root: string;

  // A project of its own: the scripts alone, and an npm that does what the test says.
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "tallystick-fetch-"));
    mkdirSync(join(root, "tools"));
    cpSync(ENGINE_TOOLS, join(root, "tools/engine"), { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function fetch(npm: string, lifecycle?: string): SpawnSyncReturns<string> {
    const cli = join(root, "npm-cli.js");
    writeFileSync(cli, npm);
    return spawnSync(process.execPath, [join(root, "tools/engine/fetch.mjs")], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], npm_execpath: cli, ...(lifecycle ? { npm_lifecycle_event: lifecycle } : {}) },
    });
  }

  const left = () => readdirSync(join(root, ".cache/engine"));

  it("are there, since the engine was built", () => {
    assert.deepEqual(missingSources(), []);
  });

  it("that npm cannot bring are one warning, and no failure within npm ci", () => {
    const offline = 'console.error("npm error network"); console.error("npm error nothing answers"); process.exit(1);';
    const asked = fetch(offline);
    assert.equal(asked.status, 1);
    assert.match(
      asked.stderr,
      /^warning: engine: npm could not fetch @agoric\/xsnap@0\.15\.0 \(npm error nothing answers\); check the network and run: node tools\/engine\/fetch\.mjs\n$/,
    );
    assert.equal(fetch(offline, "postinstall").status, 0);
    assert.deepEqual(left(), []);
  });

  it("with other bytes than the pinned ones are refused, and leave nothing behind", () => {
    writeFileSync(join(root, "other.tgz"), tarball({ "package/moddable/xs/sources/xsRun.c": "int x;" }));
    const result = fetch('require("fs").copyFileSync(__dirname + "/other.tgz", process.argv.at(-1) + "/x.tgz");');
    assert.equal(result.status, 1);
    assert.match(result.stderr, /is not the pinned tarball: expected sha512-ZBm4.*, received sha512-/);
    assert.deepEqual(left(), []);
  });

  it("are unpacked byte for byte, whatever their length", () => {
    const files = { "package/a.c": "", "package/b.c": "x".repeat(512), "package/c/d.c": "ä\0\n".repeat(300) };
    const read = readTarball(tarball(files));
    assert.deepEqual(Object.fromEntries([...read].map(([name, bytes]) => [name, bytes.toString("utf8")])), files);
    assert.throws(() => readTarball(Buffer.from("no archive")));
  });
});
