import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ed25519Key } from "@ldclabs/cose-ts/ed25519";
import { Sign1Message } from "@ldclabs/cose-ts/sign1";
import { decode } from "cborg";
import { toHex } from "tallystick/bytes/bytes";
import { formatVerifierKey } from "tallystick/log/note";
import { TILE_WIDTH, tilePath } from "tallystick/log/tile";
import { idOf, judge, LATER_S, PROMISED_S, PromisingRelay } from "./promising.js";

const SOURCE = fileURLToPath(new URL("./go/omission.go", import.meta.url));
/** Where Debian's golang-golang-x-mod-dev puts the packages. */
const ENVIRONMENT = { ...process.env, GO111MODULE: "off", GOPATH: "/usr/share/gocode" };

/** The same bytes, read by those who know nothing of Tallystick: each part of the proof but the names of its labels. */
describe("evidence: proof of omission, read by others", () => {
  const relay = new PromisingRelay();
  const names = Array.from({ length: 700 }, (_, i) => `record ${i}`);
  const leaves = relay.leaves(...names);
  const dropped = idOf("dropped");
  const promise = relay.acknowledgement(leaves.slice(0, 300), {
    received: { seq: 9, id: dropped },
    logged: { seq: 8, id: idOf("record 4") },
  });

  it("npm's @ldclabs/cose-ts verifies the acknowledgement, and cborg reads the promise in it", () => {
    const key = Ed25519Key.fromPublic(relay.device.publicKey);
    const { payload } = Sign1Message.fromBytes(key, promise);
    const read = decode(payload, { useMaps: true }) as Map<number, unknown>;
    assert.deepEqual(read.get(3), [9, dropped]);
    assert.equal(read.get(6), PROMISED_S);
    for (let at = 2; at < promise.length; at++) {
      const flipped = promise.slice();
      flipped[at]! ^= 1;
      assert.throws(() => Sign1Message.fromBytes(key, flipped), `byte ${at}`);
    }
  });

  it("Go's golang.org/x/mod/sumdb makes the root from the leaf hashes, and finds there what this project finds", function () {
    this.timeout(120_000);
    const list = spawnSync("go", ["list", "golang.org/x/mod/sumdb/tlog"], { env: ENVIRONMENT });
    if (list.status !== 0) {
      console.log("      SKIPPED, Go did not look: golang-go and golang-golang-x-mod-dev are not both installed");
      this.skip();
    }
    const folder = mkdtempSync(join(tmpdir(), "tallystick-omission-"));
    try {
      const program = join(folder, "omission");
      execFileSync("go", ["build", "-o", program, SOURCE], { env: ENVIRONMENT });
      const publish = (path: string, bytes: Uint8Array) => {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), bytes);
      };
      const later = relay.checkpoint(leaves, [LATER_S, LATER_S]);
      publish("checkpoint", later);
      let last = "";
      for (let index = 0; index * TILE_WIDTH < leaves.length; index++) {
        const hashes = leaves.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH);
        last = tilePath({ level: 0, index, width: hashes.length });
        publish(last, new Uint8Array(Buffer.concat(hashes)));
      }
      const ids = [dropped, idOf("record 0"), idOf("record 699"), leaves[0]!];
      const look = () =>
        spawnSync(program, [folder, formatVerifierKey(relay.log.key), ...ids.map(toHex)], { encoding: "utf8" });
      const { stdout, stderr, status } = look();
      assert.equal(stderr, "");
      assert.equal(status, 0);
      const [a, b, c, d] = ids.map(toHex);
      assert.equal(stdout, `root of 701 leaf hashes\n${a} absent\n${b} index 1\n${c} index 700\n${d} index 0\n`);
      const claim = { later, policy: relay.policy(), opening: relay.opening };
      assert.equal(judge({ ...claim, acknowledgement: promise }, leaves).verdict, "proved");
      for (const [id, index] of [
        [ids[1]!, 1],
        [ids[2]!, 700],
      ] as const) {
        const acknowledgement = relay.acknowledgement(leaves.slice(0, 1), { received: { seq: 9, id } });
        const report = judge({ ...claim, acknowledgement }, leaves);
        assert.equal(report.verdict, "false");
        assert.match(report.steps.at(-1)!.finding, new RegExp(`index ${index} of 701`));
      }
      const bytes = readFileSync(join(folder, last));
      bytes[40]! ^= 1;
      writeFileSync(join(folder, last), bytes);
      assert.match(look().stderr, /give another root/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
