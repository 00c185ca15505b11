/**
 * The engine's build against Node's engine: the same programs run on both, and every printed line must be the same.
 * This is a test of how XS was compiled, not of XS: a wrong flag or a broken exception shows here first.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import type { ModuleSource } from "../../hosts/simulator/image.js";
import { newEngine, Printed, printingWorld, startWith } from "./boards.js";

const FOLDER = new URL("./programs/", import.meta.url);

type Program = (print: (...values: unknown[]) => void) => void | Promise<void>;

/** What the board's side does with a program: the same `print` as below. */
const MAIN = `
import { call } from "wire";
import program from "./PROGRAM";
const print = (...values) => { call(3, ArrayBuffer.fromString(values.map(String).join(" "))); };
const ended = program(print);
if (ended) ended.then(() => print("end"), (error) => { print("failed", error.stack); });
else print("end");
`;

/**
 * Where XS 13.3 itself computes otherwise, a native build of the same sources included. Modules keep away from these;
 * the table fails when a newer XS changes its mind. Expression, what XS says, what the standard says.
 */
const DEVIATIONS: readonly (readonly [expression: string, xs: string, standard: string])[] = [
  ['"a\u{1F600}b".length', "3", "4"],
  ['"\u{1F600}".charCodeAt(1)', "NaN", "56832"],
  ['"\uffff" > "\u{1F600}"', "false", "true"],
  ['/^.$/.test("\u{1F600}")', "true", "false"],
  ["String(1.29e22)", "1.2899999999999999e+22", "1.29e+22"],
  ['Number("9007199254740993")', "9007199254740994", "9007199254740992"],
  ["(0.3).toFixed(0)", "0.", "0"],
  ["(2.5).toPrecision(7)", "2.50000", "2.500000"],
  ['Object.is(parseInt("-0", 10), -0)', "false", "true"],
  ["Math.round(5e-324)", "5e-324", "0"],
  ['String(/(?:x|(y))+?z/.exec("xyxz"))', "xyxz,y", "xyxz,"],
  ['/[^\\x00-\\x7f]/.test("a")', "true", "false"],
  // As in the SDK's builds, and so on every board.
  ["Object.isFrozen(Array.prototype)", "true", "false"],
];

const files = readdirSync(FOLDER).filter((name) => name.endsWith(".js"));

describe("XS as WebAssembly computes as Node does", () => {
  before(newEngine);

  for (const file of files) {
    it(file, async () => {
      const { default: program } = (await import(new URL(file, FOLDER).href)) as { default: Program };
      const expected: string[] = [];
      await program((...values) => void expected.push(values.map(String).join(" ")));
      expected.push("end");

      const modules: ModuleSource[] = files.map((name) => ({
        name: `programs/${name.slice(0, -3)}`,
        path: fileURLToPath(new URL(name, FOLDER)),
      }));
      modules.push({ name: "programs/main", path: "main.js", text: MAIN.replace("PROGRAM", file) });
      const printed = new Printed();
      const board = await startWith({
        modules,
        main: "programs/main",
        world: printingWorld(printed),
        // Room to compute: what a small machine does is another test.
        creation: { staticBytes: 1 << 20, stackSlots: 4096 },
      });
      for (let i = 0; i < expected.length; i++)
        assert.equal(printed.lines[i] ?? board.end?.message, expected[i], `line ${i + 1} of ${file}`);
      assert.equal(printed.lines.length, expected.length);
      assert.equal(board.end, undefined);
    });
  }

  it("except where XS itself does not", async () => {
    const printed = new Printed();
    const lines = DEVIATIONS.map(([expression]) => `print(${expression});`);
    const text = `import { call } from "wire";
      const print = (value) => { call(3, ArrayBuffer.fromString(String(value))); };
      ${lines.join("\n")}`;
    await startWith({
      modules: [{ name: "main", path: "main.js", text }],
      main: "main",
      world: printingWorld(printed),
    });
    assert.deepEqual(
      printed.lines,
      DEVIATIONS.map(([, xs]) => xs),
    );
    assert.deepEqual(
      DEVIATIONS.map(([expression]) => String(runInNewContext(expression))),
      DEVIATIONS.map(([, , standard]) => standard),
    );
  });
});
