import { statSync } from "node:fs";
import { Command } from "commander";

export const fsckCommand = new Command("fsck")
  .description(
    "say what is wrong with a device's journal image or a relay's data folder, and what the next start would do",
  )
  .argument(
    "<file>",
    "raw dump of the journal's partition, or its hexadecimal, - for standard input; or a relay's data folder",
  )
  .option(
    "--key <key>",
    "the device's public key, as did:key or 64 hexadecimal digits; may be given again",
    collect,
    [],
  )
  .option(
    "--repair",
    "of a stopped relay's folder: put back what the signed root and the records' ids show to be right",
  )
  .option("--json", "print the report as JSON, also where a file cannot be read")
  .addHelpText(
    "after",
    `
The journal's own recovery runs on a copy in memory. Signatures are verified by the key of the genesis record while the
image holds it, otherwise by --key. Of an encrypted partition the dump is what the device reads: its decrypted content.
tallystick inspect shows the bytes.

Of a relay's data folder: identity, keys, what was signed, every tile and bundle, every row and chain. It is only read, and
the relay may run; of a stopped one nothing can start meanwhile. How far it is goes to standard error.

Exit status: 0 nothing to do, 1 recovery would write, or something is damaged, 2 unreadable input, no journal, no relay,
3 nothing to do, but a signature could not be verified (no key is known, or only the device can make it again), or the
database is of another version.`,
  )
  .action(
    async (file: string, options: { key?: readonly string[]; repair?: true; json?: boolean }, command: Command) => {
      if (file !== "-" && isFolder(file)) {
        const { fsckFolder } = await import("./relay-folder.js");
        process.exitCode = await fsckFolder(file, {
          asJson: options.json === true,
          repair: options.repair === true,
          onProgress: (part, done, all) => {
            if (process.stderr.isTTY) process.stderr.write(`\r${part} ${done} of ${all}${done === all ? "\n" : ""}`);
          },
        });
        return;
      }
      if (options.repair) command.error("error: --repair is for a relay's data folder");
      // Loaded when it is asked for: no other command needs it.
      const [{ fsck }, { readKey }] = await Promise.all([import("./fsck.js"), import("./keys.js")]);
      const keys = (options.key ?? []).map((text) => {
        const key = readKey(text);
        return (
          key ??
          command.error(`error: --key: expected a did:key or 64 hexadecimal digits of an Ed25519 key, got ${text}`)
        );
      });
      process.exitCode = fsck(file, keys, options.json ?? false);
    },
  );

/** What may not be looked at is for the reading to refuse. */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
