import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { type Import, importsOf, resolveSpecifier } from "./imports.js";
import { checkLanguage } from "./language.js";
import { type Build, readBuild } from "./manifest.js";
import { checkPartitions } from "./partitions.js";
import { checkPreloads } from "./preload.js";
import { type Problem, Problems, Sources } from "./problem.js";
import { whyNotOnBoards } from "./rules.js";
import { includeOf, SDK_INCLUDES } from "./sdk.js";

/** The boards that the firmware is built for, as mcconfig's -p names them. */
export const TARGETS = ["esp32/nodemcu", "esp32/esp32c3"];

/** Modules that makers' applications use too: which of them start, the application decides. */
const LIBRARY = "tallystick/";
const HOST = "tallystick/esp32/";

export interface FirmwareReport {
  readonly problems: readonly Problem[];
  readonly manifests: number;
  /** Modules of ours that the firmware has, and how many of those are preloaded. */
  readonly modules: number;
  readonly preloaded: number;
  /** Imports that were resolved, in all manifests. */
  readonly imports: number;
}

/**
 * Checks the firmware of the repository at `root` without the SDK: every include, path, name and specifier of the root
 * manifest and of each module folder's own, what preloading would break, and the language level of what is portable. tsc and
 * mcconfig miss most of it: an import that does not resolve in a module that is not preloaded fails on the board alone.
 */
export async function checkFirmware(root: string, targets: readonly string[] = TARGETS): Promise<FirmwareReport> {
  const sources = new Sources();
  const problems = new Problems(root);
  const firmware = targets.map((target) => readBuild(join(root, "manifest.json"), target, sources, problems));
  const folders = readdirSync(join(root, "modules"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name === "manifest.json")
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const libraries = folders.map((manifest) => readBuild(manifest, targets[0]!, sources, problems));
  const builds = [...firmware, ...libraries];

  const imports = await importsOf(scriptsOf(builds), sources, problems);
  for (const build of builds) {
    resolveImports(build, imports, problems);
    checkPreloadNames(build, problems);
  }
  for (const build of firmware) {
    checkStart(build, imports, problems);
    await checkPreloads(build, problems);
    checkFiles(build, sources, problems);
    checkVersion(root, build, sources, problems);
  }
  checkNames(root, builds, sources, problems);
  for (const file of portableScripts(builds)) await checkLanguage(file, sources, problems);

  const first = firmware[0]!;
  return {
    problems: problems.list(),
    manifests: new Set(builds.flatMap((build) => build.manifests)).size,
    modules: first.modules.size,
    preloaded: first.preloads.length,
    imports: [...imports.values()].reduce((sum, list) => sum + list.length, 0),
  };
}

function scriptsOf(builds: readonly Build[]): string[] {
  const scripts = builds.flatMap((build) => [...build.modules.values()].flatMap(({ script }) => script ?? []));
  return [...new Set(scripts)].filter((file) => !file.endsWith(".json"));
}

/** What runs in the simulator as well: modules/ and applications, but not the board's own code. */
function portableScripts(builds: readonly Build[]): string[] {
  const host = new Set<string | undefined>();
  for (const { modules } of builds)
    for (const { name, script } of modules.values()) if (name.startsWith(HOST)) host.add(script);
  return scriptsOf(builds).filter((file) => file.endsWith(".ts") && !host.has(file));
}

/** Each import of each named module has to be a name: of ours, or of an SDK include that the manifests have. */
function resolveImports(build: Build, imports: ReadonlyMap<string, readonly Import[]>, problems: Problems): void {
  for (const { name, script } of build.modules.values())
    for (const { specifier, line } of imports.get(script ?? "") ?? []) {
      const wanted = resolveSpecifier(name, specifier);
      if (build.modules.get(wanted)?.script !== undefined) continue;
      const include = includeOf(wanted);
      if (include !== undefined && build.sdkIncludes.has(include)) continue;
      if (specifier.endsWith(".ts")) problems.add(script!, line, `"${specifier}": XS drops ".js" only: write it so`);
      else if (include !== undefined) problems.add(script!, line, `"${wanted}" needs the include ${include}`);
      else problems.add(script!, line, missing(wanted, build));
    }
}

function missing(wanted: string, build: Build): string {
  return `no module is named "${wanted}" in ${relative(dirname(dirname(build.manifests[0]!)), build.manifests[0]!)} and its includes`;
}

/** The module to start exists, every preload is a name, and whatever is not a library is reached from the start. */
function checkStart(build: Build, imports: ReadonlyMap<string, readonly Import[]>, problems: Problems): void {
  const root = build.manifests[0]!;
  if (build.main === undefined || !build.modules.has(build.main)) {
    problems.add(root, 1, `creation.main: no module is named "${build.main ?? ""}"`);
    return;
  }
  const reached = new Set<string>();
  const waiting = [build.main];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (reached.has(name)) continue;
    reached.add(name);
    for (const { specifier } of imports.get(build.modules.get(name)?.script ?? "") ?? [])
      waiting.push(resolveSpecifier(name, specifier));
  }
  // What is no script is nobody's import: a header that is named puts its folder on the C compiler's path.
  for (const { name, manifest, line, script } of build.modules.values())
    if (script !== undefined && !reached.has(name) && (!name.startsWith(LIBRARY) || name.startsWith(HOST)))
      problems.add(manifest, line, `${name} is in the firmware, and nothing that starts imports it`);
  for (const include of build.sdkIncludes)
    if (!SDK_INCLUDES.get(include)!.some((name) => reached.has(name)))
      problems.add(root, 1, `${include} is included, and nothing that starts imports a module of it`);
}

