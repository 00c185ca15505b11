import { equalBytes, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { isAcceptablePublicKey } from "../identity/ed25519.js";
import { type Cbor, type CborMap, decodeCbor, encodeCbor } from "./cbor.js";
import { readGap } from "./gap.js";
import { ID_BYTES, isMap, isUint, KID_BYTES, Kind, type Record } from "./record.js";
import { checkPack, isSenmlName } from "./senml.js";

/** What the kinds of records say. SPEC.md has the CDDL; labels are small integers to keep records short. */

export interface Firmware {
  readonly version: string;
  /** SHA-256 of the firmware that ran, 32 bytes. */
  readonly sha256: Uint8Array;
}

/** The quantity that a device announces: SenML name and unit. */
export interface Quantity {
  readonly name: string;
  readonly unit: string;
}

export interface Genesis {
  readonly publicKey: Uint8Array;
  /** What the device runs on: `simulator`, `esp32/esp32c3`, … */
  readonly model: string;
  readonly firmware: Firmware;
  readonly quantities: readonly Quantity[];
  /** Seconds within which a `mark` or another record follows, while the device has power. */
  readonly markIntervalS: number;
  /** Bounds of adaptive sampling in milliseconds; absent where sampling is fixed. */
  readonly sampling?: { readonly minMs: number; readonly maxMs: number };
  /** The relay's device-facing key and its offline recovery key, as pinned. */
  readonly relayKey?: Uint8Array;
  readonly recoveryKey?: Uint8Array;
  /** An owner's or maker's signed statement, opaque here: maker.ts reads a maker's. */
  readonly statement?: Uint8Array;
  /** The chain that this one continues under a new key. */
  readonly predecessor?: { readonly kid: Uint8Array; readonly seq: number; readonly id: Uint8Array };
}

export interface Boot {
  /** By the numbers of SPEC.md, which are ESP-IDF's `esp_reset_reason_t`. */
  readonly resetReason: number;
  readonly firmware: Firmware;
  readonly recovery: { readonly tornTail: boolean; readonly voidedBytes: number; readonly sectorsScanned: number };
  /** SHA-256 of the relay's head answer, where there was a handshake. */
  readonly handshake?: Uint8Array;
}

export interface Mark {
  /** The newest acknowledgement: its hash, the log it names and the relay's time in seconds. */
  readonly acknowledgement?: {
    readonly sha256: Uint8Array;
    readonly logSize: number;
    readonly logRoot: Uint8Array;
    readonly timeS: number;
  };
  /** A change of the clock: uptime in milliseconds, state before, state after. */
  readonly clockEvents?: readonly (readonly [uptimeMs: number, before: number, after: number])[];
}

/** A finding about earlier readings. Its words are registered in insight/SPEC.md. */
export interface Alert {
  readonly finding: string;
  /** Ids of the records with the readings concerned, at most `ALERT_RECORDS_MAX`. */
  readonly records: readonly Uint8Array[];
  /** The figures, for people. */
  readonly text?: string;
  /** The quantity's SenML name, as its readings have it. */
  readonly quantity?: string;
  /** How many findings of the quantity were not told since its last alert; absent where that is none. */
  readonly withheld?: number;
}

const TEXT_MAX_BYTES = 64;
const QUANTITIES_MAX = 32;
const CLOCK_EVENTS_MAX = 16;
const STATEMENT_MAX_BYTES = 1024;
export const ALERT_RECORDS_MAX = 16;

export function coseKey(publicKey: Uint8Array): CborMap {
  return new Map<number, Cbor>([
    [1, 1],
    [-1, 6],
    [-2, publicKey],
  ]);
}

/** The public key of a COSE_Key map; undefined for any other value and for a key that the one rule never accepts. */
export function publicKeyOf(value: Cbor | undefined): Uint8Array | undefined {
  if (!isMap(value) || value.size !== 3 || value.get(1) !== 1 || value.get(-1) !== 6) return undefined;
  const key = value.get(-2);
  return key instanceof Uint8Array && isAcceptablePublicKey(key) ? key : undefined;
}

export function encodeGenesis(genesis: Genesis): Uint8Array {
  const map = new Map<number, Cbor>([
    [1, coseKey(genesis.publicKey)],
    [2, genesis.model],
    [3, [genesis.firmware.version, genesis.firmware.sha256]],
    [4, genesis.quantities.map(({ name, unit }) => [name, unit])],
    [5, genesis.markIntervalS],
  ]);
  if (genesis.sampling) map.set(6, [genesis.sampling.minMs, genesis.sampling.maxMs]);
  if (genesis.relayKey) map.set(7, coseKey(genesis.relayKey));
  if (genesis.recoveryKey) map.set(8, coseKey(genesis.recoveryKey));
  if (genesis.statement) map.set(9, genesis.statement);
  if (genesis.predecessor) map.set(10, [genesis.predecessor.kid, genesis.predecessor.seq, genesis.predecessor.id]);
  return encodeCbor(map);
}

export function encodeBoot(boot: Boot): Uint8Array {
  const { tornTail, voidedBytes, sectorsScanned } = boot.recovery;
  const map = new Map<number, Cbor>([
    [1, boot.resetReason],
    [2, [boot.firmware.version, boot.firmware.sha256]],
    [3, [tornTail, voidedBytes, sectorsScanned]],
  ]);
  if (boot.handshake) map.set(4, boot.handshake);
  return encodeCbor(map);
}

export function encodeMark(mark: Mark): Uint8Array {
  const map = new Map<number, Cbor>();
  const known = mark.acknowledgement;
  if (known) map.set(1, [known.sha256, known.logSize, known.logRoot, known.timeS]);
  if (mark.clockEvents?.length) map.set(2, mark.clockEvents);
  return encodeCbor(map);
}

export function encodeRotate(nextKey: Uint8Array): Uint8Array {
  return encodeCbor(new Map<number, Cbor>([[1, coseKey(nextKey)]]));
}

export function encodeAlert({ finding, records, text, quantity, withheld }: Alert): Uint8Array {
  const map = new Map<number, Cbor>([
    [1, finding],
    [2, records],
  ]);
  if (text !== undefined) map.set(3, text);
  if (quantity !== undefined) map.set(4, quantity);
  if (withheld) map.set(5, withheld);
  return encodeCbor(map);
}

/** Reads a genesis record's payload. RECORD_MALFORMED names the label that did not fit. */
export function readGenesis(payload: Uint8Array): Result<Genesis> {
  const fields = readFields(payload, [1, 2, 3, 4, 5], [6, 7, 8, 9, 10]);
  if (!fields.ok) return fields;
  const map = fields.value;
  const publicKey = publicKeyOf(map.get(1));
  if (!publicKey) return malformed(1, "an Ed25519 COSE_Key that the rule accepts");
  const model = map.get(2);
  if (!isText(model)) return malformed(2, `a model of at most ${TEXT_MAX_BYTES} bytes`);
  const firmware = firmwareOf(map.get(3));
  if (!firmware) return malformed(3, "firmware version and SHA-256");
  const quantities = quantitiesOf(map.get(4));
  if (!quantities) return malformed(4, `at most ${QUANTITIES_MAX} pairs of name and unit`);
  const markIntervalS = map.get(5);
  if (!isUint(markIntervalS) || markIntervalS === 0) return malformed(5, "a mark interval in seconds");
  const sampling = map.get(6);
  if (sampling !== undefined && !isUints(sampling, 2)) return malformed(6, "two bounds in milliseconds");
  const relayKey = publicKeyOf(map.get(7));
  if (map.has(7) && !relayKey) return malformed(7, "a COSE_Key");
  const recoveryKey = publicKeyOf(map.get(8));
  if (map.has(8) && !recoveryKey) return malformed(8, "a COSE_Key");
  const statement = map.get(9);
  if (statement !== undefined && !(statement instanceof Uint8Array && statement.length <= STATEMENT_MAX_BYTES))
    return malformed(9, `a statement of at most ${STATEMENT_MAX_BYTES} bytes`);
  const before = map.get(10);
  if (before !== undefined && !isPosition(before)) return malformed(10, "kid, seq and id of the predecessor");
  return ok({
    publicKey,
    model,
    firmware,
    quantities,
    markIntervalS,
    ...(sampling && { sampling: { minMs: sampling[0]!, maxMs: sampling[1]! } }),
    ...(relayKey && { relayKey }),
    ...(recoveryKey && { recoveryKey }),
    ...(statement && { statement }),
    ...(before && { predecessor: { kid: before[0], seq: before[1], id: before[2] } }),
  });
}

export function readBoot(payload: Uint8Array): Result<Boot> {
  const fields = readFields(payload, [1, 2, 3], [4]);
  if (!fields.ok) return fields;
  const map = fields.value;
  const resetReason = map.get(1);
  if (!isUint(resetReason)) return malformed(1, "a reset reason");
  const firmware = firmwareOf(map.get(2));
  if (!firmware) return malformed(2, "firmware version and SHA-256");
  const found = map.get(3);
  if (!Array.isArray(found) || found.length !== 3 || typeof found[0] !== "boolean" || !isUints(found.slice(1), 2))
    return malformed(3, "torn tail, voided bytes and sectors scanned");
  const handshake = map.get(4);
  if (handshake !== undefined && !isHash(handshake)) return malformed(4, "a SHA-256");
  const recovery = { tornTail: found[0], voidedBytes: found[1] as number, sectorsScanned: found[2] as number };
  return ok({ resetReason, firmware, recovery, ...(handshake && { handshake }) });
}

export function readMark(payload: Uint8Array): Result<Mark> {
  const fields = readFields(payload, [], [1, 2]);
  if (!fields.ok) return fields;
  const known = fields.value.get(1);
  const events = fields.value.get(2);
  if (known !== undefined) {
    if (!Array.isArray(known) || known.length !== 4) return malformed(1, "four elements");
    const [sha256, logSize, logRoot, timeS] = known as Cbor[];
    if (!isHash(sha256) || !isUint(logSize) || !isHash(logRoot) || !isUint(timeS))
      return malformed(1, "hash, log size, log root and time");
    if (!areClockEvents(events)) return malformed(2, `at most ${CLOCK_EVENTS_MAX} clock events`);
    return ok({ acknowledgement: { sha256, logSize, logRoot, timeS }, ...(events && { clockEvents: events }) });
  }
  if (!areClockEvents(events)) return malformed(2, `at most ${CLOCK_EVENTS_MAX} clock events`);
  return ok(events ? { clockEvents: events } : {});
}

/**
 * Whether a record's payload is what its kind says. For genesis also that the kid is the announced key's, which the
 * caller's `kidOf` computes.
 */
export function checkPayload(record: Record, kidOf: (publicKey: Uint8Array) => Uint8Array): Result<void> {
  const { kind, kid } = record.header;
  switch (kind) {
    case Kind.genesis: {
      const genesis = readGenesis(record.payload);
      if (!genesis.ok) return genesis;
      return equalBytes(kidOf(genesis.value.publicKey), kid)
        ? ok(undefined)
        : fail("KEY_MISMATCH", "genesis announces a key that its own kid does not name");
    }
    case Kind.readings:
      return checkPack(record.payload, record.header.clock);
    case Kind.boot:
      return discard(readBoot(record.payload));
    case Kind.mark:
      return discard(readMark(record.payload));
    case Kind.gap:
      return checkGap(record);
    case Kind.rotate:
      return discard(readRotate(record.payload));
    case Kind.alert:
      return discard(readAlert(record.payload));
  }
}

/** A gap names records before itself, and no gap record later than itself. */
function checkGap({ header, payload }: Record): Result<void> {
  const gap = readGap(payload);
  if (!gap.ok) return gap;
  const { last, lastId, takenOver } = gap.value;
  if (last >= header.seq || (last === header.seq - 1 && !equalBytes(lastId, header.prev)))
    return malformed(2, `positions before ${header.seq}, the gap's own`);
  if (takenOver && takenOver.seq >= header.seq) return malformed(7, `a gap record before ${header.seq}`);
  return ok(undefined);
}

/** The next public key that a rotate record names, 32 bytes. RECORD_MALFORMED. */
export function readRotate(payload: Uint8Array): Result<Uint8Array> {
  const fields = readFields(payload, [1], []);
  if (!fields.ok) return fields;
  const next = publicKeyOf(fields.value.get(1));
  return next ? ok(next) : malformed(1, "the next key as a COSE_Key");
}

/** Reads an alert record's payload; a word that is not registered is a finding of a newer device. RECORD_MALFORMED. */
export function readAlert(payload: Uint8Array): Result<Alert> {
  const fields = readFields(payload, [1, 2], [3, 4, 5]);
  if (!fields.ok) return fields;
  const map = fields.value;
  const finding = map.get(1);
  if (!isText(finding)) return malformed(1, "a finding");
  const records = map.get(2);
  if (!Array.isArray(records) || records.length > ALERT_RECORDS_MAX || !records.every(isHash))
    return malformed(2, `at most ${ALERT_RECORDS_MAX} record ids`);
  const text = map.get(3);
  if (text !== undefined && !isText(text)) return malformed(3, "a text");
  const quantity = map.get(4);
  if (quantity !== undefined && !(typeof quantity === "string" && isSenmlName(quantity)))
    return malformed(4, "a quantity's SenML name");
  const withheld = map.get(5);
  if (withheld !== undefined && !(isUint(withheld) && withheld > 0)) return malformed(5, "a count from 1 on");
  return ok({
    finding,
    records,
    ...(text !== undefined && { text }),
    ...(quantity !== undefined && { quantity }),
    ...(withheld !== undefined && { withheld }),
  });
}

function readFields(
  payload: Uint8Array,
  required: readonly number[],
  optional: readonly number[],
): Result<ReadonlyMap<number | string, Cbor>> {
  const decoded = decodeCbor(payload);
  if (!decoded.ok) return decoded;
  const map = decoded.value;
  if (!isMap(map)) return fail("RECORD_MALFORMED", "expected a map as payload, received another type");
  for (const label of required) if (!map.has(label)) return malformed(label, "a value, it is required");
  for (const label of map.keys())
    if (typeof label !== "number" || (!required.includes(label) && !optional.includes(label)))
      return fail("RECORD_MALFORMED", `label ${label} is not of this kind of payload`);
  return ok(map);
}

function firmwareOf(value: Cbor | undefined): Firmware | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [version, sha256] = value as Cbor[];
  return isText(version) && isHash(sha256) ? { version, sha256 } : undefined;
}

