import assert from "node:assert/strict";
import type { Sha256 } from "tallystick/identity/crypto";
import { Journal } from "tallystick/journal/journal";
import type { RecordSigner } from "tallystick/journal/tail";
import { PowerCut } from "../../../hosts/simulator/board.js";
import { type FlashCut, type FlashSnapshot, NorFlash } from "../../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../../hosts/simulator/world/random.js";
import { ledgered, quickSigner, sha256 } from "../rig.js";
import { Oracle, Violation } from "./oracle.js";
import { run, type Start, type Told } from "./session.js";

/**
 * Power cuts against the journal: a case is a journal to begin with, a workload by its seed and a list of cuts. It is a
 * pure function of itself, and one line of JSON names it. Signatures are the stand-in of rig.ts: deterministic as
 * Ed25519's, and fast enough for a million cuts.
 */
export interface CutCase {
  readonly unit: 1 | 16 | 32;
  readonly sectors: number;
  /** Which of the journals to begin with: from a blank one to one many rounds of the ring old, or PRELUDE_FULL. */
  readonly prelude: number;
  /** Of the workload before and between the cuts, and of what unstable cells read as. */
  readonly seed: number;
  /** One a start: the power goes at this program or erase of it. */
  readonly cuts: readonly FlashCut[];
  /** The workload's records are long. */
  readonly long?: boolean;
  /** From so many starts on the device has a new key: it begins a new chain behind the old one. */
  readonly newKeyAfter?: number;
  /** The relay stays away until the cuts are over, and at the first only so many sectors are free, the reserve not counted. */
  readonly silent?: number;
  /** How often the list of cuts is gone through, once where it is not given; of the last `again` of them where that is. */
  readonly rounds?: number;
  readonly again?: number;
}

export const SECTOR_BYTES = 4096;
/** Starts before the case begins, by prelude. */
const PRELUDE_STARTS = [0, 1, 3, 6, 12, 20, 30, 60] as const;
export const PRELUDES = PRELUDE_STARTS.length;
/** Some rounds old, and filled up with records of which none is released. */
export const PRELUDE_FULL = PRELUDES;
/** Nearly full, with a verdict behind its newest record: the one after that was cut. It is the first of its sector. */
export const PRELUDE_VOIDED = PRELUDES + 1;
/** The same, where it is not. */
export const PRELUDE_VOIDED_LATER = PRELUDES + 2;
const COMMITS_LATER = 3;
const ROUNDS_BEFORE_FULL = 12;
/** Mounts after the last cut, with nothing but reading between them. */
const REMOUNTS = 8;
/** Records that a start commits where no cut stops it: so many, and two more. */
const COMMITS_MOST = 6;
const COMMITS_AFTER = 3;

/** One start of a case. */
export interface PlannedStart extends Start {
  readonly newKey: boolean;
  readonly cut?: FlashCut;
}

/**
 * The starts of a case, in their order: one that fills the ring where the relay stays away, those that are cut, eight mounts
 * with two looks at everything, and one more that works.
 */
export function startsOf(cutCase: CutCase): PlannedStart[] {
  const { seed, cuts, rounds = 1, again = cuts.length, long = false, newKeyAfter, silent } = cutCase;
  const random = new SeededRandom(seed ^ 0x5eed);
  const starts: Omit<PlannedStart, "newKey">[] = [];
  if (silent !== undefined) starts.push({ kind: "fill", seed: 0, commits: silent });
  const once = cuts.length - again;
  for (let n = 0; n < once + again * rounds; n++)
    starts.push({
      kind: "work",
      seed: random.next(),
      commits: 2 + random.below(COMMITS_MOST),
      long,
      silent: silent !== undefined,
      cut: n < once ? cuts[n]! : cuts[once + ((n - once) % again)]!,
    });
  for (let remount = 0; remount < REMOUNTS; remount++)
    starts.push({ kind: remount === 2 || remount === REMOUNTS - 1 ? "check" : "mount", seed: 0, commits: 0 });
  starts.push({ kind: "work", seed: random.next(), commits: COMMITS_AFTER });
  starts.push({ kind: "check", seed: 0, commits: 0 });
  const filled = silent === undefined ? 0 : 1;
  return starts.map((start, n) => ({ ...start, newKey: n >= filled + (newKeyAfter ?? starts.length) }));
}

/** Reads that a mount may take: every header once, and twice where one does not fit; the newest sectors; their tails. */
function readsMost(sectors: number): number {
  return 4 * sectors + 80;
}

interface Prelude {
  readonly flash: FlashSnapshot;
  readonly oracle: Oracle;
}

const preludes = new Map<string, Prelude>();
const SIGNER = quickSigner("cuts");
const SUCCESSOR = quickSigner("successor");

