import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import { type Logger, pino } from "pino";
import { toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Identity } from "tallystick/identity/identity";
import type { TreeHead } from "tallystick/log/checkpoint";
import { formatVerifierKey } from "tallystick/log/note";
import { MAKERS_MAX } from "tallystick/record/maker";
import type { Anchoring } from "./anchoring.js";
import { Attempts } from "./attempts.js";
import type { Calls } from "./calls.js";
import { Cosigning } from "./cosigning/cosigning.js";
import { checkWitnesses } from "./cosigning/options.js";
import { relayCrypto as crypto } from "./crypto.js";
import { Erasing, followErasures, openErasures } from "./erasing.js";
import { RelayEvents } from "./events.js";
import {
  beginFolder,
  endBeginning,
  type FolderLock,
  finishFolder,
  isBlank,
  lockFolder,
  pathsOf,
  prepareFolder,
  type RelayIdentity,
  readIdentity,
} from "./folder.js";
import { createDeviceFacingKey, openDeviceFacingKey, systemEntropy } from "./keys.js";
import { FollowedLedger } from "./ledger/followed.js";
import { listen } from "./listen.js";
import { nodeDisk } from "./log/disk.js";
import type { ErasedEntries } from "./log/erasures.js";
import { Log } from "./log/log.js";
import type { Scrub } from "./log/scrub.js";
import { Metrics } from "./metrics/metrics.js";
import { MqttListener } from "./mqtt/listener.js";
import { Operation } from "./operation.js";
import { BATCH_INTERVAL_MS, Publication } from "./publication.js";
import type { InitialiseOptions, RelayOptions } from "./relay-options.js";
import { followLog, openKeys, waitsForSequencer } from "./role.js";
import { openScrub, SCRUB_PERIOD_MS } from "./scrubbing.js";
import { createServer } from "./server.js";
import { STOP_REQUESTS_MAX_MS } from "./stop.js";
import { isCorruption, isDatabaseError, tellable } from "./store/database.js";
import { LogDiffers, StoreEntries } from "./store/entries.js";
import { Figures } from "./store/figures.js";
import { Ladder } from "./store/ladder.js";
import { createStore, openStore } from "./store/open.js";
import { OperatorStore } from "./store/operators.js";
import { pagesCanWait } from "./store/pages.js";
import { Store, StoredRecordDamaged } from "./store/store.js";
import { VerifierPool } from "./verify/pool.js";
import { addOperatorApi, addRoutes, type Health, steadyOf } from "./wiring.js";

/** One relay: store, log, ingest and server over one data folder, made from one options object. */

const STORE_NAME_BYTES = 8;
/** Seconds from a record's receipt to a checkpoint that covers it, at the most, as a new relay's opening promises. */
export const LOG_WITHIN_S = 600;

export type { InitialiseOptions, RelayOptions } from "./relay-options.js";

export class Relay {
  /** Where it listens, `http://host:port`. */
  readonly url: string;
  /** Where the operator API does; undefined where it is off. */
  readonly operatorUrl: string | undefined;
  readonly identity: RelayIdentity;
  readonly store: Store;
  readonly log: Log;
  readonly scrub: Scrub;
  readonly operation: Operation;
  readonly #parts: Parts;
  #closing: Promise<void> | undefined;

  private constructor(parts: Parts, url: string, apartUrl: string | undefined) {
    this.#parts = parts;
    this.url = url;
    this.operatorUrl = parts.options.operator === "off" ? undefined : (apartUrl ?? url);
    this.identity = parts.relayIdentity;
    this.store = parts.store;
    this.log = parts.log;
    this.scrub = parts.scrub;
    this.operation = parts.operation;
  }

  /**
   * Makes a new relay in a blank folder: its keys, its database, its log with leaf 0. An act of setting up, never an
   * answer to an error. DATA_FOLDER_TAKEN, DATA_FOLDER_UNWRITABLE, DATA_FOLDER_LOCKED, and the log's own codes.
   */
  static async initialise(dataDir: string, options: InitialiseOptions): Promise<Result<RelayIdentity>> {
    const prepared = prepareFolder(dataDir);
    if (!prepared.ok) return prepared;
    const lock = lockFolder(dataDir);
    if (!lock.ok) return lock;
    try {
      if (!isBlank(dataDir)) return fail("DATA_FOLDER_TAKEN", `expected a blank folder, found files in ${dataDir}`);
      return await refused(() => make(dataDir, options));
    } finally {
      lock.value.release();
    }
  }

