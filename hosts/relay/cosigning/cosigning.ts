/**
 * The relay as a witness's client: has its checkpoints cosigned, and hears from witnesses what they have seen of its log.
 *
 * The log waits for no witness. A checkpoint is published first; each cosignature that comes is put behind the same
 * checkpoint, which is published again. All witnesses that are due are asked about one tree, so that their lines meet in
 * one checkpoint; the next tree is asked about when they have answered, or their time is up.
 *
 * A witness is believed in what its key signed over this very checkpoint, and in what the log's own key signed. One thing
 * more at the start: that it holds a larger tree, which is what a restored backup looks like from outside.
 */
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { formatVerifierKey, parseNote } from "tallystick/log/note";
import { readCosignatures, witnessedPath } from "tallystick/log/witness";
import type { Log } from "../log/log.js";
import type { SignedHead } from "../log/sequencer.js";
import { askForCheckpoint, askToCosign, type Call, WITNESS_TIMEOUT_MS } from "./call.js";
import type { WitnessOptions } from "./options.js";

/** All of what is asked before the relay starts. */
export const START_MAX_MS = 5_000;
/** Requests about one tree: the guess, the size told, and once more where it moved meanwhile. */
const ATTEMPTS_MAX = 3;
export const RETRY_MIN_MS = 1_000;
export const RETRY_MAX_MS = 300_000;
/** How long too few cosignatures are no trouble yet. */
export const LACKING_MAX_MS = 60_000;

export interface CosigningOptions {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly witnesses: readonly WitnessOptions[];
  /** How many cosignatures a checkpoint should have; fewer is trouble, and nothing else. */
  readonly wanted: number;
  /** Milliseconds, of any clock that goes forward. */
  readonly nowMs: () => number;
  /** A witness did not cosign, or does again where `failure` is undefined. Told at each change. */
  readonly onChange: (witness: WitnessOptions, failure: Failure | undefined) => void;
  /** The log's own key has signed what this log is not: the log was halted. */
  readonly onContradiction: (failure: Failure) => void;
  /** A defect, or damage that was met on the way: no witness is asked any more. */
  readonly onFault: (error: unknown) => void;
  readonly timeoutMs?: number;
  readonly retryMinMs?: number;
}

/** A witness as the relay shows it. */
export interface WitnessView {
  readonly key: string;
  readonly url: string;
  /** Size of the largest tree that it cosigned, as far as this process has heard; 0 for none. */
  readonly cosignedSize: number;
  /** Why it did not cosign when it was asked last. */
  readonly failure: Failure | undefined;
}

/**
 * What asking came to. `moved`: it holds a newer tree of this log than it was asked about. `contradicted`: the log was set
 * back or has a second history, as the log's own key shows, or by the witness's word alone.
 */
type Outcome =
  | { readonly kind: "cosigned" | "moved" }
  | { readonly kind: "failed"; readonly failure: Failure }
  | { readonly kind: "contradicted"; readonly failure: Failure; readonly proved: boolean };

interface Asked extends WitnessOptions {
  cosignedSize: number;
  /** What it said that it holds; undefined before it said anything. */
  heldSize: number | undefined;
  failure: Failure | undefined;
  retryMs: number;
  notBeforeMs: number;
}

export class Cosigning {
  readonly #options: CosigningOptions;
  readonly #asked: readonly Asked[];
  readonly #closed = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  /** Since when no tree has had the cosignatures that are wanted, while the newest lacks them. */
  #lackingSinceMs: number | undefined;
  #satisfiedSize = 0;

