/**
 * Files as the log sees them. Each call is one step that a crash can fall before or after, so that tests can put one
 * there; a step that fails throws DiskError.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import SQLite from "better-sqlite3";

export interface Disk {
  /** The file's bytes; undefined where there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Writes a whole file. On return its bytes are durable, its name is not before `syncFolder`. */
  write(path: string, bytes: Uint8Array, mode: number): Promise<void>;
  /** Makes a file's bytes durable that something else has written. */
  syncFile(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>;
  /** Makes a folder, and those above it where they are missing; nothing happens where it is there. */
  makeFolder(path: string): Promise<void>;
  /** Names in a folder; none where there is no folder. */
  list(path: string): Promise<readonly string[]>;
  /** Removes a file or a folder with what is in it; nothing happens where it is gone. */
  remove(path: string): Promise<void>;
  /** Permission bits; undefined where there is no file, or the system has none. */
  mode(path: string): Promise<number | undefined>;
  /** Holds `path` for this process alone until `release` or its death; undefined where another holder lives. */
  hold(path: string): Promise<{ release(): void } | undefined>;
}

/** The disk, or the system in front of it, refused a step. */
export class DiskError extends Error {
  override name = "DiskError";
  constructor(
    readonly step: keyof Disk,
    readonly path: string,
    cause: unknown,
  ) {
    super(`${step} ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Readable by all: what a log publishes. */
export const PUBLIC_MODE = 0o644;
/** Readable by the relay's user alone. */
export const PRIVATE_MODE = 0o600;

/** What a file is called until it is whole. Always the same: one process at a time writes here. */
export function temporary(path: string): string {
  return `${path}.new`;
}

/** Puts a whole file in place: after a crash at any moment the path holds the old bytes or the new. Durable on return. */
export async function writeDurable(disk: Disk, path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await writeInPlace(disk, path, bytes, mode);
  await disk.syncFolder(dirname(path));
}

/** As writeDurable, but the name becomes durable only with the next `syncFolder` of its folder. */
export async function writeInPlace(disk: Disk, path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await disk.write(temporary(path), bytes, mode);
  await disk.rename(temporary(path), path);
}

/** Makes a folder whose parent exists, durable on return. */
export async function makeFolderDurable(disk: Disk, path: string): Promise<void> {
  await disk.makeFolder(path);
  await disk.syncFolder(dirname(path));
}

async function step<T>(name: keyof Disk, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw new DiskError(name, path, cause);
  }
}

function missing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}

/** The machine's own files. */
export const nodeDisk: Disk = {
  read: (path) =>
    step("read", path, async () => {
      try {
        return new Uint8Array(await readFile(path));
      } catch (cause) {
        if (missing(cause)) return undefined;
        throw cause;
      }
    }),

  write: (path, bytes, mode) =>
    step("write", path, async () => {
      const file = await open(path, "w", mode);
      try {
        await file.chmod(mode);
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    }),

  syncFile: (path) =>
    step("syncFile", path, async () => {
      const file = await open(path, "r+");
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }),

  rename: (from, to) => step("rename", from, () => rename(from, to)),

  syncFolder: (path) =>
    step("syncFolder", path, async () => {
      // Windows opens no folder for this; NTFS orders its own metadata.
      if (process.platform === "win32") return;
      const folder = await open(path, "r");
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    }),

  makeFolder: (path) =>
    step("makeFolder", path, async () => {
      await mkdir(path, { recursive: true });
    }),

  list: (path) =>
    step("list", path, async () => {
      try {
        return await readdir(path);
      } catch (cause) {
        if (missing(cause)) return [];
        throw cause;
      }
    }),

  remove: (path) => step("remove", path, () => rm(path, { recursive: true, force: true })),

  mode: (path) =>
    step("mode", path, async () => {
      if (process.platform === "win32") return undefined;
      try {
        return (await stat(path)).mode & 0o777;
      } catch (cause) {
        if (missing(cause)) return undefined;
        throw cause;
      }
    }),

  // Node has no flock. SQLite takes the system's own lock on an empty file, which a dead process cannot keep.
  hold: (path) =>
    step("hold", path, async () => {
      const file = new SQLite(path, { timeout: 0 });
      try {
        file.pragma("locking_mode = EXCLUSIVE");
        file.exec("BEGIN EXCLUSIVE");
      } catch (cause) {
        file.close();
        if (cause instanceof SQLite.SqliteError && cause.code.startsWith("SQLITE_BUSY")) return undefined;
        throw cause;
      }
      return { release: () => file.close() };
    }),
};
