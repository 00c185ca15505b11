import { equalBytes, toHex, utf8 } from "../bytes/bytes.js";
import { explain, type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { didKey, kidOf } from "../identity/key.js";
import { type OpenedCheckpoint, openCheckpoint, type TreeHead } from "../log/checkpoint.js";
import { verifyConsistency, verifyInclusion } from "../merkle/proof.js";
import { parseInclusionReceipt, verifyInclusionReceipt } from "../receipt/receipt.js";
import { checkPayload } from "../record/payload.js";
import { KIND_WORDS, Kind, parseRecord, type Record, recordId } from "../record/record.js";
import { type Bundle, type BundleAnchor, type BundleEntry, readBundle } from "./bundle.js";
import { byChain, DATE_TOLERANCE_S, dateOf, OwnWord } from "./dating.js";
import { readEvmAnchor, verifyEvmAnchor } from "./evm.js";
import { type FoundRevocation, KeyBook } from "./keys.js";
import type { Policy, Requirement } from "./policy.js";

/**
 * Verifies an evidence file, offline, step by step. Each step says what it proves; what the file cannot prove is said
 * too. Trust comes from the policy alone: the bundle's own claims are never believed.
 */

/** `proved`; `false`: the evidence contradicts itself; `open`: nothing in file and policy proves it. */
export type StepState = "proved" | "false" | "open";

export interface Step {
  readonly state: StepState;
  /** `revoked`, which no policy requires: a revocation that the file carries. What counts of it, `signature` has regard to. */
  readonly requirement: Requirement | "revoked";
  /** What it is about: a record's id or a key's kid in hexadecimal, or `checkpoint`, `ledger`. */
  readonly subject: string;
  /** What is proved, or what was found instead. */
  readonly finding: string;
  readonly failure?: Failure;
}

export interface Report {
  /** proved: all that the policy requires. false: some step is. incomplete: something required is open. */
  readonly verdict: "proved" | "false" | "incomplete";
  /** What the policy requires: what the verdict is about. */
  readonly required: readonly Requirement[];
  readonly steps: readonly Step[];
  readonly records: readonly ProvedRecord[];
  /** What no file of this kind can prove, in plain words. */
  readonly notProved: readonly string[];
}

/** A record of the bundle, for whoever shows what was proved. */
export interface ProvedRecord {
  readonly record: Record;
  readonly id: Uint8Array;
  readonly publicKey?: Uint8Array;
}

/** EVIDENCE_MALFORMED or CBOR_INVALID where the file cannot be read; otherwise a report, whatever it says. */
export function verifyEvidence(crypto: Crypto, bytes: Uint8Array, policy: Policy): Result<Report> {
  const bundle = readBundle(bytes);
  return bundle.ok ? ok(new Verification(crypto, bundle.value, policy).report()) : bundle;
}

class Verification {
  readonly #steps: Step[] = [];

  constructor(
    private readonly crypto: Crypto,
    private readonly bundle: Bundle,
    private readonly policy: Policy,
  ) {}

  report(): Report {
    const records = this.#records();
    this.#dates(records.filter((record) => record !== undefined));
    const checkpoint = this.#checkpoint();
    for (const [i, entry] of this.bundle.entries.entries()) this.#inclusion(entry, records[i]?.id, checkpoint);
    if (this.bundle.anchors.length === 0) this.#step("open", "anchored", "ledger", "the file holds no anchor");
    for (const anchor of this.bundle.anchors) this.#anchor(anchor, checkpoint, records);
    return {
      verdict: this.#verdict(),
      required: this.policy.require,
      steps: this.#steps,
      records: records.filter((record) => record !== undefined),
      notProved: NOT_PROVED,
    };
  }

  /** Records by structure, key and signature. Genesis records announce the keys of the others. */
  #records(): (ProvedRecord | undefined)[] {
    const parsed = this.bundle.entries.map((entry) => parseRecord(entry.record));
    const records = parsed.flatMap((record) => (record.ok ? [record.value] : []));
    const keys = new KeyBook(this.crypto, this.policy, records, this.bundle);
    const proved = parsed.map((record, i) => {
      if (!record.ok) {
        this.#step("false", "signature", `entry ${i}`, "not a record", record.failure);
        return undefined;
      }
      return this.#signature(record.value, keys);
    });
    for (const revocation of keys.revocations()) this.#revocation(revocation);
    return proved;
  }

  /** One that does not count is told of as well: whoever reads may know better who may revoke. */
  #revocation({ kid, fromSeq, signerKid, counts }: FoundRevocation): void {
    const said = `revoked from seq ${fromSeq} on in the name of the key ${toHex(signerKid)}`;
    if (counts) this.#step("proved", "revoked", toHex(kid), said);
    else
      this.#step(
        "open",
        "revoked",
        toHex(kid),
        `${said}: not signed by a key that genesis or policy names for that, so it does not count unless the policy names it among its operators`,
      );
  }

  #signature(record: Record, keys: KeyBook): ProvedRecord {
    const { crypto } = this;
    const id = recordId(crypto.sha256, record.bytes);
    const subject = toHex(id);
    const word = `${KIND_WORDS[record.header.kind]} at seq ${record.header.seq}`;
    const publicKey = keys.keyOf(record.header.kid);
    if (!publicKey) {
      this.#step(
        "open",
        "signature",
        subject,
        `${word}: neither file nor policy holds the key ${toHex(record.header.kid)}`,
      );
      return { record, id };
    }
    const payload = checkPayload(record, (key) => kidOf(crypto.sha256, key));
    const objection = keys.objection(record);
    if (!payload.ok) this.#step("false", "signature", subject, `${word}: its content`, payload.failure);
    else if (!keys.isSigned(record))
      this.#step("false", "signature", subject, `${word} is not signed by ${didKey(publicKey)}`);
    else if (objection) this.#step("false", "signature", subject, `${word} does not count`, objection);
    else this.#step("proved", "signature", subject, `${word} was signed by ${didKey(publicKey)}, unchanged since`);
    const untrue = keys.untrue(record);
    if (untrue) this.#step("false", "device", subject, "a maker that the policy knows has not said this", untrue);
    const known = keys.known(publicKey);
    this.#step(
      known ? "proved" : "open",
      "device",
      subject,
      known ?? `the policy does not know ${didKey(publicKey)}: the file claims it`,
    );
    return { record, id, publicKey };
  }

  /** What each date and the marks before it in the file, by the same key, say of each other: only signed words count. */
  #dates(records: readonly ProvedRecord[]): void {
    const signed = new Set(this.#steps.filter(isProved).map(({ requirement, subject }) => `${requirement} ${subject}`));
    const counted = records.filter(({ id }) => signed.has(`signature ${toHex(id)}`));
    const words = new Map<string, OwnWord>();
    for (const [kid, chain] of byChain(counted.map(({ record }) => record))) words.set(kid, new OwnWord(chain));
    for (const { record, id } of counted) {
      const datedMs = dateOf(record);
      if (datedMs === undefined) continue;
      const { kid, kind, seq } = record.header;
      const own = words.get(toHex(kid))!;
      const dated = `dated ${timeOf(datedMs)}`;
      const said = own.before(seq);
      const mark = said && `the mark at seq ${said.seq}, not after it in the chain, names ${timeOf(said.timeMs)}`;
      const failure = own.against(record) && contradiction(datedMs, said!.timeMs);
      if (failure) this.#step("false", "dated", toHex(id), `${dated}, but ${mark}`, failure);
      // Of a mark by itself nothing is said: it names the time that it is dated by.
      else if (kind === Kind.mark) continue;
      else if (mark) this.#step("proved", "dated", toHex(id), `${dated}; ${mark}`);
      else if (this.policy.require.includes("dated"))
        this.#step("open", "dated", toHex(id), `${dated}; the file holds no mark with a time before it`);
    }
  }

  #checkpoint(): OpenedCheckpoint | undefined {
    const { log, witnesses, witnessQuorum } = this.policy;
    if (!log) {
      this.#step("open", "logged", "checkpoint", "the policy names no log key");
      return undefined;
    }
    const opened = openCheckpoint(this.crypto, utf8(this.bundle.checkpoint), log, witnesses);
    if (!opened.ok) {
      this.#step("false", "logged", "checkpoint", `not one of ${log.name}`, opened.failure);
      return undefined;
    }
    const { size, root, cosignatures } = opened.value;
    this.#step("proved", "logged", "checkpoint", `${log.name} signed size ${size}, root ${toHex(root)}`);
    if (witnesses.length > 0 || this.policy.require.includes("witnessed")) {
      const enough = cosignatures.length >= witnessQuorum && witnessQuorum > 0;
      const finding = `${cosignatures.length} of ${witnesses.length} known witnesses cosigned, ${witnessQuorum} are asked for`;
      this.#step(enough ? "proved" : "open", "witnessed", "checkpoint", finding);
    }
    return opened.value;
  }

  #inclusion(entry: BundleEntry, id: Uint8Array | undefined, checkpoint: OpenedCheckpoint | undefined): void {
    const { log } = this.policy;
    if (!id || !log || !checkpoint) return;
    const proved = verifyInclusionReceipt(this.crypto, log.publicKey, entry.receipt, id);
    if (!proved.ok) {
      this.#step("false", "logged", toHex(id), "its receipt does not hold", proved.failure);
      return;
    }
    const { size, index, root } = proved.value;
    if (size !== checkpoint.size || !equalBytes(root, checkpoint.root))
      this.#step(
        "false",
        "logged",
        toHex(id),
        `its receipt is for size ${size}, the checkpoint's is ${checkpoint.size}`,
      );
    else this.#step("proved", "logged", toHex(id), `stands at index ${index} of the log's ${size} entries`);
  }

  #anchor(
    bundled: BundleAnchor,
    checkpoint: OpenedCheckpoint | undefined,
    records: (ProvedRecord | undefined)[],
  ): void {
    const read = readEvmAnchor(bundled.anchor);
    if (!read.ok) {
      this.#step("false", "anchored", "ledger", "the anchor cannot be read", read.failure);
      return;
    }
    const trusted = this.policy.ledgers.find((ledger) => verifyEvmAnchor(read.value, ledger).ok);
    const proved = trusted && verifyEvmAnchor(read.value, trusted);
    if (!trusted || !proved?.ok) {
      this.#untrustedAnchor(read.value);
      return;
    }
    const { size, root, blockNumber, timestamp } = proved.value;
    const time = new Date(timestamp * 1000).toISOString();
    const where = `block ${blockNumber} of chain ${trusted.chainId} (${time})`;
    this.#step("proved", "anchored", "ledger", `${where} holds size ${size}, root ${toHex(root)}`);
    if (checkpoint) this.#oneLog(proved.value, checkpoint, bundled.consistency, where);
    for (const [i, entry] of this.bundle.entries.entries()) {
      const id = records[i]?.id;
      const receipt = parseInclusionReceipt(entry.receipt);
      if (!id || !receipt.ok) continue;
      const { index } = receipt.value;
      if (index >= size) {
        this.#step("open", "anchored", toHex(id), `index ${index} is newer than the anchored ${size} entries`);
        continue;
      }
      const { sha256 } = this.crypto;
      const included = verifyInclusion(sha256, id, index, size, bundled.inclusion[i] ?? [], root);
      if (included.ok) this.#step("proved", "anchored", toHex(id), `is not newer than ${where}`);
      else this.#step("false", "anchored", toHex(id), `is not in the tree of ${where}`, included.failure);
    }
  }

  /** The anchored tree and the checkpoint's are of one log: the smaller is a beginning of the larger. */
  #oneLog(anchored: TreeHead, checkpoint: TreeHead, path: readonly Uint8Array[], where: string): void {
    const [older, newer] = anchored.size < checkpoint.size ? [anchored, checkpoint] : [checkpoint, anchored];
    const same = verifyConsistency(this.crypto.sha256, older.size, older.root, newer.size, newer.root, path);
    if (!same.ok) this.#step("false", "anchored", "checkpoint", `${where} holds another log's tree`, same.failure);
    else
      this.#step(
        "proved",
        "anchored",
        "checkpoint",
        `one log: size ${older.size} is a beginning of size ${newer.size}`,
      );
  }

  #untrustedAnchor(anchor: Parameters<typeof verifyEvmAnchor>[0]): void {
    const [ledger] = this.policy.ledgers;
    if (!ledger) {
      this.#step("open", "anchored", "ledger", "the policy names no block that it trusts");
      return;
    }
    const refused = verifyEvmAnchor(anchor, ledger);
    if (refused.ok) return;
    const foreign = refused.failure.code === "ANCHOR_FOREIGN" || refused.failure.code === "ANCHOR_UNTRUSTED";
    this.#step(foreign ? "open" : "false", "anchored", "ledger", "no block of the policy confirms it", refused.failure);
  }

  #verdict(): Report["verdict"] {
    if (this.#steps.some((step) => step.state === "false")) return "false";
    const met = this.policy.require.every((requirement) => {
      const steps = this.#steps.filter((step) => step.requirement === requirement);
      if (requirement !== "anchored") return steps.length > 0 && steps.every(isProved);
      // Of several anchors one is enough, for each record.
      const subjects = [
        "ledger",
        ...this.bundle.entries.map(({ record }) => toHex(recordId(this.crypto.sha256, record))),
      ];
      return subjects.every((subject) => steps.some((step) => step.subject === subject && isProved(step)));
    });
    return met ? "proved" : "incomplete";
  }

  #step(state: StepState, requirement: Step["requirement"], subject: string, finding: string, failure?: Failure): void {
    this.#steps.push({ state, requirement, subject, finding, ...(failure && { failure }) });
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

function contradiction(datedMs: number, saidMs: number): Failure {
  const expected = `expected a date not before ${timeOf(saidMs)}, less ${DATE_TOLERANCE_S} s`;
  return fail("RECORD_BACKDATED", `${expected}, received ${timeOf(datedMs)}`).failure;
}

function isProved(step: Step): boolean {
  return step.state === "proved";
}

const NOT_PROVED = [
  "that no other branch of a device's chain exists: only the log's watchers and a fork proof can show one",
  "that no key shown here is revoked by a statement which the file leaves out: the relay and the device's owner know",
  "that nothing was left out between the records shown: ask for the whole run, or for the log's entries",
  "that the sensor measured what was there: a signature is about the device, not about the world",
];

/** One line a step, as the command line and the browser print it. */
export function formatStep(step: Step): string {
  const mark = step.state === "proved" ? "proved" : step.state === "false" ? "FALSE " : "open  ";
  const subject = step.subject.length === 64 ? `${step.subject.slice(0, 16)}…` : step.subject;
  const why = step.failure ? ` — ${explain(step.failure)}` : "";
  return `${mark}  ${step.requirement.padEnd(9)}  ${subject.padEnd(17)}  ${step.finding}${why}`;
}
