import assert from "node:assert/strict";
import { explain, type Result } from "tallystick/codes/codes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { formatVerifierKey, parseNote, SignatureType } from "tallystick/log/note";
import { WITNESSES_MAX } from "tallystick/log/witness";
import { checkWitnesses, readWitness } from "../../hosts/relay/cosigning/options.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ORIGIN } from "../log/bench.js";
import { naiveLeaf } from "../merkle/naive.js";
import { AskingLog } from "./asking.js";
import { must, StartedWitness, signerOf } from "./fixture.js";
import { LyingWitness, linesOf, until } from "./lying.js";

describe("cosigning: a log and its witnesses", () => {
  let asking: AskingLog;
  let witnesses: StartedWitness[];

  beforeEach(async () => {
    asking = await AskingLog.open();
    witnesses = [];
    for (const name of ["witness.example/w1", "witness.example/w2"])
      witnesses.push(await StartedWitness.start([asking.log.key], name));
  });
  afterEach(async () => {
    await asking.close();
    for (const witness of witnesses) await witness.close();
  });

  const names = () => linesOf(asking.published);
  const all = [ORIGIN, "witness.example/w1", "witness.example/w2"];
  const whole = () => until("both cosignatures", () => names().length === 3);

  it("publishes each checkpoint first, and again with each cosignature; head and file are the same", async () => {
    must(await asking.begin(witnesses));
    await whole();
    for (const count of [1, 7, 300]) {
      await asking.grow(count);
      await whole();
      assert.deepEqual(names().sort(), all);
      assert.deepEqual(asking.log.head.checkpoint, asking.published);
      const keys = witnesses.map(({ key }) => key);
      const opened = must(openCheckpoint(relayCrypto, asking.published, asking.log.key, keys));
      assert.equal(opened.size, asking.log.head.size);
      assert.equal(opened.cosignatures.length, 2);
    }
    assert.equal(asking.cosigning!.witnesses[0]!.cosignedSize, 309);
    assert.deepEqual(asking.told, []);
    const locked = asking.disk.files().get("/log/lock/head")!;
    assert.deepEqual(linesOf(locked), [ORIGIN], "the lock holds what the log signed");
  });

  it("keeps the lines over a restart, those of witnesses that are asked no more not", async () => {
    must(await asking.begin(witnesses));
    await whole();
    const before = asking.published;
    await asking.close();
    await asking.openLog(witnesses);
    assert.deepEqual(asking.published, before);
    assert.deepEqual(asking.log.head.checkpoint, before);
    await asking.close();
    await asking.openLog(witnesses.slice(1));
    assert.deepEqual(names(), [ORIGIN, "witness.example/w2"]);
    assert.deepEqual(asking.log.head.checkpoint, asking.published);
  });

  it("a published line that was changed makes the whole copy be written anew", async () => {
    must(await asking.begin(witnesses));
    await whole();
    await asking.close();
    const changed = Buffer.from(asking.published);
    changed[changed.length - 20] = changed[changed.length - 20] === 0x41 ? 0x42 : 0x41;
    asking.disk.tamper("/log/public/checkpoint", new Uint8Array(changed));
    await asking.openLog(witnesses);
    assert.deepEqual(names(), [ORIGIN]);
  });

  it("asks a witness that was away from where it stands, once it is back", async () => {
    must(await asking.begin(witnesses));
    await whole();
    const url = witnesses[1]!.url;
    await witnesses[1]!.server.close();
    await asking.grow(3);
    await until("its absence", () => asking.told.length > 0);
    await asking.grow(4);
    assert.deepEqual(asking.told, ["witness.example/w2 WITNESS_UNREACHABLE"]);
    await until("the other's line", () => names().includes("witness.example/w1"));
    await witnesses[1]!.restart();
    assert.equal(witnesses[1]!.url, url);
    await whole();
    assert.deepEqual(asking.told, ["witness.example/w2 WITNESS_UNREACHABLE", "witness.example/w2 cosigns"]);
  });

  it("proves older entries with the tree that most have cosigned, new ones with the newest", async () => {
    must(await asking.begin(witnesses));
    await whole();
    await asking.grow(5);
    await whole();
    const both = asking.log.head;
    await witnesses[1]!.server.close();
    await asking.grow(5);
    await until("one line", () => names().length === 2);
    assert.equal(asking.log.cosignedHead(3).size, both.size);
    assert.equal(linesOf(asking.log.cosignedHead(3).checkpoint).length, 3);
    assert.equal(asking.log.cosignedHead(both.size + 1).size, asking.log.head.size);
    await witnesses[0]!.server.close();
    await asking.grow(5);
    assert.deepEqual(linesOf(asking.log.head.checkpoint), [ORIGIN]);
    assert.equal(linesOf(asking.log.cosignedHead(both.size + 1).checkpoint).length, 2);
    assert.equal(asking.log.cosignedHead(asking.log.head.size), asking.log.head);
    await witnesses[0]!.restart();
    await witnesses[1]!.restart();
  });

  it("says that too few cosign, once it has lasted, and that the log goes on", async () => {
    let nowMs = 0;
    must(await asking.begin(witnesses, { wanted: 2, nowMs: () => nowMs }));
    await until("both", () => asking.cosigning!.satisfiedSize === 1);
    assert.equal(asking.cosigning!.trouble(), undefined);
    await witnesses[1]!.server.close();
    await asking.grow(3);
    await until("its absence", () => asking.told.length > 0);
    assert.equal(asking.cosigning!.trouble(), undefined, "not at once");
    nowMs += 61_000;
    assert.equal(asking.cosigning!.trouble()?.code, "WITNESSES_LACKING");
    await asking.grow(3);
    assert.equal(asking.log.head.size, 7);
    await witnesses[1]!.restart();
    nowMs += 1_000;
    asking.cosigning!.wake();
    await until("both again", () => asking.cosigning!.satisfiedSize === 7);
    assert.equal(asking.cosigning!.trouble(), undefined);
  });
});

