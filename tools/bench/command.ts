import { appendFileSync, writeFileSync } from "node:fs";
import { Argument, Command } from "commander";
import { type Area, goalLine } from "./area.js";
import { journalArea } from "./journal.js";
import { relayArea } from "./relay.js";
import { relayGrowthArea } from "./relay-growth.js";
import { verifyArea } from "./verify.js";

/** `npm run bench -- <area>`: measures, prints a table, and says which of the design's figures are met. */
const USAGE_STATUS = 2;
const MISSED_STATUS = 1;
const INTERNAL_ERROR_STATUS = 70;

/** A further area is a module beside this one, and a place in this list. */
const AREAS: readonly Area[] = [journalArea, relayArea, relayGrowthArea, verifyArea];

const program = new Command("bench")
  .usage("<area> [options]")
  .description("measure what a part of Tallystick costs, beside the figures that its design promises")
  .addArgument(new Argument("<area>", "what to measure").choices(AREAS.map(({ name }) => name)))
  .option("--json <file>", "write the figures as JSON; - for standard output, in place of the table")
  .option("--quick", "only the workload of the design's figures, in seconds")
  .addHelpText("after", () => ["\nAreas:", ...AREAS.map((area) => `  ${area.name}  ${area.description}`)].join("\n"))
  .addHelpText("after", "\nExit status: 0 all figures are met, 1 one is missed, 2 wrong usage or a file not written.")
  .showHelpAfterError("(--help lists the areas)")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_STATUS))
  .action(async (name: string, { json, quick = false }: { json?: string; quick?: boolean }) => {
    process.exitCode = await bench(AREAS.find((area) => area.name === name)!, quick, json);
  });

async function bench(area: Area, quick: boolean, json: string | undefined): Promise<number> {
  const file = json === "-" ? undefined : json;
  const problem = file === undefined ? undefined : notWritable(file);
  if (problem !== undefined) {
    console.error(`bench: ${file}: ${problem}; name a file that can be written`);
    return USAGE_STATUS;
  }
  const shown = process.stderr.isTTY === true;
  const progress = (line: string): void => void (shown && process.stderr.write(`\r\x1b[K${line}`));
  const measured = await area.run({ quick, progress });
  if (shown) process.stderr.write("\r\x1b[K");
  const document = `${JSON.stringify(measured.json, null, 2)}\n`;
  if (json === "-") process.stdout.write(document);
  else console.log([...measured.table, "", ...measured.json.goals.map(goalLine)].join("\n"));
  if (file !== undefined) writeFileSync(file, document);
  return measured.json.goals.every(({ met }) => met) ? 0 : MISSED_STATUS;
}

/** Why the file cannot be written: told before a measurement that takes minutes. */
function notWritable(file: string): string | undefined {
  try {
    appendFileSync(file, "");
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

try {
  await program.parseAsync();
} catch (error) {
  console.error(error);
  process.exitCode = INTERNAL_ERROR_STATUS;
}
