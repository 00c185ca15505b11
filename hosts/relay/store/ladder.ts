import type { TreeHead } from "tallystick/log/checkpoint";
import type { Database } from "./database.js";

/** When each checkpoint climbed the ladder: what it covers is as far as it is. Trusted for display, not for proof. */

export type Step = "logged" | "submitted" | "final";

export class Ladder {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** A signed checkpoint is public. The same one again changes nothing. */
  logged({ size, root }: TreeHead, nowMs: number): void {
    this.#database
      .prepare("INSERT INTO checkpoints (size, root, logged_at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
      .run(size, root, nowMs);
  }

  /** The checkpoint is on its way to the ledger, or will not be undone there. The first time is kept. */
  climbed(step: "submitted" | "final", checkpoint: TreeHead, nowMs: number): void {
    this.logged(checkpoint, nowMs);
    const column = `${step}_at_ms`;
    this.#database
      .prepare(`UPDATE checkpoints SET ${column} = ? WHERE size = ? AND ${column} IS NULL`)
      .run(nowMs, checkpoint.size);
  }

  /** The checkpoint did not come to stand on the ledger after all. What is final never falls. */
  fell({ size }: TreeHead): void {
    this.#database
      .prepare("UPDATE checkpoints SET submitted_at_ms = NULL WHERE size = ? AND final_at_ms IS NULL")
      .run(size);
  }

  /** The largest checkpoint that has come to `step`; 0 where none has. */
  sizeAt(step: Step): number {
    const size = this.#database
      .prepare(`SELECT size FROM checkpoints WHERE ${step}_at_ms IS NOT NULL ORDER BY size DESC LIMIT 1`)
      .pluck()
      .get() as number | undefined;
    return size ?? 0;
  }

  /** When the entry at `index` came to `step`: with the first checkpoint there that covers it. */
  timeOf(step: Step, index: number): number | undefined {
    return this.#database
      .prepare(
        `SELECT ${step}_at_ms FROM checkpoints WHERE size > ? AND ${step}_at_ms IS NOT NULL ORDER BY size LIMIT 1`,
      )
      .pluck()
      .get(index) as number | undefined;
  }
}
