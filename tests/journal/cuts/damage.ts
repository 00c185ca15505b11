import { explain } from "tallystick/codes/codes";
import type { Flash } from "tallystick/journal/flash";
import { FlashError } from "tallystick/journal/flash";
import { Journal } from "tallystick/journal/journal";
import { recordId } from "tallystick/record/record";
import { NorFlash } from "../../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../../hosts/simulator/world/random.js";
import { quickSigner, sha256 } from "../rig.js";
import { PRELUDE_VOIDED, preludeOf, SECTOR_BYTES } from "./case.js";
import { bodyAfter } from "./session.js";

/**
 * Damage that is no cut of the power: flipped and stuck cells, sectors that wear out or report faults, bytes of anyone's.
 * A journal may lose what was damaged, and says so; it never gives out anything else than what was committed, and what it
 * commits on cells that are stuck or worn stays.
 */
export type Damage =
  /** Cells turned over, each as byte of the partition and bit. */
  | { readonly kind: "flips"; readonly cells: readonly (readonly [offset: number, bit: number])[] }
  /** One cell that reads as `value` whatever is done to it. */
  | { readonly kind: "stuck"; readonly offset: number; readonly bit: number; readonly value: 0 | 1 }
  /** Sectors take so many erases more; then programs and erases do nothing, with or without a report. */
  | { readonly kind: "worn"; readonly erases: number; readonly reports: boolean }
  /** The `operation`-th program or erase reports a fault, after it did its work or before. */
  | { readonly kind: "fault"; readonly operation: number; readonly done: boolean }
  /** Random bytes from `seed` in place of the partition's content. */
  | { readonly kind: "random"; readonly seed: number };

export interface DamageCase {
  readonly unit: 1 | 16 | 32;
  readonly sectors: number;
  readonly prelude: number;
  readonly damage: Damage;
}

/** Records that one flipped cell can cost: the one that it is in, and the one that only it names. */
const LOST_MOST_PER_CELL = 2;
const COMMITS = 40;
const COMMITS_ON_WORN = 600;
const SIGNER = quickSigner("cuts");

/** Runs a case: what did not hold, or undefined. */
export function tryDamage(damageCase: DamageCase): string | undefined {
  try {
    damageOf[damageCase.damage.kind](damageCase, damageCase.damage as never);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const damageOf: { readonly [K in Damage["kind"]]: (c: DamageCase, damage: Extract<Damage, { kind: K }>) => void } = {
  flips(damageCase, { cells }) {
    const flash = journalOf(damageCase);
    for (const [offset, bit] of cells) flash.flip(offset, bit);
    const lost = readAll(flash, damageCase);
    if (lost > LOST_MOST_PER_CELL * cells.length) throw new Error(`${lost} records are lost`);
    refuseSecond(flash, damageCase);
  },

  stuck(damageCase, { offset, bit, value }) {
    const flash = journalOf(damageCase);
    flash.stick(offset, bit, value);
    const lost = readAll(flash, damageCase);
    if (lost > LOST_MOST_PER_CELL) throw new Error(`${lost} records are lost`);
    goOn(flash, COMMITS);
  },

  worn(damageCase, { erases, reports }) {
    const before = preludeOf(damageCase);
    const most = before.flash.erased.reduce((a, b) => Math.max(a, b), 0);
    const flash = journalOf(damageCase, { enduranceErases: most + erases, wornReports: reports });
    readAll(flash, damageCase);
    goOn(flash, COMMITS_ON_WORN);
  },

  fault(damageCase, { operation, done }) {
    const flash = journalOf(damageCase);
    goOn(reporting(flash, operation, done), COMMITS);
  },

  random({ unit, sectors }, { seed }) {
    const cells = new SeededRandom(seed).bytes(sectors * SECTOR_BYTES);
    const flash = new NorFlash({ sizeBytes: cells.length, writeUnitBytes: unit });
    flash.fill(cells);
    flash.resetCounters();
    const mounted = Journal.mount({ flash, sha256, signers: [SIGNER] });
    if (mounted.ok) throw new Error("random bytes were mounted");
    if (mounted.failure.code !== "JOURNAL_UNREADABLE") throw new Error(explain(mounted.failure));
    const { programs, erases, reads } = flash.counters;
    if (programs + erases > 0) throw new Error("random bytes were written over");
    if (reads > 4 * sectors) throw new Error(`mount took ${reads} reads`);
  },
};

function journalOf(
  damageCase: DamageCase,
  options: { readonly enduranceErases?: number; readonly wornReports?: boolean } = {},
): NorFlash {
  const { unit, sectors } = damageCase;
  const flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes: unit, ...options });
  flash.restore(preludeOf(damageCase).flash);
  return flash;
}

/** Reads everything that the journal was promised to hold; how many records are lost. What is given out must be it. */
function readAll(flash: Flash, damageCase: DamageCase): number {
  const { oracle } = preludeOf(damageCase);
  const mounted = Journal.mount({ flash, sha256, signers: [SIGNER] });
  if (!mounted.ok) {
    // One cell makes no journal unreadable; several may, of a young one whose headers they are in.
    const { damage } = damageCase;
    if (damage.kind !== "flips" || damage.cells.length === 1) throw new Error(explain(mounted.failure));
    return 0;
  }
  let lost = 0;
  for (let seq = oracle.unreleased; seq < oracle.promised.length; seq++) {
    const bytes = mounted.value.record(seq);
    if (!bytes.ok) lost++;
    else if (!sameId(recordId(sha256, bytes.value), oracle.promised[seq]!.id))
      throw new Error(`seq ${seq} was given out changed`);
  }
  return lost;
}

