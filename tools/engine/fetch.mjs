// Brings the engine's sources (sources.mjs) into .cache/engine/sources, with npm's own client, checked against pinned hashes.
// Runs after `npm ci`, so it needs nothing but Node; whatever goes wrong is a warning there, because everything
// that needs no engine still works. The engine's build says it again, as an error, when the sources are missing.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SOURCES } from "./sources.mjs";
import { readTarball } from "./tar.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FETCH_TIMEOUT_MS = 120_000;

/** Where the engine's sources and everything built from them are kept. */
export const ENGINE_CACHE = join(ROOT, ".cache", "engine");

/** The folder of one source's files, whether it is there or not. Its name changes with the tarball's hash. */
export function sourceFolder(source) {
  const hash = createHash("sha256").update(`${source.integrity} ${source.from} ${source.keep}`).digest("hex");
  return join(ENGINE_CACHE, "sources", `${source.folder}-${hash.slice(0, 12)}`);
}

/** The sources that are not there yet. */
export function missingSources() {
  return SOURCES.filter((source) => !existsSync(sourceFolder(source)));
}

/** Fetches what is missing; throws an Error whose message is one line that says what to do. */
export function fetchSources() {
  for (const source of missingSources()) fetchSource(source);
}

function fetchSource(source) {
  const specifier = `${source.name}@${source.version}`;
  mkdirSync(ENGINE_CACHE, { recursive: true });
  // Everything happens in a folder of our own and one rename publishes it: a crash or a second process leaves no half.
  const work = mkdtempSync(join(ENGINE_CACHE, "fetch-"));
  try {
    const archive = pack(specifier, work);
    const integrity = `sha512-${createHash("sha512").update(archive).digest("base64")}`;
    if (integrity !== source.integrity) {
      throw new Error(
        `engine: ${specifier} is not the pinned tarball: expected ${source.integrity}, received ${integrity}`,
      );
    }
    const kept = join(work, "kept");
    for (const [path, bytes] of readTarball(archive)) {
      if (!path.startsWith(source.from)) continue;
      const below = path.slice(source.from.length);
      if (!source.keep.test(below)) continue;
      mkdirSync(dirname(join(kept, below)), { recursive: true });
      writeFileSync(join(kept, below), bytes);
    }
    const folder = sourceFolder(source);
    mkdirSync(dirname(folder), { recursive: true });
    try {
      renameSync(kept, folder);
    } catch (error) {
      if (!existsSync(folder)) throw error;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The tarball's bytes, by `npm pack`: the user's own registry, proxy, cache and credentials apply. */
function pack(specifier, folder) {
  const cli = process.env["npm_execpath"];
  const [command, first] = cli && /npm-cli\.[cm]?js$/.test(cli) ? [process.execPath, [cli]] : ["npm", []];
  try {
    execFileSync(command, [...first, "pack", specifier, "--silent", "--ignore-scripts", "--pack-destination", folder], {
      cwd: folder,
      env: {
        ...process.env,
        npm_config_dry_run: "false",
        npm_config_workspaces: "false",
      },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: FETCH_TIMEOUT_MS,
      shell: process.platform === "win32" && command === "npm",
    });
    const file = readdirSync(folder).find((name) => name.endsWith(".tgz"));
    if (!file) throw new Error("npm wrote no tarball");
    return readFileSync(join(folder, file));
  } catch (error) {
    const said =
      String(error.stderr ?? "")
        .trim()
        .split("\n")
        .at(-1) || error.message.split("\n")[0];
    throw new Error(
      `engine: npm could not fetch ${specifier} (${said}); check the network and run: node tools/engine/fetch.mjs`,
    );
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    fetchSources();
  } catch (error) {
    console.error(`warning: ${error.message}`);
    // Within `npm ci` the engine is one part of many; asked for by name, a failure is a failure.
    process.exitCode = process.env["npm_lifecycle_event"] === "postinstall" ? 0 : 1;
  }
}
