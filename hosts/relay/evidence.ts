import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import type { VerifierKey } from "tallystick/log/note";
import type { Log } from "./log/log.js";
import { checkedBytes } from "./routes/shapes.js";
import type { Store } from "./store/store.js";

/** Everything that the relay can add to one record, for modules/evidence to make one file of. */

/** The newest final anchor that a ledger adapter can prove, with the tree that it holds. */
export interface ProvedAnchor {
  readonly ledger: string;
  readonly size: number;
  readonly root: Uint8Array;
  /** CBOR as the adapter's kind of anchor is specified under modules/evidence. */
  readonly anchor: Uint8Array;
}

export interface CollectedAnchor extends ProvedAnchor {
  /** Inclusion path of the record in the anchored tree. */
  readonly inclusion: readonly Uint8Array[];
  /** Consistency path from the anchored tree to the checkpoint's. */
  readonly consistency: readonly Uint8Array[];
}

export interface CollectedEvidence {
  /** The record's bytes, exactly as the device sent them. */
  readonly record: Uint8Array;
  readonly id: Uint8Array;
  /** The chain's genesis record, which binds the kid to the public key. */
  readonly genesis: Uint8Array;
  /** Ids of the records before and after it in its chain, where the relay holds them. */
  readonly previousId: Uint8Array | undefined;
  readonly nextId: Uint8Array | undefined;
  readonly logIndex: number;
  /** The newest checkpoint, a signed note, and the size of its tree. */
  readonly checkpoint: Uint8Array;
  readonly size: number;
  /** Inclusion path of the record in the checkpoint's tree. */
  readonly inclusion: readonly Uint8Array[];
  /** COSE Receipt of the same. */
  readonly receipt: Uint8Array;
  readonly anchors: readonly CollectedAnchor[];
  /** As claims: a verifier has them from elsewhere. */
  readonly keys: {
    readonly device: Uint8Array;
    /** Signs acknowledgements. */
    readonly relay: Uint8Array;
    readonly log: VerifierKey;
  };
}

export interface EvidenceOptions {
  readonly store: Store;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly relayKey: Uint8Array;
  /** Final anchors of a tree that covers the log's first `size` entries: one a ledger, where it has one. */
  readonly anchorsFor: (size: number) => readonly ProvedAnchor[];
}

/** RECORD_UNKNOWN, RECORD_NOT_LOGGED, and the log's own codes where its files are damaged. */
export async function collectEvidence(options: EvidenceOptions, id: Uint8Array): Promise<Result<CollectedEvidence>> {
  const { store, crypto, log } = options;
  const stored = store.recordById(id);
  if (!stored) return fail("RECORD_UNKNOWN", "no such record");
  const { logIndex } = stored;
  // One head for all, the receipt included, which takes it before it first waits: the log may grow meanwhile.
  const head = log.head;
  if (logIndex === undefined || logIndex >= head.size)
    return fail("RECORD_NOT_LOGGED", `the newest checkpoint has ${head.size} entries`);
  const receiptUnderWay = log.receipt(logIndex);
  const inclusion = await log.inclusion(logIndex, head.size);
  const receipt = await receiptUnderWay;
  if (!inclusion.ok) return inclusion;
  if (!receipt.ok) return receipt;
  const anchors: CollectedAnchor[] = [];
  for (const anchor of options.anchorsFor(logIndex + 1)) {
    if (anchor.size > head.size) continue;
    const within = await log.inclusion(logIndex, anchor.size);
    if (!within.ok) return within;
    const consistency = await log.consistency(anchor.size, head.size);
    if (!consistency.ok) return consistency;
    anchors.push({ ...anchor, inclusion: within.value, consistency: consistency.value });
  }
  return ok({
    record: checkedBytes(crypto, stored),
    id: stored.id,
    genesis: checkedBytes(crypto, store.recordAt(stored.device, 0)!),
    previousId: store.recordAt(stored.device, stored.seq - 1)?.id,
    nextId: store.recordAt(stored.device, stored.seq + 1)?.id,
    logIndex,
    checkpoint: head.checkpoint,
    size: head.size,
    inclusion: inclusion.value,
    receipt: receipt.value,
    anchors,
    keys: { device: store.deviceByNumber(stored.device).publicKey, relay: options.relayKey, log: log.key },
  });
}