  /** Starts the relay of an existing folder, or says in one failure why it does not; then everything is as it was. */
  static async open(options: RelayOptions): Promise<Result<Relay>> {
    const { length = 0 } = options.makers ?? [];
    if (length > MAKERS_MAX) throw new RangeError(`makers: expected at most ${MAKERS_MAX}, received ${length}`);
    const undo: (() => void | Promise<void>)[] = [];
    const opened = await refused(() => openParts(options, undo));
    const listening = opened.ok ? await listen(opened.value.app, options, "--port or http.port") : opened;
    const apart = listening.ok && opened.ok ? await listenApart(opened.value, options) : listening;
    if (opened.ok && listening.ok && apart.ok) {
      const relay = new Relay(opened.value, listening.value, apart.value);
      opened.value.publication.wake();
      if (options.role !== "ingest") {
        opened.value.scrub.start();
        opened.value.erasing.start();
      }
      opened.value.mqtt?.start();
      opened.value.logger.info(
        { url: relay.url, origin: relay.identity.origin, entries: relay.log.head.size },
        "listening",
      );
      return ok(relay);
    }
    for (const step of undo.reverse()) await step();
    return apart as Result<never>;
  }

  /** Finishes what is under way, logs what was received, and lets go of everything. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #finishRequests(apps: readonly FastifyInstance[]): Promise<void> {
    const timer = setTimeout(() => {
      this.#parts.logger.warn("requests cut off");
      for (const { server } of apps) server.closeAllConnections();
    }, this.#parts.stopRequestsMs);
    await Promise.all(apps.map((app) => app.close()));
    clearTimeout(timer);
  }

  async #close(): Promise<void> {
    const { app, operatorApp, health, publication, anchoring, cosigning, log, store, lock, logger } = this.#parts;
    const { scrub, ownPool, operation, mqtt, calls, erasing } = this.#parts;
    health.stopping = true;
    await Promise.all([this.#finishRequests(operatorApp ? [app, operatorApp] : [app]), mqtt?.close()]);
    // Whose senders have gone, or were cut off.
    calls.close();
    await ownPool?.close();
    await scrub.close();
    await erasing.close();
    await operation.close();
    await publication.close();
    await cosigning?.close();
    await anchoring?.close();
    await log.close();
    store.close();
    lock.release();
    logger.info("stopped");
  }
}

interface Parts {
  readonly relayIdentity: RelayIdentity;
  readonly lock: FolderLock;
  readonly store: Store;
  readonly log: Log;
  readonly anchoring: Anchoring | undefined;
  readonly cosigning: Cosigning | undefined;
  readonly publication: Publication;
  /** Undefined where the caller has brought one. */
  readonly ownPool: VerifierPool | undefined;
  readonly scrub: Scrub;
  readonly erasing: Erasing;
  readonly app: FastifyInstance;
  readonly calls: Calls;
  /** The operator API, where it has a listener of its own. */
  readonly operatorApp: FastifyInstance | undefined;
  readonly options: RelayOptions;
  readonly mqtt: MqttListener | undefined;
  readonly health: Health;
  readonly operation: Operation;
  readonly logger: Logger;
  readonly stopRequestsMs: number;
}

