import assert from "node:assert/strict";
import type { SeededRandom } from "../../../hosts/simulator/world/random.js";
import type { Moment, RollbackBoard } from "./board.js";
import { AWAY, AWKWARD, CLEAR, GONE, ROUGH, SLOW, STALE, STUCK, type Weather } from "./wire.js";

/** The misfortunes of a case: what is set back, and what the way to the relay and the power do before and afterwards. */

/** What a case counts, beside what the wire does. */
export interface Tally {
  /** Positions that the flash was set back by, in all. */
  positions: number;
  /** The most of one time. */
  farthest: number;
  /** The power went while the device recovered. */
  cuts: number;
  /** Requests that arrived after their device had taken them for lost. */
  late: number;
  /** Recoveries in which records were fetched back. */
  fetched: number;
  /** Keys that succeeded another. */
  succeeded: number;
  /** Starts that were refused, as they have to be. */
  refused: number;
}

export function noTally(): Tally {
  return { positions: 0, farthest: 0, cuts: 0, late: 0, fetched: 0, succeeded: 0, refused: 0 };
}

export interface Course {
  readonly board: RollbackBoard;
  readonly random: SeededRandom;
  readonly tally: Tally;
  /** The device drops records by name when its journal is full, and this relay is away for so long now and then. */
  readonly drops: boolean;
  /** The journal goes round between two misfortunes now and then. */
  readonly goesRound: boolean;
}

/** What can be set back, and when. */
export const ROLLBACKS = ["flash", "together", "never sent", "erased", "behind the key", "before contact"] as const;
/** No honest rollback, and none at all: there was nothing yet to set back, and the power went only. */
export const APART = ["two branches", "power only"] as const;
export type Misfortune = (typeof ROLLBACKS)[number] | "two branches";
export type Kind = (typeof ROLLBACKS)[number] | (typeof APART)[number];

export function noKinds(): Record<Kind, number> {
  return Object.fromEntries([...ROLLBACKS, ...APART].map((kind) => [kind, 0])) as Record<Kind, number>;
}

/**
 * Sets the board back and starts it again, until it records and the relay receives. Gives what it was in the end: where
 * there is nothing yet to set back in its own way, it is the flash alone, or nothing.
 */
export const MISFORTUNES: Readonly<Record<Misfortune, (course: Course) => Promise<Kind>>> = {
  flash: flashAlone,
  together,
  "never sent": neverSent,
  erased,
  "behind the key": behindTheKey,
  "before contact": beforeContact,
  "two branches": twoBranches,
};

/** Records between two misfortunes, at the most. */
const GROWTH_MAX = 6;
const ROUND_RECORDS = 50;
const ROUNDS = 2;
const CUTS_MAX = 3;
/** Flash and key operations of a recovery among which the power goes. */
const CUT_OPERATIONS_MAX = 48;
/** Virtual time in which a start that is to be cut recovers, or is cut between two events. */
const CUT_WITHIN_MS = 60_000;
/** One of the first requests of a recovery finds something late that has just arrived. */
const LATE_REQUESTS = 12;
const LATE_TIMES_MAX = 3;
/** Virtual time for which the way to the relay stays as bad as it was drawn. */
const BAD_MS = 30_000;
/** Virtual time that a start is given to do what it must not. */
const REFUSAL_MS = 90_000;

const BEFORE: readonly Weather[] = [CLEAR, CLEAR, CLEAR, ROUGH, SLOW, STUCK, STUCK, GONE, STALE];
const AFTER: readonly Weather[] = [CLEAR, CLEAR, CLEAR, ROUGH, SLOW, STALE, AWAY];

/** The flash is set back, and the key store is not: what was sent is fetched back, or the key is succeeded. */
async function flashAlone(course: Course): Promise<Kind> {
  await grow(course, course.random.pick(BEFORE));
  await course.board.cutPower();
  return flashBack(course);
}

