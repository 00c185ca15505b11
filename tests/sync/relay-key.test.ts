import assert from "node:assert/strict";
import { createPublicKey, verify as nodeVerify } from "node:crypto";
import { readFileSync } from "node:fs";
import { decode as foreignDecode, encode as foreignEncode } from "cborg";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import type { Code, Result } from "tallystick/codes/codes";
import type { Identity } from "tallystick/identity/identity";
import { formatVerifierKey, parseVerifierKey } from "tallystick/log/note";
import { RELAY_KEY_MAX_BYTES } from "tallystick/log/relay-key";
import { STATEMENT_MAX_BYTES } from "tallystick/record/statement";
import {
  FollowedPins,
  followRelayKey,
  GENERATION_RANGE,
  nextGeneration,
  RELAY_KEYS_MAX,
  recoveredGeneration,
} from "tallystick/sync/relay-key";
import { type RelayPins, readRelayPins, writeRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { MemoryKeys } from "../fixtures/device.js";
import { keyOf, stateKey, TREE, vkeyOf } from "../fixtures/relay-keys.js";
import { must } from "../relay/started.js";

const ORIGIN = "relay.example/keys";
const [first, second, third, thief] = [keyOf(1), keyOf(2), keyOf(3), keyOf(9)];
const [recovery, nextRecovery] = [keyOf(11), keyOf(12)];
const LOG = vkeyOf(ORIGIN, 21);
const NEXT_LOG = vkeyOf(ORIGIN, 22);

const vector = JSON.parse(readFileSync(new URL("../vectors/relay-key.json", import.meta.url), "utf8"));

function pinsOf(more: Partial<RelayPins> = {}): RelayPins {
  const logKey = must(parseVerifierKey(crypto.sha256, LOG));
  return {
    origin: ORIGIN,
    deviceKey: first.publicKey,
    logKey,
    recoveryKey: recovery.publicKey,
    generation: 0,
    ...more,
  };
}

const code = (result: Result<unknown>): Code | "ok" => (result.ok ? "ok" : result.failure.code);
const at = (generation: number, logKey = LOG) => ({ origin: ORIGIN, generation, logKey });
const recovering = (generation: number, logKey = LOG) => ({ ...at(generation, logKey), tree: TREE });

describe("a statement about the relay's keys", () => {
  it("is a COSE_Sign1 to a foreign decoder and verifier, and so is its proof of possession (cborg, node:crypto)", () => {
    const tags = Object.assign([], { 18: (decode: () => unknown) => decode() });
    const decode = (bytes: Uint8Array) => foreignDecode(bytes, { useMaps: true, strict: true, tags: tags as never });
    for (const name of ["rotation", "recovery"]) {
      const [header, , payload, signature] = decode(fromHex(vector[name])!) as Uint8Array[];
      const content = decode(payload!) as Map<number, unknown>;
      assert.deepEqual([...content.keys()], name === "rotation" ? [1, 2, 3, 4, 6] : [1, 2, 3, 4, 5, 6, 7]);
      const signerSeed = name === "rotation" ? vector.deviceSeeds[0] : vector.recoverySeeds[0];
      const nextKey = (content.get(3) as Map<number, Uint8Array>).get(-2)!;
      const signed = (body: Uint8Array) => foreignEncode(["Signature1", header, new Uint8Array(0), body]);
      const verify = (key: Uint8Array, body: Uint8Array, bytes: Uint8Array) => {
        const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key]);
        return nodeVerify(null, signed(body), createPublicKey({ key: spki, format: "der", type: "spki" }), bytes);
      };
      const signerKey = crypto.ed25519.publicKey(fromHex(signerSeed)!);
      assert.ok(verify(signerKey, payload!, signature!));
      const possession = content.get(6) as Uint8Array;
      content.delete(6);
      assert.ok(verify(nextKey, foreignEncode(content), possession), "label 6 is over the rest");
    }
  });

  it("is followed from the key that is pinned, one generation at a time", () => {
    const rotation = stateKey(first, second, at(1));
    const after = must(followRelayKey(crypto, pinsOf(), rotation));
    assert.deepEqual(after, pinsOf({ generation: 1, deviceKey: second.publicKey }));
    assert.equal(code(followRelayKey(crypto, after, rotation)), "RELAY_KEY_STALE");
    assert.equal(code(followRelayKey(crypto, pinsOf(), stateKey(first, second, at(2)))), "RELAY_KEY_FALSE");
    const next = must(followRelayKey(crypto, after, stateKey(second, third, at(2, NEXT_LOG))));
    assert.deepEqual(next.logKey, must(parseVerifierKey(crypto.sha256, NEXT_LOG)));
    assert.equal(next.generation, 2);
    assert.equal(code(followRelayKey(crypto, after, stateKey(first, third, at(2)))), "RELAY_KEY_FALSE");
  });

  it("is followed from the recovery key over whatever was in between, to the beginning of a range", () => {
    const recovered = stateKey(recovery, third, recovering(GENERATION_RANGE, NEXT_LOG));
    for (const generation of [0, 1, 700, GENERATION_RANGE - 1]) {
      const pins = pinsOf({ generation, deviceKey: thief.publicKey });
      const after = must(followRelayKey(crypto, pins, recovered));
      assert.deepEqual([after.generation, after.deviceKey], [GENERATION_RANGE, third.publicKey]);
    }
    const pins = pinsOf({ generation: GENERATION_RANGE });
    assert.equal(code(followRelayKey(crypto, pins, recovered)), "RELAY_KEY_STALE");
    for (const generation of [1, GENERATION_RANGE - 1, GENERATION_RANGE + 1])
      assert.equal(
        code(followRelayKey(crypto, pinsOf(), stateKey(recovery, third, recovering(generation)))),
        "RELAY_KEY_FALSE",
      );
    const far = stateKey(recovery, third, recovering(77 * GENERATION_RANGE));
    assert.equal(must(followRelayKey(crypto, pinsOf(), far)).generation, 77 * GENERATION_RANGE);
  });

  it("never takes a thief of the device-facing key out of its range, nor gives him the recovery key", () => {
    const last = pinsOf({ generation: GENERATION_RANGE - 1 });
    assert.equal(nextGeneration(last.generation), undefined);
    assert.equal(recoveredGeneration(last.generation), GENERATION_RANGE);
    for (const generation of [GENERATION_RANGE, 2 * GENERATION_RANGE, Number.MAX_SAFE_INTEGER])
      assert.equal(code(followRelayKey(crypto, last, stateKey(first, thief, at(generation)))), "RELAY_KEY_FALSE");
    const named = stateKey(first, thief, { ...at(1), recoveryKey: thief.publicKey });
    assert.equal(code(followRelayKey(crypto, pinsOf(), named)), "RELAY_KEY_FALSE");
  });

  it("hands recovery on, by the recovery key alone", () => {
    const handed = stateKey(recovery, second, { ...recovering(GENERATION_RANGE), recoveryKey: nextRecovery.publicKey });
    const after = must(followRelayKey(crypto, pinsOf(), handed));
    assert.deepEqual(after.recoveryKey, nextRecovery.publicKey);
    const by = (signer: typeof recovery) =>
      followRelayKey(crypto, after, stateKey(signer, third, recovering(4 * 1024)));
    assert.equal(code(by(recovery)), "RELAY_KEY_FALSE");
    assert.equal(code(by(nextRecovery)), "ok");
  });

  const lies: readonly (readonly [string, Uint8Array, Code])[] = [
    ["another relay's", stateKey(first, second, { ...at(1), origin: "other.example" }), "RELAY_KEY_FALSE"],
    ["a stranger's", stateKey(thief, thief, at(1)), "RELAY_KEY_FALSE"],
    ["of the recovery key without a tree", stateKey(recovery, second, at(1024)), "RELAY_KEY_FALSE"],
    ["of the device-facing key with a tree", stateKey(first, second, recovering(1)), "RELAY_KEY_FALSE"],
    ["of generation 0", stateKey(first, second, at(0)), "STATEMENT_MALFORMED"],
    ["in favour of a key that nobody holds", stateKey(first, second, at(1), third), "RELAY_KEY_FALSE"],
    ["in favour of the recovery key", stateKey(first, recovery, at(1), first), "RELAY_KEY_FALSE"],
    ["with another log's key", stateKey(first, second, at(1, vkeyOf("other.example", 4))), "RELAY_KEY_FALSE"],
    ["with a log key that is none", stateKey(first, second, at(1, "log+key")), "NOTE_KEY_MALFORMED"],
    [
      "longer than any",
      stateKey(first, second, { ...at(1), origin: "o".repeat(RELAY_KEY_MAX_BYTES) }),
      "STATEMENT_MALFORMED",
    ],
  ];
  for (const [what, bytes, expected] of lies)
    it(`is refused where it is ${what}`, () => assert.equal(code(followRelayKey(crypto, pinsOf(), bytes)), expected));

  it("is refused under a pinned key's name and another's signature, and without a recovery key pinned", () => {
    const forged = stateKey(first, second, at(1));
    forged.set(stateKey(thief, second, at(1)).subarray(-64), forged.length - 64);
    assert.equal(code(followRelayKey(crypto, pinsOf(), forged)), "SIGNATURE_INVALID");
    const { recoveryKey, ...pins } = pinsOf();
    assert.equal(code(followRelayKey(crypto, pins, stateKey(recovery, second, recovering(1024)))), "RELAY_KEY_FALSE");
  });

  it("never leads anywhere but where its signer said, whatever becomes of its bytes", () => {
    const statements = [stateKey(first, second, at(1)), stateKey(recovery, third, recovering(1024, NEXT_LOG))];
    const mutation = fc.record({
      which: fc.nat({ max: 1 }),
      cut: fc.option(fc.nat({ max: 400 })),
      put: fc.uint8Array({ maxLength: 4 }),
      flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
    });
    fc.assert(
      fc.property(mutation, ({ which, cut, put, flips }) => {
        const honest = statements[which]!;
        const bytes = Uint8Array.of(...honest.subarray(0, cut ?? honest.length), ...put);
        for (const [place, mask] of flips) if (bytes.length > 0) bytes[place % bytes.length]! ^= mask;
        fc.pre(toHex(bytes) !== toHex(honest));
        assert.notEqual(code(followRelayKey(crypto, pinsOf(), bytes)), "ok");
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the pins that a device talks by", () => {
  let keys: MemoryKeys;
  let writes: number;
  let followed: FollowedPins;

  beforeEach(() => {
    keys = new MemoryKeys();
    writes = 0;
    writeRelayPins(keys, { ...pinsOf(), logKey: LOG });
    const counting = {
      read: (name: string) => keys.read(name),
      write: (name: string, value: Uint8Array) => {
        writes++;
        keys.write(name, value);
      },
      delete: (name: string) => keys.delete(name),
    };
    followed = new FollowedPins({ relay: must(readRelayPins(keys, crypto.sha256)), crypto, keys: counting });
  });

  const stored = () => must(readRelayPins(keys, crypto.sha256));

  it("go over a whole answer by one write, and a statement of another branch is passed over", async () => {
    const answer = Buffer.concat([
      stateKey(first, second, at(1)),
      stateKey(thief, thief, at(2)),
      stateKey(second, third, at(2, NEXT_LOG)),
    ]);
    assert.equal(must(await followed.follow(answer)), "first");
    assert.equal(writes, 1);
    assert.deepEqual(stored(), followed.pins);
    assert.deepEqual([stored().generation, stored().deviceKey], [2, third.publicKey]);
    assert.equal(must(await followed.follow(stateKey(third, first, at(3)))), "again");
  });

  it("come back from a thief's by the statement of the recovery key", async () => {
    must(await followed.follow(stateKey(first, thief, at(1, vkeyOf(ORIGIN, 9)))));
    assert.deepEqual(stored().deviceKey, thief.publicKey);
    const answer = Buffer.concat([
      stateKey(second, third, at(2)),
      stateKey(recovery, third, recovering(1024)),
      stateKey(third, second, at(1025)),
    ]);
    must(await followed.follow(answer));
    assert.deepEqual([stored().generation, stored().deviceKey], [1025, second.publicKey]);
    assert.deepEqual(stored().logKey, must(parseVerifierKey(crypto.sha256, LOG)), "his log key is gone with him");
  });

  it("stay as they are, unwritten, where nothing leads on", async () => {
    const before = toHex(keys.read("relay")!);
    const many = Array.from({ length: RELAY_KEYS_MAX + 1 }, (_, i) => stateKey(first, second, at(i + 1)));
    const honest = stateKey(first, second, at(1));
    const lies: readonly (readonly [Uint8Array, Code | "ok"])[] = [
      [new Uint8Array(0), "ok"],
      [Buffer.concat(many), "MESSAGE_MALFORMED"],
      [honest.subarray(0, -1), "CBOR_INVALID"],
      [Uint8Array.of(0xf6), "STATEMENT_MALFORMED"],
      [stateKey(thief, thief, at(1)), "RELAY_KEY_FALSE"],
      [Buffer.concat([honest, Uint8Array.of(0xff)]), "CBOR_INVALID"],
    ];
    for (const [answer, expected] of lies) assert.equal(code(await followed.follow(answer)), expected);
    assert.equal(writes, 0);
    assert.equal(toHex(keys.read("relay")!), before);
  });

  it("never leave the relay's own way, whatever becomes of an answer", async () => {
    const honest = [
      stateKey(first, second, at(1)),
      stateKey(second, third, at(2)),
      stateKey(recovery, first, recovering(1024, NEXT_LOG)),
    ];
    const answer = Buffer.concat(honest);
    const way: Readonly<Record<number, Identity>> = { 0: first, 1: second, 2: third, 1024: first };
    const mutation = fc.record({
      cut: fc.option(fc.nat({ max: answer.length })),
      from: fc.nat({ max: 2 }),
      put: fc.uint8Array({ maxLength: 20 }),
      flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(mutation, async ({ cut, from, put, flips }) => {
        const rotated = Buffer.concat([...honest.slice(from), ...honest.slice(0, from)]);
        const bytes = Uint8Array.of(...rotated.subarray(0, cut ?? rotated.length), ...put);
        for (const [place, mask] of flips) if (bytes.length > 0) bytes[place % bytes.length]! ^= mask;
        writeRelayPins(keys, { ...pinsOf(), logKey: LOG });
        const talking = new FollowedPins({ relay: must(readRelayPins(keys, crypto.sha256)), crypto, keys });
        await talking.follow(bytes);
        const { generation, deviceKey, logKey, recoveryKey } = stored();
        assert.equal(toHex(deviceKey), toHex(way[generation]!.publicKey));
        assert.equal(toHex(recoveryKey!), toHex(recovery.publicKey));
        assert.equal(formatVerifierKey(logKey), generation === 1024 ? NEXT_LOG : LOG);
      }),
      { numRuns: 500 },
    );
  });

  it("are in one answer at their longest, and it is one that a device takes", () => {
    assert.ok(RELAY_KEYS_MAX * RELAY_KEY_MAX_BYTES <= STATEMENT_MAX_BYTES);
  });

  it("fail where the store does not keep what was written", async () => {
    const deaf = new FollowedPins({
      relay: pinsOf(),
      crypto,
      keys: { read: (name) => keys.read(name), write: () => undefined, delete: () => undefined },
    });
    assert.equal(code(await deaf.follow(stateKey(first, second, at(1)))), "KEY_UNREADABLE");
    assert.equal(deaf.pins.generation, 0);
  });
});
