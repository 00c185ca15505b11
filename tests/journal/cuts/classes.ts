import { SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import type { FlashCut } from "../../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../../hosts/simulator/world/random.js";
import { eraseTear, programTear, type Tear } from "../../../hosts/simulator/world/tear.js";
import {
  type CutCase,
  NEVER,
  type Operation,
  type Outcome,
  operationsOf,
  PRELUDE_FULL,
  PRELUDE_VOIDED,
  PRELUDE_VOIDED_LATER,
  PRELUDES,
  SECTOR_BYTES,
  tryCase,
} from "./case.js";
import { type Damage, type DamageCase, tryDamage } from "./damage.js";

/**
 * The classes of cuts (journal.md's flash model): which case is the n-th of a class. Single cuts are enumerated: each way
 * to tear each operation of each workload is one point, and a class goes through its points in an order that spreads any
 * number of them evenly; with enough of them it tries every one. What combines cuts is drawn.
 */
export interface CaseClass {
  readonly name: string;
  /** For people, in the summary. */
  readonly title: string;
  /** Cases for each cut of a run: what a run's count of cuts is multiplied with. */
  readonly casesPerCut: number;
  /** Its cases are cuts of the power, and not damage of another kind. */
  readonly hasCuts: boolean;
  /** Whether whole boards can run them; those have one key. */
  readonly onBoards?: boolean;
  /** Points of the enumeration; undefined where cases are drawn. */
  points?(): number;
  /** The n-th case of this seed. */
  caseAt(seed: number, n: number): AnyCase;
}

export type AnyCase = CutCase | DamageCase;

/** Runs a case of any kind. */
export function tryAny(any: AnyCase, strict?: boolean): Outcome {
  if ("cuts" in any) return tryCase(any, strict);
  const failure = tryDamage(any);
  return { cuts: 0, waited: false, ...(failure !== undefined && { failure }) };
}

const UNITS = [1, 32, 16] as const;
const SECTORS = 8;
const PRELUDES_FLIPPED = [PRELUDE_FULL, PRELUDE_VOIDED, PRELUDE_VOIDED_LATER] as const;
/** Each bit of a full partition and of those that end with a verdict, for each write unit. */
const FLIPS = PRELUDES_FLIPPED.length * UNITS.length * SECTORS * SECTOR_BYTES * 8;
/** Workloads by seed for each journal to begin with, where operations are enumerated. */
const VARIANTS = 12;
/** How many workloads have one of long records among them. */
const LONG_ONE_IN = 4;

export const CASE_CLASSES: readonly CaseClass[] = [
  enumerated(
    "frames",
    "each program of a header, verdict, position, signature: prefix, suffix, subset, unstable bit",
    0.2,
    (operation) => programTears(operation, operation.bits <= FRAME_BITS_MAX),
  ),
  enumerated("bodies", "each longer program, of a body: the same", 0.1, (operation) =>
    programTears(operation, operation.bits > FRAME_BITS_MAX),
  ),
  enumerated("erases", "each erase: 64 points, zeros, mixed, nearly all ones, weak ones", 0.15, eraseTears),
  {
    name: "pairs",
    title: "all pairs of operations, the second during recovery",
    casesPerCut: 0.2 / 2,
    hasCuts: true,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const first = 1 + (n % 40);
      const second = 1 + (Math.floor(n / 40) % 10);
      const cuts = [anyCut(first, random), anyCut(second, random)];
      return { ...anyJournal(random, n), cuts };
    },
  },
  {
    name: "recoveries",
    title: "a cut that leaves something to do, then one to five more, each in what the start after those before writes",
    casesPerCut: 0.1 / 4,
    hasCuts: true,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const journal = { ...anyJournal(random, n), ...(random.oneIn(2) && { long: true }) };
      const cuts = [firstCut(journal, random)];
      for (let more = 1 + random.below(5); more > 0; more--) cuts.push(nextCut({ ...journal, cuts }, random));
      // Where no cut stops it, a start goes on behind what the recoveries have left.
      if (random.oneIn(2)) cuts.push(NEVER);
      return { ...journal, cuts };
    },
  },
  {
    name: "runs",
    title: "three to ten cuts anywhere",
    casesPerCut: 0.15 / 6,
    hasCuts: true,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const cuts = Array.from({ length: 3 + random.below(8) }, () => anyCut(1 + random.below(24), random));
      return { ...anyJournal(random, n), cuts };
    },
  },
  {
    name: "successions",
    title: "one to four cuts while a new key's chain begins",
    casesPerCut: 0.05 / 2.5,
    hasCuts: true,
    onBoards: false,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const cuts = Array.from({ length: 1 + random.below(4) }, () => anyCut(1 + random.below(16), random));
      const silent = random.oneIn(3) && { silent: random.below(3) };
      return { ...anyJournal(random, n), ...silent, newKeyAfter: random.below(cuts.length), cuts };
    },
  },
  {
    name: "loops",
    title: "300 cuts at one point",
    casesPerCut: 0.1 / 300,
    hasCuts: true,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const journal = anyJournal(random, n);
      const operation = 1 + random.below("long" in journal ? 24 : 10);
      return { ...journal, sectors: 16, cuts: [anyCut(operation, random)], rounds: 300 };
    },
  },
  {
    name: "silence",
    title: "one to ten cuts while the relay stays away and the ring is nearly full",
    casesPerCut: 0.05 / 4,
    hasCuts: true,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const cuts = Array.from({ length: 1 + random.below(10) }, () => anyCut(1 + random.below(24), random));
      return { ...anyJournal(random, n), silent: random.below(4), cuts };
    },
  },
  {
    name: "storms",
    title: "up to four cuts, of which the last ones come again and again; half of them with the relay away",
    casesPerCut: 0.05 / 200,
    hasCuts: true,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const journal = anyJournal(random, n);
      const operations = "long" in journal ? 28 : 14;
      const cuts = Array.from({ length: 1 + random.below(4) }, () => anyCut(1 + random.below(operations), random));
      const again = 1 + random.below(cuts.length);
      const silent = random.oneIn(2) && { silent: random.below(4) };
      return { ...journal, ...silent, cuts, again, rounds: Math.ceil(300 / again) };
    },
  },
  {
    name: "flips",
    title: "each bit of a full partition flipped, and of those with a verdict at their end",
    casesPerCut: 0.06,
    hasCuts: false,
    points: () => FLIPS,
    caseAt(seed, n) {
      const index = pointAt(seed, n, FLIPS);
      const journals = PRELUDES_FLIPPED.length * UNITS.length;
      const journal = Math.floor(index / 8) % journals;
      const cell = [Math.floor(index / 8 / journals), index % 8] as const;
      const unit = UNITS[journal % UNITS.length]!;
      const prelude = PRELUDES_FLIPPED[Math.floor(journal / UNITS.length)]!;
      return { unit, sectors: SECTORS, prelude, damage: { kind: "flips", cells: [cell] } };
    },
  },
  damaged("two flips", "two bits flipped", 0.015, (random) => ({
    kind: "flips",
    cells: [anyCell(random), anyCell(random)],
  })),
  damaged("headers", "flips in the headers of one to three sectors side by side", 0.005, (random) => {
    const first = random.below(SECTORS);
    const cells = Array.from({ length: 1 + random.below(3) }, (_, n) => {
      const offset = ((first + n) % SECTORS) * SECTOR_BYTES + random.below(SECTOR_HEADER_BYTES);
      return [offset, random.below(8)] as const;
    });
    return { kind: "flips", cells };
  }),
  damaged("stuck", "a cell that is stuck", 0.01, (random) => {
    const [offset, bit] = anyCell(random);
    return { kind: "stuck", offset, bit, value: random.oneIn(2) ? 1 : 0 };
  }),
  damaged("worn", "sectors that wear out, silently or with a report", 0.001, (random) => ({
    kind: "worn",
    erases: 1 + random.below(4),
    reports: random.oneIn(2),
  })),
  damaged("faults", "a program or erase that reports an error", 0.01, (random) => ({
    kind: "fault",
    operation: 1 + random.below(60),
    done: random.oneIn(2),
  })),
  damaged("random", "random bytes as a partition", 0.001, (random) => ({ kind: "random", seed: random.next() })),
];

