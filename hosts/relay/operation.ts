import type { Logger } from "pino";
import { type Failure, ok, type Result } from "tallystick/codes/codes";
import type { RelayEvents } from "./events.js";
import { addGauges } from "./metrics/gauges.js";
import { type MetricsAddress, MetricsListener } from "./metrics/listener.js";
import type { Metrics } from "./metrics/metrics.js";
import type { Database } from "./store/database.js";
import { Figures } from "./store/figures.js";
import type { Ladder } from "./store/ladder.js";
import { Watch, type WatchLimits } from "./watch/watch.js";

/** What an operator has of a relay beside its routes: figures to scrape, and word when something needs a person. */

export interface OperationOptions {
  /** Where `/metrics` is; without it there is none. */
  readonly metrics?: MetricsAddress;
  readonly watch?: WatchLimits;
}

export interface OperationParts {
  readonly options: OperationOptions;
  readonly metrics: Metrics;
  readonly events: RelayEvents;
  readonly database: Database;
  readonly ladder: Ladder;
  readonly logEntries: () => number;
  readonly nowMs: () => number;
  /** Why nothing is taken in now. */
  readonly taking: () => Failure | undefined;
  readonly logTrouble: () => Failure | undefined;
  /** Null where there is no ledger. */
  readonly ledgerTrouble: () => Failure | undefined | null;
  readonly logger: Logger;
}

export class Operation {
  /** Where metrics are scraped, if anywhere. */
  readonly metricsUrl: string | undefined;
  readonly watch: Watch;
  readonly #listener: MetricsListener | undefined;

  private constructor(watch: Watch, listener: MetricsListener | undefined) {
    this.watch = watch;
    this.#listener = listener;
    this.metricsUrl = listener?.url;
  }

  /** PORT_TAKEN, ADDRESS_UNUSABLE. */
  static async open(parts: OperationParts): Promise<Result<Operation>> {
    const { options, metrics, events, database, logger, taking } = parts;
    const onFault = (error: unknown) => logger.error({ err: error }, "operation failed");
    const figures = new Figures(database);
    const watch = new Watch({ ...parts, ...options.watch, figures, logTrouble: taking, onFault });
    events.on((event) => metrics.take(event));
    addGauges(metrics, { ...parts, figures, watch });
    let listener: MetricsListener | undefined;
    if (options.metrics) {
      metrics.watchProcess();
      const opened = await MetricsListener.open(metrics, options.metrics, onFault);
      if (!opened.ok) return opened;
      listener = opened.value;
      logger.info({ url: listener.url }, "metrics");
    }
    // Without anyone to tell there is nothing to look for.
    if (listener) watch.start();
    return ok(new Operation(watch, listener));
  }

  async close(): Promise<void> {
    await this.watch.close();
    await this.#listener?.close();
  }
}
