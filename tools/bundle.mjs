// Makes the command's program: its TypeScript as a few pieces of JavaScript in .cache/command, made anew when a source is
// newer. A long-running relay then needs no TypeScript loader beside it, whose thread and compiler take some 50 MiB.

import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const SELF = fileURLToPath(import.meta.url);
const ROOT = dirname(dirname(SELF));
/** Programs that are kept: one that runs may still load a piece of its own. */
const KEPT_MAX = 8;

/**
 * Where the newest program of `entry`, a TypeScript file in the folder `root`, is, as a file URL; undefined where the cache
 * cannot be written, as for a user who may only read the project.
 */
export async function bundle(entry, root = ROOT) {
  const cache = join(root, ".cache", "command");
  const current = join(cache, "current.json");
  const made = read(current);
  const fileOf = (program) => join(cache, program, basename(entry).replace(/\.ts$/, ".js"));
  const urlOf = (program) => pathToFileURL(fileOf(program)).href;
  const isCurrent = made?.entry === entry && made.sources.every((source) => isUnchanged(root, source));
  if (isCurrent && existsSync(fileOf(made.program))) return urlOf(made.program);
  try {
    mkdirSync(cache, { recursive: true });
    const { program, sources } = await build(entry, root, cache);
    writeWhole(current, JSON.stringify({ entry, program, sources }));
    dropOld(cache, program);
    return urlOf(program);
  } catch (error) {
    if (error.syscall) return undefined;
    throw error;
  }
}

async function build(entry, root, cache) {
  const { build: esbuild } = await import("esbuild");
  const { outputFiles, metafile } = await esbuild({
    entryPoints: [join(root, entry)],
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    outdir: "/",
    platform: "node",
    format: "esm",
    target: "node20",
    plugins: [ownSources(root)],
    logLevel: "silent",
  });
  const hash = createHash("sha256");
  for (const { path, contents } of outputFiles) hash.update(`${path} ${contents.length}\n`).update(contents);
  const program = hash.digest("hex").slice(0, 16);
  const folder = join(cache, program);
  const begun = `${folder}.${randomBytes(4).toString("hex")}`;
  mkdirSync(begun);
  for (const { path, contents } of outputFiles) writeDurable(join(begun, basename(path)), contents);
  try {
    renameSync(begun, folder);
  } catch {
    // Somebody has just made the same.
    rmSync(begun, { recursive: true });
    utimesSync(folder, new Date(), new Date());
  }
  const sources = [...Object.keys(metafile.inputs), SELF].map((path) => stampOf(root, path));
  return { program, sources };
}

/** Our own files go into the program, each knowing where it is; packages stay where they are installed. */
const ownSources = (root) => ({
  name: "own sources",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^tallystick\// }, ({ path }) => ({
      path: join(root, "modules", `${path.slice("tallystick/".length)}.ts`),
    }));
    onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
      kind === "entry-point" ? undefined : { path, external: true },
    );
    onLoad({ filter: /\.(?:ts|mjs)$/ }, ({ path }) => ({
      // Where it is quoted it is meant for another program.
      contents: readFileSync(path, "utf8").replace(
        /(?<!")import\.meta\.url/g,
        JSON.stringify(pathToFileURL(path).href),
      ),
      loader: path.endsWith(".ts") ? "ts" : "js",
    }));
  },
});

function stampOf(root, path) {
  const { mtimeMs, size } = statSync(resolve(root, path));
  return [path, mtimeMs, size];
}

function isUnchanged(root, [path, mtimeMs, size]) {
  const found = statSync(resolve(root, path), { throwIfNoEntry: false });
  return found?.mtimeMs === mtimeMs && found.size === size;
}

function read(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

function writeWhole(path, text) {
  const begun = `${path}.${randomBytes(4).toString("hex")}`;
  writeDurable(begun, text);
  renameSync(begun, path);
}

/** A relay has to start again after a power cut: what is named as its program must be there whole. */
function writeDurable(path, contents) {
  const file = openSync(path, "wx");
  try {
    writeFileSync(file, contents);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function dropOld(cache, program) {
  const programs = readdirSync(cache, { withFileTypes: true })
    .filter((each) => each.isDirectory() && each.name !== program)
    .map(({ name }) => ({ name, at: statSync(join(cache, name), { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.at - a.at);
  for (const { name } of programs.slice(KEPT_MAX)) rmSync(join(cache, name), { recursive: true, force: true });
}
