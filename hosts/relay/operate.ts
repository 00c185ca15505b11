import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Identity } from "tallystick/identity/identity";
import { didKey, fingerprint } from "tallystick/identity/key";
import { relayCrypto } from "./crypto.js";
import { pathsOf, readIdentity } from "./folder.js";
import { openDeviceFacingKey } from "./keys.js";
import { type Actor, COMMAND_ACTOR } from "./operators/roles.js";
import { genesisOf, type InForce, planRevocation, revokedAt, revokeKey, stateRevocation } from "./standing.js";
import { openStore, type StoreOptions } from "./store/open.js";
import { type Change, OperatorStore } from "./store/operators.js";
import type { Decision } from "./store/standing.js";
import { Store, type StoredDevice } from "./store/store.js";

/**
 * What an operator decides about devices: by a command beside the relay's process, whether it runs or not, through its
 * database; or by a route of the operator API (routes/operator/). The running relay looks at each request, so that a decision
 * counts from the next one on. An actor of one tenant finds no device of another's: to him they are unknown.
 */

/** A device as the operator sees it. */
export interface DeviceStanding {
  readonly kid: string;
  readonly did: string;
  readonly print: string;
  readonly tenant: string;
  readonly model: string;
  readonly state: StoredDevice["state"];
  /** Position of the newest record that is held. */
  readonly seq: number;
  readonly enrolledAtMs: number;
  /** When the newest record came. */
  readonly heardAtMs: number;
  /** How often it has said that it will be heard, whatever happens. */
  readonly markIntervalS: number;
  /** Positions that gap records name. */
  readonly missing: number;
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

/** What a revocation would come to. */
export interface RevocationPlan {
  readonly kid: string;
  /** The first position that would not count, or that does not, where one is in force that reaches as far back. */
  readonly fromSeq: number;
  /** Position of the newest record that is held. */
  readonly seq: number;
  /** One is in force that reaches as far back: nothing would change. */
  readonly before: boolean;
}

export interface OperatorParts {
  readonly store: Store;
  /** Opens the relay's device-facing key, by which its operator speaks. */
  readonly openKey: () => Result<Identity>;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** On whose word. What he may do is for the caller to see to; whose devices he finds is seen to here. */
  readonly actor: Actor;
}

/** Decides about the devices that its actor may know of. */
export class Operator {
  readonly #store: Store;
  readonly #audit: OperatorStore;
  readonly #parts: OperatorParts;
  readonly #nowMs: () => number;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#audit = new OperatorStore(parts.store.database);
    this.#nowMs = parts.nowMs;
  }

  /** Of a command: close it. DATA_FOLDER_BLANK, DATA_FOLDER_INCOMPLETE, RELAY_FOREIGN, and the store's codes. */
  static open(dataDir: string, nowMs: () => number = Date.now, store?: StoreOptions): Result<Operator> {
    const identity = readIdentity(dataDir);
    if (!identity.ok) return identity;
    const database = openStore(dataDir, identity.value, store, "beside");
    if (!database.ok) return database;
    const openKey = () => openDeviceFacingKey(pathsOf(dataDir).deviceFacingKey, relayCrypto);
    return ok(new Operator({ store: new Store(database.value), openKey, nowMs, actor: COMMAND_ACTOR }));
  }

  close(): void {
    this.#store.close();
  }

  /** Every device, or those of one tenant, in the order of their kids; one at a time. */
  *devices(tenant?: string): IterableIterator<DeviceStanding> {
    let after: Uint8Array = new Uint8Array(0);
    for (;;) {
      const page = this.page(after, PAGE, tenant);
      yield* page;
      const last = page[page.length - 1];
      if (page.length < PAGE || !last) return;
      after = fromHex(last.kid)!;
    }
  }

  /** At most `limit` devices in the order of their kids, from the one after `after` on; where `tenant` is given, of its own. */
  page(after: Uint8Array, limit: number, tenant?: string): DeviceStanding[] {
    const { actor } = this.#parts;
    return this.#store.devicesAfter(after, limit, actor.tenant ?? tenant).map((device) => this.#describe(device));
  }

  /** DEVICE_UNKNOWN. */
  device(kid: Uint8Array): Result<DeviceStanding> {
    const device = this.#find(kid);
    return device.ok ? ok(this.#describe(device.value)) : device;
  }

  /**
   * Holds the key back, or lets the branch that is held go on; durable when it returns. DEVICE_UNKNOWN; KEY_REVOKED where
   * nothing of the key would be taken all the same.
   */
  decide(kid: Uint8Array, what: "hold" | "continue"): Result<DeviceStanding> {
    const device = this.#find(kid);
    if (!device.ok) return device;
    const next = this.#store.head(device.value.device).seq + 1;
    const revoked = what === "continue" ? revokedAt(this.#store, device.value.device, next) : undefined;
    if (revoked) return fail(revoked.code, `to continue would change nothing: ${revoked.detail}`);
    this.#store.transaction(() => {
      this.#store.standing.decide(device.value.device, what, this.#nowMs());
      this.#note(device.value, what, {});
    });
    return this.device(kid);
  }

