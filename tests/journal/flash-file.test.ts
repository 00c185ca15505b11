import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal } from "tallystick/journal/journal";
import { openFlashFile } from "../../hosts/simulator/world/flash.js";
import { bodyAfter, mounted, must, quickSigner } from "./rig.js";

describe("a simulated board's flash in a file", () => {
  const folder = mkdtempSync(join(tmpdir(), "flash-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const writeUnitBytes of [1, 32] as const)
    it(`holds what was driven without being closed, write units of ${writeUnitBytes}`, () => {
      const path = join(folder, `flash-${writeUnitBytes}.bin`);
      const options = { sizeBytes: 8 * 4096, writeUnitBytes };
      const signer = quickSigner("file");
      const first = openFlashFile(path, options);
      must(Journal.format(first));
      const journal = mounted(first, signer);
      for (let n = 0; n < 30; n++) must(journal.commit(bodyAfter(signer.kid, journal.head, 200, n)));
      // As after a kill: the first one is still open, and nothing was flushed or closed.
      const second = openFlashFile(path, options);
      const again = mounted(second, signer);
      assert.equal(again.head?.seq, 29);
      assert.deepEqual(must(again.record(7)), must(journal.record(7)));
      first.close();
      second.close();
    });

  it("refuses a file of another size, and leaves it as it is", () => {
    const path = join(folder, "short.bin");
    openFlashFile(path, { sizeBytes: 8 * 4096 }).close();
    truncateSync(path, 5000);
    assert.throws(
      () => openFlashFile(path, { sizeBytes: 8 * 4096 }),
      /expected flash cells of 32768 bytes, the file has 5000/,
    );
  });
});
