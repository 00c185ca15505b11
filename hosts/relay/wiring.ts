import type { FastifyInstance } from "fastify";
import { type Failure, fail } from "tallystick/codes/codes";
import type { Identity } from "tallystick/identity/identity";
import { formatVerifierKey } from "tallystick/log/note";
import type { Anchoring } from "./anchoring.js";
import { Attempts } from "./attempts.js";
import { Calls } from "./calls.js";
import { Challenges } from "./challenge.js";
import type { Cosigning } from "./cosigning/cosigning.js";
import { relayCrypto as crypto } from "./crypto.js";
import type { Erasing } from "./erasing.js";
import type { RelayEvents } from "./events.js";
import { pathsOf, type RelayIdentity } from "./folder.js";
import { Intake } from "./intake.js";
import { type KeyBudgets, OwnKeyBudgets } from "./key-budgets.js";
import { FollowedLedger } from "./ledger/followed.js";
import type { Log } from "./log/log.js";
import type { Scrub } from "./log/scrub.js";
import type { MqttListener } from "./mqtt/listener.js";
import { openapiRoute } from "./openapi/openapi.js";
import type { Refusal } from "./problem.js";
import type { Publication } from "./publication.js";
import type { RelayOptions } from "./relay.js";
import { type KeptStatement, statementsAfter } from "./relay-keys.js";
import { sharedSecret } from "./role.js";
import { deviceRoutes } from "./routes/devices.js";
import { logRoutes } from "./routes/log.js";
import { operatorRoutes } from "./routes/operator/operator.js";
import { recordRoutes } from "./routes/records.js";
import { type ReadyView, type RelayView, relayRoutes, viewWitness } from "./routes/relay.js";
import { syncRoutes } from "./routes/sync.js";
import { damageFound } from "./scrubbing.js";
import { recordMethods, refuseOtherMethods } from "./server.js";
import { isDatabaseError } from "./store/database.js";
import { Figures } from "./store/figures.js";
import type { Ladder } from "./store/ladder.js";
import { SharedKeyBudgets } from "./store/postgres/key-budgets.js";
import type { Store } from "./store/store.js";
import type { VerifierPool } from "./verify/pool.js";

/** What each route of a relay needs, out of the relay's parts: nothing here decides anything. */

/** What keeps the relay from taking records in. */
export interface Health {
  stopping: boolean;
  /** Damage that was found while running: nothing is taken in until someone has looked. */
  fault: Failure | undefined;
}

export interface RouteParts {
  readonly relayIdentity: RelayIdentity;
  readonly store: Store;
  readonly log: Log;
  readonly anchoring: Anchoring | undefined;
  readonly cosigning: Cosigning | undefined;
  readonly publication: Publication;
  readonly health: Health;
  readonly scrub: Scrub;
  readonly erasing: Erasing;
  readonly identity: Identity;
  readonly statements: readonly KeptStatement[];
  readonly ladder: Ladder;
  readonly pool: VerifierPool;
  readonly nowMs: () => number;
  readonly logWithinS: number;
  readonly options: RelayOptions;
  readonly events: RelayEvents;
  /** Why nothing may be taken in now; undefined in health. */
  readonly taking: () => Failure | undefined;
  readonly mqttState: () => MqttListener["state"] | undefined;
}

