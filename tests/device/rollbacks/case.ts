import { seededEntropy } from "../../../hosts/simulator/world/entropy.js";
import { SeededRandom } from "../../../hosts/simulator/world/random.js";
import { StartedRelay } from "../../relay/started.js";
import { START_MS } from "../bench.js";
import { RollbackBoard } from "./board.js";
import { type Course, type Kind, MISFORTUNES, type Misfortune, noKinds, noTally, type Tally } from "./misfortunes.js";
import { CLEAR, type Passage, ROUGH, SLOW } from "./wire.js";

/**
 * One device with one flash and one key store, beside a real relay; what it has stored is set back again and again. However
 * bad its luck, nobody may take it for two devices, and nothing that was acknowledged may be lost: oracle.ts says what that
 * comes to. A case is a function of its seed and number, byte for byte.
 *
 * In the set is what is honest. At any of it requests are lost, arrive late, twice or once more in the end, answers are lost
 * or replayed (wire.ts), and the power goes again while the device recovers (misfortunes.ts):
 *
 * - `flash`: the flash is set back to an earlier moment, a record or some hundred ago. The key store keeps the sent mark, so
 *   that nothing is signed before the relay was heard. What that holds is fetched back; where it holds less than the mark,
 *   or where a gap names what is missing, the key is succeeded. What was sent may have arrived, be under way, or be lost.
 * - `never sent`: the same, where nothing above the moment's head was ever handed out. The device goes on without asking
 *   and gives those positions to other records; of the first ones nobody ever had anything.
 * - `erased`, `behind the key`: all of the flash is erased beside the key, or is older than a succession that has ended, so
 *   that its records' key is gone. Such a start is refused and sends nothing, until somebody brings a copy that fits.
 * - `before contact`: a device that has never sent anything is set back, or erased and begun anew with the same key.
 * - `together`: flash and key store are set back to one moment. Nothing within the device can tell; the relay's first answer
 *   does. A device does not wait for it: what holds is that it asks at once, and that its first record of a start comes
 *   later than an answer does. So it is honest as long as
 *   1. the relay holds all of the present chain that was ever handed out: of what is under way neither side would know;
 *   2. the relay is heard before the start commits anything. From then on the mark says again what was sent, and the way to
 *      the relay, the power and later starts may fare as badly as with the flash alone;
 *   3. the moment is one of the present key's, and holds its genesis: a key store from before has forgotten the key, and one
 *      without genesis makes another before it asks.
 *   Each of these is brought about, or checked, by the case.
 *
 * Not in it are a key store that is set back alone, which the design trusts (identity/SPEC.md), `together` without one of
 * the three, and flash with records that were never sent and whose positions others have taken since. `two branches` is
 * `together` without the second: a branch is signed that the relay never gets to see. It is tried, and counted apart.
 */

export interface Outcome {
  readonly kinds: Readonly<Record<Kind, number>>;
  readonly tally: Tally;
  readonly passages: Readonly<Record<Passage, number>>;
  /** The device's own words, the newest last. */
  readonly lines: readonly string[];
  readonly failure?: string;
}

interface Plan {
  readonly misfortunes: readonly Misfortune[];
  readonly random: SeededRandom;
}

const ROLLBACKS_MIN = 8;
const ROLLBACKS_MAX = 20;
/** The log goes on when it is told to, and at no other time: longer than any case takes. */
const NEVER_MS = 0x7fff_ffff;
const ENROLLED_RECORDS = 4;

const DRAWN: readonly Misfortune[] = [
  ...(["flash", "flash", "flash", "flash", "together", "together", "together"] as const),
  ...(["never sent", "erased", "behind the key"] as const),
];

function planOf(seed: number, n: number): Plan {
  const random = new SeededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(n + 1, 0x85ebca6b));
  const count = ROLLBACKS_MIN + random.below(ROLLBACKS_MAX - ROLLBACKS_MIN + 1);
  const misfortunes = Array.from({ length: count }, () => random.pick(DRAWN));
  if (random.oneIn(4)) misfortunes[0] = "before contact";
  return { misfortunes: random.oneIn(8) ? [...misfortunes, "two branches"] : misfortunes, random };
}

/** So often the device of case `n` is set back, about: early in a case there may be nothing yet to set back. */
export function rollbacksOf(seed: number, n: number): number {
  return planOf(seed, n).misfortunes.filter((kind) => kind !== "two branches").length;
}

export async function tryCase(seed: number, n: number): Promise<Outcome> {
  const { misfortunes, random } = planOf(seed, n);
  const tally = noTally();
  const kinds = noKinds();
  let relayMs = () => START_MS;
  // Its keys are in the records' bytes, and what a torn program leaves depends on those.
  const entropy = seededEntropy(`relay ${seed}/${n}`);
  const started = await StartedRelay.start({ batchIntervalMs: NEVER_MS, nowMs: () => relayMs() }, { entropy });
  const drops = random.oneIn(10);
  const board = new RollbackBoard(started, {
    seed: random.next(),
    sectors: drops ? 8 : random.pick([6, 8, 8, 12]),
    writeUnitBytes: random.pick([1, 1, 16, 32]),
    device: { releaseAt: random.pick(["logged", "logged", "received"]), ...(drops && { whenFull: "gap" }) },
  });
  relayMs = () => board.wire.relayMs;
  const course: Course = { board, random, tally, drops, goesRound: random.oneIn(10) };
  let doing: string = "the enrolment";
  let failure: string | undefined;
  try {
    if (misfortunes[0] !== "before contact") await enrol(course);
    for (const [at, kind] of misfortunes.entries()) {
      doing = `misfortune ${at + 1} of ${misfortunes.length}, ${kind}`;
      kinds[await MISFORTUNES[kind](course)]++;
    }
    doing = "the end";
    await end(course);
  } catch (error) {
    failure = `${doing}: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    await board.close();
    await started.close();
  }
  const { lines } = board;
  return { kinds, tally, passages: board.wire.counts, lines, ...(failure !== undefined && { failure }) };
}

async function enrol({ board, random }: Course): Promise<void> {
  board.wire.weather = random.pick([CLEAR, CLEAR, ROUGH, SLOW]);
  await board.powerOn();
  await board.reach("an enrolment", () => board.headSeq >= ENROLLED_RECORDS);
  board.wire.weather = CLEAR;
  await board.reach("records at the relay", () => board.oracle.received(board.kid) >= ENROLLED_RECORDS);
}

/** All that is held climbs, and what never came arrives now; nothing of it is an alarm. */
async function end({ board }: Course): Promise<void> {
  const { length: from } = board.held;
  const goal = board.headSeq;
  await board.reach("the newest record in the log", () => board.level("logged") >= goal);
  for (const request of board.wire.underWay) await board.wire.deliver(request);
  board.oracle.check(from);
}
