import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { makeRevocation } from "tallystick/chain/revocation";
import { encodeBundle } from "tallystick/evidence/bundle";
import { type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import type { Crypto } from "tallystick/identity/crypto";
import type { Identity } from "tallystick/identity/identity";
import { didKey, kidOf } from "tallystick/identity/key";
import { makeRelayKey } from "tallystick/log/relay-key";
import { encodeCbor } from "tallystick/record/cbor";
import { coseKey } from "tallystick/record/payload";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, type FixtureDeviceOptions } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { memoryLog } from "../fixtures/memory-log.js";
import { keyOf, signWith, TREE, vkeyOf } from "../fixtures/relay-keys.js";
import { must } from "../relay/started.js";

const ORIGIN = "tallystick.example/log";
const LOG_SEED = new Uint8Array(32).fill(0x10);

/** A crypto that counts the equations it is asked for, and ends where a limit is passed. */
function counting(limit: number, sha256 = relayCrypto.sha256) {
  const counted = { equations: 0, hashes: 0 };
  const crypto: Crypto = {
    sha256: (bytes) => {
      counted.hashes++;
      return sha256(bytes);
    },
    ed25519: {
      ...relayCrypto.ed25519,
      publicKey: (seed) => relayCrypto.ed25519.publicKey(seed),
      sign: (...args) => relayCrypto.ed25519.sign(...args),
      equation: (...args) => {
        if (++counted.equations > limit) throw new Error(`more than ${limit} equations`);
        return relayCrypto.ed25519.equation(...args);
      },
    },
  };
  return { counted, crypto };
}

function bundleOf(
  records: readonly Uint8Array[],
  revocations: readonly Uint8Array[] = [],
  relayKeys: readonly Uint8Array[] = [],
  receipts = true,
): Uint8Array {
  const log = memoryLog(ORIGIN, LOG_SEED, receipts ? records : records.slice(0, 1));
  const size = receipts ? records.length : 1;
  return encodeBundle({
    origin: ORIGIN,
    entries: records.map((record, i) => ({ record, receipt: receipts ? log.receipt(i, size) : new Uint8Array(1) })),
    checkpoint: log.checkpoint(size),
    anchors: [],
    claims: { logKey: log.vkey, witnessKeys: [] },
    revocations,
    relayKeys,
  });
}

const policyOf = (policy: object) =>
  must(
    readPolicy(
      relayCrypto.sha256,
      JSON.stringify({ log: vkeyOf(ORIGIN, 0x10), require: ["signature", "device", "logged"], ...policy }),
    ),
  );

function verify(crypto: Crypto, bytes: Uint8Array, policy: object = {}): Report {
  return must(verifyEvidence(crypto, bytes, policyOf(policy)));
}

function rotated(device: FixtureDevice, options: Partial<FixtureDeviceOptions> = {}): FixtureDevice {
  const seed = options.seed ?? new Uint8Array(randomBytes(32));
  const next = new FixtureDevice({ crypto: relayCrypto, seed }).identity.publicKey;
  device.appendRotate(next);
  const { seq, id } = device.head;
  return new FixtureDevice({
    crypto: relayCrypto,
    seed,
    genesis: { predecessor: { kid: device.identity.kid, seq, id } },
  });
}

function revocation(device: FixtureDevice, fromSeq: number, signer: Identity): Uint8Array {
  return makeRevocation(signer.kid, { kid: device.identity.kid, fromSeq, timeS: 1_800_000_000 }, (bytes) =>
    must(signer.sign(bytes)),
  );
}

const did = (device: FixtureDevice) => didKey(device.identity.publicKey);

