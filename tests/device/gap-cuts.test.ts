import assert from "node:assert/strict";
import { Gaps } from "tallystick/device/gaps";
import { Journal } from "tallystick/journal/journal";
import { rootOf } from "tallystick/merkle/merkle";
import type { EarlierGap } from "tallystick/record/gap-summary";
import { recordId } from "tallystick/record/record";
import { PowerCut } from "../../hosts/simulator/board.js";
import { type FlashCut, NorFlash } from "../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { anyCut } from "../journal/cuts/classes.js";
import { mounted, must, sha256 } from "../journal/rig.js";
import { type CuttableKeys, checkGaps, Recorder } from "./recorder.js";

const SECTORS = 10;
const UNITS = [1, 16, 32] as const;
const SEED = Number(process.env["SEED"] ?? 1);
/**
 * Ways to tear an operation, each how many-th of all is torn, and each how many-th is one that 300 cuts hit: the seed says
 * from which on. `CUTS=all`: each one, in many ways.
 */
const TEARS = process.env["CUTS"] === "all" ? 8 : 1;
const STEP = process.env["CUTS"] === "all" ? 1 : 2;
const LOOP_STEP = process.env["CUTS"] === "all" ? 1 : 28;
const LOOP = 300;
/** More than two gaps' worth. */
const RECORDS_AFTER = 30;

interface Ready {
  readonly flash: ReturnType<NorFlash["snapshot"]>;
  readonly keys: CuttableKeys;
  readonly committed: readonly Uint8Array[];
  readonly acknowledged: number;
  /** Flash operations and key store writes of a start that makes the next gap, and records two packs after it. */
  readonly operations: number;
  readonly writes: number;
}

const readies = new Map<string, Ready>();

/** A journal, `gaps` gaps old, whose next record needs a gap. */
async function ready(unit: 1 | 16 | 32, gaps: number): Promise<Ready> {
  const key = `${unit} ${gaps}`;
  const known = readies.get(key);
  if (known) return known;
  const flash = new NorFlash({ sizeBytes: SECTORS * 4096, writeUnitBytes: unit });
  must(Journal.format(flash));
  const recorder = new Recorder(flash);
  await recorder.start(2);
  // Genesis and one more are acknowledged, which the next opening makes durable.
  const journal = mounted(flash, recorder.signer);
  must(journal.release({ seq: 1, id: recordId(sha256, recorder.committed[1]!) }));
  recorder.acknowledged = 2;
  let before: Pick<Ready, "flash" | "keys" | "committed"> | undefined;
  for (let n = 0; n < 400; n++) {
    before = { flash: flash.snapshot(), keys: recorder.keys.snapshot(), committed: recorder.committed.slice() };
    const count = recorder.gaps().length;
    await continueWith(recorder, journal, n === 0 ? 20 : 1);
    if (count === gaps && recorder.gaps().length > count) break;
  }
  assert.equal(recorder.gaps().length, gaps + 1, recorder.refused.join());
  const again = resumed({ ...before!, acknowledged: 2, operations: 0, writes: 0 }, unit, 0);
  await again.start(3);
  const made: Ready = { ...before!, acknowledged: 2, operations: again.flash.operations, writes: again.keys.writes };
  readies.set(key, made);
  return made;
}

/** The first records go into the journal whose memory knows of the acknowledgement; later ones need no such thing. */
async function continueWith(recorder: Recorder, journal: Journal, records: number): Promise<void> {
  if (records > 1) {
    const fill = recorder.commitAll(journal, records);
    await fill;
  } else await recorder.start(1);
}

function resumed({ flash, keys, committed, acknowledged }: Ready, unit: 1 | 16 | 32, seed: number): Recorder {
  const cells = new NorFlash({ sizeBytes: SECTORS * 4096, writeUnitBytes: unit, seed });
  cells.restore(flash);
  cells.cutAt(undefined);
  const recorder = new Recorder(cells, keys.snapshot());
  recorder.committed = committed.slice();
  recorder.acknowledged = acknowledged;
  return recorder;
}

/** A start that the cut ends, or that ends by itself. */
async function cutStart(
  recorder: Recorder,
  records: number,
  cut: FlashCut | undefined,
  look: "all" | "newest" = "all",
): Promise<boolean> {
  recorder.flash.cutAt(cut);
  try {
    await recorder.start(records, look);
    return false;
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error;
    return true;
  } finally {
    recorder.flash.cutAt(undefined);
  }
}

/** The gap that a start from here makes where nothing goes wrong. */
async function nextGap(from: Ready): Promise<EarlierGap> {
  const recorder = resumed(from, 1, 0);
  await recorder.start(3);
  return recorder.gaps()[0]!;
}

/** The device goes on: it records for some rounds of the ring, and is refused nothing. */
async function goesOn(recorder: Recorder): Promise<void> {
  await recorder.start(0);
  const before = recorder.committed.length;
  await recorder.start(RECORDS_AFTER, "newest");
  assert.deepEqual(recorder.refused, []);
  assert.ok(recorder.committed.length >= before + RECORDS_AFTER);
  await recorder.start(0);
  checkGaps(recorder.committed);
}

