import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeBundle } from "tallystick/evidence/bundle";
import { formatStep, type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { memoryLog } from "../fixtures/memory-log.js";
import { must } from "../relay/started.js";

const ORIGIN = "tallystick.example/log";

/** A reader who knows a maker need not know his devices. */
describe("evidence: makers", () => {
  const maker = new FixtureMaker(relayCrypto);
  const stranger = new FixtureMaker(relayCrypto, new Uint8Array(32).fill(0x66));
  const makers = [didKey(maker.publicKey)];

  function fresh(statement: (publicKey: Uint8Array) => Uint8Array, seed = new Uint8Array(randomBytes(32))) {
    const device = new FixtureDevice({ crypto: relayCrypto, seed, genesis: (key) => ({ statement: statement(key) }) });
    device.appendReadings(2);
    return device;
  }

  function verify(records: readonly Uint8Array[], policy: object): Report {
    const log = memoryLog(ORIGIN, new Uint8Array(32).fill(0x10), records);
    const bytes = encodeBundle({
      origin: ORIGIN,
      entries: records.map((record, i) => ({ record, receipt: log.receipt(i, records.length) })),
      checkpoint: log.checkpoint(records.length),
      anchors: [],
      claims: { logKey: log.vkey, witnessKeys: [] },
    });
    const required = { log: log.vkey, require: ["signature", "device", "logged"], ...policy };
    const read = must(readPolicy(relayCrypto.sha256, JSON.stringify(required)));
    return must(verifyEvidence(relayCrypto, bytes, read));
  }

  const deviceSteps = (report: Report) => report.steps.filter(({ requirement }) => requirement === "device");
  const codesOf = (report: Report) => report.steps.flatMap(({ failure }) => failure?.code ?? []);

  it("prove a device that the policy does not name, by the statement in its genesis", () => {
    const device = fresh((key) => maker.vouch(key));
    const report = verify(device.chain, { makers });
    assert.equal(report.verdict, "proved", report.steps.map(formatStep).join("\n"));
    assert.equal(deviceSteps(report).length, device.chain.length);
    for (const { finding } of deviceSteps(report))
      assert.equal(
        finding,
        `${makers[0]}, a maker that the policy knows, vouches for ${didKey(device.identity.publicKey)}`,
      );
    assert.equal(verify(device.chain, {}).verdict, "incomplete", "nobody is known");
    assert.equal(verify(device.chain, { makers: [didKey(stranger.publicKey)] }).verdict, "incomplete");
    assert.equal(verify(device.chain.slice(1), { makers }).verdict, "incomplete", "genesis is not in the file");
  });

  it("prove each device by its own genesis only", () => {
    const [vouched, other] = [fresh((key) => maker.vouch(key)), fresh((key) => stranger.vouch(key))];
    const report = verify([...vouched.chain, ...other.chain], { makers });
    assert.equal(report.verdict, "incomplete");
    const open = deviceSteps(report).filter(({ state }) => state === "open");
    assert.deepEqual(
      open.map(({ subject }) => subject),
      other.chain.map((record) => toHex(recordId(relayCrypto.sha256, record))),
    );
    const both = { makers, devices: [didKey(other.identity.publicKey)] };
    assert.equal(verify([...vouched.chain, ...other.chain], both).verdict, "proved");
  });

  it("make a file false where one is said to vouch for what he does not, even of a device that is known", () => {
    const otherKey = relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(0x77));
    for (const [code, statement] of [
      ["MAKER_MISMATCH", () => maker.vouch(otherKey)],
      ["MAKER_MISMATCH", (key: Uint8Array) => maker.vouch(key, { firmwareSha256: new Uint8Array(32) })],
      ["MAKER_FALSE", (key: Uint8Array) => flipped(maker.vouch(key))],
    ] as const) {
      const device = fresh(statement);
      const devices = [didKey(device.identity.publicKey)];
      for (const policy of [{ makers }, { makers, devices }]) {
        const report = verify(device.chain, policy);
        assert.equal(report.verdict, "false");
        assert.deepEqual(codesOf(report), [code]);
        const [step] = report.steps.filter(({ state }) => state === "false");
        assert.equal(step?.requirement, "device");
        assert.equal(step.subject, toHex(recordId(relayCrypto.sha256, device.chain[0]!)));
      }
      assert.equal(verify(device.chain, { devices }).verdict, "proved", "who knows no maker cares for none");
    }
  });

  it("say nothing where what is stated cannot be read, or is by nobody that is known", () => {
    for (const statement of [
      () => new Uint8Array(0),
      () => Uint8Array.of(1, 2, 3),
      (key: Uint8Array) => maker.vouch(key, { chip: new Uint8Array(3) }),
      (key: Uint8Array) => flipped(stranger.vouch(key)),
    ]) {
      const report = verify(fresh(statement).chain, { makers });
      assert.equal(report.verdict, "incomplete");
      assert.deepEqual(codesOf(report), []);
    }
  });

  it("prove a key that a vouched one has handed on to by a rotation, and not one that has only succeeded it", () => {
    const device = fresh((key) => maker.vouch(key));
    const seed = new Uint8Array(randomBytes(32));
    const nextKey = new FixtureDevice({ crypto: relayCrypto, seed }).identity.publicKey;
    const { seq: before, id: beforeId } = device.head;
    const succeeded = new FixtureDevice({
      crypto: relayCrypto,
      seed,
      genesis: { predecessor: { kid: device.identity.kid, seq: before, id: beforeId } },
    });
    assert.equal(verify([...device.chain, ...succeeded.chain], { makers }).verdict, "incomplete");
    device.appendRotate(nextKey);
    const { seq, id } = device.head;
    const predecessor = { kid: device.identity.kid, seq, id };
    const next = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { predecessor } });
    const report = verify([...device.chain, ...next.chain], { makers });
    assert.equal(report.verdict, "proved", report.steps.map(formatStep).join("\n"));
    assert.match(deviceSteps(report).at(-1)!.finding, /^rotated from did:key:\w+, which a maker vouches for: did:key/);
  });

  it("read the vector alike with the portable cryptography", () => {
    const vector = JSON.parse(readFileSync(new URL("../vectors/maker.json", import.meta.url), "utf8"));
    const log = memoryLog(ORIGIN, new Uint8Array(32).fill(0x10), [fromHex(vector.genesis)!, Uint8Array.of(0)]);
    const bytes = encodeBundle({
      origin: ORIGIN,
      entries: [{ record: fromHex(vector.genesis)!, receipt: log.receipt(0, 2) }],
      checkpoint: log.checkpoint(2),
      anchors: [],
      claims: { logKey: log.vkey, witnessKeys: [] },
    });
    const policy = { log: log.vkey, makers: [didKey(fromHex(vector.makerPublicKey)!)], require: ["device"] };
    for (const crypto of [portableCrypto, relayCrypto]) {
      const read = must(readPolicy(crypto.sha256, JSON.stringify(policy)));
      assert.equal(must(verifyEvidence(crypto, bytes, read)).verdict, "proved");
    }
  });

  it("are refused in a policy where they are no did:key", () => {
    for (const text of ['{"makers":["did:key:z1"]}', '{"makers":"all"}', '{"maker":[]}']) {
      const read = readPolicy(relayCrypto.sha256, text);
      assert.ok(!read.ok && read.failure.code === "POLICY_MALFORMED", text);
    }
  });
});

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  changed[changed.length - 1]! ^= 1;
  return changed;
}
