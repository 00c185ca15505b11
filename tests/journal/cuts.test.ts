import assert from "node:assert/strict";
import { rerun, runCuts } from "./cuts/run.js";

/**
 * A part of `npm run cuts`, which tries as many as are asked for. `SEED=n` tries others, `CUTS=n` more; a failure prints
 * the line that reruns just its case.
 */
const SEED = Number(process.env["SEED"] ?? 1);
const COUNT = Number(process.env["CUTS"] ?? 102_000);
/** Share of cases in which a recovery may have to wait: unstable cells again and again, in a ring in which nothing is released. */
const WAITS_MOST = 0.001;

describe("the journal under power cuts and damage", function () {
  this.timeout(1_200_000);

  it(`loses nothing and gives out nothing false in ${COUNT} cuts`, async () => {
    const { classes, totals, failed } = await runCuts({ seed: SEED, count: COUNT });
    assert.deepEqual(
      failed.map(({ reason, failed: one }) => `${reason}\n  ${rerun(one)}`),
      [],
    );
    assert.ok(totals.cuts > 0.9 * COUNT, `${totals.cuts} cuts`);
    assert.ok(
      totals.waits < WAITS_MOST * totals.cases,
      `in ${totals.waits} cases a recovery had to wait for a release`,
    );
    for (const { name, cases } of classes) assert.ok(cases > 0, `class ${name} tried nothing`);
  });
});