/** A preload that names no module is passed over by mcconfig: the module then costs RAM. */
function checkPreloadNames(build: Build, problems: Problems): void {
  for (const { name, manifest, line } of build.preloads)
    if (build.modules.get(name)?.script === undefined)
      problems.add(manifest, line, `preload: no module is named "${name}"`);
}

/** Settings that name files: the partition table and the folder of ESP-IDF's settings. */
function checkFiles(build: Build, sources: Sources, problems: Problems): void {
  for (const [name, { value, manifest, line }] of build.variables) {
    if (!value.startsWith("./") && !value.startsWith("../")) continue;
    const file = resolve(dirname(manifest), value);
    if (!existsSync(file)) problems.add(manifest, line, `${name}: ${value} does not exist`);
    else if (name === "PARTITIONS_FILE") checkPartitions(file, sources, problems);
  }
  for (const name of ["PARTITIONS_FILE", "SDKCONFIGPATH"])
    if (!build.variables.has(name)) problems.add(build.manifests[0]!, 1, `${build.target}: no manifest sets ${name}`);
}

/** Records name the firmware's version: it is the package's. */
function checkVersion(root: string, { version, manifests }: Build, sources: Sources, problems: Problems): void {
  const { version: expected } = JSON.parse(sources.text(join(root, "package.json"))) as { version: string };
  if (version?.value !== expected)
    problems.add(
      version?.manifest ?? manifests[0]!,
      version?.line ?? 1,
      `config.version: expected package.json's ${expected}, received ${version?.value ?? "none"}`,
    );
}

/** Every source is named, by the manifest beside it, with the name that mirrors its path. */
function checkNames(root: string, builds: readonly Build[], sources: Sources, problems: Problems): void {
  const named = new Map<string, { name: string; manifest: string; line: number }>();
  for (const build of builds)
    for (const { name, manifest, line, script } of build.modules.values())
      if (script !== undefined) named.set(script, { name, manifest, line });
  const checkFolder = (folder: string, nameOf: (path: string) => string, why: (path: string) => string | undefined) => {
    for (const file of typescriptIn(folder)) {
      const path = relative(folder, file).replaceAll("\\", "/").slice(0, -".ts".length);
      const module = named.get(file);
      const reason = why(path);
      if (module === undefined) {
        if (reason === undefined)
          problems.add(
            file,
            1,
            `no manifest names it: add it to ${relative(root, join(dirname(file), "manifest.json"))}`,
          );
      } else if (reason !== undefined)
        problems.add(module.manifest, module.line, `${path} is on no board (tools/firmware/rules.ts): ${reason}`);
      else if (dirname(module.manifest) !== dirname(file))
        problems.add(module.manifest, module.line, `${module.name}: the manifest beside ${path}.ts names it`);
      else if (module.name !== nameOf(path) && module.name !== "application")
        problems.add(module.manifest, module.line, `expected the name ${nameOf(path)}, received ${module.name}`);
    }
  };
  checkFolder(join(root, "modules"), (path) => LIBRARY + path, whyNotOnBoards);
  checkFolder(
    join(root, "hosts/esp32"),
    (path) => HOST + path,
    () => undefined,
  );
  const rootManifest = join(root, "manifest.json");
  for (const name of Object.keys(JSON.parse(sources.text(rootManifest)) as object))
    if (name !== "include") problems.add(rootManifest, 1, `the root manifest has only includes, no "${name}"`);
}

function typescriptIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".d.ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
