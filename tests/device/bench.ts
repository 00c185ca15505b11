import assert from "node:assert/strict";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Device, type DeviceOptions } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { parseRecord, type Record, recordId } from "tallystick/record/record";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import { writeToken } from "tallystick/sync/enrolment";
import { readEnrolment, splitBatch } from "tallystick/sync/messages";
import { writeRelayPins } from "tallystick/sync/relay-pins";
import { readSuccessionRequest } from "tallystick/sync/succession";
import { KEY_DOMAIN } from "../../hosts/board/platform.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import type { Relay } from "../../hosts/relay/relay.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { type End, Simulation } from "../../hosts/simulator/simulation.js";
import { I2CBus } from "../../hosts/simulator/world/bus.js";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import { EFuses } from "../../hosts/simulator/world/efuse.js";
import { seededEntropy } from "../../hosts/simulator/world/entropy.js";
import type { I2CChip } from "../../hosts/simulator/world/i2c.js";
import { MemoryKeys } from "../../hosts/simulator/world/keys.js";
import {
  HttpNetwork,
  type Network,
  type NetworkAnswer,
  type NetworkRequest,
} from "../../hosts/simulator/world/network.js";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import type { Surroundings } from "../../hosts/simulator/world/surroundings.js";
import { VirtualTime } from "../../hosts/simulator/world/time.js";
import { World } from "../../hosts/simulator/world/world.js";
import type { StartedRelay } from "../relay/started.js";

/** 2026-01-01T00:00Z: where virtual time starts. */
export const START_MS = Date.UTC(2026, 0, 1);
const SECTOR_BYTES = 4096;
const SETTLE_MAX_MS = 10 * 60_000;

/** What tests of the device do to a network: hear everything, cut it, and change what comes back. */
export class Tap implements Network {
  /** Where requests go; undefined: there is no route. */
  target: Network | undefined;
  /** May replace the relay's answer. */
  alter: ((request: NetworkRequest, answer: NetworkAnswer) => NetworkAnswer) | undefined;
  /** Called before a request is passed on. */
  onRequest: ((request: NetworkRequest) => void | Promise<void>) | undefined;
  readonly requests: { readonly method: string; readonly path: string; readonly bytes: number }[] = [];
  /** Everything that was ever handed to the transport: id by kid and seq. */
  readonly sent = new Map<string, string>();
  /** Positions that were given two contents. */
  readonly equivocations: string[] = [];

  async request(request: NetworkRequest, signal: AbortSignal): Promise<NetworkAnswer> {
    this.requests.push({ method: request.method, path: request.path, bytes: request.body.length });
    for (const record of recordsOf(request)) this.#remember(record);
    await this.onRequest?.(request);
    const answer = (await this.target?.request(request, signal)) ?? { outcome: "no-route", detail: "the cable is out" };
    return this.alter?.(request, answer) ?? answer;
  }

  #remember(bytes: Uint8Array): void {
    const record = parsed(bytes);
    const place = `${toHex(record.header.kid)} ${record.header.seq}`;
    const id = toHex(recordId(relayCrypto.sha256, bytes));
    const before = this.sent.get(place);
    if (before !== undefined && before !== id) this.equivocations.push(place);
    this.sent.set(place, id);
  }
}

function recordsOf({ method, path, body }: NetworkRequest): readonly Uint8Array[] {
  if (method !== "POST") return [];
  if (path === "/v1/devices") {
    const enrolment = readEnrolment(body);
    assert.ok(enrolment.ok, "a device sends what the protocol knows");
    return [enrolment.value.genesis];
  }
  if (path.endsWith("/succession")) {
    const succession = readSuccessionRequest(body);
    assert.ok(succession.ok, "a device sends what the protocol knows");
    return [succession.value.genesis];
  }
  if (!path.endsWith("/records")) return [];
  const batch = splitBatch(body);
  assert.ok(batch.ok, "a device sends what the protocol knows");
  return batch.value.records;
}

export function parsed(bytes: Uint8Array): Record {
  const record = parseRecord(bytes);
  assert.ok(record.ok, "a device makes what the format knows");
  return record.value;
}

