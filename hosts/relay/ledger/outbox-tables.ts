import type { Sql as Database, SqlStatement as Statement } from "../store/sql.js";
import type { Block, Checkpoint, LedgerIdentity, Proof, SignedTransaction } from "./ledger.js";

/**
 * The outbox's tables. Trusted: losing them costs no anchor, since the ledger holds those, but costs the proofs kept
 * here and, between signing and inclusion, the knowledge of a transaction that may still land. The outbox then plans
 * again from what the ledger holds. One row of `anchor` a slot, every transaction that was ever signed for it beside.
 */
export const OUTBOX_SCHEMA = `
CREATE TABLE IF NOT EXISTS anchor_ledger (
  ledger           TEXT PRIMARY KEY,
  chain            TEXT NOT NULL,
  place            TEXT NOT NULL,
  finalized_number INTEGER NOT NULL DEFAULT 0,
  finalized_hash   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS anchor (
  ledger             TEXT NOT NULL REFERENCES anchor_ledger (ledger),
  slot               INTEGER NOT NULL,
  state              TEXT NOT NULL CHECK (state IN ('open', 'final', 'void')),
  size               INTEGER NOT NULL,
  root               BLOB NOT NULL CHECK (length(root) = 32),
  block_number       INTEGER,
  block_hash         TEXT,
  proof              BLOB,
  proof_block_number INTEGER,
  proof_block_hash   TEXT,
  reason             TEXT,
  opened_ms          INTEGER NOT NULL,
  closed_ms          INTEGER,
  PRIMARY KEY (ledger, slot),
  CHECK (state <> 'final' OR (proof IS NOT NULL AND proof_block_hash IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS anchor_in_flight ON anchor (ledger) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS anchor_final_size ON anchor (ledger, size) WHERE state = 'final';
CREATE TABLE IF NOT EXISTS anchor_transaction (
  hash      TEXT PRIMARY KEY,
  ledger    TEXT NOT NULL,
  slot      INTEGER NOT NULL,
  number    INTEGER NOT NULL,
  old_size  INTEGER NOT NULL,
  size      INTEGER NOT NULL,
  root      BLOB NOT NULL CHECK (length(root) = 32),
  fee       TEXT NOT NULL,
  raw       BLOB NOT NULL,
  signed_ms INTEGER NOT NULL,
  sent_ms   INTEGER,
  UNIQUE (ledger, slot, number),
  FOREIGN KEY (ledger, slot) REFERENCES anchor (ledger, slot)
) STRICT;
`;

/** Creates the outbox's tables where they are missing. Call it inside the relay's own migration. */
export function createOutboxTables(database: Database): void {
  database.exec(OUTBOX_SCHEMA);
}

export type AnchorState = "open" | "final" | "void";

export interface AnchorRow extends Checkpoint {
  readonly slot: number;
  readonly state: AnchorState;
  /** Where it was last seen, while it is open; where it was included, once final. */
  readonly block: Block | undefined;
  readonly proof: Proof | undefined;
  readonly reason: string | undefined;
  readonly openedMs: number;
  readonly closedMs: number | undefined;
}

export interface TransactionRow extends SignedTransaction, Checkpoint {
  readonly oldSize: number;
  readonly sent: boolean;
}

export interface LedgerRow extends LedgerIdentity {
  readonly finalized: Block;
}

/** The rows of one ledger. Every method is one statement or one transaction, durable when it returns. */
export class OutboxTables {
  constructor(
    private readonly database: Database,
    private readonly ledger: string,
  ) {}

  identity(): LedgerRow | undefined {
    const row = this.prepare("SELECT * FROM anchor_ledger WHERE ledger = ?").get(this.ledger) as
      | Record<string, unknown>
      | undefined;
    if (row === undefined) return undefined;
    const finalized = { number: Number(row["finalized_number"]), hash: String(row["finalized_hash"]) };
    return { chain: String(row["chain"]), place: String(row["place"]), finalized };
  }

  saveIdentity({ chain, place }: LedgerIdentity): void {
    this.prepare("INSERT INTO anchor_ledger (ledger, chain, place) VALUES (?, ?, ?)").run(this.ledger, chain, place);
  }

  saveFinalized({ number, hash }: Block): void {
    this.prepare("UPDATE anchor_ledger SET finalized_number = ?, finalized_hash = ? WHERE ledger = ?").run(
      number,
      hash,
      this.ledger,
    );
  }

  /** The one anchor in flight. */
  open(): AnchorRow | undefined {
    return this.one("SELECT * FROM anchor WHERE ledger = ? AND state = 'open'", this.ledger);
  }

  at(slot: number): AnchorRow | undefined {
    return this.one("SELECT * FROM anchor WHERE ledger = ? AND slot = ?", this.ledger, slot);
  }

  /** The final anchor of the largest size. */
  newestFinal(): AnchorRow | undefined {
    return this.one(
      "SELECT * FROM anchor WHERE ledger = ? AND state = 'final' ORDER BY size DESC LIMIT 1",
      this.ledger,
    );
  }

  /** The final anchor of the smallest size that covers `size` entries. */
  firstFinalFrom(size: number): AnchorRow | undefined {
    return this.one(
      "SELECT * FROM anchor WHERE ledger = ? AND state = 'final' AND size >= ? ORDER BY size LIMIT 1",
      this.ledger,
      size,
    );
  }

