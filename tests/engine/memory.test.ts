/**
 * The two machines and the collector: code, strings and preloaded objects lie in the root, which the device's
 * collector must never mark, move or change; what the device changes of them is its own.
 */
import assert from "node:assert/strict";
import { Board } from "../../hosts/simulator/board.js";
import { buildImage } from "../../hosts/simulator/image.js";
import { engine, newEngine, Printed, printingWorld } from "./boards.js";

/** Holds one of everything that has chunks or tables, at module scope, as preloaded modules do. */
const FLASH = `
export const text = "a text in flash — with more than ASCII";
export const made = ["joined", text.length, "at build"].join(" ");
export const big = 2n ** 200n + 1n;
export const pattern = /(\\w+)-(\\d+)/g;
export const table = new Uint32Array([1, 2, 3, 0xffffffff]);
export const view = new DataView(table.buffer, 4, 8);
export const list = [1, "two", [3, ["four"]], { five: 5n ** 30n }];
export const map = new Map<unknown, unknown>([["key", "value"], [list, text], [7, big]]);
export const set = new Set(["x", "y" + text.length]);
export const date = new Date(86400000);
export const symbol = Symbol("a symbol");
export const key = "computed" + text.length;
export const object = { [key]: 1, [symbol]: "by symbol", nested: { deep: { deeper: "deepest" } } };
export class Counter { static made = 0; #count = 0; step = 2; constructor() { Counter.made++; } add() { return (this.#count += this.step); } }
export const counter = new Counter();
export let moving = 0;
export function move() { moving++; return moving; }
export const closure = ((hidden: string[]) => (more: string) => { hidden = [...hidden, more]; return hidden.join(); })(["start"]);
export const bound = closure.bind(null, "bound");
export const error = new RangeError("made at build");
export function* numbers() { let n = 0; for (;;) yield n++; }
export const proxy = new Proxy({ a: "through" }, { get: (target, name) => String(Reflect.get(target, name)) + "!" });
/** Not JSON.stringify: XS marks what it visits, and refuses to where that lies in flash. */
export const show = (value: unknown): string => typeof value !== "object" || value === null ? String(value)
  : Array.isArray(value) ? "[" + value.map(show).join() + "]" : "{" + Object.entries(value).map(([k, v]) => k + ":" + show(v)).join() + "}";
export const summary = () => [text, made, big, pattern.source, [...table].join(), view.getUint32(0, true), show(list),
  [...map.keys()].length, map.get(list), map.get(7), [...set].join(), date.toISOString(), String(symbol), key, show(object),
  object[symbol], error.message, proxy.a].join("|");
`;

const MAIN = `
import { call, onEvent } from "wire";
import * as flash from "flash";
// By name: a namespace object shows what a preloaded module's variable held when the image was built.
import { moving } from "flash";
const print = (value: unknown) => call(3, ArrayBuffer.fromString(String(value)));
const kept: unknown[] = [];
const ids = flash.numbers();
const stress = () => {
  for (let i = 0; i < 60; i++) {
    kept.push({ i, name: "k" + i, bytes: new Uint8Array(200), text: flash.text + i, big: flash.big + BigInt(i), part: flash.text.slice(i % 9) });
    if (kept.length > 30) kept.splice(0, 17);
    "ab-12 cd-34".replace(flash.pattern, (all, word, number) => { kept.push(word + number); return all; });
    kept.push(flash.text + flash.made, [...flash.table], new Map(flash.map), ids.next().value, flash.pattern.exec("zz-9"));
    flash.pattern.lastIndex = 0;
  }
};
const attempts: [string, () => unknown][] = [
  ["table", () => { flash.table[0] = 9; }],
  ["fill", () => flash.table.fill(0)],
  ["view", () => flash.view.setUint8(0, 9)],
  ["map", () => flash.map.set("new", 1)],
  ["set", () => flash.set.delete("x")],
];
onEvent((event) => {
  switch (new Uint8Array(event)[0]) {
    case 0: stress(); break;
    case 1: print(flash.summary()); break;
    case 2: for (const [name, attempt] of attempts) { try { attempt(); print(name + " changed"); } catch (error) { print(name + " " + error.name); } } break;
    case 3:
      (flash.list as unknown[]).push("device"); flash.list[0] = "changed"; (flash.object as any)[flash.key] = 2; (flash.object as any).more = flash.text; flash.object.nested.deep.deeper = "mine";
      flash.Counter.made += 10; flash.date.setTime(5); print([flash.move(), flash.move(), moving, flash.closure("a"), flash.closure("b"), flash.bound(), flash.Counter.made, new flash.Counter().add()].join("|"));
      try { print(flash.counter.add()); print(flash.counter.add()); } catch (error) { print(error.name); }
      break;
    case 4: print([flash.show(flash.list), flash.show(flash.object), moving, flash.Counter.made, flash.date.getTime(), flash.closure("c")].join("|")); break;
  }
});
`;

