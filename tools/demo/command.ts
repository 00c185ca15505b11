import { Command, InvalidArgumentError } from "commander";
import { durationMs } from "../duration.js";

export const demoCommand = new Command("demo")
  .description("three simulated boards on the real engine, a relay and a ledger: readings proved from sensor to block")
  .option("--for <time>", "stop by itself after this long, for instance 30s, 5m, 2h", durationMs)
  .option("--data <dir>", "where chains, log and ledger are kept; a second start continues them", "tallystick-data")
  .option("--port <number>", "where the relay listens; 0 takes any free port", port, 0)
  .option("--json <file>", "write what was reached as JSON")
  .addHelpText(
    "after",
    "\nCtrl-C stops it; then evidence is exported and verified. Exit status 0 only if all was proved.",
  )
  .action(async (options: { for?: number; data: string; port: number; json?: string }) => {
    // Loaded when it is asked for: the other commands need neither engine nor simulator.
    const { runDemo } = await import("./demo.js");
    process.exitCode = await runDemo({
      dataDir: options.data,
      port: options.port,
      ...(options.for !== undefined && { forMs: options.for }),
      ...(options.json !== undefined && { jsonFile: options.json }),
    });
  });

function port(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0 || number > 65_535)
    throw new InvalidArgumentError("expected a port from 0 to 65535");
  return number;
}
