import { Command } from "commander";
import type { InspectOptions } from "./inspect.js";

export const inspectCommand = new Command("inspect")
  .description(
    "print records, an acknowledgement, a revocation, the proof of a fork, a maker's statement, a journal image or an evidence file, field by field",
  )
  .argument("<file>", "file of bytes, or of hexadecimal; - for standard input")
  .option("--hex", "of a journal image: the bytes of each frame beside its fields")
  .option("--json", "of a journal image: one JSON document")
  .addHelpText(
    "after",
    `
A journal image is the raw partition as the device reads it: of an encrypted one, its decrypted content.
modules/journal/SPEC.md has the fields; tallystick fsck says what the next start would do about it.

Nothing is verified: tallystick verify does that. Exit status: 0, or 2 for unreadable input.`,
  )
  .action(async (file: string, options: InspectOptions) => {
    const { inspectFile } = await import("./inspect.js");
    process.exitCode = inspectFile(file, options);
  });
