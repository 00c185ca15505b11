import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatVerifierKey, parseNote } from "tallystick/log/note";
import { WITNESSES_MAX, withCosignatures } from "tallystick/log/witness";
import { AnyLog, must, ORIGIN, post, StartedWitness } from "./fixture.js";

const SOURCE = fileURLToPath(new URL("./go/cosigned.go", import.meta.url));
/** Where Debian's golang-golang-x-mod-dev puts the packages. */
const GOPATH = "/usr/share/gocode";

function missing(): string | undefined {
  if (spawnSync("go", ["version"]).status !== 0) return "go is not installed (Debian: golang-go)";
  const environment = { ...process.env, GO111MODULE: "off", GOPATH };
  const list = spawnSync("go", ["list", "golang.org/x/mod/sumdb/note"], { env: environment });
  return list.status === 0 ? undefined : "golang.org/x/mod is not there (Debian: golang-golang-x-mod-dev)";
}

describe("witness: cosigned checkpoints, opened by Go's golang.org/x/mod/sumdb/note", function () {
  this.timeout(120_000);
  const log = new AnyLog();
  let folder: string;
  let witnesses: StartedWitness[];
  let checkpoint: Uint8Array;
  let program: string;

  before(async function () {
    const lacking = missing();
    if (lacking !== undefined) {
      console.log(`      SKIPPED, the foreign verifier did not run: ${lacking}`);
      this.skip();
    }
    folder = mkdtempSync(join(tmpdir(), "tallystick-cosigned-"));
    program = join(folder, "cosigned");
    execFileSync("go", ["build", "-o", program, SOURCE], { env: { ...process.env, GO111MODULE: "off", GOPATH } });
    witnesses = [];
    checkpoint = log.checkpoint(9);
    for (let i = 0; i < WITNESSES_MAX; i++) {
      const witness = await StartedWitness.start([log.key], `witness.example/w${i}`);
      witnesses.push(witness);
      const answer = await post(witness.url, log.request(0, 9));
      const answered = must(parseNote(new Uint8Array(Buffer.from(`text\n\n${answer.text}`))));
      checkpoint = must(withCosignatures(checkpoint, answered.signatures));
    }
  });
  after(async () => {
    for (const witness of witnesses ?? []) await witness.close();
    if (folder) rmSync(folder, { recursive: true });
  });

  function open(bytes: Uint8Array, keys = witnesses.map(({ key }) => formatVerifierKey(key))) {
    const path = join(folder, "checkpoint");
    writeFileSync(path, bytes);
    return spawnSync(program, [path, formatVerifierKey(log.key), ...keys], { encoding: "utf8" });
  }

  it("the log's signature is found among the most lines that there can be, and each of these verifies", () => {
    const { stdout, stderr, status } = open(checkpoint);
    assert.equal(stderr, "");
    const names = [ORIGIN, ...witnesses.map(({ key }) => key.name)];
    const lines = [`log 1 verified, ${WITNESSES_MAX} passed over`, ...names.map((name) => `verified ${name}`)];
    assert.deepEqual(stdout.trim().split("\n"), lines);
    assert.equal(status, 0);
  });

  it("a changed time, signature or text is refused: it would have said so", () => {
    const text = Buffer.from(checkpoint).toString();
    const line = /\u2014 witness\.example\/w3 ([A-Za-z0-9+/=]+)\n/;
    for (const at of [11, 60]) {
      const changed = text.replace(line, (whole, encoded: string) => {
        const bytes = Buffer.from(encoded, "base64");
        bytes[at]! ^= 1;
        return whole.replace(encoded, bytes.toString("base64"));
      });
      assert.match(open(new Uint8Array(Buffer.from(changed))).stderr, /by all keys: invalid signature/, `byte ${at}`);
    }
    const other = new AnyLog(ORIGIN, 1, "!").checkpoint(9);
    const lines = must(parseNote(checkpoint)).signatures.slice(1, 2);
    assert.match(open(must(withCosignatures(other, lines))).stderr, /by all keys: invalid signature/);
  });
});
