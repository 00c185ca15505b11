import { concatBytes } from "../bytes/bytes.js";
import type { ClockState } from "../clock/clock.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { leafHash } from "../merkle/merkle.js";
import { type Cbor, type CborMap, CborReader, decodeCbor, encodeCbor, encodeHead } from "./cbor.js";

/**
 * The record: one COSE_Sign1 (RFC 9052 §4.2) of readings or of an event of the chain, bytes as in SPEC.md.
 * Its *body* is everything before the 64 bytes of signature: the journal makes the body durable before it is signed.
 */

/** A record fits a 4 KiB journal sector with its headers. */
export const RECORD_MAX_BYTES = 4000;
export const SIGNATURE_BYTES = 64;
export const KID_BYTES = 8;
export const ID_BYTES = 32;

/** Private header label of the chain position (RFC 9052 §1.4: labels below −65536 are private use). */
export const CHAIN_LABEL = -70001;
/** COSE algorithm EdDSA (RFC 9053 §2.2), with an Ed25519 key. */
export const ALG_EDDSA = -8;
const CONTENT_SENML = 112;
const CONTENT_CBOR = 60;

export const Kind = { genesis: 0, readings: 1, boot: 2, mark: 3, gap: 4, rotate: 5, alert: 6 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];
/** The word for a kind, as people read it. */
export const KIND_WORDS = ["genesis", "readings", "boot", "mark", "gap", "rotate", "alert"] as const;

/** A record's place in its chain and in time: the signed header. */
export interface RecordHeader {
  /** First 8 bytes of SHA-256 over the deterministic COSE_Key. */
  readonly kid: Uint8Array;
  readonly kind: Kind;
  /** Recorded starts of this chain so far: 0 in genesis. */
  readonly boot: number;
  /** Position in the chain: genesis is 0. */
  readonly seq: number;
  /** Record id (32 bytes) of `seq - 1`; zeros in genesis. */
  readonly prev: Uint8Array;
  /** Milliseconds since the board's start. */
  readonly uptimeMs: number;
  readonly clock: ClockState;
}

/** What stands before the signature, taken apart. `protectedBytes` and `payload` are views into the input. */
export interface RecordBody {
  readonly header: RecordHeader;
  readonly protectedBytes: Uint8Array;
  /** Deterministic CBOR: a SenML pack for readings, a map of SPEC.md otherwise. */
  readonly payload: Uint8Array;
}

