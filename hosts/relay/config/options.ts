import { fromDidKey } from "tallystick/identity/key";
import { readWitness, type WitnessOptions } from "../cosigning/options.js";
import { relayCrypto } from "../crypto.js";
import type { RunOptions } from "../run.js";
import type { Config } from "./settings.js";

const DAY_MS = 86_400_000;

/** What a configuration comes to for the process; the ledger's contract is compiled by whoever starts it. */
export function runOptionsOf({
  relay,
  http,
  log,
  ledger,
  enrolment,
  witnesses,
  limits,
  metrics,
}: Config): Omit<RunOptions, "ledger" | "json"> {
  return {
    dataDir: relay.data,
    host: http.host,
    port: http.port,
    // A development chain is of a relay that is made on the spot.
    initialise: relay.initialise || ledger.kind === "dev",
    logLevel: log.level,
    makers: enrolment.makers.map(keyOf),
    openEnrolment: enrolment.open,
    logWithinS: relay.log_within_s,
    witnesses: witnesses.asked.map(witnessOf),
    witnessesWanted: witnesses.wanted,
    scrubPeriodMs: limits.scrub_days * DAY_MS,
    keyBudget: { burst: limits.key_burst_records, perSecond: limits.key_records_per_second },
    ...(limits.threads !== undefined && { threads: limits.threads }),
    batchIntervalMs: limits.checkpoint_interval_ms,
    attempts: {
      burst: limits.failed_attempts_burst,
      refillMs: limits.failed_attempts_refill_ms,
      addressesMax: limits.failed_attempts_addresses,
    },
    ...(metrics.port !== undefined && { metrics: { host: metrics.host, port: metrics.port } }),
    ...(relay.origin !== undefined && { origin: relay.origin }),
    ...(relay.recovery_key !== undefined && { recoveryKey: keyOf(relay.recovery_key) }),
    ...(relay.policy !== undefined && { policy: relay.policy }),
  };
}

function witnessOf(text: string): WitnessOptions {
  const witness = readWitness(relayCrypto.sha256, text);
  if (!witness.ok) throw new TypeError(`expected a checked witness, received ${text}`);
  return witness.value;
}

function keyOf(did: string): Uint8Array {
  const key = fromDidKey(did);
  if (!key) throw new TypeError(`expected a checked did:key, received ${did}`);
  return key;
}
