import { availableParallelism } from "node:os";
import { type Hand, processHand } from "../hand.js";
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
  const hands = Array.from({ length: options.jobs ?? availableParallelism() }, () =>
    processHand<Batch, BatchResult>(new URL("worker.ts", import.meta.url)),
  );
  const serve = async (hand: Hand<Batch, BatchResult>): Promise<void> => {
    while (next < batches.length && !signal?.aborted) take(await hand.ask(batches[next++]!));
  };
  try {
    await Promise.all(hands.map(serve));
  } finally {
    await Promise.all(hands.map((hand) => hand.close()));
  }
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