async function make(dataDir: string, options: InitialiseOptions): Promise<Result<RelayIdentity>> {
  const paths = pathsOf(dataDir);
  const { logWithinS = LOG_WITHIN_S, entropy = systemEntropy } = options;
  beginFolder(dataDir);
  const identity = createDeviceFacingKey(paths.deviceFacingKey, crypto, entropy);
  if (!identity.ok) return identity;
  const name = randomBytes(STORE_NAME_BYTES).toString("hex");
  const database = createStore(dataDir, options.store, name);
  if (!database.ok) return database;
  const store = new Store(database.value);
  const log = await Log.open(paths.log, {
    origin: options.origin,
    crypto,
    entropy,
    source: new StoreEntries(store, crypto, Date.now),
    opening: {
      relayKey: identity.value.publicKey,
      ...(options.recoveryKey && { recoveryKey: options.recoveryKey }),
      logWithinS,
      policy: options.policy ?? "",
    },
  });
  if (log.ok) await log.value.close();
  store.close();
  if (!log.ok) return log;
  const relayIdentity: RelayIdentity = {
    format: 1,
    origin: options.origin,
    publicKey: toHex(identity.value.publicKey),
    logKey: formatVerifierKey(log.value.key),
    logWithinS,
    ...(options.recoveryKey && { recoveryKey: toHex(options.recoveryKey) }),
    ...(options.store && { postgres: name }),
  };
  finishFolder(dataDir, relayIdentity);
  return ok(relayIdentity);
}

/** What disk or database refuse on the way is a failure like others, after which all is undone. */
async function refused<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
  try {
    return await run();
  } catch (error) {
    const damage = damageOf(error);
    if (damage) return { ok: false, failure: damage };
    if (isDatabaseError(error)) return fail("STORE_FAILED", `${error.message} (${error.code})`);
    const { syscall, message } = error as NodeJS.ErrnoException;
    if (syscall !== undefined) return fail("DATA_FOLDER_UNWRITABLE", message);
    throw error;
  }
}

