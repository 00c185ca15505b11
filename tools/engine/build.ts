/**
 * Builds the engine: XS, Ed25519, SHA-256 and our host, compiled by npm's clang into one WebAssembly module.
 *
 * Everything is cached by content under .cache/engine: objects by their source, what it includes, flags and compiler;
 * the module by its objects. Results appear by rename, so two processes that build at once do the work twice and
 * corrupt nothing.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { ENGINE_CACHE, missingSources, sourceFolder } from "./fetch.mjs";
import { COMPILE_FLAGS, FILE_FLAGS, INCLUDED_ONLY, LINK_FLAGS, OWN_FLAGS } from "./recipe.js";
import { SOURCES } from "./sources.mjs";

const HOST = fileURLToPath(new URL("../../hosts/simulator/engine/", import.meta.url));
const COMPILER_PACKAGE = "@yowasp/clang";
/** Each holds a compiler of 75 MB and what it compiles: more than this costs memory and gains little. */
const WORKERS_MAX = 4;

/** A folder tree in memory: what the compiler reads. */
interface Tree {
  [name: string]: Tree | Uint8Array;
}

export interface Engine {
  /** Path of the WebAssembly module. */
  readonly wasm: string;
  /** Names the module by everything that it is made of: 64 hexadecimal digits. */
  readonly hash: string;
}

export interface BuildProgress {
  /** What is happening, for a person. */
  readonly message: string;
  readonly done: number;
  readonly total: number;
}

export interface BuildOptions {
  /** Called as the build goes on; never where the engine is there already. */
  readonly onProgress?: (progress: BuildProgress) => void;
}

let current: Promise<Engine> | undefined;

/** The engine, built where it is not there yet. Once a process; an Error's message is one line that says what to do. */
export function ensureEngine(options: BuildOptions = {}): Promise<Engine> {
  current ??= build(options).catch((error: unknown) => {
    current = undefined;
    throw error;
  });
  return current;
}

async function build({ onProgress }: BuildOptions): Promise<Engine> {
  const missing = missingSources();
  if (missing.length > 0) {
    const names = missing.map(({ name, version }) => `${name}@${version}`).join(", ");
    throw new Error(
      `engine: the sources of ${names} are not there; run: node tools/engine/fetch.mjs (needs the network once)`,
    );
  }
  const tree = readSources();
  const compiler = compilerVersion();
  const units = unitsOf(tree);
  const headers = headersOf(tree);
  const keyed = units.map((unit) => {
    const own = unit.startsWith("host/");
    const flags = [...COMPILE_FLAGS, ...(own ? OWN_FLAGS : []), ...(FILE_FLAGS[unit] ?? [])];
    const seen = own ? headers.all : headers.published;
    const included = unit === "host/interpreter.c" ? INCLUDED_ONLY.map((name) => fileOf(tree, name)) : [];
    const parts = [fileOf(tree, unit), ...included];
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    return { unit, flags, bytes, key: digest([compiler, unit, ...flags, seen, ...parts]) };
  });
  const hash = digest([...keyed.map(({ key }) => key), ...LINK_FLAGS]);
  const folder = join(ENGINE_CACHE, hash.slice(0, 32));
  const engine = { wasm: join(folder, "board.wasm"), hash };
  if (existsSync(engine.wasm)) return engine;

  const objectFolder = join(ENGINE_CACHE, "objects");
  mkdirSync(objectFolder, { recursive: true });
  const objectPath = (key: string) => join(objectFolder, `${key.slice(0, 32)}.o`);
  // The largest first: the last one to finish decides when the build does.
  const todo = keyed.filter(({ key }) => !existsSync(objectPath(key))).sort((a, b) => b.bytes - a.bytes);
  const total = todo.length + 1;
  let done = 0;
  onProgress?.({ message: `compiling the XS engine: ${todo.length} of ${units.length} files`, done, total });
  const pool = new Pool(tree, Math.min(WORKERS_MAX, availableParallelism(), Math.max(1, todo.length)));
  try {
    await Promise.all(
      todo.map(async ({ unit, flags, key }) => {
        const bytes = await pool.run(["-c", ...flags, unit, "-o", "unit.o"], "unit.o", unit);
        publish(objectPath(key), bytes);
        done++;
        onProgress?.({ message: `compiled ${unit.slice(unit.lastIndexOf("/") + 1)}`, done, total });
      }),
    );
    const objects: Tree = {};
    for (const { key } of keyed) objects[`${key.slice(0, 32)}.o`] = readFileSync(objectPath(key));
    const args = [...Object.keys(objects), ...LINK_FLAGS, "-o", "board.wasm"];
    const wasm = await pool.run(args, "board.wasm", "board.wasm", objects);
    mkdirSync(folder, { recursive: true });
    publish(engine.wasm, wasm);
    onProgress?.({ message: "linked board.wasm", done: total, total });
  } finally {
    await pool.close();
  }
  return engine;
}

