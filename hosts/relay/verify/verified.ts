import { concatBytes, equalBytes, toHex } from "tallystick/bytes/bytes";
import type { ClockState } from "tallystick/clock/clock";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
import { kidOf } from "tallystick/identity/key";
import { CborReader } from "tallystick/record/cbor";
import { checkPayload } from "tallystick/record/payload";
import {
  ID_BYTES,
  KID_BYTES,
  Kind,
  parseRecord,
  type Record,
  type RecordHeader,
  recordId,
  SIGNATURE_BYTES,
  toBeSigned,
} from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";

/**
 * All of a batch's examination that needs nothing but its bytes and the device's key: read strictly, named, signature and
 * payload checked. It is most of the work of taking a record in, and so what worker threads do (pool.ts); whether the
 * records fit the chain is asked afterwards, where the chain is (ingest.ts).
 */

export interface VerifiedRecord {
  readonly record: Record;
  readonly id: Uint8Array;
  /** Of readings with a time: that of the newest, milliseconds since 1970. */
  readonly datedMs: number | undefined;
}

export interface VerifiedBatch {
  readonly count: number;
  /** In the order of the batch, up to the first that does not hold. */
  readonly records: Iterable<VerifiedRecord>;
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
  const failure = examine(crypto, key, sequence, (record, id, datedMs) => records.push({ record, id, datedMs }));
  return { count: records.length, records, failure };
}

/** Tells `each` of the records that hold, up to the first that does not; returns why that one does not. */
function examine(
  crypto: Crypto,
  key: BatchKey,
  sequence: Uint8Array,
  each: (record: Record, id: Uint8Array, datedMs: number | undefined) => void,
): Failure | undefined {
  const reader = new CborReader(sequence);
  while (!reader.atEnd) {
    const start = reader.offset;
    const item = reader.item();
    const record = item.ok ? parseRecord(sequence.subarray(start, reader.offset)) : item;
    if (!record.ok) return record.failure;
    const checked = checkDated(crypto, key, record.value);
    if (!checked.ok) return checked.failure;
    each(record.value, recordId(crypto.sha256, record.value.bytes), checked.value);
  }
  return undefined;
}

/** Whose record it is, its signature and its payload: all that does not depend on the chain. */
export function checkRecord(crypto: Crypto, key: BatchKey, record: Record): Result<void> {
  const checked = checkDated(crypto, key, record);
  return checked.ok ? ok(undefined) : checked;
}

/** As `checkRecord`; gives the time of the newest reading, which else would be read twice. */
function checkDated(crypto: Crypto, { kid, publicKey }: BatchKey, record: Record): Result<number | undefined> {
  const { kind, clock } = record.header;
  if (!equalBytes(record.header.kid, kid))
    return fail("KEY_MISMATCH", `expected kid ${toHex(kid)}, received ${toHex(record.header.kid)}`);
  if (!verifySignature(crypto.ed25519, record.signature, toBeSigned(record), publicKey))
    return fail("SIGNATURE_INVALID", `the record at seq ${record.header.seq} is not signed by ${toHex(kid)}`);
  if (kind !== Kind.readings) {
    const payload = checkPayload(record, (announced) => kidOf(crypto.sha256, announced));
    return payload.ok ? ok(undefined) : payload;
  }
  const readings = readPack(record.payload, clock);
  if (!readings.ok) return readings;
  const newest = clock > 0 ? readings.value.at(-1) : undefined;
  return ok(newest && newest.timeS * 1000);
}

const NUMBERS_PER_RECORD = 14;

/**
 * A verified batch on its way between threads: numbers and ids in one block each, so that nothing is copied record by
 * record. Whoever unpacks it has the sequence; a thread's answer says where in it the parts are.
 */
