import type { Code } from "tallystick/codes/codes";
import type { ProblemMembers } from "./problem.js";

/**
 * What happens at the relay that somebody outside of the request may want to know: counters, webhooks, whoever else
 * subscribes. Emitting never fails and never waits, so that the pipeline may do it anywhere.
 */
export type RelayEvent =
  /** A batch was looked at: what of it was new, what was held already. */
  | { readonly event: "records"; readonly kid: string; readonly stored: number; readonly repeated: number }
  /** A record, or a batch as a whole, was not taken. Of a fork `members` has both ids. */
  | {
      readonly event: "refused";
      readonly kid: string;
      readonly code: Code;
      readonly detail: string;
      readonly members?: ProblemMembers;
    }
  /** Records that were taken in are dated before their chain's newest beacon; the first of them. */
  | {
      readonly event: "backdated";
      readonly kid: string;
      readonly records: number;
      readonly code: Code;
      readonly detail: string;
      readonly seq: number;
      readonly id: string;
    }
  /** Not heard for longer than it said that it would be. */
  | {
      readonly event: "silence";
      readonly kid: string;
      readonly quietS: number;
      readonly markIntervalS: number;
    }
  /** A chain has more positions missing than before: its device let them go, and says so in a gap record. */
  | { readonly event: "gap"; readonly kid: string; readonly missing: number }
  /** A device has found something in its own readings (modules/insight/SPEC.md), and says so in a record that is new. */
  | {
      readonly event: "alert";
      readonly kid: string;
      readonly seq: number;
      readonly id: string;
      readonly finding: string;
      readonly quantity?: string;
      readonly text?: string;
    }
  /** What was received waits for a checkpoint, or nothing is taken in any more. */
  | { readonly event: "log-stuck"; readonly waitingS: number; readonly code?: Code }
  /** What is logged waits for the ledger. */
  | { readonly event: "ledger-stuck"; readonly waitingS: number; readonly code?: Code };

export type RelayEventListener = (event: RelayEvent) => void;

/** Who is told, at the most. */
export const LISTENERS_MAX = 16;

export class RelayEvents {
  readonly #listeners: RelayEventListener[] = [];
  readonly #onFault: (error: unknown) => void;

  /** `onFault` is told what a listener throws. */
  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault;
  }

  /** For as long as the relay runs. */
  on(listener: RelayEventListener): void {
    if (this.#listeners.length >= LISTENERS_MAX) throw new RangeError(`expected at most ${LISTENERS_MAX} listeners`);
    this.#listeners.push(listener);
  }

  emit(event: RelayEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#onFault(error);
      }
    }
  }
}
