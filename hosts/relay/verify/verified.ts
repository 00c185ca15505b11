import { concatBytes, equalBytes, toHex } from "tallystick/bytes/bytes";
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
  const records: VerifiedRecord[] = [];
  const failure = examine(crypto, key, sequence, (record, id) => records.push({ record, id }));
  return { records, failure };
}

/** Tells `each` of the records that hold, up to the first that does not; returns why that one does not. */
function examine(
  crypto: Crypto,
  key: BatchKey,
  sequence: Uint8Array,
  each: (record: Record, id: Uint8Array) => void,
): Failure | undefined {
  const reader = new CborReader(sequence);
  while (!reader.atEnd) {
    const start = reader.offset;
    const item = reader.item();
    const record = item.ok ? parseRecord(sequence.subarray(start, reader.offset)) : item;
    if (!record.ok) return record.failure;
    const checked = checkRecord(crypto, key, record.value);
    if (!checked.ok) return checked.failure;
    each(record.value, recordId(crypto.sha256, record.value.bytes));
  }
  return undefined;
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
  /**
   * Thirteen a record: of bytes, protected header and payload how long they are and where they stand, of kid and prev where;
   * kind, boot, seq, uptime and clock.
   */
  readonly numbers: Float64Array;
  /** ID_BYTES a record. */
  readonly ids: Uint8Array;
  readonly failure: Failure | undefined;
}

/** As `verifyBatch`. No record's parts outlive its examination, so that a thread has next to nothing to collect. */
export function verifyPacked(crypto: Crypto, key: BatchKey, sequence: Uint8Array): PackedBatch {
  const numbers: number[] = [];
  const ids: Uint8Array[] = [];
  const offset = (part: Uint8Array): number => part.byteOffset - sequence.byteOffset;
  const failure = examine(crypto, key, sequence, ({ header, bytes, protectedBytes, payload }, id) => {
    ids.push(id);
    numbers.push(bytes.length, offset(bytes), protectedBytes.length, offset(protectedBytes));
    numbers.push(payload.length, offset(payload), offset(header.kid), offset(header.prev));
    numbers.push(header.kind, header.boot, header.seq, header.uptimeMs, header.clock);
  });
  return { numbers: Float64Array.from(numbers), ids: concatBytes(...ids), failure };
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
