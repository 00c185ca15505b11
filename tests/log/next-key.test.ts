import assert from "node:assert/strict";
import type { Code, Result } from "tallystick/codes/codes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { Log } from "../../hosts/relay/log/log.js";
import { drawNextLogKey, lastLogTree, putNextLogKey } from "../../hosts/relay/log/next-key.js";
import { openFileSigner } from "../../hosts/relay/log/signer.js";
import { naiveConsistency, naiveLeaf, naiveRoot } from "../merkle/naive.js";
import { must } from "../relay/started.js";
import { MemorySource, ORIGIN, optionsFor } from "./bench.js";
import { MemoryDisk, PowerCut } from "./disk.js";

const LOCK = "/log/lock/head";
const MEMORY = "/log/key.signed";
const CHECKPOINT = "/log/public/checkpoint";
const nextEntropy = { bytes: (length: number) => new Uint8Array(length).fill(8) };
const code = (result: Result<unknown>): Code | "ok" => (result.ok ? "ok" : result.failure.code);

/** A log of 301 entries, closed; with its files as they were at 211, and what its key signed. */
async function madeLog() {
  const disk = new MemoryDisk();
  const source = new MemorySource();
  const log = must(await Log.open("/log", optionsFor(disk, source)));
  source.add(210);
  must(await log.sequence());
  const earlier = disk.files();
  source.add(90);
  must(await log.sequence());
  const [head, key] = [log.head, log.key];
  const receipt = must(await log.receipt(5));
  const entry = must(await log.entry(5));
  await log.close();
  return { disk, source, head, key, earlier, receipt, entry };
}

async function changeKey(disk: MemoryDisk, former: VerifierKey): Promise<Result<VerifierKey>> {
  const last = await lastLogTree("/log", former, { disk, crypto });
  if (!last.ok) return last;
  const next = must(drawNextLogKey(ORIGIN, last.value, { crypto, entropy: nextEntropy }));
  const put = await putNextLogKey("/log", next, { disk, crypto });
  return put.ok ? { ok: true, value: next.key } : put;
}

