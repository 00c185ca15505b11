import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { lineAt, lineOf, type Problems, type Sources } from "./problem.js";
import { includeOf, SDK_INCLUDES } from "./sdk.js";

/** Manifests as mcconfig merges them for one target: what is included, which names stand for which files. */

/** A module name and the files that mcconfig finds for its path. */
export interface NamedModule {
  readonly name: string;
  readonly manifest: string;
  readonly line: number;
  /** The TypeScript or JavaScript source; undefined where the name stands for C alone. */
  readonly script: string | undefined;
  readonly native: readonly string[];
}

export interface Preload {
  readonly name: string;
  readonly manifest: string;
  readonly line: number;
}

/** Everything that one root manifest brings to one target. */
export interface Build {
  readonly target: string;
  readonly manifests: readonly string[];
  readonly modules: ReadonlyMap<string, NamedModule>;
  readonly preloads: readonly Preload[];
  readonly sdkIncludes: ReadonlySet<string>;
  /** Name of the module that the board starts, the firmware's version, and the settings that name files. */
  readonly main: string | undefined;
  readonly version: { readonly value: string; readonly manifest: string; readonly line: number } | undefined;
  readonly variables: ReadonlyMap<string, { readonly value: string; readonly manifest: string; readonly line: number }>;
}

type Json = { readonly [name: string]: unknown };

/** mcconfig passes over what it does not know without a word; so a misspelt property must be an error here. */
const PROPERTIES = ["build", "config", "creation", "data", "defines", "include", "modules", "preload", "typescript"];
const PLATFORM_PROPERTIES = [...PROPERTIES, "dependency", "error"];
const SCRIPTS = [".ts", ".js", ".mjs", ".json"];
const NATIVES = [".c", ".cc", ".cpp", ".h"];
const SDK = "$(MODDABLE)/";

/** Reads `root` and all that it includes, as mcconfig does for `target`; what it finds wrong goes to `problems`. */
export function readBuild(root: string, target: string, sources: Sources, problems: Problems): Build {
  return new Reader(target, sources, problems).read(root);
}

class Reader {
  readonly #target: string;
  readonly #sources: Sources;
  readonly #problems: Problems;
  readonly #manifests: string[] = [];
  readonly #modules = new Map<string, NamedModule>();
  readonly #preloads: Preload[] = [];
  readonly #sdkIncludes = new Set<string>();
  readonly #variables = new Map<string, { value: string; manifest: string; line: number }>();
  #main: string | undefined;
  #version: { value: string; manifest: string; line: number } | undefined;

  constructor(target: string, sources: Sources, problems: Problems) {
    this.#target = target;
    this.#sources = sources;
    this.#problems = problems;
  }

  read(root: string): Build {
    this.#include(root);
    return {
      target: this.#target,
      manifests: this.#manifests,
      modules: this.#modules,
      preloads: this.#preloads,
      sdkIncludes: this.#sdkIncludes,
      main: this.#main,
      version: this.#version,
      variables: this.#variables,
    };
  }

  /** Depth first, each file once; a manifest's own properties come after those that it includes. */
  #include(path: string): void {
    if (this.#manifests.includes(path)) return;
    this.#manifests.push(path);
    const json = this.#parse(path);
    if (json === undefined) return;
    this.#checkProperties(path, json, PROPERTIES.concat("platforms"));
    const platform = this.#platformOf(path, json["platforms"]);
    for (const part of [json, platform]) for (const include of strings(part?.["include"])) this.#follow(path, include);
    for (const part of [json, platform]) if (part !== undefined) this.#merge(path, part);
  }

