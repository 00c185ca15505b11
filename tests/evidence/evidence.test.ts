import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { decode as foreignDecode } from "cborg";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeBundle, readBundle } from "tallystick/evidence/bundle";
import { type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { formatVerifierKey, SignatureType, verifierKey } from "tallystick/log/note";
import { memoryLog } from "../fixtures/memory-log.js";

const load = (name: string) => JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), "utf8"));
const vector: { policy: Record<string, unknown>; verdict: string; evidence: string } = load("evidence.json");
const evidence = fromHex(vector.evidence)!;

function verify(bytes: Uint8Array, policy: unknown): Report {
  const read = readPolicy(portableCrypto.sha256, JSON.stringify(policy));
  assert(read.ok, JSON.stringify(read));
  const report = verifyEvidence(portableCrypto, bytes, read.value);
  assert(report.ok, JSON.stringify(report));
  return report.value;
}

describe("evidence", () => {
  it("proves the vector, each record and the checkpoint by name", () => {
    const report = verify(evidence, vector.policy);
    assert.equal(report.verdict, vector.verdict, JSON.stringify(report.steps));
    assert.equal(report.steps.filter((step) => step.state !== "proved").length, 1, "only the anchor is open");
    assert.equal(report.records.length, 2);
    assert(report.notProved.length > 0);
  });

  it("says that it cannot know of what was left out, of other branches and of revocations, whatever it proves", () => {
    const { notProved } = verify(evidence, vector.policy);
    for (const limit of [/^that nothing was left out/, /^that no other branch/, /^that no key shown here is revoked/])
      assert.ok(
        notProved.some((line) => limit.test(line)),
        `${limit} of ${notProved.join("; ")}`,
      );
  });

  it("is incomplete where the policy asks for more than the file can show", () => {
    assert.equal(verify(evidence, { ...vector.policy, require: ["anchored"] }).verdict, "incomplete");
    assert.equal(verify(evidence, { ...vector.policy, require: ["witnessed"] }).verdict, "incomplete");
    assert.equal(verify(evidence, { require: ["signature", "logged"] }).verdict, "incomplete", "no log key");
    assert.equal(verify(evidence, { log: vector.policy["log"], require: ["device"] }).verdict, "incomplete");
  });

  it("asks for what a policy names, where it does not say what it requires", () => {
    const { log, devices } = vector.policy;
    const device = portableCrypto.ed25519.publicKey(new Uint8Array(32).fill(77));
    const stranger = didKey(device);
    const ledgers = [{ kind: "evm", chainId: 1, contract: `0x${"11".repeat(20)}`, block: `0x${"22".repeat(32)}` }];
    const asks = (policy: object, verdict: string, ...required: string[]) => {
      const report = verify(evidence, policy);
      assert.deepEqual([report.verdict, ...report.required], [verdict, "signature", ...required]);
    };
    asks({ log, devices }, "proved", "device", "logged");
    asks({ log, devices: [stranger] }, "incomplete", "device", "logged");
    asks({ log, makers: [stranger] }, "incomplete", "device", "logged");
    asks({ devices }, "proved", "device");
    asks({ log }, "proved", "logged");
    asks({}, "incomplete", "logged");
    asks({ log, ledgers }, "incomplete", "logged", "anchored");
    const witnesses = [formatVerifierKey(verifierKey(portableCrypto.sha256, "w", SignatureType.cosignature, device))];
    asks({ log, witnesses }, "incomplete", "logged", "witnessed");
    asks({ log, witnesses, witnessQuorum: 0 }, "proved", "logged");
  });

  it("is false under another log's key, and for a receipt of another tree", () => {
    const other = memoryLog("tallystick.example/log", new Uint8Array(32).fill(0x11), [evidence]);
    assert.equal(verify(evidence, { ...vector.policy, log: other.vkey }).verdict, "false");
    const bundle = readBundle(evidence);
    assert(bundle.ok);
    const log = memoryLog(
      "tallystick.example/log",
      new Uint8Array(32).fill(0x10),
      bundle.value.entries.map((entry) => entry.record),
    );
    const swapped = {
      ...bundle.value,
      entries: bundle.value.entries.map((entry, i) => ({ ...entry, receipt: log.receipt(i, 2) })),
    };
    assert.equal(verify(encodeBundle(swapped), vector.policy).verdict, "false");
  });

  it("knows a device by the policy only", () => {
    const stranger = didKey(portableCrypto.ed25519.publicKey(new Uint8Array(32).fill(77)));
    assert.equal(verify(evidence, { ...vector.policy, devices: [stranger] }).verdict, "incomplete");
  });

  it("never proves a file with any changed byte of a record, receipt or checkpoint (seeded)", () => {
    const read = readPolicy(portableCrypto.sha256, JSON.stringify(vector.policy));
    assert(read.ok);
    const policy = read.value;
    // What stands in the claims, in `next` and in the origin's text is not relied on.
    const relied = evidence.length - 300;
    fc.assert(
      fc.property(fc.nat(relied - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = evidence.slice();
        changed[at]! ^= flip;
        const report = verifyEvidence(portableCrypto, changed, policy);
        if (!report.ok || report.value.verdict !== "proved") return;
        const bundle = readBundle(changed);
        const original = readBundle(evidence);
        assert(bundle.ok && original.ok);
        for (const [i, entry] of bundle.value.entries.entries()) {
          assert.equal(toHex(entry.record), toHex(original.value.entries[i]!.record));
          assert.equal(toHex(entry.receipt), toHex(original.value.entries[i]!.receipt));
        }
      }),
      { numRuns: 40 },
    );
  });

  it("is plain CBOR to a foreign decoder", () => {
    const map = foreignDecode(evidence, { useMaps: true, strict: true }) as Map<number, unknown>;
    assert.deepEqual([...map.keys()], [1, 2, 3, 4, 5, 6]);
    assert.equal(map.get(2), "tallystick.example/log");
  });

  it("refuses what is no evidence, and policies that say something unknown, with their codes", () => {
    for (const hex of ["", "a0", "8100", `${vector.evidence}00`, vector.evidence.slice(0, -2)]) {
      const read = readBundle(fromHex(hex)!);
      assert(!read.ok);
      assert.match(read.failure.code, /^(CBOR_INVALID|EVIDENCE_MALFORMED)$/);
    }
    const policies = [
      "",
      "[]",
      '{"logs":"x"}',
      '{"log":"x"}',
      '{"devices":["did:key:z1"]}',
      '{"require":["faith"]}',
      '{"ledgers":[{"kind":"evm"}]}',
      '{"require":[]}',
      '{"witnessQuorum":-1}',
      '{"witnessQuorum":1}',
      '{"witnessQuorum":1e20}',
    ];
    for (const text of policies) {
      const read = readPolicy(portableCrypto.sha256, text);
      assert(!read.ok, text);
      assert.match(read.failure.code, /^(POLICY_MALFORMED|NOTE_KEY_MALFORMED)$/);
    }
  });
});
