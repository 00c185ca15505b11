import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { breaches, importLines } from "./rules.js";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

function sources(): Map<string, string> {
  const files = new Map<string, string>();
  for (const top of ["modules", "hosts", "tools", "tests"])
    for (const entry of readdirSync(join(ROOT, top), { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile() || !/\.(?:ts|mts|mjs|js)$/.test(entry.name) || path.includes("node_modules")) continue;
      files.set(relative(ROOT, path).replaceAll("\\", "/"), readFileSync(path, "utf8"));
    }
  return files;
}

/** What the rules say about one source; `others` stand beside it. */
function breachesOf(path: string, text: string, others: Record<string, string> = {}): string[] {
  return breaches(new Map([[path, text], ...Object.entries(others)]));
}

describe("who may import whom", () => {
  it("holds in every source", () => {
    const files = sources();
    assert.ok(files.size > 50, `found ${files.size} sources`);
    const imports = [...files.values()].reduce((sum, text) => sum + importLines(text).length, 0);
    assert.ok(imports > 100, `found ${imports} imports`);
    assert.deepEqual(breaches(files), []);
  });

  it("is read from every form of import, and from no comment or string", () => {
    const source = `import a from "a";
import {
  b,
} from "b";
export * from "c";
export type { d } from 'd';
import "e";
const f = await import("f");
// import g from "g";
/* import h from "h";
 * import i from "i"; */
const text = "import j from 'j'";
const lines = \`
import m from "m";
\`;
export const k = "k";
const url = "http://x"; import l from "l";
`;
    assert.deepEqual(
      importLines(source).map(({ specifier, line }) => `${specifier}${line}`),
      ["a1", "b4", "c5", "d6", "e7", "f8", "l17"],
    );
  });

  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ["modules/record/record.ts", `import { follow } from "../chain/chain.js";`, /goes up, or sideways/],
    ["modules/chain/chain.ts", `import type { Note } from "../log/note.js";`, /goes up, or sideways/],
    ["modules/bytes/bytes.ts", `import { ok } from "../codes/codes.js";`, /goes up, or sideways/],
    ["modules/record/record.ts", `import { readFileSync } from "node:fs";`, /run on every engine/],
    ["modules/sensors/bme280/bme280.ts", `import I2C from "embedded:io/i2c";`, /run on every engine/],
    ["modules/record/record.ts", `import { leafHash } from "tallystick/merkle/merkle";`, /each other relatively/],
    ["modules/record/record.ts", `import { sha256 } from "@noble/hashes/sha2.js";`, /in its one place only/],
    ["modules/record/record.ts", `import { leafHash } from "../merkle/merkle";`, /ends in "\.js"/],
    ["modules/record/record.ts", `import { start } from "../../hosts/board/start.js";`, /modules import modules only/],
    ["modules/misc/misc.ts", `import { ok } from "../codes/codes.js";`, /no place in the layers/],
    ["hosts/relay/server.ts", `import { Board } from "../board/board.js";`, /no other host/],
    ["hosts/board/board.ts", `import { World } from "../simulator/world/world.js";`, /no other host/],
    ["hosts/relay/log/log.ts", `import { leafHash } from "../../../modules/merkle/merkle.js";`, /by package name/],
    [
      "hosts/relay/server.ts",
      `import { checkFirmware } from "../../tools/firmware/check.js";`,
      /nothing imports tools/,
    ],
    ["modules/record/record.ts", `import { x } from "../../tools/x.js";`, /nothing imports tools/],
    ["tools/demo/demo.ts", `import { x } from "../../tests/x.js";`, /nothing imports tests/],
  ];
  for (const [path, text, reason] of wrong)
    it(`refuses, in ${path}: ${text}`, () => {
      const found = breachesOf(path, `// first line\n${text}\n`);
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0]!, reason);
      assert.ok(found[0]!.startsWith(`${path}:2: `) && found[0]!.endsWith(text), found[0]);
    });

  it("refuses a cycle inside of a folder, unless it is one of types", () => {
    const back = { "modules/record/b.ts": `import { a } from "./a.js";` };
    assert.match(
      breachesOf("modules/record/a.ts", `import { b } from "./b.js";`, back).join(),
      /a cycle: .*a\.ts → .*b\.ts → /,
    );
    assert.deepEqual(breachesOf("modules/record/a.ts", `import type { B } from "./b.js";`, back), []);
  });

  it("allows what the tree needs", () => {
    const right: readonly (readonly [string, string])[] = [
      ["modules/record/record.ts", `import { leafHash } from "../merkle/merkle.js";`],
      ["modules/sensors/bme280/bme280.ts", `import { Driver } from "../driver.js";`],
      ["modules/identity/tweetnacl.ts", `import nacl from "tweetnacl";`],
      ["hosts/simulator/lane-b.ts", `import { board } from "../board/wire.js";`],
      ["hosts/esp32/main.ts", `import Timer from "timer";`],
      ["hosts/relay/log/log.ts", `import { leafHash } from "tallystick/merkle/merkle";`],
      ["tools/demo/demo.ts", `import { server } from "../../hosts/relay/server.js";`],
      ["tests/relay/relay.test.ts", `import { x } from "../../tools/x.js";`],
    ];
    for (const [path, text] of right) assert.deepEqual(breachesOf(path, text), []);
  });
});