describe("log: another key", () => {
  it("goes on with the same tree; what was signed before stays valid under the former", async () => {
    const { disk, source, head, key, receipt, entry } = await madeLog();
    const next = must(await changeKey(disk, key));
    const log = must(await Log.open("/log", optionsFor(disk, source)));
    assert.deepEqual(log.key, next);
    assert.deepEqual([log.head.size, log.head.root], [head.size, head.root]);
    for (const path of [LOCK, MEMORY, CHECKPOINT])
      assert.ok(openCheckpoint(crypto, disk.files().get(path)!, next).ok, path);
    source.add(20);
    must(await log.sequence());
    assert.equal(log.head.size, 321);
    const path = must(await log.consistency(301, 321));
    const leaves = [must(await log.entry(0)), ...source.entries].map(naiveLeaf);
    assert.deepEqual(path, naiveConsistency(301, leaves));
    assert.deepEqual(log.head.root, naiveRoot(leaves));
    const id = naiveLeaf(entry);
    assert.ok(verifyInclusionReceipt(crypto, key.publicKey, receipt, id).ok, "the former key's receipt");
    const after = must(await log.receipt(5));
    assert.ok(verifyInclusionReceipt(crypto, next.publicKey, after, id).ok);
    assert.equal(verifyInclusionReceipt(crypto, key.publicKey, after, id).ok, false);
    await log.close();
  });

  it("signs nothing but what continues the former key's last tree", async () => {
    const { disk, head, key } = await madeLog();
    must(await changeKey(disk, key));
    const signer = must(await openFileSigner({ disk, crypto }, "/log/key", ORIGIN));
    assert.deepEqual(signer.last(), { size: head.size, root: head.root });
    assert.equal(code(await signer.sign({ size: 300, root: head.root }, [])), "LOG_SIGNER_REFUSED");
    assert.equal(code(await signer.sign({ size: 301, root: new Uint8Array(32) }, [])), "LOG_SIGNER_REFUSED");
    assert.notEqual(code(await signer.sign({ size: 302, root: new Uint8Array(32) }, [])), "ok");
  });

  it("is drawn without the former key, and without its memory where that is lost with it", async () => {
    for (const gone of [["/log/key"], ["/log/key", MEMORY], ["/log/key", MEMORY, CHECKPOINT]]) {
      const { disk, source, head, key } = await madeLog();
      for (const path of gone) disk.tamper(path, undefined);
      must(await changeKey(disk, key));
      const log = must(await Log.open("/log", optionsFor(disk, source)));
      assert.deepEqual([log.head.size, log.head.root], [head.size, head.root], gone.join());
      assert.ok(disk.files().has(CHECKPOINT));
      await log.close();
    }
  });

  it("begins with the tree that the former key remembers, where a cut came before the lock", async () => {
    const counted = await madeLog();
    const log = must(await Log.open("/log", optionsFor(counted.disk, counted.source)));
    const { steps } = counted.disk;
    counted.source.add(9);
    must(await log.sequence());
    const inLock = counted.disk.trace.findIndex((step, i) => i >= steps && step === `write ${LOCK}.new`) + 1;
    assert.ok(inLock > steps);

    const { disk, source, key } = await madeLog();
    const again = must(await Log.open("/log", optionsFor(disk, source)));
    source.add(9);
    disk.injection = { kind: "cut", step: inLock, moment: "before" };
    await assert.rejects(again.sequence(), PowerCut);
    const after = disk.restart();
    assert.equal(must(openCheckpoint(crypto, after.files().get(LOCK)!, key)).size, 301);
    assert.equal(must(openCheckpoint(crypto, after.files().get(MEMORY)!, key)).size, 310);
    must(await changeKey(after, key));
    const resumed = must(await Log.open("/log", optionsFor(after, source)));
    assert.equal(resumed.head.size, 310, "never from less than was signed");
    assert.deepEqual(resumed.head.root, log.head.root);
  });

  it("is refused where lock, memory, checkpoint and tiles do not agree, and then nothing is changed", async () => {
    const cases: [string, (made: Awaited<ReturnType<typeof madeLog>>) => void, Code][] = [
      ["no lock", ({ disk }) => disk.tamper(LOCK, undefined), "LOG_LOCK_MISSING"],
      ["a lock of nobody's", ({ disk }) => disk.tamper(LOCK, new Uint8Array(99)), "LOG_LOCK_CORRUPT"],
      ["a key without its memory", ({ disk }) => disk.tamper(MEMORY, undefined), "LOG_SIGNER_STATE_CORRUPT"],
      ["a memory of nobody's", ({ disk }) => disk.tamper(MEMORY, new Uint8Array(99)), "LOG_SIGNER_STATE_CORRUPT"],
      ["no tile", ({ disk }) => disk.tamper("/log/public/tile/0/001.p/45", undefined), "LOG_TILE_MISSING"],
      [
        "another tile",
        ({ disk }) => disk.tamper("/log/public/tile/0/001.p/45", new Uint8Array(45 * 32)),
        "LOG_TILE_CORRUPT",
      ],
    ];
    for (const [what, spoil, expected] of cases) {
      const made = await madeLog();
      spoil(made);
      const before = made.disk.files();
      assert.equal(code(await changeKey(made.disk, made.key)), expected, what);
      assert.deepEqual(made.disk.files(), before, what);
    }
  });

  it("goes forward where lock or checkpoint alone are from an older copy", async () => {
    for (const older of [[LOCK], [CHECKPOINT], [LOCK, CHECKPOINT]]) {
      const { disk, source, head, key, earlier } = await madeLog();
      for (const path of older) disk.tamper(path, earlier.get(path)!);
      must(await changeKey(disk, key));
      const log = must(await Log.open("/log", optionsFor(disk, source)));
      assert.deepEqual([log.head.size, log.head.root], [head.size, head.root], older.join());
      await log.close();
    }
  });

  it("is not put where the log went on after it was drawn", async () => {
    const { disk, source, key } = await madeLog();
    const last = must(await lastLogTree("/log", key, { disk, crypto }));
    const next = must(drawNextLogKey(ORIGIN, last, { crypto, entropy: nextEntropy }));
    const log = must(await Log.open("/log", optionsFor(disk, source)));
    source.add(3);
    must(await log.sequence());
    await log.close();
    const before = disk.files();
    assert.equal(code(await putNextLogKey("/log", next, { disk, crypto })), "LOG_LOCK_MOVED");
    assert.deepEqual(disk.files(), before);
  });
});