export interface PackedBatch {
  /**
   * NUMBERS_PER_RECORD each: of bytes, protected header and payload how long they are and where they stand, of kid and prev where;
   * kind, boot, seq, uptime and clock; the newest reading's time, NaN where it has none.
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
  const failure = examine(crypto, key, sequence, ({ header, bytes, protectedBytes, payload }, id, datedMs) => {
    ids.push(id);
    numbers.push(bytes.length, offset(bytes), protectedBytes.length, offset(protectedBytes));
    numbers.push(payload.length, offset(payload), offset(header.kid), offset(header.prev));
    numbers.push(header.kind, header.boot, header.seq, header.uptimeMs, header.clock, datedMs ?? NaN);
  });
  return { numbers: Float64Array.from(numbers), ids: concatBytes(...ids), failure };
}

/** The batch that a thread has examined, over the sequence that it was given. */
export function unpackVerified(sequence: Uint8Array, packed: PackedBatch): VerifiedBatch {
  return {
    count: packed.numbers.length / NUMBERS_PER_RECORD,
    records: { [Symbol.iterator]: () => unpacked(sequence, packed) },
    failure: packed.failure,
  };
}

/** One record after the other, each made when it is asked for: what waits for a transaction is two blocks and its sequence. */
function* unpacked(sequence: Uint8Array, { numbers, ids }: PackedBatch): Generator<VerifiedRecord, undefined> {
  for (let at = 0, id = 0; at < numbers.length; at += NUMBERS_PER_RECORD, id += ID_BYTES) {
    const record = new UnpackedRecord(sequence, numbers, at);
    const datedMs = numbers[at + 13]!;
    yield { record, id: ids.subarray(id, id + ID_BYTES), datedMs: Number.isNaN(datedMs) ? undefined : datedMs };
  }
  return undefined;
}

/** A record's parts, of which a relay looks at few: the others are made where somebody asks. */
class UnpackedRecord implements Record {
  readonly header: RecordHeader;
  readonly bytes: Uint8Array;
  readonly #sequence: Uint8Array;
  readonly #numbers: Float64Array;
  readonly #at: number;

  constructor(sequence: Uint8Array, numbers: Float64Array, at: number) {
    this.#sequence = sequence;
    this.#numbers = numbers;
    this.#at = at;
    this.header = new UnpackedHeader(sequence, numbers, at);
    this.bytes = this.#part(0);
  }

  get protectedBytes(): Uint8Array {
    return this.#part(2);
  }

  get payload(): Uint8Array {
    return this.#part(4);
  }

  get body(): Uint8Array {
    return this.bytes.subarray(0, this.bytes.length - SIGNATURE_BYTES);
  }

  get signature(): Uint8Array {
    return this.bytes.subarray(this.bytes.length - SIGNATURE_BYTES);
  }

  #part(number: number): Uint8Array {
    const start = this.#numbers[this.#at + number + 1]!;
    return this.#sequence.subarray(start, start + this.#numbers[this.#at + number]!);
  }
}

class UnpackedHeader implements RecordHeader {
  readonly kind: Kind;
  readonly boot: number;
  readonly seq: number;
  readonly uptimeMs: number;
  readonly clock: ClockState;
  readonly #sequence: Uint8Array;
  readonly #kidAt: number;
  readonly #prevAt: number;

  constructor(sequence: Uint8Array, numbers: Float64Array, at: number) {
    this.#sequence = sequence;
    this.#kidAt = numbers[at + 6]!;
    this.#prevAt = numbers[at + 7]!;
    this.kind = numbers[at + 8] as Kind;
    this.boot = numbers[at + 9]!;
    this.seq = numbers[at + 10]!;
    this.uptimeMs = numbers[at + 11]!;
    this.clock = numbers[at + 12] as ClockState;
  }

  get kid(): Uint8Array {
    return this.#sequence.subarray(this.#kidAt, this.#kidAt + KID_BYTES);
  }

  get prev(): Uint8Array {
    return this.#sequence.subarray(this.#prevAt, this.#prevAt + ID_BYTES);
  }
}