  private constructor(options: CosigningOptions) {
    this.#options = options;
    const { retryMinMs = RETRY_MIN_MS } = options;
    this.#asked = options.witnesses.map(({ url, key }) => ({
      url,
      key,
      cosignedSize: 0,
      heldSize: undefined,
      failure: undefined,
      retryMs: retryMinMs,
      notBeforeMs: 0,
    }));
  }

  /**
   * Asks every witness about the log's newest tree, which is not new, before anything is signed. LOG_BEHIND where one
   * holds a larger tree, LOG_FORKED where one shows another of the log's key. One that does not answer in time is told
   * to `onChange`, and asked again later.
   */
  static async begin(options: CosigningOptions): Promise<Result<Cosigning>> {
    const cosigning = new Cosigning(options);
    const head = options.log.head;
    const timeout = AbortSignal.timeout(START_MAX_MS);
    const outcomes = await Promise.all(cosigning.#asked.map((asked) => cosigning.#ask(asked, head, timeout)));
    const contradictions = outcomes.flatMap((outcome) => (outcome.kind === "contradicted" ? [outcome] : []));
    const worst = contradictions.find(({ proved }) => proved) ?? contradictions[0];
    if (worst) {
      await cosigning.close();
      return { ok: false, failure: worst.failure };
    }
    cosigning.#running = cosigning.#run().catch(options.onFault);
    return ok(cosigning);
  }

  /** There is a newer checkpoint. */
  wake(): void {
    this.#wake();
  }

  get witnesses(): readonly WitnessView[] {
    return this.#asked.map(({ key, url, cosignedSize, failure }) => ({
      key: formatVerifierKey(key),
      url,
      cosignedSize,
      failure,
    }));
  }

  /** The largest tree that the wanted number of witnesses has cosigned. */
  get satisfiedSize(): number {
    return this.#satisfiedSize;
  }

  /** WITNESSES_LACKING where the newest trees have lacked cosignatures for long. */
  trouble(nowMs = this.#options.nowMs()): Failure | undefined {
    const since = this.#lackingSinceMs;
    if (since === undefined || nowMs - since <= LACKING_MAX_MS) return undefined;
    const { wanted, log } = this.#options;
    const detail = `expected ${wanted} cosignatures of a tree above ${this.#satisfiedSize}, the log has ${log.head.size}`;
    return fail("WITNESSES_LACKING", detail).failure;
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error("the relay is stopping"));
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log, nowMs } = this.#options;
    while (!this.#closed.signal.aborted) {
      const head = log.head;
      this.#watch(head.size);
      const lacking = this.#asked.filter(({ cosignedSize }) => cosignedSize < head.size);
      const due = lacking.filter(({ notBeforeMs }) => notBeforeMs <= nowMs());
      if (due.length === 0) {
        await this.#pause(Math.min(...lacking.map(({ notBeforeMs }) => notBeforeMs)) - nowMs());
        continue;
      }
      const outcomes = await Promise.all(due.map((asked) => this.#ask(asked, head)));
      for (const outcome of outcomes) {
        if (outcome.kind !== "contradicted" || !outcome.proved) continue;
        log.halt(outcome.failure);
        this.#options.onContradiction(outcome.failure);
        return;
      }
    }
  }

  /** Until `wake`, or for a time where that is finite. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.max(1, ms)) : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      // Whoever closed it found nobody waiting yet.
      if (this.#closed.signal.aborted) this.#wake();
    });
  }

  /** Keeps up since when cosignatures are lacking. */
  #watch(size: number): void {
    const { wanted, nowMs } = this.#options;
    const sizes = this.#asked.map(({ cosignedSize }) => cosignedSize).sort((a, b) => b - a);
    const satisfied = wanted === 0 ? size : sizes[wanted - 1]!;
    if (satisfied > this.#satisfiedSize) this.#lackingSinceMs = undefined;
    this.#satisfiedSize = Math.max(this.#satisfiedSize, satisfied);
    if (this.#satisfiedSize >= size) this.#lackingSinceMs = undefined;
    else this.#lackingSinceMs ??= nowMs();
  }

  /** Asks one witness about `head`, and keeps up what is known of it. */
  async #ask(asked: Asked, head: SignedHead, until?: AbortSignal): Promise<Outcome> {
    const { timeoutMs = WITNESS_TIMEOUT_MS, retryMinMs = RETRY_MIN_MS, nowMs, onChange } = this.#options;
    const signal = until ? AbortSignal.any([until, this.#closed.signal]) : this.#closed.signal;
    const outcome = await this.#exchange(asked, head, { url: asked.url, timeoutMs, signal });
    const failure = "failure" in outcome ? outcome.failure : undefined;
    if (this.#closed.signal.aborted && failure) return outcome;
    if (failure === undefined) {
      asked.retryMs = retryMinMs;
      // Until the checkpoint that it has seen is the head here, too: asked at once it would say the same again.
      if (outcome.kind === "moved") asked.notBeforeMs = nowMs() + retryMinMs;
    } else {
      asked.notBeforeMs = nowMs() + asked.retryMs;
      asked.retryMs = Math.min(asked.retryMs * 2, RETRY_MAX_MS);
    }
    const changed = failure?.code !== asked.failure?.code;
    asked.failure = failure;
    if (changed) onChange(asked, failure);
    this.#watch(this.#options.log.head.size);
    return outcome;
  }

  async #exchange(asked: Asked, head: SignedHead, call: Call): Promise<Outcome> {
    const { log } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      // Before the first answer the likely case: it cosigned this very tree for the relay's last run.
      const oldSize = asked.heldSize ?? head.size;
      const path = await log.consistency(oldSize, head.size);
      if (!path.ok) return { kind: "failed", failure: path.failure };
      const answer = await askToCosign(call, { oldSize, path: path.value, checkpoint: head.checkpoint });
      if (!answer.ok) return { kind: "failed", failure: answer.failure };
      if (answer.value.kind === "cosigned") return this.#take(asked, head, answer.value.lines);
      if (answer.value.kind === "contradicts") {
        const words = `${asked.url}: ${answer.value.words}`;
        const shown = await this.#inspect(asked, call);
        return shown ?? { kind: "failed", failure: fail("WITNESS_REFUSED", words).failure };
      }
      const { size } = answer.value;
      if (size > log.signed.size) return this.#behind(asked, call, size);
      asked.heldSize = size;
      // Someone else has shown it a newer checkpoint of ours: the newest is asked about next.
      if (size > head.size) return { kind: "moved" };
    }
    const detail = `${asked.url}: expected an answer to the size that it told, received ${ATTEMPTS_MAX} others`;
    return { kind: "failed", failure: fail("WITNESS_ANSWER_FALSE", detail).failure };
  }

  /** Puts the witness's line behind the checkpoint, if it is one. */
  async #take(asked: Asked, head: SignedHead, lines: Uint8Array): Promise<Outcome> {
    const { crypto, log } = this.#options;
    const note = parseNote(head.checkpoint);
    if (!note.ok) return { kind: "failed", failure: note.failure };
    const cosignatures = readCosignatures(crypto, note.value.text, lines, [asked.key]);
    if (!cosignatures.ok) {
      const detail = `${asked.url}: ${cosignatures.failure.detail}`;
      return { kind: "failed", failure: fail("WITNESS_ANSWER_FALSE", detail).failure };
    }
    asked.heldSize = head.size;
    const published = await log.cosign(head, cosignatures.value);
    if (!published.ok) return { kind: "failed", failure: published.failure };
    asked.cosignedSize = Math.max(asked.cosignedSize, head.size);
    return { kind: "cosigned" };
  }

  /** It holds a larger tree than there is here: by a checkpoint of the log's key that it shows, or by its word alone. */
  async #behind(asked: Asked, call: Call, size: number): Promise<Outcome> {
    const shown = await this.#inspect(asked, call);
    if (shown) return shown;
    const detail =
      `expected no tree larger than the ${this.#options.log.signed.size} signed last, received ${size} of the witness ` +
      `${asked.key.name}, which shows no checkpoint for it: if it is wrong, start without it`;
    return { kind: "contradicted", failure: fail("LOG_BEHIND", detail).failure, proved: false };
  }

  /** What the witness shows of this log, where the log's key signed it and it is no tree of this log. */
  async #inspect(asked: Asked, call: Call): Promise<Outcome | undefined> {
    const { crypto, log } = this.#options;
    const shown = await askForCheckpoint(call, witnessedPath(crypto.sha256, log.key.name));
    if (!shown.ok || shown.value === undefined) return undefined;
    const opened = openCheckpoint(crypto, shown.value, log.key);
    if (!opened.ok) return undefined;
    const { size, root } = opened.value;
    const whence = `the witness ${asked.key.name}, signed by this log's key`;
    // Not the head: a checkpoint may have been seen in its file before the step that wrote it has ended.
    const { signed } = log;
    if (size > signed.size) {
      const detail = `expected no tree larger than the ${signed.size} signed last, received ${size} of ${whence}`;
      return { kind: "contradicted", failure: fail("LOG_BEHIND", detail).failure, proved: true };
    }
    const own = size === signed.size ? ok(signed.root) : await log.rootAt(size);
    if (!own.ok || equalBytes(own.value, root)) return undefined;
    const detail = `at size ${size} this log has ${toHex(own.value)}, but ${toHex(root)} is of ${whence}`;
    return { kind: "contradicted", failure: fail("LOG_FORKED", detail).failure, proved: true };
  }
}
