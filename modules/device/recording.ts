import { toHex } from "../bytes/bytes.js";
import { type Head, nextBody } from "../chain/chain.js";
import type { ClockState } from "../clock/clock.js";
import { type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Holder, Insight } from "../insight/insight.js";
import type { Journal } from "../journal/journal.js";
import { KIND_WORDS, Kind } from "../record/record.js";
import { BOOT_PAYLOAD_BYTES, describeStart } from "./boot.js";
import { Fullness } from "./fullness.js";
import { Gaps } from "./gaps.js";
import type { DeviceOptions } from "./options.js";
import type { Platform } from "./platform.js";

/** What is to become a record of the chain: waits here, and is committed one after the other, each in a job of its own. */

/** A record that is not committed yet. */
export interface WaitingRecord {
  readonly kind: Kind;
  readonly payload: Uint8Array;
  readonly uptimeMs: number;
  readonly clock: ClockState;
  /** Of readings that insight has looked at. */
  readonly holder?: Holder;
}

export interface RecordingOptions {
  readonly platform: Pick<Platform, "clock" | "crypto" | "firmware" | "flash" | "keys" | "resetReason">;
  readonly options: Pick<DeviceOptions, "onProblem" | "onRecord" | "whenFull">;
  readonly insight: Insight;
  /** Records may follow the head now. */
  readonly isOpen: () => boolean;
  /** SHA-256 of the start's first acknowledgement. */
  readonly handshake: () => Uint8Array | undefined;
  readonly onCommitted: () => void;
  /** The journal's level has changed. */
  readonly onLevel: (level: Fullness["level"]) => void;
  readonly onProblem: (failure: Failure) => void;
  readonly log: (line: string) => void;
}

/** Records that wait to be committed: each for one job, or until it is known what the relay holds of this chain. */
const COMMITS_MAX = 8;
/** With as many, no alert is added: what room there is belongs to readings. */
export const ALERT_WAITING_MAX = 4;
/** A record's body without its payload takes no more. */
const BODY_EXTRA_BYTES = 136;

export class Recording {
  head: Head | undefined;
  /** The start's `boot` record comes just before its first other record. */
  bootPending = false;
  readonly #options: RecordingOptions;
  readonly #fullness = new Fullness();
  readonly #waiting: WaitingRecord[] = [];
  #committing: Promise<void> = Promise.resolve();
  #journal!: Journal;
  #kid!: Uint8Array;
  #gaps: Gaps | undefined;

  constructor(options: RecordingOptions) {
    this.#options = options;
  }

  /** From now on records are of this key's chain, in this journal. */
  open(journal: Journal, kid: Uint8Array, head: Head | undefined): void {
    const { keys, crypto } = this.#options.platform;
    this.#journal = journal;
    this.#kid = kid;
    this.#gaps = new Gaps({ journal, kid, keys, sha256: crypto.sha256 });
    this.#gaps.resume();
    this.head = head;
  }

  get waiting(): readonly WaitingRecord[] {
    return this.#waiting;
  }

  get gaps(): Gaps {
    return this.#gaps!;
  }

  /** Resolves when all is committed that waits, and what was found in it. */
  async idle(): Promise<void> {
    for (let last: unknown; last !== this.#committing; ) {
      last = this.#committing;
      await last;
    }
  }

  /** Runs `step` after all that waits to be committed, in a job of its own. */
  afterwards(step: () => void): void {
    this.#committing = this.#committing.then(step);
  }

  /** False, and told, where too much waits. */
  add(record: WaitingRecord): boolean {
    if (this.#waiting.length >= COMMITS_MAX) {
      this.#options.onProblem(fail("DEVICE_BUSY", `${this.#waiting.length} records wait to be committed`).failure);
      this.#settle(record);
      return false;
    }
    this.#waiting.push(record);
    return true;
  }

