import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { type AnyCase, CASE_CLASSES, tryAny } from "./classes.js";
import { type RunSummary, rerun, runCuts, type Totals } from "./run.js";

/** `npm run cuts`: power cuts and damage against the journal, as many as are asked for. */
const FAILED_STATUS = 1;
const USAGE_STATUS = 2;
const INTERRUPTED_STATUS = 130;
const PROGRESS_EVERY_MS = 500;

interface Options {
  readonly seed: number;
  readonly count: number;
  readonly jobs: number;
  readonly class?: readonly string[];
  readonly boards?: boolean;
  readonly json?: string;
  readonly case?: AnyCase;
}

const names = CASE_CLASSES.map(({ name }) => name);
const program = new Command("cuts")
  .description(
    "Cuts the power of a simulated journal, and damages its cells, and checks that no record is lost or false.",
  )
  .option("--seed <n>", "which cases are tried", whole, 1)
  .option("--count <n>", "power cuts, about", whole, 100_000)
  .option("--class <names>", `classes, with commas between them: ${names.join(", ")}`, classNames)
  .option("--boards", "whole boards, on Node's engine and on XS: both must do the same, byte for byte; cuts only")
  .option("--jobs <n>", "workers", whole, availableParallelism())
  .option("--json <file>", "write the summary as JSON; - for standard output")
  .option("--case <json>", "run one case, as a failure prints it", caseOf)
  .addHelpText(
    "after",
    "\nThe same seed and count try the same cases. Exit status: 0 all held, 1 something did not, 2 wrong usage, 130 stopped.",
  )
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_STATUS))
  .parse();

const options = program.opts<Options>();
process.exitCode = options.case ? await one(options.case, options) : await many(options);

async function one(any: AnyCase, { boards }: Options): Promise<number> {
  const { cuts, waited, failure } = boards
    ? await (await (await import("./boards.js")).Boards.ready()).tryAny(any)
    : tryAny(any);
  console.log(
    failure === undefined
      ? `held, ${cuts} cuts${waited ? ", a recovery waited for a release" : ""}`
      : `FAILED: ${failure}`,
  );
  return failure === undefined ? 0 : FAILED_STATUS;
}

async function many({ seed, count, jobs, class: classes, boards, json }: Options): Promise<number> {
  const abort = new AbortController();
  const interrupt = () => {
    if (abort.signal.aborted) process.exit(INTERRUPTED_STATUS);
    abort.abort();
  };
  process.on("SIGINT", interrupt);
  const startedMs = Date.now();
  const clear = process.stderr.isTTY ? "\r\x1b[K" : "";
  const onProgress = process.stderr.isTTY ? progressLine(startedMs) : undefined;
  const summary = await runCuts({
    seed,
    count,
    jobs,
    signal: abort.signal,
    ...(classes && { classes }),
    ...(boards && { onBoards: true }),
    ...(onProgress && { onProgress }),
    onFailure: ({ failed, reason }) =>
      process.stderr.write(`${clear}${reason}\n  ${rerun(failed)}${boards ? " --boards" : ""}\n`),
  });
  process.off("SIGINT", interrupt);
  process.stderr.write(clear);
  const seconds = (Date.now() - startedMs) / 1000;
  if (json !== undefined) {
    const text = `${JSON.stringify({ ...summary, seconds }, null, 2)}\n`;
    if (json === "-") process.stdout.write(text);
    else writeFileSync(json, text);
  }
  if (json !== "-") console.log(table(summary, seconds));
  if (abort.signal.aborted) return INTERRUPTED_STATUS;
  return summary.totals.failures === 0 ? 0 : FAILED_STATUS;
}

function progressLine(startedMs: number): (done: Totals, of: number) => void {
  let lastMs = 0;
  return ({ cases, cuts, failures }, of) => {
    const nowMs = Date.now();
    if (nowMs - lastMs < PROGRESS_EVERY_MS) return;
    lastMs = nowMs;
    const seconds = (nowMs - startedMs) / 1000;
    const left = Math.ceil((seconds / cases) * (of - cases));
    process.stderr.write(
      `\r\x1b[K${((100 * cases) / of).toFixed(1)} %, ${grouped(cuts)} cuts, ${failures} failures, ${left} s left`,
    );
  };
}

function table({ seed, classes, totals, stopped }: RunSummary, seconds: number): string {
  const rows = [
    ["class", "cases", "cuts", "waits", "failures", ""],
    ...classes.map(({ name, title, cases, cuts, failures, waits, points }) => [
      name,
      grouped(cases),
      cuts > 0 ? grouped(cuts) : "–",
      grouped(waits),
      grouped(failures),
      points === undefined ? title : `${title}: ${grouped(Math.min(points, cases))} of ${grouped(points)}`,
    ]),
    [
      "all",
      grouped(totals.cases),
      grouped(totals.cuts),
      grouped(totals.waits),
      grouped(totals.failures),
      `seed ${seed}, ${seconds.toFixed(0)} s`,
    ],
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0]!) : column < 5 ? cell.padStart(widths[column]!) : cell,
      )
      .join("  ")
      .trimEnd(),
  );
  return [...lines, ...(stopped ? ["", "stopped"] : [])].join("\n");
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) === 0)
    throw new InvalidArgumentError("expected a whole number from 1 to 999999999");
  return Number(text);
}

function classNames(text: string): string[] {
  const chosen = text.split(",").map((name) => name.trim());
  const unknown = chosen.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`no class ${unknown}; there are: ${names.join(", ")}`);
  return chosen;
}

function caseOf(text: string): AnyCase {
  try {
    const any: unknown = JSON.parse(text);
    if (typeof any === "object" && any !== null && ("cuts" in any || "damage" in any)) return any as AnyCase;
  } catch {
    // Told below, as any other text that is no case.
  }
  throw new InvalidArgumentError("expected a case as a failure prints it: JSON with cuts or damage");
}
