import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Code, type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { FrameType, nothingReleased, type Released, readReleased } from "tallystick/journal/frame";
import { Journal } from "tallystick/journal/journal";
import { FRAME_HEADER_BYTES, type Geometry, SECTOR_BYTES_MIN } from "tallystick/journal/layout";
import type { JournalUsage, MountReport } from "tallystick/journal/report";
import type { RecordSigner } from "tallystick/journal/tail";
import { KIND_WORDS, parseRecord, recordId } from "tallystick/record/record";
import { checkLength, findGeometry, openedSectors, readSectors } from "../inspect/journal-image.js";
import { type Frame, walkSector } from "../inspect/walk.js";
import { ImageFlash } from "./image-flash.js";
import { type Asked, blindVerifier, isSignedBy, type KnownKey, keysOf, sha256, verifier } from "./keys.js";
import { type Step, stepsOf } from "./steps.js";

/** A record, or a part of the partition, that is not as it was committed. */
export interface Damage {
  readonly seq?: number;
  readonly sector?: number;
  /** Of a sector's header there is none: the journal reads on without. */
  readonly code?: Code;
  readonly detail: string;
}

/** A place in the image. */
export interface Place {
  readonly sector: number;
  readonly offset: number;
}

/** What the next start would do about an image, and what it would find. */
export interface Examination {
  readonly geometry: Geometry;
  readonly keys: readonly KnownKey[];
  /** kids of records that no key is known for. */
  readonly unknownKids: readonly Uint8Array[];
  readonly tail: MountReport["tail"];
  /** What recovery would write. */
  readonly steps: readonly Step[];
  /** What it would write instead if a signature that cannot be verified here turned out to be none; absent where the same. */
  readonly stepsIfUnsigned: readonly Step[] | undefined;
  /** What would be written when the newest record is next followed or read. */
  readonly later: readonly Step[];
  /** Why the newest record could not be read then. */
  readonly laterFailure: Failure | undefined;
  /** The record that the journal ends with and that nothing names. */
  readonly open: (Place & { readonly whole: boolean }) | undefined;
  readonly head: { readonly seq: number; readonly kind: string; readonly id: Uint8Array | undefined } | undefined;
  readonly firstSeq: number;
  readonly released: Released;
  /** Ordinal of the sector that the head's chain began in. */
  readonly chain: number;
  readonly usage: JournalUsage;
  readonly readBack: number;
  readonly verified: number;
  readonly damage: readonly Damage[];
  readonly notes: readonly string[];
}

/**
 * Runs the journal's own mount on a copy of the image, then reads every record that it holds. Fails with what the device
 * would fail with, or FILE_UNREADABLE where the image is not a whole partition.
 */
export function examine(image: Uint8Array, given: readonly KnownKey[]): Result<Examination> {
  const found = findGeometry(image);
  if (found !== undefined && !found.ok) return found;
  // Without a header that says more: as a blank or a destroyed partition of plain flash.
  const geometry = found?.value ?? PLAIN;
  if (found !== undefined && image.length < geometry.sectors * geometry.sectorBytes) {
    const length = checkLength(image, geometry);
    if (!length.ok) return length;
  }
  const inImage = found === undefined ? { kids: [], keys: [] } : keysOf(image, geometry);
  const keys = given.length > 0 ? given : inImage.keys;
  const unknownKids = inImage.kids.filter((kid) => !keys.some((key) => equalBytes(key.kid, kid)));
  // Where a key is named, the journal is to be that key's: another's is JOURNAL_FOREIGN, as on the device.
  const blind = given.length > 0 ? [] : unknownKids;
  const run = recover(image, geometry, keys, blind, true);
  if (!run.ok) return run;
  const other = run.value.asked.blind ? recover(image, geometry, keys, blind, false) : undefined;
  return ok(report(image, geometry, keys, unknownKids, run.value, other?.ok ? other.value : undefined));
}

