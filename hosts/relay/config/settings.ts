import { fromDidKey } from "tallystick/identity/key";
import { isKeyName } from "tallystick/log/note";
import { WITNESSES_MAX } from "tallystick/log/witness";
import { MAKERS_MAX } from "tallystick/record/maker";
import { MQTT_PREFIX } from "tallystick/sync/mqtt";
import { ATTEMPT_ADDRESSES_MAX, ATTEMPTS_BURST, ATTEMPTS_REFILL_MS } from "../attempts.js";
import { readWitness } from "../cosigning/options.js";
import { relayCrypto } from "../crypto.js";
import { KEY_BURST_RECORDS, KEY_RECORDS_PER_SECOND } from "../key-budgets.js";
import { readMqttSettings } from "../mqtt/settings.js";
import { TENANT_PATTERN } from "../operators/administration.js";
import { STOP_MAX_MS, STOP_REQUESTS_MAX_MS } from "../stop.js";
import { POSTGRES_URL, parsePlace } from "../store/postgres/place.js";
import { DEFAULT_TENANT } from "../store/schema.js";
import { THREADS_MAX } from "../verify/pool.js";
import { LEDGER_STUCK_S, LOG_STUCK_S, SILENCE_INTERVALS } from "../watch/watch.js";
import { ALLOWED_MAX, isRange } from "../webhooks/addresses.js";
import { REPEAT_AFTER_S, WEBHOOK_EVENTS } from "../webhooks/message.js";
import { readSecret, SECRET_MAX_BYTES, SECRET_MIN_BYTES } from "../webhooks/signature.js";
import { parseTarget } from "../webhooks/target.js";
import { flag, integer, list, oneOf, type Section, text, type ValuesOf } from "./setting.js";

/**
 * Every setting of a relay: the one table from which the file's shape, the environment's names, the defaults, the example
 * file and `check-config` come. A new setting is a line here, and the place where it is used.
 *
 * Only what a start says to whoever started it (`--json`) is not here: that is about the caller, not about the relay.
 */

/** Of the time for a whole stop, what the log needs is left. */
const STOP_REQUESTS_LONGEST_MS = STOP_MAX_MS - 5000;

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "silent"] as const;

const DID_KEY = "did:key:z… of an Ed25519 key, as the command prints it that made it";
const ORIGIN = "a name without spaces and plus signs, and without a scheme such as https://";
const SCHEME = /^[a-z][a-z0-9.-]*:\/\//i;
const MQTT_URL = "mqtt://host:port or mqtts://host:port, without name, password or path";
const WITNESS = "<url>=<verifier key line>, as tallystick witness prints it";
const didKey = (value: string) => (fromDidKey(value) ? undefined : DID_KEY);