/** Opens everything but the port. What must be closed again is pushed on `undo` as it is opened. */
async function openParts(options: RelayOptions, undo: (() => void | Promise<void>)[]): Promise<Result<Parts>> {
  const { dataDir, nowMs = Date.now, logger = pino({ level: "silent" }) } = options;
  const { witnesses = [], witnessesWanted: wanted = 0 } = options;
  const checked = checkWitnesses(witnesses, wanted);
  if (!checked.ok) return checked;
  const { stopRequestsMs = STOP_REQUESTS_MAX_MS } = options;
  const paths = pathsOf(dataDir);
  // What may not be looked into would else pass for blank; what is not there is not made here.
  const prepared = existsSync(dataDir) ? prepareFolder(dataDir) : ok(undefined);
  if (!prepared.ok) return prepared;
  const found = readIdentity(dataDir);
  if (!found.ok) return found;
  const { origin, logWithinS } = found.value;
  if (options.origin !== undefined && options.origin !== origin)
    return fail("RELAY_FOREIGN", `expected the relay ${options.origin} in ${dataDir}, found ${origin}`);
  const { role = "all" } = options;
  const isSequencer = role === "all";
  if (!isSequencer && found.value.postgres === undefined)
    return fail("STORE_ELSEWHERE", "expected a database in PostgreSQL for role ingest, found SQLite's");
  const lock = lockFolder(dataDir, isSequencer ? "sequencer" : "ingest");
  if (!lock.ok) return lock;
  undo.push(() => lock.value.release());
  if (isSequencer) endBeginning(dataDir);
  const keys = await openKeys(dataDir, crypto, role);
  if (!keys.ok) return keys;
  const { identity: relayIdentity, statements } = keys.value;

  const identity = openDeviceFacingKey(paths.deviceFacingKey, crypto);
  if (!identity.ok) return identity;
  if (toHex(identity.value.publicKey) !== relayIdentity.publicKey)
    return fail("RELAY_FOREIGN", `${paths.deviceFacingKey} is not the key that ${paths.identity} names`);
  // Beside existing data the log must not begin anew.
  if (!existsSync(paths.logKey)) return fail("RELAY_KEY_MISSING", `expected the log's key ${paths.logKey}`);

  const pages = pagesCanWait(paths.store) ? "trusted" : "checked";
  const database = openStore(dataDir, relayIdentity, options.store, isSequencer ? "sequencer" : "writer", pages);
  if (!database.ok) return database;
  const store = new Store(database.value);
  undo.push(() => store.close());
  const { tenant } = options;
  if (tenant !== undefined && !new OperatorStore(database.value).hasTenant(tenant))
    return fail("TENANT_UNKNOWN", `expected the tenant of devices without a token, received ${tenant}`);
  const ladder = new Ladder(database.value);
  const health: Health = { stopping: false, fault: undefined };
  const onFault = (error: unknown): Failure | undefined => {
    const damage = damageOf(error);
    health.fault ??= damage;
    if (damage) logger.error({ err: error, ...damage }, "damage found");
    else logger.error({ err: error }, "fault");
    return damage;
  };

  const kept = { dataDir, store, disk: nodeDisk };
  const erased = await (isSequencer ? openErasures(kept) : followErasures(kept, store));
  if (!erased.ok) return erased;
  let log: Result<Log> | undefined;
  let anchoring: Anchoring | undefined;
  let cosigning: Cosigning | undefined;
  if (isSequencer && options.ledger) {
    // Ethereum's library takes half of the start; a relay without a ledger does without it.
    const module = await import("./anchoring.js");
    const opened = await module.Anchoring.open({
      ledger: options.ledger,
      folder: paths.ledger,
      database: store.database,
      ladder,
      rootAt: async (size) => {
        const root = log?.ok ? await log.value.rootAt(size) : undefined;
        return root?.ok ? root.value : undefined;
      },
      nowMs,
      logger,
    });
    if (!opened.ok) return opened;
    anchoring = opened.value;
    undo.push(() => opened.value.close());
  }
  const former = isSequencer && !options.ledger ? new FollowedLedger(store.database).name : undefined;
  if (former !== undefined) logger.warn({ ledger: former }, "ledger left out");
  // Before anything new is signed: the ledger may know of a tree that this folder has lost.
  const known = [...(options.known ?? []), ...(anchoring?.known ?? [])];
  log = await (isSequencer
    ? openLog(relayIdentity, identity.value, store, erased.value, { ...options, known }, (head) => {
        ladder.logged(head, nowMs());
        anchoring?.submit(head);
        cosigning?.wake();
        logger.info({ size: head.size }, "checkpoint");
      })
    : followLog(dataDir, crypto, relayIdentity, erased.value));
  if (!log.ok) return log;
  undo.push(() => log.value.close());
  if (isSequencer && witnesses.length > 0) {
    // Before anything new is signed: they may know of a tree that this folder has lost.
    const begun = await Cosigning.begin({
      crypto,
      log: log.value,
      witnesses,
      wanted,
      nowMs: () => performance.now(),
      onChange: ({ url, key }, failure) =>
        failure
          ? logger.warn({ witness: key.name, url, ...failure }, "witness failed")
          : logger.info({ witness: key.name, url }, "witness cosigns"),
      onContradiction: (failure) => {
        health.fault ??= failure;
        logger.error(failure, "witness contradicts");
      },
      onFault,
    });
    if (!begun.ok) return begun;
    cosigning = begun.value;
    undo.push(() => begun.value.close());
  }
  if (isSequencer) ladder.logged(log.value.head, nowMs());

  anchoring?.start();
  anchoring?.submit(log.value.head);

  const publication = new Publication({
    log: log.value,
    // Other processes write as well, and say nothing of it.
    looks: database.value.dialect === "postgres" && isSequencer,
    intervalMs: options.batchIntervalMs ?? BATCH_INTERVAL_MS,
    nowMs,
    onFailure: (failure) => logger.warn(failure, "log did not advance"),
    onFault,
  });
  const scrub = await openScrub({
    dataDir,
    store,
    log: log.value,
    erased: erased.value,
    pages,
    crypto,
    periodMs: options.scrubPeriodMs ?? SCRUB_PERIOD_MS,
    nowMs,
    logger,
    // What the database says of itself is what acknowledgements are made of; a damaged file of the log is of the past.
    onStoreDamage: (failure) => {
      health.fault ??= failure;
    },
  });
  undo.push(() => scrub.close());
  const erasing = new Erasing({
    ...kept,
    nowMs,
    erase: (records, remember) => log.value.erase(records, remember),
    logger,
    onFault,
  });
  undo.push(() => erasing.close());
  if (isSequencer) await erasing.round();
  const metrics = new Metrics();
  const events = new RelayEvents(onFault);
  const overdue = isSequencer
    ? () => publication.overdue(nowMs(), logWithinS * 1000)
    : waitsForSequencer(new Figures(database.value), nowMs, logWithinS * 1000);
  const taking = () => health.fault ?? overdue();
  const operation = await Operation.open({
    options,
    metrics,
    events,
    origin,
    database: store.database,
    ladder,
    logEntries: () => log.value.head.size,
    nowMs,
    taking,
    logTrouble: () => publication.failure,
    ledgerTrouble: () => (anchoring ? anchoring.trouble : null),
    logger,
  });
  if (!operation.ok) return operation;
  undo.push(() => operation.value.close());
  const server = { logger, onFault, isStopping: () => health.stopping, metrics };
  const app = createServer(server);
  undo.push(() => app.close());
  const { threads } = options;
  const onDeath = (error: Error): void => logger.error({ err: error }, "verifier thread died");
  const ownPool = options.pool ? undefined : new VerifierPool({ ...(threads !== undefined && { threads }), onDeath });
  if (ownPool) undo.push(() => ownPool.close());
  const pool = options.pool ?? ownPool!;
  const parts = { relayIdentity, lock: lock.value, store, log: log.value, anchoring, cosigning, scrub, erasing };
  const services = { ladder, publication, health, nowMs, options, logWithinS, statements, pool, events, taking };
  let mqtt: MqttListener | undefined;
  const routeParts = { ...parts, ...services, identity: identity.value, mqttState: () => mqtt?.state };
  const calls = addRoutes(app, routeParts);
  const isApart = options.operator !== "off" && options.operator?.port !== undefined;
  const operatorApp = isApart ? createServer(server) : undefined;
  if (operatorApp) addOperatorApi(operatorApp, routeParts);
  undo.push(async () => operatorApp?.close());
  if (options.mqtt) {
    const steadyMs = steadyOf(options);
    const opened = await MqttListener.open({
      mqtt: options.mqtt,
      clientId: `tallystick-${toHex(identity.value.kid)}`,
      attempts: new Attempts({ nowMs: steadyMs, ...options.attempts }),
      isStopping: () => health.stopping,
      ...{ calls, logger, onFault, steadyMs },
    });
    if (!opened.ok) return opened;
    mqtt = opened.value;
  }
  const own = { ownPool, operation: operation.value, stopRequestsMs };
  return ok({ ...parts, publication, app, calls, operatorApp, options, mqtt, health, logger, ...own });
}

