import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { emptyRoot, leafHash, type NodeAddress, nodeHash, RightEdge, rootOf } from "tallystick/merkle/merkle";
import {
  consistencyPlan,
  inclusionPlan,
  PATH_MAX_HASHES,
  readPath,
  rootFromInclusion,
  verifyConsistency,
  verifyInclusion,
} from "tallystick/merkle/proof";
import { naiveConsistency, naiveInclusion, naiveLeaf, naiveRoot, sha256 } from "./naive.js";
import { vectors } from "./vectors.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

const MOST = 300;
const LEAVES = Array.from({ length: MOST }, (_, i) => naiveLeaf(Buffer.from(`leaf ${i}`)));

/** All complete subtrees, as a growing tree reports them. */
function nodesOf(leaves: readonly Uint8Array[]) {
  const nodes = new Map<string, Uint8Array>();
  const edge = new RightEdge(sha256);
  for (const leaf of leaves) edge.append(leaf, (level, index, hash) => nodes.set(`${level}/${index}`, hash));
  const read = ({ level, index }: NodeAddress) => {
    const hash = nodes.get(`${level}/${index}`);
    assert.ok(hash, `node ${level}/${index} was planned but is not complete`);
    return hash;
  };
  return { edge, read };
}

describe("merkle: vectors", () => {
  const stored = JSON.parse(readFileSync(new URL("../vectors/merkle.json", import.meta.url), "utf8"));

  it("are what the naive tree gives", () => assert.deepEqual(stored, JSON.parse(JSON.stringify(vectors()))));

  it("hold the roots that RFC 6962's reference implementation published", () => {
    const published = [
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    assert.deepEqual(
      stored.roots.slice(0, 9).map((each: { root: string }) => each.root),
      published,
    );
  });

  for (const [engine, hash] of [
    ["node:crypto", sha256],
    ["@noble/hashes", nobleSha256],
  ] as const) {
    it(`are reproduced with SHA-256 of ${engine}`, () => {
      const leaves: Uint8Array[] = stored.entries.map((entry: string) => leafHash(hash, bytes(entry)));
      assert.deepEqual(leaves.map(hex), stored.leaves);
      const { read } = nodesOf(leaves);
      const rootAt = new Map<number, Uint8Array>();
      for (const { size, root } of stored.roots) {
        assert.equal(hex(rootOf(hash, leaves.slice(0, size))), root, `root at ${size}`);
        rootAt.set(size, bytes(root));
      }
      for (const { index, size, path } of stored.inclusion) {
        assert.deepEqual(readPath(hash, inclusionPlan(index, size), read).map(hex), path, `inclusion ${index} ${size}`);
        const root = rootOf(hash, leaves.slice(0, size));
        assert.ok(verifyInclusion(hash, leaves[index]!, index, size, path.map(bytes), root).ok);
      }
      for (const { oldSize, size, path } of stored.consistency) {
        assert.deepEqual(readPath(hash, consistencyPlan(oldSize, size), read).map(hex), path, `${oldSize} to ${size}`);
        const [oldRoot, root] = [oldSize, size].map((n) => rootOf(hash, leaves.slice(0, n)));
        assert.ok(verifyConsistency(hash, oldSize, oldRoot!, size, root!, path.map(bytes)).ok);
      }
    });
  }
});

describe("merkle: against the naive tree", () => {
  it("leaf, node and empty root", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (entry) => {
        assert.deepEqual(leafHash(sha256, entry), naiveLeaf(entry));
      }),
    );
    assert.deepEqual(nodeHash(sha256, LEAVES[0]!, LEAVES[1]!), naiveRoot(LEAVES.slice(0, 2)));
    assert.deepEqual(emptyRoot(sha256), naiveRoot([]));
  });

  it("root at every size to 300, also when the edge is resumed from its peaks", () => {
    let edge = new RightEdge(sha256);
    for (let size = 0; size <= MOST; size++) {
      assert.deepEqual(edge.root(), naiveRoot(LEAVES.slice(0, size)), `size ${size}`);
      edge = new RightEdge(sha256, edge.size, edge.peaks());
      if (size < MOST) edge.append(LEAVES[size]!);
    }
  });

  it("every inclusion path of every tree to 40 leaves, and drawn ones to 300", () => {
    const { read } = nodesOf(LEAVES);
    const check = (index: number, size: number) => {
      const leaves = LEAVES.slice(0, size);
      const path = readPath(sha256, inclusionPlan(index, size), read);
      assert.deepEqual(path, naiveInclusion(index, leaves), `${index} in ${size}`);
      assert.ok(verifyInclusion(sha256, leaves[index]!, index, size, path, naiveRoot(leaves)).ok);
    };
    for (let size = 1; size <= 40; size++) for (let index = 0; index < size; index++) check(index, size);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MOST }), fc.nat(MOST), (size, index) => check(index % size, size)),
      { numRuns: 100 },
    );
  });

  it("every consistency path of every pair of trees to 40 leaves, and drawn ones to 300", () => {
    const { read } = nodesOf(LEAVES);
    const check = (oldSize: number, size: number) => {
      const leaves = LEAVES.slice(0, size);
      const path = readPath(sha256, consistencyPlan(oldSize, size), read);
      assert.deepEqual(path, naiveConsistency(oldSize, leaves), `${oldSize} to ${size}`);
      const oldRoot = naiveRoot(leaves.slice(0, oldSize));
      assert.ok(verifyConsistency(sha256, oldSize, oldRoot, size, naiveRoot(leaves), path).ok);
    };
    for (let size = 1; size <= 40; size++) for (let oldSize = 1; oldSize <= size; oldSize++) check(oldSize, size);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MOST }), fc.nat(MOST), (size, old) => check(1 + (old % size), size)),
      { numRuns: 100 },
    );
  });
});