function quantitiesOf(value: Cbor | undefined): Quantity[] | undefined {
  if (!Array.isArray(value) || value.length > QUANTITIES_MAX) return undefined;
  const quantities: Quantity[] = [];
  for (const pair of value as Cbor[]) {
    if (!Array.isArray(pair) || pair.length !== 2 || !isText(pair[0]) || !isText(pair[1])) return undefined;
    quantities.push({ name: pair[0], unit: pair[1] });
  }
  return quantities;
}

function areClockEvents(value: Cbor | undefined): value is [number, number, number][] | undefined {
  if (value === undefined) return true;
  return Array.isArray(value) && value.length <= CLOCK_EVENTS_MAX && value.every((event) => isUints(event, 3));
}

function isPosition(value: Cbor): value is [Uint8Array, number, Uint8Array] {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [kid, seq, id] = value as Cbor[];
  return kid instanceof Uint8Array && kid.length === KID_BYTES && isUint(seq) && isHash(id);
}

function isUints(value: Cbor | undefined, count: number): value is number[] {
  return Array.isArray(value) && value.length === count && value.every(isUint);
}

function isText(value: Cbor | undefined): value is string {
  return typeof value === "string" && value.length > 0 && utf8(value).length <= TEXT_MAX_BYTES;
}

function isHash(value: Cbor | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === ID_BYTES;
}

function discard(result: Result<unknown>): Result<void> {
  return result.ok ? ok(undefined) : result;
}

function malformed(label: number, expected: string): Result<never> {
  return fail("RECORD_MALFORMED", `label ${label}: expected ${expected}`);
}