/** Where the operator API listens by itself; undefined where it does not. */
async function listenApart({ operatorApp, logger }: Parts, options: RelayOptions): Promise<Result<string | undefined>> {
  if (!operatorApp || options.operator === "off") return ok(undefined);
  const listening = await listen(operatorApp, options.operator ?? {}, "operator.port");
  if (listening.ok) logger.info({ url: listening.value }, "operator api");
  return listening;
}

async function openLog(
  { origin, logKey, logWithinS }: RelayIdentity,
  identity: Identity,
  store: Store,
  erased: ErasedEntries,
  { dataDir, nowMs = Date.now, witnesses = [], known = [] }: RelayOptions,
  onCheckpoint: (head: TreeHead) => void,
): Promise<Result<Log>> {
  try {
    const log = await Log.open(pathsOf(dataDir).log, {
      origin,
      crypto,
      entropy: systemEntropy,
      source: new StoreEntries(store, crypto, nowMs),
      opening: { relayKey: identity.publicKey, logWithinS, policy: "" },
      witnesses: witnesses.map(({ key }) => key),
      known,
      erased,
      followed: store.database.dialect === "postgres",
      onCheckpoint,
    });
    if (!log.ok || formatVerifierKey(log.value.key) === logKey) return log;
    await log.value.close();
    return fail("RELAY_FOREIGN", `the log's key is ${formatVerifierKey(log.value.key)}, relay.json names ${logKey}`);
  } catch (error) {
    if (error instanceof LogDiffers) return fail("RELAY_FOREIGN", error.message);
    const damage = damageOf(error);
    if (damage) return { ok: false, failure: damage };
    throw error;
  }
}

/** The failure that an error stands for, where it shows that stored bytes are damaged. */
function damageOf(error: unknown): Failure | undefined {
  if (error instanceof StoredRecordDamaged) return fail("STORE_CORRUPT", error.message).failure;
  if (isCorruption(error)) return fail("STORE_CORRUPT", tellable(error as Error)).failure;
  return undefined;
}
