import { strict as assert } from "node:assert";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkFirmware } from "../../tools/firmware/check.js";
import type { Problem } from "../../tools/firmware/problem.js";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A small repository whose firmware is in order; each test spoils one thing in it. */
const GOOD = {
  "package.json": `{ "version": "1.2.3" }`,
  "manifest.json": `{ "include": ["./hosts/esp32/manifest.json", "./hosts/esp32/application/manifest.json"] }`,
  "hosts/esp32/manifest.json": `{
  "include": ["$(MODDABLE)/examples/manifest_base.json", "../../modules/chain/manifest.json"],
  "build": { "PARTITIONS_FILE": "./partitions.csv", "SDKCONFIGPATH": "./sdkconfig" },
  "config": { "version": "1.2.3" }, "creation": { "main": "tallystick/esp32/main" },
  "modules": {
    "tallystick/esp32/main": "./main",
    "tallystick/esp32/board": "./board"
  },
  "preload": ["tallystick/esp32/board"]
}`,
  "hosts/esp32/application/manifest.json": `{ "modules": { "application": "./application" } }`,
  "hosts/esp32/application/application.ts": `import { length } from "tallystick/chain/chain";\nexport default length;`,
  "hosts/esp32/main.ts": `import Timer from "timer";\nimport application from "application";\nimport { now } from "./board.js";\nTimer.set(() => application([now()]), 1);`,
  "hosts/esp32/board.ts": `export function now(): number {\n  return native("xs_now").call(this);\n}`,
  "hosts/esp32/board.c": "void xs_now(void *the) {}",
  "hosts/esp32/sdkconfig/sdkconfig.defaults": "",
  "hosts/esp32/partitions.csv":
    "nvs, data, nvs, 0x9000, 0x6000,\nfactory, app, factory, 0x10000, 0x300000,\nchain, data, 0x40, 0x310000, 0x80000,\n",
  "modules/bytes/manifest.json": `{ "modules": { "tallystick/bytes/bytes": "./bytes" }, "preload": ["tallystick/bytes/bytes"] }`,
  "modules/bytes/bytes.ts": `export type Bytes = Uint8Array;\nexport const size = (list: readonly number[]): number => list.length;`,
  "modules/chain/manifest.json": `{
  "include": ["../bytes/manifest.json"],
  "modules": { "tallystick/chain/chain": "./chain" }
}`,
  "modules/chain/chain.ts": `import { type Bytes, size } from "../bytes/bytes.js";\nexport const length = (list: readonly number[]): number => size(list);\nexport type Kept = Bytes;`,
} as const;

