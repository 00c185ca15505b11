import { Command, InvalidArgumentError, Option } from "commander";
import { explain, type Failure, type Result } from "tallystick/codes/codes";
import { fromDidKey } from "tallystick/identity/key";
import { WITNESSES_MAX } from "tallystick/log/witness";
import { MAKERS_MAX } from "tallystick/record/maker";
import type { LedgerOptions } from "../../hosts/relay/anchoring.js";
import type { ConfigInput } from "../../hosts/relay/config/config.js";
import type { SettingValue } from "../../hosts/relay/config/setting.js";
import type { Config } from "../../hosts/relay/config/settings.js";

interface Options {
  readonly config?: string;
  readonly data?: string;
  readonly store?: string;
  readonly role?: "all" | "ingest";
  readonly host?: string;
  readonly port?: number;
  readonly origin?: string;
  readonly init?: true;
  readonly recoveryKey?: string;
  readonly ledger?: "none" | "dev" | "evm";
  readonly rpc?: string;
  readonly contract?: string;
  readonly maker?: readonly string[];
  readonly openEnrolment?: true;
  readonly witness?: readonly string[];
  readonly witnessesWanted?: number;
  readonly scrubDays?: number;
  readonly mqtt?: string;
  readonly mqttUser?: string;
  readonly mqttPasswordFile?: string;
  readonly mqttClient?: string;
  readonly mqttPrefix?: string;
  readonly mqttCa?: string;
  readonly log?: string;
  readonly json?: true;
  readonly openapi?: true;
}

/** Which setting each option says; `--json` and `--openapi` say none. */
const SETTING_OF = {
  data: "relay.data",
  store: "store.url",
  role: "store.role",
  host: "http.host",
  port: "http.port",
  origin: "relay.origin",
  init: "relay.initialise",
  recoveryKey: "relay.recovery_key",
  ledger: "ledger.kind",
  rpc: "ledger.rpc_url",
  contract: "ledger.contract",
  maker: "enrolment.makers",
  openEnrolment: "enrolment.open",
  witness: "witnesses.asked",
  witnessesWanted: "witnesses.wanted",
  scrubDays: "limits.scrub_days",
  mqtt: "mqtt.url",
  mqttUser: "mqtt.user",
  mqttPasswordFile: "mqtt.password_file",
  mqttClient: "mqtt.client_id",
  mqttPrefix: "mqtt.prefix",
  mqttCa: "mqtt.ca_file",
  log: "log.level",
} as const satisfies Partial<Record<keyof Options, string>>;

