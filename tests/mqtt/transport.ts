import { randomBytes } from "node:crypto";
import { connect as connectBroker, type MqttClient } from "mqtt";
import { toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { MESSAGE_ID_BYTES, MQTT_PREFIX, readDown, upOf } from "tallystick/sync/mqtt";
import type { Transport, TransportRequest, TransportResponse } from "tallystick/sync/transport";

export interface MqttTransportOptions {
  readonly port: number;
  /** The device's own kid: of calls whose path names none. */
  readonly kid: string;
  readonly prefix?: string;
  readonly user?: string;
  readonly password?: string;
  /** Without an answer. Default 10,000. */
  readonly timeoutMs?: number;
}

type Request = Pick<TransportRequest, "method" | "path" | "body">;

/** A device's way to its relay over a broker, with a place for all that can happen on it. */
export class MqttTransport implements Transport {
  /** Brings a message to the broker: once, in place of it never, twice, later. */
  onUp: (publish: () => void) => void = (publish) => publish();
  /** The same for an answer on its way to who asked. */
  onDown: (deliver: () => void) => void = (deliver) => deliver();
  readonly client: MqttClient;
  readonly #options: MqttTransportOptions;
  readonly #prefix: string;
  readonly #waiting = new Map<string, (response: TransportResponse) => void>();
  readonly #subscribed = new Map<string, Promise<unknown>>();
  /** Answers that nobody waited for: repeated ones, late ones. */
  unasked = 0;

  constructor(options: MqttTransportOptions) {
    this.#options = options;
    this.#prefix = options.prefix ?? MQTT_PREFIX;
    const { user, password } = options;
    this.client = connectBroker(`mqtt://127.0.0.1:${options.port}`, {
      protocolVersion: 5,
      reconnectPeriod: 20,
      ...(user !== undefined && { username: user }),
      ...(password !== undefined && { password }),
    });
    // It connects again by itself.
    this.client.on("error", () => undefined);
    this.client.on("message", (_topic, payload) => this.onDown(() => this.#hear(new Uint8Array(payload))));
  }

  async request(request: TransportRequest): Promise<Result<TransportResponse>> {
    const response = await this.ask(request);
    if (!response) return fail("TRANSPORT_FAILED", "no answer in time");
    if (response.body.length > request.maxResponseBytes) return fail("TRANSPORT_FAILED", "the answer is too long");
    return ok(response);
  }

  /** Undefined where no answer came in time. */
  async ask(request: Request): Promise<TransportResponse | undefined> {
    const id = new Uint8Array(randomBytes(MESSAGE_ID_BYTES));
    const up = upOf(request, id);
    if (!up) throw new Error(`no call: ${request.method} ${request.path}`);
    return this.exchange(up.kid ?? this.#options.kid, up.bytes, id);
  }

  /** Any bytes on the topic of a kid; the answer is waited for by the message id. */
  exchange(kid: string, bytes: Uint8Array, id: Uint8Array): Promise<TransportResponse | undefined> {
    return new Promise((resolve) => {
      const name = toHex(id);
      const end = (response?: TransportResponse): void => {
        clearTimeout(timer);
        this.#waiting.delete(name);
        resolve(response);
      };
      const timer = setTimeout(end, this.#options.timeoutMs ?? 10_000);
      this.#waiting.set(name, end);
      void this.#subscribe(kid).then(() => this.onUp(() => this.publish(`${this.#prefix}/${kid}/up`, bytes)));
    });
  }

  publish(topic: string, bytes: Uint8Array, retain = false): void {
    this.client.publish(topic, Buffer.from(bytes), { qos: 1, retain });
  }

  /** As a cable that is pulled. */
  cut(): void {
    this.client.stream.destroy();
  }

  async close(): Promise<void> {
    await this.client.endAsync(true);
  }

  #subscribe(kid: string): Promise<unknown> {
    const before = this.#subscribed.get(kid);
    if (before) return before;
    const subscribed = this.client.subscribeAsync(`${this.#prefix}/${kid}/down`, { qos: 1 }).catch(() => {
      this.#subscribed.delete(kid);
    });
    this.#subscribed.set(kid, subscribed);
    return subscribed;
  }

  #hear(bytes: Uint8Array): void {
    const down = readDown(bytes);
    if (!down.ok) throw new Error(`the relay sends what is no answer: ${down.failure.detail}`);
    const { id, status, body, retryAfterS } = down.value;
    const waiting = this.#waiting.get(toHex(id));
    if (!waiting) this.unasked++;
    waiting?.({ status, body, ...(retryAfterS !== undefined && { retryAfterS }) });
  }
}

/** Publishes once, from a connection of its own; resolves also where the broker ends that for it. */
export async function publishOnce(port: number, topic: string, bytes: Uint8Array, retain = false): Promise<void> {
  const client = connectBroker(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 0 });
  client.on("error", () => undefined);
  await new Promise<void>((resolve) => {
    client.on("close", resolve);
    client.publish(topic, Buffer.from(bytes), { qos: 1, retain }, () => resolve());
  });
  await client.endAsync(true);
}
