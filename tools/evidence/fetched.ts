import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { type Bundle, readBundle } from "tallystick/evidence/bundle";
import { didKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { parseCheckpoint } from "tallystick/log/checkpoint";
import { parseNote } from "tallystick/log/note";
import { CborReader } from "tallystick/record/cbor";
import { readGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import { ANSWER_MAX_BYTES } from "tallystick/sync/messages";
import { askRelay } from "../ask-relay.js";

const { sha256 } = portableCrypto;
/** Of a record within a page. */
const RECORD_LIMITS = { depth: 6 };

/** The id of the record at a position, hashed from its bytes. RECORD_UNKNOWN, RECORD_ERASED, and what the relay answers. */
export async function findRecord(relay: string, kid: Uint8Array, seq: number): Promise<Result<Uint8Array>> {
  const page = await askRelay(relay, `/v1/devices/${toHex(kid)}/records?from=${seq}&to=${seq}`, ANSWER_MAX_BYTES);
  if (!page.ok) return page;
  if (page.value.length === 0) return fail("RECORD_UNKNOWN", `the relay holds no record at seq ${seq}`);
  const reader = new CborReader(page.value, RECORD_LIMITS);
  const item = reader.item();
  if (!item.ok) return item;
  const bytes = page.value.subarray(0, reader.offset);
  const record = parseRecord(bytes);
  if (!record.ok) return record;
  const { header } = record.value;
  if (!equalBytes(header.kid, kid) || header.seq !== seq)
    return fail(
      "RECORD_MALFORMED",
      `expected that of ${toHex(kid)} at seq ${seq}, received that of ${toHex(header.kid)} at seq ${header.seq}`,
    );
  return ok(recordId(sha256, bytes));
}

/** An evidence file about the record that was asked for. What it proves is not looked at. */
export interface FetchedEvidence {
  readonly bundle: Bundle;
  readonly record: Record;
  readonly id: Uint8Array;
  /** Entries of the log that its checkpoint names. */
  readonly size: number;
  /** The device's key, as its genesis record in the file announces it. */
  readonly publicKey: Uint8Array;
}

/** EVIDENCE_MALFORMED where the file is about another record, or shows another key than `known`. */
export function readFetched(
  bytes: Uint8Array,
  kid: Uint8Array,
  id: Uint8Array,
  known: Uint8Array | undefined,
): Result<FetchedEvidence> {
  const bundle = readBundle(bytes);
  if (!bundle.ok) return bundle;
  const records = bundle.value.entries.flatMap((entry) => {
    const record = parseRecord(entry.record);
    return record.ok ? [record.value] : [];
  });
  const record = records.find((each) => equalBytes(recordId(sha256, each.bytes), id));
  if (!record) return other(`the record ${toHex(id)} in it`, "other records");
  if (!equalBytes(record.header.kid, kid))
    return other(`a record of ${toHex(kid)}`, `one of ${toHex(record.header.kid)}`);
  const keys = records.flatMap((each) => {
    const genesis = each.header.kind === Kind.genesis ? readGenesis(each.payload) : undefined;
    return genesis?.ok ? [genesis.value.publicKey] : [];
  });
  const publicKey = keys.find((key) => equalBytes(kidOf(sha256, key), kid));
  if (!publicKey) return other(`the genesis record of ${toHex(kid)} in it`, "others");
  if (known && !equalBytes(known, publicKey)) return other(`the key ${didKey(known)}`, didKey(publicKey));
  const note = parseNote(bundle.value.checkpoint);
  const checkpoint = note.ok ? parseCheckpoint(note.value.text) : note;
  if (!checkpoint.ok) return checkpoint;
  return ok({ bundle: bundle.value, record, id, size: checkpoint.value.size, publicKey });
}

function other(expected: string, received: string): Result<never> {
  return fail("EVIDENCE_MALFORMED", `expected ${expected}, received ${received}`);
}
