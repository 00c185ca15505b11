import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Hand, processHand } from "../../../tools/hand.js";
import { bundleWorker, type Mutation } from "../../journal/cuts/bundle.js";
import { rollbacksOf } from "./case.js";
import { ROLLBACKS } from "./misfortunes.js";
import { add, type Batch, type BatchResult, type Counts, type Failure, noCounts } from "./worker.js";

export interface RunOptions {
  readonly seed: number;
  /** Rollbacks; whole cases are tried, so that it may become some more. */
  readonly count: number;
  readonly jobs?: number;
  /** Ends the run at the first failure. */
  readonly untilFailure?: boolean;
  /** The first case; 0 by default. */
  readonly from?: number;
  readonly mutation?: Mutation;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: Progress, of: number) => void;
  /** Told of each failure as it is found. */
  readonly onFailure?: (failure: Failure) => void;
}

export interface Progress {
  readonly rollbacks: number;
  readonly failures: number;
}

export interface RunSummary extends Counts {
  readonly seed: number;
  /** Devices. */
  readonly cases: number;
  /** How often they were set back, what is counted apart not among it. */
  readonly rollbacks: number;
  readonly failures: readonly Failure[];
  readonly stopped: boolean;
}

/** A batch takes some seconds. */
const BATCH_CASES = 8;
const WORKER = new URL("worker.ts", import.meta.url);
/** Packages with code of the machine in them, or that the relay loads as they are. */
const EXTERNAL = ["better-sqlite3", "fastify", "pino", "sodium-native", "viem", "esbuild", "mqtt", "prom-client"];
/** Where it is there, it is memory: a relay syncs what it stores again and again. */
const MEMORY_FOLDER = "/dev/shm";

/** The line that tries one case again. */
export function rerun({ seed, n }: Pick<Failure, "seed" | "n">): string {
  return `npm run rollbacks -- --only ${seed}/${n}`;
}

/** Where the relays of a run have their folders; all of it is removed when the run, or the process, ends. */
export function relaysFolder(): { remove(): void } {
  const before = process.env["TMPDIR"];
  const folder = mkdtempSync(join(existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir(), "tallystick-rollbacks-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  // This process's, and those of the workers that it starts.
  process.env["TMPDIR"] = folder;
  process.on("exit", remove);
  return {
    remove() {
      process.off("exit", remove);
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
      remove();
    },
  };
}

/** Tries as many cases as it takes, on all cores. What it finds depends on seed and count alone. */
export async function runRollbacks(options: RunOptions): Promise<RunSummary> {
  const { seed, count, signal, onProgress, onFailure, mutation } = options;
  const batches = batchesOf(seed, count, options.from ?? 0);
  const of = batches.reduce((sum, { rollbacks }) => sum + rollbacks, 0);
  const counts = noCounts();
  const failures: Failure[] = [];
  let [cases, done, next] = [0, 0, 0];
  const worker = mutation ? pathToFileURL(await bundleWorker(mutation, fileURLToPath(WORKER), EXTERNAL)) : WORKER;
  const folder = relaysFolder();
  const isOver = () => signal?.aborted || (options.untilFailure && failures.length > 0);
  const hands = Array.from({ length: options.jobs ?? availableParallelism() }, () =>
    processHand<Batch, BatchResult>(worker),
  );
  const serve = async (hand: Hand<Batch, BatchResult>): Promise<void> => {
    while (next < batches.length && !isOver()) {
      const batch = batches[next++]!;
      const result = await hand.ask(batch);
      add(counts, result);
      cases += batch.to - batch.from;
      done += batch.rollbacks;
      failures.push(...result.failures);
      for (const failure of result.failures) onFailure?.(failure);
      onProgress?.({ rollbacks: done, failures: failures.length }, of);
    }
  };
  try {
    await Promise.all(hands.map(serve));
  } finally {
    await Promise.all(hands.map((hand) => hand.close()));
    folder.remove();
  }
  const rollbacks = ROLLBACKS.reduce((sum, kind) => sum + counts.kinds[kind], 0);
  return { seed, cases, rollbacks, ...counts, failures, stopped: signal?.aborted ?? false };
}

function batchesOf(seed: number, count: number, first: number): (Batch & { readonly rollbacks: number })[] {
  const batches = [];
  for (let from = first, left = count; left > 0; from += BATCH_CASES) {
    let rollbacks = 0;
    let to = from;
    for (; to < from + BATCH_CASES && rollbacks < left; to++) rollbacks += rollbacksOf(seed, to);
    batches.push({ seed, from, to, rollbacks });
    left -= rollbacks;
  }
  return batches;
}
