import { createPrivateKey, createPublicKey, hash, sign, verify } from "node:crypto";
import { concatBytes, toHex } from "tallystick/bytes/bytes";
import { explain, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import type { Flash } from "tallystick/journal/flash";
import { Journal } from "tallystick/journal/journal";
import { type RecordSigner, TailReader } from "tallystick/journal/tail";
import { readBody, toBeSigned } from "tallystick/record/record";

export { bodyAfter } from "./cuts/session.js";

/** What the journal's tests share: hashing, signers, records of a wanted size. */

/** In one call: a run of the cuts hashes some hundred million records. */
export const sha256: Sha256 = (bytes) => new Uint8Array(hash("sha256", bytes, "buffer"));

/** A signer that remembers what it signed: `signed` maps kid and position to the one content that was ever signed there. */
export interface LedgeredSigner extends RecordSigner {
  readonly signed: Map<string, string>;
  /** A second content for one position, as soon as there is one. */
  readonly conflict: string | undefined;
}

/** Ed25519 by node:crypto, deterministic as RFC 8032 has it. */
export function ed25519Signer(seed: string): RecordSigner {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), sha256(Buffer.from(seed))]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(privateKey);
  return {
    kid: sha256(Buffer.from(seed)).slice(0, 8),
    sign: (message) => ok(new Uint8Array(sign(null, message, privateKey))),
    verify: (message, signature) => verify(null, message, publicKey, signature),
  };
}

/**
 * A stand-in for Ed25519 where many thousands of records are signed: two SHA-256 over key and message, deterministic and
 * of 64 bytes, verified by making it again. Nothing here is secret.
 */
export function quickSigner(seed: string): RecordSigner {
  const key = sha256(Buffer.from(seed));
  const make = (message: Uint8Array): Uint8Array =>
    concatBytes(
      sha256(concatBytes(key, Uint8Array.of(0), message)),
      sha256(concatBytes(key, Uint8Array.of(1), message)),
    );
  return {
    kid: sha256(key).slice(0, 8),
    sign: (message) => ok(make(message)),
    verify: (message, signature) => Buffer.compare(make(message), signature) === 0,
  };
}

/** What a sector carries is being signed to say what names it: no cell and nobody gets the signature from there. */
let looks = false;
const { signCarried } = TailReader.prototype;
TailReader.prototype.signCarried = function (record) {
  looks = true;
  try {
    return signCarried.call(this, record);
  } finally {
    looks = false;
  }
};

/**
 * Keeps a ledger of all that `signer` signs: position to content. But not what a mount signs to prove that it is carried
 * (DESIGN.md, "What physics leaves"): where that is given out, the oracle hears of it.
 */
export function ledgered(signer: RecordSigner, onConflict?: () => void): LedgeredSigner {
  const signed = new Map<string, string>();
  let conflict: string | undefined;
  return {
    kid: signer.kid,
    signed,
    get conflict() {
      return conflict;
    },
    sign(message) {
      if (looks) return signer.sign(message);
      const key = toHex(signer.kid) + positionIn(message);
      const content = toHex(sha256(message));
      const before = signed.get(key);
      if (before !== undefined && before !== content) {
        conflict ??= `two contents were signed at position ${key.slice(16)}`;
        onConflict?.();
      }
      signed.set(key, content);
      return signer.sign(message);
    },
    verify: signer.verify,
  };
}

/** The chain position inside a Sig_structure: `prev` and what stands before it, as text. */
function positionIn(message: Uint8Array): string {
  const text = Buffer.from(message).toString("latin1");
  // label −70001, an array of six: kind, boot, seq follow up to the head of prev (58 20).
  const at = text.indexOf("\x3a\x00\x01\x11\x70\x86");
  const end = text.indexOf("\x58\x20", at);
  const parts = readPosition(message.subarray(at + 6, end));
  return String(parts);
}

/** The third of three CBOR unsigned integers. */
function readPosition(bytes: Uint8Array): number {
  let at = 0;
  let value = 0;
  for (let n = 0; n < 3; n++) {
    const first = bytes[at++]!;
    if (first < 24) value = first;
    else {
      const size = 1 << (first - 24);
      value = 0;
      for (let i = 0; i < size; i++) value = value * 256 + bytes[at++]!;
    }
  }
  return value;
}

export function mounted(flash: Flash, ...signers: RecordSigner[]): Journal {
  return must(Journal.mount({ flash, sha256, signers }));
}

/** The value, or an error that tells the failure. */
export function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(explain(result.failure));
  return result.value;
}

/** What a journal gave out for a committed body. */
export function recordOf(signer: RecordSigner, body: Uint8Array): Uint8Array {
  return concatBytes(body, must(signer.sign(toBeSigned(must(readBody(body))))));
}
