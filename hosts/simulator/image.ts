/**
 * Images: a root machine with its modules parsed, linked and sealed, as the bytes of an instance's memory. A board
 * starts from a copy of one in a few milliseconds.
 *
 * Modules go in one by one, not bundled, under the names that the SDK's manifests give them, because XS resolves a
 * relative specifier against module names. An image is cached by everything that it is made of.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Loader, transform } from "esbuild";
import { EngineInstance, type Image, type LoadedEngine } from "./board.js";
import { cacheImage, readCachedImage } from "./image-cache.js";
import { sourceLines } from "./source-map.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** In the file name of a cached image: raise it when what is stored changes. */
const FORMAT = 4;

/** What the engine itself brings (engine/natives.c). */
const NATIVE_MODULES: readonly string[] = ["wire", "tallystick-native"];

/** One module: its name for XS, and its text, in TypeScript or JavaScript. */
export interface ModuleSource {
  /** As manifests name it: `tallystick/record/record`, `embedded:io/i2c`, `@noble/hashes/sha2`. */
  readonly name: string;
  /** The file it is read from, or, with `text`, what the file is called in messages. */
  readonly path: string;
  readonly text?: string;
}

export interface ImageOptions {
  readonly engine: LoadedEngine;
  readonly modules: readonly ModuleSource[];
  /** Where given, only what these modules reach goes in. */
  readonly roots?: readonly string[];
  /**
   * Modules that are evaluated when the image is built, with all that they import, as the SDK's `preload`: their
   * objects then cost the device nothing. Whatever they hold in buffers, maps or sets is read-only from then on. What
   * is not in the image is passed over.
   */
  readonly preload?: readonly string[];
}

/** Builds the image, or takes it from the cache. An Error names the module and what is wrong with it. */
export async function buildImage(options: ImageOptions): Promise<Image> {
  const modules = options.modules.map((module) => ({
    ...module,
    text: module.text ?? readFileSync(module.path, "utf8"),
  }));
  const preload = options.preload ?? [];
  const key = digest([
    String(FORMAT),
    options.engine.hash,
    ...modules.flatMap((m) => [m.name, m.path, m.text]),
    ...preload,
    "roots",
    ...(options.roots ?? []),
  ]);
  const name = key.slice(0, 32);
  const cached = readCachedImage(name, options.engine.hash);
  if (cached) return cached;
  const compiled = await (options.roots ? compileReached(modules, options.roots) : Promise.all(modules.map(compile)));
  checkImports(compiled);
  const lines = Object.fromEntries(compiled.map(({ name, source, lines }) => [name, { source, lines }]));
  const instance = new EngineInstance(options.engine, lines);
  try {
    instance.exports._initialize();
    instance.exports.createRoot();
    for (const { name, code } of compiled) {
      const bytes = new TextEncoder().encode(code);
      instance.exports.define(instance.putText(name), instance.put(bytes), bytes.length);
    }
    const present = new Set(compiled.map(({ name }) => name));
    for (const name of preload) if (present.has(name)) instance.exports.preload(instance.putText(name));
    instance.exports.seal();
  } catch (error) {
    throw new Error(`image: ${instance.ending(error).message}`);
  }
  const image = { engine: options.engine.hash, memory: instance.memory(), lines };
  cacheImage(name, image);
  return image;
}

/**
 * The project's portable modules, all of `modules/`, as `tallystick/<folder>/<file>`; `folder` and `prefix` for others
 * that mirror a tree in the same way.
 */
export function modulesOf(folder: string = join(ROOT, "modules"), prefix = "tallystick"): ModuleSource[] {
  const modules: ModuleSource[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) modules.push(...modulesOf(path, `${prefix}/${entry.name}`));
    else if (/(?<!\.d)\.ts$/.test(entry.name)) modules.push({ name: `${prefix}/${entry.name.slice(0, -3)}`, path });
  }
  return modules;
}