function damaged(name: string, title: string, casesPerCut: number, draw: (random: SeededRandom) => Damage): CaseClass {
  return {
    name,
    title,
    casesPerCut,
    hasCuts: false,
    caseAt(seed, n) {
      const random = drawn(seed, n);
      const { unit, sectors, prelude } = anyJournal(random, n);
      return {
        unit,
        sectors,
        prelude: random.oneIn(2) ? random.pick(PRELUDES_FLIPPED) : prelude,
        damage: draw(random),
      };
    },
  };
}

function anyCell(random: SeededRandom): readonly [offset: number, bit: number] {
  return [random.below(SECTORS * SECTOR_BYTES), random.below(8)];
}

/** The n-th point of an enumeration, from where this seed begins. */
function pointAt(seed: number, n: number, total: number): number {
  const index = (Math.imul(seed, 7919) + n * strideOf(total)) % total;
  return index < 0 ? index + total : index;
}

function anyJournal(random: SeededRandom, n: number) {
  return {
    unit: UNITS[n % 3]!,
    sectors: SECTORS,
    prelude: random.below(PRELUDES),
    seed: random.below(1_000_000),
    ...(random.oneIn(LONG_ONE_IN) && { long: true }),
  };
}

function drawn(seed: number, n: number): SeededRandom {
  return new SeededRandom(Math.imul(seed, 1_000_003) + n);
}

