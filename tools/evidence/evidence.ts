import { existsSync } from "node:fs";
import { toHex } from "tallystick/bytes/bytes";
import { visible } from "tallystick/bytes/visible";
import { explain, type Failure, fail, type Result } from "tallystick/codes/codes";
import { BUNDLE_MAX_BYTES } from "tallystick/evidence/bundle";
import { momentText } from "tallystick/evidence/omission";
import { fromDidKey } from "tallystick/identity/key";
import { KIND_WORDS } from "tallystick/record/record";
import { askHead, askRelay, plainly } from "../ask-relay.js";
import { writeStatementFile } from "../key-file.js";
import { kidOfText, noKid } from "../kid.js";
import { type FetchedEvidence, findRecord, readFetched } from "./fetched.js";
import { policyText } from "./policy.js";

/** What `tallystick evidence` does. */
export interface EvidenceOptions {
  /** A kid or a did:key. */
  readonly device: string;
  /** Its position in the chain, or its id. */
  readonly record: number | Uint8Array;
  readonly relay: string;
  readonly out: string;
  readonly policyOut?: string;
  readonly asJson: boolean;
}

const EVIDENCE_EXIT = { kept: 0, refused: 1, typed: 2, notLogged: 3 } as const;

/** Fetches, keeps, and answers with the exit status. */
export async function evidence(options: EvidenceOptions): Promise<number> {
  const { device, record, relay, out, policyOut, asJson } = options;
  const kid = kidOfText(device);
  if (!kid) return refuse(noKid(device), asJson, EVIDENCE_EXIT.typed);
  for (const path of [out, policyOut])
    if (path !== undefined && path !== "-" && existsSync(path))
      return refuse(fail("FILE_EXISTS", `expected no file at ${path}, found one`).failure, asJson);
  const id = typeof record === "number" ? await findRecord(relay, kid, record) : { ok: true as const, value: record };
  if (!id.ok) return refuse(await withReach(id.failure, relay, kid), asJson);
  const answer = await askRelay(relay, `/v1/records/${toHex(id.value)}/evidence`, BUNDLE_MAX_BYTES);
  if (!answer.ok)
    return answer.failure.code === "RECORD_NOT_LOGGED"
      ? notLogged(answer.failure, relay, kid, asJson)
      : refuse(answer.failure, asJson);
  const fetched = readFetched(answer.value, kid, id.value, fromDidKey(device));
  if (!fetched.ok) return refuse(fetched.failure, asJson);
  const policy = policyOut === undefined ? undefined : policyText(fetched.value);
  if (policy && !policy.ok) return refuse(policy.failure, asJson);
  if (out === "-") process.stdout.write(answer.value);
  const written = [
    ...(out === "-" ? [] : [writeStatementFile(out, answer.value)]),
    ...(policy ? [writeStatementFile(policyOut!, Buffer.from(policy.value))] : []),
  ].find((each): each is Result<never> & { ok: false } => !each.ok);
  if (written) return refuse(written.failure, asJson);
  if (out !== "-") console.log(asJson ? JSON.stringify(toJson(fetched.value)) : toText(fetched.value).join("\n"));
  if (policy) console.error(`tallystick evidence: ${policyOut}: ${WARNING}`);
  return EVIDENCE_EXIT.kept;
}

const WARNING =
  "the relay's own word for its log key, the device and its witnesses; compare each with what you know from elsewhere before you trust what is proved by it";

/** Of a position that holds nothing: how far the relay is. */
async function withReach(failure: Failure, relay: string, kid: Uint8Array): Promise<Failure> {
  const head = failure.code === "RECORD_UNKNOWN" ? await askHead(relay, kid) : undefined;
  const received = head?.ok ? head.value.acknowledgement.received : undefined;
  if (!received) return failure;
  return { ...failure, detail: `${failure.detail}; of this device it has received what is up to seq ${received.seq}` };
}

/** By when it will be, as the relay promises over its signature. */
async function notLogged(failure: Failure, relay: string, kid: Uint8Array, asJson: boolean): Promise<number> {
  const head = await askHead(relay, kid);
  const logByS = head.ok ? head.value.acknowledgement.logByS : undefined;
  const promise = logByS === undefined ? "" : `; the relay promises it by ${momentText(logByS)}`;
  const told = { ...failure, detail: `${failure.detail}${promise}` };
  return refuse(told, asJson, EVIDENCE_EXIT.notLogged, logByS);
}

function toText({ record, id, bundle, size }: FetchedEvidence): string[] {
  const { header } = record;
  return [
    `evidence of ${KIND_WORDS[header.kind]} seq ${header.seq}  ${toHex(id)}`,
    `log ${visible(bundle.origin)}, ${size} entries; anchors: ${bundle.anchors.length}`,
    "nothing of it is verified here: tallystick verify does that",
  ];
}

function toJson({ record, id, bundle, size }: FetchedEvidence) {
  const { kid, kind, seq } = record.header;
  const what = { kid: toHex(kid), seq, id: toHex(id), kind: KIND_WORDS[kind] };
  return { ...what, origin: bundle.origin, size, anchors: bundle.anchors.length };
}

function refuse(failure: Failure, asJson: boolean, status: number = EVIDENCE_EXIT.refused, logByS?: number): number {
  const told = plainly(failure);
  if (asJson) console.log(JSON.stringify({ failure: told, ...(logByS !== undefined && { log_by_s: logByS }) }));
  else console.error(`tallystick evidence: ${explain(told)}`);
  return status;
}
