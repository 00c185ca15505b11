import { toHex } from "tallystick/bytes/bytes";
import { explain, type Failure, fail, type Result } from "tallystick/codes/codes";
import {
  formatOmissionStep,
  OmissionCheck,
  type OmissionClaim,
  type OmissionReport,
} from "tallystick/evidence/omission";
import { OMISSION_RELAY_KEYS_MAX } from "tallystick/evidence/omission-keys";
import { type Policy, readPolicy } from "tallystick/evidence/policy";
import { portableCrypto } from "tallystick/identity/portable";
import { NOTE_MAX_BYTES } from "tallystick/log/note";
import { RELAY_KEY_MAX_BYTES } from "tallystick/log/relay-key";
import { STATEMENT_MAX_BYTES } from "tallystick/record/statement";
import { type Position, readAcknowledgement } from "tallystick/sync/messages";
import { splitRelayKeys } from "tallystick/sync/relay-key";
import { readInput } from "../file.js";
import { VERIFY_EXIT } from "./exit.js";
import {
  type LogSource,
  openSource,
  readCheckpoint,
  readKeptOpening,
  readLeaves,
  readOpeningEntry,
} from "./log-source.js";
import { seemingOf } from "./seeming.js";
import { POLICY_MAX_BYTES } from "./verify.js";

/** What a relay has acknowledged, held against its log: `tallystick verify` with --log. */

export interface OmissionOptions {
  readonly policy: string | undefined;
  /** Folder or address of the log's public files. */
  readonly log: string;
  /** A later checkpoint or acknowledgement; the log's own checkpoint where it is not named. */
  readonly checkpoint?: string;
  /** A CBOR sequence of statements; from the address where it is not named. */
  readonly relayKeys?: string;
  /** Leaf 0's entry, where the log's first bundle is withheld. */
  readonly opening?: string;
  readonly relayKey?: Uint8Array;
  readonly json: boolean;
  /** Leaf hashes that were read, of how many. */
  readonly onProgress?: (done: number, all: number) => void;
}

/** Leaf hashes between two words of progress. */
const PROGRESS_EVERY = 16_384;

interface Judged {
  readonly report: OmissionReport;
  /** What of the log could not be had, and why. */
  readonly missing: readonly Failure[];
}

/** A file that cannot be read, or whose content cannot. */
class Unreadable extends Error {
  constructor(
    readonly file: string,
    readonly failure: Failure,
  ) {
    super(failure.detail);
  }
}

/** Judges, prints the report, and answers with the exit status. */
export async function verifyOmission(file: string, options: OmissionOptions): Promise<number> {
  try {
    const judged = await judge(file, options);
    console.log(options.json ? JSON.stringify(toJson(judged), null, 2) : toText(judged).join("\n"));
    return VERIFY_EXIT[judged.report.verdict];
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    const { file: unreadable, failure } = error;
    if (options.json) console.log(JSON.stringify({ verdict: "unreadable", file: unreadable, failure }, null, 2));
    else console.error(`tallystick verify: ${unreadable}: ${explain(failure)}`);
    return VERIFY_EXIT.unreadable;
  }
}

async function judge(file: string, options: OmissionOptions): Promise<Judged> {
  const missing: Failure[] = [];
  const found: Found = (result) => {
    if (!result.ok) missing.push(result.failure);
    return result.ok ? result.value : undefined;
  };
  const acknowledgement = readable(file, readInput(file, STATEMENT_MAX_BYTES));
  const seeming = readAcknowledgement(acknowledgement).ok
    ? undefined
    : seemingOf(acknowledgement, "an acknowledgement");
  if (seeming !== undefined) throw new Unreadable(file, fail("STATEMENT_MALFORMED", seeming).failure);
  const policy = policyIn(options.policy);
  const source = openSource(options.log);
  const { checkpoint } = options;
  const later =
    checkpoint === undefined
      ? found(await readCheckpoint(source))
      : readable(checkpoint, readInput(checkpoint, NOTE_MAX_BYTES));
  const claim = {
    acknowledgement,
    policy,
    ...(later && { later }),
    ...(options.relayKey && { relayKey: options.relayKey }),
  };
  const sized = begin(file, checkpoint ?? options.log, claim).size;
  const opening = await openingOf(options, source, sized, found);
  const relayKeys = opening && (await statements(options.relayKeys, source, found));
  const check = begin(file, checkpoint ?? options.log, {
    ...claim,
    ...(opening && { opening }),
    ...(relayKeys && { relayKeys }),
  });
  for await (const hashes of readLeaves(source, check.size)) {
    const given = found(hashes);
    if (given) check.append(given);
    if (check.count % PROGRESS_EVERY === 0 || check.count === check.size) options.onProgress?.(check.count, check.size);
  }
  return { report: check.report(), missing };
}

/** Which of the two cannot be read is told by which one can be judged alone. */
function begin(file: string, checkpoint: string, claim: OmissionClaim): OmissionCheck {
  const check = OmissionCheck.begin(portableCrypto, claim);
  if (check.ok) return check.value;
  const { later: _, ...alone } = claim;
  const isFirst = !OmissionCheck.begin(portableCrypto, alone).ok;
  throw new Unreadable(isFirst ? file : checkpoint, check.failure);
}

type Found = <T>(result: Result<T>) => T | undefined;

/** Undefined where nothing hangs on it, or it is missing. */
async function openingOf(
  { opening, relayKey }: OmissionOptions,
  source: LogSource,
  size: number,
  found: Found,
): Promise<Uint8Array | undefined> {
  if (opening !== undefined) return readable(opening, readKeptOpening(opening));
  return relayKey || size === 0 ? undefined : found(await readOpeningEntry(source, size));
}

async function statements(
  file: string | undefined,
  source: LogSource,
  found: Found,
): Promise<readonly Uint8Array[] | undefined> {
  if (file === undefined) return found(await source.relayKeys());
  const bytes = readable(file, readInput(file, OMISSION_RELAY_KEYS_MAX * RELAY_KEY_MAX_BYTES));
  return readable(file, splitRelayKeys(bytes, OMISSION_RELAY_KEYS_MAX));
}

function policyIn(file: string | undefined): Policy {
  if (file === undefined) {
    const detail = "an acknowledgement is judged by what you trust: name it with --policy <file>";
    throw new Unreadable("--policy", { code: "POLICY_MALFORMED", detail });
  }
  const bytes = readable(file, readInput(file, POLICY_MAX_BYTES));
  return readable(file, readPolicy(portableCrypto.sha256, Buffer.from(bytes).toString("utf8")));
}

function readable<T>(file: string, result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Unreadable(file, result.failure);
}

function toText({ report, missing }: Judged): string[] {
  return [
    `acknowledgement of device ${toHex(report.acknowledgement.kid)}`,
    "",
    ...report.steps.map(formatOmissionStep),
    ...missing.map((failure) => `missing  ${explain(failure)}`),
    "",
    "not proved by anything of this kind:",
    ...report.notProved.map((line) => `  ${line}`),
    "",
    `verdict: ${report.verdict}`,
  ];
}

function toJson({ report, missing }: Judged) {
  const { kid, received, logged, final, logByS, timeMs } = report.acknowledgement;
  const position = (at: Position | undefined) => at && { seq: at.seq, id: toHex(at.id) };
  return {
    verdict: report.verdict,
    acknowledgement: {
      kid: toHex(kid),
      received: position(received),
      logged: position(logged),
      final: position(final),
      log_by_s: logByS,
      time_ms: timeMs,
    },
    steps: report.steps,
    missing,
    notProved: report.notProved,
  };
}
