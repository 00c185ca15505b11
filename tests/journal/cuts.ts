import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { explain, type Result } from "tallystick/codes/codes";
import { Journal } from "tallystick/journal/journal";
import { recordId } from "tallystick/record/record";
import { PowerCut } from "../../hosts/simulator/board.js";
import { type FlashCut, type FlashSnapshot, NorFlash } from "../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { eraseTear, programTear } from "../../hosts/simulator/world/tear.js";
import { bodyAfter, type LedgeredSigner, ledgered, mounted, must, quickSigner, recordOf, sha256 } from "./rig.js";

/**
 * Power cuts against the journal, and the oracle that judges them. A case is a workload by its seed and a list of cuts;
 * it is a pure function of itself, and one line of JSON names it. Signatures are the stand-in of rig.ts: deterministic
 * as Ed25519's, and fast enough for many thousand cuts.
 */
export interface CutCase {
  readonly unit: 1 | 16 | 32;
  readonly sectors: number;
  /** Of the workload before and between the cuts, and of what unstable cells read as. */
  readonly seed: number;
  /** One a session: the power goes at this program or erase of it. */
  readonly cuts: readonly FlashCut[];
  /** How often the list of cuts is gone through; once where it is not given. */
  readonly rounds?: number;
}

/** Mounts after the last cut, with nothing but reading between them. */
const REMOUNTS = 8;
/** Records that a session commits where no cut stops it. */
const COMMITS_MOST = 6;
const SIZES = [120, 160, 160, 160, 400, 1000, 4000];

/** The line that reruns a case. */
export function rerun(cutCase: CutCase): string {
  return `CUT='${JSON.stringify(cutCase)}' npx mocha tests/journal/cuts.test.ts`;
}

/** What must hold of a journal: told by what was reported to be committed, and nothing else. */
class Oracle {
  readonly committed: Uint8Array[] = [];
  /** Bodies that were offered at the position behind the committed ones since it was last open. */
  readonly offered: Uint8Array[] = [];
  /** Positions below need not be held any more. */
  released = 0;

  /** Signs what is expected; the ledger is for what the journal asks for. */
  readonly plain = quickSigner("cuts");
  readonly signer: LedgeredSigner = ledgered(this.plain);

  /** Takes over what a mount tells; fails where it contradicts what was told before. */
  observe(journal: Journal, thorough: boolean): void {
    const head = journal.head?.seq ?? -1;
    const last = this.committed.length - 1;
    if (head < last) throw new Error(`head ${head}: ${last} was committed (tail ${journal.report.tail})`);
    if (head > last + 1) throw new Error(`head ${head}: only ${last + 1} can have been under way`);
    if (head === last + 1) {
      const bytes = must(this.read(journal, head));
      if (!this.offered.some((body) => equalBytes(recordOf(this.plain, body), bytes)))
        throw new Error(`seq ${head} was never offered`);
      this.commit(bytes);
    }
    const from = Math.min(
      Math.max(this.released, thorough ? 0 : this.committed.length - 2),
      Math.max(0, this.committed.length - 1),
    );
    if (thorough && this.committed.length > 0 && journal.firstSeq > this.released)
      throw new Error(`firstSeq ${journal.firstSeq}: only those below ${this.released} are released`);
    for (let seq = from; seq < this.committed.length; seq++) {
      const bytes = this.read(journal, seq);
      if (!bytes.ok) throw new Error(`seq ${seq} is lost: ${explain(bytes.failure)}`);
      if (!equalBytes(bytes.value, this.committed[seq]!)) throw new Error(`seq ${seq} has changed`);
    }
    if (journal.record(this.committed.length).ok) throw new Error("a record beyond the head was given out");
    if (this.signer.conflict !== undefined) throw new Error(this.signer.conflict);
  }

  /** A full journal may have no room to copy its newest record before it is read out: releasing those before makes it. */
  read(journal: Journal, seq: number): Result<Uint8Array> {
    const bytes = journal.record(seq);
    if (bytes.ok || bytes.failure.code !== "JOURNAL_FULL" || seq === 0) return bytes;
    must(journal.release({ seq: seq - 1, id: idOf(this.committed[seq - 1]!) }));
    this.released = Math.max(this.released, seq);
    return journal.record(seq);
  }

  commit(bytes: Uint8Array): void {
    this.committed.push(bytes);
    this.offered.length = 0;
  }
}

/** One start of the device: mount, then commit, read out and release as the seed says. */
function session(flash: NorFlash, oracle: Oracle, random: SeededRandom, commits: number): void {
  const journal = mounted(flash, oracle.signer);
  oracle.observe(journal, false);
  for (let n = 0; n < commits; n++) {
    if (random.oneIn(4) && journal.head !== undefined) must(oracle.read(journal, journal.head.seq));
    if (random.oneIn(3) && journal.head !== undefined) release(journal, oracle, random.below(3));
    // A release may have made the room in which a record that was open could be finished.
    if ((journal.head?.seq ?? -1) !== oracle.committed.length - 1) oracle.observe(journal, false);
    const body = bodyAfter(oracle.signer.kid, journal.head, random.pick(SIZES), random.next());
    oracle.offered.push(body);
    let result = journal.commit(body);
    if (!result.ok && result.failure.code === "JOURNAL_FULL") {
      // Everything released: then there must be room.
      if (journal.head === undefined) throw new Error("an empty journal is full");
      release(journal, oracle, 0);
      oracle.offered.pop();
      oracle.observe(journal, false);
      const again = bodyAfter(oracle.signer.kid, journal.head, random.pick(SIZES), random.next());
      oracle.offered.push(again);
      result = journal.commit(again);
    }
    const { seq } = must(result);
    const committed = oracle.offered.at(-1)!;
    if (seq !== oracle.committed.length) throw new Error(`committed seq ${seq}, expected ${oracle.committed.length}`);
    oracle.commit(recordOf(oracle.plain, committed));
  }
}

