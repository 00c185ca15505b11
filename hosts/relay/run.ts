import { randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { explain, type Failure, fail } from "tallystick/codes/codes";
import type { LedgerOptions } from "./anchoring.js";
import type { UnknownVariable } from "./config/config.js";
import { intervalComplaint } from "./config/settings.js";
import type { WitnessOptions } from "./cosigning/options.js";
import { readIdentity } from "./folder.js";
import { createLogger } from "./logger.js";
import type { MqttOptions } from "./mqtt/settings.js";
import type { OperationOptions } from "./operation.js";
import { BATCH_INTERVAL_MS } from "./publication.js";
import { Relay, type RelayOptions } from "./relay.js";
import { signalled } from "./signalled.js";
import { STOP_MAX_MS } from "./stop.js";

/** The relay as a process: starts, says where it listens, ends in order on SIGINT and SIGTERM. */
export interface RunOptions extends OperationOptions {
  readonly dataDir: string;
  /** Where the store is, where that is not SQLite's file in the folder. */
  readonly store?: RelayOptions["store"];
  readonly role: NonNullable<RelayOptions["role"]>;
  readonly host: string;
  readonly port: number;
  /** The relay's name; that of a new one where the folder is blank. */
  readonly origin?: string;
  /** Makes a new relay where the folder is blank; without it a blank folder is refused, as a mistyped path would be. */
  readonly initialise: boolean;
  /** A new relay's recovery key, its public half; an existing relay keeps its own. */
  readonly recoveryKey?: Uint8Array;
  /** A new relay's, for its log's opening; an existing relay keeps its own. */
  readonly policy?: string;
  readonly logWithinS?: number;
  readonly ledger?: LedgerOptions;
  readonly mqtt?: MqttOptions;
  /** Public keys of the makers whose devices need no token. */
  readonly makers: readonly Uint8Array[];
  readonly openEnrolment: boolean;
  /** Whose devices become that come without a token. */
  readonly tenant?: string;
  readonly operator?: RelayOptions["operator"];
  readonly witnesses: readonly WitnessOptions[];
  readonly witnessesWanted: number;
  /** Within which time everything stored is read again. */
  readonly scrubPeriodMs: number;
  /** Least milliseconds between two checkpoints. */
  readonly batchIntervalMs?: number;
  /** How often an address may fail to enrol. */
  readonly attempts?: RelayOptions["attempts"];
  /** Threads that verify. */
  readonly threads?: number;
  /** How many records one key may bring. */
  readonly keyBudget?: RelayOptions["keyBudget"];
  /** Milliseconds for requests under way when it stops. */
  readonly stopRequestsMs?: number;
  /** Variables of the environment that look like settings and are none: told at the start. */
  readonly unknownVariables?: readonly UnknownVariable[];
  /** A level of pino: fatal, error, warn, info, debug, silent. Logs are JSON lines on standard error. */
  readonly logLevel: string;
  /** One line of standard output for people, or as JSON for a program. */
  readonly json: boolean;
}

const STOP_CUT_OFF_STATUS = 75;

/**
 * Memory for what a relay no longer needs: by V8's own measure its heap grows to a multiple of what lives before that is
 * looked for, and each dead buffer of a batch keeps its bytes until then. It is read at each collection, so that it counts
 * from now on; a V8 that does not know it says so and goes on. README.md has what it saves.
 */
const HEAP_FLAGS = "--heap-growing-percent=20";

/** Resolves with the exit status once the relay has ended: 0 in order, 1 where it could not start. */
export async function runRelay(options: RunOptions): Promise<number> {
  setFlagsFromString(HEAP_FLAGS);
  const logger = createLogger(options.logLevel);
  const ended = signalled();
  for (const unknown of options.unknownVariables ?? []) logger.warn(unknown, "unknown variable");
  const { dataDir, host, port, origin, ledger, initialise, makers, openEnrolment, scrubPeriodMs } = options;
  const places = { dataDir, host, port, logger, ...(origin !== undefined && { origin }), ...(ledger && { ledger }) };
  const { witnesses, witnessesWanted, batchIntervalMs, attempts, threads, keyBudget } = options;
  const { metrics, watch, webhooks, stopRequestsMs, mqtt, tenant, operator } = options;
  const { role, store } = options;
  const opening: RelayOptions = {
    ...places,
    role,
    ...(store && { store }),
    makers,
    openEnrolment,
    scrubPeriodMs,
    witnesses,
    witnessesWanted,
    ...(batchIntervalMs !== undefined && { batchIntervalMs }),
    ...(attempts && { attempts }),
    ...(threads !== undefined && { threads }),
    ...(keyBudget && { keyBudget }),
    ...(stopRequestsMs !== undefined && { stopRequestsMs }),
    ...(metrics && { metrics }),
    ...(watch && { watch }),
    ...(webhooks && { webhooks }),
    ...(mqtt && { mqtt }),
    ...(tenant !== undefined && { tenant }),
    ...(operator !== undefined && { operator }),
  };
  const impossible = promiseToBreak(dataDir, batchIntervalMs);
  if (impossible) return refuse(impossible);
  let relay = await Relay.open(opening);
  if (!relay.ok && relay.failure.code === "DATA_FOLDER_BLANK" && initialise && role === "all") {
    const { recoveryKey, policy, logWithinS } = options;
    const made = await Relay.initialise(dataDir, {
      origin: origin ?? localOrigin(),
      ...(store && { store }),
      ...(recoveryKey && { recoveryKey }),
      ...(policy !== undefined && { policy }),
      ...(logWithinS !== undefined && { logWithinS }),
    });
    if (!made.ok) return refuse(made.failure);
    relay = await Relay.open(opening);
  }
  if (!relay.ok) return refuse(relay.failure);
  const { url, identity } = relay.value;
  console.log(options.json ? JSON.stringify({ url, origin: identity.origin }) : `relay ${identity.origin}: ${url}`);
  await ended;
  // What is durable is so already: a stop that hangs is ended as if killed, which loses nothing.
  setTimeout(() => {
    logger.error({ stop_max_ms: STOP_MAX_MS }, "stop cut off");
    process.exit(STOP_CUT_OFF_STATUS);
  }, STOP_MAX_MS).unref();
  await relay.value.close();
  return 0;
}

/** What the relay that is there has promised holds, whatever the settings say of a new one. */
function promiseToBreak(dataDir: string, intervalMs = BATCH_INTERVAL_MS): Failure | undefined {
  const found = readIdentity(dataDir);
  const complaint = found.ok ? intervalComplaint(intervalMs, found.value.logWithinS) : undefined;
  return complaint === undefined
    ? undefined
    : fail("CONFIG_INVALID", `limits.checkpoint_interval_ms: ${complaint}`).failure;
}

/** A name for a relay that is of this machine only; random, since a log's name should be of one log. */
function localOrigin(): string {
  return `localhost/tallystick-${randomBytes(4).toString("hex")}`;
}

function refuse(failure: Failure): number {
  console.error(explain(failure));
  // A channel that is listened to would keep the process from ending.
  process.removeAllListeners("disconnect");
  return 1;
}
