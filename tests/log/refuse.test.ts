import assert from "node:assert/strict";
import type { Code, Result } from "tallystick/codes/codes";
import { Log, type LogOptions } from "../../hosts/relay/log/log.js";
import { MemorySource, optionsFor } from "./bench.js";
import { MemoryDisk } from "./disk.js";

const PUBLIC = "/log/public";

/** A log of 301 entries in three checkpoints, closed; with a copy of its files after each of them. */
async function madeLog() {
  const disk = new MemoryDisk();
  const source = new MemorySource();
  const log = await Log.open("/log", optionsFor(disk, source));
  assert.ok(log.ok);
  const copies: Map<string, Uint8Array>[] = [];
  const heads = [log.value.head];
  for (const count of [10, 200, 90]) {
    source.add(count);
    assert.ok((await log.value.sequence()).ok);
    copies.push(disk.files());
    heads.push(log.value.head);
  }
  await log.value.close();
  return { disk, source, copies, heads };
}

function open(disk: MemoryDisk, source: MemorySource, more: Partial<LogOptions> = {}): Promise<Result<Log>> {
  return Log.open("/log", optionsFor(disk, source, more));
}

/** The code that opening ends with; and that a refused start changed nothing that is trusted. */
async function refusal(disk: MemoryDisk, source: MemorySource, more: Partial<LogOptions> = {}): Promise<Code | "ok"> {
  const before = ["/log/key", "/log/key.signed", "/log/lock/head"].map((path) => disk.files().get(path));
  const result = await open(disk, source, more);
  if (result.ok) {
    await result.value.close();
    return "ok";
  }
  assert.ok(result.failure.detail.length > 20, `a detail that says what was found: ${result.failure.detail}`);
  const after = ["/log/key", "/log/key.signed", "/log/lock/head"].map((path) => disk.files().get(path));
  assert.deepEqual(after, before, "key, memory and lock are as they were");
  return result.failure.code;
}

function flip(disk: MemoryDisk, path: string, at: number): void {
  const bytes = disk.files().get(path)!.slice();
  bytes[at]! ^= 1;
  disk.tamper(path, bytes);
}

/** The chosen files as they were, and no others. */
function restore(disk: MemoryDisk, copy: Map<string, Uint8Array>, chosen: (path: string) => boolean): void {
  for (const path of new Set([...disk.files().keys(), ...copy.keys()])) {
    if (chosen(path)) disk.tamper(path, copy.get(path));
  }
}

