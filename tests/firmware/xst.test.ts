import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { portableCrypto } from "tallystick/identity/portable";
import { sdkTools } from "../../tools/firmware/mcconfig.js";
import { consumeVectors, type VectorFiles } from "../vectors/consume.js";
import { vectorFiles as files } from "../vectors/files.js";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Boards run the SDK's engine, XS 17; the simulator runs 13.3. Needs the SDK's shell `xst`, built; MODDABLE says where. */
describe("vectors on the boards' version of XS", function () {
  this.timeout(300_000);
  const tools = sdkTools(process.env["MODDABLE"] ?? "");
  const xst = tools === undefined ? "" : join(tools, "xst");

  before(function () {
    if (existsSync(xst)) return;
    process.stdout.write(
      "    SKIPPED: vectors on XS 17. Set MODDABLE to a Moddable SDK 8.2.3 whose tools and xst are built.\n",
    );
    this.skip();
  });

  it("give the same lines as on Node, by the portable cryptography", async () => {
    const scratch = mkdtempSync(join(tmpdir(), "tallystick-xst-"));
    try {
      const program = join(scratch, "program.js");
      writeFileSync(program, await bundle(files));
      const { status, stdout, stderr } = spawnSync(xst, ["-s", program], { encoding: "utf8", timeout: 240_000 });
      assert.equal(status, 0, stderr + stdout.slice(-2000));
      const lines = stdout.trimEnd().split("\n");
      const expected = consumeVectors(portableCrypto, files);
      assert.ok(expected.length > 500, `${expected.length} lines`);
      assert.deepEqual(lines, expected);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });
});

async function bundle(files: VectorFiles): Promise<string> {
  const contents = `
import { portableCrypto } from "tallystick/identity/portable";
import { consumeVectors } from "./tests/vectors/consume.ts";
for (const line of consumeVectors(portableCrypto, ${JSON.stringify(files)})) print(line);
`;
  const packages = createRequire(join(ROOT, "package.json"));
  const result = await build({
    stdin: { contents, resolveDir: ROOT },
    bundle: true,
    write: false,
    format: "iife",
    platform: "neutral",
    tsconfigRaw: {},
    plugins: [
      {
        name: "names",
        setup(hooks) {
          hooks.onResolve({ filter: /^tallystick\// }, ({ path }) => ({
            path: join(ROOT, "modules", `${path.slice("tallystick/".length)}.ts`),
          }));
          hooks.onResolve({ filter: /^(?:@noble|tweetnacl)/ }, ({ path }) => ({ path: packages.resolve(path) }));
          // tweetnacl looks for Node's generator, which nothing here asks for numbers.
          hooks.onResolve({ filter: /^crypto$/ }, ({ path }) => ({ path, namespace: "empty" }));
          hooks.onLoad({ filter: /.*/, namespace: "empty" }, () => ({ contents: "" }));
        },
      },
    ],
  });
  return result.outputFiles[0]!.text;
}
