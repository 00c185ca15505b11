import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { type Database, isDatabaseError, tellable } from "../store/database.js";
import type { Block, Checkpoint, Ledger, LedgerView } from "./ledger.js";
import { type AnchorRow, OutboxTables, type TransactionRow } from "./outbox-tables.js";

/**
 * The outbox: takes the log's newest checkpoint to one ledger and follows it until the ledger will not undo it.
 *
 * Plan, sign, persist, send: a transaction is in the tables before any node sees it, so whatever lands is known. Then
 * nothing is believed but the ledger's state: a checkpoint is final when the *finalized* state holds it and the proof
 * of that verifies as it will offline. Receipts serve only to say where it stands meanwhile. A cut between any two
 * lines costs a repetition, never an anchor: every step starts from the tables and from what the ledger holds.
 *
 * One anchor is in flight; checkpoints that come meanwhile replace one another, the newest goes next.
 */
export interface OutboxOptions {
  /** With the tables of `createOutboxTables`; WAL and synchronous FULL are the relay's to set. */
  readonly database: Database;
  readonly ledger: Ledger;
  /** The log's root at an earlier size; undefined beyond its end. Tells own anchors on the ledger from another's. */
  readonly rootAt: (size: number) => Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** After every change of an anchor that is durable. */
  readonly onChange?: (anchor: AnchorStatus) => void;
  /** What stands in the way now; undefined when nothing does any more. Called only when it changes. */
  readonly onTrouble?: (failure: Failure | undefined) => void;
  /** Before an anchor is recorded as final: what the ledger's own state needs to survive is made safe first. */
  readonly beforeFinal?: (block: Block) => Promise<Result<void>>;
  /** After each durable or outward step. Tests cut here. */
  readonly onStep?: (step: OutboxStep) => void;
  readonly pollMs?: number;
  /** How long a transaction may wait in the pool before it is outbid. */
  readonly stuckMs?: number;
  /** Least time between two anchors. */
  readonly everyMs?: number;
  /** Monotonic milliseconds. */
  readonly uptimeMs?: () => number;
  /** Wall time for the tables, milliseconds since 1970. */
  readonly wallMs?: () => number;
}

export type OutboxStep = "signed" | "persisted" | "sent" | "marked" | "placed" | "proved" | "kept" | "final" | "void";

/** An anchor as the ladder names it: `signed` is before, `included` within `submitted`. */
export interface AnchorStatus extends Checkpoint {
  readonly ledger: string;
  readonly slot: number;
  readonly state: "signed" | "submitted" | "included" | "final" | "void";
  /** Of every transaction signed for it, oldest first. */
  readonly transactions: readonly string[];
  /** Where it is included. */
  readonly block: Block | undefined;
  /** Once final: the CBOR of an anchor (modules/evidence/EVM.md), and the block that a verifier has to trust. */
  readonly proof: { readonly anchor: Uint8Array; readonly block: Block } | undefined;
  readonly reason: string | undefined;
  /** Wall time, milliseconds since 1970. */
  readonly openedMs: number;
  readonly closedMs: number | undefined;
}

export const OUTBOX_POLL_MS = 1_000;
export const OUTBOX_STUCK_MS = 60_000;
export const OUTBOX_BACKOFF_MAX_MS = 30_000;
/** Replacements of one transaction; beyond them it waits at the last price. 24 × 12.5 % is a factor of 16.9. */
export const OUTBOX_MAX_TRANSACTIONS = 25;
/** Views in a row that show the slot used and none of its transactions anywhere, before it is given up. */
export const OUTBOX_LOST_VIEWS = 10;
/** Most rows of one query. */
export const OUTBOX_MAX_LIST = 1_000;

export class Outbox {
  private readonly tables: OutboxTables;
  private readonly uptimeMs: () => number;
  private readonly wallMs: () => number;
  private wanted: Checkpoint | undefined;
  private prepared = false;
  private trouble: Failure | undefined;
  private lostViews = 0;
  private waiting = { hash: "", sinceMs: 0 };
  private lastPlanMs: number | undefined;
  private wake: (() => void) | undefined;
  private closed = false;
  private loop: Promise<void> | undefined;

