/**
 * A folder of backups:
 *
 *   tile/…                       tiles and bundles of the log, as published; what is there is never written again
 *   backup-000001/               one backup: store.sqlite, checkpoint, relay.json, relay-keys.cborseq, with leave keys/
 *   backup-000001/erasures       which entries had been erased by then, and kept/ what is kept of their bundles
 *   backup-000001/SHA256SUMS     of each file that it needs, as sha256sum -c reads it in the folder above
 *   backup-000001/backup.json    its manifest, written last: without it the backup is not one
 *
 * A tile's name says which entries it holds, so that all backups share them; files of no complete backup may be there.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { fromUtf8, toHex, utf8 } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { TILE_WIDTH, type TileName, tileWidth } from "tallystick/log/tile";
import { type Disk, PRIVATE_MODE, writeDurable } from "./log/disk.js";
import { bundlesOf } from "./log/tree-check.js";

export const SUMS_FILE = "SHA256SUMS";
export const MANIFEST_FILE = "backup.json";
/** Files of one backup beside its sums and manifest, by what they are called in it. */
export const BACKUP_FILES = {
  store: "store.sqlite",
  checkpoint: "checkpoint",
  identity: "relay.json",
  relayKeys: "relay-keys.cborseq",
  erasures: "erasures",
  kept: "kept",
  deviceFacingKey: "keys/device-facing.key",
  logKey: "keys/log.key",
  ledgerKey: "keys/ledger.key",
} as const;

export interface BackupManifest {
  readonly format: 1;
  readonly origin: string;
  readonly log_key: string;
  /** Milliseconds since 1970. */
  readonly made_at_ms: number;
  /** Of the checkpoint that the tiles are of. */
  readonly log_size: number;
  readonly log_root: string;
  /** One above the highest index that the database was told of. */
  readonly database_told: number;
  readonly records: number;
  readonly with_keys: boolean;
  readonly files: number;
  readonly bytes: number;
  readonly sums_sha256: string;
}

/** One complete backup in a folder. */
export interface FoundBackup {
  readonly name: string;
  readonly manifest: BackupManifest;
}

/** Names of the backups in a folder, complete or not, oldest first. */
export async function backupNames(disk: Disk, folder: string): Promise<string[]> {
  return (await disk.list(folder)).filter((name) => /^backup-[0-9]{6}$/.test(name)).sort();
}

/** The complete ones, oldest first. */
export async function completeBackups(disk: Disk, folder: string): Promise<FoundBackup[]> {
  const found: FoundBackup[] = [];
  for (const name of await backupNames(disk, folder)) {
    const manifest = readManifest(await disk.read(join(folder, name, MANIFEST_FILE)));
    if (manifest) found.push({ name, manifest });
  }
  return found;
}

function readManifest(bytes: Uint8Array | undefined): BackupManifest | undefined {
  if (!bytes) return undefined;
  try {
    const value: unknown = JSON.parse(fromUtf8(bytes) ?? "");
    if (typeof value !== "object" || value === null) return undefined;
    const manifest = value as Record<keyof BackupManifest, unknown>;
    const numbers = [manifest.made_at_ms, manifest.log_size, manifest.database_told, manifest.records, manifest.files];
    const texts = [manifest.origin, manifest.log_key, manifest.log_root, manifest.sums_sha256];
    const whole = manifest.format === 1 && typeof manifest.with_keys === "boolean";
    return whole && numbers.every(Number.isSafeInteger) && texts.every((text) => typeof text === "string")
      ? (value as BackupManifest)
      : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 in hexadecimal by path below the folder of backups. */
export type Sums = ReadonlyMap<string, string>;

/** Writes sums, then manifest: with that the backup is complete. */
export async function completeBackup(
  disk: Disk,
  folder: string,
  name: string,
  sums: Sums,
  manifest: Omit<BackupManifest, "sums_sha256" | "files">,
): Promise<BackupManifest> {
  const text = utf8(
    [...sums]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, sum]) => `${sum}  ${path}\n`)
      .join(""),
  );
  await writeDurable(disk, join(folder, name, SUMS_FILE), text, PRIVATE_MODE);
  const whole: BackupManifest = { ...manifest, files: sums.size, sums_sha256: sha256Of(text) };
  await writeDurable(
    disk,
    join(folder, name, MANIFEST_FILE),
    utf8(`${JSON.stringify(whole, null, 2)}\n`),
    PRIVATE_MODE,
  );
  return whole;
}

/** The sums of a complete backup. BACKUP_DAMAGED. */
export async function readSums(disk: Disk, folder: string, { name, manifest }: FoundBackup): Promise<Result<Sums>> {
  const bytes = await disk.read(join(folder, name, SUMS_FILE));
  const received = bytes ? sha256Of(bytes) : "no file";
  if (!bytes || received !== manifest.sums_sha256)
    return fail(
      "BACKUP_DAMAGED",
      `${name}/${SUMS_FILE}: expected SHA-256 ${manifest.sums_sha256}, received ${received}`,
    );
  const sums = new Map<string, string>();
  for (const line of (fromUtf8(bytes) ?? "").split("\n")) {
    const match = /^([0-9a-f]{64}) {2}(?!\/)(?!.*\.\.\/)(.+)$/.exec(line);
    if (match) sums.set(match[2]!, match[1]!);
  }
  return sums.size === manifest.files
    ? ok(sums)
    : fail("BACKUP_DAMAGED", `${name}/${SUMS_FILE}: expected ${manifest.files} lines, received ${sums.size}`);
}

/** Every file against its sum; the first that differs is named. BACKUP_DAMAGED. */
export async function checkSums(folder: string, sums: Sums): Promise<Result<true>> {
  for (const [path, expected] of sums) {
    const received = await sha256OfFile(join(folder, path));
    if (received !== expected)
      return fail("BACKUP_DAMAGED", `${path}: expected SHA-256 ${expected}, received ${received ?? "no file"}`);
  }
  return ok(true);
}

export function sha256Of(bytes: Uint8Array): string {
  return toHex(new Uint8Array(createHash("sha256").update(bytes).digest()));
}

/** Undefined where the file cannot be read. Never whole in memory: a database may be large. */
export async function sha256OfFile(path: string): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    return hash.digest("hex");
  } catch {
    return undefined;
  }
}

/** Every file that a tree of `size` consists of, bundle by bundle, each tile behind the last one below it. */
export function* filesOfTree(size: number): IterableIterator<TileName> {
  for (let index = 0; index < bundlesOf(size); index++) {
    yield { level: "entries", index, width: tileWidth(0, index, size) };
    yield { level: 0, index, width: tileWidth(0, index, size) };
  }
  for (let level = 1; Math.floor(size / TILE_WIDTH ** level) > 0; level++)
    for (let index = 0; tileWidth(level, index, size) > 0; index++)
      yield { level, index, width: tileWidth(level, index, size) };
}
