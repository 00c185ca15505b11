import { equalBytes } from "tallystick/bytes/bytes";
import type { Code } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import type { Flash } from "tallystick/journal/flash";
import { Journal } from "tallystick/journal/journal";
import type { JournalHead, MountReport, Position } from "tallystick/journal/report";
import type { RecordSigner } from "tallystick/journal/tail";
import { encodeBody, Kind, recordId, SIGNATURE_BYTES } from "tallystick/record/record";
import { SeededRandom } from "../../../hosts/simulator/world/random.js";

/**
 * One start of a device, as far as its journal goes: mount, then commit, read out and release as a seed says. It runs
 * unchanged on Node and on XS, knows nothing of cuts, and tells everything that it learns; oracle.ts judges it.
 */
export type Told =
  /** `head` is promised from now on, unless the tail is undecided. */
  | { readonly kind: "mounted"; readonly tail: MountReport["tail"]; readonly head: ToldHead | undefined }
  /** After a release, which may have made the room to decide an undecided tail. */
  | { readonly kind: "head"; readonly head: ToldHead | undefined }
  | { readonly kind: "unmounted"; readonly code: Code }
  /** Before a body is committed: it may become the record at `seq`. `content` is the body's SHA-256. */
  | { readonly kind: "offered"; readonly kid: Uint8Array; readonly seq: number; readonly content: Uint8Array }
  | { readonly kind: "committed"; readonly seq: number; readonly id: Uint8Array }
  /** The body that was offered last: nothing of it was written. */
  | { readonly kind: "refused"; readonly code: Code }
  /** What the journal gave out: a record that may leave the device. */
  | { readonly kind: "read"; readonly seq: number; readonly id: Uint8Array; readonly content: Uint8Array }
  | { readonly kind: "unread"; readonly seq: number; readonly code: Code }
  /** Before positions up to `seq` are released. */
  | { readonly kind: "releasing"; readonly seq: number }
  /** What is left after a check: the first position held, and the last one. */
  | { readonly kind: "held"; readonly first: number; readonly last: number }
  | { readonly kind: "failed"; readonly what: string; readonly code: Code };

export interface ToldHead extends Position {
  readonly kid: Uint8Array;
}

export interface SessionOptions {
  readonly flash: Flash;
  readonly sha256: Sha256;
  readonly signer: RecordSigner;
  /** The key before it, whose chain the journal may still end with: then a new chain begins. */
  readonly former?: RecordSigner;
  readonly tell: (told: Told) => void;
}

/** What a start is there for. */
export interface Start {
  readonly kind: "fill" | "work" | "mount" | "check";
  /** Of what a start that works does, and how many records it commits; one that fills leaves so many sectors free. */
  readonly seed: number;
  readonly commits: number;
  /** The relay stays away: nothing is released. */
  readonly silent?: boolean;
  /** Its records are long: hardly two go into a sector. */
  readonly long?: boolean;
}

/** A start; one that checks looks at what is held from position `from` on. */
export function run(options: SessionOptions, start: Start, from: number): void {
  const journal = mount(options);
  if (journal !== undefined) act(options, journal, start, from);
}

/** What a start does once its journal is mounted. */
export function act(options: SessionOptions, journal: Journal, start: Start, from: number): void {
  if (start.kind === "work") work(options, journal, start);
  else if (start.kind === "fill") fill(options, journal, start.commits);
  else if (start.kind === "check") check(options, journal, from);
}

/** Records' sizes in bytes, the design's 160 the most frequent; the last is the largest that there is. */
const SIZES = [120, 160, 160, 160, 160, 160, 160, 400, 400, 1000, 4000];
const SIZES_LONG = [1500, 2500, 3900, 4000, 4000];

/** A start that works: `commits` records, and in between what a device does with its journal. */
function work(options: SessionOptions, journal: Journal, { seed, commits, long, silent }: Start): void {
  const { signer, sha256, tell } = options;
  const random = new SeededRandom(seed);
  const sizes = long ? SIZES_LONG : SIZES;
  const offer = (): Uint8Array => {
    const head = ownHead(journal, signer);
    const body = bodyAfter(signer.kid, head, random.pick(sizes), random.next());
    tell({ kind: "offered", kid: signer.kid, seq: (head?.seq ?? -1) + 1, content: sha256(body) });
    return body;
  };
  for (let n = 0; n < commits; n++) {
    if (random.oneIn(4) && journal.head !== undefined) read(options, journal, journal.head.seq);
    if (random.oneIn(3) && !silent) release(options, journal, random.below(3));
    let committed = journal.commit(offer());
    if (!committed.ok && committed.failure.code === "JOURNAL_FULL") {
      tell({ kind: "refused", code: committed.failure.code });
      if (silent) return;
      // Everything is released: then there must be room. It may also be the room in which an open record is finished.
      release(options, journal, 0);
      tell({ kind: "head", head: positionOf(journal) });
      committed = journal.commit(offer());
    }
    if (!committed.ok) {
      tell({ kind: "failed", what: "commit", code: committed.failure.code });
      return;
    }
    tell({ kind: "committed", ...committed.value });
  }
}

