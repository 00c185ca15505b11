/**
 * The lock: the newest signed checkpoint of the log, kept outside of the database and of the published files. Trusted:
 * what it holds is what the log has signed, and it moves only from what its holder read to what follows. Losing it stops
 * the log (LOG_LOCK_MISSING); nothing here ever starts again from nothing.
 *
 * The file is the checkpoint's own bytes, a signed note: a changed bit is found by the log's own key.
 */
import { join } from "node:path";
import { equalBytes } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { type Disk, makeFolderDurable, PRIVATE_MODE, writeDurable } from "./disk.js";

/** Compare-and-swap over one value. Another implementation may keep it in another system. */
export interface Lock {
  /** The checkpoint's bytes; undefined where none was ever put. */
  read(): Promise<Uint8Array | undefined>;
  /** LOG_LOCK_MOVED where the lock holds something else than `expected`. */
  expect(expected: Uint8Array | undefined): Promise<Result<true>>;
  /**
   * Puts `next` where `expected` is, durable on return. LOG_LOCK_MOVED where something else is: another process, or
   * another copy of this one, has been at work.
   */
  replace(expected: Uint8Array | undefined, next: Uint8Array): Promise<Result<true>>;
  /** Lets another process have it. */
  close(): void;
}

const HEAD_FILE = "head";
const HOLDER_FILE = "holder";

/** The lock in a folder of its own, held by this process alone. LOG_LOCK_HELD where another has it. */
export async function openFileLock(disk: Disk, folder: string): Promise<Result<Lock>> {
  await makeFolderDurable(disk, folder);
  const holder = await disk.hold(join(folder, HOLDER_FILE));
  if (holder === undefined) return fail("LOG_LOCK_HELD", `another process holds ${join(folder, HOLDER_FILE)}`);
  const path = join(folder, HEAD_FILE);
  const expect: Lock["expect"] = async (expected) => {
    const found = await disk.read(path);
    const same = expected === undefined ? found === undefined : found !== undefined && equalBytes(found, expected);
    if (same) return ok(true);
    return fail("LOG_LOCK_MOVED", `expected in ${path} what was read there before, received something else`);
  };
  return ok({
    read: () => disk.read(path),
    expect,
    async replace(expected, next) {
      const unmoved = await expect(expected);
      if (!unmoved.ok) return unmoved;
      await writeDurable(disk, path, next, PRIVATE_MODE);
      return ok(true);
    },
    close: () => holder.release(),
  });
}
