/** A board's life: events and answers, why it ends and where, going back, and that nothing else gets in. */
import assert from "node:assert/strict";
import type { Board, World } from "../../hosts/simulator/board.js";
import { PowerCut } from "../../hosts/simulator/board.js";
import { newEngine, Printed, printingWorld, type StartOptions, startWith } from "./boards.js";

/** Line 1 of each program; what a test adds starts at line 2. */
const PRINT =
  'import { call, onEvent } from "wire"; const print = (value: unknown) => call(3, ArrayBuffer.fromString(String(value)));';

interface Program {
  readonly text: string;
  readonly world?: World;
  readonly creation?: NonNullable<StartOptions["creation"]>;
  readonly printed?: Printed;
}

function run({ text, world, creation, printed = new Printed() }: Program): Promise<Board> {
  return startWith({
    modules: [{ name: "test/main", path: "test/main.ts", text: `${PRINT}\n${text}` }],
    main: "test/main",
    world: world ?? printingWorld(printed),
    ...(creation ? { creation } : {}),
  });
}

/** Its first byte chooses what happens. */
const event = (...bytes: number[]) => Uint8Array.from(bytes);

describe("a board", () => {
  before(newEngine);

  it("answers events, and says when it wants to be woken", async () => {
    const board = await run({
      text: "onEvent((e) => { const b = new Uint8Array(e); return b.length ? b[0] * 1.5 : undefined; });",
    });
    assert.equal(board.event(event(4)), 6);
    assert.equal(board.event(event()), undefined);
    assert.equal(board.end, undefined);
  });

  it("runs everything that an event caused before the event returns", async () => {
    const printed = new Printed();
    const board = await run({
      printed,
      text: `onEvent(() => { (async () => { for (let i = 0; i < 3; i++) { print(i); await null; } })(); Promise.resolve().then(() => print("job")); });`,
    });
    board.event(event());
    assert.deepEqual(printed.lines, ["0", "1", "job", "2"]);
  });

  it("hands bytes out and in unchanged, of buffers, views with an offset and empty ones", async () => {
    const seen: [number, string][] = [];
    const board = await run({
      world: {
        call: (operation, bytes) => {
          seen.push([operation, Buffer.from(bytes).toString("hex")]);
          return Uint8Array.from(bytes, (byte) => byte ^ 0xff);
        },
      },
      text: `const all = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
        const replies = [call(20, all.buffer), call(21, all.subarray(2, 5)), call(22, new DataView(all.buffer, 6)),
          call(23, new Uint16Array(all.buffer, 4, 1)), call(24, new Uint8Array(0)), call(25)];
        for (const reply of replies) call(26, reply);`,
    });
    assert.equal(board.end, undefined);
    assert.deepEqual(seen.slice(0, 6), [
      [20, "0102030405060708"],
      [21, "030405"],
      [22, "0708"],
      [23, "0506"],
      [24, ""],
      [25, ""],
    ]);
    assert.deepEqual(
      seen.slice(6).map(([, hex]) => hex),
      ["fefdfcfbfaf9f8f7", "fcfbfa", "f8f7", "faf9", "", ""],
    );
  });

  it("takes a reply of 64 KiB and makes many calls without losing memory", async () => {
    const printed = new Printed();
    const board = await run({
      world: {
        call: (operation) => (operation === 3 ? undefined : new Uint8Array(operation === 30 ? 60_000 : 1000).fill(7)),
      },
      text: "let sum = new Uint8Array(call(30))[59999]; onEvent(() => { for (let i = 0; i < 5000; i++) sum += new Uint8Array(call(31))[999]; return sum; });",
      printed,
    });
    assert.equal(board.event(event()), 35_007);
    assert.equal(board.event(event()), 70_007);
  });

  it("asks the world for time and chance", async () => {
    const printed = new Printed();
    const asked: number[] = [];
    await run({
      world: {
        call: (operation, bytes) => {
          asked.push(operation);
          const reply = new DataView(new ArrayBuffer(8));
          if (operation === 1) reply.setFloat64(0, 1_700_000_000_123, true);
          if (operation === 2) reply.setUint32(0, 0xc0000000, true);
          if (operation === 3) printed.lines.push(new TextDecoder().decode(bytes));
          return new Uint8Array(reply.buffer);
        },
      },
      text: "print(Date.now()); print(new Date().toISOString()); print(Math.random() > 0.49 && Math.random() < 0.51);",
    });
    assert.deepEqual(printed.lines, ["1700000000123", "2023-11-14T22:13:20.123Z", "true"]);
    assert.deepEqual(asked, [1, 3, 1, 3, 2, 2, 3]);
  });

  const ENDS: readonly (readonly [reason: string, text: string, message: RegExp, line: number | undefined])[] = [
    [
      "exception",
      "interface Gone { a: number }\n\nonEvent(() => {\n  const broken = (): never => {\n    throw new TypeError('boom');\n  };\n  broken();\n});",
      /TypeError: boom at test\/main\.ts:6/,
      6,
    ],
    [
      "exception",
      "type A = 1 |\n 2;\nonEvent(() => {\n  (undefined as unknown as { x: number }).x;\n});",
      /TypeError: .* at test\/main\.ts:5/,
      5,
    ],
    ["exception", "onEvent(() => {\n  throw 'a text';\n});", /a text at test\/main\.ts:3/, 3],
    ["exception", "onEvent(() => {\n  throw { toString() { throw 1; } };\n});", /cannot be shown/, 3],
    [
      "rejection",
      "onEvent(() => {\n  (async () => {\n    await null;\n    throw new RangeError('late');\n  })();\n});",
      /RangeError: late at test\/main\.ts:5/,
      5,
    ],
    [
      "memory",
      "onEvent(() => {\n  const kept: Uint8Array[] = [];\n  for (;;) kept.push(new Uint8Array(1000));\n});",
      /out of memory at test\/main\.ts:4/,
      4,
    ],
    [
      "memory",
      "onEvent(() => {\n  let list: unknown;\n  for (;;)\n    list = { list };\n});",
      /out of memory at test\/main\.ts:5/,
      5,
    ],
    [
      "memory",
      "onEvent(() => {\n  let text = 'x';\n  for (;;) text += text;\n});",
      /out of memory at test\/main\.ts:4/,
      4,
    ],
    [
      "stack",
      "onEvent(() => {\n  const deeper = (): number =>\n    1 + deeper();\n  deeper();\n});",
      /stack overflow at test\/main\.ts:3/,
      3,
    ],
    ["stack", "onEvent(() => {\n  const f = (): unknown => [1].map(f);\n  f();\n});", /JavaScript stack overflow/, 3],
  ];
  for (const [reason, text, message, line] of ENDS) {
    it(`ends with ${reason}, place and peaks: ${message.source}`, async () => {
      const board = await run({ text });
      assert.equal(board.end, undefined);
      assert.equal(board.event(event()), undefined);
      assert.equal(board.end!.reason, reason);
      assert.match(board.end!.message, message);
      assert.equal(board.end!.module, "test/main");
      assert.equal(board.end!.line, line);
      const { stats } = board.end!;
      assert.ok(stats.chunksPeakBytes > 0 && stats.slotsPeakBytes > 0 && stats.meter > 0);
      assert.ok(stats.stackPeakSlots > 0 && stats.stackPeakSlots <= stats.stackSlots);
      if (reason === "memory") assert.ok(stats.freeBytes < 40_000, `${stats.freeBytes} bytes are free`);
      if (reason === "stack") assert.ok(stats.stackPeakSlots > 350);
      assert.throws(() => board.event(event()), /has ended/);
    });
  }

  it("ends with the C stack where recursion takes few slots, at the same bytecode in each run", async () => {
    const text = "let nested: unknown[] = [];\nfor (let n = 0; n < 20000; n++) nested = [nested];\nprint(nested);";
    const creation = { staticBytes: 8 << 20, stackSlots: 200_000 };
    const deep = async (levels: number): Promise<Board> => (levels === 0 ? run({ text, creation }) : deep(levels - 1));
    const one = await run({ text, creation });
    const other = await deep(500);
    assert.equal(one.end?.reason, "c-stack");
    assert.deepEqual(other.end, one.end);
  });

  it("ends where names run out", async () => {
    const board = await run({
      text: 'const o: Record<string, number> = {}; onEvent(() => { for (let i = 0; i < 100; i++) o["key" + i] = i; });',
      creation: { initialKeys: 16, incrementalKeys: 0 },
    });
    board.event(event());
    assert.equal(board.end?.reason, "keys");
  });

  it("ends at its start with what is wrong there", async () => {
    assert.match((await run({ text: "null.x;" })).end!.message, /uncaught|unhandled/);
    assert.equal((await run({ text: "const a = new Array(100000).fill(1);" })).end?.reason, "memory");
    assert.equal((await run({ text: "", creation: { staticBytes: 4096 } })).end?.reason, "memory");
    await assert.rejects(
      run({ text: "import 'no/such/module';" }),
      /test\/main imports "no\/such\/module", which is no module of this image/,
    );
    await assert.rejects(run({ text: "const 1 = 2;" }), /test\/main does not compile/);
  });

  it("survives errors that its code catches, and a wrong use of the wire", async () => {
    const printed = new Printed();
    const board = await run({
      printed,
      text: `for (const f of [() => call(5, "text"), () => call(5, {}), () => onEvent(1), () => new call(), () => call(5, new Uint8Array(70000))]) {
        try { f(); print("none"); } catch (e) { print(e.constructor.name); } }
        Array.prototype.x; try { Array.prototype.x = 1; } catch (e) { print(e.name); }
        try { Object.prototype.toString = null; } catch (e) { print(e.name); }
        try { Math.random = () => 4; } catch (e) { print(e.name); }
        try { (function* () {}).constructor.prototype.prototype.next = 1; } catch (e) { print(e.name); }
        class Own extends Error { override name = "Own"; } try { throw new Own("x"); } catch (e) { print(e); }`,
    });
    assert.equal(board.end, undefined, board.end?.message);
    assert.deepEqual(printed.lines.slice(0, 4), ["TypeError", "TypeError", "TypeError", "TypeError"]);
    assert.deepEqual(printed.lines.slice(-5), ["TypeError", "TypeError", "TypeError", "TypeError", "Own: x"]);
  });

  it("stops where the world cuts its power, and lets the world's own errors through", async () => {
    let cut: Error | undefined;
    const calls: number[] = [];
    const world: World = {
      call: (operation) => {
        calls.push(operation);
        if (cut && operation === 41) throw cut;
        return undefined;
      },
    };
    const text =
      "onEvent(() => { try { call(40); call(41); call(42); } catch (e) { call(43); } finally { call(44); } });";
    const board = await run({ text, world });
    const before = board.image();
    board.event(event());
    assert.deepEqual(calls, [40, 41, 42, 44]);
    cut = new PowerCut("at the third page");
    board.event(event());
    assert.deepEqual(calls, [40, 41, 42, 44, 40, 41]);
    assert.deepEqual([board.end?.reason, board.end?.message], ["power", "at the third page"]);
    cut = new SyntaxError("a defect of the world");
    board.restore(before);
    assert.throws(() => board.event(event()), /a defect of the world/);
    assert.equal(board.end?.reason, "engine");
  });

  it("goes back to an image: same events, same prints, same counts, also after it ended", async () => {
    const printed = new Printed();
    const board = await run({
      printed,
      text: `const seen: number[] = []; const map = new Map<string, number>(); function* ids() { for (let i = 0; ; i++) yield i; } const id = ids();
        onEvent((e) => { const b = new Uint8Array(e)[0]; if (b === 255) throw new Error("end"); seen.push(b); map.set("k" + b, (map.get("k" + b) ?? 0) + 1);
          print([id.next().value, seen.length, map.size, seen.reduce((x, y) => x + y, 0)].join()); return seen.length; });`,
    });
    for (let i = 0; i < 20; i++) board.event(event(i % 7));
    const image = board.image();
    const mark = printed.lines.length;
    const goOn = () => {
      for (let i = 0; i < 200; i++) board.event(event(i % 11));
      return { lines: printed.lines.splice(mark), stats: board.stats() };
    };
    const first = goOn();
    board.event(event(255));
    assert.equal(board.end?.reason, "exception");
    board.restore(image);
    assert.equal(board.end, undefined);
    assert.deepEqual(goOn(), first);
    board.restore(image);
    assert.deepEqual(board.image().memory, image.memory);
  });

  it("is a function of its events: two boards, same memory byte for byte", async () => {
    const text = `const kept: unknown[] = []; onEvent((e) => { const b = new Uint8Array(e); kept.push({ at: new Date(), text: String(b[0] / 3), [Symbol()]: b, r: Math.random() });
      if (kept.length > 50) kept.splice(0, 25); return JSON.stringify(kept).length; });`;
    const trace = async () => {
      const board = await run({ text });
      const wakes: (number | undefined)[] = [];
      for (let i = 0; i < 500; i++) wakes.push(board.event(event(i & 255)));
      return { wakes, stats: board.stats(), memory: board.image().memory, end: board.end };
    };
    const [one, other] = [await trace(), await trace()];
    assert.equal(one.end, undefined);
    assert.deepEqual(other.wakes, one.wakes);
    assert.deepEqual(other.stats, one.stats);
    assert.equal(Buffer.compare(one.memory, other.memory), 0);
  });
});
