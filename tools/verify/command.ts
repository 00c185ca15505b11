import { Command, InvalidArgumentError } from "commander";
import { fromDidKey } from "tallystick/identity/key";

interface Options {
  readonly policy?: string;
  readonly json?: true;
  readonly log?: string;
  readonly checkpoint?: string;
  readonly relayKeys?: string;
  readonly opening?: string;
  readonly relayKey?: Uint8Array;
}

export const verifyCommand = new Command("verify")
  .description(
    "verify an evidence file or the proof of a fork, offline; or whether a relay kept its word: every step, what it proves, and what it cannot",
  )
  .argument("<file>", "evidence file (.tally), proof of a fork, or with --log an acknowledgement; - for standard input")
  .option("--policy <file>", "what you trust and what must be proved (modules/evidence/SPEC.md)")
  .option("--log <place>", "of an acknowledgement: folder or address that has the log's checkpoint and tiles")
  .option(
    "--checkpoint <file>",
    "with --log: a later checkpoint with cosignatures, or a later acknowledgement; else the log's",
  )
  .option("--relay-keys <file>", "with --log: how the relay's keys changed, as GET /v1/relay/keys gives it")
  .option(
    "--opening <file>",
    "with --log: the log's first entry, or the bundle that begins with it, if the log withholds that",
  )
  .option(
    "--relay-key <did:key>",
    "with --log: the relay's key of acknowledgements, if you know it from elsewhere",
    publicKey,
  )
  .option("--json", "print the report as JSON, also where a file cannot be read")
  .addHelpText(
    "after",
    `
An acknowledgement is a relay's signed word that a record will be in its log by a time. With --log it is held against the
log's own checkpoint and leaf hashes: whether the promise was broken (modules/evidence/OMISSION.md). Nothing is asked of
the network but that address. How far it is goes to standard error.

Exit status: 0 all that the policy requires, the fork, or the broken promise, is proved, 1 something is false, or the
promise was kept, 2 unreadable input, 3 incomplete.`,
  )
  .action(async (file: string, options: Options, command: Command) => {
    const { policy, json, log, checkpoint, relayKeys, opening, relayKey } = options;
    if (log !== undefined) {
      const { verifyOmission } = await import("./omission.js");
      process.exitCode = await verifyOmission(file, {
        policy,
        log,
        ...(checkpoint !== undefined && { checkpoint }),
        ...(relayKeys !== undefined && { relayKeys }),
        ...(opening !== undefined && { opening }),
        ...(relayKey && { relayKey }),
        json: json === true,
        onProgress: (done, all) => {
          if (process.stderr.isTTY) process.stderr.write(`\rleaf hashes ${done} of ${all}${done === all ? "\n" : ""}`);
        },
      });
      return;
    }
    if ([checkpoint, relayKeys, opening, relayKey].some((option) => option !== undefined))
      command.error("error: --checkpoint, --relay-keys, --opening and --relay-key go with --log <place>");
    const { verify } = await import("./verify.js");
    process.exitCode = verify(file, policy, json === true);
  });

function publicKey(text: string): Uint8Array {
  const key = fromDidKey(text);
  if (!key) throw new InvalidArgumentError("expected did:key:z… of an Ed25519 key");
  return key;
}
