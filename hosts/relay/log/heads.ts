/**
 * Signed heads as proofs need them, and the file by which the processes that follow a log have them, too.
 *
 * A checkpoint carries the log's signature as a note, and no signature over its root as receipts have it. That one only the
 * log's key can make, so the sequencer writes it down for those that have no key: one file, replaced whole, **before** the
 * checkpoint is published. It holds the head that is about to be published and the one before, so that whichever of the two a
 * follower has read, its signature is there; and the heads that most witnesses cosigned, which proofs are better made with
 * than with the newest. Nothing in it is secret or trusted: who reads it believes what the log's key verifies.
 */
import { readFileSync } from "node:fs";
import { equalBytes } from "tallystick/bytes/bytes";
import type { Crypto } from "tallystick/identity/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
import { kidOf } from "tallystick/identity/key";
import { openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { parseNote, type VerifierKey } from "tallystick/log/note";
import { WITNESSES_MAX } from "tallystick/log/witness";
import { receiptToBeSigned } from "tallystick/receipt/receipt";
import { type Disk, PRIVATE_MODE, writeDurable } from "./disk.js";
import type { SignedHead } from "./sequencer.js";

/** The head that is about to be published, and the one before. */
const NEWEST_KEPT = 2;
/** Heads in the file. */
export const HEADS_MAX = NEWEST_KEPT + WITNESSES_MAX;
/** The file's name in the log's folder. */
export const HEADS_NAME = "heads";

/** The trees that witnesses cosigned: at i the newest that more than i of them did. */
export class CosignedHeads {
  readonly #heads: SignedHead[] = [];

  /** Takes a head's lines of witnesses into account. */
  keep(head: SignedHead): void {
    const lines = countCosignatures(head.checkpoint);
    for (let i = 0; i < lines; i++) if (head.size >= (this.#heads[i]?.size ?? 0)) this.#heads[i] = head;
  }

  /** The tree of exactly `size`, where it is among them. */
  at(size: number): SignedHead | undefined {
    return this.#heads.find((head) => head.size === size);
  }

  /** Of the trees of at least `size` the one that most witnesses cosigned. */
  best(size: number): SignedHead | undefined {
    return this.#heads.findLast((head) => head.size >= size);
  }

  get all(): readonly SignedHead[] {
    return [...new Set(this.#heads)];
  }
}

/** The sequencer's side of the file. */
export class HeadsFile {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #cosigned: CosignedHeads;
  #newest: readonly Written[];

  private constructor(disk: Disk, path: string, cosigned: CosignedHeads, newest: readonly Written[]) {
    this.#disk = disk;
    this.#path = path;
    this.#cosigned = cosigned;
    this.#newest = newest;
  }

  /** What an earlier process wrote stays until newer heads take its place: the checkpoint that is published may be of it. */
  static async open(disk: Disk, path: string, cosigned: CosignedHeads): Promise<HeadsFile> {
    const bytes = await disk.read(path);
    return new HeadsFile(disk, path, cosigned, bytes ? parseHeads(bytes).slice(0, NEWEST_KEPT) : []);
  }

  /** `head` is about to be published: a follower that reads its checkpoint finds its signature. */
  async announce(head: SignedHead): Promise<void> {
    const earlier = this.#newest.filter(({ checkpoint }) => !isOfOneTree(checkpoint, head.checkpoint));
    this.#newest = [head, ...earlier].slice(0, NEWEST_KEPT);
    await this.write();
  }

  /** Writes down what witnesses have cosigned since. */
  async write(): Promise<void> {
    const heads = [...this.#newest, ...this.#cosigned.all];
    await writeDurable(this.#disk, this.#path, formatHeads(heads), PRIVATE_MODE);
  }
}

/** A follower's side of the file: heads are verified once, and known again by their bytes. */
export class FollowedHeads {
  readonly #crypto: Crypto;
  readonly #path: string;
  readonly #key: VerifierKey;
  readonly #kid: Uint8Array;
  #bytes: Uint8Array = new Uint8Array(0);
  #heads: readonly SignedHead[] = [];

  constructor(crypto: Crypto, path: string, key: VerifierKey) {
    this.#crypto = crypto;
    this.#path = path;
    this.#key = key;
    this.#kid = kidOf(crypto.sha256, key.publicKey);
  }

  /** The signature over the tree's root as receipts have it; undefined where the file does not have it just now. */
  signatureOf({ size, root }: TreeHead): Uint8Array | undefined {
    return this.#read().find((head) => head.size === size && equalBytes(head.root, root))?.receiptSignature;
  }

  /** Of `head` and the trees in the file, of `size` to `head.size` entries, the one that most witnesses cosigned. */
  best(size: number, head: SignedHead): SignedHead {
    const cosigned = new CosignedHeads();
    const bySize = [head, ...this.#read()].sort((a, b) => a.size - b.size);
    for (const each of bySize) if (each.size >= size && each.size <= head.size) cosigned.keep(each);
    return cosigned.best(size) ?? head;
  }

  #read(): readonly SignedHead[] {
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(readFileSync(this.#path));
    } catch {
      // The sequencer has not written one: whoever asks for what is not in it hears that.
      return this.#heads;
    }
    if (equalBytes(bytes, this.#bytes)) return this.#heads;
    const known = this.#heads;
    this.#bytes = bytes;
    this.#heads = parseHeads(bytes).flatMap(
      (written) => known.find((head) => isSame(head, written)) ?? this.#verified(written) ?? [],
    );
    return this.#heads;
  }

  #verified({ checkpoint, receiptSignature }: Written): SignedHead | undefined {
    const opened = openCheckpoint(this.#crypto, checkpoint, this.#key);
    if (!opened.ok) return undefined;
    const { size, root } = opened.value;
    const message = receiptToBeSigned(this.#kid, root);
    if (!verifySignature(this.#crypto.ed25519, receiptSignature, message, this.#key.publicKey)) return undefined;
    return { size, root, checkpoint, receiptSignature };
  }
}

type Written = Pick<SignedHead, "checkpoint" | "receiptSignature">;
const FORMAT = "head/v1";

function formatHeads(heads: readonly Written[]): Uint8Array {
  const lines = heads.map(({ checkpoint, receiptSignature }) =>
    JSON.stringify([FORMAT, Buffer.from(checkpoint).toString("utf8"), Buffer.from(receiptSignature).toString("hex")]),
  );
  return new Uint8Array(Buffer.from(lines.map((line) => `${line}\n`).join(""), "utf8"));
}

/** At most HEADS_MAX; a line that is no head is passed over. */
function parseHeads(bytes: Uint8Array): readonly Written[] {
  const lines = Buffer.from(bytes).toString("utf8").split("\n").slice(0, HEADS_MAX);
  return lines.flatMap((line): Written[] => {
    try {
      const [format, checkpoint, signature] = JSON.parse(line) as unknown[];
      if (format !== FORMAT || typeof checkpoint !== "string" || typeof signature !== "string") return [];
      return [
        {
          checkpoint: new Uint8Array(Buffer.from(checkpoint, "utf8")),
          receiptSignature: new Uint8Array(Buffer.from(signature, "hex")),
        },
      ];
    } catch {
      return [];
    }
  });
}

function isSame(a: Written, b: Written): boolean {
  return equalBytes(a.checkpoint, b.checkpoint) && equalBytes(a.receiptSignature, b.receiptSignature);
}

/** Whether two checkpoints differ in their lines of witnesses only. */
function isOfOneTree(a: Uint8Array, b: Uint8Array): boolean {
  const [one, other] = [parseNote(a), parseNote(b)];
  return one.ok && other.ok && one.value.text === other.value.text;
}

/** Lines behind the log's own, which stands first. */
function countCosignatures(checkpoint: Uint8Array): number {
  const note = parseNote(checkpoint);
  return note.ok ? note.value.signatures.length - 1 : 0;
}