/** Files of an npm package and all that they import from it, by the package's own names: `@noble/hashes/sha2`. */
export async function npmModules(packageName: string, files: readonly string[]): Promise<ModuleSource[]> {
  const require = createRequire(import.meta.url);
  const found = new Map<string, ModuleSource>();
  const visit = async (path: string, name: string): Promise<void> => {
    if (found.has(name)) return;
    found.set(name, { name, path });
    for (const specifier of importsOf((await compile({ name, path, text: readFileSync(path, "utf8") })).code)) {
      if (specifier.startsWith(".")) await visit(resolve(dirname(path), specifier), resolveName(name, specifier));
    }
  };
  for (const file of files) await visit(require.resolve(`${packageName}/${file}.js`), `${packageName}/${file}`);
  return [...found.values()];
}

/**
 * ES2022's classes stay as they are: XS has them, the SDK's compiler leaves them too, and the WeakMaps and WeakSets that
 * stand in for private names cost the device a table each and are read-only where a module is preloaded. That is so for
 * static fields too: lowering one lowers every private method beside it. What 13.3 cannot do, construct a class with
 * instance fields within its own static part, throws when the module is evaluated.
 */
const CLASS_FEATURES = {
  "class-field": true,
  "class-private-accessor": true,
  "class-private-brand-check": true,
  "class-private-field": true,
  "class-private-method": true,
  "class-private-static-accessor": true,
  "class-private-static-field": true,
  "class-private-static-method": true,
  "class-static-field": true,
};

interface CompiledModule {
  readonly name: string;
  readonly source: string;
  readonly code: string;
  readonly lines: readonly number[];
}

async function compile({ name, path, text }: Required<ModuleSource>): Promise<CompiledModule> {
  const loader: Loader = path.endsWith(".ts") ? "ts" : "js";
  const source = relative(ROOT, resolve(ROOT, path)).replaceAll("\\", "/");
  const result = await transform(text, {
    loader,
    target: "es2021",
    supported: CLASS_FEATURES,
    format: "esm",
    sourcefile: source,
    sourcemap: "external",
    sourcesContent: false,
    // A project's settings would change what runs: strict modules and nothing else.
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true, useDefineForClassFields: true } },
    logLevel: "silent",
  }).catch((error: Error) => {
    throw new Error(`image: ${name} does not compile: ${error.message}`);
  });
  const { mappings } = JSON.parse(result.map) as { mappings: string };
  return { name, source, code: result.code, lines: sourceLines(mappings) };
}

/** The specifiers that a module names, in esbuild's own spelling of import and export statements. */
function importsOf(code: string): string[] {
  const statements = code.matchAll(/^(?:import|export)\b[^"';]*?\bfrom "([^"]+)";$|^import "([^"]+)";$/gm);
  return [...statements].map(([, from, bare]) => (from ?? bare)!);
}

/** As fxFindModule in engine/modules.c. */
function resolveName(importer: string, specifier: string): string {
  const name = specifier.replace(/\.js$/, "");
  if (!/^\.\.?\//.test(specifier)) return name;
  const path = importer.split("/").slice(0, -1);
  for (const part of name.split("/")) {
    if (part === "..") path.pop();
    else if (part !== ".") path.push(part);
  }
  return path.join("/");
}

/** Compiles the modules that `roots` import, directly or not. The order is that of `modules`, whoever names them first. */
async function compileReached(
  modules: readonly Required<ModuleSource>[],
  roots: readonly string[],
): Promise<CompiledModule[]> {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const compiled = new Map<string, CompiledModule>();
  let next = new Set(roots);
  while (next.size > 0) {
    const wave = [...next].flatMap((name) => byName.get(name) ?? []);
    for (const module of await Promise.all(wave.map(compile))) compiled.set(module.name, module);
    const named = wave.flatMap(({ name }) => importsOf(compiled.get(name)!.code).map((at) => resolveName(name, at)));
    next = new Set(named.filter((name) => !compiled.has(name)));
    for (const name of next) if (!byName.has(name)) next.delete(name);
  }
  return modules.flatMap(({ name }) => compiled.get(name) ?? []);
}

/** Says now, with both names, what the board would only find when it starts. */
function checkImports(modules: readonly CompiledModule[]): void {
  const names = new Set([...NATIVE_MODULES, ...modules.map(({ name }) => name)]);
  for (const { name, code } of modules) {
    for (const specifier of importsOf(code)) {
      if (names.has(resolveName(name, specifier))) continue;
      throw new Error(`image: ${name} imports "${specifier}", which is no module of this image`);
    }
  }
}

function digest(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex");
}
