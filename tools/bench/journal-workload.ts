import { createHash } from "node:crypto";
import { concatBytes } from "tallystick/bytes/bytes";
import { explain, ok, type Result } from "tallystick/codes/codes";
import type { Flash } from "tallystick/journal/flash";
import { Journal } from "tallystick/journal/journal";
import { geometryOf, SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import type { JournalHead } from "tallystick/journal/report";
import { readSectorHeader } from "tallystick/journal/sector";
import type { RecordSigner } from "tallystick/journal/tail";
import { encodeBody, Kind, SIGNATURE_BYTES } from "tallystick/record/record";
import { PowerCut } from "../../hosts/simulator/board.js";
import { type FlashSnapshot, NorFlash } from "../../hosts/simulator/world/nor.js";
import type { Tear } from "../../hosts/simulator/world/tear.js";

/** One journal at work: what is appended to it, and what its flash counts meanwhile. */
export interface Combination {
  /** 1 for plain NOR; 16 or 32: encrypted. */
  readonly writeUnitBytes: 1 | 16 | 32;
  readonly sectors: number;
  /** Bytes of each record; "smallest" for the least that the format allows. */
  readonly record: number | "smallest";
}

export const SECTOR_BYTES = 4096;

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(bytes).digest());

/**
 * Stands in for Ed25519, which would take most of the time and none of the flash: two SHA-256 of key and message, of a
 * signature's length and deterministic like it. Nothing here is secret.
 */
function standInSigner(): RecordSigner {
  const key = sha256(Buffer.from("bench"));
  const make = (message: Uint8Array): Uint8Array =>
    concatBytes(
      sha256(concatBytes(key, Uint8Array.of(0), message)),
      sha256(concatBytes(key, Uint8Array.of(1), message)),
    );
  return {
    kid: key.slice(0, 8),
    sign: (message) => ok(make(message)),
    verify: (message, signature) => Buffer.compare(make(message), signature) === 0,
  };
}

const signer = standInSigner();

/** The payload of a mark that says nothing: the smallest that a record may have. */
const EMPTY_MAP = Uint8Array.of(0xa0);
/** As a board's after three minutes: five bytes of CBOR, as in all but its first minute. */
const UPTIME_MS = 180_000;

/** The body that follows `head`. */
function bodyAfter(head: JournalHead | undefined, record: Combination["record"], count: number): Uint8Array {
  const smallest = record === "smallest";
  const header = {
    kid: signer.kid,
    kind: head === undefined ? Kind.genesis : smallest ? Kind.mark : Kind.readings,
    boot: 0,
    seq: head === undefined ? 0 : head.seq + 1,
    prev: head?.id ?? new Uint8Array(32),
    uptimeMs: smallest ? 0 : UPTIME_MS,
    clock: 0 as const,
  };
  if (smallest) return encodeBody(header, EMPTY_MAP);
  const target = record - SIGNATURE_BYTES;
  let length = Math.max(0, target - encodeBody(header, EMPTY_MAP).length + EMPTY_MAP.length);
  // A longer payload may take a longer head.
  while (length > 0 && encodeBody(header, new Uint8Array(length)).length > target) length--;
  return encodeBody(
    header,
    Uint8Array.from({ length }, (_, i) => (count * 31 + i * 7) & 0xff),
  );
}

export function formatted({ sectors, writeUnitBytes }: Combination): NorFlash {
  const flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, sectorBytes: SECTOR_BYTES, writeUnitBytes });
  must(Journal.format(flash));
  return flash;
}

export function mounted(flash: Flash): Journal {
  return must(Journal.mount({ flash, sha256, signers: [signer] }));
}

/** Commits one record; its bytes, or undefined where the journal is full. */
function append(journal: Journal, combination: Combination, count: number, release: boolean): number | undefined {
  const body = bodyAfter(journal.head, combination.record, count);
  const committed = journal.commit(body);
  if (!committed.ok && committed.failure.code === "JOURNAL_FULL") return undefined;
  const position = must(committed);
  if (release) must(journal.release(position));
  return body.length + SIGNATURE_BYTES;
}

/** What the flash counted while records were appended. */
export interface Written {
  readonly records: number;
  readonly payloadBytes: number;
  readonly recordBytes: { readonly smallest: number; readonly largest: number };
  readonly bytesProgrammed: number;
  readonly erases: number;
  /** Of all sectors, from the blank partition on. */
  readonly erasesMost: number;
  readonly erasesLeast: number;
}

/**
 * Appends and releases records until each sector was opened `rounds` times, counted from one opening to another, so that
 * only whole sectors count.
 */
export function writeRounds(flash: NorFlash, combination: Combination, rounds: number): Written {
  const journal = mounted(flash);
  let count = 0;
  const untilErases = (erases: number): { payloadBytes: number; smallest: number; largest: number } => {
    const sizes = { payloadBytes: 0, smallest: Number.POSITIVE_INFINITY, largest: 0 };
    while (flash.counters.erases < erases) {
      const bytes = append(journal, combination, count++, true);
      if (bytes === undefined) throw new Error("full, although everything is released");
      sizes.payloadBytes += bytes;
      sizes.smallest = Math.min(sizes.smallest, bytes);
      sizes.largest = Math.max(sizes.largest, bytes);
    }
    return sizes;
  };
  flash.resetCounters();
  // One round of the ring, so that what is measured is neither the first sectors nor the shortest numbers.
  untilErases(combination.sectors);
  const before = { ...flash.counters, count };
  const { payloadBytes, smallest, largest } = untilErases(before.erases + rounds * combination.sectors);
  const { bytesProgrammed, erases, refusals } = flash.counters;
  if (refusals > 0) throw new Error(`${refusals} units were programmed twice`);
  const wear = Array.from({ length: combination.sectors }, (_, sector) => flash.erasesOf(sector));
  return {
    records: count - before.count,
    payloadBytes,
    recordBytes: { smallest, largest },
    bytesProgrammed: bytesProgrammed - before.bytesProgrammed,
    erases: erases - before.erases,
    erasesMost: Math.max(...wear),
    erasesLeast: Math.min(...wear),
  };
}