  /** Newest first. */
  list(limit: number): AnchorRow[] {
    return this.prepare("SELECT * FROM anchor WHERE ledger = ? ORDER BY slot DESC LIMIT ?")
      .all(this.ledger, limit)
      .map((row) => anchorRow(row as Record<string, unknown>));
  }

  /** Every transaction ever signed for the slot, oldest first. */
  transactions(slot: number): TransactionRow[] {
    return this.prepare("SELECT * FROM anchor_transaction WHERE ledger = ? AND slot = ? ORDER BY number")
      .all(this.ledger, slot)
      .map((row) => transactionRow(row as Record<string, unknown>));
  }

  /** Opens the slot (again) for a checkpoint. */
  openSlot(slot: number, { size, root }: Checkpoint, nowMs: number): void {
    this.prepare(
      `INSERT INTO anchor (ledger, slot, state, size, root, opened_ms) VALUES (?, ?, 'open', ?, ?, ?)
       ON CONFLICT (ledger, slot) DO UPDATE SET state = 'open', size = excluded.size, root = excluded.root,
         block_number = NULL, block_hash = NULL, reason = NULL, closed_ms = NULL WHERE anchor.state <> 'final'`,
    ).run(this.ledger, slot, size, root, nowMs);
  }

  /** The slot and a transaction for it, in one: no transaction is ever sent that is not here. */
  addTransaction(
    slot: number,
    oldSize: number,
    checkpoint: Checkpoint,
    transaction: SignedTransaction,
    nowMs: number,
  ): void {
    this.database.transaction(() => {
      this.openSlot(slot, checkpoint, nowMs);
      this.prepare(
        `INSERT INTO anchor_transaction (hash, ledger, slot, number, old_size, size, root, fee, raw, signed_ms)
         SELECT ?, ?, ?, count(*), ?, ?, ?, ?, ?, ? FROM anchor_transaction WHERE ledger = ? AND slot = ?`,
      ).run(
        transaction.hash,
        this.ledger,
        slot,
        oldSize,
        checkpoint.size,
        checkpoint.root,
        transaction.fee,
        transaction.raw,
        nowMs,
        this.ledger,
        slot,
      );
    })();
  }

  markSent(hash: string, nowMs: number): void {
    this.prepare("UPDATE anchor_transaction SET sent_ms = ? WHERE hash = ? AND sent_ms IS NULL").run(nowMs, hash);
  }

  /** What the slot holds on the ledger now, and where; no block after a reorganisation took it away. */
  place(slot: number, { size, root }: Checkpoint, block: Block | undefined): void {
    this.prepare(
      `UPDATE anchor SET size = ?, root = ?, block_number = ?, block_hash = ?
       WHERE ledger = ? AND slot = ? AND state = 'open'`,
    ).run(size, root, block?.number ?? null, block?.hash ?? null, this.ledger, slot);
  }

  finish(slot: number, proof: Proof, nowMs: number): void {
    this.prepare(
      `UPDATE anchor SET state = 'final', proof = ?, proof_block_number = ?, proof_block_hash = ?, closed_ms = ?
       WHERE ledger = ? AND slot = ? AND state = 'open'`,
    ).run(proof.anchor, proof.block.number, proof.block.hash, nowMs, this.ledger, slot);
  }

  abandon(slot: number, reason: string, nowMs: number): void {
    this.prepare(
      "UPDATE anchor SET state = 'void', reason = ?, closed_ms = ? WHERE ledger = ? AND slot = ? AND state = 'open'",
    ).run(reason, nowMs, this.ledger, slot);
  }

  private one(sql: string, ...parameters: unknown[]): AnchorRow | undefined {
    const row = this.prepare(sql).get(...parameters) as Record<string, unknown> | undefined;
    return row === undefined ? undefined : anchorRow(row);
  }

  private readonly statements = new Map<string, Statement>();

  private prepare(sql: string): Statement {
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      statement = this.database.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement;
  }
}

function anchorRow(row: Record<string, unknown>): AnchorRow {
  const proofBlock = block(row["proof_block_number"], row["proof_block_hash"]);
  return {
    slot: Number(row["slot"]),
    state: row["state"] as AnchorState,
    size: Number(row["size"]),
    root: blob(row["root"]),
    block: block(row["block_number"], row["block_hash"]),
    proof: proofBlock === undefined ? undefined : { anchor: blob(row["proof"]), block: proofBlock },
    reason: row["reason"] === null ? undefined : String(row["reason"]),
    openedMs: Number(row["opened_ms"]),
    closedMs: row["closed_ms"] === null ? undefined : Number(row["closed_ms"]),
  };
}

function transactionRow(row: Record<string, unknown>): TransactionRow {
  return {
    hash: String(row["hash"]),
    raw: blob(row["raw"]),
    fee: String(row["fee"]),
    oldSize: Number(row["old_size"]),
    size: Number(row["size"]),
    root: blob(row["root"]),
    sent: row["sent_ms"] !== null,
  };
}

function block(number: unknown, hash: unknown): Block | undefined {
  return number === null || hash === null ? undefined : { number: Number(number), hash: String(hash) };
}

/** A plain view: a Buffer compares and prints otherwise than the Uint8Array that went in. */
function blob(value: unknown): Uint8Array {
  const { buffer, byteOffset, byteLength } = value as Buffer;
  return new Uint8Array(buffer, byteOffset, byteLength);
}
