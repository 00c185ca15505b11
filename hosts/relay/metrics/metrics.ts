import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { CODES, Code } from "tallystick/codes/codes";
import type { RelayEvent } from "../events.js";

/**
 * What Prometheus is told, each figure by its own name. No label has a device's name or anything else that a stranger can
 * make many of: routes are patterns, codes are from the one table.
 *
 * A figure of another part is a gauge here with `collect`, or its own metric on `registry`: that is all it takes.
 */

/** Seconds; the largest is the time within which a request must have arrived. */
const DURATION_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** Of requests that no route takes. */
export const NO_ROUTE = "none";

export class Metrics {
  readonly registry = new Registry();
  readonly #accepted: Counter;
  readonly #repeated: Counter;
  readonly #refused: Counter<"code">;
  readonly #backdated: Counter;
  readonly #problems: Counter<"code">;
  readonly #requests: Counter<"route" | "method" | "status">;
  readonly #durations: Histogram<"route">;

  constructor() {
    const registers = [this.registry];
    this.#accepted = new Counter({
      name: "tallystick_records_accepted_total",
      help: "Records that became durable here",
      registers,
    });
    this.#repeated = new Counter({
      name: "tallystick_records_repeated_total",
      help: "Records that came again, held already",
      registers,
    });
    this.#refused = new Counter({
      name: "tallystick_records_refused_total",
      help: "Records that were not taken, by code",
      labelNames: ["code"],
      registers,
    });
    this.#backdated = new Counter({
      name: "tallystick_records_backdated_total",
      help: "Records that were taken, dated before their chain's newest beacon",
      registers,
    });
    this.#problems = new Counter({
      name: "tallystick_problems_total",
      help: "Problem documents that were answered, by code",
      labelNames: ["code"],
      registers,
    });
    this.#requests = new Counter({
      name: "tallystick_http_requests_total",
      help: "Requests that were answered, by route, method and status",
      labelNames: ["route", "method", "status"],
      registers,
    });
    this.#durations = new Histogram({
      name: "tallystick_http_request_duration_seconds",
      help: "From a request's headers to the end of its answer",
      labelNames: ["route"],
      buckets: DURATION_BUCKETS_S,
      registers,
    });
    // What an alert looks for is there before it happens: an absent series never becomes true.
    for (const code of ALERTED_CODES) {
      this.#refused.inc({ code }, 0);
      this.#problems.inc({ code }, 0);
    }
  }

  /** The process's own: memory, event loop, garbage collection. Once a process has a relay that is scraped. */
  watchProcess(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  /** A figure that is looked up when it is asked for: a number, or one for each value of a label. */
  gauge(name: string, help: string, read: () => number): void;
  gauge(
    name: string,
    help: string,
    read: () => Iterable<readonly [value: string, figure: number]>,
    label: string,
  ): void;
  gauge(
    name: string,
    help: string,
    read: () => number | Iterable<readonly [value: string, figure: number]>,
    label?: string,
  ): void {
    new Gauge({
      name: `tallystick_${name}`,
      help,
      registers: [this.registry],
      ...(label !== undefined && { labelNames: [label] }),
      collect() {
        const found = read();
        if (typeof found === "number") this.set(found);
        else for (const [value, figure] of found) this.set({ [label!]: value }, figure);
      },
    });
  }

  /** A counter of another part. */
  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name: `tallystick_${name}`, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  /** A request was answered; `route` is its pattern. */
  answered(route: string | undefined, method: string, status: number, elapsedMs: number): void {
    const pattern = route ?? NO_ROUTE;
    const known = METHODS.has(method) ? method : "other";
    this.#requests.inc({ route: pattern, method: known, status });
    this.#durations.observe({ route: pattern }, elapsedMs / 1000);
  }

  problem(code: Code): void {
    this.#problems.inc({ code });
  }

  take(event: RelayEvent): void {
    if (event.event === "refused") this.#refused.inc({ code: event.code });
    if (event.event === "backdated") this.#backdated.inc(event.records);
    if (event.event !== "records") return;
    this.#accepted.inc(event.stored);
    this.#repeated.inc(event.repeated);
  }

  /** The exposition, and its content type. */
  async scrape(): Promise<{ readonly type: string; readonly text: string }> {
    return { type: this.registry.contentType, text: await this.registry.metrics() };
  }
}

/** Codes that rules in alerts.yml name. */
export const ALERTED_CODES = [
  "CHAIN_FORK",
  "GAP_FALSE",
  "SIGNATURE_INVALID",
  "STORE_FAILED",
  "STORE_CORRUPT",
  "RELAY_FAULT",
  "RELAY_BUSY",
] as const satisfies readonly (keyof typeof CODES)[];
