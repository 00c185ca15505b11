import assert from "node:assert/strict";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { Journal } from "tallystick/journal/journal";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import { bodyAfter, ed25519Signer, mounted, must, quickSigner, recordOf, sha256 } from "./rig.js";

const UNITS = [1, 16, 32] as const;

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
      const erases = [0, 1, 2, 3, 4, 5].map((sector) => flash.erasesOf(sector));
      assert.ok(Math.max(...erases) - Math.min(...erases) <= 1, `uneven wear: ${erases.join(" ")}`);
    });
  });
