import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { SEED_BYTES } from "tallystick/identity/ed25519";
import { Identity } from "tallystick/identity/identity";
import { relayCrypto } from "../hosts/relay/crypto.js";

/**
 * The key of a maker or an owner: one file of the seed in hexadecimal, for whoever has it alone to read. It counts for as
 * long as the devices live that it is named for, so nothing here ever writes over a file.
 */
const KEY_FILE_MODE = 0o600;
const STATEMENT_FILE_MODE = 0o644;

/** Makes a key in a new file. FILE_EXISTS, FILE_UNWRITABLE. */
export function makeKeyFile(path: string): Result<Identity> {
  const seed = new Uint8Array(randomBytes(SEED_BYTES));
  const written = writeNewFile(path, Buffer.from(`${toHex(seed)}\n`, "ascii"), KEY_FILE_MODE);
  return written.ok ? readKeyFile(path) : written;
}

/** The key of a file. FILE_UNREADABLE, KEY_FILE_UNSAFE, KEY_FILE_MALFORMED. */
export function readKeyFile(path: string): Result<Identity> {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const mode = fstatSync(file).mode & 0o777;
    if (process.platform !== "win32" && (mode & 0o077) !== 0)
      return fail("KEY_FILE_UNSAFE", `expected mode 600 of ${path}, found ${mode.toString(8)}`);
    const seed = fromHex(readFileSync(file, "ascii").trim());
    // What the file holds instead is not told: it may be a key of another kind.
    if (seed?.length !== SEED_BYTES)
      return fail("KEY_FILE_MALFORMED", `${path}: expected ${2 * SEED_BYTES} hexadecimal digits`);
    return ok(Identity.ofSeed(seed, relayCrypto));
  } catch (error) {
    return fail("FILE_UNREADABLE", (error as Error).message);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Writes a statement into a new file: one that is there might be a key. FILE_EXISTS, FILE_UNWRITABLE. */
export function writeStatementFile(path: string, bytes: Uint8Array): Result<void> {
  return writeNewFile(path, bytes, STATEMENT_FILE_MODE);
}

function writeNewFile(path: string, bytes: Uint8Array, mode: number): Result<void> {
  let file: number | undefined;
  try {
    file = openSync(path, "wx", mode);
    writeSync(file, bytes);
    fsyncSync(file);
    return ok(undefined);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return fail("FILE_EXISTS", `expected no file at ${path}, found one`);
    if (file !== undefined) rmSync(path, { force: true });
    return fail("FILE_UNWRITABLE", message);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
