import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { edgeCases } from "./cases.js";
import { VERIFIER_NAMES, verifiers } from "./engines.js";
import { type RunSummary, rerun, runVerdicts } from "./run.js";
import { type Disagreement, judge } from "./worker.js";

/** `npm run verdicts`: one verdict on each signature, whoever verifies; as many as are asked for. */
const DISAGREED_STATUS = 1;
const USAGE_STATUS = 2;
const INTERRUPTED_STATUS = 130;
const PROGRESS_EVERY_MS = 500;

interface Options {
  readonly seed: number;
  readonly count: number;
  readonly jobs: number;
  readonly json?: string;
  readonly only?: { readonly seed: number | undefined; readonly n: number };
}

const options = new Command("verdicts")
  .description(
    "Asks everything that verifies signatures about an edge set computed from the curve, and about mutations.",
  )
  .option("--seed <n>", "which mutations", whole, 1)
  .option("--count <n>", "how many mutations", whole, 10_000)
  .option("--jobs <n>", "processes", whole, availableParallelism())
  .option("--json <file>", "write the summary as JSON; - for standard output")
  .option("--only <case>", "one case, as a disagreement prints it: seed/n, or edge/n", onlyOf)
  .addHelpText("after", `\nVerifiers: libsodium alone, and by the rule ${VERIFIER_NAMES.join(", ")}.`)
  .addHelpText("after", "Exit status: 0 all agree, 1 some do not, 2 wrong usage, 130 stopped.")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_STATUS))
  .parse()
  .opts<Options>();

process.exitCode = options.only ? await one(options.only) : await many(options);

async function one({ seed, n }: NonNullable<Options["only"]>): Promise<number> {
  const batch = { ...(seed !== undefined && { seed }), from: n, to: n + 1 };
  if (seed === undefined && n >= edgeCases().length) {
    console.error(`verdicts: the edge set has ${edgeCases().length} cases, from edge/0 on`);
    return USAGE_STATUS;
  }
  const { disagreements, accepted, kinds } = await judge(await verifiers(), batch);
  console.log(`${Object.keys(kinds)[0]}: libsodium ${accepted === 1 ? "accepts" : "refuses"} it`);
  for (const disagreement of disagreements) console.log(text(disagreement));
  if (disagreements.length === 0) console.log(`so do ${VERIFIER_NAMES.join(", ")}`);
  return disagreements.length === 0 ? 0 : DISAGREED_STATUS;
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
  const summary = await runVerdicts({
    seed,
    count,
    jobs,
    signal: abort.signal,
    onDisagreement: (disagreement) => void process.stderr.write(`${clear}${text(disagreement)}\n`),
    onProgress(done, of, disagreements) {
      const nowMs = Date.now();
      if (!shown || nowMs - lastMs < PROGRESS_EVERY_MS) return;
      lastMs = nowMs;
      const left = Math.ceil(((nowMs - startedMs) / 1000 / done) * (of - done));
      process.stderr.write(
        `${clear}${((100 * done) / of).toFixed(1)} %, ${disagreements} disagreements, ${left} s left`,
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
  return summary.disagreements === 0 ? 0 : DISAGREED_STATUS;
}

function text(disagreement: Disagreement): string {
  const { what, libsodium, others, signature, message, publicKey } = disagreement;
  return [
    `${what}: libsodium ${libsodium ? "accepts" : "refuses"} it, ${others.join(", ")} not so`,
    `  key ${publicKey} signature ${signature} message ${message}`,
    `  ${rerun(disagreement)}`,
  ].join("\n");
}

function table({ seed, edge, mutations, cases, accepted, disagreements, kinds, stopped }: RunSummary, seconds: number) {
  const drawn = Object.entries(kinds).filter(([, n]) => n >= mutations / 100 && mutations > 0);
  return [
    `verifiers: libsodium alone; by the rule ${VERIFIER_NAMES.join(", ")}`,
    `edge set ${edge.toLocaleString("en")} cases, mutations ${mutations.toLocaleString("en")} of seed ${seed}`,
    ...drawn.map(([kind, n]) => `  ${kind}: ${n.toLocaleString("en")}`),
    `${cases.toLocaleString("en")} cases, ${accepted.toLocaleString("en")} of them signatures, ${disagreements} disagreements, ${seconds.toFixed(0)} s`,
    ...(stopped ? ["stopped"] : []),
  ].join("\n");
}

function whole(value: string): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) === 0)
    throw new InvalidArgumentError("expected a whole number from 1 to 999999999");
  return Number(value);
}

function onlyOf(value: string): Options["only"] {
  const match = /^(edge|\d{1,9})\/(\d{1,9})$/.exec(value);
  if (match === null) throw new InvalidArgumentError("expected seed/n or edge/n, as 1/17");
  return { seed: match[1] === "edge" ? undefined : Number(match[1]), n: Number(match[2]) };
}
