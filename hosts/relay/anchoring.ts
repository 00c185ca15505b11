import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { TreeHead } from "tallystick/log/checkpoint";
import { ANVIL_CHAIN_ID } from "./ledger/anvil.js";
import { openDevelopmentLedger } from "./ledger/development.js";
import { type EvmArtifact, EvmLedger, type EvmLedgerOptions } from "./ledger/evm.js";
import { openLedgerKey } from "./ledger/key.js";
import type { LedgerIdentity } from "./ledger/ledger.js";
import { type AnchorStatus, Outbox } from "./ledger/outbox.js";
import { createOutboxTables, OutboxTables } from "./ledger/outbox-tables.js";
import type { KnownTree } from "./log/sequencer.js";
import type { Database } from "./store/database.js";
import type { Ladder } from "./store/ladder.js";

/** The relay's ledger: takes each checkpoint to it, and tells the ladder how far that has come. */

/** All of what the ledger is asked before the relay starts; as long as witnesses have. */
export const LEDGER_START_MAX_MS = 5_000;

/** Which ledger. The contract comes compiled from outside, since no host imports another. */
export type LedgerOptions =
  /** A chain of the relay's own: shows that the path works, convinces nobody else. */
  | { readonly kind: "development"; readonly artifact: EvmArtifact }
  /** A chain that others run. */
  | {
      readonly kind: "evm";
      readonly artifact: EvmArtifact;
      readonly rpcUrl: string;
      readonly contract?: `0x${string}`;
      readonly maxFeePerGas?: bigint;
    };

export interface AnchoringOptions {
  readonly ledger: LedgerOptions;
  /** Folder of the ledger key and of a development chain's state. */
  readonly folder: string;
  readonly database: Database;
  readonly ladder: Ladder;
  /** The log's root at an earlier size; undefined beyond its end. */
  readonly rootAt: (size: number) => Promise<Uint8Array | undefined>;
  readonly nowMs: () => number;
  readonly logger: Logger;
  /** Default LEDGER_START_MAX_MS. */
  readonly startMaxMs?: number;
}

/** What anyone may know of the ledger. */
export interface LedgerView {
  readonly name: string;
  readonly contract: string;
  /** Known once the chain has answered. */
  readonly chain_id?: number;
  /** Of a development chain only: an operator's own node may have a key in its address. */
  readonly rpc_url?: string;
}

export class Anchoring {
  /** What stands in the way of anchoring now. */
  trouble: Failure | undefined;
  /** The newest tree that the ledger held when it was asked at the start: the log may not go on from less. */
  known: readonly KnownTree[] = [];
  readonly #options: AnchoringOptions;
  #outbox!: Outbox;
  #ledger!: EvmLedger;
  #ledgerOptions!: EvmLedgerOptions;
  #developmentUrl: string | undefined;
  #end!: () => Promise<void>;

  private constructor(options: AnchoringOptions) {
    this.#options = options;
  }

  /**
   * Opens the ledger and asks it for its newest anchor; nothing is sent before `start`. Every LEDGER_ code: a chain state
   * that was damaged or set back is never replaced by a new one.
   */
  static async open(options: AnchoringOptions): Promise<Result<Anchoring>> {
    const anchoring = new Anchoring(options);
    const opened = options.ledger.kind === "development" ? await anchoring.#develop() : anchoring.#connect();
    if (!opened.ok) return opened;
    anchoring.known = await anchoring.#ask();
    return ok(anchoring);
  }

  /** Begins to take checkpoints to the ledger, once the log is open. */
  start(): void {
    // What became final just before a crash may not have reached the ladder.
    const final = this.#outbox.newestFinal();
    if (final) this.#climb(final);
    this.#outbox.start();
  }

