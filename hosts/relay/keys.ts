import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto, Entropy, KeyStore } from "tallystick/identity/crypto";
import { Identity } from "tallystick/identity/identity";
import { writeDurably } from "./folder.js";

/**
 * The relay's device-facing key: devices pin it and take acknowledgements of no other. It is not the log's key, so that
 * neither can stand in for the other. And the offline recovery key, which names another in its place and is kept elsewhere.
 * Each is one file of the seed in hexadecimal, for its owner alone to read.
 */

const KEY_FILE_MODE = 0o600;

/** Randomness of the operating system's generator. */
export const systemEntropy: Entropy = { bytes: (length) => new Uint8Array(randomBytes(length)) };

/** Makes the key of a new relay. KEY_EXISTS where the file is there. */
export function createDeviceFacingKey(path: string, crypto: Crypto, entropy: Entropy): Result<Identity> {
  return Identity.create({ keys: new KeyFile(path), crypto, entropy });
}

/** The key of an existing relay. RELAY_KEY_MISSING, RELAY_KEY_UNSAFE, KEY_UNREADABLE; never a new one. */
export function openDeviceFacingKey(path: string, crypto: Crypto): Result<Identity> {
  return openKey(path, crypto, "device-facing");
}

function openKey(path: string, crypto: Crypto, which: string): Result<Identity> {
  if (!existsSync(path)) return fail("RELAY_KEY_MISSING", `expected the ${which} key ${path}`);
  const mode = statSync(path).mode & 0o777;
  if (process.platform !== "win32" && (mode & 0o077) !== 0)
    return fail("RELAY_KEY_UNSAFE", `expected mode 600 of ${path}, found ${mode.toString(8)}`);
  try {
    const identity = Identity.open({ keys: new KeyFile(path), crypto });
    if (!identity.ok) return identity;
    return identity.value ? ok(identity.value) : fail("RELAY_KEY_MISSING", `expected the ${which} key ${path}`);
  } catch (error) {
    return fail("KEY_UNREADABLE", `${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** Makes a recovery key, to be kept away from the relay. KEY_EXISTS where the file is there; throws the disk's errors. */
export function createRecoveryKey(path: string, crypto: Crypto): Result<Identity> {
  return createDeviceFacingKey(path, crypto, systemEntropy);
}

/** The recovery key in a file. RELAY_KEY_MISSING, RELAY_KEY_UNSAFE, KEY_UNREADABLE. */
export function openRecoveryKey(path: string, crypto: Crypto): Result<Identity> {
  return openKey(path, crypto, "recovery");
}

/** A key file's content. */
export function encodeKeyFile(seed: Uint8Array): string {
  return `${toHex(seed)}\n`;
}

class KeyFile implements KeyStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** No bytes where the file holds something else, which is no seed to anyone. */
  read(): Uint8Array | undefined {
    if (!existsSync(this.#path)) return undefined;
    return fromHex(readFileSync(this.#path, "ascii").trim()) ?? new Uint8Array(0);
  }

  write(_name: string, value: Uint8Array): void {
    writeDurably(this.#path, encodeKeyFile(value), KEY_FILE_MODE);
  }

  delete(): void {
    throw new Error("the relay's key is never deleted by the relay");
  }
}
