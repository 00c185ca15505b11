import assert from "node:assert/strict";
import { rerun, runCuts } from "./cuts/run.js";

/** A sample of `npm run cuts -- --boards`. `SEED=n` tries others, `CUTS=n` more. */
const SEED = Number(process.env["SEED"] ?? 1);
const COUNT = Number(process.env["CUTS"] ?? 150);

describe("whole boards under power cuts", function () {
  this.timeout(600_000);

  it("do the same on Node's engine and on XS, byte for byte, and lose nothing", async () => {
    const { totals, failed } = await runCuts({ seed: SEED, count: COUNT, onBoards: true });
    assert.deepEqual(
      failed.map(({ reason, failed: one }) => `${reason}\n  ${rerun(one)} --boards`),
      [],
    );
    assert.ok(totals.cuts > COUNT, `${totals.cuts} cuts`);
  });
});
