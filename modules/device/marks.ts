import type { Clock, Timer, Timers } from "../clock/clock.js";
import type { Crypto } from "../identity/crypto.js";
import { openCheckpoint } from "../log/checkpoint.js";
import { encodeMark, type Mark } from "../record/payload.js";
import type { Acknowledgement } from "../sync/messages.js";
import type { RelayPins } from "../sync/relay-pins.js";

/**
 * The `mark` records of a chain: a heartbeat at the interval that genesis promises, the newest acknowledgement, which the
 * records behind it cannot be older than, and what became of the clock in between.
 */

const CLOCK_EVENTS_MAX = 16;

export interface MarksOptions {
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly intervalMs: number;
  /** Commits a mark. */
  readonly onMark: (payload: Uint8Array) => void;
}

export class Marks {
  /** SHA-256 of the start's first acknowledgement. */
  handshake: Uint8Array | undefined;
  readonly #options: MarksOptions;
  #acknowledgement: Mark["acknowledgement"];
  #clockState: number;
  #clockEvents: [uptimeMs: number, before: number, after: number][] = [];
  #timer: Timer | undefined;

  constructor(options: MarksOptions) {
    this.#options = options;
    this.#clockState = options.clock.state;
  }

  /** Takes what the relay has signed; the next mark says so. */
  acknowledged({ checkpoint, timeMs }: Acknowledgement, bytes: Uint8Array, { logKey }: RelayPins): void {
    const { crypto, clock } = this.#options;
    const first = this.#acknowledgement === undefined;
    const sha256 = crypto.sha256(bytes);
    this.handshake ??= sha256;
    const opened = openCheckpoint(crypto, checkpoint, logKey);
    if (opened.ok) {
      const { size, root } = opened.value;
      this.#acknowledgement = { sha256, logSize: size, logRoot: root, timeS: Math.floor(timeMs / 1000) };
    }
    if (clock.state !== this.#clockState) {
      // The pack that was begun under the old state is closed by the next reading; the mark tells when it changed.
      if (this.#clockEvents.length < CLOCK_EVENTS_MAX)
        this.#clockEvents.push([clock.uptimeMs(), this.#clockState, clock.state]);
      this.#clockState = clock.state;
    }
    // At once, or as soon as anything may be appended: what follows the first answer of a start is not older than it.
    if (first) this.#mark();
  }

  /** The next mark comes one interval from now. */
  plan(): void {
    this.close();
    const { timers, intervalMs } = this.#options;
    this.#timer = timers.after(intervalMs, () => {
      this.#mark();
      this.plan();
    });
  }

  close(): void {
    this.#timer?.cancel();
  }

  #mark(): void {
    const acknowledgement = this.#acknowledgement;
    const payload = encodeMark({ ...(acknowledgement && { acknowledgement }), clockEvents: this.#clockEvents });
    this.#clockEvents = [];
    this.#options.onMark(payload);
  }
}