export interface BenchOptions {
  /** Default 1: entropy, air and what torn flash holds follow from it. */
  readonly seed?: number;
  readonly sectors?: number;
  readonly writeUnitBytes?: 1 | 16 | 32;
  /** The board's chip makes its seeds; by default they are in its key store. */
  readonly fused?: boolean;
  readonly device?: Partial<DeviceOptions>;
  /** Between two samples of the sensor; 1,000 by default. */
  readonly everyMs?: number;
  /** In place of lane A with `device`. */
  readonly lane?: Lane;
  /** The air in place of one that swings by seven degrees every seven seconds. */
  readonly surroundings?: Surroundings;
  /** What the bus has in place of the chip itself. */
  readonly chip?: (chip: BME280Chip) => I2CChip;
}

/** A record every two seconds, a look at the relay every five. */
const DEVICE: Omit<DeviceOptions, "sensors"> = { label: "bench", maxAgeMs: 1500, pollMs: 5000 };

/** One whole device on lane A, its world, and a relay that may come and go. Time is virtual, the relay's answers are real. */
export class Bench {
  readonly time = new VirtualTime(START_MS);
  readonly network = new Tap();
  readonly flash: NorFlash;
  readonly cells = new MemoryKeys();
  readonly fuses: EFuses | undefined;
  readonly world: World;
  readonly simulation: Simulation;
  readonly lines: string[] = [];
  readonly ends: End[] = [];
  /** What was reported as committed, in its order: position and id. */
  readonly held: { readonly seq: number; readonly kind: string; readonly id: string; kid: string | undefined }[] = [];
  /** Codes that the device reported, in order. */
  readonly codes: string[] = [];
  #kid: string | undefined;
  #levels = { received: -1, logged: -1, final: -1 };
  #http: HttpNetwork | undefined;

