import { readFileSync } from "node:fs";
import { Command } from "commander";
import { toHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { formatStep, type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { portableCrypto } from "tallystick/identity/portable";
import { KIND_WORDS, Kind } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import { measuredText, readingJson, timeText } from "../reading.js";

/** Exit codes of `tallystick verify`, for scripts. */
export const VERIFY_EXIT = { proved: 0, false: 1, unreadable: 2, incomplete: 3 } as const;

export const verifyCommand = new Command("verify")
  .description("verify an evidence file, offline: every step, what it proves, and what no such file can prove")
  .argument("<file>", "evidence file (.tally)")
  .requiredOption("--policy <file>", "what you trust and what must be proved (modules/evidence/SPEC.md)")
  .option("--json", "print the report as JSON")
  .addHelpText(
    "after",
    "\nExit status: 0 all that the policy requires is proved, 1 something is false, 2 unreadable input, 3 incomplete.",
  )
  .action((file: string, options: { policy: string; json?: boolean }) => {
    process.exitCode = verify(file, options.policy, options.json ?? false);
  });

function verify(file: string, policyFile: string, asJson: boolean): number {
  const evidence = read(file);
  const policyBytes = read(policyFile);
  if (!evidence || !policyBytes) return VERIFY_EXIT.unreadable;
  const policy = readPolicy(portableCrypto.sha256, policyBytes.toString("utf8"));
  if (!policy.ok) return unreadable(policyFile, explain(policy.failure));
  const report = verifyEvidence(portableCrypto, evidence, policy.value);
  if (!report.ok) return unreadable(file, explain(report.failure));
  console.log(asJson ? JSON.stringify(toJson(report.value), null, 2) : toText(report.value).join("\n"));
  return VERIFY_EXIT[report.value.verdict];
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    unreadable(file, `${(error as Error).message}; name a file that can be read`);
    return undefined;
  }
}

function unreadable(file: string, why: string): number {
  console.error(`tallystick verify: ${file}: ${why}`);
  return VERIFY_EXIT.unreadable;
}

function toText(report: Report): string[] {
  return [
    ...report.records.flatMap(({ record, id }) => [
      `record ${toHex(id)}`,
      ...readingsOf(record).map((line) => `  ${line}`),
    ]),
    "",
    ...report.steps.map(formatStep),
    "",
    "not proved by any file of this kind:",
    ...report.notProved.map((line) => `  ${line}`),
    "",
    `verdict: ${report.verdict}`,
  ];
}

function readingsOf(record: Report["records"][number]["record"]): string[] {
  const { kind, seq, clock } = record.header;
  if (kind !== Kind.readings) return [`${KIND_WORDS[kind]}, seq ${seq}`];
  const readings = readPack(record.payload, clock);
  if (!readings.ok) return [explain(readings.failure)];
  return readings.value.map((reading) => `${reading.name} ${measuredText(reading)}  ${timeText(reading.timeS, clock)}`);
}

function exactReadings({ header, payload }: Report["records"][number]["record"]) {
  const readings = header.kind === Kind.readings ? readPack(payload, header.clock) : undefined;
  return readings?.ok ? { readings: readings.value.map(readingJson) } : {};
}

function toJson(report: Report) {
  return {
    verdict: report.verdict,
    records: report.records.map(({ record, id }) => ({
      id: toHex(id),
      kid: toHex(record.header.kid),
      kind: KIND_WORDS[record.header.kind],
      seq: record.header.seq,
      ...exactReadings(record),
    })),
    steps: report.steps,
    notProved: report.notProved,
  };
}
