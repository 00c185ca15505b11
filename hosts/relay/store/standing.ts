import { type Database, plainBytes } from "./database.js";

/**
 * Whether a key's word still counts. Two records of one position hold the key back until an operator decides; a revocation
 * ends its word from a position on, for good. Trusted: losing it lets a key speak again that somebody had stopped.
 */

export type Decision = "hold" | "continue" | "revoke";

export interface StoredRevocation {
  readonly fromSeq: number;
  /** Statement as in modules/chain/SPEC.md. */
  readonly statement: Uint8Array;
  readonly revokedAtMs: number;
}

export class Standing {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** Since when the key of `device` is held back, in milliseconds since 1970; undefined where it is not. */
  heldSinceMs(device: number): number | undefined {
    return this.#statements.heldSince.get(device) as number | undefined;
  }

  /** From now on nothing of the key is taken; a key that is held already stays so. Call inside `Store.transaction`. */
  hold(device: number, nowMs: number): void {
    this.#statements.hold.run(device, nowMs);
  }

  /** An operator's decision about a key. Call inside `Store.transaction`. */
  decide(device: number, what: Decision, nowMs: number): void {
    this.#statements.addDecision.run(device, what, nowMs);
    if (what === "hold") this.hold(device, nowMs);
    else this.#statements.release.run(device);
  }

  /** Oldest first. */
  decisions(device: number): { readonly what: Decision; readonly atMs: number }[] {
    return this.#statements.decisions.all(device) as { what: Decision; atMs: number }[];
  }

  revocation(device: number): StoredRevocation | undefined {
    const row = this.#statements.revocation.get(device) as RevocationRow | undefined;
    return row && { fromSeq: row.from_seq, statement: plainBytes(row.statement), revokedAtMs: row.revoked_at_ms };
  }

  /** Puts a checked revocation in force, unless one from the same or a lower position on is. Call inside `Store.transaction`. */
  revoke(device: number, fromSeq: number, statement: Uint8Array, nowMs: number): void {
    this.#statements.revoke.run(device, fromSeq, statement, nowMs);
  }
}

interface RevocationRow {
  from_seq: number;
  statement: Uint8Array;
  revoked_at_ms: number;
}

function prepare(database: Database) {
  return {
    heldSince: database.prepare("SELECT since_ms FROM held_back WHERE device = ?").pluck(),
    hold: database.prepare("INSERT INTO held_back (device, since_ms) VALUES (?, ?) ON CONFLICT DO NOTHING"),
    release: database.prepare("DELETE FROM held_back WHERE device = ?"),
    addDecision: database.prepare("INSERT INTO decisions (device, what, at_ms) VALUES (?, ?, ?)"),
    decisions: database.prepare('SELECT what, at_ms AS "atMs" FROM decisions WHERE device = ? ORDER BY decision'),
    revocation: database.prepare("SELECT from_seq, statement, revoked_at_ms FROM revocations WHERE device = ?"),
    revoke: database.prepare(
      "INSERT INTO revocations (device, from_seq, statement, revoked_at_ms) VALUES (?, ?, ?, ?) " +
        "ON CONFLICT (device) DO UPDATE SET from_seq = excluded.from_seq, statement = excluded.statement, " +
        "revoked_at_ms = excluded.revoked_at_ms WHERE excluded.from_seq < revocations.from_seq",
    ),
  };
}
