import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Durable small values of one simulated board, by domain and name. It holds the device's key: trusted, and its loss ends the chain. */
export interface KeyCells {
  read(domain: string, name: string): Uint8Array | undefined;
  /** Durable, all or nothing, when it returns; throws where it cannot be. */
  write(domain: string, name: string, value: Uint8Array): void;
  delete(domain: string, name: string): void;
  /** Names in a domain, sorted. */
  list(domain: string): string[];
}

/** All names of all domains together, of one board. */
export const KEYS_MAX = 256;

/** Key cells in memory: they outlive the board's starts, not the process. */
export class MemoryKeys implements KeyCells {
  readonly values = new Map<string, Uint8Array>();

  read(domain: string, name: string): Uint8Array | undefined {
    return this.values.get(path(domain, name))?.slice();
  }

  write(domain: string, name: string, value: Uint8Array): void {
    const key = path(domain, name);
    if (!this.values.has(key) && this.values.size >= KEYS_MAX) throw new Error(`key store is full: ${KEYS_MAX} keys`);
    this.values.set(key, value.slice());
  }

  delete(domain: string, name: string): void {
    this.values.delete(path(domain, name));
  }

  list(domain: string): string[] {
    const start = path(domain, "");
    return [...this.values.keys()]
      .filter((key) => key.startsWith(start))
      .map((key) => key.slice(start.length))
      .sort();
  }
}

/** A key file that cannot be understood. Nothing replaces it: it may hold the only copy of a device's key. */
export class KeyFileError extends Error {
  override name = "KeyFileError";
}

/**
 * Key cells in one file (JSON, values in hexadecimal, mode 0600). Each change writes a new file beside it, syncs it,
 * renames it over the old one and syncs the folder: after a crash the file holds the state before or after, never less.
 */
export class FileKeys implements KeyCells {
  readonly #file: string;
  readonly #memory = new MemoryKeys();

  /** Reads what is there; a missing file is an empty store, an unreadable one throws KeyFileError. */
  constructor(file: string) {
    this.#file = file;
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    for (const [key, hex] of entriesOf(text, file))
      this.#memory.values.set(key, new Uint8Array(Buffer.from(hex, "hex")));
  }

  read(domain: string, name: string): Uint8Array | undefined {
    return this.#memory.read(domain, name);
  }

  write(domain: string, name: string, value: Uint8Array): void {
    const before = this.#memory.read(domain, name);
    this.#memory.write(domain, name, value);
    try {
      this.#save();
    } catch (error) {
      if (before === undefined) this.#memory.delete(domain, name);
      else this.#memory.write(domain, name, before);
      throw error;
    }
  }

  delete(domain: string, name: string): void {
    const before = this.#memory.read(domain, name);
    if (before === undefined) return;
    this.#memory.delete(domain, name);
    try {
      this.#save();
    } catch (error) {
      this.#memory.write(domain, name, before);
      throw error;
    }
  }

  list(domain: string): string[] {
    return this.#memory.list(domain);
  }

  #save(): void {
    const keys: Record<string, string> = {};
    for (const [key, value] of this.#memory.values) keys[key] = Buffer.from(value).toString("hex");
    const next = `${this.#file}.next`;
    const descriptor = openSync(next, "w", 0o600);
    try {
      writeFileSync(descriptor, `${JSON.stringify({ version: 1, keys }, undefined, 1)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(next, this.#file);
    const folder = openSync(dirname(this.#file), "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
}

function entriesOf(text: string, file: string): [string, string][] {
  const refuse = (detail: string) =>
    new KeyFileError(`${file}: ${detail}; restore it from a copy, or move it away to start a new device`);
  let content: { version?: unknown; keys?: unknown };
  try {
    content = JSON.parse(text);
  } catch {
    throw refuse("expected JSON");
  }
  if (content === null || typeof content !== "object" || content.version !== 1)
    throw refuse("expected a key file of version 1");
  if (content.keys === null || typeof content.keys !== "object" || Array.isArray(content.keys))
    throw refuse("expected an object of keys");
  const entries = Object.entries(content.keys as Record<string, unknown>);
  if (entries.length > KEYS_MAX) throw refuse(`expected at most ${KEYS_MAX} keys, got ${entries.length}`);
  for (const [key, hex] of entries)
    if (typeof hex !== "string" || !/^(?:[0-9a-f]{2})*$/.test(hex)) throw refuse(`key ${key} is not hexadecimal`);
  return entries as [string, string][];
}

function path(domain: string, name: string): string {
  // Names may hold any printable character, so that a length, not a separator, ends the domain.
  return `${domain.length}:${domain}${name}`;
}
