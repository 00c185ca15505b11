import { equalBytes } from "../bytes/bytes.js";
import { type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import type { Identity } from "../identity/identity.js";
import type { Succession } from "../identity/succession.js";
import { type Cbor, decodeCbor, encodeCbor } from "../record/cbor.js";
import { readGap } from "../record/gap.js";
import { coseKey, publicKeyOf } from "../record/payload.js";
import { isUint, Kind, parseRecord, type Record, recordId, toBeSigned } from "../record/record.js";
import { makeStatement, readStatement, type Statement } from "../record/statement.js";
import { NONCE_BYTES, onlyLabels, type Position, positionOf, type Request } from "./messages.js";

/**
 * How a chain that cannot be continued is ended, and which key goes on: a statement by the former key, outside of its
 * chain, and the genesis of the next one (SPEC.md).
 */

export const SUCCESSION_TYP = "application/vnd.tallystick.succession+cbor";

/** What the former key says: which relay is to close its chain, where, and in whose favour. */
export interface SuccessionStatement {
  /** The relay's origin. */
  readonly origin: string;
  /** The head that this relay acknowledged; the chain is closed behind it. */
  readonly head: Position;
  /** Of the next key, 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** Makes the statement. The same content gives the same bytes: Ed25519 is deterministic, and nothing else is in it. */
export function makeSuccession(
  formerKid: Uint8Array,
  { origin, head, publicKey }: SuccessionStatement,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const payload = new Map<number, Cbor>([
    [1, origin],
    [2, [head.seq, head.id]],
    [3, coseKey(publicKey)],
  ]);
  return makeStatement(SUCCESSION_TYP, formerKid, payload, sign);
}

/** Takes the statement apart; its signature and whether it holds are the caller's to check. STATEMENT_MALFORMED, CBOR_INVALID. */
export function readSuccession(
  bytes: Uint8Array,
): Result<{ readonly statement: Statement; readonly succession: SuccessionStatement }> {
  const statement = readStatement(SUCCESSION_TYP, bytes);
  if (!statement.ok) return statement;
  const map = statement.value.payload;
  const origin = map.get(1);
  const head = map.has(2) ? positionOf(map.get(2)!) : undefined;
  const publicKey = publicKeyOf(map.get(3));
  if (map.size !== 3 || typeof origin !== "string" || !head || !publicKey)
    return fail("STATEMENT_MALFORMED", "expected origin, head and next key, received another payload");
  return ok({ statement: statement.value, succession: { origin, head, publicKey } });
}

/** What the former key says of its end: a statement of type SUCCESSION_TYP, or the `rotate` record that ended its chain. */
export type LastWord = { readonly statement: Uint8Array } | { readonly rotation: Uint8Array };

export type SuccessionRequest = LastWord & {
  readonly request: Request;
  /** Genesis record of the next key's chain: its predecessor is the head that the statement names, or the rotate record. */
  readonly genesis: Uint8Array;
};

export function encodeSuccessionRequest(sent: SuccessionRequest): Uint8Array {
  const { request, genesis } = sent;
  return encodeCbor(
    new Map<number, Cbor>([
      [1, request.nonce],
      [2, request.pinnedSize],
      [4, genesis],
      "statement" in sent ? [7, sent.statement] : [8, sent.rotation],
    ]),
  );
}

export function readSuccessionRequest(bytes: Uint8Array): Result<SuccessionRequest> {
  const decoded = decodeCbor(bytes);
  if (!decoded.ok) return decoded;
  const map = decoded.value;
  if (!(map instanceof Map) || map.size !== 4 || !onlyLabels(map, [1, 2, 4, 7, 8]))
    return malformed("a map of the labels 1, 2, 4, and 7 or 8");
  const [nonce, pinnedSize, genesis, statement, rotation] = [1, 2, 4, 7, 8].map((label) => map.get(label));
  if (!(nonce instanceof Uint8Array) || nonce.length !== NONCE_BYTES || !isUint(pinnedSize))
    return malformed("nonce and pinned log size");
  const request = { nonce, pinnedSize };
  if (genesis instanceof Uint8Array && statement instanceof Uint8Array) return ok({ request, genesis, statement });
  if (genesis instanceof Uint8Array && rotation instanceof Uint8Array) return ok({ request, genesis, rotation });
  return malformed("genesis, and succession statement or rotate record, as byte strings");
}

/** What to show the relay: the rotate record that ended the former chain, or the former key's statement. SIGNER_FAULT. */
export function lastWord(succession: Succession, origin: string): Result<LastWord> {
  if (succession.rotation) return ok({ rotation: succession.rotation });
  const statement = stateSuccession(succession, origin);
  return statement.ok ? ok({ statement: statement.value }) : statement;
}

/** The statement of a succession that was decided, signed by the former key. SIGNER_FAULT. */
export function stateSuccession({ former, next, seq, id }: Succession, origin: string): Result<Uint8Array> {
  let fault: Failure | undefined;
  const statement = makeSuccession(former.kid, { origin, head: { seq, id }, publicKey: next.publicKey }, (bytes) => {
    const signed = former.sign(bytes);
    if (signed.ok) return signed.value;
    fault = signed.failure;
    return new Uint8Array(64);
  });
  return fault ? { ok: false, failure: fault } : ok(statement);
}

interface Own {
  readonly identity: Identity;
  readonly crypto: Crypto;
}

/** Whether the bytes are the record with this id at `seq`, under the signature of the device's own key. */
export function isOwnRecord(own: Own, seq: number, id: Uint8Array, bytes: Uint8Array): boolean {
  return ownRecord(own, bytes)?.header.seq === seq && equalBytes(recordId(own.crypto.sha256, bytes), id);
}

/** Whether the bytes are any record at `seq` under the signature of the device's own key. */
export function isOwnAt(own: Own, seq: number, bytes: Uint8Array): boolean {
  return ownRecord(own, bytes)?.header.seq === seq;
}

/** Whether the bytes are a gap record under the signature of the device's own key, and name the record at `seq`. */
export function namesOwn(own: Own, seq: number, bytes: Uint8Array): boolean {
  const record = ownRecord(own, bytes);
  const gap = record?.header.kind === Kind.gap ? readGap(record.payload) : undefined;
  return gap?.ok === true && gap.value.first <= seq && seq <= gap.value.last;
}

function ownRecord({ identity }: Own, bytes: Uint8Array): Record | undefined {
  const record = parseRecord(bytes);
  if (!record.ok) return undefined;
  const { header, signature } = record.value;
  const isOwn = equalBytes(header.kid, identity.kid) && identity.verify(toBeSigned(record.value), signature);
  return isOwn ? record.value : undefined;
}

function malformed(expected: string): Result<never> {
  return fail("MESSAGE_MALFORMED", `expected ${expected}`);
}
