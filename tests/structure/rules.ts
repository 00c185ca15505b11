import { posix } from "node:path";

/** Who may import whom: the rules of the tree, as one pure function over sources. */

/** Folders of modules/ from the bottom up. A folder may import those below its layer, and itself. */
export const LAYERS: readonly (readonly string[])[] = [
  ["bytes", "codes", "clock"],
  ["identity"],
  ["merkle"],
  ["record"],
  ["chain", "log"],
  ["receipt", "journal", "sensors"],
  ["sampler", "sync", "insight"],
  ["evidence", "device"],
];

/** npm packages that modules/ may import, and from where. */
export const MODULE_PACKAGES: ReadonlyMap<string, RegExp> = new Map([
  ["@noble/hashes", /^modules\/(?:identity|evidence)\//],
  ["tweetnacl", /^modules\/identity\//],
]);

/** Hosts that build on another: a simulated board is a board, wherever its engine runs. */
export const HOSTS_ON_HOSTS: ReadonlyMap<string, string> = new Map([
  ["simulator", "board"],
  ["rv32", "board"],
]);

export interface ImportLine {
  readonly line: number;
  readonly text: string;
  readonly specifier: string;
}

/** The import and re-export statements of a source, types included; what stands in comments is none. */
export function importLines(source: string): ImportLine[] {
  const code = withoutTexts(source);
  const statement =
    /(?:^|[;\n}])[ \t]*(?:import|export)\b(?:[^;'"`()=]*?\bfrom)?\s*["']([^"'\n]+)["']|\bimport\(\s*["']([^"'\n]+)["']/g;
  return [...code.matchAll(statement)].map((match) => {
    const specifier = match[1] ?? match[2]!;
    const at = match.index + match[0].lastIndexOf(specifier);
    const start = source.lastIndexOf("\n", at) + 1;
    const end = source.indexOf("\n", at);
    return {
      specifier,
      line: source.slice(0, at).split("\n").length,
      text: source.slice(start, end < 0 ? undefined : end).trim(),
    };
  });
}

/** Comments and templates blanked out, every other character where it was. Strings are kept: specifiers are strings. */
function withoutTexts(source: string): string {
  const text =
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|`(?:[^`\\]|\\[\s\S])*`|\/\*[\s\S]*?\*\/|(?<=^|[\s;,{}()])\/\/[^\n]*/g;
  return source.replace(text, (match, string: string | undefined) => string ?? match.replace(/[^\n]/g, " "));
}

/** Every breach in `files` (path from the repository's root → text), as `path:line: reason: the line`. */
export function breaches(files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [path, text] of files)
    for (const { line, specifier, text: shown } of importLines(text)) {
      const reason = breach(path, specifier);
      if (reason !== undefined) found.push(`${path}:${line}: ${reason}: ${shown}`);
    }
  return found.concat(cycles(files));
}

function breach(path: string, specifier: string): string | undefined {
  const [top, folder] = path.split("/");
  const target = targetOf(path, specifier);
  if (target?.startsWith("tools/") && top !== "tools" && top !== "tests") return "nothing imports tools/";
  if (target?.startsWith("tests/") && top !== "tests") return "nothing imports tests/";
  if (top === "modules") return moduleBreach(path, specifier, target);
  if (top === "hosts" && target?.startsWith("hosts/")) {
    const other = target.split("/")[1]!;
    if (other !== folder && HOSTS_ON_HOSTS.get(folder!) !== other) return "a host imports no other host";
  }
  if (target?.startsWith("modules/") && specifier.startsWith("."))
    return "modules are imported by package name from outside";
  return undefined;
}

function moduleBreach(path: string, specifier: string, target: string | undefined): string | undefined {
  if (specifier.startsWith("node:") || specifier.startsWith("embedded:")) return "modules run on every engine";
  if (!specifier.startsWith(".")) {
    const allowed = [...MODULE_PACKAGES].find(([name]) => specifier === name || specifier.startsWith(`${name}/`));
    if (allowed === undefined) return "modules import each other relatively, and no package but those in the list";
    return allowed[1].test(path) ? undefined : `${allowed[0]} is imported in its one place only`;
  }
  if (!specifier.endsWith(".js")) return 'a relative import ends in ".js"';
  if (!target?.startsWith("modules/")) return "modules import modules only";
  const [from, to] = [layerOf(path), layerOf(target)];
  if (from === undefined || to === undefined) return "the folder has no place in the layers (tests/structure/rules.ts)";
  return folderOf(path) === folderOf(target) || to < from ? undefined : "the import goes up, or sideways";
}

/** The source that a specifier names, by path from the root; undefined where it names no file of ours. */
function targetOf(path: string, specifier: string): string | undefined {
  if (specifier.startsWith("."))
    return posix.join(posix.dirname(path), specifier).replace(/\.js$/, path.endsWith(".ts") ? ".ts" : ".js");
  return specifier.startsWith("tallystick/") ? `modules/${specifier.slice("tallystick/".length)}.ts` : undefined;
}

function folderOf(path: string): string {
  return path.split("/")[1]!;
}

function layerOf(path: string): number | undefined {
  const layer = LAYERS.findIndex((folders) => folders.includes(folderOf(path)));
  return layer < 0 ? undefined : layer;
}

/** Cycles among the files of modules/; the layers leave room for them inside of one folder only. */
function cycles(files: ReadonlyMap<string, string>): string[] {
  const next = (path: string): string[] =>
    importLines(files.get(path) ?? "").flatMap(({ specifier, text }) =>
      /^(?:import|export) type /.test(text) ? [] : (targetOf(path, specifier) ?? []),
    );
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) found.push(`${path}:1: a cycle: ${[...trail.slice(at), path].join(" → ")}`);
    if (at >= 0 || done.has(path)) return;
    for (const target of next(path)) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of files.keys()) if (path.startsWith("modules/")) visit(path, []);
  return found;
}
