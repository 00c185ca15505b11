/** Writes tests/vectors/alert.json anew. Run it only when the format changes. */
import { readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { type Cbor, encodeCbor } from "tallystick/record/cbor";
import { ALERT_RECORDS_MAX, type Alert, encodeAlert } from "tallystick/record/payload";

const { records }: { records: { id: string }[] } = JSON.parse(
  readFileSync(new URL("record.json", import.meta.url), "utf8"),
);
const ids = records.map(({ id }) => fromHex(id)!);

const alerts: Alert[] = [
  { finding: "stuck", records: [ids[1]!, ids[2]!], text: "21.5 Cel, 64 times in 63 min", quantity: "temperature" },
  {
    finding: "stuck-end",
    records: [ids[2]!],
    text: "21.4922 Cel after 21.5 for 94 min",
    quantity: "attic/temperature",
  },
  { finding: "range", records: [ids[1]!], text: "no value, beyond -40 to 85", quantity: "temperature", withheld: 1 },
  { finding: "range-end", records: [ids[1]!, ids[2]!], quantity: "temperature", withheld: Number.MAX_SAFE_INTEGER },
  {
    finding: "jump",
    records: [ids[1]!, ids[2]!],
    text: "21.5 to 79.25 Cel in 60 s, at most 11",
    quantity: "temperature",
  },
  { finding: "a-word-of-later", records: [] },
  {
    finding: "f".repeat(64),
    records: Array.from({ length: ALERT_RECORDS_MAX }, (_, i) => ids[i % ids.length]!),
    text: "t".repeat(64),
    quantity: "q".repeat(64),
    withheld: 24,
  },
];

const map = (...entries: [number, Cbor][]) => toHex(encodeCbor(new Map<number, Cbor>(entries)));
const refused = [
  { why: "no finding", payload: map([2, []]) },
  { why: "an empty finding", payload: map([1, ""], [2, []]) },
  { why: "a finding of 65 bytes", payload: map([1, "f".repeat(65)], [2, []]) },
  { why: "no records", payload: map([1, "jump"]) },
  { why: "17 records", payload: map([1, "jump"], [2, Array.from({ length: 17 }, () => ids[0]!)]) },
  { why: "an id of 31 bytes", payload: map([1, "jump"], [2, [ids[0]!.subarray(1)]]) },
  { why: "a text of 65 bytes", payload: map([1, "jump"], [2, []], [3, "t".repeat(65)]) },
  { why: "a quantity that is no SenML name", payload: map([1, "jump"], [2, []], [4, " t"]) },
  { why: "a quantity that is a number", payload: map([1, "jump"], [2, []], [4, 4]) },
  { why: "none withheld", payload: map([1, "jump"], [2, []], [5, 0]) },
  { why: "less than none withheld", payload: map([1, "jump"], [2, []], [5, -1]) },
  { why: "another label", payload: map([1, "jump"], [2, []], [6, 1]) },
];

writeFileSync(
  new URL("alert.json", import.meta.url),
  `${JSON.stringify(
    {
      alerts: alerts.map((alert) => ({
        ...alert,
        records: alert.records.map(toHex),
        payload: toHex(encodeAlert(alert)),
      })),
      refused,
    },
    null,
    2,
  )}\n`,
);
