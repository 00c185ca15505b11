import { Command } from "commander";

export const verifyCommand = new Command("verify")
  .description("verify an evidence file, offline: every step, what it proves, and what no such file can prove")
  .argument("<file>", "evidence file (.tally); - for standard input")
  .requiredOption("--policy <file>", "what you trust and what must be proved (modules/evidence/SPEC.md)")
  .option("--json", "print the report as JSON, also where a file cannot be read")
  .addHelpText(
    "after",
    "\nExit status: 0 all that the policy requires is proved, 1 something is false, 2 unreadable input, 3 incomplete.",
  )
  .action(async (file: string, options: { policy: string; json?: boolean }) => {
    const { verify } = await import("./verify.js");
    process.exitCode = verify(file, options.policy, options.json ?? false);
  });