  /** Commits all that waits. */
  commitWaiting(): void {
    for (let i = 0; i < this.#waiting.length; i++) this.commitNext();
  }

  /**
   * Commits one record in a job of its own, right after the present one: what leads here, from a timer through sampler or
   * sync, has used much of the stack. What could not be committed is told, never retried in secret.
   */
  commitNext(): void {
    const { platform, options, isOpen, handshake } = this.#options;
    if (options.whenFull === "gap") this.#committing = this.#committing.then(() => this.#makeRoom());
    this.#committing = this.#committing.then(() => {
      const [first] = this.#waiting;
      if (!first || !isOpen()) return;
      if (this.bootPending) {
        this.bootPending = false;
        const payload = describeStart(platform, this.#journal.report, handshake());
        this.#waiting.unshift({ kind: Kind.boot, payload, uptimeMs: first.uptimeMs, clock: first.clock });
        this.commitNext();
      }
      const record = this.#waiting.shift()!;
      const committed = this.append(record.kind, record.payload, record.uptimeMs, record.clock);
      this.#settle(record, committed.ok ? this.head?.id : undefined);
      if (committed.ok || record.kind !== Kind.boot) return;
      // Without its boot record the record that it was for has no place: it is told as lost with it.
      this.#settle(this.#waiting.shift());
      this.bootPending = true;
    });
    this.#committing = this.#committing.then(() => this.#tellFindings());
  }

  append(
    kind: Kind,
    payload: Uint8Array,
    uptimeMs = this.#options.platform.clock.uptimeMs(),
    clock = this.#options.platform.clock.state,
  ): Result<void> {
    const kid = this.#kid;
    const committed = this.#journal.commit(nextBody(kid, this.head, { kind, payload, uptimeMs, clock }));
    if (!committed.ok) {
      this.#options.onProblem(committed.failure);
      return committed;
    }
    const { seq, id } = committed.value;
    const boot = (this.head?.boot ?? 0) + (kind === Kind.boot ? 1 : 0);
    this.head = { kid, seq, id, boot, uptimeMs, kind };
    this.#options.log(`event=held seq=${seq} kind=${KIND_WORDS[kind]} id=${toHex(id)}`);
    this.tellUsage();
    this.#options.options.onRecord?.({ kind, seq, id });
    this.#options.onCommitted();
    return ok(undefined);
  }

  /** Early warning while the relay is away: from 75 % and from 90 % of the journal, each told once. */
  tellUsage(): void {
    const usage = this.#journal.usage;
    if (!this.#fullness.update(usage)) return;
    const { level, used, sectors } = usage;
    this.#options.log(`event=journal level=${level} used=${used} of=${sectors}`);
    this.#options.onLevel(level);
    const warning = this.#fullness.warning(usage);
    if (warning) this.#options.options.onProblem?.(warning);
  }

  /**
   * Commits the gap that the next record needs, if it needs one. It belongs before that record: to its uptime, and where a
   * `boot` record is to come, to the start before, as the head does. Where none may be made the journal refuses the record.
   */
  async #makeRoom(): Promise<void> {
    const { isOpen, onProblem } = this.#options;
    const [next] = this.#waiting;
    if (!next || !isOpen()) return;
    const payloadBytes = Math.max(next.payload.length, this.bootPending ? BOOT_PAYLOAD_BYTES : 0);
    const payload = await this.#gaps!.compose(payloadBytes + BODY_EXTRA_BYTES);
    if (!payload.ok) {
      // That genesis holds the ring is told by the record that finds no room.
      if (payload.failure.code !== "JOURNAL_FULL") onProblem(payload.failure);
      return;
    }
    if (payload.value === undefined) return;
    const uptimeMs = this.bootPending ? this.head!.uptimeMs : next.uptimeMs;
    await undefined;
    if (!isOpen() || !this.append(Kind.gap, payload.value, uptimeMs, next.clock).ok) return;
    await undefined;
    const dropped = this.#gaps!.committed(this.head!.seq);
    if (!dropped.ok) onProblem(dropped.failure);
    this.tellUsage();
  }

  #settle(record: WaitingRecord | undefined, id?: Uint8Array): void {
    if (record?.holder) this.#options.insight.settle(record.holder, id);
  }

  /** What insight has found, where readings leave room for it: among what waits, and in the journal. */
  #tellFindings(): void {
    const { platform, insight, isOpen } = this.#options;
    const { clock } = platform;
    const { level } = this.#fullness;
    const hasRoom = level === "normal" || level === "warning";
    while (hasRoom && isOpen() && this.#waiting.length < ALERT_WAITING_MAX) {
      const uptimeMs = clock.uptimeMs();
      const payload = insight.next(uptimeMs);
      if (payload === undefined || !this.add({ kind: Kind.alert, payload, uptimeMs, clock: clock.state })) return;
      this.commitNext();
    }
  }
}
