import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { toHex } from "tallystick/bytes/bytes";
import { makeRevocation, type Revocation } from "tallystick/chain/revocation";
import { encodeBundle, readBundle } from "tallystick/evidence/bundle";
import { type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import type { Identity } from "tallystick/identity/identity";
import { didKey } from "tallystick/identity/key";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, readingPayload } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { memoryLog } from "../fixtures/memory-log.js";
import { keyOf, stateKey, TREE, vkeyOf } from "../fixtures/relay-keys.js";
import { must } from "../relay/started.js";

const ORIGIN = "tallystick.example/log";

/** What keys' ends and changes do to evidence: the reader believes no more and no less than what was signed for them. */
describe("evidence: keys", () => {
  const operator = new FixtureDevice({ crypto: relayCrypto });
  const stranger = new FixtureDevice({ crypto: relayCrypto });

  function fresh(genesis: ConstructorParameters<typeof FixtureDevice>[0]["genesis"] = {}): FixtureDevice {
    const device = new FixtureDevice({
      crypto: relayCrypto,
      genesis: { relayKey: operator.identity.publicKey, ...genesis },
    });
    device.appendReadings(4);
    return device;
  }

  /** A chain that ends with a rotation, and the next key's, whose genesis names the rotate record. */
  function rotated(device: FixtureDevice, named?: Uint8Array): FixtureDevice {
    const seed = new Uint8Array(randomBytes(32));
    const next = new FixtureDevice({ crypto: relayCrypto, seed }).identity.publicKey;
    device.appendRotate(named ?? next);
    const { seq, id } = device.head;
    const predecessor = { kid: device.identity.kid, seq, id };
    const successor = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { predecessor } });
    successor.appendReadings(2);
    return successor;
  }

  function verify(
    records: readonly Uint8Array[],
    policy: object,
    revocations: readonly Uint8Array[] = [],
    relayKeys: readonly Uint8Array[] = [],
  ): Report {
    const log = memoryLog(ORIGIN, new Uint8Array(32).fill(0x10), records);
    const size = records.length;
    const bytes = encodeBundle({
      origin: ORIGIN,
      entries: records.map((record, i) => ({ record, receipt: log.receipt(i, size) })),
      checkpoint: log.checkpoint(size),
      anchors: [],
      claims: { logKey: log.vkey, witnessKeys: [] },
      revocations,
      relayKeys,
    });
    const required = { log: log.vkey, require: ["signature", "device", "logged"], ...policy };
    const read = must(readPolicy(relayCrypto.sha256, JSON.stringify(required)));
    return must(verifyEvidence(relayCrypto, bytes, read));
  }

  function revocation(
    device: FixtureDevice,
    fromSeq: number,
    signer: Identity,
    change: Partial<Revocation> = {},
  ): Uint8Array {
    const content = { kid: device.identity.kid, fromSeq, timeS: 1_800_000_000, ...change };
    return makeRevocation(signer.kid, content, (bytes) => must(signer.sign(bytes)));
  }

  const did = (device: FixtureDevice) => didKey(device.identity.publicKey);
  const codesOf = (report: Report) => report.steps.flatMap(({ failure }) => failure?.code ?? []);

  it("a revoked key counts below the position, and is false from it on", () => {
    const device = fresh();
    const policy = { devices: [did(device)] };
    const statement = revocation(device, 3, operator.identity);
    assert.equal(verify(device.chain, policy).verdict, "proved");
    assert.equal(verify(device.chain.slice(0, 3), policy, [statement]).verdict, "proved");
    const report = verify(device.chain, policy, [statement]);
    assert.equal(report.verdict, "false");
    assert.deepEqual(codesOf(report), ["KEY_REVOKED", "KEY_REVOKED"]);
  });

  it("of two revocations the one from the lower position on counts", () => {
    const device = fresh();
    const statements = [4, 2].map((from) => revocation(device, from, operator.identity));
    assert.equal(codesOf(verify(device.chain, { devices: [did(device)] }, statements)).length, 3);
  });

  it("a revocation by a stranger, or of another key, says nothing", () => {
    const device = fresh();
    for (const statement of [
      revocation(device, 0, stranger.identity),
      revocation(device, 0, device.identity),
      revocation(stranger, 0, operator.identity),
    ])
      assert.equal(verify(device.chain, { devices: [did(device)] }, [statement]).verdict, "proved");
  });

  it("tells of each revocation in the file, also of one that does not count", () => {
    const device = fresh();
    const told = (statement: Uint8Array) => {
      const { verdict, steps } = verify(device.chain.slice(0, 3), { devices: [did(device)] }, [statement]);
      const [step, ...more] = steps.filter(({ requirement }) => requirement === "revoked");
      assert.equal(more.length, 0);
      return [verdict, step!.state, step!.subject, step!.finding];
    };
    const subject = toHex(device.identity.kid);
    const said = (signer: Identity) => `revoked from seq 3 on in the name of the key ${toHex(signer.kid)}`;
    const counts = told(revocation(device, 3, operator.identity));
    assert.deepEqual(counts, ["proved", "proved", subject, said(operator.identity)]);
    const foreign = told(revocation(device, 3, stranger.identity));
    assert.deepEqual(foreign.slice(0, 3), ["proved", "open", subject]);
    assert.ok(foreign[3]!.startsWith(`${said(stranger.identity)}: not signed by a key `), foreign[3]);
    // In the name of the operator, by another key.
    const content = { kid: device.identity.kid, fromSeq: 3, timeS: 1_800_000_000 };
    const forged = makeRevocation(operator.identity.kid, content, (bytes) => must(stranger.identity.sign(bytes)));
    assert.equal(told(forged)[1], "open");
  });

  it("where genesis names an owner, the owner revokes, and the relay's key does not", () => {
    const seed = new Uint8Array(randomBytes(32));
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    const statement = new FixtureMaker(relayCrypto).vouch(publicKey, { ownerKey: stranger.identity.publicKey });
    const genesis = { relayKey: operator.identity.publicKey, statement };
    const device = new FixtureDevice({ crypto: relayCrypto, seed, genesis });
    device.appendReadings(4);
    const by = (signer: Identity) =>
      verify(device.chain, { devices: [did(device)] }, [revocation(device, 3, signer)]).verdict;
    assert.equal(by(stranger.identity), "false");
    assert.equal(by(operator.identity), "proved");
  });

  it("of a relay whose keys have changed, the operator's word is known by the statements that say so", () => {
    const [pinned, recovery] = [keyOf(0x31), keyOf(0x32)];
    const genesis = { relayKey: pinned.publicKey, recoveryKey: recovery.publicKey };
    const device = fresh(genesis);
    const named = (signer: Identity, next: Identity, generation: number, possessor = next) =>
      stateKey(
        signer,
        next,
        { origin: ORIGIN, generation, logKey: vkeyOf(ORIGIN, 0x10), ...(signer === recovery && { tree: TREE }) },
        possessor,
      );
    const next = keyOf(0x33);
    const by = (signer: Identity, ...relayKeys: readonly Uint8Array[]) =>
      verify(device.chain, { devices: [did(device)] }, [revocation(device, 3, signer)], relayKeys).verdict;
    assert.equal(by(pinned), "false");
    assert.equal(by(next), "proved", "nobody's word without the statement");
    assert.equal(by(next, named(pinned, next, 1)), "false");
    assert.equal(by(next, named(recovery, next, 1024)), "false");
    assert.equal(by(next, named(pinned, keyOf(0x34), 1), named(keyOf(0x34), next, 2)), "false", "step by step");
    assert.equal(by(next, named(keyOf(0x34), next, 2)), "proved", "a step is missing");
    assert.equal(by(next, named(stranger.identity, next, 1)), "proved");
    assert.equal(by(next, named(pinned, next, 1, pinned)), "proved", "the next key did not want it");
    assert.equal(by(recovery), "proved", "the recovery key names keys, and revokes none");
  });

  it("a policy's operator is known by the keys that were its own before and after", () => {
    const [first, second, third, recovery] = [keyOf(0x31), keyOf(0x32), keyOf(0x33), keyOf(0x35)];
    const seed = new Uint8Array(randomBytes(32));
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    // An owner is named, so that only the policy makes the operator's word count.
    const statement = new FixtureMaker(relayCrypto).vouch(publicKey, { ownerKey: stranger.identity.publicKey });
    const genesis = { relayKey: first.publicKey, recoveryKey: recovery.publicKey, statement };
    const device = new FixtureDevice({ crypto: relayCrypto, seed, genesis });
    device.appendReadings(4);
    const named = (signer: Identity, next: Identity, generation: number, possessor = next) =>
      stateKey(
        signer,
        next,
        { origin: ORIGIN, generation, logKey: vkeyOf(ORIGIN, 0x10), ...(signer === recovery && { tree: TREE }) },
        possessor,
      );
    const by = (trusted: Identity, signer: Identity, ...relayKeys: readonly Uint8Array[]) =>
      verify(
        device.chain,
        { devices: [did(device)], operators: [didKey(trusted.publicKey)] },
        [revocation(device, 3, signer)],
        relayKeys,
      ).verdict;
    const changes = [named(first, second, 1), named(second, third, 2)];
    for (const trusted of [first, second, third])
      for (const signer of [first, second, third])
        assert.equal(
          by(trusted, signer, ...changes),
          "false",
          `${didKey(trusted.publicKey)} ${didKey(signer.publicKey)}`,
        );
    assert.equal(by(third, first), "proved", "no statement");
    assert.equal(by(third, first, changes[0]!), "proved", "a step is missing");
    assert.equal(by(second, first, named(first, second, 1, first)), "proved", "the next key did not want it");
    const thief = keyOf(0x36);
    assert.equal(by(second, thief, named(thief, second, 1, thief)), "proved", "a stranger who names it as his next");
    assert.equal(by(second, first, named(recovery, second, 1024)), "proved", "the recovery key left the first");
    assert.equal(by(second, recovery, named(recovery, second, 1024)), "proved", "it names keys, and revokes none");
    // A key that nothing in the file spells out cannot be asked whether it signed; that it revokes is told all the same.
    const unpinned = new FixtureDevice({ crypto: relayCrypto });
    unpinned.appendReadings(1);
    const policy = { devices: [did(unpinned)], operators: [didKey(second.publicKey)] };
    const report = verify(unpinned.chain, policy, [revocation(unpinned, 0, first)], [changes[0]!]);
    assert.equal(report.verdict, "proved");
    assert.equal(report.steps.find(({ requirement }) => requirement === "revoked")?.state, "open");
  });

  it("the policy says whose revocations it believes beside genesis, and what it knows to be revoked", () => {
    const device = fresh();
    const statement = revocation(device, 3, stranger.identity);
    const believing = { devices: [did(device)], operators: [did(stranger)] };
    assert.equal(verify(device.chain, believing, [statement]).verdict, "false");
    const knowing = (from: number) => ({ devices: [did(device)], revoked: [{ device: did(device), from }] });
    assert.equal(verify(device.chain, knowing(4)).verdict, "false");
    assert.equal(verify(device.chain, knowing(5)).verdict, "proved");
    for (const revoked of [
      [{}],
      [{ device: did(device) }],
      [{ device: did(device), from: -1 }],
      [{ device: "x", from: 1 }],
    ])
      assert.equal(readPolicy(relayCrypto.sha256, JSON.stringify({ revoked })).ok, false);
    assert.equal(readPolicy(relayCrypto.sha256, JSON.stringify({ operators: ["x"] })).ok, false);
  });

  it("a rotated key is known by the key before it, over several rotations, and the other way", () => {
    const first = fresh();
    const second = rotated(first);
    const third = rotated(second);
    const records = [
      third.chain[1]!,
      third.chain[0]!,
      second.chain[3]!,
      second.chain[0]!,
      first.chain[5]!,
      first.chain[0]!,
    ];
    for (const device of [first, second, third]) {
      const report = verify(records, { devices: [did(device)] });
      assert.equal(report.verdict, "proved", JSON.stringify(report.steps.filter(({ state }) => state !== "proved")));
    }
    assert.equal(verify(records, { devices: [did(stranger)] }).verdict, "incomplete");
  });

  it("no key is known by a rotation that names another, lacks its genesis, or was revoked before", () => {
    const first = fresh();
    const second = rotated(first);
    const policy = { devices: [did(first)] };
    const whole = [second.chain[1]!, second.chain[0]!, first.chain[5]!, first.chain[0]!];
    assert.equal(verify(whole, policy).verdict, "proved");
    assert.equal(verify(whole.slice(0, 2), policy).verdict, "incomplete", "no rotate record");
    assert.equal(verify(whole, policy, [revocation(first, 5, operator.identity)]).verdict, "false");
    const other = fresh();
    const pretender = rotated(other, stranger.identity.publicKey);
    const pretended = [pretender.chain[1]!, pretender.chain[0]!, other.chain[5]!, other.chain[0]!];
    assert.equal(verify(pretended, { devices: [did(other)] }).verdict, "incomplete");
  });

  it("what a key signs behind its rotation is false", () => {
    const device = fresh();
    rotated(device);
    device.appendReading(9);
    const report = verify([device.chain[0]!, ...device.chain.slice(5)], { devices: [did(device)] });
    assert.equal(report.verdict, "false");
    assert.deepEqual(codesOf(report), ["CHAIN_CLOSED"]);
  });

  it("two records of one key at one position are a fork, and neither counts", () => {
    const device = fresh();
    const id = recordId(relayCrypto.sha256, device.chain[1]!);
    const other = device.make(Kind.readings, readingPayload(77), { ...device.head, seq: 1, id });
    const policy = { devices: [did(device)] };
    const report = verify([...device.chain, other], policy);
    assert.equal(report.verdict, "false");
    assert.deepEqual(codesOf(report), ["CHAIN_FORK", "CHAIN_FORK"]);
    const forged = other.slice();
    forged[forged.length - 1]! ^= 1;
    assert.deepEqual(codesOf(verify([...device.chain, forged], policy)), [], "what the key has not signed is no fork");
    assert.equal(verify([...device.chain, device.chain[2]!], policy).verdict, "proved", "nor is one record twice");
  });

  it("a file with a revocation that is none cannot be read", () => {
    const device = fresh();
    const bundle = {
      origin: ORIGIN,
      entries: [{ record: device.chain[0]!, receipt: new Uint8Array(4) }],
      checkpoint: "x",
      anchors: [],
      claims: { logKey: "x", witnessKeys: [] },
    };
    for (const wrong of [{ revocations: [device.chain[0]!] }, { relayKeys: [device.chain[0]!] }]) {
      const read = readBundle(encodeBundle({ ...bundle, ...wrong }));
      assert.equal(read.ok ? undefined : read.failure.code, "EVIDENCE_MALFORMED");
    }
  });
});
