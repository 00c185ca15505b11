import { type Database, plainBytes } from "./database.js";

/** Gap records that came before their own position, and the holes in chains that gap records let be. */

export interface PendingGap {
  readonly seq: number;
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Positions that a chain does not have, both ends included. */
export interface Hole {
  readonly first: number;
  readonly last: number;
}

export class GapStore {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** In the order of their positions. */
  pending(device: number): PendingGap[] {
    const rows = this.#statements.pending.all(device) as { seq: number; id: Uint8Array; bytes: Buffer }[];
    return rows.map(({ seq, id, bytes }) => ({ seq, id: plainBytes(id), bytes: plainBytes(bytes) }));
  }

  pendingAt(device: number, seq: number): Uint8Array | undefined {
    const id = this.#statements.pendingAt.get(device, seq) as Buffer | undefined;
    return id && plainBytes(id);
  }

  /** In their order; they never touch. */
  holes(device: number): Hole[] {
    return this.#statements.holes.all(device) as Hole[];
  }

  /** Positions up to `seq` that the chain does not have. */
  missing(device: number, seq: number): number {
    return this.#statements.missing.get(seq, seq, device, seq) as number;
  }

  /** Replaces what is held of a device. Call inside `Store.transaction`. */
  replace(device: number, pending: readonly PendingGap[], holes: readonly Hole[], nowMs: number): void {
    const kept = new Set<number>();
    for (const { seq, id, bytes } of pending) {
      this.#statements.addPending.run(id, device, seq, bytes, nowMs);
      kept.add(seq);
    }
    for (const { seq } of this.pending(device)) if (!kept.has(seq)) this.#statements.dropPending.run(device, seq);
    this.#statements.dropHoles.run(device);
    for (const { first, last } of holes) this.#statements.addHole.run(device, first, last);
  }
}

function prepare(database: Database) {
  return {
    pending: database.prepare("SELECT seq, id, bytes FROM gaps WHERE device = ? ORDER BY seq"),
    pendingAt: database.prepare("SELECT id FROM gaps WHERE device = ? AND seq = ?").pluck(),
    addPending: database.prepare(
      "INSERT INTO gaps (id, device, seq, bytes, received_at_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    ),
    dropPending: database.prepare("DELETE FROM gaps WHERE device = ? AND seq = ?"),
    holes: database.prepare("SELECT first, last FROM holes WHERE device = ? ORDER BY first"),
    missing: database
      .prepare(
        "SELECT coalesce(sum(CASE WHEN last < ? THEN last ELSE ? END - first + 1), 0) FROM holes " +
          "WHERE device = ? AND first <= ?",
      )
      .pluck(),
    dropHoles: database.prepare("DELETE FROM holes WHERE device = ?"),
    addHole: database.prepare("INSERT INTO holes (device, first, last) VALUES (?, ?, ?)"),
  };
}
