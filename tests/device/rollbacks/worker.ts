import { type Outcome, tryCase } from "./case.js";
import { type Kind, noKinds, noTally, type Tally } from "./misfortunes.js";
import { noPassages, type Passage } from "./wire.js";

/** A process that tries a range of cases, one after the other. */
export interface Batch {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
}

export interface Counts {
  readonly kinds: Record<Kind, number>;
  readonly tally: Tally;
  readonly passages: Record<Passage, number>;
}

export interface BatchResult extends Counts {
  readonly failures: readonly Failure[];
}

export interface Failure {
  readonly seed: number;
  readonly n: number;
  readonly reason: string;
}

export function noCounts(): Counts {
  return { kinds: noKinds(), tally: noTally(), passages: noPassages() };
}

/** Adds what one case, or many, have counted. */
export function add({ kinds, tally, passages }: Counts, more: Counts | Outcome): void {
  for (const [kind, count] of Object.entries(more.kinds) as [Kind, number][]) kinds[kind] += count;
  for (const [passage, count] of Object.entries(more.passages) as [Passage, number][]) passages[passage] += count;
  const { farthest } = tally;
  for (const [name, count] of Object.entries(more.tally) as [keyof Tally, number][]) tally[name] += count;
  tally.farthest = Math.max(farthest, more.tally.farthest);
}

async function tryBatch({ seed, from, to }: Batch): Promise<BatchResult> {
  const counts = noCounts();
  const failures: Failure[] = [];
  for (let n = from; n < to; n++) {
    const outcome = await tryCase(seed, n);
    add(counts, outcome);
    if (outcome.failure !== undefined) failures.push({ seed, n, reason: outcome.failure });
  }
  return { ...counts, failures };
}

if (process.send !== undefined) {
  // Ctrl-C reaches all processes of a terminal: the first of them says when this one ends.
  process.on("SIGINT", () => {});
  process.on("disconnect", () => process.exit());
  process.on("message", (batch: Batch) => void tryBatch(batch).then((result) => process.send!(result)));
}