const PLAIN: Geometry = {
  sectors: 0,
  sectorBytes: SECTOR_BYTES_MIN,
  unitBytes: 1,
  alignBytes: 4,
  slotBytes: 12,
};

interface Run {
  readonly journal: Journal;
  readonly flash: ImageFlash;
  readonly steps: readonly Step[];
  readonly asked: Asked;
}

function recover(
  image: Uint8Array,
  geometry: Geometry,
  keys: readonly KnownKey[],
  blind: readonly Uint8Array[],
  assumed: boolean,
): Result<Run> {
  const asked: Asked = { sign: new Set(), blind: false };
  const signers: RecordSigner[] = [
    ...keys.map((key) => verifier(key, asked)),
    ...blind.map((kid) => blindVerifier(kid, assumed, asked)),
  ];
  const flash = new ImageFlash(image, geometry);
  const mounted = Journal.mount({ flash, sha256, signers });
  if (!mounted.ok) return mounted;
  return ok({ journal: mounted.value, flash, steps: stepsOf(flash.takeOperations(), geometry), asked });
}

function report(
  image: Uint8Array,
  geometry: Geometry,
  keys: readonly KnownKey[],
  unknownKids: readonly Uint8Array[],
  run: Run,
  other: Run | undefined,
): Examination {
  const { journal, flash, steps, asked } = run;
  const { tail } = journal.report;
  const { head } = journal;
  const { firstSeq, usage } = journal;
  // The newest record first: it may have to be copied before it is read out, which is told apart from the recovery.
  const newest = head && journal.record(head.seq);
  const later = stepsOf(flash.takeOperations(), geometry);
  const signedAgain = new Set(steps.flatMap((step) => (step.kind === "record" ? [step.seq] : [])));
  const records = readAll(journal, keys, signedAgain);
  const opened = openedSectors(image, geometry);
  return {
    geometry,
    keys,
    unknownKids,
    tail,
    steps,
    stepsIfUnsigned: other && JSON.stringify(other.steps) !== JSON.stringify(steps) ? other.steps : undefined,
    later,
    laterFailure: newest !== undefined && !newest.ok ? newest.failure : undefined,
    open: openEnd(geometry, opened),
    head: head && {
      seq: head.seq,
      kind: KIND_WORDS[head.kind],
      // Of a record that is to be signed again only the device can tell it.
      id: signedAgain.has(head.seq) ? undefined : head.id,
    },
    firstSeq,
    released: releasedIn(geometry, opened),
    chain: opened.at(-1)?.header?.chain ?? 0,
    usage,
    readBack: records.readBack,
    verified: records.verified,
    damage: [
      ...(tail === "damaged"
        ? [{ code: "JOURNAL_TAIL_DAMAGED", detail: "how the journal ends has changed" } as const]
        : []),
      ...records.damage,
      ...damagedSectors(image, geometry),
    ],
    notes: [...comparisons(asked, signedAgain), ...earlierChains(opened)],
  };
}

interface ReadRecords {
  readonly readBack: number;
  readonly verified: number;
  readonly damage: readonly Damage[];
}

/** Every record of the head's chain that the journal holds: its bytes, its signature, and that it names the one before. */
function readAll(journal: Journal, keys: readonly KnownKey[], signedAgain: ReadonlySet<number>): ReadRecords {
  const damage: Damage[] = [];
  let readBack = 0;
  let verified = 0;
  let before: { readonly seq: number; readonly id: Uint8Array } | undefined;
  const last = journal.head?.seq ?? -1;
  for (let seq = journal.head ? journal.firstSeq : 0; seq <= last; seq++) {
    const bytes = journal.record(seq);
    // A full journal has no room to copy its newest record: that says nothing about the record.
    if (!bytes.ok && bytes.failure.code === "JOURNAL_FULL") continue;
    const record = bytes.ok ? parseRecord(bytes.value) : bytes;
    if (!record.ok) {
      damage.push({ seq, ...record.failure });
      continue;
    }
    const { kid, prev } = record.value.header;
    if (before?.seq === seq - 1 && !equalBytes(prev, before.id))
      damage.push({
        seq,
        code: "CHAIN_BROKEN",
        detail: `its prev is ${toHex(prev)}, seq ${seq - 1} is ${toHex(before.id)}`,
      });
    // What it will read as only the device can tell.
    if (signedAgain.has(seq)) continue;
    readBack++;
    before = { seq, id: recordId(sha256, record.value.bytes) };
    const key = keys.find((known) => equalBytes(known.kid, kid));
    if (key === undefined) continue;
    if (isSignedBy(key, record.value)) verified++;
    else damage.push({ seq, code: "SIGNATURE_INVALID", detail: `it was not signed by the key with kid ${toHex(kid)}` });
  }
  return { readBack, verified, damage };
}

