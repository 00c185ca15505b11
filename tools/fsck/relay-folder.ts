import { CODES, type Code, explain, type Failure } from "tallystick/codes/codes";
import {
  type ExamineOptions,
  examineFolder,
  type FolderExamination,
  type FolderFinding,
} from "../../hosts/relay/examine.js";
import { repairFolder } from "../../hosts/relay/repair.js";
import { storeOfEnvironment } from "../../hosts/relay/store/open.js";
import { FSCK_EXIT } from "./fsck.js";

/** What `tallystick fsck` says about a relay's data folder. */

const VERDICTS = {
  clean: "clean",
  recovers: "not clean: the next start puts it right",
  damaged: "damaged",
  unverified: "nothing is wrong, but not all of it could be examined",
} as const;
type Verdict = keyof typeof VERDICTS;

export interface FolderFsckOptions {
  readonly asJson: boolean;
  readonly repair: boolean;
  /** Hears of progress, for a person who waits. */
  readonly onProgress?: ExamineOptions["onProgress"];
}

/** Examines, prints the report, and answers with the exit status. Written to is the folder only with `repair`. */
export async function fsckFolder(dataDir: string, options: FolderFsckOptions): Promise<number> {
  const { asJson, repair, onProgress } = options;
  const place = storeOfEnvironment(process.env);
  if (!place.ok) return refuse(dataDir, place.failure, asJson);
  const examining = { ...place.value, ...(onProgress && { onProgress }) };
  const done = repair ? await repairFolder(dataDir, examining) : await examineFolder(dataDir, examining);
  if (!done.ok) return refuse(dataDir, done.failure, asJson);
  const repaired = "repaired" in done.value ? done.value.repaired : undefined;
  const refused = "refused" in done.value && done.value.refused ? done.value.refused : undefined;
  const examination = "after" in done.value ? done.value.after : done.value;
  const verdict = verdictOf(examination);
  if (asJson) {
    const report = {
      folder: dataDir,
      verdict,
      ...toJson(examination, repair),
      ...(repaired && { repaired }),
      ...(refused && { refused: refused.ok ? undefined : refused.failure }),
    };
    console.log(JSON.stringify(report, null, 2));
  } else {
    const lines = toText(examination, repair);
    for (const each of repaired ?? []) lines.push(`repaired ${each}`);
    if (refused && !refused.ok) lines.push(`not repaired: ${refused.failure.detail}`);
    console.log([...lines, "", `verdict: ${VERDICTS[verdict]}`].join("\n"));
  }
  return FSCK_EXIT[verdict];
}

function refuse(dataDir: string, failure: Failure, asJson: boolean): number {
  if (asJson) console.log(JSON.stringify({ folder: dataDir, verdict: "unreadable", failure }, null, 2));
  else console.error(`tallystick fsck: ${dataDir}: ${explain(failure)}`);
  return FSCK_EXIT.unreadable;
}

function verdictOf({ findings }: FolderExamination): Verdict {
  const has = (severity: FolderFinding["severity"]) => findings.some((finding) => finding.severity === severity);
  if (has("damaged")) return "damaged";
  if (has("recovers")) return "recovers";
  return has("unexamined") ? "unverified" : "clean";
}

/** What to do about what a repair has left: not another one. */
const LEFT_BY_REPAIR: Partial<Record<Code, string>> = {
  LOG_TILE_CORRUPT:
    "a repair cannot make it again: restore the file from a mirror of the log, or run tallystick restore",
  LOG_TILE_MISSING:
    "a repair cannot make it again: restore the file from a mirror of the log, or run tallystick restore",
  STORE_CORRUPT:
    "a repair cannot put it right: move store.sqlite aside with its -wal, and run tallystick restore with a backup",
};

function todoOf(code: Code, repaired: boolean): string {
  return (repaired ? LEFT_BY_REPAIR[code] : undefined) ?? CODES[code].todo;
}

function toText(
  { identity, running, tree, bundles, records, devices, findings, found }: FolderExamination,
  repaired: boolean,
): string[] {
  return [
    `relay ${identity.origin}${running ? ", which runs: only read, and what it has under way may show" : ", stopped"}`,
    tree ? `log of ${tree.size} entries in ${bundles} bundles` : "no tree of the log is known to be signed",
    `database of ${records} records of ${devices} devices`,
    ...(findings.length > 0 ? [""] : []),
    ...findings.map(
      ({ severity, code, where, detail }) =>
        `${severity.padEnd(10)} ${where}: ${code}: ${detail}${severity === "recovers" ? "" : `; ${todoOf(code, repaired)}`}`,
    ),
    ...(found > findings.length ? [`and ${found - findings.length} more`] : []),
  ];
}

function toJson(
  { identity, running, tree, bundles, records, devices, findings, found }: FolderExamination,
  repaired: boolean,
) {
  return {
    origin: identity.origin,
    running,
    log_size: tree?.size ?? null,
    bundles,
    records,
    devices,
    found,
    findings: findings.map(({ severity, code, where, detail }) => ({
      severity,
      code,
      where,
      detail,
      means: CODES[code].means,
      todo: todoOf(code, repaired),
    })),
  };
}
