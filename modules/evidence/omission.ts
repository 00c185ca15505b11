import { equalBytes, toHex } from "../bytes/bytes.js";
import { explain, type Failure, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { didKey, kidOf } from "../identity/key.js";
import { type Checkpoint, type OpenedCheckpoint, openCheckpoint, parseCheckpoint } from "../log/checkpoint.js";
import { parseNote } from "../log/note.js";
import { HASH_BYTES } from "../merkle/merkle.js";
import type { Statement } from "../record/statement.js";
import { type Acknowledgement, type Position, readAcknowledgement } from "../sync/messages.js";
import { RelayLineage } from "./omission-keys.js";
import { LeafWalk } from "./omission-tree.js";
import type { Policy } from "./policy.js";

/**
 * Whether a relay has kept the word of an acknowledgement: OMISSION.md has the rule. The log's leaf hashes are given one
 * piece after the other; nothing here waits, and nothing of the log is held but its right edge.
 */

/**
 * How long after `log_by` a tree must have been seen. What was dropped stays out, so that who accuses loses nothing by
 * waiting, and an honest relay does not stand or fall with a clock that is minutes off.
 */
export const OMISSION_ALLOWANCE_S = 300;

/** The first byte of a statement; a note begins with its log's name. */
const STATEMENT_FIRST_BYTE = 0xd2;

export interface OmissionClaim {
  /** The bytes that the relay has signed. */
  readonly acknowledgement: Uint8Array;
  /** A later checkpoint with what cosignatures it has, or a later acknowledgement by the same relay. */
  readonly later?: Uint8Array;
  readonly policy: Policy;
  /** Leaf 0's entry. */
  readonly opening?: Uint8Array;
  /** Statements by which the relay's keys have changed (sync/SPEC.md), oldest first. */
  readonly relayKeys?: readonly Uint8Array[];
  /** A device-facing key that the verifier knows to be this log's relay's. */
  readonly relayKey?: Uint8Array;
}

export type OmissionPart =
  | "relay"
  | "acknowledgement"
  | "checkpoint"
  | "entries"
  | "time"
  | "histories"
  | "received"
  | "logged"
  | "final";

export interface OmissionStep {
  /** Of a promise: `proved` it was broken, `false` it was kept. */
  readonly state: "proved" | "false" | "open";
  readonly part: OmissionPart;
  /** What is proved, or what was found instead. */
  readonly finding: string;
  readonly failure?: Failure;
}

export interface OmissionReport {
  /** proved: a promise was broken. false: all were kept, or what was brought is false. incomplete: something is missing. */
  readonly verdict: "proved" | "false" | "incomplete";
  readonly steps: readonly OmissionStep[];
  readonly acknowledgement: Acknowledgement;
  /** What nothing of this kind can prove, in plain words. */
  readonly notProved: readonly string[];
}

const PROMISES = ["received", "logged", "final"] as const;
type Promised = (typeof PROMISES)[number];

interface ReadStatement {
  readonly statement: Statement;
  readonly acknowledgement: Acknowledgement;
}

export class OmissionCheck {
  /** How many leaf hashes are to be given, from leaf 0 on: 0 where they could show nothing. */
  readonly size: number;
  readonly #crypto: Crypto;
  readonly #claim: OmissionClaim;
  readonly #read: ReadStatement;
  /** What the acknowledgement says of the log: its relay's word, whoever signed the note. */
  readonly #own: Checkpoint;
  readonly #laterWord: ReadStatement | undefined;
  readonly #later: Result<OpenedCheckpoint> | undefined;
  readonly #lineage: RelayLineage;
  readonly #walk: LeafWalk;
  #steps: OmissionStep[] = [];

  private constructor(
    crypto: Crypto,
    claim: OmissionClaim,
    read: ReadStatement,
    own: Checkpoint,
    later: { readonly word?: ReadStatement; readonly opened?: Result<OpenedCheckpoint> },
  ) {
    const { log } = claim.policy;
    this.#crypto = crypto;
    this.#claim = claim;
    this.#read = read;
    this.#own = own;
    this.#laterWord = later.word;
    this.#later = later.opened;
    this.#lineage = new RelayLineage(crypto, claim);
    const isOfLog = log !== undefined && own.origin === log.name;
    const sizes = [own.size, ...(this.#usable ? [this.#usable.size] : [])];
    this.size = isOfLog ? Math.max(...sizes) : 0;
    const ids = PROMISES.flatMap((promised) => read.acknowledgement[promised]?.id ?? []);
    this.#walk = new LeafWalk(crypto.sha256, sizes, ids);
  }

  /**
   * Reads what was brought but the leaf hashes. Where it cannot be read: STATEMENT_MALFORMED, MESSAGE_MALFORMED,
   * CBOR_INVALID, NOTE_MALFORMED, CHECKPOINT_MALFORMED.
   */
  static begin(crypto: Crypto, claim: OmissionClaim): Result<OmissionCheck> {
    const read = readAcknowledgement(claim.acknowledgement);
    if (!read.ok) return read;
    const own = checkpointIn(read.value.acknowledgement.checkpoint);
    if (!own.ok) return own;
    if (claim.later === undefined) return ok(new OmissionCheck(crypto, claim, read.value, own.value, {}));
    const isWord = claim.later[0] === STATEMENT_FIRST_BYTE;
    const word = isWord ? readAcknowledgement(claim.later) : undefined;
    if (word && !word.ok) return word;
    const note = word ? word.value.acknowledgement.checkpoint : claim.later;
    const parsed = checkpointIn(note);
    if (!parsed.ok) return parsed;
    const { log, witnesses } = claim.policy;
    const opened = log && openCheckpoint(crypto, note, log, witnesses);
    const later = { ...(word && { word: word.value }), ...(opened && { opened }) };
    return ok(new OmissionCheck(crypto, claim, read.value, own.value, later));
  }

  /** Leaf hashes that were given. */
  get count(): number {
    return this.#walk.count;
  }

  /** The next leaf hashes, 32 bytes each: as many as a tile has. What is beyond `size` is passed over. */
  append(hashes: Uint8Array): void {
    this.#walk.append(hashes.subarray(0, (this.size - this.count) * HASH_BYTES));
  }

  /** What follows from all that was given. */
  report(): OmissionReport {
    this.#steps = [];
    const { acknowledgement } = this.#read;
    const signed = this.#acknowledgement(this.#relay());
    const later = this.#checkpoint();
    const ownHolds = this.#entries(this.#own, "the tree in the acknowledgement", later);
    const laterHolds = later !== undefined && this.#entries(later, "the later tree");
    if (signed && laterHolds && !ownHolds) this.#histories(later);
    const received = acknowledgement.received && this.#walk.indexOf(acknowledgement.received.id);
    const isAbsent = later !== undefined && (received === undefined || received >= later.size);
    const seenBy = signed && laterHolds && isAbsent ? this.#time(later) : undefined;
    const promises = PROMISES.flatMap((promised) => {
      const position = acknowledgement[promised];
      if (!position || !this.#isPromise(promised, position)) return [];
      const tree = promised === "received" ? later : this.#own;
      const holds = promised === "received" ? laterHolds : ownHolds;
      return [this.#promise(promised, position, signed, holds ? tree : undefined, seenBy !== undefined)];
    });
    if (promises.length === 0) promises.push(this.#open("received", "nothing is promised of any record"));
    return {
      verdict: verdictOf(this.#steps, promises),
      steps: [...this.#steps, ...promises],
      acknowledgement,
      notProved: seenBy === "witnesses" ? [LARGER_TREE, ...NOT_PROVED] : NOT_PROVED,
    };
  }

  /** The tree of the later checkpoint, where it is this log's and later than the acknowledgement's. */
  get #usable(): OpenedCheckpoint | undefined {
    return this.#later?.ok && this.#later.value.size >= this.#own.size ? this.#later.value : undefined;
  }

  /** The key of acknowledgements that this one names. */
  #relay(): Uint8Array | undefined {
    const { log } = this.#claim.policy;
    const { kid } = this.#read.statement;
    if (!log) {
      this.#step("open", "relay", "the policy names no log key");
      return undefined;
    }
    const signer = this.#lineage.signer(kid, this.#walk.first, this.#isLeafZeroSigned());
    if (signer.key) this.#step("proved", "relay", `${didKey(signer.key)} signs acknowledgements: ${signer.finding}`);
    else this.#step("open", "relay", signer.finding, signer.failure);
    return signer.key;
  }

  /** Whether the leaves that were given begin a tree that the policy's own log key has signed. */
  #isLeafZeroSigned(): boolean {
    const { log } = this.#claim.policy;
    const later = this.#usable;
    if (later && this.#hasRoot(later)) return true;
    return (
      log !== undefined &&
      this.#hasRoot(this.#own) &&
      openCheckpoint(this.#crypto, this.#read.acknowledgement.checkpoint, log).ok
    );
  }

  #hasRoot({ size, root }: { readonly size: number; readonly root: Uint8Array }): boolean {
    const given = this.#walk.rootAt(size);
    return given !== undefined && equalBytes(given, root);
  }

  /** Whether the acknowledgement is the relay's, about this log. */
  #acknowledgement(key: Uint8Array | undefined): boolean {
    const { acknowledgement } = this.#read;
    const { log } = this.#claim.policy;
    if (log && this.#own.origin !== log.name) {
      this.#step("open", "acknowledgement", `it is about the log ${this.#own.origin}, the policy's is ${log.name}`);
      return false;
    }
    if (!log || !key) {
      this.#step("open", "acknowledgement", "no key is known that it must be signed by");
      return false;
    }
    if (!isSigned(this.#crypto, this.#read, key)) {
      this.#step("false", "acknowledgement", `it is not signed by ${didKey(key)}, whose kid it names`);
      return false;
    }
    let failure: Failure | undefined;
    for (const logKey of [log, ...this.#lineage.logKeys]) {
      const opened = openCheckpoint(this.#crypto, acknowledgement.checkpoint, logKey);
      if (opened.ok) {
        const levels = PROMISES.map((promised) => `${promised} ${acknowledgement[promised]?.seq ?? "-"}`).join(", ");
        const when = momentText(acknowledgement.timeMs / 1000);
        const of = `of device ${toHex(acknowledgement.kid)}`;
        this.#step("proved", "acknowledgement", `the relay signed ${when} ${of}: ${levels}`);
        return true;
      }
      failure = opened.failure;
    }
    const isFalse = failure?.code === "SIGNATURE_INVALID";
    this.#step(isFalse ? "false" : "open", "acknowledgement", "the checkpoint in it is by no key of this log", failure);
    return false;
  }

  #checkpoint(): OpenedCheckpoint | undefined {
    const later = this.#later;
    if (!later) return undefined;
    if (!later.ok) {
      const isFalse = later.failure.code === "SIGNATURE_INVALID";
      this.#step(isFalse ? "false" : "open", "checkpoint", "it is not one of the policy's log", later.failure);
      return undefined;
    }
    const { origin, size, root } = later.value;
    if (!this.#usable) {
      const finding = `its ${size} entries are fewer than the ${this.#own.size} in the acknowledgement: it is not later`;
      this.#step("open", "checkpoint", finding);
      return undefined;
    }
    this.#step("proved", "checkpoint", `${origin} signed size ${size}, root ${toHex(root)}`);
    return later.value;
  }

  /** Whether the leaves give the tree's root. */
  #entries(tree: Checkpoint, which: string, later?: OpenedCheckpoint): boolean {
    const { size, root } = tree;
    const given = this.#walk.rootAt(size);
    if (later && later.size === size && equalBytes(later.root, root)) return this.#hasRoot(tree);
    if (!given) {
      this.#step("open", "entries", `${this.count} of the ${size} leaf hashes of ${which} are there`);
      return false;
    }
    if (equalBytes(given, root)) {
      this.#step("proved", "entries", `all ${size} leaf hashes of ${which} give its root`);
      return true;
    }
    this.#step("open", "entries", `the leaf hashes give root ${toHex(given)}, ${which} has ${toHex(root)}`);
    return false;
  }

  /** The later tree does not begin with the one that the relay showed when it promised: its log has two histories. */
  #histories(later: OpenedCheckpoint): void {
    const { size, root } = this.#own;
    const given = toHex(this.#walk.rootAt(size)!);
    const finding = `at size ${size} the relay showed root ${toHex(root)}, but that of ${later.size} begins with ${given}`;
    this.#step("proved", "histories", finding);
  }

  /** Whether the later tree was the log's newest after the promised time, by the relay's own word or its witnesses'. */
  #time(later: OpenedCheckpoint): "relay" | "witnesses" | undefined {
    const { logByS } = this.#read.acknowledgement;
    if (logByS === undefined) return undefined;
    const from = logByS + OMISSION_ALLOWANCE_S;
    const word = this.#laterWord;
    if (word && word.acknowledgement.timeMs > from * 1000) {
      const signer = this.#lineage.signer(word.statement.kid, this.#walk.first, this.#isLeafZeroSigned()).key;
      if (signer && !isSigned(this.#crypto, word, signer)) {
        this.#step("false", "time", `the later acknowledgement is not signed by ${didKey(signer)}, whose kid it names`);
        return undefined;
      }
      if (signer) {
        const when = momentText(word.acknowledgement.timeMs / 1000);
        this.#step("proved", "time", `the relay itself signed ${when} that this is its newest tree`);
        return "relay";
      }
    }
    const { witnesses, witnessQuorum } = this.#claim.policy;
    const times = later.cosignatures.flatMap(({ timeS }) => (timeS !== undefined && timeS > from ? [timeS] : []));
    if (witnesses.length === 0 || witnessQuorum === 0) {
      this.#step("open", "time", "the policy asks for no witness, and the relay's own later word is not here");
      return undefined;
    }
    const enough = times.length >= witnessQuorum;
    const seen = `${times.length} of ${witnesses.length} known witnesses saw no larger tree after ${momentText(from)}`;
    this.#step(enough ? "proved" : "open", "time", `${seen}, ${witnessQuorum} are asked for`);
    return enough ? "witnesses" : undefined;
  }

  /** What is received and not above what is logged is promised with that. */
  #isPromise(promised: Promised, { seq, id }: Position): boolean {
    const { logged } = this.#read.acknowledgement;
    return promised !== "received" || !logged || logged.seq !== seq || !equalBytes(logged.id, id);
  }

  /** Of `tree`, whose leaf hashes are all there: undefined where they are not. */
  #promise(
    promised: Promised,
    { seq, id }: Position,
    signed: boolean,
    tree: Checkpoint | undefined,
    isLate: boolean,
  ): OmissionStep {
    const { logByS } = this.#read.acknowledgement;
    const word = `${promised} ${seq}, ${toHex(id)}`;
    const by = promised !== "received" ? "" : logByS === undefined ? "" : ` by ${momentText(logByS)}`;
    if (!signed || !tree) {
      const what = promised === "received" ? "the later tree" : "the tree in the acknowledgement";
      return this.#open(promised, `${word}: to be in ${what}${by}; what shows it is not here`);
    }
    const index = this.#walk.indexOf(id);
    if (index !== undefined && index < tree.size)
      return { state: "false", part: promised, finding: `${word}: kept, it stands at index ${index} of ${tree.size}` };
    if (promised === "received" && logByS === undefined)
      return this.#open(promised, `${word}: no time was promised, and it is not among the ${tree.size} entries`);
    if (promised === "received" && !isLate)
      return this.#open(
        promised,
        `${word}: not among the ${tree.size} entries, but the time, ${by.slice(4)}, may not have passed`,
      );
    return {
      state: "proved",
      part: promised,
      finding: `${word}: promised${by}, and not among the ${tree.size} entries`,
    };
  }

  #open(part: OmissionPart, finding: string): OmissionStep {
    return { state: "open", part, finding };
  }

  #step(state: OmissionStep["state"], part: OmissionPart, finding: string, failure?: Failure): void {
    this.#steps.push({ state, part, finding, ...(failure && { failure }) });
  }
}

function isSigned(crypto: Crypto, { statement }: ReadStatement, key: Uint8Array): boolean {
  const isNamed = equalBytes(statement.kid, kidOf(crypto.sha256, key));
  return isNamed && verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, key);
}