  constructor(private readonly options: OutboxOptions) {
    this.tables = new OutboxTables(options.database, options.ledger.name);
    this.uptimeMs = options.uptimeMs ?? (() => performance.now());
    this.wallMs = options.wallMs ?? Date.now;
  }

  /** The block that the newest final anchor's proof stands on; 0 before there is one. Needs no ledger to be reached. */
  static newestProvedBlock(database: Database, ledger: string): number {
    return new OutboxTables(database, ledger).newestFinal()?.proof?.block.number ?? 0;
  }

  /** Wants this checkpoint on the ledger. A smaller one than before is ignored. Call it at start with the log's newest. */
  submit(checkpoint: Checkpoint): void {
    if (this.wanted !== undefined && checkpoint.size <= this.wanted.size) return;
    this.wanted = checkpoint;
    this.wake?.();
  }

  /** Works until `close`: polls, sooner when a checkpoint comes, later while there is trouble. */
  start(): void {
    this.loop ??= this.run();
  }

  /** Ends the work; the step under way is cut off, which costs nothing. */
  async close(): Promise<void> {
    this.closed = true;
    this.options.ledger.close();
    this.wake?.();
    await this.loop;
  }

  /** The anchor in flight. */
  current(): AnchorStatus | undefined {
    const row = this.tables.open();
    return row && this.status(row);
  }

  /** The largest checkpoint that is final. */
  newestFinal(): AnchorStatus | undefined {
    const row = this.tables.newestFinal();
    return row && this.status(row);
  }

  /** The first final anchor whose checkpoint covers the log's first `size` entries: entry `i` needs `i + 1`. */
  finalFor(size: number): AnchorStatus | undefined {
    const row = this.tables.firstFinalFrom(size);
    return row && this.status(row);
  }

  /** The newest anchors first, at most OUTBOX_MAX_LIST. */
  anchors(limit: number): AnchorStatus[] {
    return this.tables.list(Math.min(limit, OUTBOX_MAX_LIST)).map((row) => this.status(row));
  }

  /**
   * Goes as far as it can without waiting. `idle`: nothing is in flight and nothing is wanted. A failure changed
   * nothing; the next step starts over from the tables and the ledger.
   */
  async step(): Promise<Result<"idle" | "waiting">> {
    const result = await this.advance().catch(storeFailure);
    const trouble = result.ok ? undefined : result.failure;
    if (trouble?.code !== this.trouble?.code || trouble?.detail !== this.trouble?.detail) {
      this.trouble = trouble;
      this.options.onTrouble?.(trouble);
    }
    // After any failure it may be another node, or another chain, that answers next.
    if (!result.ok) this.prepared = false;
    return result;
  }

  private async run(): Promise<void> {
    const pollMs = this.options.pollMs ?? OUTBOX_POLL_MS;
    let failures = 0;
    while (!this.closed) {
      const result = await this.step();
      failures = result.ok ? 0 : failures + 1;
      const waitMs = Math.min(pollMs * 2 ** Math.min(Math.max(failures - 1, 0), 16), OUTBOX_BACKOFF_MAX_MS);
      // A wanted checkpoint does not shorten the wait of a ledger in trouble.
      await this.pause(Math.max(waitMs, pollMs), failures === 0 && result.ok && result.value === "idle");
    }
  }

