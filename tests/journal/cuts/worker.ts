import { parentPort } from "node:worker_threads";
import { type AnyCase, CASE_CLASSES, tryAny } from "./classes.js";

/** Cases `from` to below `to` of one class. */
export interface Batch {
  readonly className: string;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
}

export interface BatchResult {
  readonly batch: Batch;
  readonly cuts: number;
  readonly failures: readonly Failed[];
}

export interface Failed {
  readonly n: number;
  readonly failed: AnyCase;
  readonly reason: string;
}

parentPort?.on("message", (batch: Batch) => {
  const found = CASE_CLASSES.find(({ name }) => name === batch.className)!;
  const failures: Failed[] = [];
  let cuts = 0;
  for (let n = batch.from; n < batch.to; n++) {
    const one = found.caseAt(batch.seed, n);
    const outcome = tryAny(one);
    cuts += outcome.cuts;
    if (outcome.failure !== undefined) failures.push({ n, failed: one, reason: outcome.failure });
  }
  parentPort!.postMessage({ batch, cuts, failures } satisfies BatchResult);
});
