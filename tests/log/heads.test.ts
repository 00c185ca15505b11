import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { Result } from "tallystick/codes/codes";
import { WITNESSES_MAX } from "tallystick/log/witness";
import { verifyConsistencyReceipt, verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { type Disk, DiskError, nodeDisk } from "../../hosts/relay/log/disk.js";
import { HEADS_MAX } from "../../hosts/relay/log/heads.js";
import { Log } from "../../hosts/relay/log/log.js";
import type { SignedHead } from "../../hosts/relay/log/sequencer.js";
import { must, signerOf } from "../witness/fixture.js";
import { entropy, entryOf, OPENING, ORIGIN } from "./bench.js";
import { QueueSource } from "./queue.js";

const { sha256 } = relayCrypto;

function codeOf(result: Result<unknown>): string {
  return result.ok ? "none" : result.failure.code;
}

/** Receipts by a process that follows a log and has no key of it. */
describe("log: followed by another process", function () {
  this.timeout(60_000);
  let folder: string;
  let log: Log;
  let source: QueueSource;
  let follower: Log;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-followed-"));
    source = new QueueSource();
    log = await open();
    follower = must(await Log.follow(folder, relayCrypto, log.key));
  });
  afterEach(async () => {
    await log.close();
    rmSync(folder, { recursive: true });
  });

  async function open(disk: Disk = nodeDisk): Promise<Log> {
    const options = { origin: ORIGIN, crypto: relayCrypto, entropy, source, opening: OPENING, followed: true, disk };
    return must(await Log.open(folder, options));
  }

  const grow = (count: number) => {
    for (let n = 0; n < count; n++) source.entries.push(entryOf(source.entries.length));
  };
  const heads = () => join(folder, "heads");

  /** A receipt of the entry at `index` against a head of the follower's. */
  async function checkReceipt(index: number, head: SignedHead = follower.head): Promise<void> {
    const receipt = must(await follower.receipt(index, head));
    const id = recordId(sha256, must(await follower.entry(index)));
    const proved = must(verifyInclusionReceipt(relayCrypto, log.key.publicKey, receipt, id));
    assert.deepEqual([proved.size, proved.root], [head.size, head.root]);
  }

  it("gives the receipts that the sequencer gives, byte for byte, of every tree it publishes", async () => {
    for (const count of [1, 7, 300, 2]) {
      grow(count);
      must(await log.sequence());
      assert.deepEqual(follower.head, log.head);
      for (const index of [1, source.entries.length]) {
        await checkReceipt(index);
        assert.deepEqual(must(await follower.receipt(index)), must(await log.receipt(index)));
      }
    }
    const consistency = must(await follower.consistencyReceipt(5));
    assert.deepEqual(consistency, must(await log.consistencyReceipt(5)));
    const older = { size: 5, root: must(await log.rootAt(5)) };
    must(verifyConsistencyReceipt(relayCrypto, log.key.publicKey, consistency, older));
  });

  it("has a signature for whatever checkpoint it reads while the log goes on", async () => {
    grow(1);
    must(await log.sequence());
    let isOver = false;
    const going = (async () => {
      for (let n = 0; n < 60; n++) {
        grow(1);
        must(await log.sequence());
      }
      isOver = true;
    })();
    const sizes = new Set<number>();
    while (!isOver) {
      const { head } = follower;
      assert.ok(head.receiptSignature.length > 0, `none at ${head.size}`);
      await checkReceipt(1, head);
      sizes.add(head.size);
      await turn();
    }
    await going;
    assert.ok(sizes.size > 20, `it saw ${sizes.size} trees`);
  });

  it("goes on with the last published tree where the sequencer ends before it publishes the next", async () => {
    grow(3);
    must(await log.sequence());
    await log.close();
    const checkpoint = join(folder, "public", "checkpoint");
    const disk: Disk = {
      ...nodeDisk,
      rename: async (from, to) => {
        if (to === checkpoint) throw new DiskError("rename", to, new Error("EIO"));
        await nodeDisk.rename(from, to);
      },
    };
    log = await open(disk);
    grow(3);
    assert.equal(codeOf(await log.sequence()), "LOG_IO_FAILED");
    assert.equal(log.signed.size, 7, "signed, and written down for followers");
    assert.ok(readFileSync(heads(), "utf8").includes(`${ORIGIN}\\n7\\n`));
    assert.equal(follower.head.size, 4);
    await checkReceipt(2);
    // Also one that begins to follow just then, and after a start that announces before it publishes.
    await log.close();
    const another = must(await Log.follow(folder, relayCrypto, log.key));
    assert.equal(another.head.receiptSignature.length, 64);
    log = await open();
    assert.equal(follower.head.size, 7);
    await checkReceipt(6);
  });

  it("proves with the tree that most witnesses cosigned, as the sequencer does, with the newest where none did", async () => {
    const witnesses = Array.from({ length: WITNESSES_MAX }, (_, n) => signerOf(`witness.example/w${n}`, n + 1));
    const cosign = async (head: SignedHead, count: number) => {
      const text = Buffer.from(head.checkpoint).toString("utf8").split("\n\n")[0]!;
      const lines = witnesses.slice(0, count).map((witness) => witness.line(`${text}\n`, 1));
      must(await log.cosign(head, lines));
    };
    for (let count = WITNESSES_MAX; count > 0; count--) {
      grow(1);
      must(await log.sequence());
      await cosign(log.head, count);
    }
    grow(5);
    must(await log.sequence());
    for (let size = 1; size <= log.head.size; size++)
      assert.deepEqual(follower.cosignedHead(size), log.cosignedHead(size), `of ${size}`);
    assert.notEqual(follower.cosignedHead(2).size, log.head.size);
    await checkReceipt(1, follower.cosignedHead(2));
    assert.equal(readFileSync(heads(), "utf8").trimEnd().split("\n").length, HEADS_MAX);
  });

  it("believes no signature but the log's own over this very tree", async () => {
    grow(3);
    must(await log.sequence());
    const honest = readFileSync(heads(), "utf8");
    const [form, checkpoint, signature] = JSON.parse(honest.split("\n")[0]!) as [string, string, string];
    const [, earlier, other] = JSON.parse(honest.split("\n")[1]!) as [string, string, string];
    assert.notEqual(signature, other);
    const forged = [
      [form, checkpoint, other],
      [form, checkpoint, ""],
      [form, checkpoint, signature.replace(/^./, (digit) => (digit === "0" ? "1" : "0"))],
      [form, checkpoint.replace(`${ORIGIN}\n4\n`, `${ORIGIN}\n3\n`), signature],
      [form, earlier, other],
      ["head/v2", checkpoint, signature],
      [form, checkpoint],
      { form, checkpoint, signature },
      null,
    ];
    for (const line of forged) {
      writeFileSync(heads(), `${JSON.stringify(line)}\n`);
      const fresh = must(await Log.follow(folder, relayCrypto, log.key));
      assert.equal(fresh.head.size, 4);
      assert.equal(codeOf(await fresh.receipt(1)), "SEQUENCER_ONLY", JSON.stringify(line));
      assert.equal(codeOf(await fresh.consistencyReceipt(1)), "SEQUENCER_ONLY");
    }
    const fresh = must(await Log.follow(folder, relayCrypto, log.key));
    writeFileSync(heads(), `no line\n${honest}`);
    assert.equal(fresh.head.receiptSignature.length, 64, "it is looked for again");
    rmSync(heads());
    assert.equal(fresh.head.receiptSignature.length, 64, "and kept");
  });

  it("is not written for where nobody follows", async () => {
    await log.close();
    rmSync(heads());
    const options = { origin: ORIGIN, crypto: relayCrypto, entropy, source, opening: OPENING };
    log = must(await Log.open(folder, options));
    grow(2);
    must(await log.sequence());
    assert.throws(() => readFileSync(heads()), { code: "ENOENT" });
    assert.equal(codeOf(await follower.receipt(1)), "SEQUENCER_ONLY");
  });
});
