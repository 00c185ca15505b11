import assert from "node:assert/strict";
import { Boards } from "./cuts/boards.js";
import { type CutCase, NEVER } from "./cuts/case.js";
import { rerun, runCuts } from "./cuts/run.js";

/** A sample of `npm run cuts -- --boards`. `SEED=n` tries others, `CUTS=n` more. */
const SEED = Number(process.env["SEED"] ?? 1);
const COUNT = Number(process.env["CUTS"] ?? 150);

/** One unstable cell in a position frame that alone named a record: legible to one start, which told of it, and to no other. */
const LEGIBLE_ONCE: CutCase = {
  unit: 32,
  sectors: 8,
  prelude: 3,
  seed: 366819,
  cuts: [
    { operation: 5, program: { kind: "unstable", bit: 1144 } },
    {
      operation: 1,
      program: { kind: "prefix", bits: 58, edge: true },
      erase: { kind: "weak", cells: 53, seed: 333075648 },
    },
    {
      operation: 7,
      program: { kind: "unstable", bit: 192 },
      erase: { kind: "mix", share: 0.25, seed: 3294530898 },
    },
  ],
};

/** A record whose signature has to be made again when the sector that it opens would leave the newest one too far behind. */
const CARRIED_AGAIN: CutCase = {
  unit: 1,
  sectors: 8,
  prelude: 5,
  seed: 815884,
  long: true,
  cuts: [
    {
      operation: 22,
      program: { kind: "prefix", bits: 22, edge: true },
      erase: { kind: "mix", share: 0.625, seed: 1563481814 },
    },
    {
      operation: 21,
      program: { kind: "unstable", bit: 417 },
      erase: { kind: "mix", share: 0.578125, seed: 3483956070 },
    },
    { operation: 10, program: { kind: "prefix", bits: 0, edge: true }, erase: { kind: "zeros", share: 0.6875 } },
    {
      operation: 21,
      program: { kind: "unstable", bit: 193 },
      erase: { kind: "mix", share: 0.03125, seed: 3504238858 },
    },
    {
      operation: 22,
      program: { kind: "unstable", bit: 275 },
      erase: { kind: "mix", share: 0.359375, seed: 1761813386 },
    },
    NEVER,
  ],
};

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

  it("keep a record that only a frame which was cut has named", async () => {
    const { failure, cuts } = await (await Boards.ready()).tryCase(LEGIBLE_ONCE);
    assert.equal(failure, undefined);
    assert.equal(cuts, 3);
  });

  it("have the stack to carry a record whose signature they have to make again", async () => {
    const { failure, cuts } = await (await Boards.ready()).tryCase(CARRIED_AGAIN);
    assert.equal(failure, undefined);
    assert.equal(cuts, 5);
  });
});
