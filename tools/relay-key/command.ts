import { Command, InvalidArgumentError } from "commander";
import { explain, type Result } from "tallystick/codes/codes";
import { fromDidKey } from "tallystick/identity/key";

interface ChangeOptions {
  readonly data: string;
  readonly log?: true;
}

interface RecoverOptions extends ChangeOptions {
  readonly recovery: string;
  readonly nextRecoveryKey?: Uint8Array;
}

const DATA = ["--data <dir>", "the relay's data folder; the relay must be stopped", "tallystick-relay"] as const;
const LOG = ["--log", "change the log's key, too"] as const;

export const relayKeyCommand = new Command("relay-key").description(
  "change a stopped relay's keys by a statement that its devices follow, or make the key that recovers it",
);

relayKeyCommand
  .command("rotate")
  .description("the present device-facing key names the next one")
  .option(...DATA)
  .option(...LOG)
  .action(async ({ data, log }: ChangeOptions) => {
    const { rotate } = await import("./relay-key.js");
    tell(await rotate(data, log === true));
  });

relayKeyCommand
  .command("recovery")
  .description("make an offline recovery key, for a relay that is yet to be initialised")
  .requiredOption("--out <file>", "where the secret half goes; to be kept away from the relay")
  .action(async ({ out }: { readonly out: string }) => {
    const { makeRecovery } = await import("./relay-key.js");
    tell(makeRecovery(out));
  });

relayKeyCommand
  .command("recover")
  .description("the recovery key names the next one: where the device-facing key was lost or stolen")
  .option(...DATA)
  .requiredOption("--recovery <file>", "the recovery key, as relay-key recovery made it")
  .option("--next-recovery-key <did:key>", "the public half of the key that takes the recovery key's place", publicKey)
  .option(...LOG)
  .action(async ({ data, log, recovery, nextRecoveryKey }: RecoverOptions) => {
    const { recover } = await import("./relay-key.js");
    tell(await recover(data, recovery, log === true, nextRecoveryKey));
  });

relayKeyCommand
  .command("show")
  .description("the relay's public keys, and how often they have changed")
  .option("--data <dir>", "the relay's data folder", "tallystick-relay")
  .action(async ({ data }: { readonly data: string }) => {
    const { show } = await import("./relay-key.js");
    tell(await show(data));
  });

/** Lines for people, or one line that says what was refused and what to do. */
function tell(result: Result<readonly string[]>): void {
  if (result.ok) {
    for (const line of result.value) console.log(line);
    return;
  }
  console.error(explain(result.failure));
  process.exitCode = 1;
}

function publicKey(text: string): Uint8Array {
  const key = fromDidKey(text);
  if (!key) throw new InvalidArgumentError("expected did:key:z… of an Ed25519 key, as relay-key recovery prints it");
  return key;
}
