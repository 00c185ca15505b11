import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { TreeHead } from "tallystick/log/checkpoint";
import { ANVIL_CHAIN_ID } from "./ledger/anvil.js";
import { openDevelopmentLedger } from "./ledger/development.js";
import { type EvmArtifact, EvmLedger } from "./ledger/evm.js";
import { openLedgerKey } from "./ledger/key.js";
import { type AnchorStatus, Outbox } from "./ledger/outbox.js";
import { createOutboxTables, OutboxTables } from "./ledger/outbox-tables.js";
import type { Database } from "./store/database.js";
import type { Ladder } from "./store/ladder.js";

/** The relay's ledger: takes each checkpoint to it, and tells the ladder how far that has come. */

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
  readonly #options: AnchoringOptions;
  #outbox!: Outbox;
  #ledger!: EvmLedger;
  #developmentUrl: string | undefined;
  #end!: () => Promise<void>;

  private constructor(options: AnchoringOptions) {
    this.#options = options;
  }

  /** Every LEDGER_ code: a chain state that was damaged or set back is never replaced by a new one. */
  static async open(options: AnchoringOptions): Promise<Result<Anchoring>> {
    const anchoring = new Anchoring(options);
    const opened = options.ledger.kind === "development" ? await anchoring.#develop() : anchoring.#connect();
    if (!opened.ok) return opened;
    // What became final just before a crash may not have reached the ladder.
    const final = anchoring.#outbox.newestFinal();
    if (final) anchoring.#climb(final);
    anchoring.#outbox.start();
    return ok(anchoring);
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
    this.#ledger = new EvmLedger({
      rpcUrl,
      key: key.value,
      artifact,
      ...(contract !== undefined && { contract }),
      ...(maxFeePerGas !== undefined && { maxFeePerGas }),
    });
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
