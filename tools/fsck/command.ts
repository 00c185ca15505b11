import { Command } from "commander";

export const fsckCommand = new Command("fsck")
  .description("say what the next start would do about a journal image, and which records read back; changes nothing")
  .argument("<file>", "raw dump of the journal's partition, or its hexadecimal; - for standard input")
  .option(
    "--key <key>",
    "the device's public key, as did:key or 64 hexadecimal digits; may be given again",
    collect,
    [],
  )
  .option("--json", "print the report as JSON, also where a file cannot be read")
  .addHelpText(
    "after",
    `
The journal's own recovery runs on a copy in memory. Signatures are verified by the key of the genesis record while the
image holds it, otherwise by --key. Of an encrypted partition the dump is what the device reads: its decrypted content.
tallystick inspect shows the bytes.

Exit status: 0 nothing to do, 1 recovery would write, or something is damaged, 2 unreadable input or no journal,
3 nothing to do, but a signature could not be verified: no key is known, or only the device can make it again.`,
  )
  .action(async (file: string, options: { key?: readonly string[]; json?: boolean }, command: Command) => {
    // Loaded when it is asked for: no other command needs it.
    const [{ fsck }, { readKey }] = await Promise.all([import("./fsck.js"), import("./keys.js")]);
    const keys = (options.key ?? []).map((text) => {
      const key = readKey(text);
      return (
        key ?? command.error(`error: --key: expected a did:key or 64 hexadecimal digits of an Ed25519 key, got ${text}`)
      );
    });
    process.exitCode = fsck(file, keys, options.json ?? false);
  });

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
