import { explain, type Failure } from "tallystick/codes/codes";
import { formatVerifierKey, type VerifierKey } from "tallystick/log/note";
import { relayCrypto } from "../crypto.js";
import { prepareFolder } from "../folder.js";
import { systemEntropy } from "../keys.js";
import { nodeDisk } from "../log/disk.js";
import { createLogger } from "../logger.js";
import { signalled } from "../signalled.js";
import { WitnessServer } from "./server.js";
import { Witness } from "./witness.js";

/** The witness as a process: starts, says where it listens and by which key, ends in order on SIGINT and SIGTERM. */
export interface RunOptions {
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  /** The witness's name; that of a new one with `initialise`. */
  readonly name?: string;
  /** Makes a new witness where the folder holds none; without it that is refused, as a mistyped path would be. */
  readonly initialise: boolean;
  readonly logs: readonly VerifierKey[];
  /** A level of pino: fatal, error, warn, info, debug, silent. Logs are JSON lines on standard error. */
  readonly logLevel: string;
  /** Lines of standard output for people, or one of JSON for a program. */
  readonly json: boolean;
}

/** Resolves with the exit status once the witness has ended: 0 in order, 1 where it could not start. */
export async function runWitness(options: RunOptions): Promise<number> {
  const logger = createLogger(options.logLevel);
  const ended = signalled();
  const { dataDir, host, port, name, logs, initialise } = options;
  const parts = { dataDir, host, port, logs, logger, ...(name !== undefined && { name }) };
  let server = await WitnessServer.open(parts);
  if (!server.ok && server.failure.code === "WITNESS_FOLDER_BLANK" && initialise && name !== undefined) {
    const prepared = prepareFolder(dataDir);
    if (!prepared.ok) return refuse(prepared.failure);
    const making = { disk: nodeDisk, crypto: relayCrypto, folder: dataDir, entropy: systemEntropy };
    const made = await Witness.create(making, name);
    if (!made.ok) return refuse(made.failure);
    server = await WitnessServer.open(parts);
  }
  if (!server.ok) return refuse(server.failure);
  const { url, key } = server.value;
  const line = formatVerifierKey(key);
  const origins = [...new Set(logs.map((log) => log.name))];
  if (options.json) console.log(JSON.stringify({ url, name: key.name, key: line, logs: origins }));
  else {
    console.log(`witness ${key.name}: ${url}`);
    console.log(`a relay asks it with --witness ${url}=${line}`);
    console.log(
      origins.length > 0 ? `cosigns for ${origins.join(", ")}` : "cosigns for nobody yet: --log-key names a log",
    );
  }
  await ended;
  await server.value.close();
  return 0;
}

function refuse(failure: Failure): number {
  console.error(explain(failure));
  // A channel that is listened to would keep the process from ending.
  process.removeAllListeners("disconnect");
  return 1;
}
