import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import type { Mutation } from "./cuts/bundle.js";
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
/** Searches that end with a case that fails with all on as well: strict as they are, one may have to wait there too. */
const SEARCHES_MOST = 20;

async function search(classes: readonly string[], mutation: Mutation): Promise<AnyCase | undefined> {
  for (let n = 0, left = CUTS_MOST; n < SEARCHES_MOST && left > 0; n++) {
    const options = { seed: SEED + n, count: CUTS_MOST, classes, mutation, untilFailure: true };
    const { totals, failed } = await runCuts(options);
    left -= totals.cuts;
    const all = await runCases(failed.map((one) => one.failed));
    const found = failed.find((_, at) => all.every((other) => other.n !== at));
    if (found !== undefined) return found.failed;
  }
  return undefined;
}

describe("the journal without", function () {
  this.timeout(600_000);
  const known = JSON.parse(readFileSync(KNOWN, "utf8")) as Record<string, AnyCase>;

  for (const { without, classes, ...mutation } of DEFENCES)
    it(`${without}: some case fails`, async () => {
      const first = known[without];
      if (first !== undefined && (await runCases([first], mutation)).length > 0) return;
      const found = await search(classes, mutation);
      assert.ok(found !== undefined, `no case failed in about ${CUTS_MOST} cuts: delete the defence, or find the case`);
      known[without] = found;
      if (process.env["RECORD"] !== undefined) writeFileSync(KNOWN, `${JSON.stringify(known, null, 1)}\n`);
    });

  it("nothing: all these cases hold", async () => {
    assert.deepEqual(await runCases(Object.values(known)), []);
  });
});
