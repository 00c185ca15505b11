import { toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { didKey, fingerprint } from "tallystick/identity/key";
import { relayCrypto } from "./crypto.js";
import { pathsOf, readIdentity } from "./folder.js";
import { openDeviceFacingKey } from "./keys.js";
import { genesisOf, revokeKey, stateRevocation } from "./standing.js";
import { openStore, type StoreOptions } from "./store/open.js";
import type { Decision } from "./store/standing.js";
import { Store, type StoredDevice } from "./store/store.js";

/**
 * What an operator decides about devices, from outside of the relay's process, whether it runs or not: through its
 * database, as tokens are made. The running relay looks at each request, so that a decision counts from the next one on.
 */

/** A device as the operator sees it. */
export interface DeviceStanding {
  readonly kid: string;
  readonly did: string;
  readonly print: string;
  readonly model: string;
  readonly state: StoredDevice["state"];
  /** Position of the newest record that is held. */
  readonly seq: number;
  readonly heldSinceMs?: number;
  readonly revokedFrom?: number;
  readonly forks: readonly { readonly seq: number; readonly held?: string; readonly received: string }[];
  readonly decisions: readonly { readonly what: Decision; readonly atMs: number }[];
}

export interface RevokeOptions {
  /** The first position that does not count. */
  readonly fromSeq: number;
  readonly reason?: string;
}

/** The relay's data, opened for one command. Close it. */
export class Operator {
  readonly #store: Store;
  readonly #dataDir: string;
  readonly #nowMs: () => number;

  private constructor(store: Store, dataDir: string, nowMs: () => number) {
    this.#store = store;
    this.#dataDir = dataDir;
    this.#nowMs = nowMs;
  }

  /** DATA_FOLDER_BLANK, DATA_FOLDER_INCOMPLETE, RELAY_FOREIGN, and the store's codes. */
  static open(dataDir: string, nowMs: () => number = Date.now, store?: StoreOptions): Result<Operator> {
    const identity = readIdentity(dataDir);
    if (!identity.ok) return identity;
    const database = openStore(dataDir, identity.value, store, "beside");
    return database.ok ? ok(new Operator(new Store(database.value), dataDir, nowMs)) : database;
  }

  close(): void {
    this.#store.close();
  }

  /** Every device, in the order of their kids; one at a time. */
  *devices(): IterableIterator<DeviceStanding> {
    let after: Uint8Array = new Uint8Array(0);
    for (;;) {
      const page = this.#store.devicesAfter(after, PAGE);
      for (const device of page) yield this.#describe(device);
      const last = page[page.length - 1];
      if (page.length < PAGE || !last) return;
      after = last.kid;
    }
  }

  /** DEVICE_UNKNOWN. */
  device(kid: Uint8Array): Result<DeviceStanding> {
    const device = this.#find(kid);
    return device.ok ? ok(this.#describe(device.value)) : device;
  }

  /** Holds the key back, or lets the branch that is held go on; durable when it returns. DEVICE_UNKNOWN. */
  decide(kid: Uint8Array, what: "hold" | "continue"): Result<DeviceStanding> {
    const device = this.#find(kid);
    if (!device.ok) return device;
    this.#store.transaction(() => this.#store.standing.decide(device.value.device, what, this.#nowMs()));
    return this.device(kid);
  }

  /** The operator's own statement, by the relay's device-facing key. REVOCATION_FALSE where genesis names an owner. */
  revoke(kid: Uint8Array, { fromSeq, reason }: RevokeOptions): Result<DeviceStanding> {
    const operator = openDeviceFacingKey(pathsOf(this.#dataDir).deviceFacingKey, relayCrypto);
    if (!operator.ok) return operator;
    const timeS = Math.floor(this.#nowMs() / 1000);
    const statement = stateRevocation(operator.value, {
      kid,
      fromSeq,
      timeS,
      ...(reason !== undefined && { reason }),
    });
    return statement.ok ? this.#submit(kid, statement.value, operator.value.publicKey) : statement;
  }

  /** Somebody else's statement: the owner's. */
  revokeBy(kid: Uint8Array, statement: Uint8Array): Result<DeviceStanding> {
    const operator = openDeviceFacingKey(pathsOf(this.#dataDir).deviceFacingKey, relayCrypto);
    return operator.ok ? this.#submit(kid, statement, operator.value.publicKey) : operator;
  }

  #submit(kid: Uint8Array, statement: Uint8Array, operatorKey: Uint8Array): Result<DeviceStanding> {
    const device = this.#find(kid);
    if (!device.ok) return device;
    const options = { store: this.#store, crypto: relayCrypto, operatorKey, nowMs: this.#nowMs };
    const revoked = this.#store.alone(() => revokeKey(options, device.value, statement));
    return revoked.ok ? this.device(kid) : revoked;
  }

  #find(kid: Uint8Array): Result<StoredDevice> {
    const device = this.#store.deviceByKid(kid);
    return device ? ok(device) : fail("DEVICE_UNKNOWN", `expected an enrolled kid, received ${toHex(kid)}`);
  }

  #describe(device: StoredDevice): DeviceStanding {
    const { standing } = this.#store;
    const heldSinceMs = standing.heldSinceMs(device.device);
    const revocation = standing.revocation(device.device);
    return {
      kid: toHex(device.kid),
      did: didKey(device.publicKey),
      print: fingerprint(relayCrypto.sha256, device.publicKey),
      model: genesisOf({ store: this.#store, crypto: relayCrypto }, device).model,
      state: device.state,
      seq: this.#store.head(device.device).seq,
      ...(heldSinceMs !== undefined && { heldSinceMs }),
      ...(revocation && { revokedFrom: revocation.fromSeq }),
      forks: this.#store.forks(device.device).map(({ seq, id }) => {
        const held = this.#store.recordAt(device.device, seq);
        return { seq, ...(held && { held: toHex(held.id) }), received: toHex(id) };
      }),
      decisions: standing.decisions(device.device),
    };
  }
}

const PAGE = 256;
