import type { Clock, Timers } from "../clock/clock.js";
import type { Failure, Result } from "../codes/codes.js";
import type { Crypto, Entropy, KeyStore } from "../identity/crypto.js";
import type { Identity } from "../identity/identity.js";
import type { Succession } from "../identity/succession.js";
import type { ChainStore, NamingGap } from "./chain-store.js";
import type { Acknowledgement, Position } from "./messages.js";
import type { RelayPins } from "./relay-pins.js";
import type { Transport } from "./transport.js";

/** What `Sync` is given by the device that it talks for. */
export interface SyncOptions {
  readonly identity: Identity;
  readonly crypto: Crypto;
  readonly keys: KeyStore;
  readonly entropy: Entropy;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly transport: Transport;
  readonly relay: RelayPins;
  readonly chain: ChainStore;
  /** The succession that made this key, while the former one is kept: the leave to enter without a token. */
  readonly succession?: Succession;
  /** The device's gap record that names a position which is not held any more; undefined where none does. */
  readonly gapNaming?: (seq: number) => NamingGap | undefined;
  /** The level at which the journal may let go of a record; `logged` by default. */
  readonly releaseAt?: Level;
  /** Milliseconds between two looks at the relay while there is nothing to send; 60,000 by default. */
  readonly pollMs?: number;
  /** The device may append: its head is not behind what it may have sent. Called at the start, and after each `onHold`. */
  readonly onReady: () => void;
  /** The relay says that it holds records which this device knows nothing of: nothing may be appended until `onReady`. */
  readonly onHold: () => void;
  /**
   * Nothing may be signed on this chain any more, and the relay has signed for its head: the key is to be succeeded by
   * another. After a success this object is closed; a failure is told, and it comes again.
   */
  readonly onSuccession: (head: Position) => Result<void>;
  readonly onAcknowledged: (acknowledgement: Acknowledgement, bytes: Uint8Array) => void;
  /** The relay's keys have changed, by a statement of a pinned one; the new pins are durable. */
  readonly onRelayKeys?: (pins: RelayPins) => void;
  readonly onProblem: (failure: Failure) => void;
}

export const LEVELS = ["received", "logged", "final"] as const;
export type Level = (typeof LEVELS)[number];
