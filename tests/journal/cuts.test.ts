import assert from "node:assert/strict";
import type { FlashCut } from "../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { type CutCase, operationsOf, randomCut, tryCase } from "./cuts.js";

/** A sample of the cut classes. `CUT='{…}'` reruns one case; `CUTS=n` and `SEED=n` try more of them, or others. */
const UNITS = [1, 32, 16] as const;
const SEED = Number(process.env["SEED"] ?? 1);
const SCALE = Number(process.env["CUTS"] ?? 1500) / 1000;
const SECTORS = 8;

function tryAll(cases: Iterable<CutCase>): number {
  let count = 0;
  for (const cutCase of cases) {
    const failure = tryCase(cutCase);
    if (failure !== undefined) assert.fail(failure);
    count += cutCase.cuts.length * (cutCase.rounds ?? 1);
  }
  return count;
}

if (process.env["CUT"] !== undefined)
  it("the one case of CUT", () => {
    tryAll([JSON.parse(process.env["CUT"]!) as CutCase]);
  });
else
  describe("the journal under power cuts", function () {
    this.timeout(600_000);

    it("class 1: in each program of a session, torn in every way", () => {
      tryAll(
        each(150 * SCALE, (random, unit) => {
          const seed = random.below(1_000_000);
          const programs = operationsOf({ unit, sectors: SECTORS, seed, cuts: [] });
          const operation = 1 + random.below(programs.length);
          return { unit, sectors: SECTORS, seed, cuts: [randomCut(operation, random)] };
        }),
      );
    });

    it("class 1: behind every bit of a frame's header and a signature's first bytes", () => {
      tryAll(
        each(150 * SCALE, (random, unit, n) => {
          const cut: FlashCut = {
            operation: 1 + (n % 16),
            program: {
              kind: random.oneIn(2) ? "prefix" : "suffix",
              bits: Math.floor(n / 16) % 60,
              edge: random.oneIn(2),
            },
            erase: { kind: "zeros", share: (n % 64) / 64 },
          };
          return { unit, sectors: SECTORS, seed: random.below(1_000_000), cuts: [cut] };
        }),
      );
    });

    it("class 2: inside of each erase, at 64 points and in every way", () => {
      const cases: CutCase[] = [];
      for (let n = 0; cases.length < 150 * SCALE; n++) {
        const random = new SeededRandom(SEED * 77_003 + n);
        const seed = random.below(1_000_000);
        const unit = UNITS[n % 3]!;
        operationsOf({ unit, sectors: SECTORS, seed, cuts: [] }).forEach(({ kind }, at) => {
          if (kind === "erase") cases.push({ unit, sectors: SECTORS, seed, cuts: [randomCut(at + 1, random)] });
        });
      }
      tryAll(cases);
    });

    it("class 3: two cuts, the second during recovery", () => {
      tryAll(
        each(250 * SCALE, (random, unit) => ({
          unit,
          sectors: SECTORS,
          seed: random.below(1_000_000),
          cuts: [randomCut(1 + random.below(30), random), randomCut(1 + random.below(8), random)],
        })),
      );
    });

    it("class 3: three to ten cuts anywhere", () => {
      tryAll(
        each(120 * SCALE, (random, unit) => ({
          unit,
          sectors: SECTORS,
          seed: random.below(1_000_000),
          cuts: Array.from({ length: 3 + random.below(8) }, () => randomCut(1 + random.below(24), random)),
        })),
      );
    });

    it("class 3: 300 cuts at the same point", () => {
      tryAll(
        each(3 * SCALE, (random, unit) => {
          const cut = randomCut(1 + random.below(10), random);
          return { unit, sectors: 16, seed: random.below(1_000_000), cuts: [cut], rounds: 300 };
        }),
      );
    });
  });

function* each(
  count: number,
  make: (random: SeededRandom, unit: 1 | 16 | 32, n: number) => CutCase,
): Generator<CutCase> {
  for (let n = 0; n < count; n++) yield make(new SeededRandom(SEED * 1_000_003 + n), UNITS[n % 3]!, n);
}
