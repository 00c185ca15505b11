import assert from "node:assert/strict";
import { Journal } from "tallystick/journal/journal";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import { bodyAfter, mounted, must, quickSigner } from "./rig.js";

/** Costs at the design's workload: 64 sectors of 4 KiB, 160-byte records, each released after it was committed. */
const SECTORS = 64;
const ROUNDS = 2;
const SECTOR_BYTES = 4096;

const GOALS = [
  { unit: 1, amplification: 1.1, erases: 0.046 },
  { unit: 16, amplification: 1.25, erases: 0.048 },
  { unit: 32, amplification: 1.25, erases: 0.048 },
] as const;

for (const { unit, amplification, erases } of GOALS)
  it(`the journal's costs, write units of ${unit}`, () => {
    const flash = new NorFlash({ sizeBytes: SECTORS * SECTOR_BYTES, writeUnitBytes: unit });
    must(Journal.format(flash));
    const signer = quickSigner("figures");
    const journal = mounted(flash, signer);
    flash.resetCounters();
    let payload = 0;
    let count = 0;
    while (flash.counters.erases < ROUNDS * SECTORS) {
      const body = bodyAfter(signer.kid, journal.head, 160, count++);
      must(journal.release(must(journal.commit(body))));
      payload += body.length + 64;
    }
    // The record that opened the last sector is one too many for the others.
    const sectors = flash.counters.erases - 1;
    const measured = {
      amplification: flash.counters.bytesProgrammed / payload,
      erases: sectors / (count - 1),
      reads: 0,
      bytes: 0,
    };
    assert.equal(flash.counters.refusals, 0);
    for (let n = 0; n < 5; n++) must(journal.commit(bodyAfter(signer.kid, journal.head, 160, n)));
    const { reads, bytesRead, linear } = mounted(flash, signer).report;
    measured.reads = reads - 1;
    measured.bytes = bytesRead - SECTOR_BYTES;
    console.log(
      `      programmed/payload ${measured.amplification.toFixed(3)}, erases/record ${measured.erases.toFixed(4)}, mount ${measured.reads} reads of ${measured.bytes} bytes`,
    );
    assert.equal(linear, false);
    assert.ok(measured.amplification <= amplification);
    assert.ok(measured.erases <= erases);
    assert.ok(measured.reads <= 16 && measured.bytes <= 1024);
  });
