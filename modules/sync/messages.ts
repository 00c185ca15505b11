import { fail, ok, type Result } from "../codes/codes.js";
import { PATH_MAX_HASHES } from "../merkle/proof.js";
import { type Cbor, type CborMap, CborReader, decodeCbor, encodeCbor } from "../record/cbor.js";
import { ID_BYTES, isUint, KID_BYTES } from "../record/record.js";
import { makeStatement, readStatement, type Statement } from "../record/statement.js";

/** What device and relay say to each other: bytes as in SPEC.md, the same over HTTP and MQTT. */

export const NONCE_BYTES = 16;
export const TOKEN_MAX_BYTES = 64;
/** A body of records, request item included. */
export const BATCH_MAX_BYTES = 65536;
/** The longest answer that a device takes: an acknowledgement, or a page of its own records. */
export const ANSWER_MAX_BYTES = 65536;

export const ACKNOWLEDGEMENT_TYP = "application/vnd.tallystick.acknowledgement+cbor";
export const POSSESSION_TYP = "application/vnd.tallystick.possession+cbor";

/** A position in a chain: seq and the id of the record there. */
export interface Position {
  readonly seq: number;
  readonly id: Uint8Array;
}

/** What every request to a device's own routes carries. */
export interface Request {
  /** Fresh random bytes; the acknowledgement repeats them. */
  readonly nonce: Uint8Array;
  /** Size of the newest checkpoint that the device has pinned; 0 before the first. */
  readonly pinnedSize: number;
  readonly head?: Position;
}

export interface Enrolment {
  readonly request: Request;
  readonly genesis: Uint8Array;
  /** Absent where a maker's statement in genesis is the leave, or the relay lets anyone in. */
  readonly token?: Uint8Array;
  /** Statement of type POSSESSION_TYP. */
  readonly possession: Uint8Array;
}

/** The relay's signed promise to a device about positions in its chain. */
export interface Acknowledgement {
  readonly kid: Uint8Array;
  readonly nonce: Uint8Array;
  readonly received?: Position;
  readonly logged?: Position;
  readonly final?: Position;
  /** Seconds since 1970 by when all that is received will be in a checkpoint; present while something is not. */
  readonly logByS?: number;
  /** The newest checkpoint, a C2SP signed note. */
  readonly checkpoint: string;
  /** RFC 9162 consistency path from `pinnedSize` to the checkpoint's size; empty from 0 and between equal sizes. */
  readonly consistency: readonly Uint8Array[];
  readonly pinnedSize: number;
  /** The relay's wall time in milliseconds since 1970. */
  readonly timeMs: number;
  /**
   * The lowest position above the head that the request names, and not above `received`, whose record was erased on
   * request: nobody can give it back. Absent where there is none.
   */
  readonly erasedSeq?: number;
}

export function encodeRequest(request: Request): Uint8Array {
  const map = new Map<number, Cbor>([
    [1, request.nonce],
    [2, request.pinnedSize],
  ]);
  if (request.head) map.set(3, [request.head.seq, request.head.id]);
  return encodeCbor(map);
}

export function readRequest(bytes: Uint8Array): Result<Request> {
  const decoded = decodeCbor(bytes);
  return decoded.ok ? requestOf(decoded.value) : decoded;
}

function requestOf(value: Cbor): Result<Request> {
  if (!(value instanceof Map) || !onlyLabels(value, [1, 2, 3])) return malformed("a map of the labels 1, 2 and 3");
  const nonce = value.get(1);
  const pinnedSize = value.get(2);
  const head = value.get(3);
  if (!(nonce instanceof Uint8Array) || nonce.length !== NONCE_BYTES)
    return malformed(`a nonce of ${NONCE_BYTES} bytes`);
  if (!isUint(pinnedSize)) return malformed("a pinned log size");
  if (head === undefined) return ok({ nonce, pinnedSize });
  const position = positionOf(head);
  return position ? ok({ nonce, pinnedSize, head: position }) : malformed("seq and id as head");
}

