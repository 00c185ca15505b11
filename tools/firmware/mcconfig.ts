import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The JavaScript half of a board's build, by the SDK's own tools: mcconfig writes a makefile, make runs tsc and xsc over
 * each module and xsl over all, which also runs what is preloaded. ESP-IDF, which compiles the C after that, is not
 * needed: the one file of it that this half depends on counts as made.
 */

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const STEP_TIMEOUT_MS = 300_000;
const OUTPUT_MAX_BYTES = 16 * 1024 * 1024;
/** What a board is built with; any text will do to link. */
const SETTINGS = ["relay=http://192.0.2.1:8080", "wifi=network"];

export interface LinkResult {
  readonly ok: boolean;
  /** What mcconfig and make printed. */
  readonly output: string;
  /** Names of all modules in the firmware, the SDK's included. */
  readonly modules: readonly string[];
  readonly preloads: readonly string[];
  /** mcconfig's `-c`: sizes of the machine, its main module, its C stack. */
  readonly creation: string;
}

/** The folder of the SDK's built tools; undefined where `moddable` has none for this system. */
export function sdkTools(moddable: string): string | undefined {
  const system = process.platform === "darwin" ? "mac" : "lin";
  const folders = ["release", "debug"].map((kind) => join(moddable, "build/bin", system, kind));
  return folders.find((folder) => existsSync(join(folder, "mcconfig")) && existsSync(join(folder, "xsl")));
}

/** Builds `manifest` for `target` into the empty folder `out` up to the linked JavaScript. */
export async function linkScripts(
  moddable: string,
  target: string,
  manifest: string,
  out: string,
): Promise<LinkResult> {
  const tools = sdkTools(moddable);
  if (tools === undefined) throw new Error(`${moddable} holds no built mcconfig: build the SDK's tools first`);
  mkdirSync(out, { recursive: true });
  const path = [tools, join(ROOT, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter);
  const env = { ...process.env, MODDABLE: moddable, PATH: path };
  const configured = await run("mcconfig", ["-p", target, "-o", out, manifest, ...SETTINGS], env);
  const makefile = findMakefile(out);
  if (!configured.ok || makefile === undefined)
    return { ...configured, ok: false, modules: [], preloads: [], creation: "" };
  const text = readFileSync(makefile, "utf8");
  const folder = dirname(makefile);
  const chip = /^ESP32_SUBCLASS = (\w+)$/m.exec(text)?.[1] ?? "esp32";
  const made = await run(
    "make",
    [
      ["-f", makefile],
      ["-o", join(folder, `xsProj-${chip}/build/config/sdkconfig.h`)],
      [`IDF_PATH=${out}`, "IDF_VERSION=v6.0", "MAKEFLAGS_JOBS=--jobs=1"],
      [join(folder, "mc.xs.c")],
    ].flat(),
    env,
  );
  return {
    ok: made.ok && existsSync(join(folder, "mc.xs.c")),
    output: configured.output + made.output,
    modules: namesIn(text, /^MODULES =\\\n([\s\S]*?)\n\n/m, /\$\(MODULES_DIR\)\/(\S+?)\.xsb/g),
    creation: /^CREATION = -c (.*)$/m.exec(text)?.[1] ?? "",
    preloads: namesIn(text, /^PRELOADS =\\\n([\s\S]*?)\n\n/m, /-p (\S+?)\.xsb/g),
  };
}

function run(command: string, parameters: string[], env: NodeJS.ProcessEnv): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    const options = { env, cwd: ROOT, timeout: STEP_TIMEOUT_MS, maxBuffer: OUTPUT_MAX_BYTES };
    execFile(command, parameters, options, (error, stdout, stderr) =>
      resolve({ ok: error === null, output: stdout + stderr + (error === null ? "" : `${error.message}\n`) }),
    );
  });
}

function findMakefile(out: string): string | undefined {
  return readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name === "makefile")
    .map((entry) => join(entry.parentPath, entry.name))[0];
}

/** Module names as manifests write them: mcconfig turns `embedded:io/i2c` into the path `~.embedded/io/i2c`. */
function namesIn(makefile: string, list: RegExp, item: RegExp): string[] {
  const names = [...(list.exec(makefile)?.[1] ?? "").matchAll(item)].map((match) => match[1]!);
  return names.map((name) => (name.startsWith("~.") ? name.slice(2).replace("/", ":") : name));
}
