import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { OMISSION_RELAY_KEYS_MAX } from "tallystick/evidence/omission-keys";
import { NOTE_MAX_BYTES } from "tallystick/log/note";
import { readRelayKey } from "tallystick/log/relay-key";
import {
  CHECKPOINT_PATH,
  ENTRY_MAX_BYTES,
  parseTilePath,
  TILE_WIDTH,
  type TileName,
  tilePath,
  tileWidth,
} from "tallystick/log/tile";
import { HASH_BYTES } from "tallystick/merkle/merkle";
import { ANSWER_MAX_BYTES } from "tallystick/sync/messages";
import { RELAY_KEYS_MAX, splitRelayKeys } from "tallystick/sync/relay-key";
import { ask } from "../ask.js";
import { readInput } from "../file.js";

/** Where a log's public files are read: a folder that holds them as C2SP tlog-tiles lays them out, or an address. */

/** Tiles that are under way at one time. */
export const TILES_AHEAD = 8;
/** A full bundle of the longest entries, each behind its length. */
const BUNDLE_FILE_MAX_BYTES = TILE_WIDTH * (2 + ENTRY_MAX_BYTES);
/** HTTP's status of a bundle that a relay withholds. */
const GONE = 410;
const TILE_MAX_BYTES = TILE_WIDTH * HASH_BYTES;

export interface LogSource {
  /** A file below the log's prefix. LOG_FILE_ABSENT, LOG_ENTRY_ERASED of one that is withheld, SERVER_UNREACHABLE, FILE_UNREADABLE. */
  file(path: string, maxBytes: number): Promise<Result<Uint8Array>>;
  /** Of a partial tile or bundle: a wider one that is there in its place. */
  wider(name: TileName): TileName | undefined;
  /** Statements by which the relay's keys have changed, where it is a relay that has some. */
  relayKeys(): Promise<Result<Uint8Array[]>>;
}

/** An address begins with its scheme; all else is a folder. */
export function openSource(where: string): LogSource {
  return /^https?:\/\//.test(where) ? new ServedLog(where.replace(/\/+$/, "")) : new LogFolder(where);
}

/** The log's newest checkpoint, with the cosignatures that have come. */
export function readCheckpoint(source: LogSource): Promise<Result<Uint8Array>> {
  return source.file(CHECKPOINT_PATH, NOTE_MAX_BYTES);
}

/** Leaf 0's entry, as the first bundle of a log of `size` has it. Its failure where the bundle is gone, or no bundle. */
export async function readOpeningEntry(source: LogSource, size: number): Promise<Result<Uint8Array>> {
  const name: TileName = { level: "entries", index: 0, width: tileWidth(0, 0, size) };
  const bundle = await fileOf(source, name, BUNDLE_FILE_MAX_BYTES);
  if (bundle.ok) return firstEntry(bundle.value, tilePath(name));
  const { code, detail } = bundle.failure;
  if (code === "LOG_ENTRY_ERASED")
    return fail(code, `${detail} is withheld, since an entry in it was erased: ${OTHERWISE}`);
  return code === "LOG_FILE_ABSENT" ? fail(code, `${detail}; where the log withholds it, ${OTHERWISE}`) : bundle;
}

const OTHERWISE = "name a copy with --opening <file>, or the relay's key with --relay-key <did:key>";

/** Leaf 0's entry in a file that somebody has kept: that itself, or the bundle that it is the first of. */
export function readKeptOpening(file: string): Result<Uint8Array> {
  const bytes = readInput(file, BUNDLE_FILE_MAX_BYTES);
  if (!bytes.ok) return bytes;
  const isStatement = STATEMENT_BEGINS.every((byte, i) => bytes.value[i] === byte);
  return isStatement ? bytes : firstEntry(bytes.value, file);
}

/** A tagged COSE_Sign1. A bundle begins with the length of its first entry, and no opening is as long as this says. */
const STATEMENT_BEGINS = [0xd2, 0x84];

function firstEntry(bundle: Uint8Array, name: string): Result<Uint8Array> {
  const length = ((bundle[0] ?? 0) << 8) | (bundle[1] ?? 0);
  if (bundle.length < 2 + length)
    return fail("LOG_TILE_CORRUPT", `${name}: expected an entry of ${length} bytes, received the bundle's end`);
  return ok(bundle.slice(2, 2 + length));
}

