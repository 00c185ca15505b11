import { Command } from "commander";

export const verifyCommand = new Command("verify")
  .description(
    "verify an evidence file or the proof of a fork, offline: every step, what it proves, and what it cannot",
  )
  .argument("<file>", "evidence file (.tally) or proof of a fork; - for standard input")
  .option("--policy <file>", "of evidence: what you trust and what must be proved (modules/evidence/SPEC.md)")
  .option("--json", "print the report as JSON, also where a file cannot be read")
  .addHelpText(
    "after",
    "\nExit status: 0 all that the policy requires, or the fork, is proved, 1 something is false, 2 unreadable input, 3 incomplete.",
  )
  .action(async (file: string, options: { policy?: string; json?: boolean }) => {
    const { verify } = await import("./verify.js");
    process.exitCode = verify(file, options.policy, options.json ?? false);
  });
