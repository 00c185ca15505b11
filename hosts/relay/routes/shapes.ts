import { equalBytes, fromHex, toHex } from "tallystick/bytes/bytes";
import { fail } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { recordId } from "tallystick/record/record";
import Type from "typebox";
import { type Refusal, Refused } from "../problem.js";
import type { KeptRecord } from "../store/erasures.js";
import { type StoredRecord, StoredRecordDamaged } from "../store/store.js";

/** Shapes that several routes share, and how their text becomes bytes. */

export const CBOR_TYPE = "application/cbor";
export const CBOR_SEQUENCE_TYPE = "application/cbor-seq";

/** CBOR: JSON Schema says nothing of it, modules/sync/SPEC.md all. */
export const CborBody = Type.Any({ description: "CBOR as in modules/sync/SPEC.md" });

export const Kid = Type.String({ pattern: "^[0-9a-f]{16}$", description: "kid, 16 lower-case hexadecimal digits" });
export const RecordId = Type.String({ pattern: "^[0-9a-f]{64}$", description: "record id, 64 hexadecimal digits" });
export const KidParams = Type.Object({ kid: Kid });
export const RecordParams = Type.Object({ id: RecordId });
export const ForkParams = Type.Object({ kid: Kid, id: RecordId });

/** The kid in a path, for hooks that run before schemas are looked at. */
export function kidOfParams(params: unknown): Uint8Array {
  const { kid } = params as { kid: string };
  const bytes = /^[0-9a-f]{16}$/.test(kid) ? fromHex(kid) : undefined;
  if (!bytes) throw new Refused(fail("REQUEST_MALFORMED", "expected 16 lower-case hexadecimal digits as kid"));
  return bytes;
}

/** A stored record's bytes, seen to be those that its id names: a damaged one is never given out. */
export function checkedBytes(crypto: Crypto, record: Pick<StoredRecord, "id" | "seq" | "bytes">): Uint8Array {
  if (!equalBytes(recordId(crypto.sha256, record.bytes), record.id)) throw new StoredRecordDamaged(record);
  return record.bytes;
}

/** What is told of a record whose bytes were erased. */
export function erasedRefusal({ kid, seq, id, entry, askedAtMs, reason }: KeptRecord): Refusal {
  const when = new Date(askedAtMs).toISOString();
  return {
    ...fail("RECORD_ERASED", `seq ${seq} of ${toHex(kid)} was erased at ${when}: ${reason}`),
    members: {
      id: toHex(id),
      kid: toHex(kid),
      seq,
      ...(entry !== undefined && { log_index: entry }),
      erased_at_ms: askedAtMs,
      reason,
    },
  };
}
