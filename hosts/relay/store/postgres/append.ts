import type { Sql } from "../sql.js";
import type { NewRecord } from "../store.js";

/** Records of one chain in one statement: PostgreSQL takes a hundred of them as fast as it takes some ten by themselves. */
export function prepareAppend(database: Sql): (device: number, records: readonly NewRecord[], nowMs: number) => void {
  const statement = database.prepare(
    "INSERT INTO records (entry, device, seq, id, bytes, received_at_ms) " +
      "SELECT (SELECT coalesce(max(entry), 0) FROM records) + added.place, ?, added.seq, added.id, added.bytes, ? " +
      "FROM unnest(CAST(? AS BIGINT[]), CAST(? AS BYTEA[]), CAST(? AS BYTEA[])) WITH ORDINALITY " +
      "AS added (seq, id, bytes, place)",
  );
  return (device, records, nowMs) => {
    if (records.length === 0) return;
    const seqs = `{${records.map(({ seq }) => seq).join(",")}}`;
    statement.run(
      device,
      nowMs,
      seqs,
      arrayOf(records.map(({ id }) => id)),
      arrayOf(records.map(({ bytes }) => bytes)),
    );
  };
}

/** PostgreSQL's text of a `bytea[]`. */
function arrayOf(values: readonly Uint8Array[]): string {
  const items = values.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength));
  return `{${items.map((bytes) => `"\\\\x${bytes.toString("hex")}"`).join(",")}}`;
}