/**
 * The position of a committed record takes no other one. On an encrypted partition a newest record that has changed cannot
 * be told from one that is torn or was never begun where nothing stands behind it (DESIGN.md, "What physics leaves"), and
 * then the one before is the newest: there, and only there, the sent mark of the key store stands in front. So it is on
 * plain flash where two cells of its frame have changed.
 */
function refuseSecond(flash: Flash, damageCase: DamageCase): void {
  const { oracle } = preludeOf(damageCase);
  const mounted = Journal.mount({ flash, sha256, signers: [SIGNER] });
  if (!mounted.ok) return;
  const { head } = mounted.value;
  // A full journal would refuse any record.
  if (head !== undefined) mounted.value.release({ seq: head.seq, id: head.id });
  const committed = mounted.value.commit(bodyAfter(SIGNER.kid, mounted.value.head, 160, 0));
  if (!committed.ok) return;
  const newest = oracle.promised.length - 1;
  const { seq } = committed.value;
  // Where a frame behind it names it, whatever was flipped.
  const flips = flipsOf(damageCase);
  const isNamed = damageCase.prelude >= PRELUDE_VOIDED && flips === 1;
  const tells = isNamed || damageCase.unit === 1;
  const first = damageCase.unit === 1 ? newest : newest + 1 - flips;
  if (seq < first || (seq === newest && tells && !areNear(damageCase)))
    throw new Error(`a second record was signed at seq ${seq}`);
}

function flipsOf({ damage }: DamageCase): number {
  return damage.kind === "flips" ? damage.cells.length : 0;
}

/** Two cells of one sector: one may be in the header of a record's frame, and the other in what shows that it changed. */
function areNear({ damage }: DamageCase): boolean {
  const sectors = damage.kind === "flips" ? damage.cells.map(([offset]) => Math.floor(offset / SECTOR_BYTES)) : [];
  return new Set(sectors).size < sectors.length;
}

/** Commits and releases for as long as the flash takes it; then everything that was committed is there, in this start and the next. */
function goOn(flash: Flash, commits: number): void {
  let mounted = Journal.mount({ flash, sha256, signers: [SIGNER] });
  if (!mounted.ok) {
    // A cell may be stuck in what mount has to read or to write: then it says so, and a second start does too.
    if (!/^JOURNAL_/.test(mounted.failure.code)) throw new Error(explain(mounted.failure));
    return;
  }
  const ids: [number, Uint8Array][] = [];
  for (let n = 0; n < commits; n++) {
    const journal = mounted.value;
    const committed = journal.commit(bodyAfter(SIGNER.kid, journal.head, 160 + (n % 5) * 200, n));
    if (!committed.ok) {
      if (!/^JOURNAL_/.test(committed.failure.code)) throw new Error(explain(committed.failure));
      mounted = Journal.mount({ flash, sha256, signers: [SIGNER] });
      if (!mounted.ok) throw new Error(`after ${committed.failure.code}: ${explain(mounted.failure)}`);
      if (committed.failure.code === "JOURNAL_FULL" || n > 0.9 * commits) break;
      continue;
    }
    ids.push([committed.value.seq, committed.value.id]);
    if (n % 3 === 2) {
      const kept = ids.splice(0, ids.length - 2);
      const last = kept.at(-1);
      if (last !== undefined) {
        const released = journal.release({ seq: last[0], id: last[1] });
        if (!released.ok) throw new Error(explain(released.failure));
      }
    }
  }
  for (const again of [mounted, Journal.mount({ flash, sha256, signers: [SIGNER] })]) {
    if (!again.ok) throw new Error(explain(again.failure));
    for (const [seq, id] of ids) {
      const bytes = again.value.record(seq);
      if (!bytes.ok) throw new Error(`seq ${seq}: ${explain(bytes.failure)}`);
      if (!sameId(recordId(sha256, bytes.value), id)) throw new Error(`seq ${seq} was given out changed`);
    }
  }
}

/** The same flash, whose `operation`-th program or erase reports a fault, after its work was done or in place of it. */
function reporting(flash: Flash, operation: number, done: boolean): Flash {
  let count = 0;
  const drive = (what: "write" | "erase", offset: number, work: () => void): void => {
    const fails = ++count === operation;
    if (!fails || done) work();
    if (fails) throw new FlashError(what, offset, "the chip says no");
  };
  return {
    sizeBytes: flash.sizeBytes,
    sectorBytes: flash.sectorBytes,
    writeUnitBytes: flash.writeUnitBytes,
    read: (offset, into) => flash.read(offset, into),
    write: (offset, bytes) => drive("write", offset, () => flash.write(offset, bytes)),
    erase: (sector) => drive("erase", sector * flash.sectorBytes, () => flash.erase(sector)),
  };
}

function sameId(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
