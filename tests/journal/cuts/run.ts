import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type Hand, processHand } from "../../../tools/hand.js";
import { bundleWorker, type Mutation } from "./bundle.js";
import { type AnyCase, CASE_CLASSES, type CaseClass } from "./classes.js";
import type { Asked, Batch, BatchResult, Failed } from "./worker.js";

export interface RunOptions {
  readonly seed: number;
  /** Power cuts, about; classes without cuts take their part of it in cases. */
  readonly count: number;
  /** Names of classes; all where it is not given. */
  readonly classes?: readonly string[];
  /** Workers; one a core where it is not given. */
  readonly jobs?: number;
  readonly mutation?: Mutation;
  /** Whole boards, in lanes A and B, in place of the journal alone: cuts only, and some hundred times slower. */
  readonly onBoards?: boolean;
  /** Ends the run at the first failure. */
  readonly untilFailure?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: Totals, of: number) => void;
  /** Told of each failure as it is found, of the first FAILURES_KEPT. */
  readonly onFailure?: (failed: Failed) => void;
}

export interface Totals {
  readonly cases: number;
  readonly cuts: number;
  /** Cases in which a recovery had to wait for a release; where none ever may, that is a failure. */
  readonly waits: number;
  readonly failures: number;
}

export interface ClassSummary extends Totals {
  readonly name: string;
  readonly title: string;
  /** Of the class's enumeration; undefined where its cases are drawn. */
  readonly points?: number;
}

export interface RunSummary {
  readonly seed: number;
  readonly classes: readonly ClassSummary[];
  readonly totals: Totals;
  readonly failed: readonly Failed[];
  /** Ended before all was tried. */
  readonly stopped: boolean;
}

/** A batch takes a second or so; one of 300 cuts at one point has more work in a case. */
const BATCH_CASES = 250;
const BATCH_CASES_LOOPS = 2;
const BATCH_CASES_BOARDS = 10;
/** What is kept of failures for the report; all are counted. */
const FAILURES_KEPT = 100;

/** The line that reruns a case. */
export function rerun(failed: AnyCase): string {
  return `npm run cuts -- --case '${JSON.stringify(failed)}'`;
}

/** Tries cases of all classes on all cores. What it finds depends on seed and count alone. */
export async function runCuts(options: RunOptions): Promise<RunSummary> {
  const { seed, count, onProgress, signal } = options;
  const classes = CASE_CLASSES.filter(
    ({ name, hasCuts, onBoards = hasCuts }) =>
      (options.classes?.includes(name) ?? true) && (onBoards || !options.onBoards),
  );
  const batches = classes.flatMap((one) =>
    batchesOf(one, seed, count, options.onBoards ? BATCH_CASES_BOARDS : undefined),
  );
  const of = batches.reduce((sum, { from, to }) => sum + to - from, 0);
  const counts = new Map(classes.map(({ name }) => [name, { cases: 0, cuts: 0, waits: 0, failures: 0 }]));
  const failed: Failed[] = [];
  const bundle = options.onBoards ? undefined : await bundleWorker(options.mutation);
  const hands = Array.from({ length: options.jobs ?? availableParallelism() }, () =>
    bundle === undefined
      ? processHand<Asked, BatchResult>(new URL("boards-worker.ts", import.meta.url))
      : journalHand(bundle),
  );
  let next = 0;
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  signal?.addEventListener("abort", stop);
  const take = (batch: Batch, { cuts, waits, failures }: BatchResult): void => {
    const sums = counts.get(batch.className)!;
    sums.cases += batch.to - batch.from;
    sums.cuts += cuts;
    sums.waits += waits;
    sums.failures += failures.length;
    const kept = failures.slice(0, FAILURES_KEPT - failed.length);
    failed.push(...kept);
    for (const one of kept) options.onFailure?.(one);
    onProgress?.(total([...counts.values()]), of);
    if (failures.length > 0 && options.untilFailure) stopped = true;
  };
  const serve = async (hand: Hand<Asked, BatchResult>): Promise<void> => {
    while (!stopped && next < batches.length) {
      const batch = batches[next++]!;
      take(batch, await hand.ask({ ...batch, strict: options.mutation !== undefined }));
    }
  };
  try {
    await Promise.all(hands.map(serve));
  } finally {
    signal?.removeEventListener("abort", stop);
    await Promise.all(hands.map((hand) => hand.close()));
  }
  const summaries = classes.map(({ name, title, points }) => ({
    name,
    title,
    ...counts.get(name)!,
    ...(points && { points: points() }),
  }));
  return { seed, classes: summaries, totals: total([...counts.values()]), failed, stopped };
}

/** Runs these cases, one after the other; those that failed. */
export async function runCases(cases: readonly AnyCase[], mutation?: Mutation): Promise<readonly Failed[]> {
  const hand = journalHand(await bundleWorker(mutation));
  try {
    return (await hand.ask({ cases })).failures;
  } finally {
    await hand.close();
  }
}

function batchesOf({ name, casesPerCut }: CaseClass, seed: number, count: number, most = BATCH_CASES): Batch[] {
  const cases = Math.ceil(count * casesPerCut);
  const step = name === "loops" || name === "storms" ? Math.min(BATCH_CASES_LOOPS, most) : most;
  return Array.from({ length: Math.ceil(cases / step) }, (_, i) => ({
    className: name,
    seed,
    from: i * step,
    to: Math.min(cases, (i + 1) * step),
  }));
}

function journalHand(bundle: string): Hand<Asked, BatchResult> {
  const worker = new Worker(bundle);
  return {
    ask: (what) =>
      new Promise((resolve, reject) => {
        worker.removeAllListeners();
        worker.on("message", resolve);
        worker.on("error", reject);
        worker.postMessage(what);
      }),
    close: () => worker.terminate(),
  };
}

function total(counts: readonly Totals[]): Totals {
  const sum = (key: keyof Totals) => counts.reduce((all, one) => all + one[key], 0);
  return { cases: sum("cases"), cuts: sum("cuts"), waits: sum("waits"), failures: sum("failures") };
}