/** Commits until only `leave` sectors are free, the reserve not counted, or the journal takes no more; releases nothing. */
export function fill({ signer, sha256, tell }: SessionOptions, journal: Journal, leave: number): void {
  for (let n = 0; journal.usage.sectors - journal.usage.used >= leave; n++) {
    const body = bodyAfter(signer.kid, journal.head, SIZES[1]!, n);
    tell({ kind: "offered", kid: signer.kid, seq: (journal.head?.seq ?? -1) + 1, content: sha256(body) });
    const committed = journal.commit(body);
    if (!committed.ok) {
      tell({ kind: "refused", code: committed.failure.code });
      return;
    }
    tell({ kind: "committed", ...committed.value });
  }
}

/** A start that looks at everything that is held from `from` on, and writes nothing. */
function check(options: SessionOptions, journal: Journal, from: number): void {
  if (journal.report.tail === "undecided") return;
  const last = journal.head?.seq ?? -1;
  const first = last < 0 ? 0 : journal.firstSeq;
  for (let seq = Math.max(first, from); seq <= last; seq++) read(options, journal, seq);
  if (journal.record(last + 1).ok) options.tell({ kind: "read", seq: last + 1, id: NOTHING, content: NOTHING });
  options.tell({ kind: "held", first, last });
}

const NOTHING = new Uint8Array(0);

/** Mounts, and tells what it finds. */
export function mount(options: SessionOptions): Journal | undefined {
  const { flash, sha256, signer, former } = options;
  const mounted = Journal.mount({ flash, sha256, signers: former ? [signer, former] : [signer] });
  if (!mounted.ok) {
    options.tell({ kind: "unmounted", code: mounted.failure.code });
    return undefined;
  }
  const journal = mounted.value;
  options.tell({ kind: "mounted", tail: journal.report.tail, head: positionOf(journal) });
  return journal;
}

function positionOf({ head }: Journal): ToldHead | undefined {
  return head && { kid: head.kid, seq: head.seq, id: head.id };
}

/** The head, as far as it is of this key's chain. */
function ownHead({ head }: Journal, { kid }: RecordSigner): JournalHead | undefined {
  return head && equalBytes(head.kid, kid) ? head : undefined;
}

function read({ sha256, tell }: SessionOptions, journal: Journal, seq: number): void {
  const bytes = journal.record(seq);
  if (!bytes.ok) {
    tell({ kind: "unread", seq, code: bytes.failure.code });
    return;
  }
  const body = bytes.value.subarray(0, bytes.value.length - SIGNATURE_BYTES);
  tell({ kind: "read", seq, id: recordId(sha256, bytes.value), content: sha256(body) });
}

/** Releases up to `back` records below the head, as an acknowledgement does; not what cannot be read back. */
function release({ sha256, tell }: SessionOptions, journal: Journal, back: number): void {
  const { head } = journal;
  if (head === undefined) return;
  const seq = Math.max(0, head.seq - back);
  if (seq < journal.firstSeq) return;
  let { id } = head;
  if (seq < head.seq) {
    const bytes = journal.record(seq);
    if (!bytes.ok) {
      tell({ kind: "unread", seq, code: bytes.failure.code });
      return;
    }
    id = recordId(sha256, bytes.value);
  }
  tell({ kind: "releasing", seq });
  const released = journal.release({ seq, id });
  // What a release makes room for may find none all the same; the next mount tries again.
  if (!released.ok && released.failure.code !== "JOURNAL_FULL")
    tell({ kind: "failed", what: "release", code: released.failure.code });
}

/** The body that follows `head`, such that the record has `bytes` bytes, or as few as its header takes. */
export function bodyAfter(kid: Uint8Array, head: JournalHead | undefined, bytes: number, content: number): Uint8Array {
  const header = {
    kid,
    kind: head === undefined ? Kind.genesis : Kind.readings,
    boot: head?.boot ?? 0,
    seq: head === undefined ? 0 : head.seq + 1,
    prev: head?.id ?? new Uint8Array(32),
    uptimeMs: 1000,
    clock: 0 as const,
  };
  const bare = encodeBody(header, NOTHING).length;
  let length = Math.max(0, bytes - SIGNATURE_BYTES - bare);
  // The payload's own length takes up to three bytes.
  while (length > 0 && bare + length + (length < 24 ? 0 : length < 256 ? 1 : 2) > bytes - SIGNATURE_BYTES) length--;
  const payload = new Uint8Array(length);
  for (let i = 0; i < length; i++) payload[i] = (content * 31 + i * 7) & 0xff;
  return encodeBody(header, payload);
}
