import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
import { kidOf } from "tallystick/identity/key";
import { CborReader } from "tallystick/record/cbor";
import { checkPayload } from "tallystick/record/payload";
import {
  ID_BYTES,
  KID_BYTES,
  parseRecord,
  type Record,
  type RecordHeader,
  recordId,
  SIGNATURE_BYTES,
  toBeSigned,
} from "tallystick/record/record";

/**
 * All of a batch's examination that needs nothing but its bytes and the device's key: read strictly, named, signature and
 * payload checked. It is most of the work of taking a record in, and so what worker threads do (pool.ts); whether the
 * records fit the chain is asked afterwards, where the chain is (ingest.ts).
 */

export interface VerifiedRecord {
  readonly record: Record;
  readonly id: Uint8Array;
}

export interface VerifiedBatch {
  /** In the order of the batch, up to the first that does not hold. */
  readonly records: readonly VerifiedRecord[];
  /** Why the record after these is refused; undefined where all hold. */
  readonly failure: Failure | undefined;
}

/** Whose records a batch must be of. */
export interface BatchKey {
  readonly kid: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Examines a CBOR sequence of records. CBOR_INVALID and the codes of `parseRecord` and `checkRecord` are its failures. */
export function verifyBatch(crypto: Crypto, key: BatchKey, sequence: Uint8Array): VerifiedBatch {
  const reader = new CborReader(sequence);
  const records: VerifiedRecord[] = [];
  while (!reader.atEnd) {
    const start = reader.offset;
    const item = reader.item();
    const record = item.ok ? parseRecord(sequence.subarray(start, reader.offset)) : item;
    if (!record.ok) return { records, failure: record.failure };
    const checked = checkRecord(crypto, key, record.value);
    if (!checked.ok) return { records, failure: checked.failure };
    records.push({ record: record.value, id: recordId(crypto.sha256, record.value.bytes) });
  }
  return { records, failure: undefined };
}

/** Whose record it is, its signature and its payload: all that does not depend on the chain. */
export function checkRecord(crypto: Crypto, { kid, publicKey }: BatchKey, record: Record): Result<void> {
  if (!equalBytes(record.header.kid, kid))
    return fail("KEY_MISMATCH", `expected kid ${toHex(kid)}, received ${toHex(record.header.kid)}`);
  if (!verifySignature(crypto.ed25519, record.signature, toBeSigned(record), publicKey))
    return fail("SIGNATURE_INVALID", `the record at seq ${record.header.seq} is not signed by ${toHex(kid)}`);
  return checkPayload(record, (announced) => kidOf(crypto.sha256, announced));
}

/**
 * A verified batch on its way between threads: numbers and ids in one block each, so that nothing is copied record by
 * record. Whoever unpacks it has the sequence; a thread's answer says where in it the parts are.
 */
export interface PackedBatch {
  /** `FIELDS` numbers a record. */
  readonly numbers: Float64Array;
  /** ID_BYTES a record. */
  readonly ids: Uint8Array;
  readonly failure: Failure | undefined;
}

/** Of bytes, protected header and payload how long they are and where they stand, of kid and prev where; the header's numbers. */
const FIELDS = 13;

export function packVerified(sequence: Uint8Array, { records, failure }: VerifiedBatch): PackedBatch {
  const numbers = new Float64Array(records.length * FIELDS);
  const ids = new Uint8Array(records.length * ID_BYTES);
  const offset = (part: Uint8Array): number => part.byteOffset - sequence.byteOffset;
  let at = 0;
  for (const [i, { record, id }] of records.entries()) {
    const { header, bytes, protectedBytes, payload } = record;
    for (const part of [bytes, protectedBytes, payload]) {
      numbers[at++] = part.length;
      numbers[at++] = offset(part);
    }
    numbers[at++] = offset(header.kid);
    numbers[at++] = offset(header.prev);
    numbers[at++] = header.kind;
    numbers[at++] = header.boot;
    numbers[at++] = header.seq;
    numbers[at++] = header.uptimeMs;
    numbers[at++] = header.clock;
    ids.set(id, i * ID_BYTES);
  }
  return { numbers, ids, failure };
}

export function unpackVerified(sequence: Uint8Array, { numbers, ids, failure }: PackedBatch): VerifiedBatch {
  const records: VerifiedRecord[] = [];
  let at = 0;
  const next = (): number => numbers[at++]!;
  const part = (length = next()): Uint8Array => {
    const start = next();
    return sequence.subarray(start, start + length);
  };
  while (at < numbers.length) {
    const [bytes, protectedBytes, payload] = [part(), part(), part()];
    const [kid, prev] = [part(KID_BYTES), part(ID_BYTES)];
    const [kind, boot, seq, uptimeMs, clock] = [next(), next(), next(), next(), next()];
    const header = { kid, kind, boot, seq, prev, uptimeMs, clock } as RecordHeader;
    const end = bytes.length - SIGNATURE_BYTES;
    const [body, signature] = [bytes.subarray(0, end), bytes.subarray(end)];
    const first = records.length * ID_BYTES;
    records.push({
      record: { header, protectedBytes, payload, bytes, body, signature },
      id: ids.subarray(first, first + ID_BYTES),
    });
  }
  return { records, failure };
}
