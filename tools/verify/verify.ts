import { toHex } from "tallystick/bytes/bytes";
import { visibleLines } from "tallystick/bytes/visible";
import { explain, type Failure, fail } from "tallystick/codes/codes";
import { BUNDLE_MAX_BYTES } from "tallystick/evidence/bundle";
import { formatStep, type Report, verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { portableCrypto } from "tallystick/identity/portable";
import { readAlert } from "tallystick/record/payload";
import { KIND_WORDS, Kind } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import { readInput } from "../file.js";
import { alertText, measuredText, readingJson, timeText } from "../reading.js";
import { VERIFY_EXIT } from "./exit.js";
import { isForkProof, verifyFork } from "./fork.js";
import { seemingOf } from "./seeming.js";

/** The largest policy: 1024 devices and as many blocks fit. */
export const POLICY_MAX_BYTES = 1024 * 1024;

/** Verifies, prints the report, and answers with the exit status. */
export function verify(file: string, policyFile: string | undefined, asJson: boolean): number {
  const evidence = readInput(file, BUNDLE_MAX_BYTES);
  if (!evidence.ok) return unreadable(file, evidence.failure, asJson);
  if (isForkProof(evidence.value)) return verifyFork(file, evidence.value, asJson);
  const seeming = seemingOf(evidence.value);
  if (seeming !== undefined) return unreadable(file, fail("EVIDENCE_MALFORMED", seeming).failure, asJson);
  if (policyFile === undefined) {
    const { failure } = fail("POLICY_MALFORMED", "evidence is judged by what you trust: name it with --policy <file>");
    return unreadable(file, failure, asJson);
  }
  const policyBytes = readInput(policyFile, POLICY_MAX_BYTES);
  if (!policyBytes.ok) return unreadable(policyFile, policyBytes.failure, asJson);
  const policy = readPolicy(portableCrypto.sha256, Buffer.from(policyBytes.value).toString("utf8"));
  if (!policy.ok) return unreadable(policyFile, policy.failure, asJson);
  const report = verifyEvidence(portableCrypto, evidence.value, policy.value);
  if (!report.ok) return unreadable(file, report.failure, asJson);
  console.log(asJson ? JSON.stringify(toJson(report.value), null, 2) : visibleLines(toText(report.value).join("\n")));
  return VERIFY_EXIT[report.value.verdict];
}

function unreadable(file: string, failure: Failure, asJson: boolean): number {
  if (asJson) console.log(JSON.stringify({ verdict: "unreadable", file, failure }, null, 2));
  else console.error(`tallystick verify: ${file}: ${explain(failure)}`);
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
    `verdict: ${report.verdict} (${report.required.join(", ")})`,
  ];
}

function readingsOf(record: Report["records"][number]["record"]): string[] {
  const { kind, seq, clock } = record.header;
  const alert = kind === Kind.alert ? readAlert(record.payload) : undefined;
  if (alert?.ok)
    return [`alert, seq ${seq}: ${alertText(alert.value)}`, ...alert.value.records.map((id) => `  about ${toHex(id)}`)];
  if (kind !== Kind.readings) return [`${KIND_WORDS[kind]}, seq ${seq}`];
  const readings = readPack(record.payload, clock);
  if (!readings.ok) return [explain(readings.failure)];
  return readings.value.map((reading) => `${reading.name} ${measuredText(reading)}  ${timeText(reading.timeS, clock)}`);
}

function exactReadings({ header, payload }: Report["records"][number]["record"]) {
  const alert = header.kind === Kind.alert ? readAlert(payload) : undefined;
  if (alert?.ok) return { alert: { ...alert.value, records: alert.value.records.map(toHex) } };
  const readings = header.kind === Kind.readings ? readPack(payload, header.clock) : undefined;
  return readings?.ok ? { readings: readings.value.map(readingJson) } : {};
}

function toJson(report: Report) {
  return {
    verdict: report.verdict,
    required: report.required,
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
