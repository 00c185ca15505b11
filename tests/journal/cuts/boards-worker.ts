import { Boards } from "./boards.js";
import { CASE_CLASSES } from "./classes.js";
import type { Batch, BatchResult, Failed } from "./worker.js";

/** A process that runs batches on simulated boards, in both lanes. */
const boards = Boards.ready();

process.on("message", (batch: Batch) => {
  void (async () => {
    const found = CASE_CLASSES.find(({ name }) => name === batch.className)!;
    const failures: Failed[] = [];
    let cuts = 0;
    let waits = 0;
    for (let n = batch.from; n < batch.to; n++) {
      const one = found.caseAt(batch.seed, n);
      const outcome = await (await boards).tryAny(one);
      cuts += outcome.cuts;
      if (outcome.waited) waits++;
      if (outcome.failure !== undefined) failures.push({ n, failed: one, reason: outcome.failure });
    }
    process.send!({ cuts, waits, failures } satisfies BatchResult);
  })();
});
