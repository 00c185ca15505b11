import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { type Bundle, encodeBundle, readBundle } from "tallystick/evidence/bundle";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, get } from "../fixtures/device.js";
import { memoryLog } from "../fixtures/memory-log.js";
import { must, StartedRelay } from "../relay/started.js";

const PAGE = fileURLToPath(new URL("../../modules/evidence/BY-HAND.md", import.meta.url));
const VECTOR = fileURLToPath(new URL("../vectors/evidence.json", import.meta.url));
/** Debian's packages are for Debian's own Python, which another one may stand in front of. */
const PYTHONS = ["python3", "/usr/bin/python3"];

/** Which bytes of the file in argv[1], each in turn with its bits of argv[3] changed, leave it proved to the page's program. */
const SWEEP = `
import json, sys
import by_hand
data = open(sys.argv[1], "rb").read()
policy = json.load(open(sys.argv[2]))
mask = int(sys.argv[3])
proved = []
for at in range(len(data)):
    changed = data[:at] + bytes([data[at] ^ mask]) + data[at + 1:]
    try:
        by_hand.verify_evidence(changed, policy)
        proved.append(at)
    except Exception:
        pass
print(json.dumps(proved))
`;

interface Policy {
  readonly log: string;
  readonly devices: readonly string[];
}

