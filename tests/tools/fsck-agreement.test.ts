import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import type { Flash } from "tallystick/journal/flash";
import { geometryOf } from "tallystick/journal/layout";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import type { Tear } from "../../hosts/simulator/world/tear.js";
import { examine } from "../../tools/fsck/examine.js";
import type { Operation } from "../../tools/fsck/image-flash.js";
import { type Step, stepsOf } from "../../tools/fsck/steps.js";
import { FILLING_RECORDS, JournalDevice, SECTOR_BYTES } from "./journal-images.js";

/** Of one device, on one partition: so many that each step of a recovery is met. */
const STARTS = 60;

/** What fsck says of an image is what the device then does. */
describe("tallystick fsck, beside the device", () => {
  it("ends on whatever becomes of an image, and knows each step that it tells", () => {
    const random = new SeededRandom(3);
    const images = ([1, 32] as const).flatMap((writeUnitBytes) => {
      const young = new JournalDevice({ writeUnitBytes });
      young.cutCommit(young.write(30), "signature", 60);
      const old = new JournalDevice({ writeUnitBytes });
      old.write(200, { release: true });
      return [young.image(), old.image()];
    });
    const sectorAt = () => random.below(8) * SECTOR_BYTES;
    for (let run = 0; run < 80; run++) {
      const image = random.pick(images).slice();
      const [from, to] = [sectorAt(), sectorAt()];
      const what = random.below(4);
      if (what === 0) image[random.below(image.length)]! ^= 1 << random.below(8);
      else if (what === 1) image.fill(random.pick([0, 0xff, 0xa5]), to + random.below(SECTOR_BYTES), to + SECTOR_BYTES);
      else if (what === 2) image.set(random.pick(images).subarray(from, from + SECTOR_BYTES), to);
      else for (let n = 0; n < 40; n++) image[to + random.below(700)]! &= random.below(256);
      const said = examine(image, []);
      if (!said.ok) continue;
      for (const step of [...said.value.steps, ...(said.value.ifUnsigned?.steps ?? [])])
        assert.ok(step.kind !== "other" && !("seq" in step && step.seq < 0), `run ${run}: ${JSON.stringify(step)}`);
    }
  });

  for (const writeUnitBytes of [1, 16, 32] as const) {
    it(`says what the device then does, after cuts anywhere, write units of ${writeUnitBytes}`, () => {
      const random = new SeededRandom(writeUnitBytes);
      const device = new JournalDevice({ writeUnitBytes });
      const told = new Set<string>();
      for (let start = 0; start < STARTS; start++) {
        // Often in the recovery, which needs fewer operations.
        const cut = { operation: 1 + random.below(random.oneIn(2) ? 16 : 7), ...settledTears(random) };
        device.isCutIn(cut, () => void device.write(1 + random.below(6), { release: !random.oneIn(3) }));
        const before = device.flash.snapshot();
        for (const { kind } of agreed(device, `start ${start}, write units of ${writeUnitBytes}`)) told.add(kind);
        // Every other time nothing was recovered yet when the power goes again.
        if (random.oneIn(2)) device.flash.restore(before);
      }
      for (const kind of ["record", "spend", "void"]) assert.ok(told.has(kind), kind);
    });

    it(`says what the device then does, after cuts in openings, write units of ${writeUnitBytes}`, () => {
      const random = new SeededRandom(writeUnitBytes);
      const filling = FILLING_RECORDS[writeUnitBytes];
      const carried = new JournalDevice({ writeUnitBytes });
      carried.cutCommit(carried.write(filling - 1), "signature", 60);
      const alone = new JournalDevice({ writeUnitBytes });
      alone.cutCommit(alone.write(filling), "body", 60);
      const told = new Set<string>();
      for (const device of [carried, alone]) {
        const before = device.flash.snapshot();
        for (const { kind } of agreed(device, `not cut, write units of ${writeUnitBytes}`)) told.add(kind);
        for (let operation = 1, isCut = true; isCut; operation++)
          for (let n = 0; n < 3 && isCut; n++) {
            device.flash.restore(before);
            isCut = device.isCutIn({ operation, ...settledTears(random) }, () => device.mount());
            for (const { kind } of agreed(device, `operation ${operation}, write units of ${writeUnitBytes}`))
              told.add(kind);
          }
      }
      for (const kind of ["carry", "open"]) assert.ok(told.has(kind), kind);
    });
  }
});

/** Examines the device's partition and starts the device: the steps, which it took just so. */
function agreed(device: JournalDevice, where: string): readonly Step[] {
  const key = { kid: device.key.signer.kid, publicKey: device.key.publicKey, source: "--key" } as const;
  const said = examine(device.image(), [key]);
  assert.ok(said.ok, said.ok ? "" : `${where}: ${said.failure.detail}`);
  const { steps, tail, head, damage } = said.value;
  device.flash.resetCounters();
  const operations: Operation[] = [];
  const started = device.mount(watched(device.flash, operations));
  // An encrypted unit that a cut has touched looks like an erased one in a dump, and the command says so.
  if (device.flash.counters.refusals > 0) return [];
  const geometry = geometryOf(device.flash);
  assert.ok(geometry.ok);
  assert.deepEqual(steps, stepsOf(operations, geometry.value), where);
  assert.ok(!steps.some(({ kind }) => kind === "other"), where);
  assert.equal(tail, started.report.tail, where);
  assert.equal(head?.seq, started.head?.seq, where);
  if (head?.id) assert.equal(toHex(head.id), toHex(started.head!.id), where);
  assert.deepEqual(damage, [], where);
  return steps;
}

/** Tears that leave no cell unstable: an image is one reading, and a start reads anew. */
function settledTears(random: SeededRandom): { readonly program: Tear; readonly erase: Tear } {
  const share = random.below(64) / 64;
  return {
    program: random.pick<Tear>([
      { kind: "before" },
      { kind: "prefix", bits: random.below(400), edge: false },
      { kind: "suffix", bits: random.below(400), edge: false },
      { kind: "subset", share, seed: random.next() },
      { kind: "after" },
    ]),
    erase: random.pick<Tear>([
      { kind: "before" },
      { kind: "zeros", share },
      { kind: "nearly", cells: 3, seed: random.next() },
      { kind: "after" },
    ]),
  };
}

/** The device's flash, with a list of what is done to it. */
function watched(flash: Flash, operations: Operation[]): Flash {
  return {
    sizeBytes: flash.sizeBytes,
    sectorBytes: flash.sectorBytes,
    writeUnitBytes: flash.writeUnitBytes,
    read: (offset, into) => flash.read(offset, into),
    write: (offset, bytes) => {
      operations.push({ kind: "program", offset, bytes: bytes.slice() });
      flash.write(offset, bytes);
    },
    erase: (sector) => {
      operations.push({ kind: "erase", sector });
      flash.erase(sector);
    },
  };
}
