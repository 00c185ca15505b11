import type { Result } from "tallystick/codes/codes";

/** What is submitted: a log's size and its 32-byte root. */
export interface Checkpoint {
  readonly size: number;
  readonly root: Uint8Array;
}

/** A block as one node names it at one moment. `hash` is lower-case hexadecimal as the ledger writes it. */
export interface Block {
  readonly number: number;
  readonly hash: string;
}

/** What tells this chain, and this place on it, from every other. Compared with what the outbox has stored. */
export interface LedgerIdentity {
  /** For instance `eip155:31337:0x<genesis hash>`. */
  readonly chain: string;
  /** Where anchors stand: a contract's address; empty where a ledger has no places. */
  readonly place: string;
}

/** The ledger at one moment, all read at one block. */
export interface LedgerView {
  readonly latest: Block;
  /** The newest block that will not be undone. */
  readonly finalized: Block;
  /** The newest anchor at `latest`; size 0 where there is none. */
  readonly held: Checkpoint;
  /**
   * The next slot at `latest`. A slot is what only one transaction can ever use: an account's nonce, or the output that
   * a Bitcoin-family wallet keeps for its next anchor, numbered along that chain of outputs.
   */
  readonly nextSlot: number;
}

/** What to sign: a compare-and-swap from `oldSize` to the checkpoint, in this slot. */
export interface Plan {
  readonly slot: number;
  readonly oldSize: number;
  readonly checkpoint: Checkpoint;
  /** Fee of the transaction that this one replaces in its slot; the new one must outbid it. */
  readonly outbid?: string;
}

export interface SignedTransaction {
  readonly hash: string;
  readonly raw: Uint8Array;
  /** What `Plan.outbid` takes; only the ledger that wrote it reads it. */
  readonly fee: string;
}

/**
 * What a node said to a transaction: `accepted`, `known` (it has it), `spent` (the slot is used), `underpriced` (it does
 * not outbid what is in the slot). Anything else is a failure.
 */
export type Sent = "accepted" | "known" | "spent" | "underpriced";

/** Where a transaction is: in a block that is on the chain now, waiting in the node's pool, or nowhere. */
export type Found =
  | { readonly where: "block"; readonly block: Block; readonly succeeded: boolean }
  | { readonly where: "pool" }
  | { readonly where: "nowhere" };

/** A checkpoint that is final, with what an offline verifier needs: the CBOR of an anchor as modules/evidence reads it. */
export interface Proof {
  readonly anchor: Uint8Array;
  /** The block that a verifier has to trust. */
  readonly block: Block;
}

/**
 * A ledger as the outbox sees it. No call keeps state that matters across a crash: whatever must survive is in the
 * outbox's tables. Every call ends within a bounded time; a node's trouble is a typed failure, never an exception:
 * LEDGER_UNREACHABLE (try again), LEDGER_LIES (believe nothing of it), LEDGER_REJECTED, LEDGER_CHANGED.
 */
export interface Ledger {
  /** For messages and for the outbox's tables: one name, one ledger. */
  readonly name: string;
  /** Makes the ledger usable (idempotent) and tells which one it is. */
  prepare(): Promise<Result<LedgerIdentity>>;
  view(): Promise<Result<LedgerView>>;
  /** Signs; sends nothing. */
  sign(plan: Plan): Promise<Result<SignedTransaction>>;
  send(transaction: SignedTransaction): Promise<Result<Sent>>;
  find(hash: string): Promise<Result<Found>>;
  /**
   * The proof that the finalized state holds exactly this checkpoint, checked as an offline verifier would.
   * `undefined` while the finalized state holds an older one. LEDGER_PROOF_UNAVAILABLE: ask again later.
   */
  prove(checkpoint: Checkpoint): Promise<Result<Proof | undefined>>;
  /** Ends what is under way; later calls fail. */
  close(): void;
}
