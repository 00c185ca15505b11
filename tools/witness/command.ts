import { Command, InvalidArgumentError, Option } from "commander";
import type { VerifierKey } from "tallystick/log/note";

interface Options {
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly name?: string;
  readonly init?: true;
  readonly logKey: readonly string[];
  readonly log: string;
  readonly json?: true;
}

export const witnessCommand = new Command("witness")
  .description("cosigns other logs' checkpoints (C2SP tlog-witness), so that none of them can show two histories")
  .option("--data <dir>", "the witness's data folder", "tallystick-witness")
  .option("--host <address>", "where it listens", "127.0.0.1")
  .option("--port <number>", "0 takes any free port", port, 0)
  .option("--init", "make a new witness if the folder holds none; with --name")
  .option("--name <name>", "the witness's name, such as witness.example/w1: a URL without its scheme")
  .option(
    "--log-key <line>",
    "verifier key of a log to cosign for, as tallystick relay-key show prints it; repeat it for each log and key",
    (line: string, before: readonly string[]) => [...before, line],
    [],
  )
  .addOption(
    new Option("--log <level>", "what is logged on standard error")
      .choices(["fatal", "error", "warn", "info", "debug", "silent"])
      .default("info"),
  )
  .option("--json", "say where it listens and its key as one line of JSON")
  .action(async (options: Options) => {
    if (options.init && options.name === undefined) witnessCommand.error("error: --init needs --name <name>");
    const { runWitness } = await import("../../hosts/relay/witness/run.js");
    process.exitCode = await runWitness({
      dataDir: options.data,
      host: options.host,
      port: options.port,
      initialise: options.init === true,
      logs: await logKeys(options.logKey),
      logLevel: options.log,
      json: options.json === true,
      ...(options.name !== undefined && { name: await keyName(options.name) }),
    });
  });

async function logKeys(lines: readonly string[]): Promise<VerifierKey[]> {
  const { parseVerifierKey } = await import("tallystick/log/note");
  const { relayCrypto } = await import("../../hosts/relay/crypto.js");
  const { LOG_KEYS_MAX, WITNESSED_LOGS_MAX } = await import("../../hosts/relay/witness/witness.js");
  const keys = lines.map((line) => {
    const key = parseVerifierKey(relayCrypto.sha256, line);
    return key.ok ? key.value : witnessCommand.error(`error: --log-key ${line}: ${key.failure.detail}`);
  });
  const byName = new Map<string, number>();
  for (const { name } of keys) byName.set(name, (byName.get(name) ?? 0) + 1);
  if (byName.size > WITNESSED_LOGS_MAX)
    witnessCommand.error(`error: --log-key: expected at most ${WITNESSED_LOGS_MAX} logs`);
  for (const [name, count] of byName)
    if (count > LOG_KEYS_MAX)
      witnessCommand.error(`error: --log-key: expected at most ${LOG_KEYS_MAX} keys of ${name}`);
  return keys;
}

async function keyName(name: string): Promise<string> {
  const { isKeyName } = await import("tallystick/log/note");
  const { WITNESS_NAME_MAX_BYTES } = await import("tallystick/log/witness");
  if (!isKeyName(name) || Buffer.byteLength(name) > WITNESS_NAME_MAX_BYTES)
    witnessCommand.error(`error: --name: expected up to ${WITNESS_NAME_MAX_BYTES} bytes without spaces or plus`);
  return name;
}

function port(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || number > 65_535) throw new InvalidArgumentError("expected a port from 0 to 65535");
  return number;
}