/** A cut at this operation, torn in a way that `random` chooses, whatever the operation turns out to be. */
export function anyCut(operation: number, random: SeededRandom): FlashCut {
  return { operation, program: programTear(random), erase: eraseTear(random) };
}

/** A cut that leaves something to do: of the record before a sector's end, which leaves no room for it there, as often as of any. */
function firstCut(journal: Omit<CutCase, "cuts">, random: SeededRandom): FlashCut {
  const { work } = operationsOf({ ...journal, cuts: [] });
  const erases = work.flatMap(({ kind }, before) => (kind === "erase" && before > LAST_OPERATIONS ? [before] : []));
  const operation =
    erases.length > 0 && random.oneIn(2)
      ? random.pick(erases) - random.below(LAST_OPERATIONS)
      : 1 + random.below(work.length);
  return { ...anyCut(operation, random), ...(!random.oneIn(4) && { program: unstableTear(random) }) };
}

/** Operations at the end of a recovery that it depends on: signature, position frame, verdict. */
const LAST_OPERATIONS = 4;

/** A cut in what the start after a case's cuts writes to recover: at its end as often as anywhere; now and then behind it. */
function nextCut(soFar: CutCase, random: SeededRandom): FlashCut {
  const { mount, work } = operationsOf(soFar);
  const atEnd = mount.length > 0 && random.oneIn(2);
  if (atEnd)
    return {
      ...anyCut(mount.length - random.below(Math.min(LAST_OPERATIONS, mount.length)), random),
      ...(!random.oneIn(4) && { program: { kind: "unstable", bit: random.below(512) } }),
    };
  const most = mount.length === 0 || random.oneIn(4) ? mount.length + work.length : mount.length;
  const operation = 1 + random.below(Math.max(1, most));
  return { ...anyCut(operation, random), ...(!random.oneIn(3) && { program: unstableTear(random) }) };
}

/** One cell between 0 and 1: what was written reads as whole now and then. */
function unstableTear(random: SeededRandom): Tear {
  if (random.oneIn(2)) return { kind: "unstable", bit: random.below(2048) };
  return { kind: "prefix", bits: random.below(2 ** random.below(8)), edge: true };
}

interface Workload {
  readonly unit: 1 | 16 | 32;
  readonly prelude: number;
  readonly seed: number;
  readonly long: boolean;
  readonly operations: readonly Operation[];
  /** Points of the workloads before this one. */
  readonly before: number;
}

