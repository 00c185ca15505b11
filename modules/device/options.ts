import type { Failure } from "../codes/codes.js";
import type { WatchOptions } from "../insight/insight.js";
import type { Kind } from "../record/record.js";
import type { PlannedSensor, Sampler } from "../sampler/sampler.js";
import type { Acknowledgement } from "../sync/messages.js";
import type { Level } from "../sync/options.js";

/** What a maker's application says of its device. README.md has the table. */
export interface DeviceOptions {
  /** For people, in the device's log. */
  readonly label: string;
  readonly sensors: readonly PlannedSensor[];
  /** Readings under one signature, at most 200; 32 by default. */
  readonly maxReadings?: number;
  /** The longest that a reading waits to be committed: what a power cut can take. 60,000 by default. */
  readonly maxAgeMs?: number;
  /** The genesis record promises a `mark` record at this interval; 3,600 by default. */
  readonly markIntervalS?: number;
  /** How long the device waits to look at the relay while it has nothing to send; 60,000 by default. */
  readonly pollMs?: number;
  /** The level at which the journal may let go of a record; `logged` by default. */
  readonly releaseAt?: Level;
  /** While the journal fills and the relay is away: keep the plan (default), or read each sensor less often. */
  readonly whenFilling?: "keep" | "thin";
  /** When it is full: stop recording (default), or name the oldest records in a signed gap and let go of them. */
  readonly whenFull?: "stop" | "gap";
  /**
   * What of the readings is found and told as `alert` records, by quantity; `false`: nothing. By default what the drivers'
   * data sheets and insight/SPEC.md say.
   */
  readonly watch?: WatchOptions | false;
  /** Sees every reading before it is recorded. */
  readonly onReading?: NonNullable<ConstructorParameters<typeof Sampler>[0]["onReading"]>;
  /** Sees every record after it is committed. */
  readonly onRecord?: (record: CommittedRecord) => void;
  /** Sees every acknowledgement that was accepted; `bytes`, as the relay signed them, hold it to its word (evidence/OMISSION.md). */
  readonly onAcknowledged?: (acknowledgement: Acknowledgement, bytes: Uint8Array) => void;
  /** Sees every expected failure; the device goes on as its code says. */
  readonly onProblem?: (failure: Failure) => void;
}

export interface CommittedRecord {
  readonly kind: Kind;
  readonly seq: number;
  readonly id: Uint8Array;
}

export const MARK_INTERVAL_S = 3600;