describe("evidence: verified by hand, as BY-HAND.md says", function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), "tallystick-by-hand-"));
  const file = join(folder, "reading.tally");
  const policyFile = join(folder, "policy.json");
  const vector: { policy: Policy; evidence: string } = JSON.parse(readFileSync(VECTOR, "utf8"));
  let python: string;
  let started: StartedRelay | undefined;

  before(function () {
    const found = PYTHONS.find((name) => spawnSync(name, ["-c", "import cbor2, cryptography"]).status === 0);
    if (found === undefined) {
      console.log("      SKIPPED, the page's program did not run: no python3 with cryptography and cbor2 is here");
      console.log("      (Debian: python3-cryptography, python3-cbor2)");
      this.skip();
    }
    python = found;
    const [, extraction] = /^```sh\n(sed .*)$/m.exec(readFileSync(PAGE, "utf8"))!;
    const command = extraction!.replace("modules/evidence/BY-HAND.md", `"${PAGE}"`);
    const { status, stderr } = spawnSync(command, { cwd: folder, shell: true, encoding: "utf8" });
    assert.equal(status, 0, stderr);
    writeFileSync(join(folder, "sweep.py"), SWEEP);
  });
  after(async () => {
    await started?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function write(evidence: Uint8Array, policy: Policy): void {
    writeFileSync(file, evidence);
    writeFileSync(policyFile, JSON.stringify(policy));
  }

  function byHand(evidence: Uint8Array, policy: Policy): { readonly status: number | null; readonly output: string } {
    write(evidence, policy);
    const { status, stdout, stderr } = spawnSync(python, ["by_hand.py", file, policyFile], {
      cwd: folder,
      encoding: "utf8",
    });
    return { status, output: stdout + stderr };
  }

  function isProved(evidence: Uint8Array, policy: Policy): boolean {
    const required = JSON.stringify({ ...policy, require: ["signature", "device", "logged"] });
    const read = must(readPolicy(portableCrypto.sha256, required));
    const report = verifyEvidence(relayCrypto, evidence, read);
    return report.ok && report.value.verdict === "proved";
  }

  /** Both say the same, and the page's program why not. */
  function refused(evidence: Uint8Array, policy: Policy, why: RegExp): void {
    assert.equal(isProved(evidence, policy), false);
    const { status, output } = byHand(evidence, policy);
    assert.equal(status, 1, output);
    assert.match(output, why);
  }

  /** Each byte in turn: what holds a record, a receipt or the checkpoint is refused; elsewhere both say the same. */
  function sweep(evidence: Uint8Array, policy: Policy): void {
    const bundle = must(readBundle(evidence));
    const parts = [
      ...bundle.entries.flatMap(({ record, receipt }) => [record, receipt]),
      new TextEncoder().encode(bundle.checkpoint),
    ];
    const proving = new Set<number>();
    for (const part of parts) {
      const from = Buffer.from(evidence).indexOf(part);
      assert(from > 0);
      for (let at = from; at < from + part.length; at++) proving.add(at);
    }
    write(evidence, policy);
    for (const mask of [0x01, 0x80]) {
      const { stdout, stderr } = spawnSync(python, ["sweep.py", file, policyFile, String(mask)], {
        cwd: folder,
        encoding: "utf8",
      });
      assert.equal(stderr, "");
      const proved = new Set<number>(JSON.parse(stdout));
      for (let at = 0; at < evidence.length; at++) {
        const changed = evidence.slice();
        changed[at]! ^= mask;
        const where = `byte ${at} ^ ${mask}`;
        if (proving.has(at)) assert(!proved.has(at), `${where} was not missed`);
        // What proves nothing this page's program does not read: there Tallystick may find the file malformed.
        if (isProved(changed, policy)) assert(proved.has(at), `${where} is proved by Tallystick alone`);
      }
    }
  }

  it("proves the vectors, and refuses them with a byte changed", () => {
    const evidence = fromHex(vector.evidence)!;
    const { status, output } = byHand(evidence, vector.policy);
    assert.equal(status, 0, output);
    assert.match(output, /^record 3415bccd\S+ at 2 by a3adabaad93b5f38 is entry 2$/m);
    assert.match(output, /^ {2}cellar\/temperature -7\.0078125 Cel at 1790000000\.25$/m);
    assert.match(output, /^proved: /m);
    sweep(evidence, vector.policy);
  });

  it("proves what a relay made, and refuses it with a byte changed, cut short or lengthened", async () => {
    started = await StartedRelay.start();
    const device = await started.device();
    device.appendReadings(20);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    const id = toHex(recordId(relayCrypto.sha256, device.chain[13]!));
    const { bytes } = await get(`${started.url}/v1/records/${id}/evidence`);
    const policy = { log: started.relay.identity.logKey, devices: [didKey(device.identity.publicKey)] };
    assert(isProved(bytes, policy));
    const { status, output } = byHand(bytes, policy);
    assert.equal(status, 0, output);
    assert(output.includes(`record ${id} at 13 by ${device.kid} is entry 14\n`), output);
    sweep(bytes, policy);
    refused(bytes.slice(0, -1), policy, /not proved: /);
    refused(new Uint8Array([...bytes, 0]), policy, /not proved: /);
  });

  it("refuses another log's line, another device's name, and a line whose id is another key's", () => {
    const evidence = fromHex(vector.evidence)!;
    const other = memoryLog("other.example/log", new Uint8Array(32).fill(9), []);
    refused(evidence, { ...vector.policy, log: other.vkey }, /the checkpoint: not signed by the policy's log/);
    const sameName = memoryLog("tallystick.example/log", new Uint8Array(32).fill(9), []);
    refused(evidence, { ...vector.policy, log: sameName.vkey }, /the checkpoint: not signed by the policy's log/);
    const device = didKey(portableCrypto.ed25519.publicKey(new Uint8Array(32).fill(9)));
    refused(evidence, { ...vector.policy, devices: [device] }, /by a device that the policy does not name/);
    const slipped = { ...vector.policy, log: vector.policy.log.replace("+9fbc7f83+", "+9fbc7f84+") };
    assert.equal(readPolicy(portableCrypto.sha256, JSON.stringify(slipped)).ok, false);
    assert.match(byHand(evidence, slipped).output, /the log's line: the id is another key's/);
  });

  it("refuses parts that hold each by itself, and do not belong together", () => {
    const device = new FixtureDevice({ crypto: portableCrypto });
    const twin = device.make(Kind.mark, Uint8Array.of(0xa0));
    device.appendReadings(5);
    const seed = new Uint8Array(32).fill(0x31);
    const log = memoryLog("by-hand.example/log", seed, [...device.chain, twin]);
    const size = device.chain.length + 1;
    const policy = { log: log.vkey, devices: [didKey(device.identity.publicKey)] };
    const entry = (index: number) => ({
      record: index < device.chain.length ? device.chain[index]! : twin,
      receipt: log.receipt(index, size),
    });
    const bundle = {
      origin: log.key.name,
      entries: [entry(0), entry(3)],
      checkpoint: log.checkpoint(size),
      anchors: [],
      claims: { logKey: log.vkey, witnessKeys: [] },
    };
    const assembled = (parts: Partial<Bundle>) => encodeBundle({ ...bundle, ...parts });
    assert.equal(byHand(assembled({}), policy).status, 0);

    const swapped = { record: entry(3).record, receipt: entry(2).receipt };
    refused(assembled({ entries: [entry(0), swapped] }), policy, /a receipt: the signature does not hold/);
    const earlier = { record: entry(3).record, receipt: log.receipt(3, size - 1) };
    refused(assembled({ entries: [entry(0), earlier] }), policy, /for another tree than the checkpoint's/);
    refused(assembled({ entries: [entry(0), entry(1), entry(size - 1)] }), policy, /a fork/);
    refused(assembled({ checkpoint: log.checkpoint(size - 1) }), policy, /for another tree than the checkpoint's/);
    // Here the page's program asks for more: a policy's own word for the device is enough for Tallystick.
    const alone = assembled({ entries: [entry(3)] });
    assert.match(byHand(alone, policy).output, /lacks the record that announces a key/);
  });
});
