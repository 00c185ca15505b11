import { fromDidKey } from "tallystick/identity/key";
import { readWitness, type WitnessOptions } from "../cosigning/options.js";
import { relayCrypto } from "../crypto.js";
import type { MqttOptions } from "../mqtt/settings.js";
import type { RunOptions } from "../run.js";
import type { WebhookEvent } from "../webhooks/message.js";
import { readSecret } from "../webhooks/signature.js";
import type { Config } from "./settings.js";

const DAY_MS = 86_400_000;

/** What a configuration comes to for the process; the ledger's contract is compiled by whoever starts it. */
export function runOptionsOf({
  relay,
  store,
  http,
  log,
  ledger,
  enrolment,
  mqtt,
  witnesses,
  limits,
  metrics,
  webhooks,
  operator,
}: Config): Omit<RunOptions, "ledger" | "json"> {
  return {
    dataDir: relay.data,
    role: store.role,
    ...(store.url !== undefined && { store: { url: store.url } }),
    host: http.host,
    port: http.port,
    // A development chain is of a relay that is made on the spot.
    initialise: relay.initialise || ledger.kind === "dev",
    logLevel: log.level,
    makers: enrolment.makers.map(keyOf),
    openEnrolment: enrolment.open,
    tenant: enrolment.tenant,
    operator: !operator.enabled
      ? "off"
      : operator.port === undefined
        ? {}
        : { host: operator.host, port: operator.port },
    logWithinS: relay.log_within_s,
    witnesses: witnesses.asked.map(witnessOf),
    witnessesWanted: witnesses.wanted,
    scrubPeriodMs: limits.scrub_days * DAY_MS,
    keyBudget: { burst: limits.key_burst_records, perSecond: limits.key_records_per_second },
    ...(limits.threads !== undefined && { threads: limits.threads }),
    ...(mqtt.url !== undefined && { mqtt: mqttOf(mqtt.url, mqtt) }),
    batchIntervalMs: limits.checkpoint_interval_ms,
    stopRequestsMs: limits.stop_requests_ms,
    attempts: {
      burst: limits.failed_attempts_burst,
      refillMs: limits.failed_attempts_refill_ms,
      addressesMax: limits.failed_attempts_addresses,
    },
    ...(metrics.port !== undefined && { metrics: { host: metrics.host, port: metrics.port } }),
    watch: {
      silenceIntervals: webhooks.silence_intervals,
      logStuckS: webhooks.log_stuck_s,
      ledgerStuckS: webhooks.ledger_stuck_s,
    },
    ...(webhooks.url !== undefined && {
      webhooks: {
        url: webhooks.url,
        secret: readSecret(webhooks.secret ?? "") ?? impossible("webhooks.secret"),
        events: webhooks.events as readonly WebhookEvent[],
        repeatAfterS: webhooks.repeat_after_s,
        ...(webhooks.tenant !== undefined && { tenant: webhooks.tenant }),
        allowAddresses: webhooks.allow_addresses,
        allowInsecure: webhooks.allow_insecure,
      },
    }),
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

function mqttOf(url: string, { user, password_file, client_id, prefix, ca_file }: Config["mqtt"]): MqttOptions {
  return {
    url,
    prefix,
    ...(user !== undefined && { user }),
    ...(password_file !== undefined && { passwordFile: password_file }),
    ...(client_id !== undefined && { clientId: client_id }),
    ...(ca_file !== undefined && { caFile: ca_file }),
  };
}

function keyOf(did: string): Uint8Array {
  return fromDidKey(did) ?? impossible(did);
}

/** The configuration was checked before. */
function impossible(what: string): never {
  throw new TypeError(`expected a checked configuration, received ${what}`);
}
