/**
 * Which entries were erased, as everything that reads the log's files knows it, and the list that says so.
 *
 * Of an erased entry its leaf hash stays, which is the record's id. Its bundle is published no more, since one that lacks an
 * entry is no bundle; a copy of it in which the erased entries are empty is kept beside, in `kept`, which nobody serves:
 * so that the other entries are not in the database alone.
 *
 * The list is one file beside the log's lock, out of the database and out of backups of it: an older database that is put
 * back learns from it what it may not hold any more. Trusted, and told again by the database where it is lost.
 */
import { readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { fromHex, fromUtf8, toHex, utf8 } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import { parseTilePath, TILE_WIDTH } from "tallystick/log/tile";
import { leafHash } from "tallystick/merkle/merkle";
import { type Disk, makeFolderDurable, PRIVATE_MODE, writeDurable } from "./disk.js";

/** Records of one erasure, and of all: their names are in memory while a relay runs. */
export const ERASURE_MAX_RECORDS = 65_536;
export const ERASED_MAX_RECORDS = 262_144;

/** What is kept of an erased record: its names, and what the next record of its chain is held against. */
export interface ErasedRecord {
  readonly seq: number;
  readonly id: Uint8Array;
  /** Its index in the log; undefined of one that stood beside its chain, and never entered the log. */
  readonly entry: number | undefined;
  readonly prev: Uint8Array;
  readonly kind: number;
  readonly boot: number;
  readonly uptimeMs: number;
}

export interface Erasure {
  /** From 1, in the order in which they were decided. */
  readonly number: number;
  readonly kid: Uint8Array;
  /** Positions, both included. */
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  /** Who decided it, as the system names him. */
  readonly by: string;
  readonly askedAtMs: number;
  readonly records: readonly ErasedRecord[];
}

/** By bundle and place in it, the ids of erased entries; and the folder of what is kept of their bundles. */
export class ErasedEntries {
  readonly keptFolder: string;
  readonly #bundles: Map<number, Map<number, Uint8Array>>;

  constructor(keptFolder: string, erasures: readonly Pick<Erasure, "records">[] = [], shared?: ErasedEntries) {
    this.keptFolder = keptFolder;
    this.#bundles = shared ? shared.#bundles : new Map();
    for (const erasure of erasures) this.add(erasure);
  }

  /** The same entries, kept in another folder. */
  in(keptFolder: string): ErasedEntries {
    return new ErasedEntries(keptFolder, [], this);
  }

  add({ records }: Pick<Erasure, "records">): void {
    for (const { entry, id } of records) {
      if (entry === undefined) continue;
      const bundle = Math.floor(entry / TILE_WIDTH);
      const places = this.#bundles.get(bundle) ?? new Map<number, Uint8Array>();
      this.#bundles.set(bundle, places.set(entry % TILE_WIDTH, id));
    }
  }

  /** Bundles that are not published any more. */
  get bundles(): readonly number[] {
    return [...this.#bundles.keys()];
  }

  holds(bundle: number): boolean {
    return this.#bundles.has(bundle);
  }

  /** Whether the bundle at a tile's path is kept, and not published. */
  isKept(path: string): boolean {
    const name = parseTilePath(path);
    return name?.level === "entries" && this.holds(name.index);
  }

  /** The id of an erased entry; undefined of one that is there. */
  idOf(index: number): Uint8Array | undefined {
    return this.#bundles.get(Math.floor(index / TILE_WIDTH))?.get(index % TILE_WIDTH);
  }

  /** The leaf hash of the entry at `index`, of its bytes where it has any. */
  leafHash(sha256: Sha256, index: number, bytes: Uint8Array): Uint8Array {
    return this.idOf(index) ?? leafHash(sha256, bytes);
  }

  /** A bundle's entries, those that were erased empty. */
  blank(bundle: number, entries: readonly Uint8Array[]): Uint8Array[] {
    const places = this.#bundles.get(bundle);
    return entries.map((bytes, at) => (places?.has(at) ? NOTHING : bytes));
  }
}

const NOTHING = new Uint8Array(0);

/**
 * The same as a process knows it that follows the log: another one erases, and writes the list before it removes anything. So
 * the list is looked at whenever something is asked, and read where it is another file than before.
 */
export class FollowedErasures extends ErasedEntries {
  readonly #list: string;
  /** Which file was read last. */
  #seen = "";

  /** `erasures`: what is known of the list in `list` without it. */
  constructor(keptFolder: string, list: string, erasures: readonly Erasure[]) {
    super(keptFolder, erasures);
    this.#list = list;
  }

  override get bundles(): readonly number[] {
    this.#look();
    return super.bundles;
  }

  override holds(bundle: number): boolean {
    this.#look();
    return super.holds(bundle);
  }

  override idOf(index: number): Uint8Array | undefined {
    this.#look();
    return super.idOf(index);
  }

  override blank(bundle: number, entries: readonly Uint8Array[]): Uint8Array[] {
    this.#look();
    return super.blank(bundle, entries);
  }

  #look(): void {
    const found = statSync(this.#list, { bigint: true, throwIfNoEntry: false });
    const seen = found ? `${found.ino} ${found.size} ${found.mtimeNs}` : "";
    if (seen === this.#seen || seen === "") return;
    const erasures = parseErasures(new Uint8Array(readFileSync(this.#list)), this.#list);
    // What is wrong with a list its writer and fsck say; nothing that was known is forgotten for it.
    if (erasures.ok) for (const erasure of erasures.value) this.add(erasure);
    this.#seen = seen;
  }
}

/** What the list holds; none where there is no file. ERASURES_CORRUPT. */
export async function readErasures(disk: Disk, path: string): Promise<Result<readonly Erasure[]>> {
  const bytes = await disk.read(path);
  return bytes ? parseErasures(bytes, path) : ok([]);
}

function parseErasures(bytes: Uint8Array, path: string): Result<readonly Erasure[]> {
  const erasures: Erasure[] = [];
  // Written whole, so that there is no line without its end.
  for (const line of (fromUtf8(bytes) ?? "?").split("\n").slice(0, -1)) {
    const erasure = parse(line);
    if (!erasure) return fail("ERASURES_CORRUPT", `expected an erasure in line ${erasures.length + 1} of ${path}`);
    erasures.push(erasure);
  }
  if (bytes.length > 0 && bytes[bytes.length - 1] !== 0x0a)
    return fail("ERASURES_CORRUPT", `expected a whole last line in ${path}`);
  return ok(erasures);
}

/** Replaces the list by one that says more; durable on return. */
export async function writeErasures(disk: Disk, path: string, erasures: readonly Erasure[]): Promise<void> {
  await makeFolderDurable(disk, dirname(path));
  await writeDurable(disk, path, erasuresText(erasures), PRIVATE_MODE);
}

/** The list's bytes. */
export function erasuresText(erasures: readonly Erasure[]): Uint8Array {
  return utf8(erasures.map(format).join(""));
}

/** Both lists in one: where both have a number, it is the same erasure. */
export function uniteErasures(some: readonly Erasure[], others: readonly Erasure[]): readonly Erasure[] {
  const byNumber = new Map([...others, ...some].map((erasure) => [erasure.number, erasure]));
  return [...byNumber.values()].sort((a, b) => a.number - b.number);
}

type Line = readonly [string, number, string, number, number, string, string, number, readonly RecordLine[]];
type RecordLine = readonly [number, string, number | null, string, number, number, number];
const FORMAT = "erasure/v1";

function format({ number, kid, from, to, reason, by, askedAtMs, records }: Erasure): string {
  const line: Line = [
    FORMAT,
    number,
    toHex(kid),
    from,
    to,
    reason,
    by,
    askedAtMs,
    records.map(({ seq, id, entry, prev, kind, boot, uptimeMs }) => [
      seq,
      toHex(id),
      entry ?? null,
      toHex(prev),
      kind,
      boot,
      uptimeMs,
    ]),
  ];
  return `${JSON.stringify(line)}\n`;
}

function parse(text: string): Erasure | undefined {
  try {
    const line = JSON.parse(text) as Line;
    const [form, number, kid, from, to, reason, by, askedAtMs, records] = line;
    const numbers = [number, from, to, askedAtMs];
    if (form !== FORMAT || !numbers.every(isCount) || typeof reason !== "string" || typeof by !== "string")
      return undefined;
    return { number, kid: bytesOf(kid, 8), from, to, reason, by, askedAtMs, records: records.map(parseRecordLine) };
  } catch {
    // Whatever JSON it is, or is not: it is no erasure.
    return undefined;
  }
}

function parseRecordLine([seq, id, entry, prev, kind, boot, uptimeMs]: RecordLine): ErasedRecord {
  if (![seq, kind, boot, uptimeMs].every(isCount) || (entry !== null && !isCount(entry)))
    throw new RangeError("number");
  return { seq, id: bytesOf(id, 32), entry: entry ?? undefined, prev: bytesOf(prev, 32), kind, boot, uptimeMs };
}

function bytesOf(hex: string, length: number): Uint8Array {
  const bytes = fromHex(hex);
  if (bytes?.length !== length) throw new RangeError("bytes");
  return bytes;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
