import { connect as connectPlain, isIP, type Socket } from "node:net";
import { connect as connectSecure } from "node:tls";
import { MqttClient } from "mqtt";
import { type Failure, fail } from "tallystick/codes/codes";
import { PacketMeter } from "./packets.js";
import type { BackOff, MqttSettings } from "./settings.js";

/**
 * One connection to a broker after another. Each begins blank: no session is kept on either side, so that a broker holds
 * nothing for a relay that is away, and nothing old is sent anew by us. Whatever was under way with the former connection
 * its device asks for again.
 *
 * A message is acknowledged to the broker when it is in our hands, and not when it is answered: the device relies on the
 * answer alone, and a request that takes its time holds up nobody else's.
 */

/** Waits after a connection that was lost or refused: doubling, each by a factor from 0.75 to 1.25. */
export const RECONNECT_FIRST_MS = 1000;
export const RECONNECT_MAX_MS = 60_000;
/** A connection that held for so long ends the doubling. */
const STEADY_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
const KEEPALIVE_S = 30;
/** Longer packets the broker is told to keep; one that comes ends the connection. Bodies that are a little too long are told so. */
export const PACKET_MAX_BYTES = 131_072;
/** MQTT 5 §3.3: type and remaining length, the topic's length, packet identifier, properties' length. */
const PUBLISH_OVERHEAD_BYTES = 1 + 4 + 2 + 2 + 1;
/** Messages that the broker may send before we have acknowledged the first. */
const RECEIVE_MAX = 256;
/** Answers on their way that the broker has not acknowledged; fewer where it says so. */
const SEND_MAX = 256;
/** Within which it has to. */
const SEND_TIMEOUT_MS = 30_000;
/** For a farewell when the relay stops. */
const FAREWELL_MS = 2000;
const DETAIL_MAX_CHARACTERS = 200;

export interface BrokerOptions {
  readonly settings: MqttSettings;
  readonly clientId: string;
  /** What is subscribed to. */
  readonly filter: string;
  readonly onMessage: (message: BrokerMessage) => void;
  readonly onConnected: () => void;
  /** The connection is gone or was refused: BROKER_AWAY. It is tried again after `waitMs`. */
  readonly onAway: (failure: Failure, waitMs: number) => void;
  /** From 0 to below 1. */
  readonly random: () => number;
}

export interface BrokerMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** The broker had kept it from before our subscription. */
  readonly isRetained: boolean;
}

/** An answer that waits for its turn. */
interface Waiting {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly resolve: (isTaken: boolean) => void;
  /** Ends the connection, once it is under way. */
  timer?: NodeJS.Timeout;
}

