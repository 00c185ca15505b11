import assert from "node:assert/strict";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Log } from "../../hosts/relay/log/log.js";
import { rebuildTree } from "../../hosts/relay/log/rebuild.js";
import { bundlesOf, checkBundle } from "../../hosts/relay/log/tree-check.js";
import { MemorySource, optionsFor } from "./bench.js";
import { MemoryDisk, seeded } from "./disk.js";

const FOLDER = "/log/public";
const ENTRIES = 256 * 3 + 70;

/** A log's files are damaged at random, and made again from what is left; never anything else than what was signed. */
describe("log: files made again", function () {
  this.timeout(120_000);

  async function made() {
    const disk = new MemoryDisk();
    const source = new MemorySource();
    const log = await Log.open("/log", optionsFor(disk, source));
    assert.ok(log.ok);
    source.add(ENTRIES);
    assert.ok((await log.value.sequence()).ok);
    const files = [...disk.files()].filter(([path]) => path.startsWith(`${FOLDER}/tile/`));
    const spare = (from: number, count: number) =>
      new Map(
        Array.from({ length: count }, (_, i) => from + i)
          .filter((index) => index > 0)
          .map((index) => [index, source.entries[index - 1]!] as const),
      );
    return { disk, head: log.value.head, files, spare };
  }
  const options = (disk: MemoryDisk) => ({ disk, sha256: relayCrypto.sha256, folder: FOLDER });

  it("whatever one or several files hold, with the database's copy beside them", async () => {
    const { disk, head, files, spare } = await made();
    const draw = seeded(11);
    for (let run = 0; run < 200; run++) {
      const damaged = new Set<string>();
      for (let n = 0; n < 1 + Math.floor(draw() * 4); n++) {
        const [path, whole] = files[Math.floor(draw() * files.length)]!;
        // Entry 0 is the log's own, and nobody else's.
        if (path.endsWith("entries/000")) continue;
        const bytes = whole.slice();
        bytes[Math.floor(draw() * bytes.length)]! ^= 1 << Math.floor(draw() * 8);
        const drawn = draw();
        disk.tamper(path, drawn < 0.3 ? undefined : drawn < 0.5 ? whole.slice(0, draw() * whole.length) : bytes);
        damaged.add(path.slice(FOLDER.length + 1));
      }
      const rebuilt = await rebuildTree(options(disk), head, spare);
      assert.ok(rebuilt.ok, rebuilt.ok ? "" : `run ${run}: ${rebuilt.failure.detail}`);
      assert.deepEqual([...rebuilt.value].sort(), [...damaged].sort(), `run ${run}`);
      for (const [path, whole] of files) assert.deepEqual(disk.files().get(path), whole, `run ${run}: ${path}`);
    }
  });

  it("tiles from the bundles alone, and entry 0 where its tile still tells which bit it was", async () => {
    const { disk, head, files } = await made();
    for (const [path] of files) if (!path.includes("entries")) disk.tamper(path, undefined);
    const rebuilt = await rebuildTree(options(disk), head, () => new Map());
    assert.ok(rebuilt.ok);
    assert.equal(rebuilt.value.length, files.filter(([path]) => !path.includes("entries")).length);
    for (let unit = 0; unit < bundlesOf(head.size); unit++)
      assert.deepEqual((await checkBundle(options(disk), head, unit)).findings, []);
  });

  it("a partial bundle from narrower ones beside it, which have entry 0, and the rest from the database", async () => {
    const disk = new MemoryDisk();
    const source = new MemorySource();
    const log = await Log.open("/log", optionsFor(disk, source));
    assert.ok(log.ok);
    for (const count of [10, 12, 1]) {
      source.add(count);
      assert.ok((await log.value.sequence()).ok);
    }
    const { head } = log.value;
    assert.equal(head.size, 24);
    const at = (width: number, level = "entries") => `${FOLDER}/tile/${level}/000.p/${width}`;
    const whole = disk.files().get(at(24))!;
    const spare = (from: number, count: number) =>
      new Map(source.entries.slice(0, count - 1).map((bytes, i) => [from + i + 1, bytes] as const));
    for (const [gone, flipped] of [
      [[at(24)], []],
      [[at(24), at(24, "0")], []],
      [[at(24)], [at(23)]],
    ] as const) {
      const before = disk.files();
      for (const path of gone) disk.tamper(path, undefined);
      for (const path of flipped) disk.tamper(path, whole.slice(0, 5));
      const rebuilt = await rebuildTree(options(disk), head, spare);
      assert.ok(rebuilt.ok, rebuilt.ok ? "" : rebuilt.failure.detail);
      assert.equal(rebuilt.value.length, gone.length);
      assert.deepEqual(disk.files().get(at(24)), whole);
      for (const path of flipped) disk.tamper(path, before.get(path)!);
    }
    assert.deepEqual((await checkBundle(options(disk), head, 0)).findings, []);
  });

  it("writes nothing where what is left is not what was signed", async () => {
    const { disk, head, files, spare } = await made();
    const [path, whole] = files.find(([each]) => each.endsWith("entries/000"))!;
    const bytes = whole.slice();
    bytes[20]! ^= 1;
    disk.tamper(path, bytes);
    disk.tamper(`${FOLDER}/tile/0/001`, undefined);
    const before = disk.files();
    const rebuilt = await rebuildTree(options(disk), head, spare);
    assert.equal(rebuilt.ok ? "ok" : rebuilt.failure.code, "LOG_TILE_CORRUPT");
    disk.tamper(path, undefined);
    const missing = await rebuildTree(options(disk), head, () => new Map());
    assert.equal(missing.ok ? "ok" : missing.failure.code, "LOG_TILE_MISSING");
    disk.tamper(path, bytes);
    assert.deepEqual(disk.files(), before);
  });
});
