/**
 * Looks at the stored bytes of one bundle and of all that leads from it to a signed root: the bundle's entries give the
 * hashes of its tile, each full tile gives the hash that the tile above has of it, and the partial tiles of the right edge
 * give the root. Every tile of a tree is on the way of some bundle, so that bundle after bundle the whole tree is seen, each
 * by itself: a pass may stop anywhere and go on later, and what it remembers is one number.
 *
 * A file is blamed where what stands above it is shown to be right, and it does not fit.
 */
import { dirname, join } from "node:path";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Code, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import type { TreeHead } from "tallystick/log/checkpoint";
import { TILE_WIDTH, type TileName, tilePath, tileWidth } from "tallystick/log/tile";
import { foldPeaks, HASH_BYTES, leafHash, peakAddresses, rootOf } from "tallystick/merkle/merkle";
import { type Disk, DiskError } from "./disk.js";
import type { ErasedEntries } from "./erasures.js";
import { TileStore } from "./tiles.js";

/** Something that stored bytes are not what they should be. */
export interface Finding {
  readonly code: Code;
  /** The file or row, as a person finds it. */
  readonly where: string;
  /** Expected and received, in one sentence without a full stop. */
  readonly detail: string;
}

/** Of how many bundles a tree of `size` consists. */
export function bundlesOf(size: number): number {
  return Math.ceil(size / TILE_WIDTH);
}

export interface TreeCheckOptions {
  readonly disk: Disk;
  readonly sha256: Sha256;
  /** The folder of checkpoint and tiles. */
  readonly folder: string;
  readonly erased?: ErasedEntries;
}

export interface CheckedBundle {
  /** Empty where bundle, tiles and root agree. */
  readonly findings: readonly Finding[];
  /** The ids of the bundle's entries, in their order, where they are those that the root covers. */
  readonly ids?: readonly Uint8Array[];
}

/** Checks the bundle at `index` of the signed `tree`. Every read is from the files, none from a cache of ours. */
export async function checkBundle(options: TreeCheckOptions, tree: TreeHead, index: number): Promise<CheckedBundle> {
  return new BundleCheck(options, tree).run(index);
}

/** A tile's bytes, and whether what is above shows them to be right. */
interface SeenTile {
  readonly bytes: Uint8Array | undefined;
  readonly shown: boolean;
}

class BundleCheck {
  readonly #disk: Disk;
  readonly #sha256: Sha256;
  readonly #tree: TreeHead;
  readonly #tiles: TileStore;
  readonly #erased: ErasedEntries | undefined;
  readonly #findings: Finding[] = [];

  constructor({ disk, sha256, folder, erased }: TreeCheckOptions, tree: TreeHead) {
    this.#disk = disk;
    this.#sha256 = sha256;
    this.#tree = tree;
    this.#erased = erased;
    this.#tiles = new TileStore(disk, sha256, folder, erased);
  }

