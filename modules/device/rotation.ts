import type { Timer } from "../clock/clock.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Identity } from "../identity/identity.js";
import { completeRotation, plannedRotation, planRotation } from "../identity/rotation.js";
import type { Journal } from "../journal/journal.js";
import type { JournalHead } from "../journal/report.js";
import type { Acknowledgement } from "../sync/messages.js";
import type { Level } from "../sync/options.js";
import type { OwnChain } from "./own-chain.js";
import type { Platform } from "./platform.js";

/**
 * When a planned change of the key takes place: at a moment at which the relay has logged all of the chain, whichever level
 * releases flash, since what the former key has signed cannot be sent once the next chain has begun. For that moment the
 * device holds back what it would commit, as long as little waits.
 */

/** How soon the relay is looked at again for the moment: a log publishes each second or so. */
export const ROTATION_POLL_MS = 2000;
/** Records that may wait for the moment; with more the chain goes on, and the moment is waited for anew. */
export const ROTATION_WAITING_MAX = 4;

export class Rotation {
  /** The next key, while a rotation is planned. */
  next: Identity | undefined;
  /** Nothing is committed for the moment. */
  holding = false;
  readonly #platform: Platform;
  #poll: Timer | undefined;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /**
   * Once the key in use is open, at a start and where the chain had to end otherwise: what was planned is forgotten then, in
   * the key store and here. KEY_UNREADABLE, KEY_FUSES_FAILED.
   */
  resume(): Result<void> {
    const planned = plannedRotation(this.#platform);
    if (!planned.ok) return planned;
    this.next = planned.value;
    this.holding = false;
    return ok(undefined);
  }

  /** Makes the next key, and waits for the moment. KEY_UNREADABLE, KEY_EXISTS, KEY_FUSES_USED_UP, KEY_FUSES_FAILED. */
  plan(): Result<Identity> {
    const planned = planRotation(this.#platform);
    if (planned.ok) this.next = planned.value;
    return planned;
  }

  /** Whether the rotate record may follow `head` now, or it is worth while to hold back for it. */
  moment(
    { received, logged }: Pick<Acknowledgement, Level>,
    head: JournalHead | undefined,
    { usage }: Journal,
  ): "now" | "soon" | undefined {
    // The next chain's genesis takes room that a full journal has not.
    if (!this.next || !head || received?.seq !== head.seq || usage.level !== "normal") return undefined;
    return logged?.seq === head.seq ? "now" : "soon";
  }

  /** Looks at the relay again before long: `look` is called once, however often this is. */
  lookSoon(look: () => void): void {
    this.#poll?.cancel();
    this.#poll = this.#platform.timers.after(ROTATION_POLL_MS, look);
  }

  close(): void {
    this.#poll?.cancel();
  }

  /** The rotate record is the chain's head: decides for the next key. CHAIN_CLOSED where the store does not hold it. */
  complete(chain: OwnChain, { seq, id }: JournalHead): Result<void> {
    const bytes = chain.record(seq);
    if (!bytes.ok) return bytes;
    const { keys } = this.#platform;
    const planned = plannedRotation(this.#platform);
    if (planned.ok && !planned.value)
      return fail("CHAIN_CLOSED", `the rotation at seq ${seq} ended it, and the key store holds no next seed`);
    const completed = completeRotation({ keys }, { seq, id, bytes: bytes.value });
    if (completed.ok) this.next = undefined;
    return completed;
  }
}
