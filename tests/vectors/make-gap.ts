/** Writes tests/vectors/gap.json anew, over the records of record.json. Run it only when the format changes. */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { portableCrypto } from "tallystick/identity/portable";
import { encodeGap } from "tallystick/record/gap";
import { GapBuilder } from "tallystick/record/gap-summary";
import { parseRecord } from "tallystick/record/record";

const source: { records: { record: string; id: string }[] } = JSON.parse(
  readFileSync(new URL("record.json", import.meta.url), "utf8"),
);
const records = source.records.map(({ record }) => {
  const parsed = parseRecord(fromHex(record)!);
  if (!parsed.ok) throw new Error(parsed.failure.detail);
  return parsed.value;
});
const ids = source.records.map(({ id }) => fromHex(id)!);

const first = new GapBuilder(portableCrypto.sha256, 1);
for (let seq = 1; seq <= 2; seq++) first.add(ids[seq]!, records[seq]!);
const gap = first.build();
// As if it stood at position 5, where record.json has another gap; the record at 4 is named without its bytes.
const second = new GapBuilder(portableCrypto.sha256, 3, { seq: 5, id: ids[5]!, gap });
second.add(ids[3]!, records[3]!);
second.add(ids[4]!);
const payloads = [gap, second.build()].map((made) => toHex(encodeGap(made)));
writeFileSync(
  new URL("gap.json", import.meta.url),
  `${JSON.stringify({ first: payloads[0], second: payloads[1] }, null, 2)}\n`,
);
