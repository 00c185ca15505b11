import { parentPort } from "node:worker_threads";
import { type AnyCase, CASE_CLASSES, tryAny } from "./classes.js";

/** Cases `from` to below `to` of one class. */
export interface Batch {
  /** No case of them may wait (case.ts). */
  readonly strict?: boolean;
  readonly className: string;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
}

/** A batch, or cases one by one; these are strict. */
export type Asked = Batch | { readonly cases: readonly AnyCase[] };

export interface BatchResult {
  readonly cuts: number;
  readonly waits: number;
  readonly failures: readonly Failed[];
}

export interface Failed {
  readonly n: number;
  readonly failed: AnyCase;
  readonly reason: string;
}

parentPort?.on("message", (asked: Asked) => {
  const failures: Failed[] = [];
  let cuts = 0;
  let waits = 0;
  const attempt = (n: number, one: AnyCase): void => {
    const outcome = tryAny(one, "cases" in asked || asked.strict);
    cuts += outcome.cuts;
    if (outcome.waited) waits++;
    if (outcome.failure !== undefined) failures.push({ n, failed: one, reason: outcome.failure });
  };
  if ("cases" in asked) for (const [n, one] of asked.cases.entries()) attempt(n, one);
  else {
    const found = CASE_CLASSES.find(({ name }) => name === asked.className)!;
    for (let n = asked.from; n < asked.to; n++) attempt(n, found.caseAt(asked.seed, n));
  }
  parentPort!.postMessage({ cuts, waits, failures } satisfies BatchResult);
});