  /**
   * What the ledger holds of this log, where it answers in time: a folder that was restored with its lock does not know
   * what it has signed since, and the ledger does. Not the finalized state: what was ever submitted was signed. A ledger
   * that is silent or another one than before is told of and ends nothing, or the relay would be as available as a node
   * that others run; `trouble` has it as soon as the outbox has asked, too.
   */
  async #ask(): Promise<readonly KnownTree[]> {
    const { database, logger, startMaxMs = LEDGER_START_MAX_MS } = this.#options;
    const { name } = this.#ledger;
    // A ledger of its own, which can be cut off without the outbox's.
    const asked = new EvmLedger(this.#ledgerOptions);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      asked.close();
    }, startMaxMs);
    const newest = await asked.newest();
    clearTimeout(timer);
    asked.close();
    const stored = new OutboxTables(database, name).identity();
    const failure = this.#whyUnheard(newest, stored);
    if (failure) {
      const late = isLate ? `not all was answered within ${startMaxMs} ms: ` : "";
      logger.warn({ ...failure, detail: `${late}${failure.detail}` }, "ledger not heard");
      return [];
    }
    if (!newest.ok || !newest.value || newest.value.view.held.size === 0) return [];
    const { held, latest } = newest.value.view;
    const whence = `the ledger ${name} at block ${latest.number} (if it is wrong, start without it)`;
    return [{ size: held.size, root: held.root, whence }];
  }

  #whyUnheard(
    newest: Awaited<ReturnType<EvmLedger["newest"]>>,
    stored: LedgerIdentity | undefined,
  ): Failure | undefined {
    if (!newest.ok) return newest.failure;
    const found = newest.value?.identity;
    if (!stored || !found || (stored.chain === found.chain && stored.place === found.place)) return undefined;
    const detail = `expected ${stored.chain} ${stored.place}, found ${found.chain} ${found.place}`;
    return fail("LEDGER_CHANGED", detail).failure;
  }

  async #develop(): Promise<Result<void>> {
    const { ledger, folder, database, logger } = this.#options;
    const opened = await openDevelopmentLedger({
      ...this.#outboxOptions(),
      dataDir: folder,
      database,
      artifact: ledger.artifact,
      onNotice: (text) => logger.warn({ detail: text }, "ledger notice"),
      onFailed: (failure) => {
        this.trouble = failure;
        logger.error(failure, "ledger failed");
      },
    });
    if (!opened.ok) return opened;
    this.#outbox = opened.value.outbox;
    this.#ledger = opened.value.ledger;
    this.#ledgerOptions = opened.value.ledgerOptions;
    this.#developmentUrl = opened.value.chain.url;
    this.#end = () => opened.value.close();
    return ok(undefined);
  }

  #connect(): Result<void> {
    const { ledger, folder, database } = this.#options;
    if (ledger.kind !== "evm") throw new TypeError(`ledger: expected kind evm, received ${ledger.kind}`);
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      return fail("LEDGER_START_FAILED", `the folder ${folder} cannot be made: ${String(error)}`);
    }
    const key = openLedgerKey(join(folder, "ledger.key"));
    if (!key.ok) return key;
    createOutboxTables(database);
    const { artifact, rpcUrl, contract, maxFeePerGas } = ledger;
    this.#ledgerOptions = {
      rpcUrl,
      key: key.value,
      artifact,
      ...(contract !== undefined && { contract }),
      ...(maxFeePerGas !== undefined && { maxFeePerGas }),
    };
    this.#ledger = new EvmLedger(this.#ledgerOptions);
    this.#outbox = new Outbox({ ...this.#outboxOptions(), database, ledger: this.#ledger });
    this.#end = () => this.#outbox.close();
    return ok(undefined);
  }

  #outboxOptions() {
    const { rootAt, logger, nowMs } = this.#options;
    return {
      rootAt,
      wallMs: nowMs,
      onChange: (anchor: AnchorStatus) => this.#climb(anchor),
      onTrouble: (failure: Failure | undefined) => {
        this.trouble = failure;
        if (failure) logger.warn(failure, "anchoring waits");
        else logger.info("anchoring goes on");
      },
    };
  }

  #climb(anchor: AnchorStatus): void {
    const { ladder, nowMs, logger } = this.#options;
    const { state, size, root, closedMs } = anchor;
    logger.info({ size, state, block: anchor.block?.number }, "anchor");
    if (state === "void") ladder.fell({ size, root });
    else if (state !== "signed") ladder.climbed("submitted", { size, root }, nowMs());
    if (state === "final") ladder.climbed("final", { size, root }, closedMs ?? nowMs());
  }

  /** Wants the checkpoint on the ledger. */
  submit(head: TreeHead): void {
    this.#outbox.submit(head);
  }

  /** The first final anchor whose tree has at least `size` entries. */
  finalFor(size: number): AnchorStatus | undefined {
    return this.#outbox.finalFor(size);
  }

  describe(): LedgerView {
    const { ledger, database } = this.#options;
    const chain = new OutboxTables(database, this.#ledger.name).identity()?.chain;
    const development = ledger.kind === "development";
    const id = development ? ANVIL_CHAIN_ID : Number(/^eip155:([0-9]+):/.exec(chain ?? "")?.[1]);
    return {
      name: development ? "anvil development chain" : "evm",
      contract: this.#ledger.contract,
      ...(Number.isSafeInteger(id) && { chain_id: id }),
      ...(this.#developmentUrl !== undefined && { rpc_url: this.#developmentUrl }),
    };
  }

  close(): Promise<void> {
    return this.#end();
  }
}
