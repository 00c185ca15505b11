import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHex } from "tallystick/bytes/bytes";
import { parseRecord } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import { recordLines } from "../../tools/inspect/record.js";
import { measuredText, timeText, valueText } from "../../tools/reading.js";

const TALLYSTICK = fileURLToPath(new URL("../../tools/tallystick.mjs", import.meta.url));
const vector = (name: string) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const { records } = vector("record") as { records: { record: string }[] };

describe("readings for people", () => {
  it("have the decimals that a sensor resolves", () => {
    const shown: [number, string][] = [
      [21.3671875, "21.37"],
      [-7.0078125, "-7.01"],
      [100653.25, "100653.25"],
      [45, "45"],
      [0, "0"],
      [0.1416015625, "0.142"],
      [-0.0078125, "-0.00781"],
      [2 ** 40 + 0.5, "1099511627776.5"],
    ];
    for (const [value, text] of shown) assert.equal(valueText(value), text);
    assert.equal(measuredText({ value: 21.3671875, unit: "Cel" }), "21.37 Cel");
    assert.equal(measuredText({ value: { fault: "crc" }, unit: "Cel" }), "fault crc");
    assert.equal(timeText(1790000000.25, 3), "2026-09-21T14:13:20.250Z");
    assert.equal(timeText(-1.5, 0), "1.5 s before the record, clock unset");
    assert.equal(timeText(0, 0), "0 s before the record, clock unset");
  });

  it("stand in the order of time where a record is inspected", () => {
    const record = parseRecord(fromHex(records[2]!.record)!);
    assert.ok(record.ok);
    const lines = recordLines(record.value).map((line) => line.trim());
    const start = lines.findIndex((line) => line.endsWith("attic/temperature  21.5 Cel"));
    assert.deepEqual(lines.slice(start, start + 4), [
      "2026-09-21T14:13:20.000Z  attic/temperature  21.5 Cel",
      "2026-09-21T14:13:20.250Z  pressure  101325 Pa",
      "2026-09-21T14:13:20.250Z  cellar/temperature  -7.01 Cel",
      "2026-09-21T14:13:25.250Z  pressure  101324.75 Pa",
    ]);
  });

  it("are rounded where `tallystick verify` prints them, and exact in its JSON", () => {
    const { policy, evidence } = vector("evidence") as { policy: object; evidence: string };
    const folder = mkdtempSync(join(tmpdir(), "tallystick-reading-"));
    try {
      const [file, policyFile] = [join(folder, "a.tally"), join(folder, "policy.json")];
      writeFileSync(file, fromHex(evidence)!);
      writeFileSync(policyFile, JSON.stringify(policy));
      const verify = (...more: string[]) => {
        const args = [TALLYSTICK, "verify", file, "--policy", policyFile, ...more];
        const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 30_000 });
        assert.equal(status, 0, stderr);
        return stdout;
      };
      assert.match(verify(), /^ {2}cellar\/temperature -7\.01 Cel {2}2026-09-21T14:13:20\.250Z$/m);
      const report = JSON.parse(verify("--json")) as { records: { readings?: { value: number; time_s: number }[] }[] };
      const record = parseRecord(fromHex(records[2]!.record)!);
      assert.ok(record.ok);
      const exact = readPack(record.value.payload, record.value.header.clock);
      assert.ok(exact.ok);
      assert.deepEqual(
        report.records.flatMap(({ readings }) => readings ?? []),
        exact.value.map(({ name, unit, value, timeS }) => ({ name, unit, value, time_s: timeS })),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
