import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { decode } from "cborg";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { ClockState } from "tallystick/clock/clock";
import { encodeCbor } from "tallystick/record/cbor";
import { readPack } from "tallystick/record/senml";
import { PACK_MAX_BYTES, PackBuilder, type Reading } from "tallystick/sampler/pack";
import { FAULTS } from "tallystick/sensors/sensor";

interface Vector {
  readonly why: string;
  readonly readings: readonly Reading[];
  readonly uptimeMs: number;
  readonly wallOffsetMs: number | null;
  readonly payload: string;
}

const { packs } = JSON.parse(readFileSync(new URL("../vectors/pack.json", import.meta.url), "utf8")) as {
  packs: readonly Vector[];
};
const spec = readFileSync(new URL("../../modules/sampler/SPEC.md", import.meta.url), "utf8");

describe("pack vectors", () => {
  for (const { why, readings, uptimeMs, wallOffsetMs, payload } of packs) {
    it(why, () => {
      const builder = new PackBuilder(200, PACK_MAX_BYTES);
      for (const reading of readings) assert.ok(builder.add(reading));
      assert.equal(toHex(builder.encode(uptimeMs, wallOffsetMs ?? undefined)), payload);

      const read = readPack(fromHex(payload)!, wallOffsetMs === null ? ClockState.unset : ClockState.network);
      assert.ok(read.ok);
      const entries: Map<number, unknown>[] = decode(fromHex(payload)!, { useMaps: true, strict: true });
      for (const [i, { name, value, uptimeMs: takenMs }] of readings.entries()) {
        assert.deepEqual([read.value[i]!.name, read.value[i]!.value], [name, value]);
        assert.deepEqual(entries[i]!.get(2) ?? { fault: entries[i]!.get(3) }, value);
        const exactS = (takenMs + (wallOffsetMs ?? -uptimeMs)) / 1000;
        assert.ok(Math.abs(read.value[i]!.timeS - exactS) <= 1 / 128, `${read.value[i]!.timeS} for ${exactS}`);
      }
    });
  }
});

describe("sampler/SPEC.md", () => {
  it("registers the fault words of the code, with their meaning", () => {
    for (const [word, means] of Object.entries(FAULTS)) {
      assert.ok(spec.includes(`"${word}"`), `CDDL: ${word}`);
      assert.ok(new RegExp(`^\\| \`${word}\` +\\| ${means} +\\|`, "m").test(spec), `table: ${word}`);
    }
  });

  it("has the sizes of numbers right", () => {
    const size = (value: number) => encodeCbor(value).length;
    assert.equal(size(21.37), 9);
    assert.equal(Math.round(21.37 * 128) / 128, 21.3671875);
    assert.equal(size(21.3671875), 5);
    let short = 0;
    let all = 0;
    for (let celsius = 15; celsius < 30; celsius += 1 / 128) {
      all++;
      assert.ok(size(celsius) <= 5);
      if (size(celsius) <= 3) short++;
    }
    assert.equal(Math.round((short / all) * 100), 53);
  });
});
