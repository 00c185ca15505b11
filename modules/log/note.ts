/**
 * Signed notes (C2SP signed-note): text, and the lines of those who signed it. Plain Ed25519 (type 01) and timestamped
 * cosignatures (type 04, C2SP tlog-cosignature). Bytes and limits: SPEC.md.
 */
import { fromBase64, toBase64 } from "../bytes/base64.js";
import { concatBytes, equalBytes, fromHex, fromUtf8, toHex, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, Sha256 } from "../identity/crypto.js";
import { isAcceptablePublicKey, PUBLIC_KEY_BYTES, verifySignature } from "../identity/ed25519.js";

/** The longest note that is looked at: sixteen signatures of a post-quantum kind fit. */
export const NOTE_MAX_BYTES = 131_072;
/** Most signature lines in a note; C2SP asks for at least 16. */
export const NOTE_MAX_SIGNATURES = 64;

/** How a key signs: the note's text itself, or the text with a time (a witness's cosignature). */
export const SignatureType = { ed25519: 1, cosignature: 4 } as const;
export type SignatureType = (typeof SignatureType)[keyof typeof SignatureType];

/** Who may have signed: the public half, as a vkey line spells it. */
export interface VerifierKey {
  /** No spaces, no plus sign; for a log, its origin. */
  readonly name: string;
  readonly type: SignatureType;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 4 bytes: SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]. Names a key together with `name`; proves nothing. */
  readonly id: Uint8Array;
}

/** One signature line. */
export interface NoteSignature {
  readonly name: string;
  readonly id: Uint8Array;
  /** 64 bytes for type 01; 8 bytes of time and 64 for type 04; anything for types not known here. */
  readonly signature: Uint8Array;
}

export interface Note {
  /** Ends in a newline, which is part of what is signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A signature that was verified, and by whose key. */
export interface VerifiedSignature extends NoteSignature {
  readonly key: VerifierKey;
  /** Seconds since 1970 that a cosignature states; undefined for a plain signature. */
  readonly timeS: number | undefined;
}

export interface OpenedNote extends Note {
  /** At least one, each of another key. Lines of unknown keys are in `signatures` only. */
  readonly verified: readonly VerifiedSignature[];
}

/** Throws RangeError where name or public key are none. */
export function verifierKey(sha256: Sha256, name: string, type: SignatureType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name)) throw new RangeError(`name: expected text without spaces or plus, received "${name}"`);
  if (!isAcceptablePublicKey(publicKey)) throw new RangeError("publicKey: expected an Ed25519 key of the one rule");
  return { name, type, publicKey, id: keyId(sha256, name, type, publicKey) };
}

function keyId(sha256: Sha256, name: string, type: number, publicKey: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8(name), Uint8Array.of(0x0a, type), publicKey)).slice(0, 4);
}

/** `<name>+<id in hex>+<base64 of type ‖ public key>` */
export function formatVerifierKey(key: VerifierKey): string {
  return `${key.name}+${toHex(key.id)}+${toBase64(concatBytes(Uint8Array.of(key.type), key.publicKey))}`;
}

/** Reads a vkey line and checks that its id belongs to its key. NOTE_KEY_MALFORMED. */
export function parseVerifierKey(sha256: Sha256, text: string): Result<VerifierKey> {
  const [name, idText, keyText, ...more] = text.split("+");
  // Base64 has plus signs of its own: only the first two separate.
  const encoded = fromBase64([keyText ?? "", ...more].join("+"));
  const id = fromHex(idText ?? "");
  if (name === undefined || !isKeyName(name) || id?.length !== 4 || encoded === undefined || idText !== toHex(id)) {
    return fail("NOTE_KEY_MALFORMED", "expected <name>+<8 hexadecimal digits>+<base64>, received something else");
  }
  const [type, publicKey] = [encoded[0], encoded.slice(1)];
  if (type !== SignatureType.ed25519 && type !== SignatureType.cosignature) {
    return fail("NOTE_KEY_MALFORMED", `expected a key of type 1 or 4, received ${type ?? "none"}`);
  }
  if (!isAcceptablePublicKey(publicKey)) {
    return fail("NOTE_KEY_MALFORMED", `expected ${PUBLIC_KEY_BYTES} bytes that are an Ed25519 key, received others`);
  }
  const expected = keyId(sha256, name, type, publicKey);
  if (!equalBytes(id, expected)) {
    return fail("NOTE_KEY_MALFORMED", `expected the key id ${toHex(expected)}, received ${idText}`);
  }
  return ok({ name, type, publicKey, id });
}

// Unicode's White_Space, and the plus sign.
const NOT_IN_NAME = /[\t-\r +\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Whether a key may have this name: not empty, no spaces, no plus sign. */
export function isKeyName(name: string): boolean {
  return name.length > 0 && !NOT_IN_NAME.test(name);
}

/** The bytes of a note. Throws RangeError where `text` or a name cannot stand in one. */
export function formatNote(note: Note): Uint8Array {
  if (!note.text.endsWith("\n") || hasControls(note.text)) {
    throw new RangeError("text: expected lines that end in newlines, without other control characters");
  }
  return utf8(`${note.text}\n${note.signatures.map(formatSignatureLine).join("")}`);
}

/** `— <name> <base64 of id ‖ signature>` and a newline. */
export function formatSignatureLine({ name, id, signature }: NoteSignature): string {
  if (!isKeyName(name)) throw new RangeError(`name: expected text without spaces or plus, received "${name}"`);
  return `\u2014 ${name} ${toBase64(concatBytes(id, signature))}\n`;
}

function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 0x0a) return true;
  }
  return false;
}

