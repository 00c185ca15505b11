import type { FastifyError } from "fastify";
import type { Logger } from "pino";
import { fromHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { BATCH_MAX_BYTES } from "tallystick/sync/messages";
import { Call, encodeDown, readUp, type Up } from "tallystick/sync/mqtt";
import { type Attempts, keyPlace } from "../attempts.js";
import type { Admitted, CallAnswer, Caller, Calls } from "../calls.js";
import { Refused } from "../problem.js";
import { answerOfError, BODY_TOO_LARGE } from "../server.js";
import type { Broker, BrokerMessage } from "./broker.js";
import { type MqttOptions, type MqttSettings, readMqttSettings } from "./settings.js";

/**
 * MQTT's face of the calls (modules/sync/SPEC.md): takes what comes by a broker, and answers it with HTTP's bytes.
 *
 * **By key in place of address.** A broker hides who sends. What HTTP counts by address is counted here by the kid of the
 * topic, in a table of its own: it is the broker's business that nobody writes another's topic (README.md), and where it
 * does not see to that, who does so harms those keys' owners over MQTT, and nobody over HTTP.
 *
 * **Bounds.** Requests are under way until the broker has taken their answers: so many in all, so few of one key. Beyond
 * that a request is told to come again, and beyond as many of such words as may wait it is not answered at all.
 */

/** Requests under way at once, their answers included. Bounds what bodies and answers can take: 32 MiB. */
export const MQTT_UNDER_WAY_MAX = 256;
/** The same of one topic. A device sends one at a time; a broker may deliver some that it had held. */
export const MQTT_KEY_UNDER_WAY_MAX = 8;
/** Words that it is too much that wait for the broker to take them, about half a kilobyte each. */
export const MQTT_REFUSALS_WAITING_MAX = 256;
/** For answers, when the relay stops. */
const STOP_WAIT_MS = 5000;
/** How often the log is told of messages that were not answered. */
const IGNORED_LOG_MS = 60_000;

export interface MqttListenerOptions {
  readonly mqtt: MqttOptions;
  /** Where `mqtt` names none. */
  readonly clientId: string;
  readonly calls: Calls;
  /** By key, and of this listener alone. */
  readonly attempts: Attempts;
  readonly logger: Logger;
  /** Told of errors that no request should be able to cause. */
  readonly onFault: (error: unknown) => Failure | undefined;
  readonly isStopping: () => boolean;
  /** Milliseconds of a clock that is never set back. */
  readonly steadyMs: () => number;
  readonly random?: () => number;
}

/** Why a message is not answered. */
type Ignored = "topic" | "retained" | "head" | "flood";

export class MqttListener {
  readonly #options: MqttListenerOptions;
  readonly #broker: Broker;
  readonly #prefix: string;
  readonly #log: Logger;
  readonly #underWay = new Set<Promise<void>>();
  readonly #underWayOf = new Map<string, number>();
  #refusalsWaiting = 0;
  readonly #ignored = new Map<Ignored, number>();
  #ignoredToldMs = Number.NEGATIVE_INFINITY;
  #wasAway: string | undefined;

  /** Reads the options; nothing is connected before `start`. MQTT_UNUSABLE, FILE_UNREADABLE. */
  static async open(options: MqttListenerOptions): Promise<Result<MqttListener>> {
    const settings = readMqttSettings(options.mqtt);
    if (!settings.ok) return settings;
    // A relay without a broker does without the library.
    const { Broker } = await import("./broker.js");
    return ok(new MqttListener(options, settings.value, Broker));
  }

  private constructor(options: MqttListenerOptions, settings: MqttSettings, BrokerClass: typeof Broker) {
    this.#options = options;
    this.#prefix = settings.prefix;
    this.#log = options.logger.child({ by: "mqtt" });
    this.#broker = new BrokerClass({
      settings,
      clientId: settings.clientId ?? options.clientId,
      filter: `${settings.prefix}/+/up`,
      random: options.random ?? Math.random,
      onMessage: (message) => {
        const why = this.#take(message);
        if (why) this.#ignore(why);
      },
      onConnected: () => {
        this.#wasAway = undefined;
        this.#log.info("broker connected");
      },
      onAway: (failure, waitMs) => this.#onAway(failure, waitMs),
    });
  }

  start(): void {
    this.#broker.start();
  }

  /** Whether messages come. That they do not is no reason to call the relay unready: over HTTP it is there. */
  get state(): "connected" | "away" {
    return this.#broker.isConnected ? "connected" : "away";
  }

  /** Finishes what is under way, and leaves the broker. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_WAIT_MS);
    });
    await Promise.race([Promise.all(this.#underWay), enough]);
    clearTimeout(timer);
    await this.#broker.close();
    // Answers that the broker had not taken are given up now; what they answer was ended before the database closes.
    await Promise.all(this.#underWay);
    this.#tellIgnored();
  }

  /** The first time, and when the reason is another, aloud. */
  #onAway(failure: Failure, waitMs: number): void {
    const isKnown = this.#wasAway === failure.detail;
    this.#wasAway = failure.detail;
    if (isKnown) this.#log.debug({ ...failure, waitMs }, "broker away");
    else this.#log.warn({ ...failure, waitMs }, "broker away");
  }

  /** Begins to answer a message, or says why it does not. */
  #take({ topic, payload, isRetained }: BrokerMessage): Ignored | undefined {
    const kid = this.#kidOf(topic);
    if (kid === undefined) return "topic";
    if (isRetained) return "retained";
    const up = readUp(payload);
    if (!up.ok) return "head";
    const refusal = this.#refusal(kid);
    if (refusal) return this.#refuse(kid, up.value, refusal);
    this.#underWayOf.set(kid, (this.#underWayOf.get(kid) ?? 0) + 1);
    const done = this.#answer(kid, up.value).finally(() => {
      const left = this.#underWayOf.get(kid)! - 1;
      if (left === 0) this.#underWayOf.delete(kid);
      else this.#underWayOf.set(kid, left);
      this.#underWay.delete(done);
    });
    this.#underWay.add(done);
    return undefined;
  }

  #kidOf(topic: string): string | undefined {
    const kid = topic.slice(this.#prefix.length + 1, -"/up".length);
    return /^[0-9a-f]{16}$/.test(kid) && topic === `${this.#prefix}/${kid}/up` ? kid : undefined;
  }

  #refusal(kid: string): Refused | undefined {
    if (this.#options.isStopping()) return new Refused(fail("RELAY_STOPPING", "it finishes what is under way"));
    if (this.#underWay.size >= MQTT_UNDER_WAY_MAX)
      return new Refused(fail("RELAY_BUSY", `${MQTT_UNDER_WAY_MAX} requests are under way`));
    if ((this.#underWayOf.get(kid) ?? 0) >= MQTT_KEY_UNDER_WAY_MAX)
      return new Refused(fail("RELAY_BUSY", `${MQTT_KEY_UNDER_WAY_MAX} requests of ${kid} are under way`));
    return undefined;
  }

  #refuse(kid: string, up: Up, refusal: Refused): "flood" | undefined {
    if (this.#refusalsWaiting >= MQTT_REFUSALS_WAITING_MAX) return "flood";
    this.#refusalsWaiting++;
    void this.#send(kid, this.#problem(up, refusal)).finally(() => this.#refusalsWaiting--);
    return undefined;
  }

  /** Never rejects. */
  async #answer(kid: string, up: Up): Promise<void> {
    let message: Uint8Array;
    try {
      const { bytes } = await this.#call(kid, up);
      message = encodeDown({ id: up.id, status: 200, body: bytes });
    } catch (error) {
      message = this.#problem(up, error);
    }
    await this.#send(kid, message);
  }

  async #call(kid: string, { call, arguments: given, body }: Up): Promise<CallAnswer> {
    const { calls, attempts } = this.#options;
    const caller: Caller = { place: keyPlace(kid), attempts, log: this.#log };
    const kidBytes = fromHex(kid)!;
    const answer = (admitted: Admitted): Promise<CallAnswer> => {
      if (body.length > BATCH_MAX_BYTES) throw new Refused(BODY_TOO_LARGE);
      return admitted(body.length > 0 ? body : undefined);
    };
    switch (call) {
      case Call.challenge:
        return calls.challenge();
      case Call.relayKeys:
        return calls.relayKeys(given[0]!);
      case Call.page:
        return calls.page(kidBytes)({ from: given[0]!, to: given[1]! });
      case Call.head:
        return await answer(calls.head(kidBytes));
      case Call.records:
        return await answer(calls.records(caller, kidBytes));
      default:
        try {
          return await answer(
            call === Call.enrolment ? calls.enrolment(caller, kidBytes) : calls.succession(caller, kidBytes),
          );
        } catch (error) {
          calls.failed(caller, error);
          throw error;
        }
    }
  }

  #problem({ id }: Up, error: unknown): Uint8Array {
    const { status, body, retryAfterS } = answerOfError(error as FastifyError, this.#options.onFault);
    const document = new Uint8Array(Buffer.from(JSON.stringify(body)));
    return encodeDown({ id, status, body: document, ...(retryAfterS !== undefined && { retryAfterS }) });
  }

  /** An answer that the broker does not take is lost: its device asks again. */
  async #send(kid: string, message: Uint8Array): Promise<void> {
    const isTaken = await this.#broker.send(`${this.#prefix}/${kid}/down`, message);
    if (!isTaken) this.#log.debug({ kid }, "answer lost with the connection");
  }

  #ignore(why: Ignored): void {
    this.#ignored.set(why, (this.#ignored.get(why) ?? 0) + 1);
    if (this.#options.steadyMs() - this.#ignoredToldMs >= IGNORED_LOG_MS) this.#tellIgnored();
  }

  /** Counts, and nothing of what was in them: whoever floods us does not flood the log, nor write in it. */
  #tellIgnored(): void {
    if (this.#ignored.size === 0) return;
    this.#log.warn({ ignored: Object.fromEntries(this.#ignored) }, "messages were not answered");
    this.#ignored.clear();
    this.#ignoredToldMs = this.#options.steadyMs();
  }
}
