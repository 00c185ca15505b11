/** Checkpoints (C2SP tlog-checkpoint): a log's size and root as a signed note, and following a log from one to the next. */
import { fromBase64, toBase64 } from "../bytes/base64.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, Sha256 } from "../identity/crypto.js";
import { HASH_BYTES, isTreeSize } from "../merkle/merkle.js";
import { verifyConsistency } from "../merkle/proof.js";
import { openNote, type VerifiedSignature, type VerifierKey } from "./note.js";

/** A tree as a checkpoint names it. */
export interface TreeHead {
  /** Leaves. */
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

export interface Checkpoint extends TreeHead {
  /** Which log: one line without a newline, the name of its key. */
  readonly origin: string;
}

export interface OpenedCheckpoint extends Checkpoint {
  /** Those of `witnesses` who cosigned, each with its time. */
  readonly cosignatures: readonly VerifiedSignature[];
}

/** The note's text: origin, size, root in base64, a line each. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  if (origin === "" || origin.includes("\n")) throw new RangeError("origin: expected one line that is not empty");
  if (!isTreeSize(size)) throw new RangeError(`size: expected a whole number up to 2^53-1, received ${size}`);
  if (root.length !== HASH_BYTES) throw new RangeError(`root: expected ${HASH_BYTES} bytes, received ${root.length}`);
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/**
 * Reads a note's text. Extension lines are refused: no log here writes any, and nobody audits them. A witness takes other
 * logs' checkpoints and says so by `"passed over"`; it cosigns the lines with the text. CHECKPOINT_MALFORMED.
 */
export function parseCheckpoint(text: string, extensions: "refused" | "passed over" = "refused"): Result<Checkpoint> {
  const [origin, sizeText, rootText, ...more] = text.split("\n");
  const end = more.pop();
  const extended = extensions === "refused" ? more.length > 0 : more.some((line) => line === "");
  if (!origin || sizeText === undefined || rootText === undefined || end !== "" || extended) {
    return fail("CHECKPOINT_MALFORMED", "expected three lines (origin, size, root), received others");
  }
  const size = /^(0|[1-9][0-9]{0,15})$/.test(sizeText) ? Number(sizeText) : Number.NaN;
  if (!isTreeSize(size)) {
    return fail("CHECKPOINT_MALFORMED", `expected a size in decimal up to 2^53-1, received "${sizeText.slice(0, 20)}"`);
  }
  const root = fromBase64(rootText);
  if (root?.length !== HASH_BYTES) {
    return fail("CHECKPOINT_MALFORMED", `expected a root of ${HASH_BYTES} bytes in base64, received something else`);
  }
  return ok({ origin, size, root });
}

/**
 * A checkpoint that `log` signed for its own name. Cosignatures of `witnesses` are verified and given; how many are
 * enough is the caller's policy. NOTE_MALFORMED, NOTE_UNSIGNED, SIGNATURE_INVALID, CHECKPOINT_MALFORMED.
 */
export function openCheckpoint(
  crypto: Crypto,
  note: Uint8Array | string,
  log: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): Result<OpenedCheckpoint> {
  const opened = openNote(crypto, note, [log, ...witnesses]);
  if (!opened.ok) return opened;
  const { text, verified } = opened.value;
  if (!verified.some(({ key }) => key === log)) {
    return fail("NOTE_UNSIGNED", `expected the signature of the log ${log.name}, received those of witnesses only`);
  }
  const checkpoint = parseCheckpoint(text);
  if (!checkpoint.ok) return checkpoint;
  if (checkpoint.value.origin !== log.name) {
    return fail("CHECKPOINT_MALFORMED", `expected the origin ${log.name}, received ${checkpoint.value.origin}`);
  }
  return ok({ ...checkpoint.value, cosignatures: verified.filter(({ key }) => key !== log) });
}

/**
 * What a follower of a log (a device, a witness) pins next: `newer`, if `path` proves that it continues `pinned`.
 * Without a pinned head the first one is taken on trust. CHECKPOINT_STALE where it is the older one: it changes nothing.
 * CONSISTENCY_FALSE, PROOF_MALFORMED.
 */
export function follow(
  sha256: Sha256,
  pinned: TreeHead | undefined,
  newer: TreeHead,
  path: readonly Uint8Array[],
): Result<TreeHead> {
  const next = { size: newer.size, root: newer.root };
  if (pinned === undefined) return ok(next);
  if (newer.size < pinned.size) {
    return fail("CHECKPOINT_STALE", `expected a size of at least ${pinned.size}, received ${newer.size}`);
  }
  const consistent = verifyConsistency(sha256, pinned.size, pinned.root, newer.size, newer.root, path);
  return consistent.ok ? ok(next) : consistent;
}