  /** Gives the device to another tenant, which must be there. DEVICE_UNKNOWN, TENANT_UNKNOWN. */
  assign(kid: Uint8Array, tenant: string): Result<DeviceStanding> {
    const device = this.#find(kid);
    if (!device.ok) return device;
    if (!this.#audit.hasTenant(tenant)) return fail("TENANT_UNKNOWN", `expected a tenant, received ${tenant}`);
    this.#store.transaction(() => {
      this.#store.assign(device.value.device, tenant);
      this.#note(device.value, "assign", { to: tenant });
    });
    return this.device(kid);
  }

  /** The operator's own statement, by the relay's device-facing key. REVOCATION_FALSE where genesis names an owner. */
  revoke(kid: Uint8Array, options: RevokeOptions): Result<DeviceStanding> {
    const { fromSeq, reason } = options;
    const operator = this.#parts.openKey();
    if (!operator.ok) return operator;
    const statement = this.#stated(operator.value, kid, options);
    if (!statement.ok) return statement;
    const detail = { from_seq: fromSeq, ...(reason !== undefined && { reason }) };
    return this.#submit(kid, statement.value, operator.value.publicKey, () => detail);
  }

  /** What `revoke`, or of a statement that is given `revokeBy`, would come to; nothing is changed. As these. */
  planRevocation(kid: Uint8Array, how: RevokeOptions | { readonly statement: Uint8Array }): Result<RevocationPlan> {
    const operator = this.#parts.openKey();
    if (!operator.ok) return operator;
    const device = this.#find(kid);
    if (!device.ok) return device;
    const statement = "statement" in how ? ok(how.statement) : this.#stated(operator.value, kid, how);
    if (!statement.ok) return statement;
    const options = { store: this.#store, crypto: relayCrypto, operatorKey: operator.value.publicKey };
    const planned = planRevocation(options, device.value, statement.value);
    if (!planned.ok) return planned;
    const { inForce, before } = planned.value;
    const { seq } = this.#store.head(device.value.device);
    return ok({ kid: toHex(kid), fromSeq: inForce.fromSeq, seq, before });
  }

  #stated(operator: Identity, kid: Uint8Array, { fromSeq, reason }: RevokeOptions): Result<Uint8Array> {
    const timeS = Math.floor(this.#nowMs() / 1000);
    return stateRevocation(operator, { kid, fromSeq, timeS, ...(reason !== undefined && { reason }) });
  }

  /** Somebody else's statement: the owner's. */
  revokeBy(kid: Uint8Array, statement: Uint8Array): Result<DeviceStanding> {
    const operator = this.#parts.openKey();
    if (!operator.ok) return operator;
    const detailOf = ({ fromSeq, by }: InForce) => ({ from_seq: fromSeq, signed_by: by });
    return this.#submit(kid, statement, operator.value.publicKey, detailOf);
  }

  #submit(
    kid: Uint8Array,
    statement: Uint8Array,
    operatorKey: Uint8Array,
    detailOf: (revoked: InForce) => Change["detail"],
  ): Result<DeviceStanding> {
    const device = this.#find(kid);
    if (!device.ok) return device;
    const options = { store: this.#store, crypto: relayCrypto, operatorKey, nowMs: this.#nowMs };
    const revoked = this.#store.transaction(() => {
      const done = revokeKey(options, device.value, statement);
      // An earlier one that reaches as far back stays, and then nothing has changed.
      if (done.ok && done.value.statement === statement) this.#note(device.value, "revoke", detailOf(done.value));
      return done;
    });
    return revoked.ok ? this.device(kid) : revoked;
  }

  /** Call inside the transaction of what it is about. */
  #note({ kid, tenant }: StoredDevice, what: string, detail: Change["detail"]): void {
    const { who } = this.#parts.actor;
    this.#audit.addChange({ who, tenant, what: `device ${what}`, about: toHex(kid), detail }, this.#nowMs());
  }

  #find(kid: Uint8Array): Result<StoredDevice> {
    const device = this.#store.deviceByKid(kid);
    const { tenant } = this.#parts.actor;
    return device && (tenant === undefined || tenant === device.tenant)
      ? ok(device)
      : fail("DEVICE_UNKNOWN", `expected an enrolled kid, received ${toHex(kid)}`);
  }

  #describe(device: StoredDevice): DeviceStanding {
    const { standing } = this.#store;
    const heldSinceMs = standing.heldSinceMs(device.device);
    const revocation = standing.revocation(device.device);
    const { model, markIntervalS } = genesisOf({ store: this.#store, crypto: relayCrypto }, device);
    const { seq, receivedAtMs } = this.#store.head(device.device);
    return {
      kid: toHex(device.kid),
      did: didKey(device.publicKey),
      print: fingerprint(relayCrypto.sha256, device.publicKey),
      tenant: device.tenant,
      model,
      state: device.state,
      seq,
      enrolledAtMs: device.enrolledAtMs,
      heardAtMs: receivedAtMs,
      markIntervalS,
      missing: this.#store.gaps.missing(device.device, seq),
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
