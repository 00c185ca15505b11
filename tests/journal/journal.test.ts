import assert from "node:assert/strict";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { Journal } from "tallystick/journal/journal";
import { PowerCut } from "../../hosts/simulator/board.js";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { eraseTear, programTear } from "../../hosts/simulator/world/tear.js";
import { bodyAfter, ed25519Signer, mounted, must, quickSigner, recordOf, sha256 } from "./rig.js";

const UNITS = [1, 16, 32] as const;

for (const unit of UNITS)
  it(`knows a formatting that was cut at any point, write units of ${unit}`, () => {
    const signer = quickSigner("format");
    const random = new SeededRandom(unit);
    for (const begun of ["blank", "formatted", "young", "old"]) {
      const flash = new NorFlash({ sizeBytes: 6 * 4096, writeUnitBytes: unit, seed: unit });
      if (begun !== "blank") must(Journal.format(flash));
      const records = begun === "young" ? 50 : begun === "old" ? 400 : 0;
      if (records > 0) {
        const journal = mounted(flash, signer);
        for (let n = 0; n < records; n++)
          must(journal.release(must(journal.commit(bodyAfter(signer.kid, journal.head, 300, n)))));
      }
      const before = flash.snapshot();
      const wanted = begun === "blank" ? undefined : mounted(flash, signer).head?.seq;
      flash.cutAt(undefined);
      must(Journal.format(flash));
      const operations = flash.operations;
      for (let operation = 1; operation <= operations; operation++)
        for (let tear = 0; tear < 6; tear++) {
          flash.restore(before);
          flash.cutAt({ operation, program: programTear(random), erase: eraseTear(random) });
          assert.throws(() => Journal.format(flash), PowerCut);
          const mounting = Journal.mount({ flash, sha256, signers: [signer] });
          const at = `${begun}, cut at ${operation} of ${operations}`;
          if (!mounting.ok) {
            const { code } = mounting.failure;
            const expected = begun === "blank" ? /^JOURNAL_(BLANK|FORMAT_CUT|UNREADABLE)$/ : /^JOURNAL_FORMAT_CUT$/;
            assert.match(code, operation === 1 || unit !== 1 ? /^JOURNAL_/ : expected, at);
            if (begun === "blank" && unit === 1) assert.notEqual(code, "JOURNAL_UNREADABLE", at);
          } else {
            // Either the journal as it was, whole, or the new one, empty.
            const head = mounting.value.head?.seq;
            assert.ok(head === wanted || head === undefined, `${at}: head ${head}, expected ${wanted} or none`);
          }
          must(Journal.format(flash));
          assert.equal(mounted(flash, signer).head, undefined, at);
        }
    }
  });

for (const writeUnitBytes of UNITS)
  describe(`the journal, write units of ${writeUnitBytes}`, () => {
    it("keeps committed records over remounts, with Ed25519", () => {
      const flash = new NorFlash({ sizeBytes: 8 * 4096, writeUnitBytes });
      must(Journal.format(flash));
      const signer = ed25519Signer("attic");
      const committed: Uint8Array[] = [];
      for (let start = 0; start < 5; start++) {
        const journal = mounted(flash, signer);
        assert.equal(journal.head?.seq, start === 0 ? undefined : committed.length - 1);
        for (let n = 0; n < 7; n++) {
          const body = bodyAfter(signer.kid, journal.head, 160, n);
          const { seq } = must(journal.commit(body));
          assert.equal(seq, committed.length);
          committed.push(recordOf(signer, body));
        }
      }
      const journal = mounted(flash, signer);
      const read: string[] = [];
      must(
        journal.records(0, 1000, (_, bytes) => {
          read.push(toHex(bytes));
          return true;
        }),
      );
      assert.deepEqual(read, committed.map(toHex));
    });

    it("goes round the ring for as long as records are released", () => {
      const flash = new NorFlash({ sizeBytes: 6 * 4096, writeUnitBytes });
      must(Journal.format(flash));
      const formatted = [0, 1, 2, 3, 4, 5].map((sector) => flash.erasesOf(sector));
      const signer = quickSigner("round");
      let journal = mounted(flash, signer);
      for (let n = 0; n < 1500; n++) {
        if (n % 97 === 0) journal = mounted(flash, signer);
        const body = bodyAfter(signer.kid, journal.head, 100 + ((n * 37) % 300), n);
        const position = must(journal.commit(body));
        assert.ok(equalBytes(must(journal.record(position.seq)), recordOf(signer, body)));
        if (n % 3 === 0) must(journal.release(position));
      }
      assert.equal(sha256(must(journal.record(1499))).length, 32);
      const erases = formatted.map((before, sector) => flash.erasesOf(sector) - before);
      assert.ok(Math.max(...erases) - Math.min(...erases) <= 1, `uneven wear: ${erases.join(" ")}`);
    });
  });