/** The leaf hashes of a log of `size`, a tile at a time and in their order, up to the first that is not there. */
export async function* readLeaves(source: LogSource, size: number): AsyncGenerator<Result<Uint8Array>> {
  const tiles = Math.ceil(size / TILE_WIDTH);
  const ahead: Promise<Result<Uint8Array>>[] = [];
  for (let next = 0, index = 0; index < tiles; index++) {
    while (next < tiles && ahead.length < TILES_AHEAD) ahead.push(readTile(source, next++, size));
    const hashes = await ahead.shift()!;
    yield hashes;
    if (!hashes.ok) return;
  }
}

async function readTile(source: LogSource, index: number, size: number): Promise<Result<Uint8Array>> {
  const name: TileName = { level: 0, index, width: tileWidth(0, index, size) };
  const tile = await fileOf(source, name, TILE_MAX_BYTES);
  if (!tile.ok) return tile;
  const expected = name.width * HASH_BYTES;
  if (tile.value.length >= expected) return ok(tile.value.subarray(0, expected));
  return fail("LOG_TILE_CORRUPT", `${tilePath(name)}: expected ${expected} bytes, received ${tile.value.length}`);
}

/** A partial file may have given way to a wider one since, which begins with the same bytes. */
async function fileOf(source: LogSource, name: TileName, maxBytes: number): Promise<Result<Uint8Array>> {
  const found = await source.file(tilePath(name), maxBytes);
  if (found.ok || found.failure.code !== "LOG_FILE_ABSENT") return found;
  const wider = source.wider(name);
  const instead = wider ? await source.file(tilePath(wider), maxBytes) : found;
  return instead.ok || instead.failure.code === "LOG_ENTRY_ERASED" ? instead : found;
}

class LogFolder implements LogSource {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async file(path: string, maxBytes: number): Promise<Result<Uint8Array>> {
    const file = join(this.#folder, path);
    if (!existsSync(file)) return fail("LOG_FILE_ABSENT", `expected ${file}`);
    return readInput(file, maxBytes);
  }

  wider(name: TileName): TileName | undefined {
    const full: TileName = { ...name, width: TILE_WIDTH };
    if (existsSync(join(this.#folder, tilePath(full)))) return full;
    const partials = `${tilePath(full)}.p`;
    const folder = join(this.#folder, partials);
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return undefined;
    const widths = readdirSync(folder).map((width) => parseTilePath(`${partials}/${width}`)?.width ?? 0);
    const width = Math.min(...widths.filter((each) => each > name.width));
    return Number.isFinite(width) ? { ...name, width } : undefined;
  }

  async relayKeys(): Promise<Result<Uint8Array[]>> {
    return ok([]);
  }
}

class ServedLog implements LogSource {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async file(path: string, maxBytes: number): Promise<Result<Uint8Array>> {
    const url = `${this.#url}/${path}`;
    const answer = await ask(url, maxBytes);
    if (!answer.ok) return answer;
    if (answer.value.status === 200) return ok(answer.value.bytes);
    if (answer.value.status === GONE) return fail("LOG_ENTRY_ERASED", url);
    return fail("LOG_FILE_ABSENT", `${url}: expected status 200, received ${answer.value.status}`);
  }

  wider(name: TileName): TileName | undefined {
    return name.width === TILE_WIDTH ? undefined : { ...name, width: TILE_WIDTH };
  }

  async relayKeys(): Promise<Result<Uint8Array[]>> {
    const statements: Uint8Array[] = [];
    let generation = 0;
    while (statements.length < OMISSION_RELAY_KEYS_MAX) {
      const answer = await ask(`${this.#url}/v1/relay/keys?generation=${generation}`, ANSWER_MAX_BYTES);
      if (!answer.ok) return answer;
      // A plain file server has the log's files alone.
      if (answer.value.status !== 200) break;
      const page = splitRelayKeys(answer.value.bytes, RELAY_KEYS_MAX);
      if (!page.ok) return page;
      const last = page.value.at(-1);
      const read = last && readRelayKey(last);
      if (!read) break;
      if (!read.ok) return read;
      statements.push(...page.value);
      // Who answers with the same again would be asked for ever.
      if (read.value.relayKey.generation <= generation) break;
      generation = read.value.relayKey.generation;
    }
    return ok(statements.slice(0, OMISSION_RELAY_KEYS_MAX));
  }
}
