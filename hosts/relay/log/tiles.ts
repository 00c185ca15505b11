/**
 * The published files of a log (C2SP tlog-tiles) in one folder, servable as they are. Not trusted: what is read is
 * checked against a signed root before it is built upon, and losing files loses proofs, not history.
 *
 * A file that a signed tree needs never changes. Wider ones than that may be left by a batch that was never signed; the
 * next batch writes over them.
 */
import { basename, dirname, join } from "node:path";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import {
  CHECKPOINT_PATH,
  nodeFromTile,
  TILE_WIDTH,
  type TileName,
  tileOf,
  tilePath,
  unpackBundle,
} from "tallystick/log/tile";
import { HASH_BYTES, type NodeAddress } from "tallystick/merkle/merkle";
import type { NodeReader, PathPlan } from "tallystick/merkle/proof";
import { type Disk, makeFolderDurable, PUBLIC_MODE, temporary, writeDurable, writeInPlace } from "./disk.js";
import type { ErasedEntries } from "./erasures.js";

/** Tiles kept in memory after a read: 8 KiB each. */
const CACHED_TILES_MAX = 256;

export interface TileFile {
  readonly name: TileName;
  readonly bytes: Uint8Array;
}

export class TileStore {
  readonly folder: string;
  readonly #erased: ErasedEntries | undefined;
  readonly #disk: Disk;
  readonly #sha256: Sha256;
  readonly #cache = new Map<string, Uint8Array>();
  readonly #folders = new Set<string>();

  /** `erased`: entries that their bundles hold no more; such bundles are read and written where they are kept. */
  constructor(disk: Disk, sha256: Sha256, folder: string, erased?: ErasedEntries) {
    this.#disk = disk;
    this.#sha256 = sha256;
    this.folder = folder;
    this.#erased = erased;
  }