/** Both are set back to one moment. The relay holds all that was sent, and can be asked before anything is committed. */
async function together(course: Course): Promise<Kind> {
  const { board, random } = course;
  await grow(course, random.pick(BEFORE));
  await arrive(course);
  await board.cutPower();
  assert.ok(board.oracle.hasArrived, "something that was sent has not arrived: no case of this set");
  const moment = earlier(course, [board.kid]);
  if (moment === undefined) return flashBack(course);
  count(course, moment);
  const { kid } = board;
  const received = board.oracle.received(kid);
  board.setBackTogether(moment);
  // Once the relay was heard the key store says so again, and the way may be as bad as any.
  const knows = () => moment.seq >= received || board.kid !== kid || board.mark >= received;
  let early = 0;
  board.onCommit = () => {
    if (!knows()) early++;
  };
  const after = random.pick(AFTER);
  await recover(course, () => (knows() ? after : board.asked > 1 ? CLEAR : AWKWARD));
  board.onCommit = undefined;
  assert.equal(early, 0, "a record was committed before the device knew what it had sent");
  return "together";
}

/** The relay is away, so that the device does not even try to send: of what is lost then nobody ever had anything. */
async function neverSent(course: Course): Promise<Kind> {
  const { board, random } = course;
  await board.cutPower();
  board.wire.weather = AWAY;
  await board.powerOn();
  await commit(course, 1 + random.below(GROWTH_MAX));
  await board.cutPower();
  const moments = board.moments.filter(({ kid, seq }) => kid === board.kid && seq >= board.mark && seq < board.headSeq);
  if (moments.length === 0) return flashBack(course);
  const moment = random.pick(moments);
  count(course, moment);
  board.setBackFlash(moment);
  await recover(course);
  return "never sent";
}

/** All of the flash is lost beside the key: nothing goes on until somebody brings a copy of it. */
async function erased(course: Course): Promise<Kind> {
  const { board, random } = course;
  await grow(course, random.pick(BEFORE));
  await board.cutPower();
  const copy = earlier(course) ?? board.now();
  board.eraseFlash();
  await refuse(course);
  await flashBack(course, copy);
  return "erased";
}

/** The flash is set back behind a succession that has ended: the former key is gone, and nothing goes on with its chain. */
async function behindTheKey(course: Course): Promise<Kind> {
  const { board, random } = course;
  await grow(course, random.pick(BEFORE));
  await board.cutPower();
  const foreign = board.moments.filter(({ kid }) => kid !== board.kid);
  if (foreign.length === 0 || board.isSucceeding) return flashBack(course);
  const copy = earlier(course) ?? board.now();
  board.flash.restore(random.pick(foreign).flash);
  await refuse(course);
  await flashBack(course, copy);
  return "behind the key";
}

/** A device that has never reached its relay: what it recorded is nobody's, and it may begin again with the same key. */
async function beforeContact(course: Course): Promise<Kind> {
  const { board, random } = course;
  board.wire.weather = AWAY;
  await board.powerOn();
  await commit(course, 1 + random.below(GROWTH_MAX));
  await board.cutPower();
  const moment = random.pick(board.moments);
  count(course, moment);
  board.setBackFlash(moment);
  // Erased units of an encrypted partition cannot be told from damaged ones.
  if (board.flash.writeUnitBytes === 1 && random.oneIn(2)) board.eraseFlash();
  await recover(course);
  return "before contact";
}

/**
 * Both are set back, and the relay cannot be asked: the device signs a second branch, as the design says that it may.
 * That one never leaves the device, so that there is no alarm either; but honest it is not, and it is counted apart.
 */
async function twoBranches(course: Course): Promise<Kind> {
  const { board, random } = course;
  await grow(course, random.pick(BEFORE));
  await arrive(course);
  await board.cutPower();
  assert.ok(board.oracle.hasArrived, "something that was sent has not arrived: no case of this set");
  const moment = earlier(course, [board.kid]);
  if (moment === undefined) return flashBack(course);
  count(course, moment);
  board.setBackTogether(moment);
  board.wire.weather = AWAY;
  await board.powerOn();
  await commit(course, 1 + random.below(GROWTH_MAX));
  await board.cutPower();
  await recover(course, undefined, false);
  return "two branches";
}

