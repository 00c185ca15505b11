import { readRevocation } from "../chain/revocation.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { readRelayKey } from "../log/relay-key.js";
import { PATH_MAX_HASHES } from "../merkle/proof.js";
import { RECEIPT_MAX_BYTES } from "../receipt/receipt.js";
import { type Cbor, type CborLimits, type CborMap, decodeCbor, encodeCbor } from "../record/cbor.js";
import { ID_BYTES, isUint, RECORD_MAX_BYTES } from "../record/record.js";

/** The evidence file: what it holds, its bytes and its limits, as in SPEC.md. Nothing is proved by reading it. */
export interface Bundle {
  /** The log's origin. */
  readonly origin: string;
  /** The records asked for, and the genesis record of each chain among them. */
  readonly entries: readonly BundleEntry[];
  /** The checkpoint that all receipts are for, a C2SP signed note. */
  readonly checkpoint: string;
  readonly anchors: readonly BundleAnchor[];
  /** What the relay says of itself. A verifier trusts its policy, not these. */
  readonly claims: BundleClaims;
  /** Statements that revoke keys of the records (chain/SPEC.md), as the relay holds them; who may say so, the reader looks. */
  readonly revocations?: readonly Uint8Array[];
  /** Statements by which the relay's keys have changed (sync/SPEC.md), oldest first: whose key revokes after a change. */
  readonly relayKeys?: readonly Uint8Array[];
}

export interface BundleEntry {
  /** The record's bytes as the device signed them. */
  readonly record: Uint8Array;
  /** COSE Receipt of inclusion in the checkpoint's tree. */
  readonly receipt: Uint8Array;
  /** Id of the record that follows in the chain, where the relay held one. */
  readonly next?: Uint8Array;
}

export interface BundleAnchor {
  /** Consistency path (RFC 9162) between the bundle's checkpoint and the anchored one; empty for equal sizes. */
  readonly consistency: readonly Uint8Array[];
  /** The anchor's own map: EVM.md for kind 1. */
  readonly anchor: CborMap;
  /** Inclusion path of each entry, in their order, in the anchored tree; empty for one that is newer. */
  readonly inclusion: readonly (readonly Uint8Array[])[];
}

export interface BundleClaims {
  /** vkey line of the log. */
  readonly logKey: string;
  /** vkey lines of the witnesses that the relay asks. */
  readonly witnessKeys: readonly string[];
}

export const BUNDLE_MAX_BYTES = 4 * 1024 * 1024;
export const BUNDLE_MAX_ENTRIES = 1024;
export const BUNDLE_MAX_ANCHORS = 16;
export const BUNDLE_MAX_REVOCATIONS = 64;
export const BUNDLE_MAX_RELAY_KEYS = 256;
const WITNESSES_MAX = 16;

const TEXT_MAX_CHARACTERS = 65_536;
/** Bundle, list of anchors, anchor entry, anchor map, its lists. */
const BUNDLE_LIMITS: CborLimits = { depth: 6 };
const VERSION = 1;

export function encodeBundle(bundle: Bundle): Uint8Array {
  const entries = bundle.entries.map((entry) => {
    const map = new Map<number, Cbor>([
      [1, entry.record],
      [2, entry.receipt],
    ]);
    if (entry.next) map.set(3, entry.next);
    return map;
  });
  const anchors = bundle.anchors.map(
    ({ consistency, anchor, inclusion }) =>
      new Map<number, Cbor>([
        [1, consistency],
        [2, anchor],
        [3, inclusion],
      ]),
  );
  const map = new Map<number, Cbor>([
    [1, VERSION],
    [2, bundle.origin],
    [3, entries],
    [4, bundle.checkpoint],
    [5, anchors],
    [
      6,
      new Map<number, Cbor>([
        [1, bundle.claims.logKey],
        [2, bundle.claims.witnessKeys],
      ]),
    ],
  ]);
  if (bundle.revocations?.length) map.set(7, bundle.revocations);
  if (bundle.relayKeys?.length) map.set(8, bundle.relayKeys);
  return encodeCbor(map);
}

