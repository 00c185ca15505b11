import type { Logger } from "pino";
import { fromHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { RelayEvents } from "./events.js";
import { addGauges } from "./metrics/gauges.js";
import { type MetricsAddress, MetricsListener } from "./metrics/listener.js";
import type { Metrics } from "./metrics/metrics.js";
import type { Database } from "./store/database.js";
import { Figures } from "./store/figures.js";
import type { Ladder } from "./store/ladder.js";
import { OperatorStore } from "./store/operators.js";
import { Watch, type WatchLimits } from "./watch/watch.js";
import { type WebhookSettings, Webhooks } from "./webhooks/webhooks.js";

/** What an operator has of a relay beside its routes: figures to scrape, and word when something needs a person. */

export interface OperationOptions {
  /** Where `/metrics` is; without it there is none. */
  readonly metrics?: MetricsAddress;
  readonly watch?: WatchLimits;
  /** Whom messages go to; without it nobody. */
  readonly webhooks?: WebhookSettings;
}

export interface OperationParts {
  readonly options: OperationOptions;
  readonly metrics: Metrics;
  readonly events: RelayEvents;
  /** The relay's name, for messages. */
  readonly origin: string;
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
  readonly webhooks: Webhooks | undefined;
  readonly #listener: MetricsListener | undefined;

  private constructor(watch: Watch, listener: MetricsListener | undefined, webhooks: Webhooks | undefined) {
    this.watch = watch;
    this.webhooks = webhooks;
    this.#listener = listener;
    this.metricsUrl = listener?.url;
  }

  /** PORT_TAKEN, ADDRESS_UNUSABLE, WEBHOOK_TARGET_REFUSED, TENANT_UNKNOWN. */
  static async open(parts: OperationParts): Promise<Result<Operation>> {
    const { options, metrics, events, database, logger, taking } = parts;
    const onFault = (error: unknown) => logger.error({ err: error }, "operation failed");
    const figures = new Figures(database);
    const watch = new Watch({ ...parts, ...options.watch, figures, logTrouble: taking, onFault });
    events.on((event) => metrics.take(event));
    addGauges(metrics, { ...parts, figures, watch });
    const operators = new OperatorStore(database);
    const tenantOf = (kid: string) => operators.tenantOf(fromHex(kid)!);
    const { webhooks: settings } = options;
    if (settings?.tenant !== undefined && !operators.hasTenant(settings.tenant))
      return fail("TENANT_UNKNOWN", `expected the tenant whose word is sent, received ${settings.tenant}`);
    const webhooks = settings && Webhooks.open({ ...parts, settings, tenantOf });
    if (webhooks && !webhooks.ok) return webhooks;
    if (webhooks) events.on((event) => webhooks.value.take(event));
    let listener: MetricsListener | undefined;
    if (options.metrics) {
      metrics.watchProcess();
      const opened = await MetricsListener.open(metrics, options.metrics, onFault);
      if (!opened.ok) return opened;
      listener = opened.value;
      logger.info({ url: listener.url }, "metrics");
    }
    // Without anyone to tell there is nothing to look for.
    if (listener || webhooks) watch.start();
    return ok(new Operation(watch, listener, webhooks?.value));
  }

  async close(): Promise<void> {
    await this.watch.close();
    await this.webhooks?.close();
    await this.#listener?.close();
  }
}
