/**
 * Takes entries out of the log's files: first what is kept of their bundles is written, without them; then, once the caller
 * has made durable that it is so, they leave bundles that were kept before, and the others are published no more. Each half may
 * be done again after a crash. Neither needs a tree: every file of a bundle is treated alike, whatever checkpoint needs it.
 */
import { basename, dirname, join } from "node:path";
import { ok, type Result } from "tallystick/codes/codes";
import { packBundle, TILE_WIDTH, tilePath, unpackBundle } from "tallystick/log/tile";
import { type Disk, PUBLIC_MODE, temporary, writeInPlace } from "./disk.js";
import { ErasedEntries, type ErasedRecord } from "./erasures.js";

export interface EraseOptions {
  readonly disk: Disk;
  /** The folder of checkpoint and tiles. */
  readonly folder: string;
  /** Of what is kept of bundles that are not published. */
  readonly keptFolder: string;
}

/**
 * Writes what is kept of each of the bundles: its entries as `blank` gives them. LOG_TILE_CORRUPT where a bundle cannot be
 * taken apart; DiskError.
 */
async function keepRests(
  { disk, folder, keptFolder }: EraseOptions,
  bundles: readonly number[],
  blank: (bundle: number, entries: readonly Uint8Array[]) => Uint8Array[],
): Promise<Result<true>> {
  for (const bundle of bundles) {
    const to = join(keptFolder, bundlePath(bundle));
    // What is kept already has less in it than what was published, and stands for it.
    const published = await filesOf(disk, join(folder, bundlePath(bundle)));
    const files = [...new Map([...published, ...(await filesOf(disk, to))])].sort(([a], [b]) => b - a);
    let isRead = false;
    for (const [width, file] of files) {
      const bytes = await disk.read(file);
      const entries = bytes && unpackBundle(bytes, width);
      if (!entries) continue;
      // A narrower file is the beginning of a wider one, and goes where it is damaged.
      if (!entries.ok && !isRead) return entries;
      if (!entries.ok) continue;
      isRead = true;
      const path = width === TILE_WIDTH ? to : join(`${to}.p`, String(width));
      await disk.makeFolder(dirname(path));
      await writeInPlace(disk, path, packBundle(blank(bundle, entries.value)), PUBLIC_MODE);
      await disk.syncFolder(dirname(path));
    }
    for (const folder of [dirname(to), `${to}.p`])
      for (const name of await disk.list(folder))
        if (name.endsWith(temporary(""))) await disk.remove(join(folder, name));
    await syncAbove(disk, dirname(to), dirname(keptFolder));
  }
  return ok(true);
}

/**
 * Erases `records` of the log whose readers know what `erased` says: `remember` makes durable that they are erased, after what
 * is kept was written and before the rest is removed. LOG_TILE_CORRUPT, and what `remember` answers: then no reader knows yet.
 */
export async function eraseEntries(
  { disk, folder }: Omit<EraseOptions, "keptFolder">,
  erased: ErasedEntries,
  records: readonly ErasedRecord[],
  remember: () => Promise<Result<true>>,
): Promise<Result<true>> {
  const options = { disk, folder, keptFolder: erased.keptFolder };
  const intended = new ErasedEntries(erased.keptFolder, [{ records }]);
  // Until it is remembered everything is read as it was: also a bundle that is kept already has to hold these entries still.
  const published = intended.bundles.filter((bundle) => !erased.holds(bundle));
  const kept = await keepRests(options, published, (bundle, entries) => intended.blank(bundle, entries));
  if (!kept.ok) return kept;
  const remembered = await remember();
  if (!remembered.ok) return remembered;
  erased.add({ records });
  const again = await keepRests(options, intended.bundles, (bundle, entries) => erased.blank(bundle, entries));
  if (!again.ok) return again;
  await unpublish(options, intended.bundles);
  return ok(true);
}

/**
 * What a folder lacks that was put back from before an erasure: bundles are kept of what is published there, which is then
 * published no more.
 */
export async function eraseAgain(
  options: Omit<EraseOptions, "keptFolder">,
  erased: ErasedEntries,
): Promise<Result<true>> {
  const { disk } = options;
  const { keptFolder } = erased;
  for (const bundle of erased.bundles) {
    if ((await filesOf(disk, join(keptFolder, bundlePath(bundle)))).size > 0) continue;
    const kept = await keepRests({ ...options, keptFolder }, [bundle], (index, entries) =>
      erased.blank(index, entries),
    );
    if (!kept.ok) return kept;
  }
  await unpublish(options, erased.bundles);
  return ok(true);
}

/** Paths below `folder` of the files of a bundle, as they are there. */
export async function bundleFiles(
  { disk, folder }: Omit<EraseOptions, "keptFolder">,
  bundle: number,
): Promise<string[]> {
  const files = await filesOf(disk, join(folder, bundlePath(bundle)));
  return [...files.keys()].map((width) => tilePath({ level: "entries", index: bundle, width }));
}

/** Files of bundles with erased entries that are published all the same, below the public folder. */
export async function published(
  { disk, folder }: Omit<EraseOptions, "keptFolder">,
  erased: ErasedEntries,
): Promise<string[]> {
  const found: string[] = [];
  for (const bundle of erased.bundles) {
    const path = bundlePath(bundle);
    const names = await disk.list(dirname(join(folder, path)));
    found.push(...[path, `${path}.p`].filter((each) => names.includes(basename(each))));
  }
  return found;
}

/** Removes the published files of bundles that are kept without some of their entries; nothing happens where they are gone. */
async function unpublish(
  { disk, folder }: Omit<EraseOptions, "keptFolder">,
  bundles: readonly number[],
): Promise<void> {
  for (const bundle of bundles) {
    const path = join(folder, bundlePath(bundle));
    const names = await disk.list(dirname(path));
    const own = [path, temporary(path), `${path}.p`].filter((each) => names.includes(basename(each)));
    for (const each of own) await disk.remove(each);
    if (own.length > 0) await disk.syncFolder(dirname(path));
  }
}

/** Files of a bundle by their width. */
async function filesOf(disk: Disk, path: string): Promise<ReadonlyMap<number, string>> {
  const files = new Map<number, string>();
  for (const name of await disk.list(`${path}.p`))
    if (/^[1-9][0-9]{0,2}$/.test(name)) files.set(Number(name), join(`${path}.p`, name));
  if ((await disk.list(dirname(path))).includes(basename(path))) files.set(TILE_WIDTH, path);
  return files;
}

/** A folder that was just made has its name in the one above. */
async function syncAbove(disk: Disk, folder: string, end: string): Promise<void> {
  for (let path = folder; path !== end && path !== dirname(path); path = dirname(path))
    await disk.syncFolder(dirname(path));
}

function bundlePath(index: number): string {
  return tilePath({ level: "entries", index, width: TILE_WIDTH });
}