/** Reads an evidence file. EVIDENCE_MALFORMED or CBOR_INVALID where it is none. */
export function readBundle(bytes: Uint8Array): Result<Bundle> {
  if (bytes.length > BUNDLE_MAX_BYTES) return malformed(`at most ${BUNDLE_MAX_BYTES} bytes`);
  const decoded = decodeCbor(bytes, BUNDLE_LIMITS);
  if (!decoded.ok) return decoded;
  const map = decoded.value;
  if (!(map instanceof Map)) return malformed("a map");
  if (map.get(1) !== VERSION) return malformed(`version ${VERSION}, not ${String(map.get(1))}`);
  if (map.size !== 6 + (map.has(7) ? 1 : 0) + (map.has(8) ? 1 : 0) || (map.has(8) && !map.has(7)))
    return malformed("the labels 1 to 6, and 7, and with that 8");
  const [origin, checkpoint, claims] = [map.get(2), map.get(4), map.get(6)];
  if (!isText(origin) || !isText(checkpoint)) return malformed("origin and checkpoint as text");
  const entries = listOf(map.get(3), BUNDLE_MAX_ENTRIES, entryOf);
  if (!entries || entries.length === 0) return malformed(`1 to ${BUNDLE_MAX_ENTRIES} entries of record and receipt`);
  const anchors = listOf(map.get(5), BUNDLE_MAX_ANCHORS, anchorOf);
  if (!anchors?.every(({ inclusion }) => inclusion.length === entries.length))
    return malformed(`at most ${BUNDLE_MAX_ANCHORS} anchors, each with a path for every entry`);
  if (!(claims instanceof Map) || claims.size !== 2) return malformed("claims");
  const logKey = claims.get(1);
  const witnessKeys = listOf(claims.get(2), WITNESSES_MAX, (item) => (isText(item) ? item : undefined));
  if (!isText(logKey) || !witnessKeys) return malformed("log and witness keys as text");
  const revocations = map.has(7) ? listOf(map.get(7), BUNDLE_MAX_REVOCATIONS, statementIf(readRevocation)) : [];
  if (!revocations || (map.has(7) && revocations.length === 0))
    return malformed(`1 to ${BUNDLE_MAX_REVOCATIONS} revocations`);
  const relayKeys = map.has(8) ? listOf(map.get(8), BUNDLE_MAX_RELAY_KEYS, statementIf(readRelayKey)) : [];
  if (!relayKeys || (map.has(8) && relayKeys.length === 0))
    return malformed(`1 to ${BUNDLE_MAX_RELAY_KEYS} statements of the relay's keys`);
  return ok({ origin, entries, checkpoint, anchors, claims: { logKey, witnessKeys }, revocations, relayKeys });
}

function entryOf(item: Cbor): BundleEntry | undefined {
  if (!(item instanceof Map)) return undefined;
  const [record, receipt, next] = [item.get(1), item.get(2), item.get(3)];
  if (item.size !== (next === undefined ? 2 : 3)) return undefined;
  if (!(record instanceof Uint8Array) || record.length > RECORD_MAX_BYTES) return undefined;
  if (!(receipt instanceof Uint8Array) || receipt.length > RECEIPT_MAX_BYTES) return undefined;
  if (next === undefined) return { record, receipt };
  return next instanceof Uint8Array && next.length === ID_BYTES ? { record, receipt, next } : undefined;
}

function anchorOf(item: Cbor): BundleAnchor | undefined {
  if (!(item instanceof Map) || item.size !== 3) return undefined;
  const consistency = pathOf(item.get(1));
  const anchor = item.get(2);
  const inclusion = listOf(item.get(3), BUNDLE_MAX_ENTRIES, pathOf);
  if (!consistency || !inclusion || !(anchor instanceof Map) || !isUint(anchor.get(1))) return undefined;
  return { consistency, anchor, inclusion };
}

function statementIf(read: (bytes: Uint8Array) => Result<unknown>): (item: Cbor) => Uint8Array | undefined {
  return (item) => (item instanceof Uint8Array && read(item).ok ? item : undefined);
}

function pathOf(value: Cbor | undefined): Uint8Array[] | undefined {
  return listOf(value, PATH_MAX_HASHES, (hash) =>
    hash instanceof Uint8Array && hash.length === ID_BYTES ? hash : undefined,
  );
}

function listOf<T>(value: Cbor | undefined, most: number, read: (item: Cbor) => T | undefined): T[] | undefined {
  if (!Array.isArray(value) || value.length > most) return undefined;
  const items: T[] = [];
  for (const item of value as Cbor[]) {
    const element = read(item);
    if (element === undefined) return undefined;
    items.push(element);
  }
  return items;
}

function isText(value: Cbor | undefined): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= TEXT_MAX_CHARACTERS;
}

function malformed(expected: string): Result<never> {
  return fail("EVIDENCE_MALFORMED", `expected ${expected}`);
}