/** The problems of that repository with some files spoilt (undefined: removed). */
async function problemsOf(spoilt: Record<string, string | undefined>): Promise<readonly Problem[]> {
  const root = mkdtempSync(join(tmpdir(), "tallystick-firmware-"));
  try {
    for (const [name, text] of Object.entries({ ...GOOD, ...spoilt })) {
      if (text === undefined) continue;
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    return (await checkFirmware(root)).problems;
  } finally {
    rmSync(root, { recursive: true });
  }
}

function replaced(name: keyof typeof GOOD, from: string, to: string): Record<string, string> {
  assert.ok(GOOD[name].includes(from), `${name} does not hold ${from}`);
  return { [name]: GOOD[name].replace(from, to) };
}

async function expectProblem(
  spoilt: Record<string, string | undefined>,
  file: string,
  line: number,
  message: RegExp,
): Promise<void> {
  const problems = await problemsOf(spoilt);
  const found = problems.find((problem) => problem.file === file && message.test(problem.message));
  assert.ok(found !== undefined, `expected ${file} ${message}, received ${JSON.stringify(problems, undefined, 1)}`);
  assert.equal(found.line, line, found.message);
}

describe("firmware check", () => {
  it("finds nothing wrong with this repository's firmware", async () => {
    const { problems, modules, imports, manifests } = await checkFirmware(ROOT);
    assert.deepEqual(problems, []);
    assert.ok(manifests > 10 && modules > 20 && imports > 50, `${manifests} manifests, ${modules} modules`);
  });

  it("finds nothing wrong with the small repository that the other tests spoil", async () => {
    assert.deepEqual(await problemsOf({}), []);
  });

  describe("manifests", () => {
    it("names a manifest that is included and does not exist", () =>
      expectProblem(
        replaced("modules/chain/manifest.json", "../bytes/manifest", "../byte/manifest"),
        "modules/chain/manifest.json",
        2,
        /\.\.\/byte\/manifest\.json does not exist/,
      ));
    it("names an SDK include that is not in the table", () =>
      expectProblem(
        replaced("hosts/esp32/manifest.json", "manifest_base", "manifest_basis"),
        "hosts/esp32/manifest.json",
        2,
        /manifest_basis\.json is not in the table of SDK includes/,
      ));
    it("tells the line of broken JSON", () =>
      expectProblem(
        replaced("modules/chain/manifest.json", `"./chain" }`, `"./chain" ],`),
        "modules/chain/manifest.json",
        3,
        /no JSON/,
      ));
    it("refuses a property that mcconfig would pass over", () =>
      expectProblem(
        replaced("hosts/esp32/manifest.json", `"preload"`, `"preloads"`),
        "hosts/esp32/manifest.json",
        9,
        /knows no property "preloads"/,
      ));
    it("refuses two platform keys of which a target gets only one", () =>
      expectProblem(
        replaced("hosts/esp32/manifest.json", `"creation"`, `"platforms": { "esp32": {}, "esp32/*": {} }, "creation"`),
        "hosts/esp32/manifest.json",
        4,
        /either "esp32" or "esp32\/…"/,
      ));
    it("refuses a version that is not the package's", () =>
      expectProblem(
        { "package.json": `{ "version": "1.2.4" }` },
        "hosts/esp32/manifest.json",
        4,
        /config\.version: expected package\.json's 1\.2\.4, received 1\.2\.3/,
      ));
    it("refuses anything but includes in the root manifest", () =>
      expectProblem({ "manifest.json": `{ "include": [], "modules": {} }` }, "manifest.json", 1, /only includes/));
  });

  describe("names", () => {
    it("names a module whose file is missing", () =>
      expectProblem(
        { "modules/chain/chain.ts": undefined },
        "modules/chain/manifest.json",
        3,
        /no file \.\/chain\.ts/,
      ));
    it("names two files for one name", () =>
      expectProblem(
        replaced(
          "hosts/esp32/application/manifest.json",
          `"application": "./application"`,
          `"application": "./application", "tallystick/esp32/board": "./application"`,
        ),
        "hosts/esp32/application/manifest.json",
        1,
        /tallystick\/esp32\/board: the name is taken already, by line 7 of esp32\/manifest\.json/,
      ));
    it("names a module whose name is the SDK's", () =>
      expectProblem(
        replaced(
          "hosts/esp32/application/manifest.json",
          `"application": "./application"`,
          `"application": "./application", "timer": "./application"`,
        ),
        "hosts/esp32/application/manifest.json",
        1,
        /timer: the SDK has a module of this name/,
      ));
    it("names a script of which mcconfig would take either", () =>
      expectProblem(
        { "modules/chain/chain.js": "export const length = 1;" },
        "modules/chain/manifest.json",
        3,
        /takes one of chain\.js, chain\.ts/,
      ));
    it("names C files that make one object", () =>
      expectProblem(
        {
          ...replaced(
            "hosts/esp32/application/manifest.json",
            `"./application" }`,
            `"./application", "c": "./board" }`,
          ),
          "hosts/esp32/application/board.c": "",
        },
        "hosts/esp32/application/manifest.json",
        1,
        /two C files make one object board\.c\.o/,
      ));
    it("names a source that no manifest names", () =>
      expectProblem(
        { "modules/chain/fork.ts": "export const fork = 1;" },
        "modules/chain/fork.ts",
        1,
        /no manifest names it: add it to modules\/chain\/manifest\.json/,
      ));
    it("refuses a name that does not mirror the tree", () =>
      expectProblem(
        {
          ...replaced("modules/chain/manifest.json", "tallystick/chain/chain", "tallystick/chain/links"),
          ...replaced("hosts/esp32/application/application.ts", "tallystick/chain/chain", "tallystick/chain/links"),
        },
        "modules/chain/manifest.json",
        3,
        /expected the name tallystick\/chain\/chain/,
      ));
    it("refuses a module that no board is given", () =>
      expectProblem(
        {
          "modules/identity/manifest.json": `{ "modules": { "tallystick/identity/tweetnacl": "./tweetnacl" } }`,
          "modules/identity/tweetnacl.ts": "export const nacl = 1;",
        },
        "modules/identity/manifest.json",
        1,
        /identity\/tweetnacl is on no board/,
      ));
    it("takes a header for what puts its folder on the C compiler's path, not for a module", async () => {
      const named = replaced(
        "hosts/esp32/manifest.json",
        `"tallystick/esp32/board": "./board"`,
        `"tallystick/esp32/board": "./board",\n    "tallystick/esp32/chip": "./chip"`,
      );
      assert.deepEqual(await problemsOf({ ...named, "hosts/esp32/chip.h": "" }), []);
    });
    it("names a module of the host that nothing imports", () =>
      expectProblem(
        replaced("hosts/esp32/main.ts", `import { now } from "./board.js";`, "const now = () => 1;"),
        "hosts/esp32/manifest.json",
        7,
        /nothing that starts imports it/,
      ));
    it("names a start that does not exist", () =>
      expectProblem(
        replaced("hosts/esp32/manifest.json", `"main": "tallystick/esp32/main"`, `"main": "main"`),
        "manifest.json",
        1,
        /creation\.main: no module is named "main"/,
      ));
  });

  describe("specifiers", () => {
    it("finds a misspelt one in a module that is not preloaded", () =>
      expectProblem(
        replaced("hosts/esp32/main.ts", "./board.js", "./bord.js"),
        "hosts/esp32/main.ts",
        3,
        /no module is named "tallystick\/esp32\/bord"/,
      ));
    it("resolves relative ones against the importer's name", () =>
      expectProblem(
        replaced("modules/chain/chain.ts", "../bytes/bytes.js", "../../bytes/bytes.js"),
        "modules/chain/chain.ts",
        1,
        /no module is named "bytes\/bytes"/,
      ));
    it("finds an include that a module folder's own manifest lacks", () =>
      expectProblem(
        {
          ...replaced("modules/chain/manifest.json", `"include": ["../bytes/manifest.json"],`, ""),
          ...replaced(
            "hosts/esp32/manifest.json",
            `"../../modules/chain/manifest.json"`,
            `"../../modules/chain/manifest.json", "../../modules/bytes/manifest.json"`,
          ),
        },
        "modules/chain/chain.ts",
        1,
        /no module is named "tallystick\/bytes\/bytes" in .*chain/,
      ));
    it("tells which SDK include a name needs", () =>
      expectProblem(
        replaced("hosts/esp32/main.ts", `"timer"`, `"embedded:storage/flash"`),
        "hosts/esp32/main.ts",
        1,
        /needs the include \$\(MODDABLE\)\/modules\/io\/flash\/manifest\.json/,
      ));
    it("finds an SDK include that nothing uses", () =>
      expectProblem(
        replaced(
          "hosts/esp32/main.ts",
          `import Timer from "timer";`,
          "const Timer = { set: (f: () => void, n: number) => f };",
        ),
        "manifest.json",
        1,
        /manifest_base\.json is included, and nothing/,
      ));
    it("refuses the ending .ts, which XS does not drop", () =>
      expectProblem(
        replaced("modules/chain/chain.ts", "bytes.js", "bytes.ts"),
        "modules/chain/chain.ts",
        1,
        /XS drops "\.js" only/,
      ));
    it("refuses require", () =>
      expectProblem(
        replaced(
          "hosts/esp32/main.ts",
          `import application from "application";`,
          `const application = require("application");`,
        ),
        "hosts/esp32/main.ts",
        2,
        /XS has ECMAScript modules only/,
      ));
    it("takes imports of types for none", async () => {
      const types = `import type { Bytes } from "../nowhere/nowhere.js";\nimport { Other } from "../nowhere/else.js";\nexport const length = (list: readonly number[], bytes?: Bytes | Other): number => list.length;\n`;
      assert.deepEqual(await problemsOf({ "modules/chain/chain.ts": types }), []);
    });
    it("tells the line of a syntax error", () =>
      expectProblem(
        { "modules/chain/chain.ts": "export const length = 1;\nexport const = 2;" },
        "modules/chain/chain.ts",
        2,
        /Expected identifier/,
      ));
  });

  describe("preloading", () => {
    const preloaded = (body: string): Record<string, string> => ({
      ...replaced(
        "modules/chain/manifest.json",
        `"./chain" }`,
        `"./chain" },\n  "preload": ["tallystick/chain/chain"]`,
      ),
      "modules/bytes/bytes.ts": `${GOOD["modules/bytes/bytes.ts"]}\n${body}`,
    });
    it("finds typed arrays at module scope, in what a preloaded module imports too", async () => {
      for (const body of [
        "export const table = new Uint32Array(64);",
        "export const table = Uint8Array.from([1, 2]);",
        "export const table = Uint8Array.of(1);",
        "const make = (): Uint8Array => new Uint8Array(4);\nexport const table = { inner: [make()] };",
        "export class Table {\n  static readonly bytes = new ArrayBuffer(2);\n}",
      ])
        await expectProblem(
          preloaded(body),
          "modules/bytes/bytes.ts",
          body.startsWith("const make") ? 4 : 3,
          /preloaded module makes a/,
        );
    });
    it("leaves typed arrays inside of functions alone", async () => {
      const body =
        "export const make = (): Uint8Array => new Uint8Array(4);\nexport class Kept {\n  bytes = new Uint8Array(1);\n}";
      assert.deepEqual(await problemsOf(preloaded(body)), []);
    });
    it("finds a module that throws while it loads", () =>
      expectProblem(
        preloaded("const none: number[] | undefined = undefined;\nexport const first = none![0];"),
        "modules/bytes/bytes.ts",
        4,
        /preloaded module throws while it loads/,
      ));
    it("finds a preload that names no module", () =>
      expectProblem(
        replaced("modules/bytes/manifest.json", `["tallystick/bytes/bytes"]`, `["tallystick/bytes/byte"]`),
        "modules/bytes/manifest.json",
        1,
        /preload: no module is named "tallystick\/bytes\/byte"/,
      ));
    it("refuses *, which mcconfig expands for JavaScript only", () =>
      expectProblem(
        replaced("modules/bytes/manifest.json", `["tallystick/bytes/bytes"]`, `["tallystick/bytes/*"]`),
        "modules/bytes/manifest.json",
        1,
        /expands \* in preload for JavaScript only/,
      ));
  });

  describe("language level of modules/", () => {
    const line2 = (body: string): Record<string, string> => ({
      "modules/bytes/bytes.ts": `export const size = (list: readonly number[]): number => list.length;\n${body}`,
    });
    const limits: readonly (readonly [string, RegExp])[] = [
      ["export const stamp = (): number => Date.now();", /Date\.now is not there/],
      ["export const key = (): number => Math.random();", /Math\.random is not there/],
      ["export const groups = (list: number[]) => Object.groupBy(list, String);", /Object\.groupBy is not there/],
      ["export const later = (f: () => void) => setTimeout(f, 1);", /setTimeout is not there/],
      ["export const text = (b: Uint8Array) => new TextDecoder().decode(b);", /TextDecoder is not there/],
      ["export const sorted = (list: number[]) => list.toSorted();", /\.toSorted\(\) is missing/],
      ["export const word = /[\\p{L}--[a-z]]/v;", /syntax beyond ES2021/],
      ["export const word = /\\p{L}/u;", /\\p\{…\} is not in XS on boards/],
      ["export const use = () => {\n  using held = { [Symbol.dispose]() {} };\n};", /syntax beyond ES2021/],
    ];
    for (const [body, message] of limits)
      it(`refuses ${body.split("\n")[0]}`, async () => {
        const problems = await problemsOf(line2(body));
        const found = problems.find((problem) => message.test(problem.message));
        assert.ok(found !== undefined, JSON.stringify(problems));
        assert.equal(found.file, "modules/bytes/bytes.ts");
        assert.ok(found.line === 2 || (body.includes("using") && found.line <= 4), `line ${found.line}`);
      });
    it("holds for applications, and not for the board's own code", async () => {
      await expectProblem(
        replaced("hosts/esp32/application/application.ts", "export default", "console.log(1);\nexport default"),
        "hosts/esp32/application/application.ts",
        2,
        /console is not there/,
      );
      assert.deepEqual(await problemsOf(replaced("hosts/esp32/main.ts", "Timer.set", "trace(1);\nTimer.set")), []);
    });
    it("allows what XS 13.3 has beyond ES2021, and names that only look like globals", async () => {
      const body = `export class Kept {
  static #made = 0;
  #crypto = "setTimeout(console)";
  static { Kept.#made = 1; }
  has(other: object): boolean { return #crypto in other; }
  trace(device: { crypto: string }): string { const { crypto } = device; return crypto + this.#crypto; }
}`;
      assert.deepEqual(await problemsOf(line2(body)), []);
    });
  });

  describe("partitions", () => {
    const table = (text: string, line: number, message: RegExp): Promise<void> =>
      expectProblem({ "hosts/esp32/partitions.csv": text }, "hosts/esp32/partitions.csv", line, message);
    it("names what overlaps", () =>
      table(
        GOOD["hosts/esp32/partitions.csv"].replace("0x310000", "0x300000"),
        3,
        /chain begins at 0x300000, before 0x310000/,
      ));
    it("names what ends beyond the flash", () =>
      table(GOOD["hosts/esp32/partitions.csv"].replace("0x80000", "0x100000"), 3, /chain ends beyond/));
    it("misses the journal's", () => table("nvs, data, nvs, 0x9000, 0x6000,\n", 1, /no partition chain/));
    it("refuses a journal of a kind that something else may format", () =>
      table(GOOD["hosts/esp32/partitions.csv"].replace("0x40", "nvs"), 3, /expected chain, data, 0x40/));
    it("names a table that does not exist", () =>
      expectProblem(
        { "hosts/esp32/partitions.csv": undefined },
        "hosts/esp32/manifest.json",
        3,
        /partitions\.csv does not exist/,
      ));
  });
});
