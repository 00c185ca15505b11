/**
 * What a log and its witnesses say to each other (C2SP tlog-witness, tlog-cosignature): the request for a cosignature,
 * the cosignature, and how a checkpoint carries those that came. Bytes and limits: SPEC.md.
 */
import { fromBase64, toBase64 } from "../bytes/base64.js";
import { concatBytes, equalBytes, fromUtf8, toHex, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, Sha256 } from "../identity/crypto.js";
import { HASH_BYTES, isTreeSize } from "../merkle/merkle.js";
import { PATH_MAX_HASHES } from "../merkle/proof.js";
import {
  cosignature,
  formatSignatureLine,
  NOTE_MAX_BYTES,
  type NoteSignature,
  openNote,
  parseNote,
  signedMessage,
  type VerifiedSignature,
  type VerifierKey,
} from "./note.js";

/** Most witnesses that one log asks: as many lines as every reader of notes must take. */
export const WITNESSES_MAX = 16;
/** Longest name of a witness that a log asks: with WITNESSES_MAX lines of it an acknowledgement still fits a board. */
export const WITNESS_NAME_MAX_BYTES = 64;
/** Below a witness's submission prefix. */
export const ADD_CHECKPOINT_PATH = "add-checkpoint";
/** The type of the answer that tells the size which the witness holds. */
export const SIZE_TYPE = "text/x.tlog.size";

const OLD = "old ";
/** `old`, a space and sixteen digits; 63 hashes in base64; a newline after each, and the empty line. */
const HEADER_MAX_BYTES = OLD.length + 16 + 1 + PATH_MAX_HASHES * 45 + 1;
/** The longest request that a witness reads. */
export const ADD_CHECKPOINT_MAX_BYTES = HEADER_MAX_BYTES + NOTE_MAX_BYTES;
/** The longest answer that a log reads: many lines of post-quantum kinds fit. */
export const WITNESS_ANSWER_MAX_BYTES = 65_536;

/** What a log asks of a witness. */
export interface AddCheckpoint {
  /** The size that the witness is thought to have cosigned last; 0 for none. */
  readonly oldSize: number;
  /** RFC 9162 consistency path from there to the checkpoint; empty from 0 and between equal sizes. */
  readonly path: readonly Uint8Array[];
  /** The whole note. */
  readonly checkpoint: Uint8Array;
}

/** The request's body. Throws RangeError where it would be none. */
export function encodeAddCheckpoint({ oldSize, path, checkpoint }: AddCheckpoint): Uint8Array {
  if (!isTreeSize(oldSize)) throw new RangeError(`oldSize: expected a whole number up to 2^53-1, received ${oldSize}`);
  if (path.length > PATH_MAX_HASHES || path.some(({ length }) => length !== HASH_BYTES))
    throw new RangeError(`path: expected at most ${PATH_MAX_HASHES} hashes of ${HASH_BYTES} bytes`);
  return concatBytes(utf8(`${OLD}${oldSize}\n${path.map((hash) => `${toBase64(hash)}\n`).join("")}\n`), checkpoint);
}

/** Takes a request apart; the checkpoint is not looked into. WITNESS_REQUEST_MALFORMED. */
export function readAddCheckpoint(bytes: Uint8Array): Result<AddCheckpoint> {
  if (bytes.length > ADD_CHECKPOINT_MAX_BYTES)
    return malformed(`at most ${ADD_CHECKPOINT_MAX_BYTES} bytes`, `${bytes.length}`);
  const end = emptyLine(bytes);
  const header = end < 0 ? undefined : fromUtf8(bytes.subarray(0, end));
  if (header === undefined) return malformed("an empty line before the checkpoint", "none where it may stand");
  const [first, ...lines] = header.split("\n") as [string, ...string[]];
  const oldSize = first.startsWith(OLD) ? readSize(first.slice(OLD.length)) : undefined;
  if (oldSize === undefined) return malformed('"old" and a size up to 2^53-1 in its first line', "something else");
  if (lines.length > PATH_MAX_HASHES) return malformed(`at most ${PATH_MAX_HASHES} hashes`, `${lines.length}`);
  const path: Uint8Array[] = [];
  for (const line of lines) {
    const hash = fromBase64(line);
    if (hash?.length !== HASH_BYTES) return malformed(`a hash in base64 in line ${path.length + 2}`, "something else");
    path.push(hash);
  }
  return ok({ oldSize, path, checkpoint: bytes.slice(end + 2) });
}

