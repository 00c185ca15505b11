import { SourceMap } from "node:module";
import { dirname, resolve } from "node:path";
import { createContext, Script } from "node:vm";
import { build } from "esbuild";
import { resolveSpecifier } from "./imports.js";
import type { Build } from "./manifest.js";
import type { Problems } from "./problem.js";

/**
 * A preloaded module runs while the firmware is linked, and what it made is then in flash. Two things go wrong there:
 * a body that throws, and typed arrays and buffers, whose bytes cannot be written any more. So each preloaded module's
 * body, with all that it imports, is run here, and every buffer that it makes on the way is reported at its line.
 */
export async function checkPreloads(firmware: Build, problems: Problems): Promise<void> {
  const scripts = new Map([...firmware.modules.values()].map(({ name, script }) => [name, script]));
  const names = new Map([...firmware.modules.values()].map(({ name, script }) => [script, name]));
  const preloads = firmware.preloads.filter(({ name }) => scripts.get(name) !== undefined);
  if (preloads.length === 0) return;
  const bundle = await build({
    stdin: {
      contents: preloads.map(({ name }) => `import ${JSON.stringify(name)};`).join("\n"),
      sourcefile: "preloads",
    },
    bundle: true,
    write: false,
    outdir: "unwritten",
    format: "iife",
    sourcemap: "external",
    logLevel: "silent",
    platform: "neutral",
    tsconfigRaw: {},
    plugins: [
      {
        name: "names",
        setup(hooks) {
          hooks.onResolve({ filter: /.*/ }, ({ path, importer, kind }) => {
            if (kind === "entry-point") return undefined;
            const script = scripts.get(resolveSpecifier(names.get(importer) ?? "", path));
            // The SDK's modules are not here: they come as something that takes every use.
            return script === undefined ? { path, namespace: "sdk" } : { path: script, sideEffects: true };
          });
          hooks.onLoad({ filter: /.*/, namespace: "sdk" }, () => ({ contents: "module.exports = sdk;" }));
        },
      },
    ],
  }).catch(() => undefined);
  const code = bundle?.outputFiles.find(({ path }) => path.endsWith(".js"))?.text;
  const map = bundle?.outputFiles.find(({ path }) => path.endsWith(".map"));
  // Where the bundle fails, an import is wrong, and that is reported with the imports.
  if (code === undefined || map === undefined) return;
  const positions = new SourceMap(JSON.parse(map.text));
  const original = (line: number, column: number): { file: string; line: number } | undefined => {
    const entry = positions.findEntry(line - 1, column - 1);
    return "originalSource" in entry && entry.originalSource !== undefined
      ? { file: resolve(dirname(map.path), entry.originalSource), line: entry.originalLine + 1 }
      : undefined;
  };
  run(code, (stack, what) => {
    // The outermost frames are the script and its wrapping function: what the latter runs is the modules' bodies.
    const frames = [...stack.matchAll(/preloads\.js:(\d+):(\d+)/g)].map((match) => ({
      line: Number(match[1]),
      column: Number(match[2]),
    }));
    const frame = frames[Math.max(0, frames.length - 2)];
    const at = frame === undefined ? undefined : original(frame.line, frame.column);
    problems.add(at?.file ?? firmware.manifests[0]!, at?.line ?? 1, what);
  });
}

const BUFFERS = [
  "ArrayBuffer",
  "BigInt64Array",
  "BigUint64Array",
  "DataView",
  "Float32Array",
  "Float64Array",
  "Int16Array",
  "Int32Array",
  "Int8Array",
  "Uint16Array",
  "Uint32Array",
  "Uint8Array",
  "Uint8ClampedArray",
];

function run(code: string, report: (stack: string, what: string) => void): void {
  const noted = (name: string): void =>
    report(
      new Error().stack ?? "",
      `a preloaded module makes a ${name} while it loads, which is read-only on a board: make it later, or do not preload`,
    );
  const context = createContext({ noted, sdk: anything() });
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Number.POSITIVE_INFINITY;
  try {
    new Script(WATCH).runInContext(context);
    new Script(code, { filename: "preloads.js" }).runInContext(context, { timeout: 10_000 });
  } catch (error) {
    const thrown = error as { stack?: string; message?: string };
    report(thrown.stack ?? "", `a preloaded module throws while it loads: ${thrown.message ?? String(error)}`);
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** Runs inside of the context: every constructor of buffers tells when it makes one; so do `from` and `of`. */
const WATCH = `
for (const name of ${JSON.stringify(BUFFERS)}) {
  const original = globalThis[name];
  globalThis[name] = new Proxy(original, {
    construct(target, parameters, newTarget) {
      noted(name);
      return Reflect.construct(target, parameters, newTarget === globalThis[name] ? target : newTarget);
    },
  });
}
globalThis.native = sdk; globalThis.Native = sdk; globalThis.trace = sdk; globalThis.device = sdk;
`;

/** Stands for an SDK module: can be called, constructed, extended and read from. */
function anything(): unknown {
  const target = function SDK() {};
  return new Proxy(target, {
    get: (_, name) => (name === "prototype" ? target.prototype : name === Symbol.toPrimitive ? () => "" : anything()),
    apply: () => anything(),
    construct: () => ({}),
  });
}
