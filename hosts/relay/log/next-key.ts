/**
 * The change of a log's key. The log goes on as the same tree: the next key begins with the last tree of the former one as
 * its memory, and from the change on lock, memory and published checkpoint are that tree under the next key, so that
 * nothing that opens the log has to know of former keys. Checkpoints and receipts from before stay what they are, under
 * the former key.
 *
 * The former key is not asked: it may be lost, or a thief's. What it signed last is known from what it left, and seen in
 * the tiles before another key stands for it.
 */
import { join } from "node:path";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { foldPeaks, peakAddresses } from "tallystick/merkle/merkle";
import { type Disk, PRIVATE_MODE, writeDurable } from "./disk.js";
import { openFileLock } from "./lock.js";
import { drawSucceedingKey, memoryPath, type SucceedingLogKey } from "./signer.js";
import { TileStore } from "./tiles.js";

/** Where the log is, and by what its signatures are verified. */
export interface KeyChangeOptions {
  readonly disk: Disk;
  readonly crypto: Crypto;
}

/** The last tree that a log's key signed, and what the lock holds. */
export interface LastTree extends TreeHead {
  readonly locked: Uint8Array;
}

/** The next key, and what the lock held when it was drawn. */
export interface NextLogKey extends SucceedingLogKey {
  readonly locked: Uint8Array;
}

/**
 * The last tree of the log in `folder`, by what its key `former` left; nothing is written. LOG_LOCK_MISSING,
 * LOG_LOCK_CORRUPT, LOG_LOCK_HELD; LOG_SIGNER_STATE_CORRUPT where the former key is there without its memory, or with
 * another's; LOG_FORKED, LOG_TILE_CORRUPT and LOG_TILE_MISSING where the tiles do not hold what was signed.
 */
export async function lastLogTree(
  folder: string,
  former: VerifierKey,
  options: KeyChangeOptions,
): Promise<Result<LastTree>> {
  const lock = await openFileLock(options.disk, join(folder, "lock"));
  if (!lock.ok) return lock;
  try {
    const locked = await lock.value.read();
    if (locked === undefined) return fail("LOG_LOCK_MISSING", "expected the log's lock, received none");
    const tree = await lastTree(folder, former, locked, options);
    return tree.ok ? ok({ ...tree.value, locked }) : tree;
  } finally {
    lock.value.close();
  }
}

/** Draws the key that goes on from `last` in the log named `origin`; nothing is written. SIGNER_FAULT. */
export function drawNextLogKey(
  origin: string,
  { locked, ...tree }: LastTree,
  options: { readonly crypto: Crypto; readonly entropy: Entropy },
): Result<NextLogKey> {
  const drawn = drawSucceedingKey(options, origin, tree);
  return drawn.ok ? ok({ ...drawn.value, locked }) : drawn;
}

/** The largest tree that `former` left a signature of; the others, and the tiles, must agree with it. */
async function lastTree(
  folder: string,
  former: VerifierKey,
  locked: Uint8Array,
  { disk, crypto }: KeyChangeOptions,
): Promise<Result<TreeHead>> {
  const lock = openCheckpoint(crypto, locked, former);
  if (!lock.ok) return fail("LOG_LOCK_CORRUPT", lock.failure.detail);
  const trees: (TreeHead & { readonly whence: string })[] = [{ ...lock.value, whence: "the lock" }];
  const path = memoryPath(join(folder, "key"));
  const remembered = await disk.read(path);
  if (remembered !== undefined) {
    // A signature may have been remembered and not have left: it still is the last of its key.
    const memory = openCheckpoint(crypto, remembered, former);
    if (!memory.ok) return fail("LOG_SIGNER_STATE_CORRUPT", `${path}: ${memory.failure.detail}`);
    trees.push({ ...memory.value, whence: "the key's memory" });
  } else if ((await disk.read(join(folder, "key"))) !== undefined) {
    return fail("LOG_SIGNER_STATE_CORRUPT", `expected the key's memory in ${path}, received none`);
  }
  const tiles = new TileStore(disk, crypto.sha256, join(folder, "public"));
  const publishedBytes = await tiles.checkpoint();
  // A copy of what the lock holds, or held: where it cannot be read it is written anew.
  const published = publishedBytes && openCheckpoint(crypto, publishedBytes, former);
  if (published?.ok) trees.push({ ...published.value, whence: "the published checkpoint" });
  const last = trees.reduce((largest, tree) => (tree.size > largest.size ? tree : largest));
  for (const { size, root, whence } of trees) {
    const addresses = peakAddresses(size);
    const nodes = await tiles.nodes([addresses], last.size);
    if (!nodes.ok) return nodes;
    const stored = foldPeaks(crypto.sha256, addresses.map(nodes.value));
    if (equalBytes(stored, root)) continue;
    const detail = `at size ${size} the tiles have ${toHex(stored)}, but ${whence} has ${toHex(root)}`;
    return fail(size === last.size ? "LOG_TILE_CORRUPT" : "LOG_FORKED", detail);
  }
  return ok({ size: last.size, root: last.root });
}

/**
 * Puts the drawn key in the former one's place. Done again after a crash it comes to the same; it is to be finished before
 * anything opens the log. LOG_LOCK_MOVED, with nothing changed, where the lock holds what it did not hold at the drawing:
 * the log went on under another key.
 */
export async function putNextLogKey(
  folder: string,
  { file, checkpoint, locked }: Omit<NextLogKey, "key">,
  { disk, crypto }: KeyChangeOptions,
): Promise<Result<true>> {
  const lock = await openFileLock(disk, join(folder, "lock"));
  if (!lock.ok) return lock;
  try {
    const found = await lock.value.read();
    if (found === undefined || !equalBytes(found, checkpoint)) {
      const moved = await lock.value.replace(locked, checkpoint);
      if (!moved.ok) return moved;
    }
    const keyPath = join(folder, "key");
    await writeDurable(disk, memoryPath(keyPath), checkpoint, PRIVATE_MODE);
    await writeDurable(disk, keyPath, file, PRIVATE_MODE);
    await new TileStore(disk, crypto.sha256, join(folder, "public")).publish(checkpoint);
    return ok(true);
  } finally {
    lock.value.close();
  }
}
