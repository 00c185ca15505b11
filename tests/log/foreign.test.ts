import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatVerifierKey } from "tallystick/log/note";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { nodeDisk } from "../../hosts/relay/log/disk.js";
import { Log } from "../../hosts/relay/log/log.js";
import { entropy, OPENING, ORIGIN } from "./bench.js";
import { QueueSource } from "./queue.js";
import { makeRecords } from "./records.js";

const SOURCE = fileURLToPath(new URL("./go/verify.go", import.meta.url));
/** Where Debian's golang-golang-x-mod-dev puts the packages. */
const GOPATH = "/usr/share/gocode";

function missing(): string | undefined {
  if (spawnSync("go", ["version"]).status !== 0) return "go is not installed (Debian: golang-go)";
  const environment = { ...process.env, GO111MODULE: "off", GOPATH };
  const list = spawnSync("go", ["list", "golang.org/x/mod/sumdb/tlog"], { env: environment });
  return list.status === 0 ? undefined : "golang.org/x/mod is not there (Debian: golang-golang-x-mod-dev)";
}

describe("log: verified by Go's golang.org/x/mod/sumdb", function () {
  this.timeout(120_000);
  let folder: string;
  let verify: (
    folder: string,
    vkey: string,
    proofs: string,
  ) => { status: number | null; stdout: string; stderr: string };
  let log: Log;

  before(async function () {
    const lacking = missing();
    if (lacking !== undefined) {
      console.log(`      SKIPPED, the foreign verifier did not run: ${lacking}`);
      this.skip();
    }
    folder = mkdtempSync(join(tmpdir(), "tallystick-log-"));
    const program = join(folder, "verify");
    execFileSync("go", ["build", "-o", program, SOURCE], { env: { ...process.env, GO111MODULE: "off", GOPATH } });
    verify = (published, vkey, proofs) => {
      const { status, stdout, stderr } = spawnSync(program, [published, vkey, proofs], { encoding: "utf8" });
      return { status, stdout, stderr };
    };

    const source = new QueueSource();
    const olds: { oldSize: number; oldCheckpoint: string }[] = [];
    const options = { origin: ORIGIN, crypto: relayCrypto, entropy, source, opening: OPENING, disk: nodeDisk };
    const opened = await Log.open(join(folder, "log"), options);
    assert.ok(opened.ok, opened.ok ? "" : opened.failure.detail);
    log = opened.value;
    const records = makeRecords(700);
    for (const end of [1, 2, 7, 255, 256, 511, 600, 700]) {
      olds.push({ oldSize: log.head.size, oldCheckpoint: Buffer.from(log.head.checkpoint).toString() });
      source.entries.push(...records.slice(source.entries.length, end));
      assert.ok((await log.sequence()).ok);
    }
    assert.equal(log.head.size, 701);
    const inclusion = [];
    for (const index of [0, 1, 2, 254, 255, 256, 511, 512, 699, 700]) {
      const path = await log.inclusion(index);
      assert.ok(path.ok);
      inclusion.push({ index, path: path.value.map((hash) => Buffer.from(hash).toString("base64")) });
    }
    const consistency = [];
    for (const old of olds) {
      const path = await log.consistency(old.oldSize);
      assert.ok(path.ok);
      consistency.push({ ...old, path: path.value.map((hash) => Buffer.from(hash).toString("base64")) });
    }
    writeFileSync(join(folder, "proofs.json"), JSON.stringify({ inclusion, consistency }));
  });

  after(async () => {
    await log?.close();
    if (folder) rmSync(folder, { recursive: true });
  });

  it("accepts checkpoint, every tile, every entry, inclusion and consistency of 700 real records", () => {
    const result = verify(join(folder, "log/public"), formatVerifierKey(log.key), join(folder, "proofs.json"));
    assert.equal(result.stderr, "");
    assert.equal(result.stdout, "checkpoint 701\nentries 701\ninclusion 10\nconsistency 8\n");
    assert.equal(result.status, 0);
  });

  it("refuses another key, a changed checkpoint, tile, entry and path: it would have said so", () => {
    const vkey = formatVerifierKey(log.key);
    const spoil = (name: string, at: number) => {
      const copy = join(folder, "copy");
      rmSync(copy, { recursive: true, force: true });
      cpSync(join(folder, "log/public"), copy, { recursive: true });
      const bytes = readFileSync(join(copy, name));
      bytes[at]! ^= 1;
      writeFileSync(join(copy, name), bytes);
      return verify(copy, vkey, join(folder, "proofs.json"));
    };
    assert.match(spoil("checkpoint", 25).stderr, /checkpoint:/);
    // x/mod 0.7.0 compares some full tiles with entries only, not with the tile above.
    assert.match(spoil("tile/0/001", 40).stderr, /tiles:|entry 257 is not/);
    assert.match(spoil("tile/1/000.p/2", 3).stderr, /tiles:/);
    assert.match(spoil("tile/entries/002.p/189", 40).stderr, /entry 512 is not what its tile says/);
    const proofs = JSON.parse(readFileSync(join(folder, "proofs.json"), "utf8"));
    [proofs.inclusion[3].path[0], proofs.inclusion[3].path[1]] = [
      proofs.inclusion[3].path[1],
      proofs.inclusion[3].path[0],
    ];
    writeFileSync(join(folder, "wrong.json"), JSON.stringify(proofs));
    assert.match(verify(join(folder, "log/public"), vkey, join(folder, "wrong.json")).stderr, /inclusion of 254/);
    const other = vkey.replace(ORIGIN, "other.example/log");
    assert.notEqual(verify(join(folder, "log/public"), other, join(folder, "proofs.json")).status, 0);
  });
});