/** What a hostile file may make a reader do: some equations per record, not their square. */
describe("evidence that is made to mislead its reader, or to keep it busy", function () {
  this.timeout(120_000);
  /** Ten for each of 1,024 entries and two for each of 320 statements would be generous. */
  const LIMIT = 20_000;

  function measured(name: string, bytes: () => Uint8Array, policy: object = {}) {
    it(`${name}: at most ${LIMIT} equations`, () => {
      const file = bytes();
      const { counted, crypto } = counting(LIMIT);
      const began = performance.now();
      let ended = "to the end";
      try {
        verify(crypto, file, policy);
      } catch (error) {
        ended = (error as Error).message;
      }
      const ms = Math.round(performance.now() - began);
      const what = `${file.length} bytes: ${ended}, ${counted.hashes} hashes, ${ms} ms with libsodium`;
      // A file that is refused as it is read would measure nothing.
      assert.equal(ended, "to the end", what);
      assert.ok(counted.equations > 0 && counted.equations <= LIMIT, what);
    });
  }

  measured("512 keys that rotate one into the next, none of which is known", () => {
    const records: Uint8Array[] = [];
    let device = new FixtureDevice({ crypto: relayCrypto });
    for (let i = 0; i < 512; i++) {
      const next = rotated(device);
      records.push(device.chain[0]!, device.chain[1]!);
      device = next;
    }
    return bundleOf(records, [], [], false);
  });

  measured("one record 512 times beside 512 unsigned ones at its position", () => {
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReading(1);
    const forged = Array.from({ length: 511 }, (_, i) => {
      const bytes = device.chain[1]!.slice();
      new DataView(bytes.buffer).setUint16(bytes.length - 34, i + 1);
      return bytes;
    });
    const records = [device.chain[0]!, ...forged, ...Array.from({ length: 512 }, () => device.chain[1]!)];
    return bundleOf(records, [], [], false);
  });

  measured("1,024 chains of one relay, whose keys have changed 256 times, as often as a file may say", () => {
    const operator = keyOf(0x51);
    const records = Array.from(
      { length: 1024 },
      () => new FixtureDevice({ crypto: relayCrypto, genesis: { relayKey: operator.publicKey } }).chain[0]!,
    );
    const statement = { origin: "r", generation: 1, logKey: "x", deviceKey: operator.publicKey };
    const one = makeRelayKey(operator.kid, statement, signWith(operator), signWith(operator));
    return bundleOf(
      records,
      [revocationOfNobody()],
      Array.from({ length: 256 }, () => one),
      false,
    );
  });

  measured(
    "256 changes of keys that name an operator of the policy, by whom 256 genesis records are, and 64 revocations",
    () => {
      const operator = keyOf(0x51);
      const records = Array.from(
        { length: 256 },
        () => new FixtureDevice({ crypto: relayCrypto, genesis: { relayKey: operator.publicKey } }).chain[0]!,
      );
      const changes = Array.from({ length: 256 }, (_, i) => {
        const statement = { origin: ORIGIN, generation: i + 1, logKey: "x", deviceKey: operator.publicKey };
        return makeRelayKey(operator.kid, statement, signWith(operator), signWith(operator));
      });
      return bundleOf(records, Array.from({ length: 64 }, revocationOfNobody), changes, false);
    },
    { operators: [didKey(keyOf(0x51).publicKey)] },
  );

  measured("a lineage of 64 keys, known by its first, and 896 records of the last", () => {
    let device = new FixtureDevice({ crypto: relayCrypto });
    const records: Uint8Array[] = [];
    for (let i = 0; i < 63; i++) {
      const next = rotated(device);
      records.push(device.chain[0]!, device.chain[1]!);
      device = next;
    }
    device.appendReadings(890);
    return bundleOf([...records, ...device.chain], [], [], false);
  });

  function revocationOfNobody(): Uint8Array {
    return revocation(new FixtureDevice({ crypto: relayCrypto }), 0, keyOf(0x52));
  }

  it("a revocation by the operator counts after the recovery key was itself replaced twice", () => {
    const [pinned, ...recoveries] = [0x31, 0x32, 0x33, 0x34].map(keyOf) as [Identity, Identity, Identity, Identity];
    const operators = [0x41, 0x42, 0x43].map(keyOf);
    const device = new FixtureDevice({
      crypto: relayCrypto,
      genesis: { relayKey: pinned.publicKey, recoveryKey: recoveries[0]!.publicKey },
    });
    device.appendReadings(4);
    const recovered = (n: number) =>
      makeRelayKey(
        recoveries[n]!.kid,
        {
          origin: ORIGIN,
          generation: 1024 * (n + 1),
          deviceKey: operators[n]!.publicKey,
          logKey: vkeyOf(ORIGIN, 0x10),
          tree: TREE,
          ...(recoveries[n + 1] && { recoveryKey: recoveries[n + 1]!.publicKey }),
        },
        signWith(recoveries[n]!),
        signWith(operators[n]!),
      );
    const statements = [recovered(0), recovered(1), recovered(2)];
    const verdicts = operators.map(
      (operator, n) =>
        verify(relayCrypto, bundleOf(device.chain, [revocation(device, 3, operator)], statements.slice(0, n + 1)), {
          devices: [did(device)],
        }).verdict,
    );
    assert.deepEqual(verdicts, ["false", "false", "false"]);
  });

  it("an owner revokes the key that the device has come to by a rotation, and the operator does not", () => {
    const [operator, owner] = [keyOf(0x31), keyOf(0x35)];
    const seed = new Uint8Array(randomBytes(32));
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    const maker = new FixtureMaker(relayCrypto);
    const statement = maker.vouch(publicKey, { ownerKey: owner.publicKey });
    const first = new FixtureDevice({
      crypto: relayCrypto,
      seed,
      genesis: { relayKey: operator.publicKey, statement },
    });
    const nextSeed = new Uint8Array(randomBytes(32));
    const named = new FixtureDevice({ crypto: relayCrypto, seed: nextSeed }).identity.publicKey;
    first.appendRotate(named);
    const { seq, id } = first.head;
    const second = new FixtureDevice({
      crypto: relayCrypto,
      seed: nextSeed,
      genesis: { relayKey: operator.publicKey, predecessor: { kid: first.identity.kid, seq, id } },
    });
    second.appendReadings(2);
    const records = [...second.chain, first.chain[1]!, first.chain[0]!];
    const by = (signer: Identity) =>
      verify(relayCrypto, bundleOf(records, [revocation(second, 1, signer)]), { makers: [didKey(maker.publicKey)] })
        .verdict;
    assert.deepEqual({ owner: by(owner), operator: by(operator) }, { owner: "false", operator: "proved" });
  });

  it("no key is known by a rotation to a key that a kid alone names", () => {
    // The first 64 bits of two keys' hashes are made to be the same: what a collision would be.
    const listed = new FixtureDevice({ crypto: relayCrypto });
    const twinSeed = new Uint8Array(randomBytes(32));
    const twin = new FixtureDevice({ crypto: relayCrypto, seed: twinSeed });
    const hashed = (key: Uint8Array) => encodeCbor(coseKey(key));
    const [from, to] = [hashed(twin.identity.publicKey), hashed(listed.identity.publicKey)];
    const sha256 = (bytes: Uint8Array) => relayCrypto.sha256(Buffer.compare(bytes, from) === 0 ? to : bytes);
    const crypto: Crypto = { ...relayCrypto, sha256 };
    assert.deepEqual(kidOf(sha256, twin.identity.publicKey), listed.identity.kid);
    const thief = new FixtureDevice({ crypto });
    thief.appendReading(1);
    thief.appendRotate(listed.identity.publicKey);
    const { seq, id } = thief.head;
    // Announces the twin's key, signed by the twin; the listed key has signed nothing at all.
    const seedless = new FixtureDevice({
      crypto,
      seed: twinSeed,
      genesis: { predecessor: { kid: thief.identity.kid, seq, id } },
    });
    const records = [thief.chain[1]!, thief.chain[2]!, thief.chain[0]!, seedless.chain[0]!];
    const report = verify(crypto, bundleOf(records), { devices: [did(listed)] });
    const ofThief = report.steps.filter(
      ({ requirement, finding }) => requirement === "device" && finding.includes(did(listed)),
    );
    assert.deepEqual(ofThief, [], "the thief's key is known by a key that never signed for it");
  });

  it("label 8 stands where 7 is, as SPEC.md says, and nowhere else", () => {
    const operator = keyOf(0x51);
    const statement = { origin: "r", generation: 1, logKey: "x", deviceKey: operator.publicKey };
    const one = makeRelayKey(operator.kid, statement, signWith(operator), signWith(operator));
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReading(1);
    assert.equal(verifyEvidence(relayCrypto, bundleOf(device.chain, [], [one]), policyOf({})).ok, false);
  });
});
