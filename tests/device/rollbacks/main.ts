import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { tryCase } from "./case.js";
import { APART, ROLLBACKS } from "./misfortunes.js";
import { type RunSummary, relaysFolder, rerun, runRollbacks } from "./run.js";
import type { Failure } from "./worker.js";

/** `npm run rollbacks`: devices that are set back, honestly, as often as is asked for; nobody may take one for two. */
const FAILED_STATUS = 1;
const USAGE_STATUS = 2;
const INTERRUPTED_STATUS = 130;
const PROGRESS_EVERY_MS = 500;
/** The device's last words that are shown of a case that failed. */
const LINES_SHOWN = 40;

interface Options {
  readonly seed: number;
  readonly count: number;
  readonly jobs: number;
  readonly json?: string;
  readonly only?: { readonly seed: number; readonly n: number };
}

const options = new Command("rollbacks")
  .description("Sets simulated devices back, honestly, beside a real relay, and checks that no alarm is raised.")
  .option("--seed <n>", "which cases are tried", whole, 1)
  .option("--count <n>", "rollbacks, about", whole, 10_000)
  .option("--jobs <n>", "processes", whole, availableParallelism())
  .option("--json <file>", "write the summary as JSON; - for standard output")
  .option("--only <case>", "one case, as a failure prints it: seed/n", onlyOf)
  .addHelpText(
    "after",
    "\nThe same seed and count try the same cases. Exit status: 0 all held, 1 something did not, 2 wrong usage, 130 stopped.",
  )
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_STATUS))
  .parse()
  .opts<Options>();

process.exitCode = options.only ? await one(options.only) : await many(options);

async function one({ seed, n }: NonNullable<Options["only"]>): Promise<number> {
  const folder = relaysFolder();
  const { kinds, tally, passages, lines, failure } = await tryCase(seed, n);
  folder.remove();
  if (failure !== undefined) {
    console.log(lines.slice(-LINES_SHOWN).join("\n"));
    console.log(`FAILED: ${failure}`);
    return FAILED_STATUS;
  }
  console.log(`held: ${JSON.stringify({ ...kinds, ...tally, ...passages })}`);
  return 0;
}

async function many({ seed, count, jobs, json }: Options): Promise<number> {
  const abort = new AbortController();
  const interrupt = () => {
    if (abort.signal.aborted) process.exit(INTERRUPTED_STATUS);
    abort.abort();
  };
  process.on("SIGINT", interrupt);
  const startedMs = Date.now();
  const shown = process.stderr.isTTY === true;
  const clear = shown ? "\r\x1b[K" : "";
  let lastMs = 0;
  const summary = await runRollbacks({
    seed,
    count,
    jobs,
    signal: abort.signal,
    onFailure: (failure) => void process.stderr.write(`${clear}${text(failure)}\n`),
    onProgress({ rollbacks, failures }, of) {
      const nowMs = Date.now();
      if (!shown || nowMs - lastMs < PROGRESS_EVERY_MS) return;
      lastMs = nowMs;
      const left = Math.ceil(((nowMs - startedMs) / 1000 / rollbacks) * (of - rollbacks));
      const percent = ((100 * rollbacks) / of).toFixed(1);
      process.stderr.write(
        `${clear}${percent} %, ${grouped(rollbacks)} rollbacks, ${failures} failures, ${left} s left`,
      );
    },
  });
  process.off("SIGINT", interrupt);
  process.stderr.write(clear);
  const seconds = (Date.now() - startedMs) / 1000;
  if (json !== undefined) {
    const document = `${JSON.stringify({ ...summary, seconds }, null, 2)}\n`;
    if (json === "-") process.stdout.write(document);
    else writeFileSync(json, document);
  }
  if (json !== "-") console.log(table(summary, seconds));
  if (summary.stopped) return INTERRUPTED_STATUS;
  return summary.failures.length === 0 ? 0 : FAILED_STATUS;
}

function text(failure: Failure): string {
  return `${failure.reason}\n  ${rerun(failure)}`;
}

function table({ seed, cases, rollbacks, kinds, tally, passages, failures, stopped }: RunSummary, seconds: number) {
  const counted = (counts: Readonly<Record<string, number>>, names: readonly string[] = Object.keys(counts)) =>
    names.map((name) => `${name} ${grouped(counts[name]!)}`).join(", ");
  const { positions, farthest, ...rest } = tally;
  return [
    `${grouped(rollbacks)} rollbacks of ${grouped(cases)} devices, seed ${seed}, ${failures.length} failures, ${seconds.toFixed(0)} s`,
    `  set back: ${counted(kinds, ROLLBACKS)}`,
    `  by ${grouped(positions)} records in all, ${farthest} at the most`,
    `  meanwhile: ${counted(rest)}`,
    `  requests: ${counted(passages)}`,
    `  counted apart: ${counted(kinds, APART)}`,
    ...(stopped ? ["stopped"] : []),
  ].join("\n");
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

function whole(value: string): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) === 0)
    throw new InvalidArgumentError("expected a whole number from 1 to 999999999");
  return Number(value);
}

function onlyOf(value: string): Options["only"] {
  const match = /^(\d{1,9})\/(\d{1,9})$/.exec(value);
  if (match === null) throw new InvalidArgumentError("expected seed/n, as 1/17");
  return { seed: Number(match[1]), n: Number(match[2]) };
}