function enumerated(
  name: string,
  title: string,
  casesPerCut: number,
  tearsOf: (operation: Operation) => { readonly count: number; at(index: number, random: SeededRandom): Tear },
): CaseClass {
  let known: { readonly workloads: readonly Workload[]; readonly total: number } | undefined;
  const enumerate = () => {
    if (known !== undefined) return known;
    const workloads: Workload[] = [];
    let total = 0;
    for (let variant = 0; variant < VARIANTS; variant++)
      for (let prelude = 0; prelude < PRELUDES; prelude++)
        for (const unit of UNITS) {
          const seed = variant * 1009 + prelude * 31 + unit;
          const long = variant % LONG_ONE_IN === 0;
          const { mount, work: worked } = operationsOf({ unit, sectors: SECTORS, prelude, seed, long, cuts: [] });
          const operations = [...mount, ...worked];
          workloads.push({ unit, prelude, seed, long, operations, before: total });
          for (const operation of operations) total += tearsOf(operation).count;
        }
    known = { workloads, total };
    return known;
  };
  return {
    name,
    title,
    casesPerCut,
    hasCuts: true,
    points: () => enumerate().total,
    caseAt(seed, n) {
      const { workloads, total } = enumerate();
      let index = pointAt(seed, n, total);
      const random = drawn(seed, n);
      const workload = lastBefore(workloads, index);
      index -= workload.before;
      const { unit, prelude, seed: workloadSeed, long, operations } = workload;
      let at = 0;
      while (index >= tearsOf(operations[at]!).count) index -= tearsOf(operations[at++]!).count;
      const operation = operations[at]!;
      const tear = tearsOf(operation).at(index, random);
      const cuts = [{ operation: at + 1, [operation.kind]: tear }];
      return { unit, sectors: SECTORS, prelude, seed: workloadSeed, ...(long && { long }), cuts };
    },
  };
}

function lastBefore(workloads: readonly Workload[], index: number): Workload {
  let low = 0;
  let high = workloads.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (workloads[middle]!.before <= index) low = middle;
    else high = middle - 1;
  }
  return workloads[low]!;
}

/** Near the golden section, and coprime to `total`: steps of it meet every point once, and any number of them evenly. */
function strideOf(total: number): number {
  let stride = Math.max(1, Math.floor(total * 0.6180339887));
  while (gcd(stride, total) !== 1) stride++;
  return stride;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** A frame's bits are ones and zeros in about equal numbers; a prefix of more than there are is all of them. */
const CLEARED_SHARE = 0.55;
const SUBSETS = 32;

/** A signature's; a longer program is of a body. */
const FRAME_BITS_MAX = 64 * 8;

function programTears({ kind, bits }: Operation, counts: boolean) {
  const cleared = Math.ceil(bits * CLEARED_SHARE);
  return {
    count: kind === "program" && counts ? 5 * cleared + SUBSETS + 2 : 0,
    at(index: number, random: SeededRandom): Tear {
      if (index < 4 * cleared)
        return {
          kind: index % 2 === 0 ? "prefix" : "suffix",
          bits: Math.floor(index / 4),
          edge: Math.floor(index / 2) % 2 === 0,
        };
      if (index < 5 * cleared) return { kind: "unstable", bit: index - 4 * cleared };
      const rest = index - 5 * cleared;
      if (rest < SUBSETS) return { kind: "subset", share: (rest + 0.5) / SUBSETS, seed: random.next() };
      return { kind: rest === SUBSETS ? "before" : "after" };
    },
  };
}

const ERASE_POINTS = 64;

function eraseTears({ kind }: Operation) {
  return {
    count: kind === "erase" ? 4 * ERASE_POINTS + 2 : 0,
    at(index: number, random: SeededRandom): Tear {
      const point = index % ERASE_POINTS;
      const share = point / ERASE_POINTS;
      switch (Math.floor(index / ERASE_POINTS)) {
        case 0:
          return { kind: "zeros", share };
        case 1:
          return { kind: "mix", share, seed: random.next() };
        case 2:
          return { kind: "nearly", cells: 1 + point, seed: random.next() };
        case 3:
          return { kind: "weak", cells: 1 + point, seed: random.next() };
        default:
          return { kind: point === 0 ? "before" : "after" };
      }
    },
  };
}
