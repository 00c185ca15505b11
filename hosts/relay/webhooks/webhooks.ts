import type { Logger } from "pino";
import type { Counter } from "prom-client";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { RelayEvent } from "../events.js";
import type { Metrics } from "../metrics/metrics.js";
import { findingOf, type Message, makeMessage, REPEAT_AFTER_S, WEBHOOK_EVENTS, type WebhookEvent } from "./message.js";
import { POST_TIMEOUT_MS, post } from "./post.js";
import { signatureHeaders } from "./signature.js";
import { addressOf, parseTarget, type Resolve, systemResolve, type Target, type TargetRules } from "./target.js";

/**
 * Takes word of what needs a person to one receiver. Messages wait in memory, few and for a limited time: what they are
 * about is durable elsewhere (forks, holes and positions in the store), and is found again by whoever looks. What is not
 * delivered is said so in the log and counted, never dropped in silence.
 */

/** Messages that wait or are under way; further ones are dropped. */
export const QUEUE_MAX = 256;
export const CONCURRENCY_MAX = 2;
/** Attempts of one message; they end about 26 minutes after the first. */
export const ATTEMPTS_MAX = 8;
const BACKOFF_FIRST_MS = 1000;
const BACKOFF_FACTOR = 4;
const BACKOFF_MAX_MS = 600_000;
/** What was told lately, by event and device. A further one lets go of the oldest. */
export const TOLD_MAX = 4096;

export interface WebhookSettings {
  readonly url: string;
  /** What messages are signed with. */
  readonly secret: Uint8Array;
  /** Default all. */
  readonly events?: readonly WebhookEvent[];
  readonly repeatAfterS?: number;
  /** Only what is about this tenant's devices; default all, and what is about the relay. */
  readonly tenant?: string;
  /** Ranges that may be reached although they are not public. Default none. */
  readonly allowAddresses?: readonly string[];
  /** Default false: https only. */
  readonly allowInsecure?: boolean;
  /** A name's addresses; default the system's. */
  readonly resolve?: Resolve;
  /** Certificates to believe besides the system's. */
  readonly ca?: string;
  /** Milliseconds from a failed attempt, counted from 1, to the next. */
  readonly backoffMs?: (attempt: number) => number;
  readonly timeoutMs?: number;
}

export interface WebhooksOptions {
  readonly settings: WebhookSettings;
  readonly origin: string;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly metrics: Pick<Metrics, "counter" | "gauge">;
  readonly logger: Logger;
  /** Whose the device of a kid, in hexadecimal digits, is. */
  readonly tenantOf: (kid: string) => string | undefined;
}

interface Waiting {
  readonly message: Message;
  attempts: number;
  /** Until the next attempt. */
  timer: NodeJS.Timeout | undefined;
}