export interface Record extends RecordBody {
  readonly bytes: Uint8Array;
  /** The bytes without the signature. */
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

/** The bytes of a record up to its signature. Throws where a number has no place in the format. */
export function encodeBody(header: RecordHeader, payload: Uint8Array): Uint8Array {
  const position: Cbor = [header.kind, header.boot, header.seq, header.prev, header.uptimeMs, header.clock];
  const protectedBytes = encodeCbor(
    new Map<number, Cbor>([
      [1, ALG_EDDSA],
      [3, header.kind === Kind.readings ? CONTENT_SENML : CONTENT_CBOR],
      [4, header.kid],
      [CHAIN_LABEL, position],
    ]),
  );
  return concatBytes(
    Uint8Array.of(0xd2, 0x84),
    encodeHead(2, protectedBytes.length),
    protectedBytes,
    Uint8Array.of(0xa0),
    encodeHead(2, payload.length),
    payload,
    Uint8Array.of(0x58, SIGNATURE_BYTES),
  );
}

/** Takes a body apart. RECORD_MALFORMED, RECORD_TOO_LARGE or CBOR_INVALID say what did not fit. The payload is not looked into. */
export function readBody(body: Uint8Array): Result<RecordBody> {
  if (body.length > RECORD_MAX_BYTES - SIGNATURE_BYTES)
    return fail(
      "RECORD_TOO_LARGE",
      `expected at most ${RECORD_MAX_BYTES} bytes, received ${body.length + SIGNATURE_BYTES}`,
    );
  if (body.length < 2 || body[0] !== 0xd2 || body[1] !== 0x84)
    return malformed("a tagged COSE_Sign1 array (d2 84)", "other bytes");
  const reader = new CborReader(body.subarray(2));
  const protectedBytes = reader.byteString();
  if (!protectedBytes.ok) return protectedBytes;
  const unprotected = reader.head();
  if (!unprotected.ok) return unprotected;
  if (unprotected.value.major !== 5 || unprotected.value.argument !== 0)
    return malformed("an empty unprotected map", "something else");
  const payload = reader.byteString();
  if (!payload.ok) return payload;
  const signature = reader.head();
  if (!signature.ok) return signature;
  if (signature.value.major !== 2 || signature.value.argument !== SIGNATURE_BYTES || !reader.atEnd)
    return malformed("the head of a signature of 64 bytes at the end", "something else");
  const labels = decodeCbor(protectedBytes.value);
  if (!labels.ok) return labels;
  const header = readHeader(labels.value);
  if (!header.ok) return header;
  return ok({ header: header.value, protectedBytes: protectedBytes.value, payload: payload.value });
}

function readHeader(map: Cbor): Result<RecordHeader> {
  if (!(map instanceof Map) || map.size !== 4)
    return malformed("a header of the four labels 1, 3, 4, -70001", "another");
  if (map.get(1) !== ALG_EDDSA) return malformed(`algorithm ${ALG_EDDSA}`, String(map.get(1) ?? "none"));
  const kid = map.get(4);
  if (!(kid instanceof Uint8Array) || kid.length !== KID_BYTES) return malformed("a kid of 8 bytes", "another");
  const position = map.get(CHAIN_LABEL);
  if (!Array.isArray(position) || position.length !== 6)
    return malformed("a chain position of six elements", "another");
  const [kind, boot, seq, prev, uptimeMs, clock] = position as Cbor[];
  if (!isUint(kind) || kind > Kind.alert) return malformed("a kind from 0 to 6", String(kind));
  if (map.get(3) !== (kind === Kind.readings ? CONTENT_SENML : CONTENT_CBOR))
    return malformed(`the content type of kind ${kind}`, String(map.get(3)));
  if (!isUint(boot) || !isUint(seq) || !isUint(uptimeMs)) return malformed("boot, seq and uptime unsigned", "another");
  if (!(prev instanceof Uint8Array) || prev.length !== ID_BYTES) return malformed("a prev of 32 bytes", "another");
  if (!isUint(clock) || clock > 3) return malformed("a clock state from 0 to 3", String(clock));
  const first = kind === Kind.genesis;
  if (first !== (seq === 0) || (first && (boot !== 0 || prev.some((byte) => byte !== 0))))
    return malformed(
      "genesis, and only genesis, at seq 0, with boot 0 and a prev of zeros",
      `kind ${kind} at seq ${seq}`,
    );
  return ok({ kid, kind: kind as Kind, boot, seq, prev, uptimeMs, clock: clock as ClockState });
}

/** Takes a whole record apart by structure. Signature and chain are for `checkRecord` and modules/chain. */
export function parseRecord(bytes: Uint8Array): Result<Record> {
  if (bytes.length > RECORD_MAX_BYTES)
    return fail("RECORD_TOO_LARGE", `expected at most ${RECORD_MAX_BYTES} bytes, received ${bytes.length}`);
  if (bytes.length < SIGNATURE_BYTES) return malformed("at least a signature's length", `${bytes.length} bytes`);
  const end = bytes.length - SIGNATURE_BYTES;
  const body = bytes.subarray(0, end);
  const parts = readBody(body);
  if (!parts.ok) return parts;
  return ok({ ...parts.value, bytes, body, signature: bytes.subarray(end) });
}

/** The bytes that the signature is over: COSE's Sig_structure (RFC 9052 §4.4) with empty external data. */
export function toBeSigned(body: RecordBody): Uint8Array {
  return sigStructure(body.protectedBytes, body.payload);
}

/** Sig_structure of any COSE_Sign1: `["Signature1", protected, external_aad, payload]`. Put together as it always is. */
export function sigStructure(protectedBytes: Uint8Array, payload: Uint8Array): Uint8Array {
  return concatBytes(
    // An array of four, the text "Signature1".
    Uint8Array.of(0x84, 0x6a, 0x53, 0x69, 0x67, 0x6e, 0x61, 0x74, 0x75, 0x72, 0x65, 0x31),
    encodeHead(2, protectedBytes.length),
    protectedBytes,
    Uint8Array.of(0x40),
    encodeHead(2, payload.length),
    payload,
  );
}

/** The one name of a record: the RFC 6962 leaf hash of its bytes, signature included. */
export function recordId(sha256: Sha256, bytes: Uint8Array): Uint8Array {
  return leafHash(sha256, bytes);
}

export function isUint(value: Cbor | undefined): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

export function isMap(value: Cbor | undefined): value is CborMap {
  return value instanceof Map;
}

function malformed(expected: string, received: string): Result<never> {
  return fail("RECORD_MALFORMED", `expected ${expected}, received ${received}`);
}
