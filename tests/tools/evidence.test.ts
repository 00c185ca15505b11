import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { type BundleClaims, encodeBundle, readBundle } from "tallystick/evidence/bundle";
import { didKey } from "tallystick/identity/key";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { vkeyOf } from "../fixtures/relay-keys.js";
import { must, StartedRelay } from "../relay/started.js";
import { runBeside } from "./run.js";
import { play } from "./session.js";

const HOUR_MS = 3_600_000;

/** The command against real relays, and against servers that answer with something else than was asked for. */
describe("tallystick evidence", function () {
  this.timeout(120_000);
  let folder: string;
  let started: StartedRelay;
  let device: FixtureDevice;
  const servers: Server[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-evidence-"));
    // No checkpoint but those that a test asks for.
    started = await StartedRelay.start({ batchIntervalMs: HOUR_MS });
    device = await started.device();
    device.appendReadings(3);
    device.read(await device.send(started.url), started.key);
    await started.settled();
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    await started.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const idHex = (seq: number) => toHex(recordId(relayCrypto.sha256, device.chain[seq]!));
  const fetched = (record: readonly string[], out: string, ...more: string[]) =>
    runBeside(folder, ["evidence", device.kid, ...record, "--relay", started.url, "--out", out, ...more]);

  it("keeps the file of one record, by position or id, and a policy to be compared first", async () => {
    const bySeq = await fetched(["--seq", "2"], "two.tally", "--policy-out", "policy.json");
    assert.match(bySeq.received, new RegExp(`^evidence of readings seq 2 {2}${idHex(2)}\nlog relay.example/test, 5 `));
    assert.match(bySeq.received, /\ntallystick evidence: policy.json: the relay's own word .* compare each /);
    assert.equal(bySeq.left, 0);
    const { bytes } = await get(`${started.url}/v1/records/${idHex(2)}/evidence`);
    assert.deepEqual(new Uint8Array(readFileSync(join(folder, "two.tally"))), bytes);
    assert.deepEqual(JSON.parse(readFileSync(join(folder, "policy.json"), "utf8")), {
      log: started.relay.identity.logKey,
      devices: [didKey(device.identity.publicKey)],
      require: ["signature", "device", "logged"],
    });
    const byId = await fetched(["--id", idHex(1)], "one.tally", "--json");
    const { origin, size, ...what } = JSON.parse(byId.received);
    assert.deepEqual(what, { kid: device.kid, seq: 1, id: idHex(1), kind: "readings", anchors: 0 });
    assert.deepEqual([origin, size], ["relay.example/test", 5]);
    for (const file of ["one.tally", "two.tally"]) {
      const verified = await runBeside(folder, ["verify", file, "--policy", "policy.json"]);
      assert.match(verified.received, /\nverdict: proved \(signature, device, logged\)\n$/);
    }
  });

  it("says by when a record that is not logged yet will be, and leaves a status of its own", async () => {
    device.appendReadings(1);
    device.read(await device.send(started.url, 4), started.key);
    const early = await fetched(["--seq", "4"], "four.tally");
    assert.match(early.received, /^tallystick evidence: RECORD_NOT_LOGGED: .*; the relay promises it by 20..-.*Z\); /);
    assert.equal(early.left, 3);
    const asJson = JSON.parse((await fetched(["--seq", "4"], "four.tally", "--json")).received);
    assert.equal(asJson.failure.code, "RECORD_NOT_LOGGED");
    assert.ok(asJson.log_by_s * 1000 > Date.now());
    await started.settled();
    assert.equal((await fetched(["--seq", "4"], "four.tally")).left, 0);
  });

  it("tells what is unknown from what was erased, and from a relay that is not there", async () => {
    const request = { kid: device.identity.kid, from: 2, to: 2, reason: "asked", by: "operator" };
    must(await eraseInFolder(started.folder, request, { decided: true, ...started.where }));
    writeFileSync(join(folder, "kept"), "a key");
    const to = (relay: string) => ["--relay", relay, "--out"];
    const here = to(started.url);
    const other = didKey(relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(9)));
    const cases: readonly [string[], RegExp, number][] = [
      [[device.kid, "--seq", "7", ...here, "x"], /RECORD_UNKNOWN: .* at seq 7; .* up to seq 3\)/, 1],
      [[device.kid, "--id", "00".repeat(32), ...here, "x"], /RECORD_UNKNOWN: /, 1],
      [[device.kid, "--seq", "2", ...here, "x"], /RECORD_ERASED: /, 1],
      [[device.kid, "--id", idHex(2), ...here, "x"], /RECORD_ERASED: /, 1],
      [["0011223344556677", "--seq", "0", ...here, "x"], /DEVICE_UNKNOWN: /, 1],
      [[other, "--id", idHex(1), ...here, "x"], /EVIDENCE_MALFORMED: .*expected a record of /, 1],
      [[device.kid, "--seq", "1", ...here, "kept"], /FILE_EXISTS: /, 1],
      [[device.kid, "--seq", "1", ...here, "x", "--policy-out", "kept"], /FILE_EXISTS: /, 1],
      [[device.kid, "--seq", "1", ...to("http://127.0.0.1:1"), "x"], /SERVER_UNREACHABLE: /, 1],
      [["someone", "--seq", "1", ...here, "x"], /KID_MALFORMED: /, 2],
      [[device.kid, ...here, "x"], /name the record by --seq <n> or by --id <hex>/, 2],
      [[device.kid, "--seq", "1", "--id", idHex(1), ...here, "x"], /name the record by --seq <n> or by --id <hex>/, 2],
      [[device.kid, "--seq", "-1", ...here, "x"], /expected a position/, 2],
    ];
    for (const [args, expected, status] of cases) {
      const { received, left } = await runBeside(folder, ["evidence", ...args]);
      assert.match(received, expected);
      assert.equal(left, status, received);
      assert.doesNotMatch(received, /^ {4}at /m);
    }
    // Nothing was begun that was not ended.
    assert.ok(!existsSync(join(folder, "x")));
    assert.equal(readFileSync(join(folder, "kept"), "utf8"), "a key");
  });

  it("takes nothing for the record but the record", async () => {
    const bytesOf = async (path: string) => (await get(`${started.url}${path}`)).bytes;
    const evidence = (seq: number) => bytesOf(`/v1/records/${idHex(seq)}/evidence`);
    const page = (seq: number) => bytesOf(`/v1/devices/${device.kid}/records?from=${seq}&to=${seq}`);
    const from = async (pageOf: Uint8Array, evidenceOf: Uint8Array) => {
      const url = await served((path) => (path.endsWith("/evidence") ? evidenceOf : pageOf));
      return runBeside(folder, ["evidence", device.kid, "--seq", "1", "--relay", url, "--out", "x"]);
    };
    const swapped = await from(await page(1), await evidence(2));
    assert.match(swapped.received, /EVIDENCE_MALFORMED: .*expected the record .* in it, received other records/);
    const shifted = await from(await page(2), await evidence(2));
    assert.match(shifted.received, /RECORD_MALFORMED: .* at seq 1, received that of .* at seq 2/);
    const endless = await from(new Uint8Array(70_000), new Uint8Array(0));
    assert.match(endless.received, /SERVER_UNREACHABLE: .*expected at most 65536 bytes, received more/);
    const nothing = await from(await page(1), new Uint8Array(0));
    assert.match(nothing.received, /CBOR_INVALID|EVIDENCE_MALFORMED/);
    for (const { left } of [swapped, shifted, endless, nothing]) assert.equal(left, 1);
    assert.equal((await from(await page(1), await evidence(1))).left, 0);
  });

  it("has the relay's witnesses in the policy, each of whom is to have cosigned, and no key of another log", async () => {
    const bytes = async (path: string) => (await get(`${started.url}${path}`)).bytes;
    const page = await bytes(`/v1/devices/${device.kid}/records?from=1&to=1`);
    const bundle = must(readBundle(await bytes(`/v1/records/${idHex(1)}/evidence`)));
    const from = async (claims: BundleClaims, name: string) => {
      const evidence = encodeBundle({ ...bundle, claims });
      const relay = await served((path) => (path.endsWith("/evidence") ? evidence : page));
      const out = ["--out", `${name}.tally`, "--policy-out", `${name}.json`];
      return runBeside(folder, ["evidence", device.kid, "--seq", "1", "--relay", relay, ...out]);
    };
    const witness = vkeyOf("witness.example/w1", 7);
    assert.equal((await from({ ...bundle.claims, witnessKeys: [witness] }, "cosigned")).left, 0);
    const { witnesses, witnessQuorum, require } = JSON.parse(readFileSync(join(folder, "cosigned.json"), "utf8"));
    assert.deepEqual([witnesses, witnessQuorum], [[witness], 1]);
    assert.deepEqual(require, ["signature", "device", "logged", "witnessed"]);
    const foreign = await from({ ...bundle.claims, logKey: vkeyOf("relay.example/other", 7) }, "foreign");
    assert.match(foreign.received, /EVIDENCE_MALFORMED: .*expected a log key of relay.example\/test, received /);
    assert.equal(foreign.left, 1);
    assert.ok(!existsSync(join(folder, "foreign.tally")));
  });

  it("says what it takes", () =>
    play(
      `
$ tallystick evidence --help
Usage: tallystick evidence [options] <device>
…
  --policy-out <file> …
…
Exit status: 0 kept, …
[0]
`,
      folder,
    ));

  /** A server that answers every request with the bytes for its path. */
  async function served(bytesFor: (path: string) => Uint8Array): Promise<string> {
    const server = createServer((request, response) => response.end(bytesFor(request.url!)));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
});
