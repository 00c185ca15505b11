import { Command, Option } from "commander";
import { durationMs } from "../duration.js";
import { relayOrigin } from "../relay-url.js";

interface Options {
  readonly relay: string;
  readonly token?: string;
  readonly board: string;
  readonly for?: number;
  readonly data: string;
}

export const simulateCommand = new Command("simulate")
  .description(
    "one simulated board on the real engine, enrolled at a relay of yours: records, and brings it what it has",
  )
  .requiredOption("--relay <url>", "the relay's address", relayOrigin)
  .option(
    "--token <token>",
    "lets a new board in, as tallystick enrol prints it; for a relay that is open to all, any text",
  )
  .addOption(
    new Option("--board <name>", "which of the demo's boards it is: its sensor, and where it stands")
      .choices(["attic", "cellar", "greenhouse"])
      .default("attic"),
  )
  .option("--for <time>", "stop by itself after this long, for instance 30s, 5m, 2h", durationMs)
  .option(
    "--data <dir>",
    "a folder in it, named as the board, keeps flash and keys; a second start goes on",
    "tallystick-boards",
  )
  .addHelpText(
    "after",
    `
A new board asks the relay's address for the relay's keys, and believes those alone from then on. Without an answer it records
on, and brings later what the relay lacks. Further boards: another --data or --board, and a token each.

Ctrl-C stops it, a second one at once. Exit status: 0 the relay has all that the board had recorded by then, 1 not, 2 what was
typed.`,
  )
  .action(async ({ relay, token, board, for: forMs, data }: Options) => {
    // Loaded when it is asked for: the other commands need neither engine nor simulator.
    const { simulate } = await import("./simulate.js");
    process.exitCode = await simulate({
      relayUrl: relay,
      label: board,
      dataDir: data,
      ...(token !== undefined && { token }),
      ...(forMs !== undefined && { forMs }),
    });
  });
