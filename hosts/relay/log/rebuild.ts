/**
 * Makes a log's files again from what is left of them. All entries are read, from the bundles and, where those are wrong,
 * from a second holder; what they hash to must be the signed root, and only then is a file written. So nothing that is
 * written can be wrong, whatever the sources held.
 */
import { concatBytes, equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { TreeHead } from "tallystick/log/checkpoint";
import { packBundle, TILE_HEIGHT, TILE_WIDTH, type TileName, tilePath, tileWidth } from "tallystick/log/tile";
import { leafHash, RightEdge, rootOf } from "tallystick/merkle/merkle";
import { DiskError } from "./disk.js";
import { TileStore } from "./tiles.js";
import { bundlesOf, hashAt, type TreeCheckOptions } from "./tree-check.js";

/** Files that are written in one repair; damage beyond is repaired by the next. */
export const REPAIRED_FILES_MAX = 16_384;

/** Whoever else holds entries: bytes by index, of `count` entries from `from` on, as many of them as it has. */
export type SpareEntries = (from: number, count: number) => ReadonlyMap<number, Uint8Array>;

/**
 * Writes the files of `tree` that are wrong or gone, and says which. LOG_TILE_CORRUPT, with nothing written, where what is
 * left does not hash to the signed root; LOG_TILE_MISSING where an entry is nowhere.
 */
export async function rebuildTree(
  options: TreeCheckOptions,
  tree: TreeHead,
  spare: SpareEntries,
): Promise<Result<readonly string[]>> {
  const { disk, sha256, folder, erased } = options;
  const tiles = new TileStore(disk, sha256, folder, erased);
  /** By path, the SHA-256 of what belongs there. */
  const wrong = new Map<string, Uint8Array>();
  const compared = await eachFile(tiles, options, tree, spare, async (name, bytes) => {
    if (wrong.size < REPAIRED_FILES_MAX && !(await holds(options, tiles.pathOf(name), bytes)))
      wrong.set(tilePath(name), sha256(bytes));
  });
  if (!compared.ok) return compared;
  if (!equalBytes(compared.value, tree.root))
    return fail(
      "LOG_TILE_CORRUPT",
      `what is left gives ${toHex(compared.value)} at ${tree.size}, expected the signed root ${toHex(tree.root)}`,
    );
  if (wrong.size === 0) return ok([]);
  const written = await eachFile(tiles, options, tree, spare, async (name, bytes) => {
    const expected = wrong.get(tilePath(name));
    // The files changed under this: what the root has not shown is not written.
    if (expected && equalBytes(sha256(bytes), expected)) await tiles.write([{ name, bytes }]);
  });
  return written.ok ? ok([...wrong.keys()]) : written;
}

/** Gives every file of the tree as the entries make it, and answers with the root that they have. */
async function eachFile(
  tiles: TileStore,
  options: TreeCheckOptions,
  tree: TreeHead,
  spare: SpareEntries,
  give: (name: TileName, bytes: Uint8Array) => Promise<void>,
): Promise<Result<Uint8Array>> {
  const { sha256 } = options;
  const edge = new RightEdge(sha256);
  /** Hashes of the tile under way, level by level. */
  const under: Uint8Array[][] = [];
  const giveTile = (level: number, index: number) => {
    const hashes = under[level]!;
    under[level] = [];
    return give({ level, index, width: hashes.length }, concatBytes(...hashes));
  };
  for (let bundle = 0; bundle < bundlesOf(tree.size); bundle++) {
    const entries = await entriesOf(tiles, options, tree, bundle, spare);
    if (!entries.ok) return entries;
    await give({ level: "entries", index: bundle, width: entries.value.length }, packBundle(entries.value));
    const full: [number, number][] = [];
    for (const [at, bytes] of entries.value.entries())
      edge.append(leafOf(options, bundle * TILE_WIDTH + at, bytes), (level, index, hash) => {
        if (level % TILE_HEIGHT !== 0) return;
        const tileLevel = level / TILE_HEIGHT;
        under[tileLevel] ??= [];
        under[tileLevel].push(hash);
        if (under[tileLevel].length === TILE_WIDTH) full.push([tileLevel, Math.floor(index / TILE_WIDTH)]);
      });
    for (const [level, index] of full) await giveTile(level, index);
  }
  for (const [level, hashes] of under.entries())
    if (hashes.length > 0) await giveTile(level, Math.floor(tree.size / TILE_WIDTH ** (level + 1)));
  return ok(edge.root());
}

/**
 * The entries of a bundle: as stored where tile or tree say so, else those that fit best of its own file, of narrower and
 * wider ones beside it, and of the second holder.
 */
async function entriesOf(
  tiles: TileStore,
  options: TreeCheckOptions,
  { size }: TreeHead,
  index: number,
  spare: SpareEntries,
): Promise<Result<Uint8Array[]>> {
  const { sha256, erased } = options;
  const width = tileWidth(0, index, size);
  const first = index * TILE_WIDTH;
  const found = await readable(() => tiles.bundle(index, width));
  // An erased entry never comes back, wherever it may have been left.
  const stored = found && erased ? erased.blank(index, found) : found;
  const tile = await readable(() => tiles.tile({ level: 0, index, width }));
  const fits = (at: number, bytes: Uint8Array) =>
    tile && equalBytes(leafOf(options, first + at, bytes), hashAt(tile, at));
  if (stored?.every((bytes, at) => fits(at, bytes))) return ok(stored);
  if (stored && width === TILE_WIDTH) {
    const above = Math.floor(index / TILE_WIDTH);
    const parent = await readable(() => tiles.tile({ level: 1, index: above, width: tileWidth(1, above, size) }));
    const root = rootOf(
      sha256,
      stored.map((bytes, at) => leafOf(options, first + at, bytes)),
    );
    if (parent && equalBytes(root, hashAt(parent, index % TILE_WIDTH))) return ok(stored);
  }
  const others = spare(first, width);
  // Each is what an earlier checkpoint needed; what is in none of them the second holder may have.
  const beside = (await whereReadable(() => tiles.partialBundles(index, width))) ?? [];
  const entries: Uint8Array[] = [];
  for (let at = 0; at < width; at++) {
    if (erased?.idOf(first + at)) {
      entries.push(new Uint8Array(0));
      continue;
    }
    const candidates = [stored?.[at], ...beside.map((entries) => entries[at]), others.get(first + at)].filter(
      (bytes) => bytes !== undefined,
    );
    // Without a tile that says which, the second holder's: the first is what was seen to be wrong.
    const chosen = candidates.find((bytes) => fits(at, bytes)) ?? candidates.at(-1);
    if (!chosen) return fail("LOG_TILE_MISSING", `entry ${first + at} is neither in its bundle nor elsewhere`);
    entries.push(chosen);
  }
  return ok(entries);
}

async function holds({ disk }: TreeCheckOptions, path: string, bytes: Uint8Array): Promise<boolean> {
  try {
    const stored = await disk.read(path);
    return stored !== undefined && equalBytes(stored, bytes);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return false;
  }
}

function leafOf({ sha256, erased }: TreeCheckOptions, index: number, bytes: Uint8Array): Uint8Array {
  return erased?.leafHash(sha256, index, bytes) ?? leafHash(sha256, bytes);
}

async function readable<T>(read: () => Promise<Result<T>>): Promise<T | undefined> {
  const result = await whereReadable(read);
  return result?.ok ? result.value : undefined;
}

async function whereReadable<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return undefined;
  }
}