/** Where the first two newlines in a row begin, so far as a header can be long; −1 where there are none. */
function emptyLine(bytes: Uint8Array): number {
  const last = Math.min(bytes.length - 1, HEADER_MAX_BYTES);
  for (let i = 0; i < last; i++) if (bytes[i] === 0x0a && bytes[i + 1] === 0x0a) return i;
  return -1;
}

function readSize(text: string): number | undefined {
  const size = /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
  return isTreeSize(size) ? size : undefined;
}

function malformed(expected: string, received: string): Result<never> {
  return fail("WITNESS_REQUEST_MALFORMED", `expected ${expected}, received ${received}`);
}

/** The answer to a request from another size than the witness holds. */
export function formatHeldSize(size: number): string {
  return `${size}\n`;
}

/** Undefined where the answer is no size. */
export function readHeldSize(bytes: Uint8Array): number | undefined {
  const text = bytes.length <= 17 ? fromUtf8(bytes) : undefined;
  return text?.endsWith("\n") ? readSize(text.slice(0, -1)) : undefined;
}

/** Where a witness shows what it cosigned last of a log, below its monitoring prefix. */
export function witnessedPath(sha256: Sha256, origin: string): string {
  return `${originHash(sha256, origin)}/checkpoint`;
}

/** Names a log in paths: lower-case hexadecimal. */
export function originHash(sha256: Sha256, origin: string): string {
  return toHex(sha256(utf8(origin)));
}

/**
 * A witness's line over a checkpoint's text: that it has seen no larger consistent tree of this log at `timeS`, seconds
 * since 1970 and not 0. `sign` is given the message and returns 64 bytes.
 */
export function makeCosignature(
  { name, id }: VerifierKey,
  text: string,
  timeS: number,
  sign: (message: Uint8Array) => Uint8Array,
): NoteSignature {
  if (!Number.isSafeInteger(timeS) || timeS < 1)
    throw new RangeError(`timeS: expected whole seconds since 1970, received ${timeS}`);
  return { name, id, signature: cosignature(timeS, sign(signedMessage(text, timeS))) };
}

/**
 * The cosignatures of `known` witnesses in an answer, over exactly `text`; lines of others are passed over.
 * NOTE_MALFORMED, NOTE_UNSIGNED, SIGNATURE_INVALID; a cosignature without a time does not count.
 */
export function readCosignatures(
  crypto: Crypto,
  text: string,
  answer: Uint8Array,
  known: readonly VerifierKey[],
): Result<readonly VerifiedSignature[]> {
  const opened = openNote(crypto, concatBytes(utf8(`${text}\n`), answer), known);
  if (!opened.ok) return opened;
  // An empty line in the answer would make text of what stands before it.
  if (opened.value.text !== text)
    return fail("NOTE_MALFORMED", "expected signature lines only, received an empty line");
  const timed = opened.value.verified.filter(({ timeS }) => timeS !== 0);
  return timed.length > 0
    ? ok(timed)
    : fail("NOTE_UNSIGNED", "expected a cosignature with a time, received one without");
}

/**
 * The checkpoint with `cosignatures` behind its own lines; one of a key that has cosigned it already takes the earlier
 * one's place. NOTE_MALFORMED.
 */
export function withCosignatures(checkpoint: Uint8Array, cosignatures: readonly NoteSignature[]): Result<Uint8Array> {
  if (cosignatures.length === 0) return ok(checkpoint);
  const note = parseNote(checkpoint);
  if (!note.ok) return note;
  const replaced = (line: NoteSignature) =>
    cosignatures.some(({ name, id }) => name === line.name && equalBytes(id, line.id));
  const { text, signatures } = note.value;
  const lines = [...signatures.filter((line) => !replaced(line)), ...cosignatures];
  return ok(utf8(`${text}\n${lines.map(formatSignatureLine).join("")}`));
}