/** Sets back the flash of a board that is off: to the copy, or to an earlier moment of its own, if there is one. */
async function flashBack(course: Course, copy = earlier(course)): Promise<Kind> {
  if (copy !== undefined) {
    count(course, copy);
    course.board.setBackFlash(copy);
  }
  await recover(course);
  return copy === undefined ? "power only" : "flash";
}

/** An earlier moment of the present chain, near or far; while its key succeeds another, of the former chain as well. */
function earlier({ board, random }: Course, kids = board.openKids): Moment | undefined {
  const back = 1 + random.below(random.pick([1, 3, 3, 8, 8, 24, 200]));
  const moments = board.moments.filter(
    ({ kid, seq }) => kids.includes(kid) && !(kid === board.kid && seq >= board.headSeq),
  );
  const near = moments.filter(({ kid, seq }) => kid !== board.kid || seq <= board.headSeq - back);
  return near[near.length - 1] ?? moments[0];
}

function count({ board, tally }: Course, { kid, seq }: Moment): void {
  const back = kid === board.kid ? board.headSeq - seq : board.headSeq + 1;
  tally.positions += back;
  tally.farthest = Math.max(tally.farthest, back);
}

/** Records a little, or, now and then, for as long as the journal takes. The board stays on. */
async function grow(course: Course, weather: Weather): Promise<void> {
  const { board, random, drops, goesRound } = course;
  if (goesRound && random.oneIn(8)) await goRound(course);
  if (drops && random.oneIn(6)) await drop(course);
  if (random.oneIn(2)) await board.log();
  board.wire.weather = weather;
  await commit(course, 1 + random.below(GROWTH_MAX));
}

/** More than the journal takes, in batches that come to the relay. */
async function goRound(course: Course): Promise<void> {
  const { board } = course;
  for (let round = 0; round < ROUNDS; round++) {
    await board.cutPower();
    board.wire.weather = AWAY;
    await board.powerOn();
    await commit(course, ROUND_RECORDS);
    await arriveAnew(course);
  }
}

/** The relay is away until the device has dropped records by name; then it learns of them, or not yet. */
async function drop(course: Course): Promise<void> {
  const { board, random } = course;
  // Genesis is never dropped: the log has to have it, and this start has to know.
  await arrive(course);
  const { headSeq } = board;
  await board.reach("records in the log", () => board.level("logged") >= headSeq);
  const gaps = () => board.held.filter(({ kind }) => kind === "gap").length;
  const goal = gaps() + 1 + random.below(3);
  board.wire.weather = AWAY;
  await board.reach("gaps", () => gaps() >= goal);
  if (random.oneIn(2)) await arriveAnew(course);
}

/** A new start comes back to the relay at once, and does not wait as one does that has tried in vain. */
async function arriveAnew(course: Course): Promise<void> {
  const { board } = course;
  await board.cutPower();
  board.wire.weather = CLEAR;
  await board.powerOn();
  await arrive(course);
}

/** Records so many, or as many as the journal takes while nothing is released. */
async function commit({ board }: Course, records: number): Promise<void> {
  const goal = board.held.length + records;
  const { length: told } = board.codes;
  const isFull = () => board.codes.indexOf("JOURNAL_FULL", told) >= 0;
  await board.reach(`${records} records`, () => board.held.length >= goal || isFull());
}

/** All that was ever sent of the present chain comes to the relay. */
async function arrive({ board, tally }: Course): Promise<void> {
  board.wire.weather = CLEAR;
  for (const request of board.wire.underWay) await board.wire.deliver(request);
  tally.late += board.wire.underWay.length;
  await board.reach("all that was sent at the relay", () => board.oracle.hasArrived);
}