export const SETTINGS = {
  relay: {
    comment: "Who the relay is, and where it keeps what it holds.",
    settings: {
      data: text({
        fallback: "tallystick-relay",
        comment: "The data folder (README.md beside this file says what is in it). One process at a time.",
      }),
      origin: text({
        comment:
          "Name of the relay and of its log: a URL without its scheme. A folder of another relay is then refused.",
        expected: ORIGIN,
        check: (value) => (isKeyName(value) && !SCHEME.test(value) ? undefined : ORIGIN),
        example: "relay.example/attic",
      }),
      initialise: flag({
        fallback: false,
        comment: "Make a new relay where the data folder is blank; a mistyped path would become one, too.",
      }),
      recovery_key: text({
        comment:
          "Of a new relay only: the public half of the offline recovery key, from tallystick relay-key recovery.",
        expected: DID_KEY,
        check: didKey,
        example: "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
      }),
      policy: text({
        comment: "Of a new relay only: who runs it and by what rules, for people, in the log's opening.",
        example: "Measured for the town of Example; relay@example.org",
      }),
      log_within_s: integer({
        minimum: 1,
        maximum: 86_400,
        fallback: 600,
        comment:
          "Of a new relay only: seconds within which the log's opening promises a checkpoint over what was received.",
      }),
    },
  },
  store: {
    comment: "The database: SQLite's file in the data folder, or PostgreSQL (store/postgres/README.md).",
    settings: {
      url: text({
        secret: "url",
        comment:
          "PostgreSQL's address; without it SQLite. url_file names a file with it; the password may be in PGPASSWORD or a passfile.",
        expected: POSTGRES_URL,
        check: (value) => (parsePlace(value) ? undefined : POSTGRES_URL),
        example: "postgres://relay@127.0.0.1:5432/tallystick",
      }),
      role: oneOf(["all", "ingest"], {
        fallback: "all",
        comment: "all; ingest, one of several that take records in beside the one that does all, on the same database.",
      }),
    },
  },
  http: {
    comment:
      "Where devices and readers reach the relay. It speaks no TLS: put a proxy in front of anything but loopback.",
    settings: {
      host: text({ fallback: "127.0.0.1", comment: "The address that it listens on." }),
      port: integer({ minimum: 0, maximum: 65_535, fallback: 0, comment: "0 takes any free one." }),
    },
  },
  mqtt: {
    comment: "A broker by which devices may come too.",
    settings: {
      url: text({
        isAddress: true,
        comment: "Its address; without it there is none.",
        expected: MQTT_URL,
        check: (url) => (readMqttSettings({ url }).ok ? undefined : MQTT_URL),
        example: "mqtts://broker.example:8883",
      }),
      user: text({ comment: "The relay's name at the broker.", example: "relay" }),
      password_file: text({ comment: "A file that holds its password.", example: "/etc/tallystick/mqtt-password" }),
      client_id: text({
        comment: "Its client id; without it tallystick- and the kid of the relay's device-facing key.",
        example: "relay",
      }),
      prefix: text({ fallback: MQTT_PREFIX, comment: "What stands before <kid>/up and <kid>/down." }),
      ca_file: text({
        comment: "Certificates in PEM that the broker's must lead to, in place of the system's.",
        example: "/etc/tallystick/broker-ca.pem",
      }),
    },
  },
  log: {
    comment: "What is logged on standard error: lines of JSON.",
    settings: {
      level: oneOf(LOG_LEVELS, { fallback: "info", comment: "The least level that is logged." }),
    },
  },
  ledger: {
    comment: "Where checkpoints are anchored.",
    settings: {
      kind: oneOf(["none", "dev", "evm"], {
        fallback: "none",
        comment: "none; dev, a chain of the relay's own that convinces nobody else; evm, a chain that others keep.",
      }),
      rpc_url: text({
        secret: "url",
        comment:
          "The EVM chain's node, with kind evm. A token in it is never shown; rpc_url_file names a file with it.",
        expected: "a URL that begins with http:// or https://",
        check: (value) => (isHttpUrl(value) ? undefined : "a URL that begins with http:// or https://"),
        example: "https://node.example/",
      }),
      contract: text({
        pattern: "^0x[0-9a-fA-F]{40}$",
        expected: "0x and 40 hexadecimal digits",
        comment: "The anchor contract; without it the relay's own ledger key deploys one.",
        example: "0x5fbdb2315678afecb367f032d93f642f64180aa3",
      }),
      max_fee_per_gas_wei: integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        comment: "The most that is paid for a unit of gas.",
        example: 100_000_000_000,
      }),
    },
  },
  enrolment: {
    comment: "Who may come in besides those that bring a token of tallystick enrol.",
    settings: {
      makers: list({
        maximum: MAKERS_MAX,
        fallback: [],
        expected: DID_KEY,
        check: didKey,
        comment: "Makers whose statement lets a device in.",
      }),
      open: flag({
        fallback: false,
        comment: "Any device that proves to hold its key: for a relay that strangers may use.",
      }),
      tenant: text({
        fallback: DEFAULT_TENANT,
        pattern: TENANT_PATTERN,
        expected: "a tenant's name, from tallystick tenant list",
        comment: "Whose devices become that come without a token.",
      }),
    },
  },
  operator: {
    comment:
      "The operator API under /v1/operator/. It answers once a first token was made: tallystick operator-token create.",
    settings: {
      enabled: flag({ fallback: true, comment: "Whether it is there at all." }),
      host: text({ fallback: "127.0.0.1", comment: "The address of a listener of its own, where port is set." }),
      port: integer({
        minimum: 0,
        maximum: 65_535,
        comment: "The port of that listener, 0 for any free one; without it the API is where devices reach the relay.",
        example: 8081,
      }),
    },
  },
  witnesses: {
    comment: "Who sees that the log never shows two histories. It waits for none of them.",
    settings: {
      asked: list({
        isAddress: true,
        maximum: WITNESSES_MAX,
        fallback: [],
        expected: WITNESS,
        check: (value) => (readWitness(relayCrypto.sha256, value).ok ? undefined : WITNESS),
        comment: "Witnesses that are asked for cosignatures.",
      }),
      wanted: integer({
        minimum: 0,
        maximum: WITNESSES_MAX,
        fallback: 0,
        comment: "The relay is not ready while fewer of them cosign.",
      }),
    },
  },
  limits: {
    comment: "What bounds the work.",
    settings: {
      threads: integer({
        minimum: 1,
        maximum: THREADS_MAX,
        comment: "Threads that verify; without it as many as the machine runs at once.",
        example: 4,
      }),
      key_burst_records: integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        fallback: KEY_BURST_RECORDS,
        comment: "Records that one key may bring at once: what a device has after it was offline for long.",
      }),
      key_records_per_second: integer({
        minimum: 1,
        maximum: 1_000_000,
        fallback: KEY_RECORDS_PER_SECOND,
        comment: "Records that one key may bring a second after that.",
      }),
      scrub_days: integer({
        minimum: 1,
        maximum: 366,
        fallback: 7,
        comment: "Days within which all that is stored is read again and checked.",
      }),
      checkpoint_interval_ms: integer({
        minimum: 1,
        maximum: 3_600_000,
        fallback: 1000,
        comment: "Least time between two checkpoints.",
      }),
      failed_attempts_burst: integer({
        minimum: 1,
        maximum: 1_000_000,
        fallback: ATTEMPTS_BURST,
        comment: "How often an address may fail to enrol or to succeed at once.",
      }),
      failed_attempts_refill_ms: integer({
        minimum: 1,
        maximum: 86_400_000,
        fallback: ATTEMPTS_REFILL_MS,
        comment: "Milliseconds after which it may fail once more.",
      }),
      failed_attempts_addresses: integer({
        minimum: 1,
        maximum: 1_000_000,
        fallback: ATTEMPT_ADDRESSES_MAX,
        comment: "Addresses in debt that are kept apart.",
      }),
      stop_requests_ms: integer({
        minimum: 1,
        maximum: STOP_REQUESTS_LONGEST_MS,
        fallback: STOP_REQUESTS_MAX_MS,
        comment: "Milliseconds for requests under way when the relay stops; then their clients are cut off.",
      }),
    },
  },
  metrics: {
    comment: "Figures for Prometheus, and the rules for them in alerts.yml beside this file.",
    settings: {
      host: text({
        fallback: "127.0.0.1",
        comment: "The address of /metrics, which is on a listener of its own: it is the operator's, not the public's.",
      }),
      port: integer({
        minimum: 0,
        maximum: 65_535,
        comment: "Its port, 0 for any free one; without one there are no metrics.",
        example: 9464,
      }),
    },
  },
  webhooks: {
    comment: "Word to a program of yours when something needs a person. README.md beside this file says what it gets.",
    settings: {
      url: text({
        secret: "url",
        comment:
          "Where messages go by POST; without it nowhere. What follows the host is never shown, nor is url_file's.",
        example: "https://receiver.example/tallystick",
      }),
      secret: text({
        secret: "whole",
        comment: "What messages are signed with, as Standard Webhooks has it: the file that holds it.",
        expected: `whsec_ and the base64 of ${SECRET_MIN_BYTES} to ${SECRET_MAX_BYTES} bytes`,
        check: (value) => (readSecret(value) ? undefined : "whsec_ and base64"),
        example: "/etc/tallystick/webhook-secret",
      }),
      events: list({
        maximum: WEBHOOK_EVENTS.length,
        fallback: WEBHOOK_EVENTS,
        expected: `one of ${WEBHOOK_EVENTS.join(", ")}`,
        check: (value) =>
          (WEBHOOK_EVENTS as readonly string[]).includes(value) ? undefined : WEBHOOK_EVENTS.join(", "),
        comment: "What is told.",
      }),
      tenant: text({
        pattern: TENANT_PATTERN,
        expected: "a tenant's name, from tallystick tenant list",
        comment: "Only what is about this tenant's devices is told; without it all, and what is about the relay.",
        example: "north",
      }),
      repeat_after_s: integer({
        minimum: 1,
        maximum: 604_800,
        fallback: REPEAT_AFTER_S,
        comment: "The same of the same device is told once in so many seconds, with how often it came meanwhile.",
      }),
      silence_intervals: integer({
        minimum: 1,
        maximum: 10_000,
        fallback: SILENCE_INTERVALS,
        comment:
          "Silence: a device was not heard for so many of the mark intervals that its genesis states, and a tenth of " +
          "one or a minute more, whatever is less, which a mark may take on its way.",
      }),
      log_stuck_s: integer({
        minimum: 1,
        maximum: 86_400,
        fallback: LOG_STUCK_S,
        comment: "The log is stuck: a record has waited so many seconds for its checkpoint.",
      }),
      ledger_stuck_s: integer({
        minimum: 1,
        maximum: 604_800,
        fallback: LEDGER_STUCK_S,
        comment: "The ledger is stuck: a checkpoint has waited so many seconds to be final.",
      }),
      allow_addresses: list({
        maximum: ALLOWED_MAX,
        fallback: [],
        expected: "an address or a range such as 10.1.0.0/16",
        check: (value) => (isRange(value) ? undefined : "an address or a range such as 10.1.0.0/16"),
        comment: "Addresses that may be reached although they are not public, for a receiver on a network of yours.",
      }),
      allow_insecure: flag({
        fallback: false,
        comment: "Take a URL with http, too: messages can then be read on the way.",
      }),
    },
  },
} as const satisfies Readonly<Record<string, Section>>;

