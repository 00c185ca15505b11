import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Identity } from "tallystick/identity/identity";
import { makeAcknowledgement, type Position, type Request } from "tallystick/sync/messages";
import type { Ladder } from "./store/ladder.js";
import type { Store, StoredDevice, StoredRecord } from "./store/store.js";

/** The relay's signed promise to a device: how far its chain has climbed, and by when it will be logged. */

/** A checkpoint that is signed, locked and published. */
export interface PublishedCheckpoint {
  readonly size: number;
  /** The whole note. */
  readonly note: string;
}

/** What acknowledgements need of the log. */
export interface CheckpointSource {
  /** The newest checkpoint that has been published. */
  published(): PublishedCheckpoint;
  /** Entries of the newest tree that is signed: more than are published while its checkpoint is put in place. */
  signedSize(): number;
  /** Resolves when a tree of `size` is published that is signed. Log.reach's codes. */
  reach(size: number): Promise<Result<true>>;
  /** Another process signs: what this one has not seen may be published nevertheless. */
  readonly follows: boolean;
  /** RFC 9162 consistency path between two published sizes, `oldSize` ≤ `size`. */
  consistency(oldSize: number, size: number): Promise<Result<Uint8Array[]>>;
}

export interface AcknowledgerOptions {
  readonly store: Store;
  readonly ladder: Ladder;
  readonly log: CheckpointSource;
  readonly identity: Identity;
  readonly nowMs: () => number;
  /** Seconds from a record's receipt to a checkpoint that covers it, at the most: as the log's opening states. */
  readonly logWithinS: number;
}

/**
 * The device knows a larger log than this relay has signed: the relay was set back, and nothing that it says now can be
 * proved consistent with what the device has seen. RELAY_BEHIND. A process that follows another's log has no say in that:
 * SEQUENCER_AWAY.
 */
export function checkPinned(log: CheckpointSource, request: Request): Failure | undefined {
  const size = log.signedSize();
  if (request.pinnedSize <= size) return undefined;
  const code = log.follows ? "SEQUENCER_AWAY" : "RELAY_BEHIND";
  return fail(code, `expected a pinned size of at most ${size}, received ${request.pinnedSize}`).failure;
}

/**
 * The signed acknowledgement for `device`, whose stored chain is durable when this is called. `namesHead`: the request is one
 * that names the device's head where it has one. The log's own codes where its files are damaged; throws where signing fails.
 */
export async function acknowledge(
  options: AcknowledgerOptions,
  device: StoredDevice,
  request: Request,
  namesHead: boolean,
): Promise<Result<Uint8Array>> {
  const { store, ladder, log, identity } = options;
  // Whoever follows this log reads a checkpoint as soon as it is in place, and may have told the device of it.
  const reached = await log.reach(request.pinnedSize);
  if (!reached.ok) return reached;
  // One checkpoint for all that follows: the sequencer may publish another while the path is read.
  const checkpoint = log.published();
  const consistency = await log.consistency(request.pinnedSize, checkpoint.size);
  if (!consistency.ok) return consistency;
  const head = store.head(device.device);
  const logged = store.lastInLog(device.device, checkpoint.size);
  const final = store.lastInLog(device.device, Math.min(ladder.sizeAt("final"), checkpoint.size));
  const erasedSeq = namesHead ? erasedAbove(options, device, request.head?.seq ?? -1, head.seq) : undefined;
  const waits = logged === undefined || logged.seq < head.seq;
  const acknowledgement = makeAcknowledgement(
    identity.kid,
    {
      kid: device.kid,
      nonce: request.nonce,
      received: positionOf(head),
      ...(logged && { logged: positionOf(logged) }),
      ...(final && { final: positionOf(final) }),
      ...(waits && { logByS: Math.ceil(head.receivedAtMs / 1000) + options.logWithinS }),
      checkpoint: checkpoint.note,
      consistency: consistency.value,
      pinnedSize: request.pinnedSize,
      timeMs: options.nowMs(),
      ...(erasedSeq !== undefined && { erasedSeq }),
    },
    (bytes) => {
      const signature = identity.sign(bytes);
      if (!signature.ok) throw new Error(signature.failure.detail);
      return signature.value;
    },
  );
  return ok(acknowledgement);
}

/** A device that is not behind its chain at the relay costs no query: that is nearly every request. */
function erasedAbove(
  { store }: AcknowledgerOptions,
  { kid }: StoredDevice,
  head: number,
  received: number,
): number | undefined {
  return head < received ? store.erasures.lowestBetween(kid, head, received) : undefined;
}

function positionOf({ seq, id }: StoredRecord): Position {
  return { seq, id };
}
