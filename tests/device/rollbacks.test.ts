import assert from "node:assert/strict";
import { ROLLBACKS } from "./rollbacks/misfortunes.js";
import { DEFENCES } from "./rollbacks/mutations.js";
import { rerun, runRollbacks } from "./rollbacks/run.js";
import type { Failure } from "./rollbacks/worker.js";

/**
 * A part of `npm run rollbacks`, which tries as many as are asked for. `SEED=n` tries others, `ROLLBACKS=n` more; a failure
 * prints the line that reruns just its case.
 */
const SEED = Number(process.env["SEED"] ?? 1);
const COUNT = Number(process.env["ROLLBACKS"] ?? 150);
/** Rollbacks that a device without a defence is given to fail in, where its known case has ceased to fail. */
const SEARCH = 3000;

const told = (failures: readonly Failure[]) => failures.map((failure) => `${failure.reason}\n  ${rerun(failure)}`);

describe("a device that is set back", function () {
  this.timeout(600_000);

  it(`honestly, ${COUNT} times: no fork, no alarm, nothing lost, and it goes on`, async () => {
    const { rollbacks, kinds, tally, passages, failures } = await runRollbacks({ seed: SEED, count: COUNT });
    assert.deepEqual(told(failures), []);
    assert.ok(rollbacks > 0.9 * COUNT, `${rollbacks} rollbacks`);
    for (const kind of ROLLBACKS) assert.ok(kinds[kind] > 0, `none was of the kind: ${kind}`);
    for (const [name, count] of [...Object.entries(tally), ...Object.entries(passages)])
      assert.ok(count > 0, `nothing was counted: ${name}`);
  });

  describe("is told from two, or goes on, only with", () => {
    for (const { without, case: from, ...mutation } of DEFENCES)
      it(without, async () => {
        const known = await runRollbacks({ seed: 1, from, count: 1, jobs: 1, mutation });
        if (known.failures.length > 0) return;
        const found = await runRollbacks({ seed: 1, count: SEARCH, mutation, untilFailure: true });
        assert.ok(found.failures.length > 0, "no case fails without it: delete the defence, or find the case");
        assert.fail(`case ${from} holds without it: put another one there, ${found.failures.map(({ n }) => n).join()}`);
      });
  });
});
