/**
 * The key file of one who signs notes, a log or a witness: one line in the form of Go's sumdb/note,
 * `PRIVATE+KEY+<name>+<id>+<base64 of type ‖ seed>`.
 */
import { fromBase64, toBase64 } from "tallystick/bytes/base64";
import { concatBytes, fromUtf8, toHex, utf8 } from "tallystick/bytes/bytes";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { SEED_BYTES, verifySignature } from "tallystick/identity/ed25519";
import { type SignatureType, type VerifierKey, verifierKey } from "tallystick/log/note";

/** What goes in front of a key's line, as Go's sumdb/note writes it. */
export const KEY_PREFIX = "PRIVATE+KEY+";
const KEY_FILE_MAX_BYTES = 1024;

export interface DrawnKey {
  readonly key: VerifierKey;
  readonly seed: Uint8Array;
  /** The key file's bytes. */
  readonly file: Uint8Array;
}

/** Draws a key; nothing of it is on the disk yet. */
export function drawKey(
  { crypto, entropy }: { readonly crypto: Crypto; readonly entropy: Entropy },
  name: string,
  type: SignatureType,
): DrawnKey {
  const seed = entropy.bytes(SEED_BYTES);
  const key = verifierKey(crypto.sha256, name, type, crypto.ed25519.publicKey(seed));
  const encoded = toBase64(concatBytes(Uint8Array.of(type), seed));
  return { key, seed, file: utf8(`${KEY_PREFIX}${name}+${toHex(key.id)}+${encoded}\n`) };
}

/** The key in a file's bytes; undefined where it is not one of `type`, or not of `name` where one is given. */
export function readKeyFile(
  crypto: Crypto,
  file: Uint8Array,
  type: SignatureType,
  name?: string,
): { readonly key: VerifierKey; readonly seed: Uint8Array } | undefined {
  const line = file.length <= KEY_FILE_MAX_BYTES ? fromUtf8(file) : undefined;
  if (line === undefined || !line.startsWith(KEY_PREFIX) || !line.endsWith("\n")) return undefined;
  const [found, id, ...encoded] = line.slice(KEY_PREFIX.length, -1).split("+");
  const bytes = fromBase64(encoded.join("+"));
  if (!found || (name !== undefined && found !== name)) return undefined;
  if (bytes?.length !== 1 + SEED_BYTES || bytes[0] !== type) return undefined;
  const seed = bytes.slice(1);
  // The id is of the public key: it shows a flipped bit of the seed before anything is signed with it.
  const key = verifierKey(crypto.sha256, found, type, crypto.ed25519.publicKey(seed));
  return toHex(key.id) === id ? { key, seed } : undefined;
}

/** Undefined where what was made does not verify: a flipped bit in memory can turn a signature into the key. */
export function signVerified(
  { ed25519 }: Crypto,
  { publicKey }: VerifierKey,
  seed: Uint8Array,
  message: Uint8Array,
): Uint8Array | undefined {
  const signature = ed25519.sign(message, seed, publicKey);
  return verifySignature(ed25519, signature, message, publicKey) ? signature : undefined;
}
