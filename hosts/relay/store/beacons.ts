import { equalBytes } from "tallystick/bytes/bytes";
import type { TreeHead } from "tallystick/log/checkpoint";
import { type Database, plainBytes } from "./database.js";

export interface StoredBeacon {
  /** The mark's position. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly notBeforeMs: number;
}

/**
 * Before when no record of a chain can have been signed: the beacons that its marks carry, as far as this relay knows their
 * trees, one row for each that is later than all before it in its chain. Trusted for telling, never for refusing.
 */
export class BeaconStore {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** The latest beacon at or before `seq`; undefined where none is known. */
  latest(device: number, seq: number): StoredBeacon | undefined {
    return this.#statements.latest.get(device, seq) as StoredBeacon | undefined;
  }

  /** A mark at `seq` has a beacon that was not there before `notBeforeMs`. Call inside `Store.transaction`. */
  raise(device: number, seq: number, notBeforeMs: number): void {
    const held = this.latest(device, seq);
    if (held && held.notBeforeMs >= notBeforeMs) return;
    this.#statements.outdo.run(device, seq, notBeforeMs);
    this.#statements.add.run(device, seq, notBeforeMs);
  }

  /**
   * Before when a tree was not signed, milliseconds since 1970; 0 where it is known without its time, undefined where it was
   * never published here.
   *
   * It continues the tree before it, so it was not there before that one's time either. Its own row alone does not do: the
   * head that a start finds has that start's time where an older database was put back beside the log.
   */
  signedAfter({ size, root }: TreeHead): number | undefined {
    const own = this.#statements.checkpoint.get(size) as { root: Uint8Array; atMs: number } | undefined;
    if (!own || !equalBytes(plainBytes(own.root), root)) return undefined;
    const before = this.#statements.before.get(size) as number | undefined;
    return before === undefined ? 0 : Math.min(before, own.atMs);
  }
}

function prepare(database: Database) {
  return {
    latest: database.prepare(
      'SELECT seq, not_before_ms AS "notBeforeMs" FROM beacons WHERE device = ? AND seq <= ? ORDER BY seq DESC LIMIT 1',
    ),
    outdo: database.prepare("DELETE FROM beacons WHERE device = ? AND seq >= ? AND not_before_ms <= ?"),
    add: database.prepare("INSERT INTO beacons (device, seq, not_before_ms) VALUES (?, ?, ?)"),
    checkpoint: database.prepare('SELECT root, logged_at_ms AS "atMs" FROM checkpoints WHERE size = ?'),
    before: database.prepare("SELECT logged_at_ms FROM checkpoints WHERE size < ? ORDER BY size DESC LIMIT 1").pluck(),
  };
}
