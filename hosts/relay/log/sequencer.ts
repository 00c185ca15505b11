/**
 * The sequencer gives durable entries their places in the log, one batch at a time:
 *
 *   1. write bundles and tiles        durable, but named by nothing
 *   2. read them back and recompute   new leaves and the right edge, from the stored bytes
 *   3. sign                           where lock and signer's memory are what they were; it remembers the tree first
 *   4. move the lock                  compare-and-swap: from here on the batch is history
 *   5. publish the checkpoint
 *   6. tell the source its indices
 *
 * After a crash before 3 the batch never was. After 3 the stored tiles hold what was signed, so recovery signs the same
 * tree again and goes on from 4. After 4 or 5 it goes on with what is left. Nothing is ever taken back.
 */
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { type OpenedCheckpoint, openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { type Opening, readOpening } from "tallystick/log/opening";
import { newTiles, packBundle, TILE_HEIGHT, TILE_WIDTH, tileWidth } from "tallystick/log/tile";
import { withCosignatures } from "tallystick/log/witness";
import { emptyRoot, foldPeaks, HASH_BYTES, leafHash, peakAddresses, RightEdge } from "tallystick/merkle/merkle";
import { consistencyPlan, type PathPlan, readPath } from "tallystick/merkle/proof";
import type { ErasedEntries } from "./erasures.js";
import type { Lock } from "./lock.js";
import type { LogSigner, SignedTree } from "./signer.js";
import type { TileFile, TileStore } from "./tiles.js";

/** Most entries that one checkpoint adds. */
export const BATCH_MAX_ENTRIES = 4096;

/** An entry and its leaf hash, which is the record's id. */
export interface LoggedEntry {
  readonly id: Uint8Array;
  /** Empty where the entry was erased. */
  readonly bytes: Uint8Array;
}

/**
 * Where entries come from: a store that keeps them durable and in one order. Leaf 0, the opening, is none of its own.
 * What it throws ends the run and reaches the caller as it is; the next run recovers first.
 */
export interface EntrySource {
  /** One above the highest index that it was told of; 0 or 1 where it was told of none. */
  integratedSize(): number | Promise<number>;
  /**
   * The durable entries that were given no index yet, oldest first: those to stand at `fromIndex` and after it. Each with the
   * leaf hash of its bytes; that it is that is seen again, from the bytes in the files, before anything is signed.
   */
  next(fromIndex: number, limit: number): readonly LoggedEntry[] | Promise<readonly LoggedEntry[]>;
  /**
   * The entries stand at `fromIndex` and after it in a published checkpoint; durable when it returns. After a crash it
   * may be told again, and after a restore of an old copy it is told of entries that it does not hold: it takes them in.
   */
  integrated(fromIndex: number, entries: readonly LoggedEntry[]): void | Promise<void>;
}

/** A tree of this log that someone else holds a proof of: an anchor on a ledger, a witness's last cosignature. */
export interface KnownTree extends TreeHead {
  /** Who says so, for a person. */
  readonly whence: string;
}

export interface SequencerOptions {
  readonly crypto: Crypto;
  readonly tiles: TileStore;
  readonly lock: Lock;
  readonly signer: LogSigner;
  readonly source: EntrySource;
  readonly opening: Omit<Opening, "origin" | "logKey">;
  readonly known: readonly KnownTree[];
  readonly erased: ErasedEntries;
  /** Whose lines of a published checkpoint are kept at a recovery; others nobody here could verify. */
  readonly witnesses: readonly VerifierKey[];
  /** Before a checkpoint is published: what those that follow the log need to make proofs with it. */
  readonly announce?: ((head: SignedHead) => Promise<void>) | undefined;
}

/** The signed tree that everything is served from; its checkpoint may carry lines of witnesses. */
export interface SignedHead extends TreeHead, SignedTree {}

/** As it is in its file. */
interface PublishedCheckpoint extends OpenedCheckpoint {
  readonly bytes: Uint8Array;
}

export class Sequencer {
  readonly #options: SequencerOptions;
  #head: SignedHead | undefined;
  #edge: RightEdge;
  /** What the lock holds, as it was read or put there. */
  #locked: Uint8Array | undefined;

  constructor(options: SequencerOptions) {
    this.#options = options;
    this.#edge = new RightEdge(options.crypto.sha256);
  }

  /** Undefined until `recover` has succeeded. */
  get head(): SignedHead | undefined {
    return this.#head;
  }

  /**
   * Takes up where the last process, or the last failed batch, left off; begins the log where there is none. Afterwards
   * lock, published checkpoint and source agree. Refuses, with what was found, where they contradict each other.
   */
  async recover(): Promise<Result<true>> {
    const { crypto, tiles, lock, signer, known, witnesses } = this.#options;
    tiles.forgetEdge();
    this.#locked = await lock.read();
    const locked = this.#locked && openCheckpoint(crypto, this.#locked, signer.key);
    if (locked && !locked.ok) return fail("LOG_LOCK_CORRUPT", locked.failure.detail);
    const publishedBytes = await tiles.checkpoint();
    // A copy of what the lock holds: where it cannot be read it is written anew.
    const published = publishedBytes && openCheckpoint(crypto, publishedBytes, signer.key, witnesses);
    const readable = published?.ok ? published.value : undefined;
    const last = signer.last();

    if (locked === undefined) {
      // The first checkpoint is of leaf 0 alone. Until the lock holds it, nothing else can have been signed or stored.
      const begun = last === undefined ? publishedBytes === undefined : last.size === 1 && (readable?.size ?? 1) === 1;
      if (!begun || (await tiles.holdsMoreThanOpening())) {
        const size = last?.size ?? readable?.size;
        return fail("LOG_LOCK_MISSING", `expected a lock of ${size ?? "more than one"} entries, received none`);
      }
      const opened = await this.#begin();
      return opened.ok ? this.#catchUp() : opened;
    }
    if (last === undefined) {
      return fail("LOG_SIGNER_STATE_CORRUPT", `expected a memory of ${locked.value.size} entries, received none`);
    }
    const trees: KnownTree[] = [{ ...locked.value, whence: "the lock" }, ...known];
    if (readable) trees.push({ ...readable, whence: "the published checkpoint" });
    const resumed = await this.#resume(last, trees);
    if (!resumed.ok) return resumed;
    const signed = await signer.sign(last, []);
    if (!signed.ok) return signed;
    const settled = await this.#settle(
      { ...last, ...signed.value },
      readable && { ...readable, bytes: publishedBytes! },
    );
    return settled.ok ? this.#catchUp() : settled;
  }

  /** Integrates up to BATCH_MAX_ENTRIES; how many it were. After a failure only `recover` helps. */
  async step(): Promise<Result<number>> {
    const from = this.#edge.size;
    const entries = await this.#options.source.next(from, BATCH_MAX_ENTRIES);
    if (entries.length === 0) return ok(0);
    if (entries.length > BATCH_MAX_ENTRIES) throw new RangeError(`the source gave ${entries.length} entries`);
    const advanced = await this.#advance(entries);
    if (!advanced.ok) return advanced;
    await this.#options.source.integrated(from, advanced.value);
    await this.#options.tiles.dropPartials(from, this.#edge.size);
    return ok(entries.length);
  }

  /** Leaf 0. Where an earlier start wrote one and came no further, it is that one. */
  async #begin(): Promise<Result<unknown>> {
    const { crypto, tiles, signer, opening } = this.#options;
    this.#edge = new RightEdge(crypto.sha256);
    const stored = await tiles.bundle(0, 1);
    const found = stored.ok ? stored.value[0]! : undefined;
    const read = found && readOpening(crypto, found);
    const own =
      read?.ok && read.value.origin === signer.key.name && equalBytes(read.value.logKey, signer.key.publicKey);
    if (found && own) return this.#advance([this.#leaf(found)]);
    if (signer.last() !== undefined) {
      return stored.ok ? fail("LOG_TILE_CORRUPT", "expected this log's opening as entry 0, received another") : stored;
    }
    const made = signer.signOpening(opening);
    return made.ok ? this.#advance([this.#leaf(made.value)]) : made;
  }

  #leaf(bytes: Uint8Array): LoggedEntry {
    return { id: leafHash(this.#options.crypto.sha256, bytes), bytes };
  }

  /** Rebuilds the right edge at `last` from the stored tiles, and holds every known tree against it. */
  async #resume(last: TreeHead, trees: readonly KnownTree[]): Promise<Result<true>> {
    const { crypto } = this.#options;
    for (const { size, root, whence } of trees) {
      if (size > last.size) {
        return fail(
          "LOG_BEHIND",
          `expected no tree larger than the ${last.size} signed last, received ${size} of ${whence}`,
        );
      }
      if (size === last.size && !equalBytes(root, last.root)) {
        return fail(
          "LOG_FORKED",
          `at size ${size} the key signed ${toHex(last.root)}, but ${whence} has ${toHex(root)}`,
        );
      }
    }
    const peaks = await this.#storedPeaks(last.size, last.size);
    if (!peaks.ok) return peaks;
    const root = foldPeaks(crypto.sha256, peaks.value);
    if (!equalBytes(root, last.root)) {
      return fail(
        "LOG_TILE_CORRUPT",
        `expected tiles of root ${toHex(last.root)} at ${last.size}, received ${toHex(root)}`,
      );
    }
    for (const tree of trees) {
      const earlier = await this.#storedPeaks(tree.size, last.size);
      if (!earlier.ok) return earlier;
      const rootThen = foldPeaks(crypto.sha256, earlier.value);
      if (equalBytes(rootThen, tree.root)) continue;
      const detail = `at size ${tree.size} the tiles have ${toHex(rootThen)}, but ${tree.whence} has ${toHex(tree.root)}`;
      return fail("LOG_FORKED", detail);
    }
    this.#edge = new RightEdge(crypto.sha256, last.size, peaks.value);
    const newest = await this.#storedLeaves(last.size - ((last.size - 1) % TILE_WIDTH) - 1, last.size);
    return newest.ok ? ok(true) : newest;
  }

  /** Steps 1 to 5 for the entries after the edge. */
  async #advance(entries: readonly LoggedEntry[]): Promise<Result<readonly LoggedEntry[]>> {
    const { crypto, tiles, lock, signer } = this.#options;
    const from = this.#edge.size;
    tiles.forgetEdge();
    const edge = new RightEdge(crypto.sha256, from, this.#edge.peaks());
    // Hashes that stand in tiles: the new complete subtrees of each eighth level.
    const fresh: Uint8Array[][] = [];
    for (const { id } of entries) {
      edge.append(id, (level, _index, hash) => {
        if (level % TILE_HEIGHT !== 0) return;
        fresh[level / TILE_HEIGHT] ??= [];
        fresh[level / TILE_HEIGHT]!.push(hash);
      });
    }
    const files = await this.#files(from, edge.size, entries, fresh);
    if (!files.ok) return files;
    await tiles.write(files.value);

    const tree = { size: edge.size, root: edge.root() };
    tiles.forgetEdge();
    const stored = await this.#checkStored(from, tree);
    if (!stored.ok) return stored;
    const plan = consistencyPlan(from, tree.size);
    const nodes = await tiles.nodes(signer.last()?.size === tree.size ? [] : plan, tree.size);
    if (!nodes.ok) return nodes;
    const path = signer.last()?.size === tree.size ? [] : readPath(crypto.sha256, plan, nodes.value);
    // What would be found when the lock is moved is better found before anything is signed.
    const unmoved = await lock.expect(this.#locked);
    if (!unmoved.ok) return unmoved;
    const signed = await signer.sign(tree, path);
    if (!signed.ok) return signed;

    const settled = await this.#settle({ ...tree, ...signed.value }, undefined);
    if (!settled.ok) return settled;
    this.#edge = edge;
    return ok(entries);
  }

  /** Puts the head's checkpoint with lines of witnesses in the published one's place: the same tree, nothing to lock. */
  async publishAgain(checkpoint: Uint8Array): Promise<void> {
    await this.#options.tiles.publish(checkpoint);
    this.#head = { ...this.#head!, checkpoint };
  }

  /** Steps 4 and 5. What witnesses said of the same tree when it was published is kept. */
  async #settle(bare: SignedHead, published: PublishedCheckpoint | undefined): Promise<Result<true>> {
    const { tiles, lock, announce } = this.#options;
    const moved = await lock.replace(this.#locked, bare.checkpoint);
    if (!moved.ok) return moved;
    this.#locked = bare.checkpoint;
    const same = published?.size === bare.size ? published : undefined;
    const checkpoint = withCosignatures(bare.checkpoint, same?.cosignatures ?? []);
    if (!checkpoint.ok) return checkpoint;
    const head = { ...bare, checkpoint: checkpoint.value };
    await announce?.(head);
    const inPlace = same !== undefined && equalBytes(same.bytes, checkpoint.value);
    if (!inPlace) await tiles.publish(checkpoint.value);
    this.#head = head;
    return ok(true);
  }

  /** Step 6 for what the source was not told before a crash. LOG_BEHIND where it was told of more than was signed. */
  async #catchUp(): Promise<Result<true>> {
    const { source } = this.#options;
    const size = this.#edge.size;
    let next = Math.max(1, await source.integratedSize());
    if (next > size) {
      return fail("LOG_BEHIND", `expected at most the ${size} entries signed, received ${next} indices in the store`);
    }
    while (next < size) {
      const end = Math.min(size, next - (next % TILE_WIDTH) + TILE_WIDTH);
      const entries = await this.#storedLeaves(next, end);
      if (!entries.ok) return entries;
      await source.integrated(next, entries.value);
      next = end;
    }
    return ok(true);
  }

  /** Bundles and tiles that the entries after `from` begin or widen. */
  async #files(
    from: number,
    size: number,
    entries: readonly LoggedEntry[],
    fresh: readonly (readonly Uint8Array[])[],
  ): Promise<Result<TileFile[]>> {
    const { tiles } = this.#options;
    const files: TileFile[] = [];
    for (const name of newTiles(from, size)) {
      const level = name.level as number;
      const first = name.index * TILE_WIDTH;
      const oldHashes = Math.floor(from / TILE_WIDTH ** level);
      const oldWidth = tileWidth(level, name.index, from);
      const bytes = new Uint8Array(name.width * HASH_BYTES);
      if (oldWidth > 0) {
        const old = await tiles.tile({ ...name, width: oldWidth });
        if (!old.ok) return old;
        bytes.set(old.value);
      }
      for (let i = oldWidth; i < name.width; i++) bytes.set(fresh[level]![first + i - oldHashes]!, i * HASH_BYTES);
      files.push({ name, bytes });
      if (level > 0) continue;
      const oldEntries = oldWidth > 0 ? await tiles.bundle(name.index, oldWidth) : ok([]);
      if (!oldEntries.ok) return oldEntries;
      const start = first + oldWidth - from;
      const added = entries.slice(start, start + name.width - oldWidth).map(({ bytes }) => bytes);
      const bundle = packBundle([...oldEntries.value, ...added]);
      files.push({ name: { ...name, level: "entries" }, bytes: bundle });
    }
    return ok(files);
  }

  /**
   * Step 2: the stored old edge has the root that was signed, the stored new leaves on it give the tree that is to be
   * signed, and so do the stored upper tiles. LOG_TILE_CORRUPT.
   */
  async #checkStored(from: number, tree: TreeHead): Promise<Result<true>> {
    const { sha256 } = this.#options.crypto;
    const oldPeaks = await this.#storedPeaks(from, tree.size);
    if (!oldPeaks.ok) return oldPeaks;
    const edge = new RightEdge(sha256, from, oldPeaks.value);
    const oldRoot = this.#head?.root ?? emptyRoot(sha256);
    const oldHolds = from === 0 || equalBytes(edge.root(), oldRoot);
    for (let start = from; start < tree.size; start = edge.size) {
      const end = Math.min(tree.size, start - (start % TILE_WIDTH) + TILE_WIDTH);
      const leaves = await this.#storedLeaves(start, end);
      if (!leaves.ok) return leaves;
      for (const { id } of leaves.value) edge.append(id);
    }
    const peaks = await this.#storedPeaks(tree.size, tree.size);
    if (!peaks.ok) return peaks;
    const upper = foldPeaks(sha256, peaks.value);
    if (oldHolds && equalBytes(edge.root(), tree.root) && equalBytes(upper, tree.root)) return ok(true);
    return fail(
      "LOG_TILE_CORRUPT",
      `the files just written for ${tree.size} entries do not give root ${toHex(tree.root)}`,
    );
  }

  /** The complete subtrees of the tree of `size`, out of the tiles of one of `tilesSize`. */
  async #storedPeaks(size: number, tilesSize: number): Promise<Result<Uint8Array[]>> {
    const addresses = peakAddresses(size);
    const plan: PathPlan = [addresses];
    const nodes = await this.#options.tiles.nodes(plan, tilesSize);
    return nodes.ok ? ok(addresses.map(nodes.value)) : nodes;
  }

  /** Entries [start, end) of one bundle, each hashed and held against its tile. LOG_TILE_CORRUPT, LOG_TILE_MISSING. */
  async #storedLeaves(start: number, end: number): Promise<Result<LoggedEntry[]>> {
    const { crypto, tiles, erased } = this.#options;
    const index = Math.floor(start / TILE_WIDTH);
    const width = Math.min(TILE_WIDTH, Math.max(end, this.#edge.size) - index * TILE_WIDTH);
    const bundle = await tiles.bundle(index, width);
    if (!bundle.ok) return bundle;
    const tile = await tiles.tile({ level: 0, index, width });
    if (!tile.ok) return tile;
    const entries: LoggedEntry[] = [];
    for (let i = start; i < end; i++) {
      const at = i % TILE_WIDTH;
      const bytes = bundle.value[at]!;
      const id = erased.leafHash(crypto.sha256, i, bytes);
      if (!equalBytes(id, tile.value.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES))) {
        return fail("LOG_TILE_CORRUPT", `entry ${i} hashes to ${toHex(id)}, its tile has another hash`);
      }
      entries.push({ id, bytes });
    }
    return ok(entries);
  }
}
