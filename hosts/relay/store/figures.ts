import { toHex } from "tallystick/bytes/bytes";
import type { Database } from "./database.js";
import type { DeviceState } from "./store.js";

/**
 * What the store comes to in numbers, for metrics and for whoever watches the fleet. Every question is answered by an
 * index, or is bounded by its own limit, so that a scrape never waits on the whole of the records.
 */

export interface DeviceFigures {
  readonly device: number;
  readonly kid: string;
  /** When its newest record arrived, milliseconds since 1970. */
  readonly heardMs: number;
  /** Bytes of its genesis record. */
  readonly genesis: Uint8Array;
}

export interface Heard {
  readonly device: number;
  readonly heardMs: number;
}

export class Figures {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** The place of the record that became durable last; 0 where none has. */
  lastEntry(): number {
    return (this.#statements.lastEntry.get() as number | null) ?? 0;
  }

  /** Devices enrolled after `device`, at most `limit`. */
  devicesAfter(device: number, limit: number): DeviceFigures[] {
    const rows = this.#statements.devicesAfter.all(device, limit) as (Omit<DeviceFigures, "kid"> & {
      kid: Uint8Array;
    })[];
    return rows.map((row) => ({ ...row, kid: toHex(row.kid) }));
  }

  /** Whose records became durable after `entry` and up to `until`. */
  heardBetween(entry: number, until: number): Heard[] {
    return this.#statements.heardBetween.all(entry, until) as Heard[];
  }

  /** Devices of which no record is to come: their chain has ended, or their key does not count. */
  ended(): number[] {
    return this.#statements.ended.all() as number[];
  }

  /** Positions missing of each chain that has any, by kid. */
  missing(): ReadonlyMap<string, number> {
    const rows = this.#statements.missing.all() as { kid: Uint8Array; missing: number }[];
    return new Map(rows.map(({ kid, missing }) => [toHex(kid), missing]));
  }

  devices(): ReadonlyMap<DeviceState, number> {
    const rows = this.#statements.devices.all() as { state: DeviceState; count: number }[];
    return new Map(rows.map(({ state, count }) => [state, count]));
  }

  heldBack(): number {
    return this.#statements.heldBack.get() as number;
  }

  /** Second branches of forks that are kept. */
  forks(): number {
    return this.#statements.forks.get() as number;
  }

  gapsWaiting(): number {
    return this.#statements.gapsWaiting.get() as number;
  }

  /** Records that wait for a checkpoint, and when the oldest of them arrived. */
  unlogged(): { readonly count: number; readonly oldestMs: number | undefined } {
    const count = this.#statements.unlogged.get() as number;
    return { count, oldestMs: this.#statements.oldestUnlogged.get() as number | undefined };
  }

  /** When the first checkpoint of more than `size` entries was signed. */
  loggedAfter(size: number): number | undefined {
    return this.#statements.loggedAfter.get(size) as number | undefined;
  }

  /** When the newest checkpoint was signed. */
  newestCheckpointMs(): number | undefined {
    return this.#statements.newestCheckpoint.get() as number | undefined;
  }
}

function prepare(database: Database) {
  return {
    lastEntry: database.prepare("SELECT max(entry) FROM records").pluck(),
    devicesAfter: database.prepare(
      "SELECT device, kid, " +
        '(SELECT received_at_ms FROM records WHERE device = devices.device ORDER BY seq DESC LIMIT 1) AS "heardMs", ' +
        "(SELECT bytes FROM records WHERE device = devices.device AND seq = 0) AS genesis " +
        "FROM devices WHERE device > ? ORDER BY device LIMIT ?",
    ),
    heardBetween: database.prepare(
      'SELECT device, max(received_at_ms) AS "heardMs" FROM records WHERE entry > ? AND entry <= ? GROUP BY device',
    ),
    ended: database
      .prepare("SELECT device FROM devices WHERE state = 'closed' UNION SELECT device FROM revocations")
      .pluck(),
    missing: database.prepare(
      "SELECT kid, sum(last - first + 1) AS missing FROM holes JOIN devices USING (device) GROUP BY kid",
    ),
    devices: database.prepare("SELECT state, count(*) AS count FROM devices GROUP BY state"),
    heldBack: database.prepare("SELECT count(*) FROM held_back").pluck(),
    forks: database.prepare("SELECT count(*) FROM forks").pluck(),
    gapsWaiting: database.prepare("SELECT count(*) FROM gaps").pluck(),
    unlogged: database.prepare("SELECT count(*) FROM records WHERE entry >= (SELECT size FROM logged)").pluck(),
    oldestUnlogged: database
      .prepare("SELECT received_at_ms FROM records WHERE entry >= (SELECT size FROM logged) ORDER BY entry LIMIT 1")
      .pluck(),
    loggedAfter: database.prepare("SELECT logged_at_ms FROM checkpoints WHERE size > ? ORDER BY size LIMIT 1").pluck(),
    newestCheckpoint: database.prepare("SELECT logged_at_ms FROM checkpoints ORDER BY size DESC LIMIT 1").pluck(),
  };
}