/** Releases up to `back` records below the head. */
function release(journal: Journal, oracle: Oracle, back: number): void {
  const head = oracle.committed.length - 1;
  const seq = Math.max(0, head - back);
  oracle.released = Math.max(oracle.released, seq + 1);
  must(journal.release({ seq, id: idOf(oracle.committed[seq]!) }));
}

function idOf(record: Uint8Array): Uint8Array {
  return recordId(sha256, record);
}

interface Prelude {
  readonly flash: FlashSnapshot;
  readonly committed: readonly Uint8Array[];
  readonly released: number;
}

const preludes = new Map<string, Prelude>();

/** The journal that a case's first session starts on: some rounds of the ring old, or younger. */
function prelude({ unit, sectors, seed }: CutCase): Prelude {
  // A few preludes serve all cases: what differs between seeds is mostly the sessions.
  const kind = seed % 8;
  const key = `${unit}/${sectors}/${kind}`;
  let found = preludes.get(key);
  if (found === undefined) {
    const flash = new NorFlash({ sizeBytes: sectors * 4096, writeUnitBytes: unit });
    must(Journal.format(flash));
    const oracle = new Oracle();
    const random = new SeededRandom(kind);
    const starts = [0, 1, 3, 6, 12, 20, 30, 60][kind]!;
    for (let start = 0; start < starts; start++) session(flash, oracle, random, 1 + random.below(COMMITS_MOST));
    found = { flash: flash.snapshot(), committed: oracle.committed, released: oracle.released };
    preludes.set(key, found);
  }
  return found;
}

/** Runs a case. undefined where all held; otherwise what did not. */
export function tryCase(cutCase: CutCase): string | undefined {
  const { unit, sectors, seed, cuts } = cutCase;
  const from = prelude(cutCase);
  const flash = new NorFlash({ sizeBytes: sectors * 4096, writeUnitBytes: unit, seed });
  flash.restore(from.flash);
  const oracle = new Oracle();
  oracle.committed.push(...from.committed);
  oracle.released = from.released;
  const random = new SeededRandom(seed ^ 0x5eed);
  try {
    for (let n = 0; n < cuts.length * (cutCase.rounds ?? 1); n++) {
      const cut = cuts[n % cuts.length]!;
      flash.cutAt(cut);
      try {
        session(flash, oracle, random, 2 + random.below(COMMITS_MOST));
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error;
      }
    }
    flash.cutAt(undefined);
    const heads: string[] = [];
    for (let remount = 0; remount < REMOUNTS; remount++) {
      flash.resetCounters();
      const journal = mounted(flash, oracle.signer);
      if (flash.counters.reads > 4 * sectors + 80) throw new Error(`mount took ${flash.counters.reads} reads`);
      // Where there is no room to decide, the head is told as not decided, and nothing is read out or signed behind it.
      if (journal.report.tail !== "undecided") heads.push(journal.head ? toHex(journal.head.id) : "none");
      if (remount >= 2) oracle.observe(journal, remount === 2 || remount === REMOUNTS - 1);
    }
    if (new Set(heads).size > 1) throw new Error(`the head changed between mounts: ${heads.join(" ")}`);
    session(flash, oracle, random, 3);
    oracle.observe(mounted(flash, oracle.signer), true);
    return undefined;
  } catch (error) {
    return `${(error as Error).message}\n  ${rerun(cutCase)}`;
  }
}

/** The programs and erases of a case's first session where nothing is cut. */
export function operationsOf(
  cutCase: CutCase,
): readonly { readonly kind: "program" | "erase"; readonly length: number }[] {
  const { unit, sectors, seed } = cutCase;
  const from = prelude(cutCase);
  const flash = new NorFlash({ sizeBytes: sectors * 4096, writeUnitBytes: unit, seed });
  flash.restore(from.flash);
  const oracle = new Oracle();
  oracle.committed.push(...from.committed);
  oracle.released = from.released;
  const operations: { kind: "program" | "erase"; length: number }[] = [];
  flash.onOperation = (kind, _, length) => void operations.push({ kind, length });
  const random = new SeededRandom(seed ^ 0x5eed);
  session(flash, oracle, random, 2 + random.below(COMMITS_MOST));
  return operations;
}

/** A cut at this operation, torn in a way that `random` chooses, whatever the operation turns out to be. */
export function randomCut(operation: number, random: SeededRandom): FlashCut {
  return { operation, program: programTear(random), erase: eraseTear(random) };
}
