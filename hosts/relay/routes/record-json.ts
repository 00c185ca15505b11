import { toHex } from "tallystick/bytes/bytes";
import { type Cbor, decodeCbor, Tagged } from "tallystick/record/cbor";
import { readAlert } from "tallystick/record/payload";
import { KIND_WORDS, Kind, type Record } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import Type from "typebox";
import { Kid, RecordId } from "./shapes.js";

/** A record for people's eyes: a view of its bytes, which alone are the record. */

export const RecordShape = Type.Object({
  id: RecordId,
  kid: Kid,
  kind: Type.String(),
  boot: Type.Integer(),
  seq: Type.Integer(),
  prev: RecordId,
  uptime_ms: Type.Integer(),
  clock: Type.Integer(),
  bytes: Type.Integer({ description: "length of the record" }),
  readings: Type.Optional(
    Type.Array(
      Type.Object({
        name: Type.String(),
        unit: Type.String(),
        value: Type.Optional(Type.Number()),
        fault: Type.Optional(Type.String()),
        time_s: Type.Number({ description: "since 1970; relative to the record's uptime while the clock is unset" }),
      }),
      { description: "in the order of time" },
    ),
  ),
  alert: Type.Optional(
    Type.Object(
      {
        finding: Type.String({ description: "a word of modules/insight/SPEC.md" }),
        quantity: Type.Optional(Type.String()),
        text: Type.Optional(Type.String({ description: "the figures, for people" })),
        withheld: Type.Optional(
          Type.Integer({ description: "findings of the quantity that were not told since its last alert" }),
        ),
        records: Type.Array(RecordId, { description: "the records with the readings concerned" }),
      },
      { description: "what the device has found in its own readings" },
    ),
  ),
  payload: Type.Optional(
    Type.Unknown({ description: "labels as in modules/record/SPEC.md, byte strings in hexadecimal" }),
  ),
  backdated: Type.Optional(
    Type.Object(
      { dated_ms: Type.Number(), not_before_ms: Type.Integer() },
      { description: "present where the record is dated before its chain's newest beacon (modules/evidence/SPEC.md)" },
    ),
  ),
  received_at_ms: Type.Integer(),
  log_index: Type.Optional(Type.Integer()),
  logged_at_ms: Type.Optional(Type.Integer()),
  submitted_at_ms: Type.Optional(Type.Integer()),
  final_at_ms: Type.Optional(Type.Integer()),
});
export type RecordView = Type.Static<typeof RecordShape>;

/** What the record itself says; when it came and how far it climbed is the store's to add. */
export function viewRecord(id: Uint8Array, record: Record): Omit<RecordView, "received_at_ms"> {
  const { header, payload } = record;
  const pack = header.kind === Kind.readings ? readPack(payload, header.clock) : undefined;
  const alert = header.kind === Kind.alert ? readAlert(payload) : undefined;
  const decoded = pack ? undefined : decodeCbor(payload);
  return {
    id: toHex(id),
    kid: toHex(header.kid),
    kind: KIND_WORDS[header.kind],
    boot: header.boot,
    seq: header.seq,
    prev: toHex(header.prev),
    uptime_ms: header.uptimeMs,
    clock: header.clock,
    bytes: record.bytes.length,
    ...(pack?.ok && {
      readings: pack.value.map(({ name, unit, value, timeS }) => ({
        name,
        unit,
        ...(typeof value === "number" ? { value } : { fault: value.fault }),
        time_s: timeS,
      })),
    }),
    ...(alert?.ok && { alert: { ...alert.value, records: alert.value.records.map(toHex) } }),
    ...(decoded?.ok && { payload: jsonOf(decoded.value) }),
  };
}

/** CBOR as JSON: byte strings in hexadecimal, labels as text. */
function jsonOf(value: Cbor): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  if (value instanceof Tagged) return { tag: value.tag, value: jsonOf(value.value) };
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), jsonOf(item)]));
  return Array.isArray(value) ? value.map(jsonOf) : value;
}
