import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Image } from "./board.js";

/** Images on disk, by what they are made of. Anything in here may be deleted at any time. */
const FOLDER = fileURLToPath(new URL("../../.cache/images/", import.meta.url));
/** The images used last stay: about 2 MB each. */
export const IMAGES_KEPT_MAX = 64;

/** The image of this key, undefined where it is not there, or another process has just pruned it. */
export function readCachedImage(key: string, engine: string): Image | undefined {
  const file = join(FOLDER, key);
  try {
    const lines = JSON.parse(readFileSync(`${file}.json`, "utf8")) as Image["lines"];
    const memory = readFileSync(`${file}.bin`);
    const now = new Date();
    utimesSync(`${file}.bin`, now, now);
    return { engine, memory, lines };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Keeps an image, whole or not at all, and lets go of the ones that were not used for longest. */
export function cacheImage(key: string, { memory, lines }: Image): void {
  mkdirSync(FOLDER, { recursive: true });
  publish(join(FOLDER, `${key}.bin`), memory);
  publish(join(FOLDER, `${key}.json`), Buffer.from(JSON.stringify(lines)));
  prune();
}

function publish(path: string, bytes: Uint8Array): void {
  const unfinished = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  writeFileSync(unfinished, bytes);
  renameSync(unfinished, path);
}

function prune(): void {
  const images = readdirSync(FOLDER)
    .filter((name) => name.endsWith(".bin"))
    .map((name) => ({ name: name.slice(0, -".bin".length), usedMs: usedMs(name) }))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { name } of images.slice(IMAGES_KEPT_MAX))
    for (const ending of ["json", "bin"]) rmSync(join(FOLDER, `${name}.${ending}`), { force: true });
}

/** Zero where another process has deleted it meanwhile. */
function usedMs(name: string): number {
  return statSync(join(FOLDER, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
