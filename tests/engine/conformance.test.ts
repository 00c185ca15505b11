/**
 * The engine's build against Node's engine: the same programs run on both, and every printed line must be the same.
 * This is a test of how XS was compiled, not of XS: a wrong flag or a broken exception shows here first.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
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
      for (let i = 0; i < expected.length; i++) assert.equal(printed.lines[i] ?? board.end?.message, expected[i], `line ${i + 1} of ${file}`);
      assert.equal(printed.lines.length, expected.length);
      assert.equal(board.end, undefined);
    });
  }
});
