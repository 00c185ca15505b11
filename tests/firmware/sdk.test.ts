import { strict as assert } from "node:assert";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { TARGETS } from "../../tools/firmware/check.js";
import { type LinkResult, linkScripts, sdkTools } from "../../tools/firmware/mcconfig.js";
import { SDK_INCLUDES, SDK_VERSION } from "../../tools/firmware/sdk.js";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const LINK_TIMEOUT_MS = 300_000;

/** Chunks, slots (each with its growth), stack; then static, main and C stack: as the SDK's targets set them, and ours. */
const CREATION: Record<string, RegExp> = {
  "esp32/nodemcu": /^78848,0,4928,0,512,.*,0,tallystick\/esp32\/main,16384$/,
  "esp32/esp32c3": /^1536,512,512,64,384,.*,94208,tallystick\/esp32\/main,16384$/,
};

/** Needs the Moddable SDK with its command line tools built; the environment's MODDABLE says where. */
describe("firmware with the SDK's own tools", function () {
  this.timeout(LINK_TIMEOUT_MS);
  const moddable = process.env["MODDABLE"] ?? "";
  let scratch = "";

  before(function () {
    if (moddable === "" || sdkTools(moddable) === undefined) {
      process.stdout.write(
        `    SKIPPED: tsc, xsc and xsl over the firmware. Set MODDABLE to a Moddable SDK ${SDK_VERSION} whose tools are built.\n`,
      );
      this.skip();
    }
    scratch = mkdtempSync(join(tmpdir(), "tallystick-link-"));
  });

  after(() => {
    if (scratch !== "") rmSync(scratch, { recursive: true });
  });

  it(`is the SDK ${SDK_VERSION} that manifests and table are written for`, () => {
    assert.equal(readFileSync(join(moddable, "tools/VERSION"), "utf8").trim(), SDK_VERSION);
  });

  for (const target of TARGETS)
    it(`compiles, preloads and links for ${target}`, async () => {
      const result = await linkScripts(moddable, target, join(ROOT, "manifest.json"), join(scratch, target));
      assert.ok(result.ok, result.output);
      assert.match(result.creation, CREATION[target]!);
      assert.ok(result.modules.includes("tallystick/esp32/main"), result.output);
      for (const name of result.modules)
        if (name.startsWith("tallystick/") || name === "application")
          assert.ok(result.preloads.includes(name), `${name} is not preloaded: it would cost RAM`);
      // The table that stands for the SDK when it is not there tells the truth about it.
      for (const [include, names] of SDK_INCLUDES)
        for (const name of names)
          if (name !== "mc/config")
            assert.ok(result.modules.includes(name), `${include} brings no ${name} to ${target}`);
      assert.doesNotMatch(result.output, /(?:board|efuse)\.\w+:\d+: warning: cannot optimize native/);
    });

  describe("with a module whose import is misspelt", () => {
    async function link(preloaded: boolean): Promise<LinkResult> {
      const folder = join(scratch, preloaded ? "preloaded" : "loaded");
      mkdirSync(folder, { recursive: true });
      const host = relative(folder, join(ROOT, "hosts/esp32/manifest.json"));
      writeFileSync(
        join(folder, "manifest.json"),
        JSON.stringify({
          include: [host],
          modules: { application: "./application", loaded: "./loaded", "wrong/name": "./wrong" },
          ...(preloaded ? { preload: ["loaded"] } : {}),
        }),
      );
      writeFileSync(
        join(folder, "application.ts"),
        "export default (platform: object) => ({ start: () => platform });\n",
      );
      writeFileSync(join(folder, "loaded.ts"), `import { wrong } from "./wrong.js";\nexport const loaded = wrong;\n`);
      writeFileSync(join(folder, "wrong.ts"), "export const wrong = 1;\n");
      return linkScripts(moddable, TARGETS[0]!, join(folder, "manifest.json"), join(folder, "out"));
    }

    it("fails to link where the module is preloaded", async () => {
      const result = await link(true);
      assert.ok(!result.ok, result.output);
      assert.match(result.output, /wrong.*not found/);
    });

    it("links all the same where it is not: only the check without the SDK finds that", async () => {
      const result = await link(false);
      assert.ok(result.ok, result.output);
    });
  });
});