describe("the gap policy under power cuts", function () {
  this.timeout(600_000);

  for (const unit of UNITS)
    it(`drops nothing that is neither acknowledged nor named, wherever the power goes, units of ${unit}`, async () => {
      let cuts = 0;
      for (const gaps of [0, 1, 4]) {
        const from = await ready(unit, gaps);
        for (let operation = 1 + (SEED % STEP); operation <= from.operations; operation += STEP)
          for (let tear = 0; tear < TEARS; tear++) {
            const seed = SEED * 1_000_000 + operation * 100 + tear;
            const recorder = resumed(from, unit, seed);
            try {
              if (await cutStart(recorder, 3, anyCut(operation, new SeededRandom(seed)))) cuts++;
              await goesOn(recorder);
            } catch (error) {
              throw new Error(`units ${unit}, ${gaps} gaps, operation ${operation}, tear ${tear}, SEED=${SEED}`, {
                cause: error,
              });
            }
          }
        for (let write = 1; write <= from.writes; write++)
          for (const after of [false, true]) {
            const recorder = resumed(from, unit, SEED);
            recorder.keys.cut = { write, after };
            assert.ok(await cutStart(recorder, 3, undefined));
            recorder.keys.cut = undefined;
            const made = recorder.gaps().length;
            await recorder.start(1);
            assert.equal(recorder.gaps().length, made, "the gap that was committed serves");
            await goesOn(recorder);
          }
      }
      assert.ok(cuts > (50 * TEARS) / STEP, `${cuts} cuts`);
    });

  it("names a record that the flash has damaged by the one after it", async () => {
    const from = await ready(1, 0);
    const recorder = resumed(from, 1, 0);
    const { first, last } = (await nextGap(from)).gap;
    for (const seq of [first + 1, last]) {
      const body = recorder.committed[seq]!.subarray(0, -64);
      const cells = Buffer.from(recorder.flash.read(0, recorder.flash.sizeBytes));
      // Zeros in the middle of its payload, wherever it stands.
      for (let at = cells.indexOf(body); at >= 0; at = cells.indexOf(body, at + 1))
        recorder.flash.write(at + body.length - 40, new Uint8Array(8));
    }
    await recorder.start(3, "newest");
    const gap = recorder.gaps()[0]!.gap;
    const ids = recorder.committed.slice(first, last + 1).map((bytes) => recordId(sha256, bytes));
    assert.equal(gap.last, last);
    assert.deepEqual(gap.root, rootOf(sha256, ids));
    assert.deepEqual(gap.lastId, ids.at(-1));
    const [temperature] = gap.summaries;
    assert.equal(temperature!.values, ids.length - 2, "their values are in no summary");
  });

  it("takes no gap of another key's chain for its own, noted or at the journal's head", async () => {
    const recorder = resumed(await ready(1, 1), 1, 0);
    const journal = mounted(recorder.flash, recorder.signer);
    const { first } = recorder.gaps()[0]!.gap;
    const { signer, keys } = recorder;
    for (const [kid, names] of [
      [signer.kid, true],
      [new Uint8Array(8), false],
    ] as const) {
      const gaps = new Gaps({ journal, kid, keys, sha256 });
      gaps.resume();
      assert.equal(gaps.naming(first) !== undefined, names);
    }
  });

  for (const unit of UNITS)
    it(`signs one gap only, however often the power goes between body and signature, units of ${unit}`, async () => {
      for (const gaps of [0, 3]) {
        const recorder = resumed(await ready(unit, gaps), unit, SEED);
        recorder.cutWhenSigned = true;
        for (let n = 0; n < LOOP; n++) assert.ok(await cutStart(recorder, 3, undefined, "newest"));
        recorder.cutWhenSigned = false;
        await goesOn(recorder);
        // And with torn bodies before, and in between.
        for (const torn of [20, LOOP]) {
          const random = new SeededRandom(SEED * 31 + gaps + torn);
          const mixed = resumed(await ready(unit, gaps), unit, SEED);
          for (let n = 0; n < LOOP; n++) {
            mixed.cutWhenSigned = n >= torn || random.oneIn(3);
            await cutStart(mixed, 3, mixed.cutWhenSigned ? undefined : anyCut(1 + random.below(14), random), "newest");
          }
          mixed.cutWhenSigned = false;
          await goesOn(mixed).catch((error) => {
            throw new Error(`${gaps} gaps, ${torn} torn, SEED=${SEED}`, { cause: error });
          });
        }
      }
    });

  for (const unit of process.env["CUTS"] === "all" ? UNITS : ([1, 32] as const))
    it(`goes on after ${LOOP} cuts at the same point, units of ${unit}`, async () => {
      const from = await ready(unit, 2);
      for (let operation = 1 + (SEED % LOOP_STEP); operation <= from.operations; operation += LOOP_STEP) {
        const seed = SEED * 7_000_003 + operation;
        const recorder = resumed(from, unit, seed);
        const cut = anyCut(operation, new SeededRandom(seed));
        try {
          for (let n = 0; n < LOOP; n++) await cutStart(recorder, 3, cut, "newest");
          await goesOn(recorder);
        } catch (error) {
          throw new Error(`units ${unit}, operation ${operation}, SEED=${SEED}, ${JSON.stringify(cut)}`, {
            cause: error,
          });
        }
      }
    });
});