/** A batch: the request item, then consecutive records as a CBOR sequence (RFC 8742). `split` finds them again. */
export function splitBatch(bytes: Uint8Array): Result<{ readonly request: Request; readonly records: Uint8Array[] }> {
  if (bytes.length > BATCH_MAX_BYTES)
    return fail("BODY_TOO_LARGE", `expected at most ${BATCH_MAX_BYTES} bytes, received ${bytes.length}`);
  const reader = new CborReader(bytes);
  const first = reader.item();
  if (!first.ok) return first;
  const request = requestOf(first.value);
  if (!request.ok) return request;
  const records = splitRecords(bytes.subarray(reader.offset));
  return records.ok ? ok({ request: request.value, records: records.value }) : records;
}

/** The items of a CBOR sequence of records, as views; their inside is for `parseRecord`. */
export function splitRecords(bytes: Uint8Array): Result<Uint8Array[]> {
  const records: Uint8Array[] = [];
  const reader = new CborReader(bytes);
  while (!reader.atEnd) {
    const start = reader.offset;
    const item = reader.item();
    if (!item.ok) return item;
    records.push(bytes.subarray(start, reader.offset));
  }
  return ok(records);
}

export function encodeEnrolment(enrolment: Enrolment): Uint8Array {
  const { nonce, pinnedSize } = enrolment.request;
  const map = new Map<number, Cbor>([
    [1, nonce],
    [2, pinnedSize],
    [4, enrolment.genesis],
    [6, enrolment.possession],
  ]);
  if (enrolment.token) map.set(5, enrolment.token);
  return encodeCbor(map);
}

export function readEnrolment(bytes: Uint8Array): Result<Enrolment> {
  const decoded = decodeCbor(bytes);
  if (!decoded.ok) return decoded;
  const map = decoded.value;
  if (!(map instanceof Map) || !onlyLabels(map, [1, 2, 4, 5, 6])) return malformed("a map of the labels 1, 2, 4, 5, 6");
  const [nonce, pinnedSize, genesis, token, possession] = [1, 2, 4, 5, 6].map((label) => map.get(label));
  if (!(nonce instanceof Uint8Array) || nonce.length !== NONCE_BYTES || !isUint(pinnedSize))
    return malformed("nonce and pinned log size");
  if (!(genesis instanceof Uint8Array) || !(possession instanceof Uint8Array))
    return malformed("genesis and proof of possession as byte strings");
  const parts = { request: { nonce, pinnedSize }, genesis, possession };
  if (token === undefined) return ok(parts);
  if (!(token instanceof Uint8Array) || token.length === 0 || token.length > TOKEN_MAX_BYTES)
    return malformed(`a token of 1 to ${TOKEN_MAX_BYTES} bytes`);
  return ok({ ...parts, token });
}

/** What a device proves possession over: the relay's origin, a nonce of the relay, and what it comes with. */
export interface Possession {
  readonly origin: string;
  readonly challenge: Uint8Array;
  /** SHA-256 of the leave, as `leaveOf` gives it. */
  readonly leaveSha256: Uint8Array;
}

/** What a device comes with: its token; without one the statement in its genesis; without either nothing at all. */
export function leaveOf(token: Uint8Array | undefined, statement: Uint8Array | undefined): Uint8Array {
  return token ?? statement ?? new Uint8Array(0);
}

export function makePossession(
  kid: Uint8Array,
  possession: Possession,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const payload = new Map<number, Cbor>([
    [1, possession.origin],
    [2, possession.challenge],
    [3, possession.leaveSha256],
  ]);
  return makeStatement(POSSESSION_TYP, kid, payload, sign);
}

export function readPossession(
  bytes: Uint8Array,
): Result<{ readonly statement: Statement; readonly possession: Possession }> {
  const statement = readStatement(POSSESSION_TYP, bytes);
  if (!statement.ok) return statement;
  const map = statement.value.payload;
  const [origin, challenge, leaveSha256] = [map.get(1), map.get(2), map.get(3)];
  if (map.size !== 3 || typeof origin !== "string" || !(challenge instanceof Uint8Array) || !isHash(leaveSha256))
    return malformed("origin, challenge and the hash of the leave");
  return ok({ statement: statement.value, possession: { origin, challenge, leaveSha256 } });
}

