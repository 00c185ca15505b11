import assert from "node:assert/strict";
import type { Result } from "tallystick/codes/codes";
import { verifySignature } from "tallystick/identity/ed25519";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { receiptToBeSigned } from "tallystick/receipt/receipt";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { createLogKey, type LogSigner, openFileSigner } from "../../hosts/relay/log/signer.js";
import { naiveConsistency, naiveLeaf, naiveRoot } from "../merkle/naive.js";
import { entropy, OPENING, ORIGIN } from "./bench.js";
import { MemoryDisk, PowerCut } from "./disk.js";

const leaves = Array.from({ length: 12 }, (_, i) => naiveLeaf(Buffer.from(`leaf ${i}`)));
const tree = (size: number, of = leaves) => ({ size, root: naiveRoot(of.slice(0, size)) });
const path = (oldSize: number, size: number) => naiveConsistency(oldSize, leaves.slice(0, size));
const code = (result: Result<unknown>) => (result.ok ? "ok" : result.failure.code);

async function signerOn(disk: MemoryDisk): Promise<LogSigner> {
  if ((await disk.read("/log/key")) === undefined) {
    await disk.makeFolder("/log");
    assert.equal(code(await createLogKey({ disk, crypto, entropy }, "/log/key", ORIGIN)), "ok");
  }
  const signer = await openFileSigner({ disk, crypto }, "/log/key", ORIGIN);
  assert.ok(signer.ok, code(signer));
  return signer.value;
}

describe("log: the signer", () => {
  it("signs what continues, with one checkpoint and one receipt signature over the same root", async () => {
    const signer = await signerOn(new MemoryDisk());
    for (const [oldSize, size] of [
      [0, 1],
      [1, 4],
      [4, 7],
      [7, 12],
    ] as const) {
      const signed = await signer.sign(tree(size), oldSize === 0 ? [] : path(oldSize, size));
      assert.ok(signed.ok, code(signed));
      const checkpoint = openCheckpoint(crypto, signed.value.checkpoint, signer.key);
      assert.ok(checkpoint.ok);
      assert.deepEqual(checkpoint.value.root, tree(size).root);
      const message = receiptToBeSigned(signer.kid, tree(size).root);
      assert.ok(verifySignature(crypto.ed25519, signed.value.receiptSignature, message, signer.key.publicKey));
      const again = await signer.sign(tree(size), []);
      assert.deepEqual(again, signed, "the same tree again gives the same bytes");
    }
  });

  it("refuses a smaller tree, another root, a fork, a path that proves nothing; also after a restart", async () => {
    const disk = new MemoryDisk();
    const first = await signerOn(disk);
    assert.equal(code(await first.sign(tree(7), [])), "ok");
    const fork = [...leaves.slice(0, 6), ...leaves.slice(7), leaves[6]!];
    for (const signer of [first, await signerOn(disk)]) {
      assert.deepEqual(signer.last(), tree(7));
      assert.equal(code(await signer.sign(tree(6), path(6, 7))), "LOG_SIGNER_REFUSED");
      assert.equal(code(await signer.sign(tree(0), [])), "LOG_SIGNER_REFUSED");
      assert.equal(code(await signer.sign({ size: 7, root: leaves[0]! }, [])), "LOG_SIGNER_REFUSED");
      assert.equal(code(await signer.sign(tree(12), [])), "PROOF_MALFORMED");
      assert.equal(code(await signer.sign(tree(12), path(6, 12))), "PROOF_MALFORMED");
      const forked = await signer.sign(tree(12, fork), naiveConsistency(7, fork));
      assert.equal(code(forked), "CONSISTENCY_FALSE");
      assert.equal(code(await signer.sign({ size: 12, root: leaves[0]! }, path(7, 12))), "CONSISTENCY_FALSE");
      assert.equal(code(signer.signOpening(OPENING)), "LOG_SIGNER_REFUSED");
      assert.deepEqual(signer.last(), tree(7), "a refusal changes nothing");
    }
  });

  it("two calls at once: the second is held against the first's tree", async () => {
    const signer = await signerOn(new MemoryDisk());
    assert.equal(code(await signer.sign(tree(4), [])), "ok");
    const fork = [...leaves.slice(0, 4), ...leaves.slice(5)];
    const [one, two] = await Promise.all([
      signer.sign(tree(7), path(4, 7)),
      signer.sign(tree(7, fork), naiveConsistency(4, fork.slice(0, 7))),
    ]);
    assert.deepEqual([code(one), code(two)], ["ok", "LOG_SIGNER_REFUSED"]);
  });

  it("no signature leaves before the memory is durable: cut at every step of signing", async () => {
    const count = new MemoryDisk();
    await (await signerOn(count)).sign(tree(4), []);
    const before = count.steps;
    await (await signerOn(count)).sign(tree(7), path(4, 7));
    assert.ok(count.steps > before + 2);
    for (let step = before + 1; step <= count.steps; step++) {
      const disk = new MemoryDisk();
      await (await signerOn(disk)).sign(tree(4), []);
      disk.injection = { kind: "cut", step, moment: "before" };
      await assert.rejects((await signerOn(disk)).sign(tree(7), path(4, 7)), PowerCut);
      const last = (await signerOn(disk.restart())).last()!;
      assert.ok([4, 7].includes(last.size), `step ${step}: ${last.size}`);
    }
    assert.deepEqual((await signerOn(count.restart())).last(), tree(7), "a signature that left is remembered");
  });

  it("a key is made once", async () => {
    const disk = new MemoryDisk();
    await signerOn(disk);
    assert.equal(code(await createLogKey({ disk, crypto, entropy }, "/log/key", ORIGIN)), "LOG_KEY_EXISTS");
    disk.tamper("/log/key", undefined);
    disk.tamper("/log/key.signed", new Uint8Array(5));
    assert.equal(code(await createLogKey({ disk, crypto, entropy }, "/log/key", ORIGIN)), "LOG_KEY_EXISTS");
  });
});
