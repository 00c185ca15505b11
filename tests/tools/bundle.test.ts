import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
// @ts-expect-error: plain JavaScript, since it runs before any TypeScript can
import { bundle } from "../../tools/bundle.mjs";

const build = bundle as (entry: string, root: string) => Promise<string | undefined>;

describe("the command's program", () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "tallystick-bundle-"));
    writeFileSync(join(root, "package.json"), '{ "type": "module" }');
    mkdirSync(join(root, "modules"));
    mkdirSync(join(root, "tools"));
    writeFileSync(join(root, "modules/two.ts"), "export const two: number = 2;\n");
    writeFileSync(
      join(root, "tools/cli.ts"),
      'import { two } from "tallystick/two";\n' +
        "export const [result, where] = [two * 21, import.meta.url];\n" +
        'export const late = async () => (await import("./late.js"));\n',
    );
    writeFileSync(
      join(root, "tools/late.ts"),
      'export { plain } from "./plain.mjs";\nexport const late: string = "late";\n',
    );
    writeFileSync(join(root, "tools/plain.mjs"), "export const plain = import.meta.url;\n");
  });

  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("knows where its sources are, and loads the rest when it is asked for", async () => {
    const program = await import((await build("tools/cli.ts", root))!);
    assert.equal(program.result, 42);
    assert.equal(program.where, pathToFileURL(join(root, "tools/cli.ts")).href);
    const { late, plain } = await program.late();
    assert.equal(late, "late");
    assert.equal(plain, pathToFileURL(join(root, "tools/plain.mjs")).href);
  });

  it("is made once, and anew after a source has changed", async () => {
    const first = (await build("tools/cli.ts", root))!;
    writeFileSync(fileURLToPath(first), "export const result = 'kept';\n");
    assert.equal(await build("tools/cli.ts", root), first);
    assert.equal((await import(first)).result, "kept");
    writeFileSync(join(root, "modules/two.ts"), "export const two: number = 2.5;\n");
    const second = (await build("tools/cli.ts", root))!;
    assert.notEqual(second, first);
    assert.equal((await import(second)).result, 52.5);
    assert.ok(existsSync(fileURLToPath(first)), "a program that may still run is kept");
  });

  it("is made again where somebody has removed it", async () => {
    const first = (await build("tools/cli.ts", root))!;
    rmSync(dirname(fileURLToPath(first)), { recursive: true });
    assert.equal(await build("tools/cli.ts", root), first);
    assert.ok(existsSync(fileURLToPath(first)));
  });

  it("is made by many at once, and left whole", async () => {
    const urls = await Promise.all(Array.from({ length: 8 }, () => build("tools/cli.ts", root)));
    assert.equal(new Set(urls).size, 1);
    assert.deepEqual(
      readdirSync(join(root, ".cache/command")).filter((name) => name.includes(".") && name !== "current.json"),
      [],
    );
    assert.equal((await import(urls[0]!)).result, 42);
  });

  it("keeps no more programs than it says", async () => {
    for (let n = 0; n < 12; n++) {
      writeFileSync(join(root, "modules/two.ts"), `export const two: number = ${"1".repeat(n + 1)};\n`);
      await build("tools/cli.ts", root);
    }
    const KEPT_MAX = Number(
      /KEPT_MAX = (\d+)/.exec(readFileSync(new URL("../../tools/bundle.mjs", import.meta.url), "utf8"))![1],
    );
    assert.equal(readdirSync(join(root, ".cache/command")).length, KEPT_MAX + 2);
  });

  it("is not made where the cache cannot be written: then the TypeScript itself runs", async () => {
    mkdirSync(join(root, ".cache"));
    writeFileSync(join(root, ".cache/command"), "no folder");
    assert.equal(await build("tools/cli.ts", root), undefined);
  });
});