export type Config = { readonly [Name in keyof typeof SETTINGS]: ValuesOf<(typeof SETTINGS)[Name]> };

/** What must hold between settings: the setting that is wrong, and what was expected and what came. */
export interface Rule {
  readonly at: readonly [section: string, key: string];
  readonly complaint: (config: Config) => string | undefined;
}

export const RULES: readonly Rule[] = [
  {
    at: ["store", "role"],
    complaint: ({ store }) =>
      store.role === "ingest" && store.url === undefined
        ? 'expected store.url, since store.role is "ingest", received nothing'
        : undefined,
  },
  {
    at: ["limits", "checkpoint_interval_ms"],
    complaint: ({ relay, limits }) => intervalComplaint(limits.checkpoint_interval_ms, relay.log_within_s),
  },
  {
    at: ["witnesses", "wanted"],
    complaint: ({ witnesses: { asked, wanted } }) =>
      wanted > asked.length ? `expected at most the ${asked.length} that are asked, received ${wanted}` : undefined,
  },
  {
    at: ["operator", "port"],
    complaint: ({ http, operator }) =>
      operator.enabled && isSamePort(http, operator)
        ? `expected another port than http.port, or none, received ${operator.port} for both`
        : undefined,
  },
  {
    at: ["metrics", "port"],
    complaint: ({ http, operator, metrics }) => {
      const other = isSamePort(http, metrics) ? "http" : "operator";
      return isSamePort(http, metrics) || (operator.enabled && isSamePort(operator, metrics))
        ? `expected another port than ${other}.port, received ${metrics.port} for both`
        : undefined;
    },
  },
  {
    at: ["mqtt", "user"],
    complaint: ({ mqtt }) =>
      mqtt.password_file !== undefined && mqtt.user === undefined
        ? "expected a user beside mqtt.password_file, received nothing"
        : undefined,
  },
  {
    at: ["mqtt", "url"],
    complaint: ({ mqtt: { url, prefix, ...rest } }) =>
      url === undefined && (prefix !== MQTT_PREFIX || Object.values(rest).some((value) => value !== undefined))
        ? "expected the broker's address beside what else is said of it, received nothing"
        : undefined,
  },
  {
    at: ["ledger", "rpc_url"],
    complaint: ({ ledger }) =>
      ledger.kind === "evm" && ledger.rpc_url === undefined
        ? 'expected a node\'s URL, since ledger.kind is "evm", received nothing'
        : undefined,
  },
  {
    at: ["webhooks", "secret"],
    complaint: ({ webhooks }) =>
      webhooks.url !== undefined && webhooks.secret === undefined
        ? "expected a secret to sign with, since webhooks.url is there, received nothing"
        : undefined,
  },
  {
    at: ["webhooks", "url"],
    complaint: ({ webhooks: { url, allow_addresses, allow_insecure } }) => {
      if (url === undefined) return undefined;
      const target = parseTarget(url, { allowInsecure: allow_insecure, allowAddresses: allow_addresses });
      return target.ok ? undefined : target.failure.detail;
    },
  },
];

/**
 * What is wrong with an interval between checkpoints, beside the seconds within which the log promises one: a record that
 * comes right after a checkpoint waits for all of it, and the round itself takes its time, or fails once.
 */
export function intervalComplaint(intervalMs: number, logWithinS: number): string | undefined {
  const mostMs = (logWithinS * 1000) / 2;
  if (intervalMs <= mostMs) return undefined;
  return (
    `expected at most ${mostMs}, half of the ${logWithinS} s of relay.log_within_s, within which each acknowledgement ` +
    `promises a checkpoint, received ${intervalMs}`
  );
}

interface Listener {
  readonly host: string;
  readonly port?: number | undefined;
}

const ALL_ADDRESSES = ["0.0.0.0", "::"];

/** Whether two listeners would be in each other's way; 0 takes a free port. */
function isSamePort(one: Listener, other: Listener): boolean {
  const hosts = [one.host, other.host];
  return (
    !!one.port &&
    one.port === other.port &&
    (hosts[0] === hosts[1] || hosts.some((host) => ALL_ADDRESSES.includes(host)))
  );
}

function isHttpUrl(value: string): boolean {
  return URL.canParse(value) && ["http:", "https:"].includes(new URL(value).protocol);
}