describe("cosigning: a cut or a fault while a cosigned checkpoint is published", () => {
  const witness = signerOf("witness.example/w1", 3, SignatureType.cosignature);
  const asked = [{ url: "http://127.0.0.1:1", key: witness.key }];

  it("leaves the checkpoint bare or cosigned, and the next start goes on from it", async () => {
    const found = new Set<number>();
    for (const kind of ["cut", "fault"] as const) {
      for (const later of [1, 2, 3]) {
        for (const moment of ["before", "half", "after"] as const) {
          for (const keep of [false, true]) {
            const label = `${kind} ${moment} step ${later}, ${keep ? "all" : "nothing"} unsynced kept`;
            const asking = await AskingLog.open();
            await asking.grow(3);
            const text = must(parseNote(asking.published)).text;
            const { disk } = asking;
            disk.injection = { kind, step: disk.steps + later, moment };
            const before = asking.log.head;
            const run = asking.log.cosign(before, [witness.line(text, 1_790_000_000)]);
            if (kind === "cut") await assert.rejects(run, /at step/, label);
            else assert.equal(codeOf(await run), "LOG_IO_FAILED", label);
            if (kind === "fault") {
              assert.deepEqual(asking.log.head, before, "what failed is not served");
              disk.injection = undefined;
              await asking.grow(2);
              assert.equal(codeOf(await asking.log.cosign(before, [witness.line(text, 1_790_000_000)])), "ok");
              assert.equal(
                must(parseNote(asking.published)).text.split("\n")[1],
                "6",
                "an older tree is not published",
              );
            }
            const again = new AskingLog(
              disk.restart(() => keep),
              asking.source,
            );
            await again.openLog(asked);
            assert.equal(again.log.head.size, kind === "cut" ? 4 : 6, label);
            assert.deepEqual(again.log.head.checkpoint, again.published, label);
            found.add(linesOf(again.published).length);
            await again.grow(1);
            await again.close();
          }
        }
      }
    }
    assert.deepEqual([...found].sort(), [1, 2], "both were seen");
  });
});

const codeOf = (result: Result<unknown>) => (result.ok ? "ok" : result.failure.code);

