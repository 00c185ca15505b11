/**
 * Tiles (C2SP tlog-tiles): how a log's hashes and entries are cut into files that any plain file server can serve.
 * A tile spans 256 hashes of one tree level; at level L each is the root of a full tile below. A bundle holds the
 * entries of a level 0 tile.
 */
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { HASH_BYTES, type NodeAddress, nodeHash } from "../merkle/merkle.js";

export const TILE_HEIGHT = 8;
/** Hashes in a full tile, entries in a full bundle. */
export const TILE_WIDTH = 256;
/** The longest entry that a bundle can hold: its length is two bytes. */
export const ENTRY_MAX_BYTES = 65_535;
/** Where a log's current checkpoint is, below its prefix. */
export const CHECKPOINT_PATH = "checkpoint";

/** Which tile, and how wide: 256 where it is full. */
export interface TileName {
  /** Tile level: 0 holds leaf hashes. "entries" is the bundle of the level 0 tile. */
  readonly level: number | "entries";
  readonly index: number;
  readonly width: number;
}

/** `tile/<level>/<index in groups of three digits>[.p/<width>]` below the log's prefix. */
export function tilePath({ level, index, width }: TileName): string {
  let digits = String(index);
  while (digits.length % 3 !== 0) digits = `0${digits}`;
  const groups = digits.match(/.{3}/g)!;
  const last = groups.pop()!;
  const path = ["tile", level, ...groups.map((group) => `x${group}`), last].join("/");
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

const TILE_PATH =
  /^tile\/(0|[1-9]|[1-5][0-9]|6[0-3]|entries)\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$/;

/** What a path names; undefined for anything that tilePath would not make. */
export function parseTilePath(path: string): TileName | undefined {
  const match = TILE_PATH.exec(path);
  if (match === null) return undefined;
  const level = match[1] === "entries" ? "entries" : Number(match[1]);
  const name = {
    level,
    index: Number(match[2]!.replace(/[x/]/g, "")),
    width: match[3] === undefined ? TILE_WIDTH : Number(match[3]),
  } as const;
  return Number.isSafeInteger(name.index) && tilePath(name) === path ? name : undefined;
}

/** How many hashes the tile at (level, index) has in a tree of `size` leaves: 0 where the tree does not reach it. */
export function tileWidth(level: number, index: number, size: number): number {
  const hashes = Math.floor(size / TILE_WIDTH ** level);
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH));
}

/** The tiles that a tree of `size` has and the one of `oldSize` had not, or not so wide: level by level, left to right. */
export function newTiles(oldSize: number, size: number): TileName[] {
  const tiles: TileName[] = [];
  for (let level = 0; ; level++) {
    const span = TILE_WIDTH ** level;
    const oldHashes = Math.floor(oldSize / span);
    const hashes = Math.floor(size / span);
    if (hashes === 0) return tiles;
    if (hashes === oldHashes) continue;
    for (let index = Math.floor(oldHashes / TILE_WIDTH); index * TILE_WIDTH < hashes; index++) {
      tiles.push({ level, index, width: tileWidth(level, index, size) });
    }
  }
}

/** The tile of a tree of `size` that holds, or whose hashes make, the complete subtree. */
export function tileOf({ level, index }: NodeAddress, size: number): TileName {
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const first = index * 2 ** (level % TILE_HEIGHT);
  const tileIndex = Math.floor(first / TILE_WIDTH);
  return { level: tileLevel, index: tileIndex, width: tileWidth(tileLevel, tileIndex, size) };
}

/** The hash of a complete subtree out of its tile's bytes. LOG_TILE_CORRUPT where the tile is too short for it. */
export function nodeFromTile(sha256: Sha256, tile: Uint8Array, { level, index }: NodeAddress): Result<Uint8Array> {
  const count = 2 ** (level % TILE_HEIGHT);
  const first = (index * count) % TILE_WIDTH;
  const needed = (first + count) * HASH_BYTES;
  if (tile.length < needed || tile.length % HASH_BYTES !== 0) {
    return fail("LOG_TILE_CORRUPT", `expected at least ${needed} bytes of hashes in a tile, received ${tile.length}`);
  }
  let hashes: Uint8Array[] = [];
  for (let i = first; i < first + count; i++) hashes.push(tile.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  while (hashes.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < hashes.length; i += 2) above.push(nodeHash(sha256, hashes[i]!, hashes[i + 1]!));
    hashes = above;
  }
  return ok(hashes[0]!);
}

/** Entries, each after its length in two bytes, big-endian. */
export function packBundle(entries: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const entry of entries) {
    if (entry.length > ENTRY_MAX_BYTES) {
      throw new RangeError(`entry: expected at most ${ENTRY_MAX_BYTES} bytes, received ${entry.length}`);
    }
    length += 2 + entry.length;
  }
  const bundle = new Uint8Array(length);
  let at = 0;
  for (const entry of entries) {
    bundle[at++] = entry.length >> 8;
    bundle[at++] = entry.length & 0xff;
    bundle.set(entry, at);
    at += entry.length;
  }
  return bundle;
}

/** The entries of a bundle of `width`, exactly. LOG_TILE_CORRUPT. */
export function unpackBundle(bundle: Uint8Array, width: number): Result<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bundle.length && entries.length < width) {
    const length = (bundle[at]! << 8) | (bundle[at + 1] ?? 0);
    if (at + 2 + length > bundle.length) {
      return fail("LOG_TILE_CORRUPT", `expected entry ${entries.length} of ${length} bytes, received the bundle's end`);
    }
    entries.push(bundle.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  if (entries.length === width && at === bundle.length) return ok(entries);
  return fail(
    "LOG_TILE_CORRUPT",
    `expected ${width} entries, received ${entries.length} and ${bundle.length - at} bytes`,
  );
}