describe("flash and device", () => {
  before(newEngine);

  async function boards(count: number, preload: readonly string[]) {
    const loaded = await engine();
    const modules = [
      { name: "flash", path: "flash.ts", text: FLASH },
      { name: "main", path: "main.ts", text: MAIN },
    ];
    const image = await buildImage({ engine: loaded, modules, preload });
    return Array.from({ length: count }, () => {
      const printed = new Printed();
      const board = new Board({ engine: loaded, image, world: printingWorld(printed), main: "main" });
      assert.ok(board.start(), board.end?.message);
      const send = (kind: number): string[] => {
        printed.lines.length = 0;
        board.event(Uint8Array.of(kind));
        assert.equal(board.end, undefined, board.end?.message);
        return [...printed.lines];
      };
      return { board, send };
    });
  }

  it("a preloaded module reads the same after thousands of collections, and costs less", async () => {
    const [plain] = await boards(1, []);
    const [preloaded] = await boards(1, ["flash"]);
    const expected = plain!.send(1);
    assert.deepEqual(preloaded!.send(1), expected);
    for (let i = 0; i < 60; i++) {
      preloaded!.send(0);
      preloaded!.board.collect();
      if (i % 10 === 0) assert.deepEqual(preloaded!.send(1), expected, `after ${i} rounds`);
    }
    assert.deepEqual(preloaded!.send(1), expected);
    const [less, more] = [(await boards(1, ["flash"]))[0]!.board.stats(), plain!.board.stats()];
    assert.ok(less.slotsPeakBytes < more.slotsPeakBytes && less.chunksPeakBytes < more.chunksPeakBytes);
  });

  it("what flash holds in buffers and tables is read-only, as on a board", async () => {
    const [one] = await boards(1, ["flash"]);
    const before = one!.send(1);
    assert.deepEqual(one!.send(2), [
      "table TypeError",
      "fill TypeError",
      "view TypeError",
      "map TypeError",
      "set TypeError",
    ]);
    assert.deepEqual(one!.send(1), before);
  });

  it("what the device changes of flash's objects stays its own, through collections", async () => {
    const [one, other] = await boards(2, ["flash"]);
    const untouched = other!.send(4);
    const changed = one!.send(3);
    assert.equal(changed[0], "1|2|2|start,a|start,a,b|start,a,b,bound|11|2");
    const after = one!.send(4);
    for (let i = 0; i < 30; i++) {
      one!.send(0);
      one!.board.collect();
    }
    const again = one!.send(4);
    assert.equal(again[0]!.replace(",c,c", ",c"), after[0]);
    assert.match(
      after[0]!,
      /^\[changed,two,.*,device\]\|.*deeper:mine.*more:a text in flash.*\|2\|12\|5\|start,a,b,bound,c$/,
    );
    assert.equal(other!.send(4)[0]!.replace(",c,c", ",c"), untouched[0]);
  });
});