/** Takes a note apart without looking at who signed: its bytes, or the text that they spell. NOTE_MALFORMED. */
export function parseNote(note: Uint8Array | string): Result<Note> {
  if (note.length > NOTE_MAX_BYTES) {
    return fail("NOTE_MALFORMED", `expected at most ${NOTE_MAX_BYTES} bytes, received ${note.length}`);
  }
  // A device has the text out of an acknowledgement: bytes made of it again would be room that a board may not have.
  const whole = typeof note === "string" ? note : fromUtf8(note);
  if (whole === undefined || hasControls(whole)) {
    return fail("NOTE_MALFORMED", "expected UTF-8 without control characters other than newline, received other bytes");
  }
  // The last empty line divides: the text may have empty lines of its own.
  const split = whole.lastIndexOf("\n\n");
  if (split < 0 || !whole.endsWith("\n") || split + 2 === whole.length) {
    return fail("NOTE_MALFORMED", "expected text, an empty line and signature lines, received no such division");
  }
  const lines = whole.slice(split + 2, -1).split("\n");
  if (lines.length > NOTE_MAX_SIGNATURES) {
    return fail("NOTE_MALFORMED", `expected at most ${NOTE_MAX_SIGNATURES} signatures, received ${lines.length}`);
  }
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignatureLine(line);
    if (signature === undefined) {
      return fail("NOTE_MALFORMED", `expected "\u2014 name base64" in signature line ${signatures.length + 1}`);
    }
    signatures.push(signature);
  }
  return ok({ text: whole.slice(0, split + 1), signatures });
}

/** Undefined where the line, without its newline, is none. */
export function parseSignatureLine(line: string): NoteSignature | undefined {
  if (!line.startsWith("\u2014 ")) return undefined;
  const space = line.indexOf(" ", 2);
  if (space < 0) return undefined;
  const name = line.slice(2, space);
  const bytes = fromBase64(line.slice(space + 1));
  if (!isKeyName(name) || bytes === undefined || bytes.length < 5) return undefined;
  return { name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
}

/**
 * Verifies a note against known keys. Every line of a known key must verify (SIGNATURE_INVALID), at least one must be
 * there (NOTE_UNSIGNED); lines of unknown keys are passed over, later lines of a key that has signed already too.
 */
export function openNote(crypto: Crypto, note: Uint8Array | string, known: readonly VerifierKey[]): Result<OpenedNote> {
  const parsed = parseNote(note);
  if (!parsed.ok) return parsed;
  const verified: VerifiedSignature[] = [];
  for (const line of parsed.value.signatures) {
    const key = known.find((each) => each.name === line.name && equalBytes(each.id, line.id));
    if (key === undefined || verified.some((each) => each.key === key)) continue;
    const timeS = key.type === SignatureType.cosignature ? cosignatureTime(line.signature) : undefined;
    const message = signedMessage(parsed.value.text, timeS);
    const signature = key.type === SignatureType.cosignature ? line.signature.subarray(8) : line.signature;
    const timed = key.type !== SignatureType.cosignature || timeS !== undefined;
    if (!timed || !verifySignature(crypto.ed25519, signature, message, key.publicKey)) {
      return fail("SIGNATURE_INVALID", `the line of ${key.name}+${toHex(key.id)} is not its signature over this text`);
    }
    verified.push({ ...line, key, timeS });
  }
  if (verified.length === 0) {
    const names = parsed.value.signatures.map((line) => `${line.name}+${toHex(line.id)}`).join(", ");
    const expected = known.map((key) => `${key.name}+${toHex(key.id)}`).join(", ");
    return fail("NOTE_UNSIGNED", `expected a signature of ${expected || "a known key"}, received those of ${names}`);
  }
  return ok({ ...parsed.value, verified });
}

/** What is signed: the note's text, for a cosignature after two lines that state its time in seconds since 1970. */
export function signedMessage(text: string, timeS: number | undefined): Uint8Array {
  return utf8(timeS === undefined ? text : `cosignature/v1\ntime ${timeS}\n${text}`);
}

/** A type 04 signature: the time as eight bytes, big-endian, before the 64 bytes. */
export function cosignature(timeS: number, signature: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + signature.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(timeS / 2 ** 32));
  view.setUint32(4, timeS % 2 ** 32);
  bytes.set(signature, 8);
  return bytes;
}

/** Undefined where there is none that a number can hold. */
function cosignatureTime(signature: Uint8Array): number | undefined {
  if (signature.length < 8) return undefined;
  let timeS = 0;
  for (let i = 0; i < 8; i++) timeS = timeS * 256 + signature[i]!;
  return Number.isSafeInteger(timeS) ? timeS : undefined;
}