/** Appends records that are never released until the journal refuses; how many it then holds. */
export function fill(flash: NorFlash, combination: Combination): number {
  const journal = mounted(flash);
  for (let count = 0; ; count++) if (append(journal, combination, count, false) === undefined) return count;
}

/** What one mount read. */
export interface MountCost {
  /** But for the head sector's scan. */
  readonly reads: number;
  readonly bytes: number;
  /** Of the newest sector behind its header. */
  readonly scanReads: number;
  readonly scanBytes: number;
  /** What recovery wrote, where a cut left something open. */
  readonly programs: number;
  readonly erases: number;
  /** Every header was read, because the search met one that does not fit. */
  readonly linear: boolean;
}

/** Mounts once, as a board that starts, and tells what the flash counted. */
export function mountCost(flash: NorFlash): MountCost {
  const head = newestSlot(flash);
  const scan = { reads: 0, bytes: 0 };
  const seen: Flash = {
    sizeBytes: flash.sizeBytes,
    sectorBytes: flash.sectorBytes,
    writeUnitBytes: flash.writeUnitBytes,
    read: (offset, into) => {
      const ofHead = Math.floor(offset / flash.sectorBytes) === head;
      if (ofHead && into.length > SECTOR_HEADER_BYTES) {
        scan.reads++;
        scan.bytes += into.length;
      }
      flash.read(offset, into);
    },
    write: (offset, bytes) => flash.write(offset, bytes),
    erase: (sector) => flash.erase(sector),
  };
  flash.resetCounters();
  const { linear } = mounted(seen).report;
  const { reads, bytesRead, programs, erases } = flash.counters;
  return {
    reads: reads - scan.reads,
    bytes: bytesRead - scan.bytes,
    scanReads: scan.reads,
    scanBytes: scan.bytes,
    programs,
    erases,
    linear,
  };
}

function newestSlot(flash: NorFlash): number {
  const geometry = must(geometryOf(flash));
  let newest = { ordinal: -1, slot: 0 };
  for (let slot = 0; slot < geometry.sectors; slot++) {
    const reading = readSectorHeader(geometry, flash.read(slot * geometry.sectorBytes, SECTOR_HEADER_BYTES));
    if (reading.kind === "header" && reading.header.ordinal > newest.ordinal)
      newest = { ordinal: reading.header.ordinal, slot };
  }
  return newest.slot;
}

/** Mounts behind each of the records that fill a sector: as many places where a board may have stopped cleanly. */
export function mountsInASector(flash: NorFlash, combination: Combination): MountCost[] {
  const journal = mounted(flash);
  const costs: MountCost[] = [];
  for (let count = 0, opened = 0; opened < 2; count++) {
    flash.resetCounters();
    append(journal, combination, count, true);
    if (flash.counters.erases > 0) opened++;
    if (opened !== 1) continue;
    const cost = mountCost(flash);
    if (cost.programs + cost.erases > 0) throw new Error("a mount wrote, although nothing was cut");
    costs.push(cost);
  }
  return costs;
}

/** How the power leaves a program or an erase: not begun, begun, in the middle, nearly done, done and not told. */
const TEARS: readonly { readonly program: Tear; readonly erase: Tear }[] = [
  { program: { kind: "before" }, erase: { kind: "before" } },
  { program: { kind: "prefix", bits: 20, edge: true }, erase: { kind: "zeros", share: 0.5 } },
  { program: { kind: "subset", share: 0.5, seed: 1 }, erase: { kind: "mix", share: 0.5, seed: 1 } },
  { program: { kind: "unstable", bit: 0 }, erase: { kind: "weak", cells: 8, seed: 1 } },
  { program: { kind: "after" }, erase: { kind: "after" } },
];

/** Mounts after a cut in each operation of appending one record, torn in each of several ways. */
export function mountsAfterCuts(flash: NorFlash, combination: Combination): MountCost[] {
  const costs: MountCost[] = [];
  for (const from of [flash.snapshot(), beforeAnOpening(flash, combination)])
    for (let operation = 1, more = true; more; operation++)
      for (const tear of TEARS) {
        flash.restore(from);
        const journal = mounted(flash);
        flash.cutAt({ operation, ...tear });
        more = isCut(() => append(journal, combination, operation, true));
        flash.cutAt(undefined);
        if (more) costs.push(mountCost(flash));
      }
  return costs;
}

/** Appends until the next record opens a sector; the cells right before it. */
function beforeAnOpening(flash: NorFlash, combination: Combination): FlashSnapshot {
  const journal = mounted(flash);
  for (let count = 0; ; count++) {
    const before = flash.snapshot();
    const { erases } = flash.counters;
    append(journal, combination, count, true);
    if (flash.counters.erases > erases) return before;
  }
}

function isCut(run: () => void): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof PowerCut) return true;
    throw error;
  }
}

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(explain(result.failure));
  return result.value;
}