  #parse(path: string): Json | undefined {
    const text = this.#sources.text(path);
    try {
      const json: unknown = JSON.parse(text);
      if (isObject(json)) return json;
      this.#problems.add(path, 1, "a manifest is a JSON object");
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const position = /position (\d+)/.exec(reason);
      this.#problems.add(path, position === null ? 1 : lineAt(text, Number(position[1])), `no JSON: ${reason}`);
    }
    return undefined;
  }

  #checkProperties(path: string, json: Json, known: readonly string[]): void {
    for (const name of Object.keys(json))
      if (!known.includes(name))
        this.#problem(path, `"${name}"`, `mcconfig knows no property "${name}" and would pass over it`);
  }

  #follow(path: string, include: string): void {
    if (include.startsWith(SDK)) {
      if (SDK_INCLUDES.has(include)) this.#sdkIncludes.add(include);
      else
        this.#problem(path, `"${include}"`, `${include} is not in the table of SDK includes (tools/firmware/sdk.ts)`);
      return;
    }
    const file = resolve(dirname(path), include);
    if (existsSync(file)) this.#include(file);
    else this.#problem(path, `"${include}"`, `the included manifest ${include} does not exist`);
  }

  /** The one part of `platforms` that this target gets. */
  #platformOf(path: string, platforms: unknown): Json | undefined {
    if (!isObject(platforms)) return undefined;
    const keys = Object.keys(platforms);
    for (const key of keys) {
      const part = platforms[key];
      if (isObject(part)) this.#checkProperties(path, part, PLATFORM_PROPERTIES);
      if (keys.some((other) => other.startsWith(`${key}/`)))
        this.#problem(path, `"${key}"`, `a target gets either "${key}" or "${key}/…", never both: put all into one`);
    }
    const key = matchPlatform(keys, this.#target);
    const part = key === undefined ? undefined : platforms[key];
    if (!isObject(part)) return undefined;
    for (const message of strings(part["error"])) this.#problem(path, `"${message}"`, `${this.#target}: ${message}`);
    return part;
  }

  #merge(path: string, part: Json): void {
    const { modules, build, config, creation } = part;
    if (isObject(modules)) for (const name of Object.keys(modules)) this.#name(path, name, modules[name]);
    for (const name of strings(part["preload"])) this.#preload(path, name);
    if (isObject(build))
      for (const [name, value] of Object.entries(build))
        if (typeof value === "string")
          this.#variables.set(name, { value, manifest: path, line: this.#line(path, `"${name}"`) });
    if (isObject(config) && typeof config["version"] === "string")
      this.#version = { value: config["version"], manifest: path, line: this.#line(path, '"version"', '"config"') };
    if (isObject(creation) && typeof creation["main"] === "string") this.#main = creation["main"];
  }

  #preload(path: string, name: string): void {
    if (name.includes("*"))
      this.#problem(path, `"${name}"`, "mcconfig expands * in preload for JavaScript only: name each module");
    else this.#preloads.push({ name, manifest: path, line: this.#line(path, `"${name}"`, '"preload"') });
  }

  #name(path: string, name: string, value: unknown): void {
    const line = this.#line(path, `"${name}"`, '"modules"');
    const wrong = this.#add(path, line, name, value);
    if (wrong !== undefined) this.#problems.add(path, line, `${name}: ${wrong}`);
  }

  /** Adds the module; what is wrong with it instead, if something is. */
  #add(path: string, line: number, name: string, value: unknown): string | undefined {
    if (typeof value !== "string" || name.includes("*") || value.includes("*"))
      return "name each module, with one path";
    if (!value.startsWith("./") && !value.startsWith("../"))
      return `expected a path relative to the manifest, received ${value}`;
    const include = includeOf(name);
    if (include !== undefined) return `the SDK has a module of this name, from ${include}`;
    const files = filesOf(resolve(dirname(path), value));
    const scripts = files.filter((file) => SCRIPTS.some((ending) => file.endsWith(ending)));
    const native = files.filter((file) => NATIVES.some((ending) => file.endsWith(ending)));
    if (scripts.length + native.length === 0) return `no file ${value}.ts, .js or .c`;
    if (scripts.length > 1)
      return `mcconfig takes one of ${scripts.map((file) => basename(file)).join(", ")} without a word`;
    const known = this.#modules.get(name);
    if (known !== undefined && known.script !== scripts[0])
      return `the name is taken already, by line ${known.line} of ${basename(dirname(known.manifest))}/${basename(known.manifest)}`;
    for (const other of this.#modules.values()) {
      const clash = native.find((file) => file.endsWith(".c") && other.native.some((c) => isSameObject(c, file)));
      if (clash !== undefined) return `two C files make one object ${basename(clash)}.o: give them different names`;
    }
    this.#modules.set(name, { name, manifest: path, line, script: scripts[0], native });
    return undefined;
  }

  #problem(path: string, needle: string, message: string): void {
    this.#problems.add(path, this.#line(path, needle), message);
  }

  #line(path: string, needle: string, after?: string): number {
    const text = this.#sources.text(path);
    return lineOf(text, needle, after === undefined ? 0 : Math.max(0, text.indexOf(after)));
  }
}

/** mcconfig's match of a target like `esp32/esp32c3` against platform keys: in the order they are written, then "...". */
export function matchPlatform(keys: readonly string[], target: string): string | undefined {
  const parts = target.split("/");
  for (; parts.length > 0; parts.pop()) {
    const partial = parts.join("/");
    const match = keys.find((key) =>
      key.endsWith("/*")
        ? partial.startsWith(key.slice(0, -1))
        : key.startsWith("*/")
          ? partial.endsWith(key.slice(1))
          : partial === key,
    );
    if (match !== undefined) return match;
  }
  return keys.find((key) => key === "...");
}

/** The files whose name, with or without its ending, is the path's; declarations are types, no modules. */
function filesOf(path: string): string[] {
  const folder = dirname(path);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => !file.endsWith(".d.ts"))
    .filter((file) => file === basename(path) || file.slice(0, file.lastIndexOf(".")) === basename(path))
    .map((file) => join(folder, file));
}

function isSameObject(a: string, b: string): boolean {
  return a !== b && basename(a) === basename(b);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function strings(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((item) => typeof item === "string");
}
