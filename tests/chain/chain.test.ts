import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { follow, type Head, headOf, type NextRecord, nextBody } from "tallystick/chain/chain";
import { checkFork, checkForkProof, encodeForkProof, FORK_PROOF_MAX_BYTES } from "tallystick/chain/fork";
import { kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { encodeCbor } from "tallystick/record/cbor";
import { encodeBody, Kind, parseRecord, type Record, readBody, toBeSigned } from "tallystick/record/record";

const { sha256, ed25519 } = portableCrypto;

function signer(fill: number) {
  const seed = new Uint8Array(32).fill(fill);
  const publicKey = ed25519.publicKey(seed);
  const kid = kidOf(sha256, publicKey);
  const sign = (body: Uint8Array): Record => {
    const parts = readBody(body);
    assert(parts.ok, JSON.stringify(parts));
    const record = parseRecord(new Uint8Array([...body, ...ed25519.sign(toBeSigned(parts.value), seed, publicKey)]));
    assert(record.ok);
    return record.value;
  };
  return { kid, publicKey, sign };
}

const alice = signer(1);
const payload = encodeCbor(new Map());
const next = (kind: Kind, uptimeMs = 0, content = payload): NextRecord => ({
  kind,
  payload: content,
  uptimeMs,
  clock: 0,
});

function grow(head: Head | undefined, entry: NextRecord): [Record, Head] {
  const record = alice.sign(nextBody(alice.kid, head, entry));
  const followed = follow(sha256, head, record);
  assert(followed.ok, JSON.stringify(followed));
  return [record, followed.value];
}
function refused(head: Head | undefined, record: Record): string {
  const followed = follow(sha256, head, record);
  assert(!followed.ok);
  return followed.failure.code;
}

describe("chain", () => {
  const [genesis, first] = grow(undefined, next(Kind.genesis));
  const [mark, second] = grow(first, next(Kind.mark, 10));
  const [boot, third] = grow(second, next(Kind.boot, 1));

  it("counts positions and starts", () => {
    assert.deepEqual([first.seq, second.seq, third.seq], [0, 1, 2]);
    assert.deepEqual([first.boot, second.boot, third.boot], [0, 0, 1]);
    assert.equal(toHex(mark.header.prev), toHex(first.id));
  });

  it("names what does not follow", () => {
    assert.equal(refused(undefined, mark), "CHAIN_GAP");
    assert.equal(refused(first, boot), "CHAIN_GAP");
    assert.equal(refused(third, boot), "CHAIN_REPEATED");
    assert.equal(refused(third, genesis), "CHAIN_REPEATED");
    const other = alice.sign(nextBody(alice.kid, first, next(Kind.mark, 11)));
    assert.equal(refused(second, other), "CHAIN_FORK");
    const child = alice.sign(nextBody(alice.kid, headOf(sha256, other), next(Kind.mark, 12)));
    assert.equal(refused(second, child), "CHAIN_BROKEN");
    assert.equal(refused(second, alice.sign(nextBody(alice.kid, second, next(Kind.mark, 9)))), "CHAIN_BROKEN");
    const jump = { kid: alice.kid, kind: Kind.mark, boot: 1, seq: 2, prev: second.id, uptimeMs: 20, clock: 0 as const };
    assert.equal(refused(second, alice.sign(encodeBody(jump, payload))), "CHAIN_BROKEN");
    const bob = signer(2);
    const foreign = { ...second, kid: bob.kid };
    assert.equal(refused(foreign, boot), "KEY_MISMATCH");
    const [, closed] = grow(third, next(Kind.rotate, 5));
    assert.equal(refused(closed, alice.sign(nextBody(alice.kid, closed, next(Kind.mark, 6)))), "CHAIN_CLOSED");
  });

  it("proves a fork by two records, and nothing else", () => {
    const other = alice.sign(nextBody(alice.kid, first, next(Kind.mark, 11)));
    const proved = checkFork(portableCrypto, alice.publicKey, mark.bytes, other.bytes);
    assert(proved.ok);
    const cases: [Uint8Array, Uint8Array, Uint8Array][] = [
      [alice.publicKey, mark.bytes, mark.bytes],
      [alice.publicKey, mark.bytes, boot.bytes],
      [signer(2).publicKey, mark.bytes, other.bytes],
    ];
    for (const [key, a, b] of cases) {
      const unproved = checkFork(portableCrypto, key, a, b);
      assert(!unproved.ok && unproved.failure.code === "FORK_UNPROVED");
    }
    // Signed by the key, but under another's name.
    const foreign = { ...mark.header, kid: signer(2).kid };
    const named = alice.sign(encodeBody(foreign, payload));
    const unproved = checkFork(portableCrypto, alice.publicKey, mark.bytes, named.bytes);
    assert(!unproved.ok && unproved.failure.code === "FORK_UNPROVED");
  });

  it("has one file as the proof of a fork, which says so where it is none", () => {
    const other = alice.sign(nextBody(alice.kid, first, next(Kind.mark, 11)));
    const proof = encodeForkProof(sha256, alice.publicKey, mark.bytes, other.bytes);
    assert.deepEqual(encodeForkProof(sha256, alice.publicKey, other.bytes, mark.bytes), proof);
    const checked = checkForkProof(portableCrypto, proof);
    assert(checked.ok);
    assert.deepEqual(checked.value.publicKey, alice.publicKey);
    assert.equal(checked.value.first.header.seq, 1);
    const [one, two] = [checked.value.first.bytes, checked.value.second.bytes];
    const refusal = (bytes: Uint8Array): string => {
      const result = checkForkProof(portableCrypto, bytes);
      assert(!result.ok);
      return result.failure.code;
    };
    for (const [items, code] of [
      [[1, alice.publicKey, two, one], "FORK_MALFORMED"],
      [[2, alice.publicKey, one, two], "FORK_MALFORMED"],
      [[1, alice.publicKey, one], "FORK_MALFORMED"],
      [[1, alice.publicKey.slice(1), one, two], "FORK_MALFORMED"],
      [[1, new Uint8Array(32), one, two], "FORK_MALFORMED"],
      [[1, alice.publicKey, 7, two], "FORK_MALFORMED"],
      [[1, alice.publicKey, one, one], "FORK_UNPROVED"],
      [[1, signer(2).publicKey, one, two], "FORK_UNPROVED"],
      [[1, alice.publicKey, one.slice(1), two], "RECORD_MALFORMED"],
    ] as const)
      assert.equal(refusal(encodeCbor(items)), code, code);
    assert.equal(refusal(new Uint8Array(FORK_PROOF_MAX_BYTES + 1)), "FORK_MALFORMED");
    // Whatever bit is turned over, it proves nothing any more.
    for (let bit = 0; bit < 8 * proof.length; bit += 7) {
      const changed = proof.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert(!checkForkProof(portableCrypto, changed).ok, `bit ${bit}`);
    }
    for (let length = 0; length < proof.length; length += 5) refusal(proof.slice(0, length));
  });
});
