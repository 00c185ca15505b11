import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { edgeCases } from "./cases.js";
import type { Batch, BatchResult, Disagreement } from "./worker.js";

/** Asks all verifiers about the edge set and about mutations, on all cores; what it finds depends on seed and count alone. */
export interface RunOptions {
  readonly seed: number;
  /** Mutations. */
  readonly count: number;
  readonly jobs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, of: number, disagreements: number) => void;
  readonly onDisagreement?: (disagreement: Disagreement) => void;
}

export interface RunSummary {
  readonly seed: number;
  readonly edge: number;
  readonly mutations: number;
  readonly cases: number;
  /** By libsodium: so many are signatures. */
  readonly accepted: number;
  /** Cases in which some verifier says otherwise than libsodium. */
  readonly disagreements: number;
  readonly kinds: Readonly<Record<string, number>>;
  readonly stopped: boolean;
}

/** A batch takes about a second. */
const BATCH_CASES = 200;

/** The line that tries one case again. */
export function rerun({ seed, n }: Pick<Disagreement, "seed" | "n">): string {
  return `npm run verdicts -- --only ${seed === undefined ? "edge" : seed}/${n}`;
}

export async function runVerdicts(options: RunOptions): Promise<RunSummary> {
  const { seed, count, signal, onProgress } = options;
  const edge = edgeCases().length;
  const batches = [...batchesOf(edge), ...batchesOf(count, seed)];
  const kinds: Record<string, number> = {};
  let [cases, accepted, disagreements, next] = [0, 0, 0, 0];
  const take = (result: BatchResult): void => {
    cases += result.cases;
    accepted += result.accepted;
    disagreements += result.disagreements.length;
    for (const one of result.disagreements) options.onDisagreement?.(one);
    for (const [kind, n] of Object.entries(result.kinds)) kinds[kind] = (kinds[kind] ?? 0) + n;
    onProgress?.(cases, edge + count, disagreements);
  };
  const serve = async (): Promise<void> => {
    const hand = startHand();
    try {
      while (next < batches.length && !signal?.aborted) take(await hand.ask(batches[next++]!));
    } finally {
      await hand.close();
    }
  };
  await Promise.all(Array.from({ length: options.jobs ?? availableParallelism() }, serve));
  const mutations = Math.max(0, cases - edge);
  return { seed, edge, mutations, cases, accepted, disagreements, kinds, stopped: signal?.aborted ?? false };
}

function batchesOf(cases: number, seed?: number): Batch[] {
  return Array.from({ length: Math.ceil(cases / BATCH_CASES) }, (_, i) => ({
    ...(seed !== undefined && { seed }),
    from: i * BATCH_CASES,
    to: Math.min(cases, (i + 1) * BATCH_CASES),
  }));
}

interface Hand {
  ask(batch: Batch): Promise<BatchResult>;
  close(): Promise<unknown>;
}

function startHand(): Hand {
  const child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), { execArgv: ["--import", "tsx"] });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const lost = ended.then((status) => Promise.reject(new Error(`a worker ended with ${status}`)));
  // Only whoever waits for an answer is told.
  lost.catch(() => {});
  return {
    ask: (batch) =>
      Promise.race([
        lost,
        new Promise<BatchResult>((resolve) => {
          child.once("message", (result) => resolve(result as BatchResult));
          child.send(batch);
        }),
      ]),
    close: () => {
      child.kill();
      return ended;
    },
  };
}