/** Adds all routes; the calls of devices, for whatever else brings some. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): Calls {
  const { store, log, ladder, identity, anchoring, publication, health, relayIdentity, nowMs, logWithinS, options } =
    parts;
  const { cosigning } = parts;
  const taken = recordMethods(app);
  openapiRoute(app);
  const { origin } = relayIdentity;
  const { publicKey, logKey, recoveryKey, generation = 0 } = relayIdentity;
  const pins = {
    origin,
    device_key: publicKey,
    log_key: logKey,
    ...(recoveryKey !== undefined && { recovery_key: recoveryKey }),
    generation,
    log_within_s: logWithinS,
  };
  const admission = {
    makers: options.makers ?? [],
    open: options.openEnrolment === true,
    ...(options.tenant !== undefined && { tenant: options.tenant }),
  };
  const enrolment: RelayView["enrolment"] = ["token"];
  if (admission.makers.length > 0) enrolment.push("maker");
  if (admission.open) enrolment.push("open");
  const refusal = (): Refusal | undefined => {
    const failure = parts.taking();
    return failure && { failure, retryAfterS: UNWELL_RETRY_AFTER_S };
  };
  const steadyMs = steadyOf(options);
  const onStored = (): void => publication.wake();
  const ingest = { store, crypto, nowMs, pool: parts.pool, steadyMs, onStored };
  const calls = new Calls({
    store,
    crypto,
    nowMs,
    origin,
    challenges: new Challenges(nowMs, store.database.dialect && sharedSecret(identity)),
    admission,
    intake: new Intake({ ...ingest, keyBudgets: keyBudgetsOf(parts) }),
    ladder,
    identity,
    log: {
      published: () => {
        // One head for both: where another process sequences, the next look may find the next one.
        const { size, checkpoint } = log.head;
        return { size, note: Buffer.from(checkpoint).toString("utf8") };
      },
      signedSize: () => log.signed.size,
      reach: (size) => log.reach(size),
      follows: log.follows,
      consistency: (oldSize, size) => log.consistency(oldSize, size),
    },
    logWithinS,
    statementsAfter: (generation) => statementsAfter(parts.statements, generation),
    onStored,
    refusal,
    events: parts.events,
  });
  syncRoutes(app, { calls, attempts: new Attempts({ nowMs: steadyMs, ...options.attempts }) });
  deviceRoutes(app, { store, ladder, crypto, operatorKey: identity.publicKey, nowMs, refusal });
  const relayKeys = parts.statements.map(({ bytes }) => bytes);
  const witnessKeys = (options.witnesses ?? []).map(({ key }) => formatVerifierKey(key));
  const stored = new FollowedLedger(store.database);
  const followed = options.role === "ingest" ? stored : undefined;
  recordRoutes(app, {
    store,
    ladder,
    crypto,
    log,
    witnessKeys,
    relayKeys,
    // What was final stays so where the relay has another ledger now, or none.
    finalFor: (size) => anchoring?.finalFor(size) ?? stored.finalFor(size),
  });
  logRoutes(app, { publicFolder: pathsOf(options.dataDir).logPublic, withholds: (bundle) => log.withholds(bundle) });
  const figures = new Figures(store.database);
  relayRoutes(app, {
    describe: () => {
      const ledger = (followed ?? anchoring)?.describe();
      return {
        ...pins,
        enrolment,
        ...(ledger && { ledger }),
        ...(cosigning && { witnesses: cosigning.witnesses.map(viewWitness) }),
      };
    },
    checkReady: (): { failure: Failure } | ReadyView => {
      const failure =
        health.fault ??
        publication.failure ??
        damageFound(parts.scrub) ??
        parts.erasing.failure ??
        anchoring?.trouble ??
        cosigning?.trouble() ??
        unkept(figures, nowMs(), logWithinS) ??
        beat(store, nowMs());
      if (failure) return { failure };
      const mqtt = parts.mqttState();
      return {
        ready: true,
        log_size: log.head.size,
        submitted_size: ladder.sizeAt("submitted"),
        final_size: ladder.sizeAt("final"),
        ...(cosigning && { witnessed_size: cosigning.satisfiedSize }),
        ...(mqtt && { mqtt }),
      };
    },
  });
  if (options.operator !== "off" && options.operator?.port === undefined) addOperatorRoutes(app, parts);
  refuseOtherMethods(app, new Map(taken));
  return calls;
}

/** The operator API on a server of its own. */
export function addOperatorApi(app: FastifyInstance, parts: RouteParts): void {
  const taken = recordMethods(app);
  openapiRoute(app);
  addOperatorRoutes(app, parts);
  refuseOtherMethods(app, new Map(taken));
}

function addOperatorRoutes(app: FastifyInstance, { store, ladder, identity, nowMs, options }: RouteParts): void {
  const attempts = { nowMs: steadyOf(options), ...options.attempts };
  const { silenceIntervals } = options.watch ?? {};
  operatorRoutes(app, {
    store,
    ladder,
    ...(silenceIntervals !== undefined && { silenceIntervals }),
    identity,
    nowMs,
    attempts,
  });
}

/** Over PostgreSQL what a key brings counts for all processes together. */
function keyBudgetsOf({ store, options }: RouteParts): KeyBudgets {
  const { keyBudget, nowMs } = options;
  if (store.database.dialect !== "postgres") return new OwnKeyBudgets(steadyOf(options), keyBudget);
  return new SharedKeyBudgets(store.database, { ...keyBudget, ...(nowMs && { nowMs }) });
}

/** Of a clock that nobody sets, where the caller brings none. */
export function steadyOf({ nowMs }: RelayOptions): () => number {
  return nowMs ?? (() => performance.now());
}

const UNWELL_RETRY_AFTER_S = 30;

/** A record that waits longer for the log than was promised when it was taken in. What the database refuses `beat` tells. */
function unkept(figures: Figures, nowMs: number, logWithinS: number): Failure | undefined {
  try {
    const { oldestMs } = figures.unlogged();
    const waitedS = oldestMs === undefined ? 0 : (nowMs - oldestMs) / 1000;
    if (waitedS <= logWithinS) return undefined;
    return fail("LOG_LATE", `expected within ${logWithinS} s, a record has waited ${Math.floor(waitedS)} s`).failure;
  } catch (error) {
    if (!isDatabaseError(error)) throw error;
    return undefined;
  }
}

function beat(store: Store, nowMs: number): Failure | undefined {
  try {
    store.beat(nowMs);
    return undefined;
  } catch (error) {
    // What PostgreSQL says may have its address in it.
    return fail("STORE_FAILED", isDatabaseError(error) ? error.code : (error as Error).message).failure;
  }
}
