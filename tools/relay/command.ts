import { Command, InvalidArgumentError, Option } from "commander";
import { explain, type Result } from "tallystick/codes/codes";
import { fromDidKey } from "tallystick/identity/key";
import { WITNESSES_MAX } from "tallystick/log/witness";
import { MAKERS_MAX } from "tallystick/record/maker";
import type { LedgerOptions } from "../../hosts/relay/anchoring.js";
import type { WitnessOptions } from "../../hosts/relay/cosigning/options.js";

interface Options {
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly origin?: string;
  readonly init?: true;
  readonly recoveryKey?: Uint8Array;
  readonly ledger: "none" | "dev" | "evm";
  readonly rpc?: string;
  readonly contract?: `0x${string}`;
  readonly maker: readonly Uint8Array[];
  readonly openEnrolment?: true;
  readonly witness: readonly string[];
  readonly witnessesWanted: number;
  readonly scrubDays: number;
  readonly log: string;
  readonly json?: true;
}

export const relayCommand = new Command("relay")
  .description("the server that verifies, stores, logs, acknowledges and submits")
  .option("--data <dir>", "the relay's data folder", "tallystick-relay")
  .option("--host <address>", "where it listens", "127.0.0.1")
  .option("--port <number>", "0 takes any free port", port, 0)
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
      "where checkpoints are anchored: a development chain of its own, an EVM chain, nowhere",
    )
      .choices(["none", "dev", "evm"])
      .default("none"),
  )
  .option("--rpc <url>", "the EVM chain's node, with --ledger evm")
  .option("--contract <address>", "the anchor contract; default one deployed by the relay's own ledger key", address)
  .option("--maker <did:key>", `a maker whose devices need no token; up to ${MAKERS_MAX} times`, maker, [])
  .option("--open-enrolment", "let in any device that proves to hold its key: for a relay that strangers may use")
  .option(
    "--witness <url=line>",
    `a witness to be asked for cosignatures, as tallystick witness prints it; up to ${WITNESSES_MAX} times`,
    (text: string, before: readonly string[]) => [...before, text],
    [],
  )
  .option("--witnesses-wanted <number>", "not ready while fewer of them cosign; the log waits for none", count, 0)
  .option("--scrub-days <number>", "within so many days all that is stored is read again and checked", days, 7)
  .addOption(
    new Option("--log <level>", "what is logged on standard error")
      .choices(["fatal", "error", "warn", "info", "debug", "silent"])
      .default("info"),
  )
  .option("--json", "say where it listens as one line of JSON")
  .action(async (options: Options) => {
    const ledger = await ledgerOf(options);
    if (!ledger.ok) {
      console.error(explain(ledger.failure));
      process.exitCode = 1;
      return;
    }
    const witnesses = await witnessesOf(options.witness);
    const { runRelay } = await import("../../hosts/relay/run.js");
    process.exitCode = await runRelay({
      dataDir: options.data,
      host: options.host,
      port: options.port,
      initialise: options.init === true || options.ledger === "dev",
      logLevel: options.log,
      json: options.json === true,
      makers: options.maker,
      openEnrolment: options.openEnrolment === true,
      witnesses,
      witnessesWanted: options.witnessesWanted,
      scrubPeriodMs: options.scrubDays * 86_400_000,
      ...(options.origin !== undefined && { origin: options.origin }),
      ...(options.recoveryKey && { recoveryKey: options.recoveryKey }),
      ...(ledger.value && { ledger: ledger.value }),
    });
  });

async function ledgerOf({ ledger, rpc, contract }: Options): Promise<Result<LedgerOptions | undefined>> {
  if (ledger === "none") return { ok: true, value: undefined };
  if (ledger === "evm" && rpc === undefined) relayCommand.error("--ledger evm needs --rpc <url>");
  const { compileAnchor } = await import("../../hosts/evm/compile.js");
  const artifact = await compileAnchor();
  if (!artifact.ok) return artifact;
  if (ledger === "dev") return { ok: true, value: { kind: "development", artifact: artifact.value } };
  const place = contract === undefined ? {} : { contract };
  return { ok: true, value: { kind: "evm", artifact: artifact.value, rpcUrl: rpc!, ...place } };
}

async function witnessesOf(texts: readonly string[]): Promise<WitnessOptions[]> {
  if (texts.length === 0) return [];
  const { readWitness } = await import("../../hosts/relay/cosigning/options.js");
  const { relayCrypto } = await import("../../hosts/relay/crypto.js");
  return texts.map((text) => {
    const witness = readWitness(relayCrypto.sha256, text);
    return witness.ok ? witness.value : relayCommand.error(`error: --witness: ${witness.failure.detail}`);
  });
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

function maker(text: string, before: readonly Uint8Array[]): readonly Uint8Array[] {
  const key = did(text);
  if (before.length >= MAKERS_MAX) throw new InvalidArgumentError(`expected at most ${MAKERS_MAX} makers`);
  return [...before, key];
}

function did(text: string): Uint8Array {
  const key = fromDidKey(text);
  if (!key)
    throw new InvalidArgumentError("expected did:key:z… of an Ed25519 key, as the command prints it that made it");
  return key;
}

function address(text: string): `0x${string}` {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) throw new InvalidArgumentError("expected 0x and 40 hexadecimal digits");
  return text.toLowerCase() as `0x${string}`;
}