  async run(index: number): Promise<CheckedBundle> {
    const width = tileWidth(0, index, this.#tree.size);
    const edge = await this.#edgeHolds();
    const tile = await this.#tile(0, index, edge);
    const entries = await this.#guarded({ level: "entries", index, width }, () => this.#tiles.bundle(index, width));
    const ids = entries && this.#idsOf(index, entries);
    const back =
      entries?.findIndex((bytes, at) => bytes.length > 0 && this.#erased?.idOf(index * TILE_WIDTH + at)) ?? -1;
    if (back >= 0) {
      const entry = index * TILE_WIDTH + back;
      this.#blame(
        { level: "entries", index, width },
        `expected nothing of erased entry ${entry}`,
        "ERASURE_UNFINISHED",
      );
    }
    if (ids) await this.#hold(index, ids, tile, edge);
    if (!edge) await this.#blameEdge();
    if (this.#findings.length > 0 || !ids) return { findings: this.#findings };
    if (width < TILE_WIDTH) await this.#narrower(index);
    return this.#findings.length > 0 ? { findings: this.#findings } : { findings: [], ids };
  }

  #idsOf(index: number, entries: readonly Uint8Array[]): Uint8Array[] {
    return entries.map((bytes, at) => this.#erased?.idOf(index * TILE_WIDTH + at) ?? leafHash(this.#sha256, bytes));
  }

  /** Whether the tiles of the right edge fold to the signed root. */
  async #edgeHolds(): Promise<boolean> {
    const { size, root } = this.#tree;
    const addresses = peakAddresses(size);
    const nodes = await this.#quiet(() => this.#tiles.nodes([addresses], size));
    return nodes !== undefined && equalBytes(foldPeaks(this.#sha256, addresses.map(nodes)), root);
  }

  async #tile(level: number, index: number, edge: boolean): Promise<SeenTile> {
    const width = tileWidth(level, index, this.#tree.size);
    const name: TileName = { level, index, width };
    const above = width === TILE_WIDTH ? await this.#tile(level + 1, Math.floor(index / TILE_WIDTH), edge) : undefined;
    const bytes = await this.#guarded(name, () => this.#tiles.tile(name));
    if (!bytes) return { bytes, shown: false };
    if (!above) return { bytes, shown: edge };
    if (!above.shown) return { bytes, shown: false };
    const expected = hashAt(above.bytes!, index % TILE_WIDTH);
    const received = rootOf(this.#sha256, hashesOf(bytes));
    if (equalBytes(received, expected)) return { bytes, shown: true };
    this.#blame(name, `expected a tile of root ${toHex(expected)}, received one of ${toHex(received)}`);
    return { bytes, shown: false };
  }

  /** The bundle's hashes against its tile's; where the tile itself is wrong, against what is above that. */
  async #hold(index: number, ids: readonly Uint8Array[], tile: SeenTile, edge: boolean): Promise<void> {
    const different = ids.findIndex((id, at) => !tile.bytes || !equalBytes(id, hashAt(tile.bytes, at)));
    if (different < 0) return;
    if (!tile.shown && ids.length === TILE_WIDTH) {
      const above = await this.#tile(1, Math.floor(index / TILE_WIDTH), edge);
      const expected = above.shown ? hashAt(above.bytes!, index % TILE_WIDTH) : undefined;
      if (expected && equalBytes(rootOf(this.#sha256, ids), expected)) return;
    }
    // Of a partial tile that is not shown to be right the edge tells more.
    if (!tile.shown && ids.length < TILE_WIDTH) return;
    const entry = index * TILE_WIDTH + different;
    const against = tile.bytes ? `its tile has ${toHex(hashAt(tile.bytes, different))}` : "its tile is gone";
    this.#blame(
      { level: "entries", index, width: ids.length },
      `entry ${entry} hashes to ${toHex(ids[different]!)}, ${against}`,
    );
  }

  /** Which files of the right edge are wrong: each is made again from what is below it, and the root decides. */
  async #blameEdge(): Promise<void> {
    const { size, root } = this.#tree;
    const made: { readonly name: TileName; readonly hashes: Uint8Array[]; readonly stored: Uint8Array | undefined }[] =
      [];
    for (let level = 0; Math.floor(size / TILE_WIDTH ** level) > 0; level++) {
      const index = Math.floor(size / TILE_WIDTH ** (level + 1));
      const width = tileWidth(level, index, size);
      if (width === 0) continue;
      const name = { level, index, width };
      const stored = await this.#guarded(name, () => this.#tiles.tile(name));
      const hashes = await this.#below(name);
      if (hashes) made.push({ name, hashes, stored });
    }
    const at = (level: number, index: number): Uint8Array | undefined => {
      const tile = made.find(({ name }) => name.level === Math.floor(level / 8));
      const count = 2 ** (level % 8);
      const first = (index * count) % TILE_WIDTH;
      return tile && rootOf(this.#sha256, tile.hashes.slice(first, first + count));
    };
    const peaks = peakAddresses(size).map(({ level, index }) => at(level, index));
    const whole =
      peaks.every((peak) => peak !== undefined) && equalBytes(foldPeaks(this.#sha256, peaks as Uint8Array[]), root);
    if (!whole) {
      if (this.#findings.length > 0) return;
      const names = made.map(({ name }) => tilePath(name)).join(", ");
      this.#blame(
        made[0]?.name ?? { level: 0, index: 0, width: 1 },
        `the tree's right edge (${names}, and the bundle below) does not give the signed root ${toHex(root)} at ${size}`,
      );
      return;
    }
    for (const { name, hashes, stored } of made) {
      const wrong = stored && hashes.findIndex((hash, i) => !equalBytes(hash, hashAt(stored, i)));
      if (wrong === undefined || wrong < 0) continue;
      this.#blame(
        name,
        `expected ${toHex(hashes[wrong]!)} as hash ${wrong}, received ${toHex(hashAt(stored!, wrong))}`,
      );
    }
  }

  /** What the hashes of a tile of the edge must be, by the files below it; undefined where one of those cannot be read. */
  async #below({ level, index, width }: TileName): Promise<Uint8Array[] | undefined> {
    if (level === 0) {
      const entries = await this.#quiet(() => this.#tiles.bundle(index, width));
      return entries && this.#idsOf(index, entries);
    }
    const hashes: Uint8Array[] = [];
    for (let at = 0; at < width; at++) {
      const child = { level: (level as number) - 1, index: index * TILE_WIDTH + at, width: TILE_WIDTH };
      const bytes = await this.#quiet(() => this.#tiles.tile(child));
      if (!bytes) return undefined;
      hashes.push(rootOf(this.#sha256, hashesOf(bytes)));
    }
    return hashes;
  }

  /** Narrower files of the same partial tiles, which earlier checkpoints need: the widest begins with each. */
  async #narrower(bundle: number): Promise<void> {
    const { size } = this.#tree;
    const names: TileName[] = [{ level: "entries", index: bundle, width: tileWidth(0, bundle, size) }];
    for (let level = 0; Math.floor(size / TILE_WIDTH ** level) > 0; level++) {
      const index = Math.floor(size / TILE_WIDTH ** (level + 1));
      const width = tileWidth(level, index, size);
      if (width > 0) names.push({ level, index, width });
    }
    // A medium that cannot give one of them back must not keep the scrub from all that is behind it.
    for (const name of names)
      await this.#guarded(name, async () => {
        await this.#narrowerOf(name);
        return ok(true);
      });
  }

  async #narrowerOf(name: TileName): Promise<void> {
    const path = tilePath(name);
    const file = this.#tiles.pathOf(name);
    const folder = dirname(file);
    const whole = await this.#disk.read(file);
    for (const each of await this.#disk.list(folder)) {
      const width = /^[1-9][0-9]{0,2}$/.test(each) ? Number(each) : TILE_WIDTH;
      // Wider ones are of a batch that was not signed yet, or never will be.
      if (width >= name.width || !whole) continue;
      const bytes = await this.#disk.read(join(folder, each));
      // Dropped meanwhile, as the tile became full.
      if (!bytes || isBeginning(name.level, bytes, width, whole)) continue;
      this.#blame({ ...name, width }, `expected what ${path} begins with, received other bytes`);
    }
  }

  async #guarded<T>(name: TileName, read: () => Promise<Result<T>>): Promise<T | undefined> {
    try {
      const result = await read();
      if (result.ok) return result.value;
      this.#blame(name, result.failure.detail, result.failure.code);
    } catch (error) {
      // A medium that cannot give the bytes back is how most damage shows.
      if (!(error instanceof DiskError)) throw error;
      this.#blame(name, error.message);
    }
    return undefined;
  }

  async #quiet<T>(read: () => Promise<Result<T>>): Promise<T | undefined> {
    try {
      const result = await read();
      return result.ok ? result.value : undefined;
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return undefined;
    }
  }

  #blame(name: TileName, detail: string, code: Code = "LOG_TILE_CORRUPT"): void {
    const where = tilePath(name);
    if (!this.#findings.some((finding) => finding.where === where)) this.#findings.push({ code, where, detail });
  }
}

function isBeginning(level: TileName["level"], part: Uint8Array, width: number, whole: Uint8Array): boolean {
  if (level !== "entries" && part.length !== width * HASH_BYTES) return false;
  if (part.length >= whole.length || !equalBytes(part, whole.subarray(0, part.length))) return false;
  if (level !== "entries") return true;
  let entries = 0;
  for (let at = 0; at < part.length; entries++) at += 2 + ((part[at]! << 8) | part[at + 1]!);
  return entries === width;
}

export function hashAt(tile: Uint8Array, at: number): Uint8Array {
  return tile.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES);
}

export function hashesOf(tile: Uint8Array): Uint8Array[] {
  return Array.from({ length: tile.length / HASH_BYTES }, (_, at) => hashAt(tile, at));
}