describe("log: refuses to start, with what it found", () => {
  it("opens again what it closed, with the same head and key", async () => {
    const { disk, source, heads } = await madeLog();
    const log = await open(disk, source);
    assert.ok(log.ok);
    assert.deepEqual(log.value.head, heads[3]);
    await log.value.close();
  });

  it("every single byte of the lock changed: LOG_LOCK_CORRUPT", async () => {
    const { disk, source } = await madeLog();
    const lock = disk.files().get("/log/lock/head")!;
    for (let at = 0; at < lock.length; at++) {
      flip(disk, "/log/lock/head", at);
      assert.equal(await refusal(disk, source), "LOG_LOCK_CORRUPT", `byte ${at}`);
      disk.tamper("/log/lock/head", lock);
    }
    for (const bytes of [new Uint8Array(0), lock.slice(0, 40), new Uint8Array(200).fill(0xff)]) {
      disk.tamper("/log/lock/head", bytes);
      assert.equal(await refusal(disk, source), "LOG_LOCK_CORRUPT");
    }
  });

  it("the lock gone: LOG_LOCK_MISSING, also when memory or checkpoint are gone with it", async () => {
    for (const gone of [
      [],
      ["/log/key.signed"],
      [`${PUBLIC}/checkpoint`],
      ["/log/key.signed", `${PUBLIC}/checkpoint`],
    ]) {
      const { disk, source } = await madeLog();
      for (const path of ["/log/lock/head", ...gone]) disk.tamper(path, undefined);
      assert.equal(await refusal(disk, source), "LOG_LOCK_MISSING", gone.join());
    }
  });

  it("the key's memory gone or changed: LOG_SIGNER_STATE_CORRUPT", async () => {
    const { disk, source } = await madeLog();
    const memory = disk.files().get("/log/key.signed")!;
    for (let at = 0; at < memory.length; at += 7) {
      flip(disk, "/log/key.signed", at);
      assert.equal(await refusal(disk, source), "LOG_SIGNER_STATE_CORRUPT", `byte ${at}`);
      disk.tamper("/log/key.signed", memory);
    }
    disk.tamper("/log/key.signed", undefined);
    assert.equal(await refusal(disk, source), "LOG_SIGNER_STATE_CORRUPT");
  });

  it("the key gone, changed, of another log, or readable by others", async () => {
    const { disk, source } = await madeLog();
    const key = disk.files().get("/log/key")!;
    for (let at = 0; at < key.length; at++) {
      flip(disk, "/log/key", at);
      assert.equal(await refusal(disk, source), "LOG_KEY_MALFORMED", `byte ${at}`);
      disk.tamper("/log/key", key);
    }
    assert.equal(await refusal(disk, source, { origin: "other.example/log" }), "LOG_KEY_MALFORMED");
    for (const mode of [0o640, 0o604, 0o660, 0o644]) {
      disk.setMode("/log/key", mode);
      assert.equal(await refusal(disk, source), "LOG_KEY_UNSAFE", mode.toString(8));
    }
    disk.setMode("/log/key", 0o600);
    disk.tamper("/log/key", undefined);
    assert.equal(await refusal(disk, source), "LOG_KEY_MISSING");
  });

  it("a tile or bundle of the right edge gone or changed; never signed over", async () => {
    const { disk, source } = await madeLog();
    const edge = [`${PUBLIC}/tile/0/001.p/45`, `${PUBLIC}/tile/1/000.p/1`, `${PUBLIC}/tile/entries/001.p/45`];
    for (const path of edge) {
      const bytes = disk.files().get(path)!;
      for (let at = 0; at < bytes.length; at += 31) {
        flip(disk, path, at);
        assert.equal(await refusal(disk, source), "LOG_TILE_CORRUPT", `${path} byte ${at}`);
        disk.tamper(path, bytes);
      }
      disk.tamper(path, bytes.slice(0, -1));
      assert.equal(await refusal(disk, source), "LOG_TILE_CORRUPT", `${path} cut short`);
      disk.tamper(path, undefined);
      assert.equal(await refusal(disk, source), "LOG_TILE_MISSING", path);
      disk.tamper(path, bytes);
    }
    assert.equal(await refusal(disk, source), "ok");
  });

  it("a changed right edge is found before the next signature by a running log too", async () => {
    for (const path of ["tile/0/001.p/45", "tile/1/000.p/1"]) {
      const { disk, source } = await madeLog();
      const log = await open(disk, source);
      assert.ok(log.ok);
      const memory = disk.files().get("/log/key.signed");
      flip(disk, `${PUBLIC}/${path}`, 5);
      source.add(3);
      const sequenced = await log.value.sequence();
      assert.equal(sequenced.ok ? "ok" : sequenced.failure.code, "LOG_TILE_CORRUPT", path);
      assert.deepEqual(disk.files().get("/log/key.signed"), memory, "nothing was signed");
      flip(disk, `${PUBLIC}/${path}`, 5);
      assert.ok((await log.value.sequence()).ok, "restored, it goes on");
    }
  });

  it("new leaves that the disk stored wrongly are found before they are signed", async () => {
    const { disk, source } = await madeLog();
    const lying = new Proxy(disk, {
      get(target, name) {
        if (name === "write") {
          return (path: string, bytes: Uint8Array, mode: number) => {
            const stored = bytes.slice();
            if (path.includes("tile/entries")) stored[stored.length - 1]! ^= 1;
            return target.write(path, stored, mode);
          };
        }
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const log = await Log.open("/log", optionsFor(lying, source));
    assert.ok(log.ok);
    source.add(3);
    const sequenced = await log.value.sequence();
    assert.equal(sequenced.ok ? "ok" : sequenced.failure.code, "LOG_TILE_CORRUPT");
    assert.equal(log.value.head.size, 301);
  });

  it("a published checkpoint that cannot be read is written anew: it is a copy", async () => {
    const { disk, source } = await madeLog();
    const checkpoint = disk.files().get(`${PUBLIC}/checkpoint`)!;
    for (const bytes of [undefined, checkpoint.slice(3), new Uint8Array(10)]) {
      disk.tamper(`${PUBLIC}/checkpoint`, bytes);
      assert.equal(await refusal(disk, source), "ok");
      assert.deepEqual(disk.files().get(`${PUBLIC}/checkpoint`), checkpoint);
    }
  });

  it("two holders of one lock: LOG_LOCK_HELD", async () => {
    const { disk, source } = await madeLog();
    const first = await open(disk, source);
    assert.ok(first.ok);
    assert.equal(await refusal(disk, source), "LOG_LOCK_HELD");
    await first.value.close();
    assert.equal(await refusal(disk, source), "ok");
  });

  it("a lock that someone moved under a running log: LOG_LOCK_MOVED, nothing published", async () => {
    const { disk, source, copies } = await madeLog();
    const log = await open(disk, source);
    assert.ok(log.ok);
    const published = disk.files().get(`${PUBLIC}/checkpoint`);
    disk.tamper("/log/lock/head", copies[1]!.get("/log/lock/head")!);
    source.add(1);
    const sequenced = await log.value.sequence();
    assert.equal(sequenced.ok ? "ok" : sequenced.failure.code, "LOG_LOCK_MOVED");
    assert.deepEqual(disk.files().get(`${PUBLIC}/checkpoint`), published);
  });
});

describe("log: restored from an older copy", () => {
  const parts: Record<string, (path: string) => boolean> = {
    lock: (path) => path.startsWith("/log/lock/"),
    checkpoint: (path) => path === `${PUBLIC}/checkpoint`,
    memory: (path) => path === "/log/key.signed",
    tiles: (path) => path.startsWith(`${PUBLIC}/tile/`),
  };

  for (let mask = 1; mask < 16; mask++) {
    const names = Object.keys(parts).filter((_, i) => mask & (1 << i));
    it(`${names.join(", ")}: never a second history, and forward where the rest suffices`, async () => {
      for (const back of [0, 1]) {
        const { disk, source, copies, heads } = await madeLog();
        const chosen = (path: string) => names.some((name) => parts[name]!(path));
        restore(disk, copies[back]!, chosen);
        const known = [{ ...heads[3]!, whence: "the ledger" }];
        const result = await open(disk, source, { known });
        if (!result.ok) {
          const expected: Code[] = ["LOG_BEHIND", "LOG_TILE_MISSING", "LOG_TILE_CORRUPT"];
          assert.ok(expected.includes(result.failure.code), `${result.failure.code} ${result.failure.detail}`);
          assert.ok(names.includes("memory") || names.includes("tiles"), `${names} refused: ${result.failure.detail}`);
          continue;
        }
        assert.ok(!names.includes("memory") && !names.includes("tiles"), `${names} must be refused`);
        assert.deepEqual(result.value.head, heads[3], "recovered to what was signed last");
        assert.deepEqual(disk.files().get("/log/lock/head"), heads[3]!.checkpoint);
        assert.deepEqual(disk.files().get(`${PUBLIC}/checkpoint`), heads[3]!.checkpoint);
        source.add(5);
        assert.ok((await result.value.sequence()).ok);
        assert.equal(result.value.head.size, 306);
      }
    });
  }

  it("everything, store too: what a ledger or witness knows stops it", async () => {
    const { disk, copies, heads } = await madeLog();
    restore(disk, copies[1]!, () => true);
    const source = new MemorySource();
    source.add(210);
    assert.equal(await refusal(disk, source, { known: [{ ...heads[3]!, whence: "the ledger" }] }), "LOG_BEHIND");
    const forked = { size: heads[1]!.size, root: heads[3]!.root, whence: "the ledger" };
    assert.equal(await refusal(disk, source, { known: [forked] }), "LOG_FORKED");
    assert.equal(await refusal(disk, source, { known: [{ ...heads[2]!, whence: "the ledger" }] }), "ok");
  });

  it("the store alone, older: it is told of every entry that it lost", async () => {
    const { disk } = await madeLog();
    const told: [number, number][] = [];
    const source = {
      integratedSize: () => 100,
      next: () => [],
      integrated: (from: number, entries: readonly unknown[]) => void told.push([from, entries.length]),
    };
    const log = await Log.open("/log", optionsFor(disk, source));
    assert.ok(log.ok);
    assert.deepEqual(told, [
      [100, 156],
      [256, 45],
    ]);
  });

  it("the store ahead of the log: LOG_BEHIND", async () => {
    const { disk } = await madeLog();
    const source = { integratedSize: () => 302, next: () => [], integrated: () => undefined };
    const log = await Log.open("/log", optionsFor(disk, source));
    assert.equal(log.ok ? "ok" : log.failure.code, "LOG_BEHIND");
  });
});
