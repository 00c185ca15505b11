import { Command } from "commander";

export const inspectCommand = new Command("inspect")
  .description("print a record, a sequence of records, a journal image or an evidence file, field by field")
  .argument("<file>", "file of bytes, or of hexadecimal; - for standard input")
  .addHelpText(
    "after",
    "\nNothing is verified: `tallystick verify` does that. Exit status: 0, or 2 for unreadable input.",
  )
  .action(async (file: string) => {
    const { inspectFile } = await import("./inspect.js");
    process.exitCode = inspectFile(file);
  });