/** All sources as the compiler sees them: host/, xs/, ed25519/, libcperciva/. */
function readSources(): Tree {
  const tree: Tree = { host: readFolder(HOST) };
  for (const source of SOURCES) tree[source.folder] = readFolder(sourceFolder(source));
  return tree;
}

function readFolder(folder: string): Tree {
  const tree: Tree = {};
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) tree[entry.name] = readFolder(path);
    else if (/\.[ch]$/.test(entry.name)) tree[entry.name] = readFileSync(path);
  }
  return tree;
}

function* filesOf(tree: Tree, prefix = ""): Generator<string> {
  for (const [name, entry] of Object.entries(tree)) {
    if (entry instanceof Uint8Array) yield prefix + name;
    else yield* filesOf(entry, `${prefix}${name}/`);
  }
}

function fileOf(tree: Tree, path: string): Uint8Array {
  let entry: Tree | Uint8Array | undefined = tree;
  for (const name of path.split("/")) entry = entry instanceof Uint8Array ? undefined : entry?.[name];
  if (!(entry instanceof Uint8Array)) throw new Error(`engine: expected the source file ${path}`);
  return entry;
}

function unitsOf(tree: Tree): string[] {
  return [...filesOf(tree)].filter((path) => path.endsWith(".c") && !INCLUDED_ONLY.includes(path));
}

/** Published files see the published headers and our platform.h; our own see all headers. */
function headersOf(tree: Tree): { readonly published: string; readonly all: string } {
  const paths = [...filesOf(tree)].filter((path) => path.endsWith(".h"));
  const published = paths.filter((path) => !path.startsWith("host/") || path === "host/platform.h");
  const of = (list: string[]) => digest(list.flatMap((path) => [path, fileOf(tree, path)]));
  return { published: of(published), all: of(paths) };
}

function compilerVersion(): string {
  const require = createRequire(import.meta.url);
  // The package exports no package.json; its main file lies one folder below it.
  const manifest = new URL("../package.json", pathToFileURL(require.resolve(COMPILER_PACKAGE)));
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return `${COMPILER_PACKAGE} ${version}`;
}

/** SHA-256 over the parts, each preceded by its length. */
function digest(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) {
    const bytes = typeof part === "string" ? Buffer.from(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest("hex");
}

/** Writes a file that no reader ever sees unfinished. */
function publish(path: string, bytes: Uint8Array): void {
  const unfinished = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    writeFileSync(unfinished, bytes);
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    if (!existsSync(path)) throw error;
  }
}

interface Reply {
  readonly id: number;
  readonly bytes?: Uint8Array;
  readonly error?: string;
}

interface Job {
  readonly message: { id: number; args: readonly string[]; output: string; files: Tree | undefined };
  readonly what: string;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** Compilers in worker threads, each busy with one job at a time. */
class Pool {
  readonly #workers: Worker[] = [];
  readonly #idle: Worker[] = [];
  readonly #waiting: Job[] = [];
  readonly #running = new Map<Worker, Job>();
  #nextId = 0;

  constructor(tree: Tree, count: number) {
    for (let i = 0; i < count; i++) {
      // execArgv: a loader that the process runs with (tsx) is not needed in a plain worker.
      // stdout: the compiler reports there how it loads itself, which tells nobody anything.
      const options = { workerData: { tree }, execArgv: [], stdout: true };
      const worker = new Worker(new URL("./compiler.mjs", import.meta.url), options);
      worker.on("message", (reply: Reply) => this.#finish(worker, reply));
      worker.on("error", (error: Error) => this.#finish(worker, { id: -1, error: String(error) }));
      this.#workers.push(worker);
      this.#idle.push(worker);
    }
  }

  run(args: readonly string[], output: string, what: string, files?: Tree): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message: { id: this.#nextId++, args, output, files }, what, resolve, reject });
      this.#next();
    });
  }

  #next(): void {
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      const worker = this.#idle.pop()!;
      const job = this.#waiting.shift()!;
      this.#running.set(worker, job);
      worker.postMessage(job.message);
    }
  }

  #finish(worker: Worker, reply: Reply): void {
    const job = this.#running.get(worker);
    this.#running.delete(worker);
    if (reply.bytes) job?.resolve(reply.bytes);
    else job?.reject(new Error(`engine: ${job.what} does not compile: ${reply.error ?? "no output"}`));
    if (reply.id >= 0) this.#idle.push(worker);
    this.#next();
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const start = performance.now();
  const engine = await ensureEngine({
    onProgress: ({ message, done, total }) => console.log(`${String(done).padStart(3)}/${total} ${message}`),
  }).catch((error: Error) => {
    console.error(error.message);
    process.exit(1);
  });
  console.log(`${relative(process.cwd(), engine.wasm)} in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}
