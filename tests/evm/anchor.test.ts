import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import {
  type Abi,
  type Address,
  BaseError,
  bytesToHex,
  ContractFunctionRevertedError,
  createTestClient,
  createWalletClient,
  type Hex,
  http,
  publicActions,
} from "viem";
import { mnemonicToAccount, privateKeyToAccount } from "viem/accounts";
import { foundry } from "viem/chains";
import { type Artifact, compileAnchor } from "../../hosts/evm/compile.js";
import { deployAnchor } from "../../hosts/evm/deploy.js";
import { DevelopmentChain } from "../../hosts/relay/ledger/anvil.js";

/** anvil's first account, published by Foundry: rich on every development chain, worth nothing elsewhere. */
const PAYER_KEY: Hex = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const relay = mnemonicToAccount("test test test test test test test test test test test junk", { addressIndex: 7 });
const stranger = privateKeyToAccount(PAYER_KEY);

const ROOT_1 = word(1);
const ROOT_2 = word(2);

describe("the anchor contract on a real chain", () => {
  const dir = mkdtempSync(join(tmpdir(), "tallystick-evm-"));
  let chain: DevelopmentChain;
  let artifact: Artifact;
  let contract: Address;

  before(async () => {
    const compiled = await compileAnchor();
    assert.ok(compiled.ok, compiled.ok ? "" : compiled.failure.detail);
    artifact = compiled.value;
    const started = await DevelopmentChain.start({ dataDir: dir, blockMs: 10 });
    assert.ok(started.ok, started.ok ? "" : started.failure.detail);
    chain = started.value;
    await client().setBalance({ address: relay.address, value: 10n ** 20n });
  });

  beforeEach(async () => {
    const deployed = await deployAnchor({ rpcUrl: chain.url, payerKey: PAYER_KEY, relay: relay.address, artifact });
    assert.ok(deployed.ok, deployed.ok ? "" : deployed.failure.detail);
    contract = deployed.value.contract;
  });

  after(async () => {
    await chain?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  function client() {
    return createTestClient({ mode: "anvil", chain: foundry, transport: http(chain.url), pollingInterval: 10 }).extend(
      publicActions,
    );
  }

  async function submit(
    oldSize: number,
    newSize: number,
    root: Hex,
    account = relay as typeof stranger | typeof relay,
  ) {
    const wallet = createWalletClient({ account, chain: foundry, transport: http(chain.url) });
    const hash = await wallet.writeContract({
      address: contract,
      abi: artifact.abi as Abi,
      functionName: "submit",
      args: [BigInt(oldSize), BigInt(newSize), root],
      // Given, so that a transaction that will revert is sent all the same.
      gas: 120_000n,
    });
    return client().waitForTransactionReceipt({ hash });
  }

  /** The name of the contract's error, from simulating the call at the newest block. */
  async function refusal(oldSize: bigint, newSize: bigint, root: Hex, account: Address = relay.address) {
    try {
      await client().simulateContract({
        address: contract,
        abi: artifact.abi as Abi,
        functionName: "submit",
        args: [oldSize, newSize, root],
        account,
      });
      return undefined;
    } catch (error) {
      const revert = error instanceof BaseError ? error.walk((e) => e instanceof ContractFunctionRevertedError) : null;
      if (revert instanceof ContractFunctionRevertedError) return revert.data?.errorName;
      throw error;
    }
  }

  async function stored(): Promise<[bigint, Hex]> {
    const slot0 = await client().getStorageAt({ address: contract, slot: "0x0" });
    const slot1 = await client().getStorageAt({ address: contract, slot: "0x1" });
    return [BigInt(slot0!), slot1!];
  }

  it("keeps size and root in slots 0 and 1, and logs each anchor", async () => {
    assert.deepEqual(await stored(), [0n, word(0)]);
    const receipt = await submit(0, 5, ROOT_1);
    assert.equal(receipt.status, "success");
    assert.deepEqual(await stored(), [5n, ROOT_1]);
    assert.equal(receipt.logs.length, 1);
    assert.deepEqual(receipt.logs[0]!.topics.slice(1), [word(0), word(5)]);
    assert.equal(receipt.logs[0]!.data, ROOT_1);
    const later = await submit(5, 9, ROOT_2);
    assert.deepEqual(await stored(), [9n, ROOT_2]);
    // The figures that hosts/relay/ledger/evm.ts sets its limit by.
    assert.ok(receipt.gasUsed < 80_000n && later.gasUsed < 40_000n, `${receipt.gasUsed}, ${later.gasUsed}`);
  });

  it("takes anchors from the registered relay only, first of all", async () => {
    assert.equal(await refusal(0n, 5n, ROOT_1, stranger.address), "NotRelay");
    const receipt = await submit(0, 5, ROOT_1, stranger);
    assert.equal(receipt.status, "reverted");
    assert.deepEqual(await stored(), [0n, word(0)]);
    await submit(0, 5, ROOT_1);
    // Even a repeat that would change nothing.
    assert.equal(await refusal(0n, 5n, ROOT_1, stranger.address), "NotRelay");
  });

  it("changes nothing when the stored checkpoint comes again, whatever old size it was planned from", async () => {
    await submit(0, 5, ROOT_1);
    for (const oldSize of [0, 5, 77]) {
      const receipt = await submit(oldSize, 5, ROOT_1);
      assert.equal(receipt.status, "success");
      assert.equal(receipt.logs.length, 0);
    }
    assert.deepEqual(await stored(), [5n, ROOT_1]);
  });

  it("refuses another root at the stored size before it looks at the old size", async () => {
    await submit(0, 5, ROOT_1);
    for (const oldSize of [0n, 5n, 77n]) assert.equal(await refusal(oldSize, 5n, ROOT_2), "RootDiffers");
    assert.equal(await refusal(0n, 5n, word(0)), "RootDiffers");
  });

  it("refuses an old size that is not the stored one before it looks at growth", async () => {
    await submit(0, 5, ROOT_1);
    for (const newSize of [0n, 4n, 6n, 2n ** 64n - 1n]) {
      assert.equal(await refusal(4n, newSize, ROOT_2), "OldSizeDiffers");
      assert.equal(await refusal(6n, newSize, ROOT_2), "OldSizeDiffers");
    }
  });

  it("never shrinks", async () => {
    await submit(0, 5, ROOT_1);
    for (const newSize of [0n, 1n, 4n]) assert.equal(await refusal(5n, newSize, ROOT_2), "SizeNotGrown");
    assert.equal(await refusal(5n, 2n ** 64n - 1n, ROOT_2), undefined);
  });

  it("agrees with the rules of the format on every small state and call", async () => {
    await submit(0, 3, ROOT_1);
    for (let oldSize = 0n; oldSize < 6n; oldSize++) {
      for (let newSize = 0n; newSize < 6n; newSize++) {
        for (const root of [ROOT_1, ROOT_2]) {
          const expected =
            newSize === 3n
              ? root === ROOT_1
                ? undefined
                : "RootDiffers"
              : oldSize !== 3n
                ? "OldSizeDiffers"
                : newSize < 3n
                  ? "SizeNotGrown"
                  : undefined;
          assert.equal(await refusal(oldSize, newSize, root), expected, `submit(${oldSize}, ${newSize}, ${root})`);
        }
      }
    }
  });

  async function included(leaf: Uint8Array, index: number, path: readonly Uint8Array[]) {
    return client().readContract({
      address: contract,
      abi: artifact.abi as Abi,
      functionName: "verifyInclusion",
      args: [bytesToHex(leaf), BigInt(index), path.map((node) => bytesToHex(node))],
    });
  }

  it("proves inclusion with the stored size, and refuses every other leaf, index and path", async () => {
    let size = 0;
    for (const next of [1, 2, 3, 7, 8, 13]) {
      const leaves = Array.from({ length: next }, (_, i) => leafHash(i));
      await submit(size, next, bytesToHex(treeHash(leaves)));
      size = next;
      for (let index = 0; index < next; index++) {
        const path = auditPath(index, leaves);
        assert.equal(await included(leaves[index]!, index, path), true, `${index} of ${next}`);
        assert.equal(await included(leafHash(index + 100), index, path), false);
        assert.equal(await included(leaves[index]!, index + next, path), false);
        if (next > 1) assert.equal(await included(leaves[index]!, (index + 1) % next, path), false);
        if (path.length > 0) assert.equal(await included(leaves[index]!, index, path.slice(1)), false);
        assert.equal(await included(leaves[index]!, index, [...path, leafHash(0)]), false);
      }
    }
    await fc.assert(
      fc.asyncProperty(
        fc.nat(12),
        fc.uint8Array({ minLength: 1, maxLength: 3, max: 255 }),
        fc.nat(31),
        async (index, [flip], at) => {
          const leaves = Array.from({ length: 13 }, (_, i) => leafHash(i));
          const path = auditPath(index, leaves);
          const node = path[at % path.length]!;
          node[at] = node[at]! ^ (flip! || 1);
          assert.equal(await included(leaves[index]!, index, path), false);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("says what a deployment lacked", async () => {
    const poor = await deployAnchor({
      rpcUrl: chain.url,
      payerKey: bytesToHex(createHash("sha256").update("poor").digest()),
      relay: relay.address,
      artifact,
    });
    assert.ok(!poor.ok);
    assert.equal(poor.failure.code, "CONTRACT_DEPLOY_FAILED");
  });
});

describe("compiling the anchor contract", () => {
  const dir = mkdtempSync(join(tmpdir(), "tallystick-solc-"));
  after(() => rmSync(dir, { recursive: true, force: true }));

  it("gives the same bytes from the compiler and from the cache, and mends a damaged cache", async () => {
    const handlers = process.listeners("unhandledRejection");
    const fresh = await compileAnchor({ cacheDir: dir });
    assert.deepEqual(process.listeners("unhandledRejection"), handlers, "the compiler's own handler is gone");
    const cached = await compileAnchor({ cacheDir: dir });
    assert.ok(fresh.ok && cached.ok);
    assert.deepEqual(cached.value, fresh.value);
    const [file] = readdirSync(dir);
    assert.ok(file !== undefined);
    writeFileSync(join(dir, file), '0000\n{"abi":[],"bytecode":"0x00","compiler":"none"}\n');
    const mended = await compileAnchor({ cacheDir: dir });
    assert.ok(mended.ok);
    assert.deepEqual(mended.value, fresh.value);
    // What stands on chains can be compiled again from this repository: a change here is a new contract.
    assert.equal(createHash("sha256").update(fresh.value.bytecode).digest("hex"), BYTECODE_SHA256);
  });

  for (const [what, source, expected] of [
    ["a source that does not compile", "contract Anchor { uint64", /ParserError/],
    [
      "no such contract",
      "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\ncontract Other {}\n",
      /no contract/,
    ],
    [
      "another storage layout",
      "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\ncontract Anchor { bytes32 public root; uint64 public size; }\n",
      /laid out root:0:0/,
    ],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const file = join(dir, "Wrong.sol");
      writeFileSync(file, source);
      const result = await compileAnchor({ sourceFile: file, cacheDir: dir });
      assert.ok(!result.ok);
      assert.equal(result.failure.code, "CONTRACT_COMPILE_FAILED");
      assert.match(result.failure.detail, expected);
    });
  }

  it("says so when there is no source", async () => {
    const result = await compileAnchor({ sourceFile: join(dir, "absent.sol"), cacheDir: dir });
    assert.ok(!result.ok && result.failure.code === "CONTRACT_COMPILE_FAILED");
  });
});

const BYTECODE_SHA256 = "928ece97450e1fea7fba419acf9edf4a570e57639412f8c73b17e1edd20231d8";

function word(value: number): Hex {
  return `0x${value.toString(16).padStart(64, "0")}`;
}

/** RFC 9162 §2.1 as its text defines it, recursively: the other way round than the contract walks. */
function treeHash(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return leaves[0]!;
  const split = largestPowerBelow(leaves.length);
  return nodeHash(treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}

function auditPath(index: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return [];
  const split = largestPowerBelow(leaves.length);
  return index < split
    ? [...auditPath(index, leaves.slice(0, split)), Uint8Array.from(treeHash(leaves.slice(split)))]
    : [...auditPath(index - split, leaves.slice(split)), Uint8Array.from(treeHash(leaves.slice(0, split)))];
}

function largestPowerBelow(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

function leafHash(i: number): Uint8Array {
  return createHash("sha256").update(Uint8Array.of(0, i)).digest();
}

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return createHash("sha256").update(Uint8Array.of(1)).update(left).update(right).digest();
}