describe("cosigning: what witnesses know at the start", () => {
  let asking: AskingLog;
  let witness: StartedWitness;
  beforeEach(async () => {
    asking = await AskingLog.open();
    witness = await StartedWitness.start([asking.log.key]);
  });
  afterEach(async () => {
    await asking.close();
    await witness.close();
  });

  /** A copy of the whole log as it is now, its source too. */
  async function copy(): Promise<AskingLog> {
    const older = new AskingLog();
    for (const [path, bytes] of asking.disk.files()) {
      const folders = path.split("/").slice(1, -1);
      for (let i = 1; i <= folders.length; i++) await older.disk.makeFolder(`/${folders.slice(0, i).join("/")}`);
      await older.disk.write(path, bytes, 0o600);
    }
    older.source.add(asking.source.entries.length);
    older.source.integrated(
      1,
      asking.source.entries.map((bytes) => ({ bytes, id: idOf(bytes) })),
    );
    await older.openLog();
    return older;
  }
  const idOf = (bytes: Uint8Array) => relayCrypto.sha256(new Uint8Array([0, ...bytes]));

  it("a copy from before is told so, and does not begin: the witness shows what the log's key signed", async () => {
    must(await asking.begin([witness]));
    await asking.grow(4);
    const older = await copy();
    await asking.grow(3);
    await until("the line", () => linesOf(asking.published).length === 2);
    const begun = await older.begin([witness]);
    assert.ok(!begun.ok);
    assert.equal(begun.failure.code, "LOG_BEHIND");
    assert.match(begun.failure.detail, /the 5 signed last, received 8 of the witness witness\.example\/w1, signed by/);
    assert.match(explain(begun.failure), /restored from an old copy/);
    await older.close();
  });

  it("where no witness answers it begins, says so, and stops when one shows the second history", async () => {
    must(await asking.begin([witness]));
    await asking.grow(4);
    const older = await copy();
    await asking.grow(3);
    await until("the line", () => linesOf(asking.published).length === 2);
    await witness.server.close();
    must(await older.begin([witness]));
    assert.deepEqual(older.told, ["witness.example/w1 WITNESS_UNREACHABLE"]);
    // Other entries than the log had, and more of them.
    older.source.entries.push(new Uint8Array(Buffer.from("another entry")));
    for (const _ of "12345")
      older.source.entries.push(new Uint8Array(Buffer.from(`another ${older.source.entries.length}`)));
    Object.assign(older.source, { integrated: () => undefined, next: nextOnce(older.source.entries.slice(4)) });
    must(await older.log.sequence());
    assert.equal(older.log.head.size, 11);
    await witness.restart();
    await until("the contradiction", () => older.contradictions.length > 0);
    assert.equal(older.contradictions[0]!.code, "LOG_FORKED");
    assert.match(
      older.contradictions[0]!.detail,
      /^at size 8 this log has [0-9a-f]{64}, but [0-9a-f]{64} is of the witness/,
    );
    const published = older.published;
    Object.assign(older.source, { next: nextOnce([Buffer.from("more")]) });
    const halted = await older.log.sequence();
    assert.equal(halted.ok ? "ok" : halted.failure.code, "LOG_FORKED", "nothing more is signed");
    assert.deepEqual(older.published, published);
    await older.close();
  });

  function nextOnce(entries: readonly Uint8Array[]) {
    let left = entries.map((bytes) => ({ id: naiveLeaf(bytes), bytes }));
    return () => {
      const now = left;
      left = [];
      return now;
    };
  }

  it("a larger size by its word alone stops the start, and says how to go on without that witness", async () => {
    const key = signerOf("liar.example", 3, SignatureType.cosignature).key;
    const liar = await LyingWitness.start(({ method }, answer) => {
      if (method === "GET") answer.writeHead(404).end();
      else answer.writeHead(409, { "content-type": "text/x.tlog.size" }).end("4711\n");
    });
    try {
      const begun = await asking.begin([witness, { url: liar.url, key }]);
      assert.ok(!begun.ok);
      assert.equal(begun.failure.code, "LOG_BEHIND");
      assert.match(begun.failure.detail, /received 4711 of the witness liar\.example.*start without it/);
      must(await asking.begin([witness]));
    } finally {
      await liar.close();
    }
  });

  it("one that hangs holds the start up no longer than the time it is given", async () => {
    const key = signerOf("liar.example", 3, SignatureType.cosignature).key;
    const liar = await LyingWitness.start(() => undefined);
    try {
      must(await asking.begin([{ url: liar.url, key }], { timeoutMs: 50 }));
      assert.deepEqual(asking.told, ["liar.example WITNESS_UNREACHABLE"]);
    } finally {
      await liar.close();
    }
  });
});

describe("cosigning: which witnesses", () => {
  const key = signerOf("witness.example/w1", 3, SignatureType.cosignature).key;
  const line = formatVerifierKey(key);
  const code = (text: string) => {
    const read = readWitness(relayCrypto.sha256, text);
    return read.ok ? "ok" : read.failure.code;
  };

  it("reads an address and a key, and nothing else", () => {
    const read = must(readWitness(relayCrypto.sha256, `https://witness.example/prefix/=${line}`));
    assert.deepEqual(read, { url: "https://witness.example/prefix", key });
    for (const text of [
      "",
      line,
      `https://witness.example`,
      `ftp://witness.example=${line}`,
      `https://user@witness.example=${line}`,
      `https://witness.example/?a=${line}`,
      `https://witness.example/#a=${line}`,
      `witness.example=${line}`,
      `https://w.example=${formatVerifierKey(signerOf("log.example", 1).key)}`,
      `https://w.example=${formatVerifierKey(signerOf("w".repeat(65), 1, SignatureType.cosignature).key)}`,
    ])
      assert.ok(["WITNESS_OPTION_MALFORMED", "NOTE_KEY_MALFORMED"].includes(code(text)), text);
    assert.equal(code(`https://w.example=${line.replace("w1", "w2")}`), "NOTE_KEY_MALFORMED");
  });

  it("counts no key twice, and no more than fit", () => {
    const many = Array.from({ length: WITNESSES_MAX + 1 }, (_, i) => ({
      url: `http://w${i}.example`,
      key: signerOf(`w${i}.example`, i + 1, SignatureType.cosignature).key,
    }));
    const verdict = (...args: Parameters<typeof checkWitnesses>) => checkWitnesses(...args).ok;
    assert.equal(verdict(many.slice(1), WITNESSES_MAX), true);
    assert.equal(verdict(many, 0), false);
    assert.equal(verdict(many.slice(0, 2), 3), false);
    const renamed = signerOf("other.example", 1, SignatureType.cosignature).key;
    assert.equal(verdict([many[0]!, { url: "http://other.example", key: renamed }], 0), false, "one key, two names");
  });
});
