import { PowerCut } from "../board.js";

/** The supply of one board: on, or cut at a chosen point of its flash, key and fuse operations. */

/**
 * Where the power goes: at the `operation`-th program, erase, key write, key delete or burned fuse from the planning on,
 * counting from 1.
 */
export interface CutPlan {
  readonly operation: number;
  /** `within` leaves flash cells and fuses as a cut in the middle does; a key operation is atomic and then counts as `before`. */
  readonly moment: "before" | "within" | "after";
}

export class Power {
  #plan: CutPlan | undefined;
  #operations = 0;

  /** Replaces the plan before; the count starts anew. */
  plan(plan: CutPlan | undefined): void {
    if (plan !== undefined && !(Number.isInteger(plan.operation) && plan.operation >= 1))
      throw new RangeError(`operation: expected 1 or more, got ${plan.operation}`);
    this.#plan = plan;
    this.#operations = 0;
  }

  /** Operations since the last plan, or since the beginning. */
  get operations(): number {
    return this.#operations;
  }

  /**
   * Drives one durable operation: `whole` does it; `torn` leaves what a cut in its middle leaves, and is not given where
   * there is no middle. Throws PowerCut where the plan says so: everything above the wire is gone with the instance.
   */
  drive(whole: () => void, torn?: () => void): void {
    this.#operations += 1;
    const plan = this.#plan;
    if (plan === undefined || plan.operation !== this.#operations) {
      whole();
      return;
    }
    this.#plan = undefined;
    if (plan.moment === "after") whole();
    else if (plan.moment === "within") torn?.();
    throw new PowerCut("the power was cut");
  }
}
