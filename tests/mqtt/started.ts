import assert from "node:assert/strict";
import { pino } from "pino";
import type { MqttOptions } from "../../hosts/relay/mqtt/settings.js";
import type { RelayOptions } from "../../hosts/relay/relay.js";
import { get } from "../fixtures/device.js";
import { StartedRelay } from "../relay/started.js";
import { Mosquitto, type MosquittoOptions } from "./mosquitto.js";

const CONNECT_MAX_MS = 20_000;
const ASK_AGAIN_MS = 10;
/** So short that a test need not wait. */
export const BACK_OFF = { firstMs: 20, maxMs: 100 } as const;

/** A broker and a relay that is connected to it. */
export class StartedBoth {
  private constructor(
    readonly broker: Mosquitto,
    readonly started: StartedRelay,
    /** What the relay's log says, a line each. */
    readonly lines: string[],
  ) {}

  static async start(
    { mqtt, ...options }: Omit<Partial<RelayOptions>, "mqtt"> & { readonly mqtt?: Omit<MqttOptions, "url"> } = {},
    mosquitto: MosquittoOptions = {},
  ): Promise<StartedBoth> {
    const broker = await Mosquitto.start(mosquitto);
    const lines: string[] = [];
    const logger = pino({ level: "debug", base: null }, { write: (line: string) => void lines.push(line) });
    const both = { backOff: BACK_OFF, ...mqtt, url: broker.url };
    const started = await StartedRelay.start({ logger, mqtt: both, ...options });
    const all = new StartedBoth(broker, started, lines);
    await all.connected();
    return all;
  }

  /** Resolves once the relay says that messages come. */
  async connected(): Promise<void> {
    await until("the relay is connected to the broker", () => this.isConnected());
  }

  async isConnected(): Promise<boolean> {
    const answer = await get(`${this.started.url}/readyz`);
    assert.equal(answer.status, 200);
    return JSON.parse(Buffer.from(answer.bytes).toString()).mqtt === "connected";
  }

  async close(): Promise<void> {
    await this.started.close();
    await this.broker.close();
  }
}

/** Resolves once `holds`; fails where that takes too long. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + CONNECT_MAX_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `did not come to pass: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
