import { Command } from "commander";
import { relayUrl } from "../relay-url.js";

export const acknowledgementCommand = new Command("acknowledgement")
  .description("ask a relay how far it is with a device, and keep its signed word: tallystick verify holds it to that")
  .argument("<device>", "its kid, 16 hexadecimal digits, or its did:key")
  .requiredOption("--relay <url>", "the relay's address", relayUrl)
  .requiredOption("--out <file>", "a new file for the acknowledgement; - for standard output")
  .option("--json", "what it says as one line of JSON, where it goes to a file")
  .addHelpText(
    "after",
    `
Anyone may ask. What it names as received and not yet logged is promised to be in the log by a time; after that,
  tallystick verify <file> --log <url> --policy <file>
shows whether it is. The signature is looked at there, not here.

Exit status: 0 kept, 1 refused, or not kept, 2 what was typed.`,
  )
  .action(async (device: string, options: { relay: string; out: string; json?: true }) => {
    const { acknowledgement } = await import("./acknowledgement.js");
    process.exitCode = await acknowledgement(device, options.relay, options.out, options.json === true);
  });
