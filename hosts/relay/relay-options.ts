import type { Logger } from "pino";
import type { Entropy } from "tallystick/identity/crypto";
import type { LedgerOptions } from "./anchoring.js";
import type { AttemptsOptions } from "./attempts.js";
import type { WitnessOptions } from "./cosigning/options.js";
import type { KeyBudgetOptions } from "./key-budgets.js";
import type { ListenOptions } from "./listen.js";
import type { KnownTree } from "./log/sequencer.js";
import type { MqttOptions } from "./mqtt/settings.js";
import type { OperationOptions } from "./operation.js";
import type { RelayRole } from "./role.js";
import type { StoreOptions } from "./store/open.js";
import type { VerifierPool } from "./verify/pool.js";

/** What a relay is made from, and what it is started with. */

export interface InitialiseOptions {
  /** Name of the relay and of its log: a URL without its scheme, such as `relay.example/attic`. */
  readonly origin: string;
  readonly logWithinS?: number;
  /** For people, in the log's opening: who runs the relay, and by what rules. */
  readonly policy?: string;
  /** The public half of the offline recovery key, 32 bytes. */
  readonly recoveryKey?: Uint8Array;
  /** Where the store is, where that is not SQLite's file in the folder. */
  readonly store?: StoreOptions;
  /** What the relay's keys are made from: the operating system's generator. Another only for runs that must repeat. */
  readonly entropy?: Entropy;
}

export interface RelayOptions extends OperationOptions {
  readonly dataDir: string;
  /** Where the store is, where that is not SQLite's file in the folder. */
  readonly store?: StoreOptions;
  /** `ingest`: takes records in beside the relay's own process, over a store in PostgreSQL. Default all. */
  readonly role?: RelayRole;
  /** The name that the folder's relay must have; default whatever it has. */
  readonly origin?: string;
  /** Default 127.0.0.1: reaching further is for the operator to say. */
  readonly host?: string;
  /** Default 0, any free one. */
  readonly port?: number;
  readonly logger?: Logger;
  /** Least milliseconds between two checkpoints. */
  readonly batchIntervalMs?: number;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs?: () => number;
  /** Where checkpoints are anchored; without it the ladder ends at `logged`. */
  readonly ledger?: LedgerOptions;
  /** Who is asked to cosign the log's checkpoints; at most WITNESSES_MAX, none by default. */
  readonly witnesses?: readonly WitnessOptions[];
  /** How many cosignatures a checkpoint should have for the relay to be ready; default 0. The log waits for none. */
  readonly witnessesWanted?: number;
  /** Public keys of makers whose statement lets a device in without a token; at most MAKERS_MAX, none by default. */
  readonly makers?: readonly Uint8Array[];
  /** Milliseconds for what is under way when the relay stops; default STOP_REQUESTS_MAX_MS. */
  readonly stopRequestsMs?: number;
  /** Lets in any device that proves to hold its key. Never by default. */
  readonly openEnrolment?: boolean;
  /** Trees of the log that others hold proofs of; the relay refuses to go on from less, or beside them. */
  readonly known?: readonly KnownTree[];
  /** Within which time everything that is stored is read again and checked; default SCRUB_PERIOD_MS. */
  readonly scrubPeriodMs?: number;
  /** How often an address may fail to enrol; the defaults are in attempts.ts. */
  readonly attempts?: Partial<AttemptsOptions>;
  /** A broker by which devices may come, beside HTTP. */
  readonly mqtt?: MqttOptions;
  /** The operator API: where it listens, with a port on a listener of its own, without one beside devices; or nowhere. */
  readonly operator?: ListenOptions | "off";
  /** Whose devices become that come without a token; default DEFAULT_TENANT. */
  readonly tenant?: string;
  /** How many records one key may bring; the defaults are in intake.ts. */
  readonly keyBudget?: KeyBudgetOptions;
  /** Threads that verify; default as many as the machine runs at once. */
  readonly threads?: number;
  /** Verifies in place of threads of the relay's own, and is not closed with it. */
  readonly pool?: VerifierPool;
}
