import assert from "node:assert/strict";
import { equalBytes } from "tallystick/bytes/bytes";
import { crc32c } from "tallystick/journal/crc32c";
import { Journal } from "tallystick/journal/journal";
import { recordId } from "tallystick/record/record";
import { type FlashSnapshot, NorFlash } from "../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { bodyAfter, mounted, must, quickSigner, recordOf, sha256 } from "./rig.js";

const UNITS = [1, 16, 32] as const;
const SECTORS = 6;
const signer = quickSigner("damage");

/** A journal of about two and a half sectors, in slots 0 to 2, and what was committed to it. */
function written(writeUnitBytes: 1 | 16 | 32): { flash: NorFlash; committed: Uint8Array[]; snapshot: FlashSnapshot } {
  const flash = new NorFlash({ sizeBytes: SECTORS * 4096, writeUnitBytes });
  must(Journal.format(flash));
  const journal = mounted(flash, signer);
  const committed: Uint8Array[] = [];
  for (let n = 0; n < 40; n++) {
    const body = bodyAfter(signer.kid, journal.head, 200, n);
    must(journal.commit(body));
    committed.push(recordOf(signer, body));
  }
  return { flash, committed, snapshot: flash.snapshot() };
}

for (const unit of UNITS)
  describe(`damaged cells, write units of ${unit}`, () => {
    it("gives no flipped bit out as good, and the records around it all the same", () => {
      const { flash, committed, snapshot } = written(unit);
      const random = new SeededRandom(unit);
      for (let n = 0; n < 250; n++) {
        flash.restore(snapshot);
        const flips = 1 + random.below(2);
        const where: string[] = [];
        for (let flip = 0; flip < flips; flip++) {
          const offset = random.below(3 * 4096);
          const bit = random.below(8);
          where.push(`${offset}.${bit}`);
          flash.flip(offset, bit);
        }
        const mounting = Journal.mount({ flash, sha256, signers: [signer] });
        if (!mounting.ok) {
          assert.match(mounting.failure.code, /^JOURNAL_/);
          continue;
        }
        let lost = 0;
        for (let seq = 0; seq < committed.length; seq++) {
          const bytes = mounting.value.record(seq);
          if (!bytes.ok) lost++;
          else
            assert.ok(equalBytes(bytes.value, committed[seq]!), `flips at ${where}: seq ${seq} was given out changed`);
        }
        assert.ok(lost <= 2 * flips, `flips at ${where}: ${lost} records are lost`);
      }
    });

    it("ends on random bytes with a typed result, and changes nothing", () => {
      const random = new SeededRandom(unit);
      for (let n = 0; n < 20; n++) {
        const cells = random.bytes(SECTORS * 4096);
        const flash = new NorFlash({ sizeBytes: cells.length, writeUnitBytes: unit });
        flash.fill(cells);
        const mounting = Journal.mount({ flash, sha256, signers: [signer] });
        assert.ok(!mounting.ok && mounting.failure.code === "JOURNAL_UNREADABLE");
        assert.equal(flash.counters.programs + flash.counters.erases, 0);
        assert.ok(flash.counters.reads < 10 * SECTORS);
      }
    });

    it("changes nothing on another device's partition, one of another size, or of a newer format", () => {
      const { flash, snapshot } = written(unit);
      flash.resetCounters();
      const foreign = Journal.mount({ flash, sha256, signers: [quickSigner("another")] });
      assert.ok(!foreign.ok && foreign.failure.code === "JOURNAL_FOREIGN");
      const larger = new NorFlash({ sizeBytes: 8 * 4096, writeUnitBytes: unit });
      const cells = new Uint8Array(8 * 4096).fill(0xff);
      cells.set(snapshot.cells);
      larger.fill(cells);
      const other = Journal.mount({ flash: larger, sha256, signers: [signer] });
      assert.ok(!other.ok && other.failure.code === "JOURNAL_GEOMETRY");
      // A later firmware's sector behind ours: version 2, and a CRC that holds.
      const newer = new NorFlash({ sizeBytes: SECTORS * 4096, writeUnitBytes: unit });
      newer.restore(snapshot);
      const header = new Uint8Array(32);
      newer.read(0, header);
      header[2] = 2;
      new DataView(header.buffer).setUint32(28, crc32c(header, 0, 28));
      const behind = 3;
      newer.erase(behind);
      newer.program(behind * 4096, header);
      newer.resetCounters();
      const later = Journal.mount({ flash: newer, sha256, signers: [signer] });
      assert.ok(!later.ok && later.failure.code === "JOURNAL_NEWER");
      for (const { programs, erases } of [flash.counters, larger.counters, newer.counters])
        assert.equal(programs + erases, 0);
    });

    it("refuses a record above the limit, and is as it was", () => {
      const { flash, committed } = written(unit);
      const journal = mounted(flash, signer);
      flash.resetCounters();
      const large = bodyAfter(signer.kid, journal.head, 4001, 1);
      const refused = journal.commit(large);
      assert.ok(!refused.ok && refused.failure.code === "RECORD_TOO_LARGE");
      assert.equal(flash.counters.programs + flash.counters.erases, 0);
      assert.equal(journal.head?.seq, committed.length - 1);
      must(journal.commit(bodyAfter(signer.kid, journal.head, 4000, 1)));
    });

    it("stops when full, warns before, and goes on after a release", () => {
      const flash = new NorFlash({ sizeBytes: 16 * 4096, writeUnitBytes: unit });
      must(Journal.format(flash));
      let journal = mounted(flash, signer);
      const levels = new Set<string>();
      const ids: Uint8Array[] = [];
      for (let n = 0; n < 2000; n++) {
        levels.add(journal.usage.level);
        const body = bodyAfter(signer.kid, journal.head, 400, n);
        const committed = journal.commit(body);
        if (!committed.ok) {
          assert.equal(committed.failure.code, "JOURNAL_FULL");
          break;
        }
        ids.push(committed.value.id);
        if (n % 50 === 0) journal = mounted(flash, signer);
      }
      assert.deepEqual([...levels], ["normal", "warning", "critical", "full"]);
      const erases = flash.counters.erases;
      for (let n = 0; n < 5; n++) assert.ok(!journal.commit(bodyAfter(signer.kid, journal.head, 400, n)).ok);
      assert.equal(flash.counters.erases, erases);
      assert.equal(journal.firstSeq, 0);
      assert.ok(!journal.release({ seq: 3, id: new Uint8Array(32) }).ok, "a false id releases nothing");
      must(journal.release({ seq: ids.length - 1, id: ids.at(-1)! }));
      must(journal.commit(bodyAfter(signer.kid, journal.head, 400, 1)));
    });

    it("reports a flash that does not hold, and commits nothing", () => {
      for (const wornReports of [true, false]) {
        const flash = new NorFlash({
          sizeBytes: SECTORS * 4096,
          writeUnitBytes: unit,
          enduranceErases: 3,
          wornReports,
        });
        must(Journal.format(flash));
        const journal = mounted(flash, signer);
        let last = -1;
        for (let n = 0; n < 3000; n++) {
          const committed = journal.commit(bodyAfter(signer.kid, journal.head, 300, n));
          if (!committed.ok) {
            assert.match(committed.failure.code, /^JOURNAL_(FLASH_FAILED|FULL)$/);
            break;
          }
          last = committed.value.seq;
          must(journal.release(committed.value));
        }
        assert.ok(last > 50 && last < 2999);
        assert.equal(journal.head?.seq, last);
        assert.equal(mounted(flash, signer).head?.seq, last);
      }
    });

    it("takes back its own records from the relay after a loss", () => {
      const { committed } = written(unit);
      const blank = new NorFlash({ sizeBytes: SECTORS * 4096, writeUnitBytes: unit });
      must(Journal.format(blank));
      const journal = mounted(blank, signer);
      const changed = committed[39]!.slice();
      changed[100]! ^= 1;
      assert.ok(!journal.restore(changed).ok);
      must(journal.restore(committed[38]!));
      must(journal.restore(committed[39]!));
      const { seq } = must(journal.commit(bodyAfter(signer.kid, journal.head, 160, 0)));
      assert.equal(seq, 40);
      const again = mounted(blank, signer);
      assert.equal(again.firstSeq, 38);
      assert.deepEqual(must(again.record(39)), committed[39]);
      assert.deepEqual(again.head?.id, recordId(sha256, must(again.record(40))));
    });
  });