export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #target: Target;
  readonly #rules: TargetRules;
  /** In the order in which their attempts are due. */
  readonly #due: Waiting[] = [];
  /** Every message that is not settled. */
  readonly #unsettled = new Set<Waiting>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #told = new Map<string, { atMs: number; repeated: number }>();
  readonly #stop = new AbortController();
  readonly #sent: Counter;
  readonly #failed: Counter;
  readonly #dropped: Counter<"why">;

  private constructor(options: WebhooksOptions, target: Target, rules: TargetRules) {
    this.#options = options;
    this.#target = target;
    this.#rules = rules;
    const { metrics } = options;
    this.#sent = metrics.counter("webhooks_sent_total", "Messages that the receiver took", []);
    this.#failed = metrics.counter("webhooks_failed_total", "Attempts that failed", []);
    this.#dropped = metrics.counter("webhooks_dropped_total", "Messages that were given up, by why", ["why"]);
    for (const why of ["full", "attempts", "stopped"]) this.#dropped.inc({ why }, 0);
    metrics.gauge("webhooks_waiting", "Messages that wait or are under way", () => this.#unsettled.size);
  }

  /** WEBHOOK_TARGET_REFUSED. */
  static open(options: WebhooksOptions): Result<Webhooks> {
    const { url, allowAddresses = [], allowInsecure = false } = options.settings;
    const rules: TargetRules = { allowAddresses, allowInsecure };
    const target = parseTarget(url, rules);
    return target.ok ? ok(new Webhooks(options, target.value, rules)) : target;
  }

  /** Sends word of the event where it is one that is told, and was not told just now. */
  take(event: RelayEvent): void {
    const { settings, origin, nowMs } = this.#options;
    const finding = findingOf(event);
    if (!finding || !(settings.events ?? WEBHOOK_EVENTS).includes(finding.event) || this.#stop.signal.aborted) return;
    if (!this.#isTold(finding.kid)) return;
    const repeated = this.#repeated(`${finding.event} ${finding.kid}`, nowMs());
    if (repeated === undefined) return;
    const details = repeated === 0 ? finding.details : { ...finding.details, repeated };
    this.#enqueue(makeMessage({ ...finding, details }, origin, nowMs()));
  }

  #isTold(kid: string | null): boolean {
    const { settings, tenantOf } = this.#options;
    return settings.tenant === undefined || (kid !== null && tenantOf(kid) === settings.tenant);
  }

  /** How often it came since it was told; undefined where that was just now. */
  #repeated(what: string, nowMs: number): number | undefined {
    const told = this.#told.get(what);
    const repeatAfterMs = (this.#options.settings.repeatAfterS ?? REPEAT_AFTER_S) * 1000;
    if (told && nowMs - told.atMs < repeatAfterMs) {
      told.repeated++;
      return undefined;
    }
    this.#told.delete(what);
    if (this.#told.size >= TOLD_MAX) this.#told.delete(this.#told.keys().next().value!);
    this.#told.set(what, { atMs: nowMs, repeated: 0 });
    return told?.repeated ?? 0;
  }

  #enqueue(message: Message): void {
    if (this.#unsettled.size >= QUEUE_MAX) {
      this.#drop(message, "full", undefined);
      return;
    }
    const waiting: Waiting = { message, attempts: 0, timer: undefined };
    this.#unsettled.add(waiting);
    this.#due.push(waiting);
    this.#advance();
  }

  #advance(): void {
    while (this.#underWay.size < CONCURRENCY_MAX && !this.#stop.signal.aborted) {
      const waiting = this.#due.shift();
      if (!waiting) return;
      const attempt = this.#attempt(waiting).finally(() => {
        this.#underWay.delete(attempt);
        this.#advance();
      });
      this.#underWay.add(attempt);
    }
  }

  async #attempt(waiting: Waiting): Promise<void> {
    const { message } = waiting;
    const { settings, logger } = this.#options;
    waiting.attempts++;
    const result = await this.#send(message);
    if (result.ok) {
      this.#sent.inc();
      this.#unsettled.delete(waiting);
      logger.info({ id: message.id, of: message.event, kid: message.kid }, "webhook sent");
      return;
    }
    // What the stop ended is told there.
    if (this.#stop.signal.aborted) return;
    this.#failed.inc();
    logger.warn({ id: message.id, of: message.event, attempt: waiting.attempts, ...result.failure }, "webhook failed");
    if (waiting.attempts >= ATTEMPTS_MAX) {
      this.#unsettled.delete(waiting);
      this.#drop(message, "attempts", result.failure);
      return;
    }
    waiting.timer = setTimeout(
      () => {
        this.#due.push(waiting);
        this.#advance();
      },
      (settings.backoffMs ?? backoffMs)(waiting.attempts),
    );
    waiting.timer.unref();
  }

  /** Looks anew where the host is, and connects there. */
  async #send(message: Message): Promise<Result<number>> {
    const { settings, nowMs } = this.#options;
    const address = await this.#inTime(
      addressOf(this.#target, this.#rules, settings.resolve ?? systemResolve),
      settings.timeoutMs ?? POST_TIMEOUT_MS,
    );
    if (!address.ok) return address;
    const body = JSON.stringify(message);
    return post({
      target: this.#target,
      address: address.value,
      headers: signatureHeaders(settings.secret, message.id, Math.floor(nowMs() / 1000), body),
      body,
      signal: this.#stop.signal,
      ...(settings.timeoutMs !== undefined && { timeoutMs: settings.timeoutMs }),
      ...(settings.ca !== undefined && { ca: settings.ca }),
    });
  }

  /** What `looked` comes to, or a failure once the time is up or the relay stops: the system's resolver has no end of its own. */
  #inTime(looked: Promise<Result<string>>, timeoutMs: number): Promise<Result<string>> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      const end = (found: Result<string>): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", late);
        resolve(found);
      };
      const late = (): void => end(fail("WEBHOOK_FAILED", `no address within ${timeoutMs} ms`));
      const timer = setTimeout(late, timeoutMs);
      signal.addEventListener("abort", late);
      void looked.then(end);
    });
  }

  #drop({ id, event, kid }: Message, why: "full" | "attempts" | "stopped", failure: Failure | undefined): void {
    this.#dropped.inc({ why });
    this.#options.logger.error({ id, of: event, kid, why, ...failure }, "webhook dropped");
  }

  /** Ends what is under way. What is not delivered by now is told, and not sent any more. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#underWay);
    for (const waiting of this.#unsettled) {
      clearTimeout(waiting.timer);
      this.#drop(waiting.message, "stopped", undefined);
    }
    this.#unsettled.clear();
    this.#due.length = 0;
  }
}

function backoffMs(attempt: number): number {
  return Math.min(BACKOFF_FIRST_MS * BACKOFF_FACTOR ** (attempt - 1), BACKOFF_MAX_MS);
}