/** A start that must not begin: nothing is committed, and nothing is sent. */
async function refuse({ board, tally }: Course): Promise<void> {
  const { length: held } = board.held;
  const { length: asked } = board.network.requests;
  const { length: told } = board.codes;
  await board.powerOn();
  await board.run(REFUSAL_MS);
  assert.equal(board.held.length, held, "a start that had to be refused has committed something");
  assert.equal(board.network.requests.length, asked, "a start that had to be refused has sent something");
  assert.ok(board.codes.length > told, "a start that had to be refused has told nothing");
  await board.cutPower();
  tally.refused++;
}

/**
 * Starts a board that was set back: its power goes, what was under way arrives, the way is as it is. In the end the way is
 * clear; the device has to record, and the relay to receive it, and the oracle looks at all that has happened.
 */
async function recover(course: Course, weather = steady(course), isHonest = true): Promise<void> {
  const { board, random, tally } = course;
  const { kid, wire, world } = board;
  const { length: from } = board.held;
  const { length: asked } = board.network.requests;
  const late = planLate(course);
  let requests = 0;
  wire.weather = weather();
  board.network.onRequest = async () => {
    wire.weather = weather();
    await late.deliver(requests++);
  };
  for (let cuts = random.below(2) * random.below(CUTS_MAX + 1); cuts > 0; cuts--) {
    const moment = random.pick(["before", "within", "after"] as const);
    world.power.plan({ operation: 1 + random.below(CUT_OPERATIONS_MAX), moment });
    await board.powerOn();
    await board.run(CUT_WITHIN_MS, () => board.isOff || board.held.length > from);
    world.power.plan(undefined);
    await board.cutPower();
    tally.cuts++;
  }
  await board.powerOn();
  const { length: since } = board.held;
  await board.run(BAD_MS, () => recordsOn(board, since));
  board.network.onRequest = undefined;
  wire.weather = CLEAR;
  await late.deliver(LATE_REQUESTS);
  await board.reach("the device records, and the relay receives it", () => recordsOn(board, since));
  await late.deliver(Number.POSITIVE_INFINITY);
  // Of a second branch the relay has nothing.
  board.oracle.check(isHonest ? from : board.held.length);
  if (board.network.requests.slice(asked).some(({ path }) => path.includes("/records?from="))) tally.fetched++;
  if (board.kid !== kid) tally.succeeded++;
}

function steady({ random }: Course): () => Weather {
  const weather = random.pick(AFTER);
  return () => weather;
}

/** Two records of the present chain that this start has committed are at the relay: it has heard of the first's arrival. */
function recordsOn(board: RollbackBoard, since: number): boolean {
  const { kid } = board;
  const [, second] = board.held.slice(since).filter((record) => record.kid === kid);
  return second !== undefined && board.oracle.received(kid) >= second.seq;
}

/** When what is under way arrives: before the first request, before one of the next, when all is over; or never, or again. */
function planLate({ board, random, tally }: Course): { deliver(before: number): Promise<void> } {
  const { wire } = board;
  const plans = wire.underWay.flatMap((request) =>
    Array.from({ length: random.below(LATE_TIMES_MAX + 1) }, () => ({
      request,
      at: random.pick([0, 1 + random.below(LATE_REQUESTS), Number.POSITIVE_INFINITY]),
    })),
  );
  // Some stay under way, and arrive after the next misfortune, or later still.
  const stays = wire.underWay.filter(() => random.oneIn(3));
  wire.underWay.splice(0, wire.underWay.length, ...stays);
  return {
    async deliver(before) {
      for (let at = 0; at < plans.length; ) {
        if (plans[at]!.at > before) at++;
        else {
          const [{ request }] = plans.splice(at, 1) as [(typeof plans)[number]];
          tally.late++;
          await wire.deliver(request);
        }
      }
    },
  };
}