export function makeAcknowledgement(
  relayKid: Uint8Array,
  acknowledgement: Acknowledgement,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const { received, logged, final } = acknowledgement;
  const map = new Map<number, Cbor>([
    [1, acknowledgement.kid],
    [2, acknowledgement.nonce],
    [7, acknowledgement.checkpoint],
    [8, acknowledgement.consistency],
    [9, acknowledgement.timeMs],
    [10, acknowledgement.pinnedSize],
  ]);
  if (received) map.set(3, [received.seq, received.id]);
  if (logged) map.set(4, [logged.seq, logged.id]);
  if (final) map.set(5, [final.seq, final.id]);
  if (acknowledgement.logByS !== undefined) map.set(6, acknowledgement.logByS);
  if (acknowledgement.erasedSeq !== undefined) map.set(11, acknowledgement.erasedSeq);
  return makeStatement(ACKNOWLEDGEMENT_TYP, relayKid, map, sign);
}

/** Reads an acknowledgement; whose it is, and whether it answers the device's question, is the caller's to check. */
export function readAcknowledgement(
  bytes: Uint8Array,
): Result<{ readonly statement: Statement; readonly acknowledgement: Acknowledgement }> {
  const statement = readStatement(ACKNOWLEDGEMENT_TYP, bytes);
  if (!statement.ok) return statement;
  const map = statement.value.payload;
  if (!onlyLabels(map, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])) return malformed("the labels 1 to 11");
  const kid = map.get(1);
  const nonce = map.get(2);
  if (!(kid instanceof Uint8Array) || kid.length !== KID_BYTES) return malformed("a kid of 8 bytes");
  if (!(nonce instanceof Uint8Array) || nonce.length !== NONCE_BYTES) return malformed("a nonce of 16 bytes");
  const levels: { received?: Position; logged?: Position; final?: Position } = {};
  for (const [label, level] of LEVELS) {
    if (!map.has(label)) continue;
    const position = positionOf(map.get(label)!);
    if (!position) return malformed(`seq and id as ${level}`);
    levels[level] = position;
  }
  const logByS = map.get(6);
  if (logByS !== undefined && !isUint(logByS)) return malformed("log_by in seconds");
  const checkpoint = map.get(7);
  const consistency = map.get(8);
  const timeMs = map.get(9);
  const pinnedSize = map.get(10);
  if (typeof checkpoint !== "string" || !isUint(timeMs) || !isUint(pinnedSize))
    return malformed("checkpoint, relay time and pinned size");
  if (!Array.isArray(consistency) || consistency.length > PATH_MAX_HASHES || !consistency.every(isHash))
    return malformed(`a path of at most ${PATH_MAX_HASHES} hashes`);
  const erasedSeq = map.get(11);
  if (erasedSeq !== undefined && !(isUint(erasedSeq) && erasedSeq > 0))
    return malformed("a position above genesis as erased");
  return ok({
    statement: statement.value,
    acknowledgement: {
      kid,
      nonce,
      ...levels,
      ...(logByS !== undefined && { logByS }),
      checkpoint,
      consistency,
      pinnedSize,
      timeMs,
      ...(erasedSeq !== undefined && { erasedSeq }),
    },
  });
}

const LEVELS = [
  [3, "received"],
  [4, "logged"],
  [5, "final"],
] as const;

/** Seq and id, where the value is such a pair. */
export function positionOf(value: Cbor): Position | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [seq, id] = value as Cbor[];
  return isUint(seq) && isHash(id) ? { seq, id } : undefined;
}

function isHash(value: Cbor | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === ID_BYTES;
}

export function onlyLabels(map: CborMap, labels: readonly number[]): boolean {
  for (const label of map.keys()) if (!labels.includes(label as number)) return false;
  return true;
}

function malformed(expected: string): Result<never> {
  return fail("MESSAGE_MALFORMED", `expected ${expected}`);
}
