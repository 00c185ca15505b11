import { fail, ok, type Result } from "../codes/codes.js";
import { type Cbor, type CborLimits, type CborMap, decodeCbor, encodeCbor, Tagged } from "./cbor.js";
import { ALG_EDDSA, KID_BYTES, SIGNATURE_BYTES, sigStructure } from "./record.js";

/**
 * Statements: what a key says outside of its chain (an acknowledgement, a proof of possession, an opening), each a
 * COSE_Sign1 with a `typ` of its own (RFC 9596), so that no signature can ever be taken for one over something else.
 */
export interface Statement {
  readonly kid: Uint8Array;
  readonly payload: CborMap;
  readonly signature: Uint8Array;
  /** What the signature is over. */
  readonly signedBytes: Uint8Array;
}

/** COSE header `typ` (RFC 9596 §2). */
const TYP_LABEL = 16;
/** A statement's payload is a map of at most two more levels. */
const STATEMENT_LIMITS: CborLimits = { depth: 4 };
/** The largest statement: an acknowledgement with its checkpoint, cosignatures and consistency path. */
export const STATEMENT_MAX_BYTES = 16384;

/** Makes a statement. `sign` is given the Sig_structure's bytes and returns 64 bytes. */
export function makeStatement(
  typ: string,
  kid: Uint8Array,
  payload: CborMap,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const protectedBytes = encodeCbor(
    new Map<number, Cbor>([
      [1, ALG_EDDSA],
      [4, kid],
      [TYP_LABEL, typ],
    ]),
  );
  const content = encodeCbor(payload);
  const signature = sign(sigStructure(protectedBytes, content));
  return encodeCbor(new Tagged(18, [protectedBytes, new Map(), content, signature]));
}

/** Takes a statement of the given `typ` apart; its signature is the caller's to verify. STATEMENT_MALFORMED or CBOR_INVALID otherwise. */
export function readStatement(typ: string, bytes: Uint8Array): Result<Statement> {
  if (bytes.length > STATEMENT_MAX_BYTES) return malformed(`at most ${STATEMENT_MAX_BYTES} bytes`, `${bytes.length}`);
  const outer = decodeCbor(bytes, STATEMENT_LIMITS);
  if (!outer.ok) return outer;
  const sign1 = outer.value;
  if (!(sign1 instanceof Tagged) || sign1.tag !== 18 || !Array.isArray(sign1.value) || sign1.value.length !== 4)
    return malformed("a tagged COSE_Sign1", "something else");
  const [protectedBytes, unprotected, content, signature] = sign1.value as Cbor[];
  if (!(protectedBytes instanceof Uint8Array) || !(content instanceof Uint8Array))
    return malformed("protected header and payload as byte strings", "something else");
  if (!(unprotected instanceof Map) || unprotected.size !== 0)
    return malformed("an empty unprotected map", "something else");
  if (!(signature instanceof Uint8Array) || signature.length !== SIGNATURE_BYTES)
    return malformed("a signature of 64 bytes", "another");
  const header = decodeCbor(protectedBytes);
  if (!header.ok) return header;
  const labels = header.value;
  if (!(labels instanceof Map) || labels.size !== 3 || labels.get(1) !== ALG_EDDSA)
    return malformed("a header of algorithm, kid and typ", "another");
  if (labels.get(TYP_LABEL) !== typ) return malformed(`typ ${typ}`, String(labels.get(TYP_LABEL)));
  const kid = labels.get(4);
  if (!(kid instanceof Uint8Array) || kid.length !== KID_BYTES) return malformed("a kid of 8 bytes", "another");
  const payload = decodeCbor(content, STATEMENT_LIMITS);
  if (!payload.ok) return payload;
  if (!(payload.value instanceof Map)) return malformed("a map as payload", "something else");
  return ok({ kid, payload: payload.value, signature, signedBytes: sigStructure(protectedBytes, content) });
}

function malformed(expected: string, received: string): Result<never> {
  return fail("STATEMENT_MALFORMED", `expected ${expected}, received ${received}`);
}