  constructor({
    seed = 1,
    sectors = 16,
    writeUnitBytes = 1,
    fused = false,
    device = {},
    everyMs = 1000,
    lane,
    surroundings = {
      at: (ms) => ({ temperatureC: 20 + (ms % 7000) / 1000, humidityPercent: 40, pressurePa: 101_325 }),
    },
    chip = (plain) => plain,
  }: BenchOptions = {}) {
    const { time } = this;
    this.fuses = fused ? new EFuses({ key: seededEntropy(`fuses ${seed}`).bytes(32), seed }) : undefined;
    this.flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes, seed });
    const bus = new I2CBus();
    bus.attach(chip(new BME280Chip({ surroundings, nowMs: () => time.nowMs(), seed })));
    this.world = new World({
      model: "simulator",
      firmware: { version: "0.1.0-test", sha256: new Uint8Array(32).fill(5) },
      time,
      flash: { chain: this.flash },
      keys: this.cells,
      entropy: seededEntropy(`bench ${seed}`),
      ...(this.fuses && { fuses: this.fuses }),
      i2c: [bus],
      network: this.network,
      latencyMs: 20,
    });
    const application = (platform: Platform) =>
      new Device(platform, {
        ...DEVICE,
        sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs }],
        ...device,
      });
    this.simulation = new Simulation({
      world: this.world,
      lane: lane ?? laneA(application, relayCrypto),
      onPrint: (line) => this.#onPrint(line),
      onEnd: (end) => this.ends.push(end),
    });
  }

  /** The key store as the device sees it. */
  readonly keys = {
    read: (name: string) => this.cells.read(KEY_DOMAIN, name),
    write: (name: string, value: Uint8Array) => this.cells.write(KEY_DOMAIN, name, value),
    delete: (name: string) => this.cells.delete(KEY_DOMAIN, name),
  };

  /** The seed that the key store names, by the specification and not by the device's code. */
  seedOf(name: "seed" | "rotation"): Uint8Array | undefined {
    const reference = this.keys.read(name);
    if (reference === undefined || reference.length === 32) return reference;
    return this.fuses!.hmac(Buffer.concat([Buffer.from("tallystick/seed/v1"), reference.subarray(1)]));
  }

  /** At which operations since the newest plan fuses are burned, from now on. */
  watchBurns(): readonly number[] {
    const at: number[] = [];
    const { power } = this.world;
    const fuses = this.fuses!;
    const burn = fuses.burn.bind(fuses);
    fuses.burn = (bit) => {
      at.push(power.operations);
      burn(bit);
    };
    return at;
  }

  provision(started: Pick<StartedRelay, "pins" | "token">): void {
    writeRelayPins(this.keys, started.pins);
    writeToken(this.keys, new Uint8Array(Buffer.from(started.token())));
  }

  connect(url: string): void {
    this.disconnect();
    this.#http = new HttpNetwork({ origin: url });
    this.network.target = this.#http;
  }

  disconnect(): void {
    this.network.target = undefined;
    this.#http?.close();
    this.#http = undefined;
  }

  async close(): Promise<void> {
    await this.simulation.cutPower();
    this.disconnect();
  }

  powerOn(): Promise<void> {
    return this.simulation.powerOn();
  }

  cutPower(): Promise<void> {
    return this.simulation.cutPower();
  }

  /** Lets virtual time pass. */
  run(ms: number, stop?: () => boolean): Promise<void> {
    return this.time.run(this.time.nowMs() + ms, stop);
  }

  /** Lets time pass until `happened`; fails where it does not within `maxMs` of virtual time. */
  async until(what: string, happened: () => boolean, maxMs = SETTLE_MAX_MS): Promise<void> {
    await this.run(maxMs, happened);
    assert.ok(happened(), `${what} did not happen:\n${this.lines.slice(-12).join("\n")}`);
  }

  /** Until the relay has, in a checkpoint, all that is held now, and has said so. Gives the newest position of it. */
  async climb(started: StartedRelay): Promise<number> {
    const goal = this.headSeq;
    await this.until(`seq ${goal} received`, () => this.level("received") >= goal);
    await started.settled();
    await this.until(`seq ${goal} logged`, () => this.level("logged") >= goal);
    return goal;
  }

  get headSeq(): number {
    return this.held[this.held.length - 1]?.seq ?? -1;
  }

  /** Of the newest acknowledgement; -1 where there is none. */
  level(word: "received" | "logged" | "final"): number {
    return this.#levels[word];
  }

  #onPrint(line: string): void {
    this.lines.push(line);
    this.#kid = /event=(?:key|succession) kid=([0-9a-f]{16})/.exec(line)?.[1] ?? this.#kid;
    const held = /event=held seq=(\d+) kind=(\w+) id=([0-9a-f]{64})/.exec(line);
    if (held) this.held.push({ seq: Number(held[1]), kind: held[2]!, id: held[3]!, kid: this.#kid });
    // The power may have gone between the key and its line: the next start that finds a chain tells whose it is.
    const resumed = /event=resumed .*kid=([0-9a-f]{16})/.exec(line)?.[1];
    if (this.#kid === undefined && resumed !== undefined) {
      this.#kid = resumed;
      for (const one of this.held) one.kid = resumed;
    }
    const levels = /event=acknowledged received=(\S+) logged=(\S+) final=(\S+)/.exec(line);
    const [received, logged, final] = (levels?.slice(1) ?? []).map((text) => (text === "-" ? -1 : Number(text)));
    if (levels) this.#levels = { received: received!, logged: logged!, final: final! };
    const code = /event=problem code=(\w+)/.exec(line)?.[1];
    if (code) this.codes.push(code);
  }

  /** The device's key, by its first eight bytes of hash. */
  get kid(): string {
    assert.ok(this.#kid, "no start has told the device's key");
    return this.#kid;
  }

  /** The relay's records of this device, oldest first; that it has seen no fork of it. */
  recordsAt(relay: Relay): Uint8Array[] {
    const device = relay.store.deviceByKid(fromHex(this.kid)!);
    assert.ok(device, "the relay knows the device");
    assert.deepEqual(relay.store.forks(device.device), [], "the relay has seen a fork");
    return [...relay.store.recordsBetween(device.device, 0, Number.MAX_SAFE_INTEGER)].map(({ bytes }) => bytes);
  }

  /**
   * Climbs; then the relay has every record that was reported committed from line `from` of the reports on, once, at its
   * place, with its bytes; and nothing that was ever handed to the transport contradicts anything else.
   */
  async checkNothingLost(started: StartedRelay, from = 0): Promise<void> {
    await this.until("a chain", () => this.headSeq >= 0);
    const goal = await this.climb(started);
    const ids = this.recordsAt(started.relay).map((bytes, seq) => {
      assert.equal(parsed(bytes).header.seq, seq);
      return toHex(recordId(relayCrypto.sha256, bytes));
    });
    for (const { seq, id, kid } of this.held.slice(from))
      if (kid === this.kid && seq <= goal)
        assert.equal(ids[seq], id, `record ${seq} was committed, the relay holds another`);
    assert.deepEqual(this.network.equivocations, [], "two contents were sent for one position");
    assert.ok(!this.codes.includes("CHAIN_FORK"), "the relay answered with a fork");
    for (const [place, id] of this.network.sent) {
      const [kid, position] = place.split(" ");
      const seq = Number(position);
      if (kid === this.kid && seq < ids.length)
        assert.equal(ids[seq], id, `what was sent at ${seq} is not what the relay holds`);
    }
  }
}