/** The record that the newest sectors end with and that nothing in them names. */
function openEnd(
  geometry: Geometry,
  opened: ReturnType<typeof openedSectors>,
): (Place & { readonly whole: boolean }) | undefined {
  for (const { slot, ordinal, header, bytes } of opened.slice(-2).reverse()) {
    const { pieces } = walkSector({ geometry, sha256, ordinal, header, bytes });
    const open = pieces.filter((piece): piece is Frame => piece.kind === "frame" && piece.verdict === "open").at(-1);
    if (open !== undefined) return { sector: slot, offset: open.offset, whole: open.crcHolds };
  }
  return undefined;
}

/** The newest position frame of a sector that was opened to the end: that is what the next start goes by. */
function releasedIn(geometry: Geometry, opened: ReturnType<typeof openedSectors>): Released {
  for (const { ordinal, header, bytes } of [...opened].reverse()) {
    const { pieces, scan } = walkSector({ geometry, sha256, ordinal, header, bytes });
    const position = pieces
      .filter((piece): piece is Frame => piece.kind === "frame" && piece.header.type === FrameType.position)
      .filter(({ verdict }) => verdict === "heeded")
      .at(-1);
    if (position !== undefined && scan.opened) return readReleased(bytes, position.offset + FRAME_HEADER_BYTES);
  }
  return nothingReleased();
}

/** Sectors without a sound header. One right behind the newest is an opening that was cut: the next one erases it. */
function damagedSectors(image: Uint8Array, geometry: Geometry): Damage[] {
  const sectors = readSectors(image, geometry);
  const newest = Math.max(...sectors.map(({ header }) => header?.ordinal ?? -1));
  return sectors
    .filter(({ state }) => state !== "opened" && state !== "formatted")
    .filter(({ slot, ordinal }) => ordinal !== undefined || slot !== (newest + 1) % geometry.sectors)
    .map(({ slot, ordinal, problem }) => ({
      sector: slot,
      detail: `${problem}; ${ordinal === undefined ? "what it held is not read" : "its frames are read all the same"}, and the next round of the ring writes it anew`,
    }));
}

/** Where the device would make a signature to compare it with what a frame's link names. */
function comparisons(asked: Asked, signedAgain: ReadonlySet<number>): string[] {
  return [...asked.sign]
    .filter((seq) => !signedAgain.has(seq))
    .map(
      (seq) =>
        `seq ${seq}: its signature has changed in the flash; the device makes it again and compares, which this command cannot: it may be whole there`,
    );
}

function earlierChains(opened: ReturnType<typeof openedSectors>): string[] {
  const chain = opened.at(-1)?.header?.chain;
  const earlier = opened.filter(({ header }) => header !== undefined && header.chain !== chain);
  if (earlier.length === 0) return [];
  return [
    `${earlier.length} sectors hold records of an earlier chain: tallystick inspect shows them, they are not read here`,
  ];
}

/** The failure of a file that is no journal, with what may be the reason. */
export function unreadable(failure: Failure): Failure {
  if (failure.code !== "JOURNAL_UNREADABLE") return failure;
  const hint = "of an encrypted partition, dump what the device reads, or decrypt the dump";
  return fail(failure.code, `${failure.detail}; ${hint}`).failure;
}