  private pause(delayMs: number, wakes: boolean): Promise<void> {
    return new Promise((resolve) => {
      if (this.closed) return resolve();
      const end = () => {
        if (!wakes && !this.closed) return;
        finish();
      };
      const finish = () => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve();
      };
      const timer = setTimeout(finish, delayMs);
      this.wake = end;
    });
  }

  private async advance(): Promise<Result<"idle" | "waiting">> {
    const prepared = await this.prepare();
    if (!prepared.ok) return prepared;
    const seen = await this.options.ledger.view();
    if (!seen.ok) return seen;
    const view = seen.value;
    const believed = await this.believe(view);
    if (!believed.ok) return believed;

    const open = this.tables.open();
    if (open !== undefined) {
      const settled = await this.follow(open, view);
      if (!settled.ok) return settled;
      if (!settled.value) return ok("waiting");
    }
    return this.plan(view);
  }

  private async prepare(): Promise<Result<void>> {
    if (this.prepared) return ok(undefined);
    const identity = await this.options.ledger.prepare();
    if (!identity.ok) return identity;
    const { chain, place } = identity.value;
    const stored = this.tables.identity();
    if (stored === undefined) this.tables.saveIdentity(identity.value);
    else if (stored.chain !== chain || stored.place !== place) {
      return fail("LEDGER_CHANGED", `expected ${stored.chain} ${stored.place}, found ${chain} ${place}`);
    }
    this.prepared = true;
    return ok(undefined);
  }

  /** Holds a view against what was final before and against the log. */
  private async believe(view: LedgerView): Promise<Result<void>> {
    const { finalized, held } = view;
    const before = this.tables.identity()!.finalized;
    if (finalized.number < before.number) {
      return fail("LEDGER_LIES", `block ${before.number} was final, now only ${finalized.number} is: the node lags`);
    }
    if (finalized.number === before.number && before.hash !== "" && finalized.hash !== before.hash) {
      return fail("LEDGER_CHANGED", `the final block ${before.number} was ${before.hash}, now it is ${finalized.hash}`);
    }
    const final = this.tables.newestFinal();
    if (final !== undefined && held.size < final.size) {
      return fail("LEDGER_CHANGED", `the final anchor of size ${final.size} is gone, the ledger holds ${held.size}`);
    }
    if (held.size > 0) {
      const root = await this.options.rootAt(held.size);
      if (root === undefined) {
        return fail("LEDGER_CONFLICT", `the ledger holds size ${held.size}, which this log has not reached`);
      }
      if (!equalBytes(root, held.root)) {
        const detail = `at size ${held.size} the ledger holds ${toHex(held.root)}, this log's root is ${toHex(root)}`;
        return fail("LEDGER_CONFLICT", detail);
      }
    }
    if (finalized.number > before.number) this.tables.saveFinalized(finalized);
    return ok(undefined);
  }

  /** Brings the anchor in flight forward. True once it is settled: final, or given up. */
  private async follow(open: AnchorRow, view: LedgerView): Promise<Result<boolean>> {
    const transactions = this.tables.transactions(open.slot);
    if (view.nextSlot <= open.slot) return this.push(open, transactions, view);
    const landed = [open, ...transactions].find((candidate) => same(candidate, view.held));
    if (landed === undefined) return this.lost(open, transactions);
    this.lostViews = 0;
    return this.settle(open, landed, transactions, view);
  }

  /** The ledger's newest state holds it: says where, and finishes once the finalized state holds it too. */
  private async settle(
    open: AnchorRow,
    landed: Checkpoint,
    transactions: readonly TransactionRow[],
    view: LedgerView,
  ): Promise<Result<boolean>> {
    let block: Block | undefined;
    for (const transaction of transactions) {
      if (!same(transaction, landed)) continue;
      const found = await this.options.ledger.find(transaction.hash);
      if (!found.ok) return found;
      if (found.value.where === "block" && found.value.succeeded) block = found.value.block;
    }
    // Held without a transaction of ours: this store was set back, and its former self had sent it.
    block ??= open.block ?? view.latest;
    if (open.block?.hash !== block.hash || !same(open, landed)) {
      this.tables.place(open.slot, landed, block);
      this.changed(open.slot, "placed");
    }
    const proof = await this.options.ledger.prove(landed);
    if (!proof.ok) {
      // The anchor stands; only its proof is late. Nothing is in trouble that waiting does not mend.
      return proof.failure.code === "LEDGER_PROOF_UNAVAILABLE" ? ok(false) : proof;
    }
    if (proof.value === undefined) return ok(false);
    this.options.onStep?.("proved");
    const kept = await this.options.beforeFinal?.(proof.value.block);
    if (kept !== undefined && !kept.ok) return kept;
    this.options.onStep?.("kept");
    this.tables.finish(open.slot, proof.value, this.wallMs());
    this.changed(open.slot, "final");
    return ok(true);
  }

  /** The slot is used, yet the ledger holds none of what was signed for it. */
  private async lost(open: AnchorRow, transactions: readonly TransactionRow[]): Promise<Result<boolean>> {
    let reverted: string | undefined;
    for (const transaction of transactions) {
      const found = await this.options.ledger.find(transaction.hash);
      if (!found.ok) return found;
      if (found.value.where === "block" && !found.value.succeeded) reverted = transaction.hash;
    }
    // A view and a search are two questions; a reorganisation between them shows neither state.
    if (++this.lostViews < OUTBOX_LOST_VIEWS && reverted === undefined) return ok(false);
    this.lostViews = 0;
    const reason =
      reverted === undefined
        ? "another transaction of this key used the slot"
        : `${reverted} was included and changed nothing`;
    this.tables.abandon(open.slot, reason, this.wallMs());
    this.changed(open.slot, "void");
    return ok(true);
  }

  /** The slot is unused, or unused again: what was signed for it must reach the ledger, or be replaced. */
  private async push(
    open: AnchorRow,
    transactions: readonly TransactionRow[],
    view: LedgerView,
  ): Promise<Result<boolean>> {
    if (open.block !== undefined) {
      this.tables.place(open.slot, open, undefined);
      this.changed(open.slot, "placed");
    }
    // A reorganisation took even earlier slots away: what they did, prepare() does again.
    if (view.nextSlot < open.slot) this.prepared = false;
    const newest = transactions.at(-1);
    // Adopted without a transaction, then taken away by a reorganisation: there is nothing to send.
    if (newest === undefined) {
      this.tables.abandon(open.slot, "a reorganisation took it away and it was not ours to send again", this.wallMs());
      this.changed(open.slot, "void");
      return ok(true);
    }
    if (newest.oldSize !== view.held.size) return this.replace(open, newest, transactions.length, view);
    const found = await this.options.ledger.find(newest.hash);
    if (!found.ok) return found;
    if (found.value.where === "block") return ok(false);
    if (this.waiting.hash !== newest.hash) this.waiting = { hash: newest.hash, sinceMs: this.uptimeMs() };
    const waitedMs = this.uptimeMs() - this.waiting.sinceMs;
    if (newest.sent && waitedMs >= (this.options.stuckMs ?? OUTBOX_STUCK_MS)) {
      const replaced = await this.replace(open, newest, transactions.length, view);
      // Too dear or too often: the last one stays where it is.
      if (replaced.ok || found.value.where === "pool") return replaced;
    }
    if (found.value.where === "pool") {
      this.markSent(open.slot, newest);
      return ok(false);
    }
    const sent = await this.send(open.slot, newest);
    if (!sent.ok) return sent;
    return sent.value === "underpriced" ? this.replace(open, newest, transactions.length, view) : ok(false);
  }

  /** Signs the newest checkpoint for the same slot, outbidding what was signed before. Either may land, not both. */
  private async replace(
    open: AnchorRow,
    newest: TransactionRow,
    count: number,
    view: LedgerView,
  ): Promise<Result<boolean>> {
    const checkpoint = this.wanted !== undefined && this.wanted.size > open.size ? this.wanted : open;
    if (checkpoint.size <= view.held.size) {
      this.tables.abandon(open.slot, `the ledger holds size ${view.held.size} already`, this.wallMs());
      this.changed(open.slot, "void");
      return ok(true);
    }
    if (count >= OUTBOX_MAX_TRANSACTIONS) return ok(false);
    const sent = await this.signAndSend(open.slot, view.held.size, checkpoint, newest.fee);
    return sent.ok ? ok(false) : sent;
  }

  private async plan(seen: LedgerView): Promise<Result<"idle" | "waiting">> {
    const final = this.tables.newestFinal();
    const { held, nextSlot } = seen;
    if (final !== undefined && nextSlot <= final.slot) {
      return fail("LEDGER_LIES", `slot ${final.slot} holds a final anchor, the node says that ${nextSlot} is free`);
    }
    if (held.size > (final?.size ?? 0)) {
      // On the ledger and ours by its root, but not in these tables: they were set back. Follow it until final.
      this.tables.openSlot(nextSlot - 1, held, this.wallMs());
      this.changed(nextSlot - 1, "placed");
      return ok("waiting");
    }
    const wanted = this.wanted;
    if (wanted === undefined || wanted.size <= held.size) return ok("idle");
    const sinceMs = this.lastPlanMs === undefined ? Number.POSITIVE_INFINITY : this.uptimeMs() - this.lastPlanMs;
    if (sinceMs < (this.options.everyMs ?? 0)) return ok("idle");
    // A slot that was given up unused may still have a transaction in some pool.
    const before = this.tables.transactions(nextSlot).at(-1);
    const sent = await this.signAndSend(nextSlot, held.size, wanted, before?.fee);
    if (!sent.ok) return sent;
    this.lastPlanMs = this.uptimeMs();
    return ok("waiting");
  }

  private async signAndSend(
    slot: number,
    oldSize: number,
    checkpoint: Checkpoint,
    outbid?: string,
  ): Promise<Result<unknown>> {
    const { size, root } = checkpoint;
    const plan = { slot, oldSize, checkpoint: { size, root }, ...(outbid === undefined ? {} : { outbid }) };
    const signed = await this.options.ledger.sign(plan);
    if (!signed.ok) return signed;
    this.options.onStep?.("signed");
    this.tables.addTransaction(slot, oldSize, checkpoint, signed.value, this.wallMs());
    this.changed(slot, "persisted");
    return this.send(slot, { ...signed.value, oldSize, size, root, sent: false });
  }

  private async send(slot: number, transaction: TransactionRow) {
    const sent = await this.options.ledger.send(transaction);
    this.options.onStep?.("sent");
    if (sent.ok && (sent.value === "accepted" || sent.value === "known")) this.markSent(slot, transaction);
    return sent;
  }

  private markSent(slot: number, transaction: TransactionRow): void {
    if (transaction.sent) return;
    this.tables.markSent(transaction.hash, this.wallMs());
    this.waiting = { hash: transaction.hash, sinceMs: this.uptimeMs() };
    this.changed(slot, "marked");
  }

  private changed(slot: number, step: OutboxStep): void {
    this.options.onStep?.(step);
    this.options.onChange?.(this.status(this.tables.at(slot)!));
  }

  private status(row: AnchorRow): AnchorStatus {
    const transactions = this.tables.transactions(row.slot);
    const sent = transactions.length === 0 || transactions.some((transaction) => transaction.sent);
    const state =
      row.state !== "open" ? row.state : row.block !== undefined ? "included" : sent ? "submitted" : "signed";
    const { slot, size, root, block, proof, reason, openedMs, closedMs } = row;
    const hashes = transactions.map((transaction) => transaction.hash);
    const ledger = this.options.ledger.name;
    return { ledger, slot, state, size, root, transactions: hashes, block, proof, reason, openedMs, closedMs };
  }
}

/** A full disk or a failing one: nothing was recorded, so nothing is sent; tried again like all else. */
function storeFailure(error: unknown): Result<never> {
  if (isDatabaseError(error)) return fail("STORE_FAILED", `${error.code}: ${tellable(error)}`);
  throw error;
}

function same(a: Checkpoint, b: Checkpoint): boolean {
  return a.size === b.size && equalBytes(a.root, b.root);
}