describe("merkle: what is false or malformed", () => {
  /** A change to one part of a proof. Every one must make the check fail. */
  const drawn = fc.record({
    size: fc.integer({ min: 2, max: 64 }),
    at: fc.nat(1000),
    change: fc.constantFrom(
      "flip a bit of the path",
      "drop",
      "repeat",
      "swap",
      "shorten a hash",
      "flip a bit of the root",
    ),
    bit: fc.nat(255),
  });

  function spoil(path: Uint8Array[], root: Uint8Array, at: number, change: string, bit: number) {
    const spoilt = path.map((hash) => hash.slice());
    const flip = (hash: Uint8Array) => {
      hash[bit >> 3]! ^= 1 << (bit & 7);
    };
    const i = path.length === 0 ? 0 : at % path.length;
    const spoiltRoot = root.slice();
    if (path.length === 0 || change === "flip a bit of the root") flip(spoiltRoot);
    else if (change === "drop") spoilt.splice(i, 1);
    else if (change === "repeat") spoilt.splice(i, 0, spoilt[i]!);
    else if (change === "shorten a hash") spoilt[i] = spoilt[i]!.subarray(0, 31);
    else if (change === "swap" && i > 0) [spoilt[i - 1], spoilt[i]] = [spoilt[i]!, spoilt[i - 1]!];
    else flip(spoilt[i]!);
    return { spoilt, spoiltRoot };
  }

  it("an inclusion proof with any part changed", () => {
    fc.assert(
      fc.property(drawn, fc.nat(1000), ({ size, at, change, bit }, drawnIndex) => {
        const leaves = LEAVES.slice(0, size);
        const index = drawnIndex % size;
        const { spoilt, spoiltRoot } = spoil(naiveInclusion(index, leaves), naiveRoot(leaves), at, change, bit);
        const result = verifyInclusion(sha256, leaves[index]!, index, size, spoilt, spoiltRoot);
        assert.equal(result.ok, false);
        assert.equal(
          verifyInclusion(sha256, leaves[index]!, index, size, naiveInclusion(index, leaves), naiveRoot(leaves)).ok,
          true,
        );
      }),
      { numRuns: 500 },
    );
  });

  it("an inclusion proof at any other index or for any other leaf", () => {
    const size = 23;
    const leaves = LEAVES.slice(0, size);
    const root = naiveRoot(leaves);
    for (let index = 0; index < size; index++) {
      const path = naiveInclusion(index, leaves);
      for (let other = 0; other < size; other++) {
        const expected = other === index;
        assert.equal(
          verifyInclusion(sha256, leaves[index]!, other, size, path, root).ok,
          expected,
          `${index}, ${other}`,
        );
        assert.equal(
          verifyInclusion(sha256, leaves[other]!, index, size, path, root).ok,
          expected,
          `${index}, ${other}`,
        );
      }
    }
  });

  it("a consistency proof with any part changed", () => {
    fc.assert(
      fc.property(drawn, fc.nat(1000), fc.boolean(), ({ size, at, change, bit }, drawnOld, oldRootToo) => {
        const leaves = LEAVES.slice(0, size);
        const oldSize = 1 + (drawnOld % (size - 1));
        const oldRoot = naiveRoot(leaves.slice(0, oldSize));
        const { spoilt, spoiltRoot } = spoil(naiveConsistency(oldSize, leaves), naiveRoot(leaves), at, change, bit);
        const result = verifyConsistency(sha256, oldSize, oldRoot, size, spoiltRoot, spoilt);
        assert.equal(result.ok, false);
        if (oldRootToo) {
          const wrongOld = oldRoot.slice();
          wrongOld[bit >> 3]! ^= 1 << (bit & 7);
          const path = naiveConsistency(oldSize, leaves);
          assert.equal(verifyConsistency(sha256, oldSize, wrongOld, size, naiveRoot(leaves), path).ok, false);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("a fork: two trees that share a beginning and differ later", () => {
    const ours = LEAVES.slice(0, 20);
    for (let fork = 1; fork < 20; fork++) {
      const theirs = [...ours.slice(0, fork), ...LEAVES.slice(100, 100 + 25 - fork)];
      for (let oldSize = fork + 1; oldSize < 20; oldSize++) {
        const result = verifyConsistency(
          sha256,
          oldSize,
          naiveRoot(ours.slice(0, oldSize)),
          25,
          naiveRoot(theirs),
          naiveConsistency(oldSize, theirs),
        );
        assert.equal(result.ok, false, `forked at ${fork}, old size ${oldSize}`);
        if (!result.ok) assert.equal(result.failure.code, "CONSISTENCY_FALSE");
      }
    }
  });

  it("edges: equal sizes, the empty tree, sizes that are none, paths beyond the bound", () => {
    const [a, b] = [LEAVES[0]!, LEAVES[1]!];
    const empty = naiveRoot([]);
    const code = (result: ReturnType<typeof verifyConsistency>) => (result.ok ? "ok" : result.failure.code);
    assert.equal(code(verifyConsistency(sha256, 5, a, 5, a, [])), "ok");
    assert.equal(code(verifyConsistency(sha256, 5, a, 5, b, [])), "CONSISTENCY_FALSE");
    assert.equal(code(verifyConsistency(sha256, 5, a, 5, a, [b])), "PROOF_MALFORMED");
    assert.equal(code(verifyConsistency(sha256, 0, empty, 5, b, [])), "ok");
    assert.equal(code(verifyConsistency(sha256, 0, a, 5, b, [])), "CONSISTENCY_FALSE");
    assert.equal(code(verifyConsistency(sha256, 0, a, 0, a, [])), "CONSISTENCY_FALSE");
    assert.equal(code(verifyConsistency(sha256, 0, empty, 0, empty, [])), "ok");
    assert.equal(code(verifyConsistency(sha256, 6, a, 5, b, [])), "PROOF_MALFORMED");
    assert.equal(code(verifyConsistency(sha256, 3, a, 5, b, [])), "PROOF_MALFORMED");
    for (const size of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      assert.equal(code(verifyConsistency(sha256, 1, a, size, b, [])), "PROOF_MALFORMED", `size ${size}`);
      assert.equal(code(verifyInclusion(sha256, a, 0, size, [], b)), "PROOF_MALFORMED", `size ${size}`);
      assert.equal(code(verifyInclusion(sha256, a, size, 1, [], b)), "PROOF_MALFORMED", `index ${size}`);
    }
    const long = new Array(PATH_MAX_HASHES + 1).fill(a);
    assert.equal(code(verifyInclusion(sha256, a, 0, 2 ** 53 - 1, long, b)), "PROOF_MALFORMED");
    assert.equal(code(verifyConsistency(sha256, 1, a, 2 ** 53 - 1, b, long)), "PROOF_MALFORMED");
    assert.throws(() => inclusionPlan(5, 5), RangeError);
    assert.throws(() => consistencyPlan(6, 5), RangeError);
    assert.throws(() => new RightEdge(sha256, 3, [a]), RangeError);
    assert.throws(() => new RightEdge(sha256).append(a.subarray(1)), RangeError);
  });

  it("sizes beyond 32 bits: paths of the last leaf of a tree of 2^53−1, in at most 53 hashes", () => {
    const size = 2 ** 53 - 1;
    const read = ({ level, index }: NodeAddress) => sha256(Buffer.from(`${level}/${index}`));
    for (const index of [0, 1, 2 ** 32, 2 ** 52, size - 1]) {
      const path = readPath(sha256, inclusionPlan(index, size), read);
      assert.ok(path.length <= 53, `${path.length} hashes`);
      assert.ok(rootFromInclusion(sha256, read({ level: 0, index }), index, size, path).ok);
    }
    assert.ok(consistencyPlan(2 ** 52 + 1, size).length <= PATH_MAX_HASHES);
  });
});