export const relayCommand = new Command("relay")
  .description("the server that verifies, stores, logs, acknowledges and submits")
  .option("--config <file>", "its settings as TOML; options here and the environment count before it")
  .option("--data <dir>", 'the relay\'s data folder (default: "tallystick-relay")')
  .option(
    "--store <url>",
    "PostgreSQL's address in place of SQLite; TALLYSTICK_STORE_URL_FILE keeps a password out of it",
  )
  .addOption(
    new Option(
      "--role <role>",
      "ingest: take records in beside the relay's process that does all, on the same database (default: all)",
    ).choices(["all", "ingest"]),
  )
  .option("--host <address>", 'where it listens (default: "127.0.0.1")')
  .option("--port <number>", "0 takes any free port (default: 0)", port)
  .option("--origin <name>", "name of the relay and of its log, such as relay.example/attic")
  .option("--init", "make a new relay if the folder is blank; implied by --ledger dev")
  .option(
    "--recovery-key <did:key>",
    "for a new relay: the offline key that can name others, from relay-key recovery",
    did,
  )
  .addOption(
    new Option(
      "--ledger <kind>",
      "where checkpoints are anchored: a development chain of its own, an EVM chain, nowhere (default: none)",
    ).choices(["none", "dev", "evm"]),
  )
  .option("--rpc <url>", "the EVM chain's node, with --ledger evm")
  .option("--contract <address>", "the anchor contract; default one deployed by the relay's own ledger key", address)
  .option("--maker <did:key>", `a maker whose devices need no token; up to ${MAKERS_MAX} times`, maker)
  .option("--open-enrolment", "let in any device that proves to hold its key: for a relay that strangers may use")
  .option(
    "--witness <url=line>",
    `a witness to be asked for cosignatures, as tallystick witness prints it; up to ${WITNESSES_MAX} times`,
    (text: string, before: readonly string[] = []) => [...before, text],
  )
  .option("--witnesses-wanted <number>", "not ready while fewer of them cosign; the log waits for none", count)
  .option(
    "--scrub-days <number>",
    "within so many days all that is stored is read again and checked (default: 7)",
    days,
  )
  .option("--mqtt <url>", "a broker by which devices may come too: mqtt://host:port or mqtts://host:port")
  .option("--mqtt-user <name>", "the relay's name at the broker")
  .option("--mqtt-password-file <file>", "holds its password")
  .option("--mqtt-client <id>", "its client id; default tallystick- and the relay's kid")
  .option("--mqtt-prefix <topic>", "what stands before <kid>/up and <kid>/down; default tally/v1")
  .option("--mqtt-ca <file>", "certificates in PEM that the broker's must lead to")
  .addOption(
    new Option("--log <level>", "what is logged on standard error (default: info)").choices([
      "fatal",
      "error",
      "warn",
      "info",
      "debug",
      "silent",
    ]),
  )
  .option("--json", "say where it listens as one line of JSON")
  .option("--openapi", "print what its routes take and answer as OpenAPI 3.1 instead, and end")
  .action(async (options: Options) => {
    if (options.openapi) {
      const { printOpenapi } = await import("./openapi.js");
      process.exitCode = await printOpenapi();
      return;
    }
    const { loadConfig } = await import("../../hosts/relay/config/config.js");
    const loaded = loadConfig({
      environment: process.env,
      arguments: saidBy(options),
      ...(options.config !== undefined && { path: options.config }),
    });
    if (!loaded.ok) return refuse(loaded.failures);
    const { config, unknownVariables } = loaded.value;
    const ledger = await ledgerOf(config);
    if (!ledger.ok) return refuse([ledger.failure]);
    const [{ runOptionsOf }, { runRelay }] = await Promise.all([
      import("../../hosts/relay/config/options.js"),
      import("../../hosts/relay/run.js"),
    ]);
    process.exitCode = await runRelay({
      ...runOptionsOf(config),
      json: options.json === true,
      unknownVariables,
      ...(ledger.value && { ledger: ledger.value }),
    });
  });

function refuse(failures: readonly Failure[]): void {
  for (const failure of failures) console.error(explain(failure));
  process.exitCode = 1;
}

/** What the command line says, by the setting's name. */
function saidBy(options: Options): NonNullable<ConfigInput["arguments"]> {
  const said = new Map<string, { readonly value: SettingValue; readonly option: string }>();
  for (const [name, setting] of Object.entries(SETTING_OF) as [keyof typeof SETTING_OF, string][]) {
    const value = options[name];
    if (value === undefined) continue;
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    said.set(setting, { value, option });
  }
  return said;
}

async function ledgerOf({ ledger }: Config): Promise<Result<LedgerOptions | undefined>> {
  const { kind, rpc_url, contract, max_fee_per_gas_wei } = ledger;
  if (kind === "none") return { ok: true, value: undefined };
  const { compileAnchor } = await import("../../hosts/evm/compile.js");
  const artifact = await compileAnchor();
  if (!artifact.ok) return artifact;
  if (kind === "dev") return { ok: true, value: { kind: "development", artifact: artifact.value } };
  return {
    ok: true,
    value: {
      kind,
      artifact: artifact.value,
      rpcUrl: rpc_url!,
      ...(contract !== undefined && { contract: contract.toLowerCase() as `0x${string}` }),
      ...(max_fee_per_gas_wei !== undefined && { maxFeePerGas: BigInt(max_fee_per_gas_wei) }),
    },
  };
}

function count(text: string): number {
  if (!/^[0-9]{1,2}$/.test(text)) throw new InvalidArgumentError("expected a small whole number");
  return Number(text);
}

function port(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || number > 65_535) throw new InvalidArgumentError("expected a port from 0 to 65535");
  return number;
}

function days(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,3}$/.test(text) || number < 1 || number > 366)
    throw new InvalidArgumentError("expected 1 to 366 days");
  return number;
}

function maker(text: string, before: readonly string[] = []): readonly string[] {
  if (before.length >= MAKERS_MAX) throw new InvalidArgumentError(`expected at most ${MAKERS_MAX} makers`);
  return [...before, did(text)];
}

function did(text: string): string {
  if (!fromDidKey(text))
    throw new InvalidArgumentError("expected did:key:z… of an Ed25519 key, as the command prints it that made it");
  return text;
}

function address(text: string): string {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) throw new InvalidArgumentError("expected 0x and 40 hexadecimal digits");
  return text;
}