/** The journal that a case begins with. */
export function preludeOf(
  { unit, sectors, prelude }: Pick<CutCase, "unit" | "sectors" | "prelude">,
  signer: RecordSigner = SIGNER,
  hash: Sha256 = sha256,
): Prelude {
  const key = `${Buffer.from(signer.kid).toString("hex")}/${unit}/${sectors}/${prelude}`;
  let found = preludes.get(key);
  if (found === undefined) {
    const flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes: unit });
    const formatted = Journal.format(flash);
    if (!formatted.ok) throw new Error(formatted.failure.detail);
    const oracle = new Oracle();
    const random = new SeededRandom(prelude);
    const options = { flash, sha256: hash, signer, tell: (told: Told) => oracle.hear(told) };
    for (let start = 0; start < (PRELUDE_STARTS[prelude] ?? ROUNDS_BEFORE_FULL); start++)
      run(options, { kind: "work", seed: random.next(), commits: 1 + random.below(COMMITS_MOST) }, 0);
    if (prelude >= PRELUDE_FULL) run(options, { kind: "fill", seed: 0, commits: prelude === PRELUDE_FULL ? 0 : 1 }, 0);
    if (prelude === PRELUDE_VOIDED_LATER)
      run(options, { kind: "work", seed: 0, commits: COMMITS_LATER, silent: true }, 0);
    if (prelude >= PRELUDE_VOIDED) {
      flash.cutAt({ operation: 3, program: { kind: "prefix", bits: 60, edge: false } });
      assert.throws(() => run(options, { kind: "work", seed: 0, commits: 1, silent: true }, 0), PowerCut);
      flash.cutAt(undefined);
      run(options, { kind: "mount", seed: 0, commits: 0 }, 0);
    }
    found = { flash: flash.snapshot(), oracle };
    preludes.set(key, found);
  }
  return found;
}

/** What running a case came to. */
export interface Outcome {
  /** Power cuts that happened: a planned one lies behind the end of its start now and then. */
  readonly cuts: number;
  /** A recovery had to wait for a release. */
  readonly waited: boolean;
  /** What did not hold; undefined where all did. */
  readonly failure?: string;
}

/** Runs a case in this process. A `strict` one may never wait, whatever its cuts are. */
export function tryCase(cutCase: CutCase, strict = false): Outcome {
  const { unit, sectors, seed } = cutCase;
  const prelude = preludeOf(cutCase);
  const flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes: unit, seed });
  flash.restore(prelude.flash);
  const oracle = Oracle.after(prelude.oracle);
  oracle.mayWait = !strict && mayWait(cutCase);
  const [first, second] = [ledgered(SIGNER), ledgered(SUCCESSOR)];
  const tell = (told: Told) => oracle.hear(told);
  const before = { flash, sha256, signer: first, tell };
  const after = { flash, sha256, signer: second, former: first, tell };
  let cuts = 0;
  let last: PlannedStart["kind"] | undefined;
  try {
    for (const start of startsOf(cutCase)) {
      if (repeats(start.kind, last, flash)) continue;
      const previous = last;
      const wasStable = flash.isStable;
      last = start.kind;
      flash.cutAt(start.cut);
      if (start.kind === "mount") flash.resetCounters();
      try {
        run(start.newKey ? after : before, start, oracle.unreleased);
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error;
        cuts++;
      }
      if (start.kind === "mount" && flash.counters.reads > readsMost(sectors))
        throw new Violation(`mount took ${flash.counters.reads} reads`);
      // What a mount decides it has written before it tells: the next one has nothing more to write.
      if (start.kind === "mount" && previous !== undefined && previous !== "work" && wasStable && flash.operations > 0)
        throw new Violation("a start writes that has nothing to do");
      const conflict = first.conflict ?? second.conflict;
      if (conflict !== undefined) throw new Violation(conflict);
    }
    return { cuts, waited: oracle.waited };
  } catch (error) {
    return {
      cuts,
      waited: oracle.waited,
      failure: error instanceof Violation ? error.message : String((error as Error).stack),
    };
  }
}

/** A record is cut, its recovery leaves a frame unstable, the recovery from that is cut as well. */
const WAITS_FROM_CUTS = 3;

/**
 * Three cuts and more, of which one leaves unstable cells, may use up the reserve where nothing is released (DESIGN.md, "What
 * physics leaves"): then a recovery waits for the next release. No others ever may.
 */
export function mayWait({ cuts, again = 0 }: CutCase): boolean {
  return (
    (again > 0 || cuts.length >= WAITS_FROM_CUTS) &&
    cuts.some(
      ({ program }) => program?.kind === "unstable" || (program !== undefined && "edge" in program && program.edge),
    )
  );
}

/** A start that only read, over cells that all are stable, can only read the same again; a check begins with a mount. */
export function repeats(kind: Start["kind"], last: Start["kind"] | undefined, flash: NorFlash): boolean {
  const same = kind !== "work" && (kind === last || (kind === "mount" && last === "check"));
  return same && flash.operations === 0 && flash.isStable;
}

/** A program or erase of a start. */
export interface Operation {
  readonly kind: "program" | "erase";
  /** Bits that a program clears. */
  readonly bits: number;
}

/** A cut that no start comes to. */
export const NEVER: FlashCut = { operation: Number.MAX_SAFE_INTEGER };

/** What the start after a case's cuts does where nothing cuts it: the operations of its mount, and those behind it. */
export interface Operations {
  readonly mount: readonly Operation[];
  readonly work: readonly Operation[];
}

/** The programs and erases of the start after a case's cuts; a function of the case, as the case itself is. */
export function operationsOf(cutCase: CutCase): Operations {
  const { unit, sectors, seed, cuts } = cutCase;
  const flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes: unit, seed });
  flash.restore(preludeOf(cutCase).flash);
  const operations = { mount: [] as Operation[], work: [] as Operation[] };
  let into: Operation[] | undefined;
  const tell = ({ kind }: Told) => {
    if (into !== undefined && kind === "mounted") into = operations.work;
  };
  const options = { flash, sha256, signer: SIGNER, tell };
  flash.onOperation = (kind, _offset, length) => void into?.push({ kind, bits: length * 8 });
  let left = cuts.length;
  for (const start of startsOf({ ...cutCase, cuts: [...cuts, NEVER] })) {
    if (start.cut !== undefined && left-- === 0) into = operations.mount;
    flash.cutAt(start.cut);
    try {
      run(options, start, 0);
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
    }
    if (into !== undefined) break;
  }
  return operations;
}
