import { fail, ok, type Result } from "tallystick/codes/codes";
import {
  BUNDLE_MAX_RELAY_KEYS,
  type Bundle,
  type BundleAnchor,
  type BundleEntry,
  encodeBundle,
} from "tallystick/evidence/bundle";
import { ROTATIONS_MAX } from "tallystick/evidence/keys";
import type { Crypto } from "tallystick/identity/crypto";
import { formatVerifierKey } from "tallystick/log/note";
import { type CborLimits, decodeCbor } from "tallystick/record/cbor";
import { Kind, parseRecord } from "tallystick/record/record";
import type { AnchorRow } from "./ledger/outbox-tables.js";
import type { Log } from "./log/log.js";
import { checkedBytes } from "./routes/shapes.js";
import { genesisOf } from "./standing.js";
import { isErased } from "./store/erasures.js";
import type { Store, StoredRecord } from "./store/store.js";

/** Evidence of one record: everything that the relay can add to it, in one file (modules/evidence/SPEC.md). */

/** The anchor's own map within a bundle. */
const ANCHOR_LIMITS: CborLimits = { depth: 3 };

export interface EvidenceOptions {
  readonly store: Store;
  readonly crypto: Crypto;
  readonly log: Log;
  /** vkey lines of the witnesses that are asked. */
  readonly witnessKeys: readonly string[];
  /** The statements by which the relay's keys have changed, oldest first. */
  readonly relayKeys: readonly Uint8Array[];
  /** The first final anchor whose tree has at least `size` entries. */
  readonly finalFor: (size: number) => FinalAnchor | undefined;
}

export type FinalAnchor = Pick<AnchorRow, "size" | "proof">;

/** The file's bytes. RECORD_UNKNOWN, RECORD_NOT_LOGGED, and the log's own codes where its files are damaged. */
export async function composeEvidence(options: EvidenceOptions, id: Uint8Array): Promise<Result<Uint8Array>> {
  const collected = await collectEvidence(options, id);
  return collected.ok ? ok(encodeBundle(collected.value)) : collected;
}

/** The record, its chain's genesis, which binds the kid to the public key, the mark before that dates it, and their proofs against one checkpoint. */
export async function collectEvidence(options: EvidenceOptions, id: Uint8Array): Promise<Result<Bundle>> {
  const { store, log } = options;
  const stored = store.recordById(id);
  if (!stored) return fail("RECORD_UNKNOWN", "no such record");
  const { records, devices } = withLineage(options, stored);
  const indices = records.flatMap(({ logIndex }) => (logIndex === undefined ? [] : [logIndex]));
  const { size } = log.head;
  if (indices.length < records.length || indices.some((index) => index >= size))
    return fail("RECORD_NOT_LOGGED", `the newest checkpoint has ${size} entries`);
  const covered = Math.max(...indices) + 1;
  const final = options.finalFor(covered);
  // One head for all of it, the anchor's tree within: the log may grow meanwhile.
  const head = log.cosignedHead(final && final.size <= size ? final.size : covered);
  const revocations = devices.flatMap((device) => store.standing.revocation(device)?.statement ?? []);
  const receipts = indices.map((index) => log.receipt(index, head));
  const anchor = await collectAnchor(options, final, indices, head.size);
  if (!anchor.ok) return anchor;
  const entries: BundleEntry[] = [];
  for (const [i, record] of records.entries()) {
    const receipt = await receipts[i]!;
    if (!receipt.ok) return receipt;
    entries.push(entryOf(options, record, receipt.value));
  }
  return ok({
    origin: log.key.name,
    entries,
    checkpoint: Buffer.from(head.checkpoint).toString("utf8"),
    anchors: anchor.value,
    claims: { logKey: formatVerifierKey(log.key), witnessKeys: options.witnessKeys },
    revocations,
    // Only who has to judge a revocation needs to know how the relay's keys have changed.
    ...(revocations.length > 0 && { relayKeys: options.relayKeys.slice(-BUNDLE_MAX_RELAY_KEYS) }),
  });
}

/**
 * The record and its genesis; where a rotation has made its key, also the rotate record and genesis of the key before, and
 * so on. A rotation that the log does not have yet is left out: the key is then nobody's successor to the reader.
 */
function withLineage(
  { store, crypto }: EvidenceOptions,
  stored: StoredRecord,
): { readonly records: StoredRecord[]; readonly devices: number[] } {
  let genesis = stored.seq === 0 ? stored : store.recordAt(stored.device, 0)!;
  const records = stored.seq === 0 ? [stored] : [stored, genesis];
  const mark = markBefore(store, stored);
  if (mark) records.push(mark);
  const devices = [stored.device];
  while (devices.length <= ROTATIONS_MAX) {
    const { predecessor } = genesisOf({ store, crypto }, store.deviceByNumber(genesis.device));
    const former = predecessor && store.deviceByKid(predecessor.kid);
    const rotation = former && store.recordAt(former.device, predecessor.seq);
    if (rotation?.logIndex === undefined || kindOf(checkedBytes(crypto, rotation)) !== Kind.rotate) break;
    genesis = store.recordAt(former!.device, 0)!;
    records.push(rotation, genesis);
    devices.push(former!.device);
  }
  return { records, devices };
}

/** The mark whose beacon is the latest before a record, where it stands before it in the log, too. */
function markBefore(store: Store, { device, seq, logIndex = 0 }: StoredRecord): StoredRecord | undefined {
  const beacon = seq > 0 ? store.beacons.latest(device, seq - 1) : undefined;
  const mark = beacon && store.recordAt(device, beacon.seq);
  return mark && !isErased(mark) && (mark.logIndex ?? logIndex) < logIndex ? mark : undefined;
}

function kindOf(bytes: Uint8Array): Kind | undefined {
  const record = parseRecord(bytes);
  return record.ok ? record.value.header.kind : undefined;
}

function entryOf({ store, crypto }: EvidenceOptions, stored: StoredRecord, receipt: Uint8Array): BundleEntry {
  const next = store.recordAt(stored.device, stored.seq + 1)?.id;
  return { record: checkedBytes(crypto, stored), receipt, ...(next && { next }) };
}

/** The first final anchor that covers all of the entries, where there is one. */
async function collectAnchor(
  { log }: EvidenceOptions,
  final: FinalAnchor | undefined,
  indices: readonly number[],
  size: number,
): Promise<Result<BundleAnchor[]>> {
  if (!final?.proof || final.size > size) return ok([]);
  const decoded = decodeCbor(final.proof.anchor, ANCHOR_LIMITS);
  if (!decoded.ok) return decoded;
  if (!(decoded.value instanceof Map)) return fail("ANCHOR_MALFORMED", "the stored anchor is no map");
  const consistency = await log.consistency(final.size, size);
  if (!consistency.ok) return consistency;
  const inclusion: Uint8Array[][] = [];
  for (const index of indices) {
    const path = await log.inclusion(index, final.size);
    if (!path.ok) return path;
    inclusion.push(path.value);
  }
  return ok([{ consistency: consistency.value, anchor: decoded.value, inclusion }]);
}