/** What a note says of a log; who signed it is not looked at. NOTE_MALFORMED, CHECKPOINT_MALFORMED. */
function checkpointIn(note: Uint8Array | string): Result<Checkpoint> {
  const parsed = parseNote(note);
  return parsed.ok ? parseCheckpoint(parsed.value.text) : parsed;
}

function verdictOf(steps: readonly OmissionStep[], promises: readonly OmissionStep[]): OmissionReport["verdict"] {
  if (steps.some(({ state }) => state === "false")) return "false";
  if (promises.some(({ state }) => state === "proved")) return "proved";
  return promises.some(({ state }) => state === "open") ? "incomplete" : "false";
}

/** Dates end in the year 275760; what is beyond is told as the number that it is. */
const DATE_END_S = 8_640_000_000_000;

/** A time as people read it. */
export function momentText(timeS: number): string {
  return timeS < DATE_END_S ? new Date(timeS * 1000).toISOString() : `${timeS} s since 1970`;
}

const LARGER_TREE =
  "that the log had signed no larger tree by then: witnesses say that they saw none, and the relay can answer with one";

const NOT_PROVED = [
  "anything of the records before those named here: an acknowledgement promises by name",
  "what the record says: only its id is here; whoever has the record can show that it hashes to that",
  "that nobody else had the relay's key when it signed",
];

/** One line a step, as the command line and the browser print it. */
export function formatOmissionStep({ state, part, finding, failure }: OmissionStep): string {
  const isPromise = (PROMISES as readonly string[]).includes(part);
  const mark =
    state === "open"
      ? "open  "
      : state === "proved"
        ? isPromise
          ? "BROKEN"
          : "proved"
        : isPromise
          ? "kept  "
          : "FALSE ";
  return `${mark}  ${part.padEnd(15)}  ${finding}${failure ? ` — ${explain(failure)}` : ""}`;
}