  /** Where the file of a tile or bundle is. */
  pathOf(name: TileName): string {
    const isKept = name.level === "entries" && this.#erased?.holds(name.index) === true;
    return join(isKept ? this.#erased!.keptFolder : this.folder, tilePath(name));
  }

  /** The newest checkpoint that was published; undefined where none was. */
  checkpoint(): Promise<Uint8Array | undefined> {
    return this.#disk.read(join(this.folder, CHECKPOINT_PATH));
  }

  /** Everything that `bytes` needs must be in place. */
  publish(bytes: Uint8Array): Promise<void> {
    return writeDurable(this.#disk, join(this.folder, CHECKPOINT_PATH), bytes, PUBLIC_MODE);
  }

  /** Whether there are tiles that a log of one entry has not. */
  async holdsMoreThanOpening(): Promise<boolean> {
    const opening = tilePath({ level: 0, index: 0, width: 1 });
    const folder = join(this.folder, dirname(dirname(opening)));
    const tiles = await this.#disk.list(folder);
    const partials = await this.#disk.list(join(this.folder, dirname(opening)));
    return (
      tiles.some((name) => name !== basename(dirname(opening))) ||
      partials.some((name) => name !== basename(opening) && name !== temporary(basename(opening)))
    );
  }

  /** Puts files in place; all are durable on return, in no order: nothing names them yet. */
  async write(files: readonly TileFile[]): Promise<void> {
    const touched = new Set<string>();
    for (const { name, bytes } of files) {
      const path = this.pathOf(name);
      await this.#makeFolder(dirname(path));
      this.#cache.delete(tilePath(name));
      await writeInPlace(this.#disk, path, bytes, PUBLIC_MODE);
      touched.add(dirname(path));
    }
    for (const folder of touched) await this.#disk.syncFolder(folder);
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#folders.has(folder) || folder === this.folder) return;
    // Above the folder of what is kept there is the log's own.
    if (this.#erased && folder === dirname(this.#erased.keptFolder)) return;
    await this.#makeFolder(dirname(folder));
    await makeFolderDurable(this.#disk, folder);
    this.#folders.add(folder);
  }

  /** The hashes of a tile, exactly as many as it is wide. LOG_TILE_MISSING, LOG_TILE_CORRUPT. */
  async tile(name: TileName): Promise<Result<Uint8Array>> {
    const path = tilePath(name);
    const cached = this.#cache.get(path);
    if (cached) return ok(cached);
    const bytes = await this.#readOrWider(name);
    if (bytes === undefined) return fail("LOG_TILE_MISSING", `expected ${path} in ${this.folder}, received no file`);
    const expected = name.width * HASH_BYTES;
    const exact = bytes.whole.length === expected || (bytes.wider && bytes.whole.length > expected);
    if (!exact) {
      return fail("LOG_TILE_CORRUPT", `expected ${expected} bytes in ${path}, received ${bytes.whole.length}`);
    }
    const tile = bytes.whole.slice(0, expected);
    this.#cache.set(path, tile);
    if (this.#cache.size > CACHED_TILES_MAX) this.#cache.delete(this.#cache.keys().next().value!);
    return ok(tile);
  }

  /** The entries of a bundle, exactly as many as it is wide, erased ones empty. LOG_TILE_MISSING, LOG_TILE_CORRUPT. */
  async bundle(index: number, width: number): Promise<Result<Uint8Array[]>> {
    const name: TileName = { level: "entries", index, width };
    const bytes = await this.#readOrWider(name);
    if (bytes === undefined) {
      return fail("LOG_TILE_MISSING", `expected ${this.pathOf(name)}, received no file`);
    }
    const entries = unpackBundle(bytes.whole, bytes.wider ? TILE_WIDTH : width);
    if (entries.ok) return ok(entries.value.slice(0, width));
    return fail("LOG_TILE_CORRUPT", `${tilePath(name)}: ${entries.failure.detail}`);
  }

  /** What partial bundles at `index` hold that lie beside the one of `width`, the widest first; those that can be read. */
  async partialBundles(index: number, width: number): Promise<Uint8Array[][]> {
    const folder = dirname(this.pathOf({ level: "entries", index, width: 1 }));
    const widths = (await this.#disk.list(folder))
      .map((name) => (/^[1-9][0-9]{0,2}$/.test(name) ? Number(name) : 0))
      .filter((each) => each > 0 && each < TILE_WIDTH && each !== width)
      .sort((a, b) => b - a);
    const found: Uint8Array[][] = [];
    for (const each of widths) {
      const bytes = await this.#disk.read(this.pathOf({ level: "entries", index, width: each }));
      const entries = bytes && unpackBundle(bytes, each);
      if (entries?.ok) found.push(entries.value);
    }
    return found;
  }

  /** A partial file may be removed once the full one is there: the full one begins with it. */
  async #readOrWider(name: TileName): Promise<{ whole: Uint8Array; wider: boolean } | undefined> {
    const exact = await this.#disk.read(this.pathOf(name));
    if (exact) return { whole: exact, wider: false };
    if (name.width === TILE_WIDTH) return undefined;
    const full = await this.#disk.read(this.pathOf({ ...name, width: TILE_WIDTH }));
    return full && { whole: full, wider: true };
  }

  /** A reader of the nodes that a plan names, out of the tiles of a tree of `size`. LOG_TILE_MISSING, LOG_TILE_CORRUPT. */
  async nodes(plan: PathPlan, size: number): Promise<Result<NodeReader>> {
    const nodes = new Map<string, Uint8Array>();
    for (const address of plan.flat()) {
      const tile = await this.tile(tileOf(address, size));
      if (!tile.ok) return tile;
      const node = nodeFromTile(this.#sha256, tile.value, address);
      if (!node.ok) return node;
      nodes.set(nodeName(address), node.value);
    }
    return ok((address) => nodes.get(nodeName(address))!);
  }

  /** Forgets the right edge as it was read, so that the next read comes from the files. Its tiles are the partial ones. */
  forgetEdge(): void {
    for (const path of this.#cache.keys()) if (path.includes(".p/")) this.#cache.delete(path);
  }

  /** Removes partial files of tiles and bundles that a published tree of `size` has in full and one of `oldSize` had not. */
  async dropPartials(oldSize: number, size: number): Promise<void> {
    const levels: TileName["level"][] = ["entries"];
    for (let level = 0; TILE_WIDTH ** level <= size; level++) levels.push(level);
    for (const level of levels) {
      const span = TILE_WIDTH ** (level === "entries" ? 0 : level);
      const oldFull = Math.floor(oldSize / span / TILE_WIDTH);
      const full = Math.floor(size / span / TILE_WIDTH);
      // Only the tile that was partial before can have partial files: the others of the batch were written full.
      if (full > oldFull) {
        const partials = dirname(this.pathOf({ level, index: oldFull, width: 1 }));
        await this.#disk.remove(partials);
        this.#folders.delete(partials);
      }
    }
  }
}

function nodeName({ level, index }: NodeAddress): string {
  return `${level}/${index}`;
}
