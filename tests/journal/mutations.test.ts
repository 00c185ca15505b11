import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import type { AnyCase } from "./cuts/classes.js";
import { DEFENCES } from "./cuts/mutations.js";
import { runCases, runCuts } from "./cuts/run.js";

/**
 * Every defence is needed: without it some case fails that holds with it. Known cases are tried first; where none fails any
 * more, a search does. `RECORD=1` writes what the search finds into the list.
 */
const KNOWN = new URL("cuts/killers.json", import.meta.url);
/** Cuts, about, that a journal without a defence is given to fail in; the first failure ends the search. */
const CUTS_MOST = Number(process.env["CUTS"] ?? 60_000);
const SEED = Number(process.env["SEED"] ?? 1);

describe("the journal without", function () {
  this.timeout(600_000);
  const known = JSON.parse(readFileSync(KNOWN, "utf8")) as Record<string, AnyCase>;

  for (const { without, classes, ...mutation } of DEFENCES)
    it(`${without}: some case fails`, async () => {
      const first = known[without];
      if (first !== undefined && (await runCases([first], mutation)).length > 0) return;
      const { totals, failed } = await runCuts({ seed: SEED, count: CUTS_MOST, classes, mutation, untilFailure: true });
      assert.ok(totals.failures > 0, `no case failed in ${totals.cases}: delete the defence, or find the case`);
      // A strict case may have to wait with all on as well.
      const all = await runCases(failed.map((one) => one.failed));
      const found = failed.find((_, n) => all.every((other) => other.n !== n));
      assert.ok(found !== undefined, `what failed does so with it too: try SEED=${SEED + 1}`);
      known[without] = found.failed;
      if (process.env["RECORD"] !== undefined) writeFileSync(KNOWN, `${JSON.stringify(known, null, 1)}\n`);
    });

  it("nothing: all these cases hold", async () => {
    assert.deepEqual(await runCases(Object.values(known)), []);
  });
});
