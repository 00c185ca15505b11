import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex } from "tallystick/bytes/bytes";
import { explain, type Failure, type Result } from "tallystick/codes/codes";
import type { RelayPinsText } from "tallystick/sync/relay-pins";
import { encodeSuccessionRequest, makeSuccession } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { Operator } from "../../hosts/relay/operate.js";
import { type InitialiseOptions, Relay, type RelayOptions } from "../../hosts/relay/relay.js";
import type { StoreOptions } from "../../hosts/relay/store/open.js";
import { makeToken } from "../../hosts/relay/store/tokens.js";
import { VerifierPool } from "../../hosts/relay/verify/pool.js";
import { FixtureDevice, type FixtureDeviceOptions, post } from "../fixtures/device.js";
import { OVER_POSTGRES, sharedServer } from "./postgres/shared.js";

export const ORIGIN = "relay.example/test";
/** So short that a test need not wait, so long that a checkpoint is not made of every record. */
const BATCH_INTERVAL_MS = 20;
const SETTLE_MAX_MS = 10_000;
/** For tests that are refused more often than a relay lets one address be; attempts.test.ts is about the limit. */
export const MANY_ATTEMPTS = { burst: 1_000_000 } as const;

/** One for all relays of a test process: threads take their time to start. */
export const pool = new VerifierPool({ threads: 2 });

/** A folder of its own for one test; removed by `remove`. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "tallystick-relay-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function must<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Error(explain(result.failure));
}

export function failureOf(result: Result<unknown>): Failure {
  if (!result.ok) return result.failure;
  throw new Error("expected a failure, received success");
}

/** Where a new relay's store is: in PostgreSQL with STORE=postgres, else in its folder. */
export async function newStore(): Promise<{ readonly store?: StoreOptions }> {
  if (!OVER_POSTGRES) return {};
  const server = await sharedServer();
  return { store: { url: server.url(await server.database()) } };
}

/** A relay in this process, on a folder of its own. */
export class StartedRelay {
  relay: Relay;
  readonly folder: string;
  /** Of a relay over PostgreSQL. */
  store: StoreOptions | undefined;
  readonly #options: Partial<RelayOptions>;
  readonly #remove: () => void;

  private constructor(relay: Relay, folder: string, options: Partial<RelayOptions>, remove: () => void) {
    this.relay = relay;
    this.folder = folder;
    this.#options = options;
    this.store = options.store;
    this.#remove = remove;
  }

  static async start(
    options: Partial<RelayOptions> = {},
    initialise: Partial<InitialiseOptions> = {},
  ): Promise<StartedRelay> {
    const { path, remove } = temporaryFolder();
    const store = options.store ? { store: options.store } : await newStore();
    must(await Relay.initialise(path, { origin: ORIGIN, ...store, ...initialise }));
    const all = { ...options, ...store };
    return new StartedRelay(await open(path, all), path, all, remove);
  }

  get url(): string {
    return this.relay.url;
  }

  /** The device-facing key. */
  get key(): Uint8Array {
    return fromHex(this.relay.identity.publicKey)!;
  }

  /** What a device of this relay is provisioned with. */
  get pins(): RelayPinsText {
    const { origin, logKey, recoveryKey, generation = 0 } = this.relay.identity;
    const pins = { origin, deviceKey: this.key, logKey, generation };
    return recoveryKey === undefined ? pins : { ...pins, recoveryKey: fromHex(recoveryKey)! };
  }

  /** For a relay with a clock of its own: made at `nowMs`. */
  token(nowMs = Date.now()): string {
    // Beside PostgreSQL each would take a thread and a connection of its own: several-processes.test.ts is about that way.
    if (this.store) return makeToken(this.relay.store.database, relayCrypto.sha256, nowMs);
    return must(makeEnrolmentToken(this.folder, { nowMs, ...this.where })).token;
  }

  /** An operator's command beside the running relay. */
  operate<T>(act: (operator: Operator) => Result<T>): T {
    const operator = must(Operator.open(this.folder, undefined, this.store));
    try {
      return must(act(operator));
    } finally {
      operator.close();
    }
  }

  /** A new device, enrolled. */
  async device(options: Partial<FixtureDeviceOptions> = {}, nowMs = Date.now()): Promise<FixtureDevice> {
    const device = new FixtureDevice({ crypto: relayCrypto, ...options });
    device.read(await device.enrol(this.url, ORIGIN, this.token(nowMs)), this.key);
    return device;
  }

  /** Ends the device's chain at `head`, and enrols its next key there. */
  async succeed(
    device: FixtureDevice,
    head: { readonly seq: number; readonly id: Uint8Array },
  ): Promise<FixtureDevice> {
    const { kid } = device.identity;
    const next = new FixtureDevice({ crypto: relayCrypto, genesis: { predecessor: { kid, ...head } } });
    const content = { origin: ORIGIN, head, publicKey: next.identity.publicKey };
    const statement = makeSuccession(kid, content, (bytes) => must(device.identity.sign(bytes)));
    const body = encodeSuccessionRequest({ request: next.request(), statement, genesis: next.chain[0]! });
    next.read(await post(`${this.url}/v1/devices/${device.kid}/succession`, body), this.key);
    return next;
  }

  /** Resolves once a checkpoint covers all that the relay holds. */
  async settled(): Promise<void> {
    const deadline = Date.now() + SETTLE_MAX_MS;
    while (this.relay.log.head.size < this.relay.store.countRecords() + 1) {
      if (Date.now() > deadline) throw new Error("the log does not advance");
      await this.relay.log.sequence();
    }
  }

  /** Where its store is, for whoever opens it beside the relay. */
  get where(): { readonly store?: StoreOptions } {
    return this.store ? { store: this.store } : {};
  }

  async restart(options: Partial<RelayOptions> = this.#options): Promise<void> {
    await this.relay.close();
    await this.reopen(options);
  }

  /** Opens the folder again, after this relay was closed and another process may have had it. */
  async reopen(options: Partial<RelayOptions> = this.#options): Promise<void> {
    this.relay = await open(this.folder, { ...this.where, ...options });
  }

  async close(): Promise<void> {
    await this.relay.close();
    this.#remove();
  }
}

async function open(dataDir: string, options: Partial<RelayOptions>): Promise<Relay> {
  return must(await Relay.open({ dataDir, batchIntervalMs: BATCH_INTERVAL_MS, pool, ...options }));
}
