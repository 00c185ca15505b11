import assert from "node:assert/strict";
import { decode } from "cborg";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { vectorFiles } from "../vectors/files.js";

/** The alerts' bytes as a decoder sees them that we did not write; the other engines read them in tests/vectors. */
describe("alert vectors", () => {
  for (const { payload, finding, records, text, quantity, withheld } of vectorFiles.alert.alerts)
    it(`${finding} is what it says to a foreign decoder (cborg)`, () => {
      const map: Map<number, unknown> = decode(fromHex(payload)!, { useMaps: true, strict: true });
      assert.equal(map.get(1), finding);
      assert.deepEqual((map.get(2) as Uint8Array[]).map(toHex), records);
      assert.deepEqual([map.get(3), map.get(4), map.get(5)], [text, quantity, withheld]);
    });
});