export class Broker {
  readonly #options: BrokerOptions;
  readonly #backOff: BackOff;
  #connection: Connection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waitMs: number;
  #closed = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#backOff = options.settings.backOff ?? { firstMs: RECONNECT_FIRST_MS, maxMs: RECONNECT_MAX_MS };
    this.#waitMs = this.#backOff.firstMs;
  }

  get isConnected(): boolean {
    return this.#connection?.isReady === true;
  }

  /** Connects, and goes on to. */
  start(): void {
    const begunMs = performance.now();
    this.#connection = new Connection(this.#options, (failure) => {
      this.#connection = undefined;
      if (this.#closed) return;
      if (performance.now() - begunMs > STEADY_MS) this.#waitMs = this.#backOff.firstMs;
      const waitMs = Math.round(this.#waitMs * (0.75 + this.#options.random() / 2));
      this.#waitMs = Math.min(this.#backOff.maxMs, this.#waitMs * 2);
      this.#timer = setTimeout(() => this.start(), waitMs);
      this.#options.onAway(failure, waitMs);
    });
  }

  /**
   * Resolves with true once the broker has it, with false when it is known that this connection will not bring it: it ends, or
   * the broker takes no packet of that length.
   */
  send(topic: string, payload: Uint8Array): Promise<boolean> {
    return this.#connection?.send(topic, payload) ?? Promise.resolve(false);
  }

  /** Says farewell, and lets go of the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#connection?.close();
  }
}

class Connection {
  isReady = false;
  readonly #client: MqttClient;
  readonly #onLost: (failure: Failure) => void;
  readonly #waiting: Waiting[] = [];
  readonly #underWay = new Set<Waiting>();
  #sendMax = SEND_MAX;
  /** Bytes of a packet that the broker takes; what is longer would make it end the connection, for all devices. */
  #packetMax = Number.POSITIVE_INFINITY;
  #isLost = false;

  constructor(
    { settings, clientId, filter, onMessage, onConnected }: BrokerOptions,
    onLost: (failure: Failure) => void,
  ) {
    this.#onLost = onLost;
    this.#client = new MqttClient(() => this.#open(settings), {
      protocolId: "MQTT",
      protocolVersion: 5,
      clean: true,
      clientId,
      ...(settings.user !== undefined && { username: settings.user }),
      ...(settings.password && { password: settings.password }),
      keepalive: KEEPALIVE_S,
      timerVariant: "native",
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectPeriod: 0,
      resubscribe: false,
      properties: { maximumPacketSize: PACKET_MAX_BYTES, receiveMaximum: RECEIVE_MAX },
    });
    const client = this.#client;
    client.on("error", (error) => this.#lose(error.message));
    client.on("close", () => this.#lose("the connection was closed"));
    client.on("message", (topic, payload, { retain }) => {
      if (this.#isLost) return;
      // A plain view: a Buffer's `slice` shares memory, which the modules do not expect.
      const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
      onMessage({ topic, payload: bytes, isRetained: retain });
    });
    client.on("connect", ({ properties }) => {
      this.#sendMax = Math.min(SEND_MAX, properties?.receiveMaximum || SEND_MAX);
      this.#packetMax = properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY;
      // What was retained is not even to be sent; nor is what we publish ourselves.
      client.subscribe(filter, { qos: 1, nl: true, rh: 2 }, (error, granted) => {
        if (error || granted?.[0]?.qos !== 1) return this.#lose(`${filter} is not granted: ${error?.message ?? "no"}`);
        if (this.#isLost) return;
        this.isReady = true;
        onConnected();
      });
    });
  }

  send(topic: string, payload: Uint8Array): Promise<boolean> {
    const packet = PUBLISH_OVERHEAD_BYTES + Buffer.byteLength(topic) + payload.length;
    if (this.#isLost || packet > this.#packetMax) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiting.push({ topic, payload, resolve });
      this.#sendNext();
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#lose("closed");
        resolve();
      };
      const timer = setTimeout(end, FAREWELL_MS);
      this.#client.end(false, end);
    });
  }

  /** As many as the broker takes at once; the others wait. Whoever sends bounds them. */
  #sendNext(): void {
    while (this.#underWay.size < this.#sendMax && this.#waiting.length > 0) {
      const one = this.#waiting.shift()!;
      this.#underWay.add(one);
      one.timer = setTimeout(() => this.#lose("the broker acknowledges nothing"), SEND_TIMEOUT_MS);
      const { buffer, byteOffset, byteLength } = one.payload;
      const bytes = Buffer.from(buffer, byteOffset, byteLength);
      this.#client.publish(one.topic, bytes, { qos: 1, retain: false }, (error) => {
        if (!this.#underWay.delete(one)) return;
        settle(one, !error);
        // Not from within: a client that is leaving answers at once, each from within the one before.
        queueMicrotask(() => this.#sendNext());
      });
    }
  }

  #open({ host, port, isSecure, ca }: MqttSettings): Socket {
    // A name to compare with the certificate's: an address is none, but may stand in it as one.
    const name = isIP(host) === 0 ? { servername: host } : {};
    const socket = isSecure ? connectSecure({ host, port, ...name, ...(ca && { ca }) }) : connectPlain({ host, port });
    const meter = new PacketMeter(PACKET_MAX_BYTES);
    socket.on("data", (chunk: Buffer) => {
      if (!this.#isLost && !meter.takes(chunk))
        this.#lose(`the broker sent more than ${PACKET_MAX_BYTES} bytes at once`);
    });
    socket.setNoDelay(true);
    return socket;
  }

  /** Once, whichever way it ends. */
  #lose(reason: string): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.isReady = false;
    this.#client.end(true);
    // The client leaves a socket alone that it has not connected yet.
    this.#client.stream?.destroy();
    for (const one of [...this.#underWay, ...this.#waiting.splice(0)]) settle(one, false);
    this.#underWay.clear();
    this.#onLost(fail("BROKER_AWAY", reason.slice(0, DETAIL_MAX_CHARACTERS)).failure);
  }
}

function settle({ timer, resolve }: Waiting, isTaken: boolean): void {
  clearTimeout(timer);
  resolve(isTaken);
}
