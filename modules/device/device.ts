import { equalBytes, toHex, utf8 } from "../bytes/bytes.js";
import { type Head, nextBody } from "../chain/chain.js";
import type { ClockState, Timer } from "../clock/clock.js";
import { explain, type Failure, fail, ok, type Result } from "../codes/codes.js";
import { Identity } from "../identity/identity.js";
import { Journal } from "../journal/journal.js";
import { openCheckpoint } from "../log/checkpoint.js";
import { encodeBoot, encodeGenesis, encodeMark, readGenesis } from "../record/payload.js";
import { KIND_WORDS, Kind, parseRecord } from "../record/record.js";
import { type Pack, type PlannedSensor, Sampler } from "../sampler/sampler.js";
import type { Acknowledgement } from "../sync/messages.js";
import { type RelayPins, readRelayPins } from "../sync/relay-pins.js";
import { type Level, readSentMark, readToken, Sync } from "../sync/sync.js";
import { Fullness, THIN_CRITICAL, thinningAt } from "./fullness.js";
import { Gaps } from "./gaps.js";
import type { Platform } from "./platform.js";

/**
 * The runtime that a maker's application talks to: names sensors and intervals, and the device keeps the chain. It
 * composes sampler, chain, journal and sync; data flows sensors → sampler → chain → journal → sync, and back as
 * acknowledgements. Everything can be replaced through the options and the platform.
 */
export interface DeviceOptions {
  /** For people, in the device's log. */
  readonly label: string;
  readonly sensors: readonly PlannedSensor[];
  /** Readings under one signature, at most 200; 32 by default. */
  readonly maxReadings?: number;
  /** The longest that a reading waits to be committed: what a power cut can take. 60,000 by default. */
  readonly maxAgeMs?: number;
  /** The genesis record promises a `mark` record at this interval; 3,600 by default. */
  readonly markIntervalS?: number;
  /** How long the device waits to look at the relay while it has nothing to send; 60,000 by default. */
  readonly pollMs?: number;
  /** The level at which the journal may let go of a record; `logged` by default. */
  readonly releaseAt?: Level;
  /** While the journal fills and the relay is away: keep the plan (default), or read each sensor less often. */
  readonly whenFilling?: "keep" | "thin";
  /** When it is full: stop recording (default), or name the oldest records in a signed gap and let go of them. */
  readonly whenFull?: "stop" | "gap";
  /** Sees every reading before it is recorded. */
  readonly onReading?: NonNullable<ConstructorParameters<typeof Sampler>[0]["onReading"]>;
  /** Sees every record after it is committed. */
  readonly onRecord?: (record: CommittedRecord) => void;
  readonly onAcknowledged?: (acknowledgement: Acknowledgement) => void;
  /** Sees every expected failure; the device goes on as its code says. */
  readonly onProblem?: (failure: Failure) => void;
}

export interface CommittedRecord {
  readonly kind: Kind;
  readonly seq: number;
  readonly id: Uint8Array;
}

/** A record that is not committed yet. */
interface WaitingRecord {
  readonly kind: Kind;
  readonly payload: Uint8Array;
  readonly uptimeMs: number;
  readonly clock: ClockState;
}

const MARK_INTERVAL_S = 3600;
/** ESP_RST_DEEPSLEEP: the board woke, it did not start. */
const RESET_DEEP_SLEEP = 8;
/** In the key store from the making of a key on encrypted flash, or from the beginning of a formatting, to its end. */
const FORMAT_NAME = "format";
const FORMAT_BEGUN = 1;
const FORMAT_IF_UNREADABLE = 2;
const CLOCK_EVENTS_MAX = 16;
/** Records that wait to be committed: each for one job, or until it is known what the relay holds of this chain. */
const COMMITS_MAX = 8;
/** A record's body without its payload, and a `boot` record's payload, take no more. */
const BODY_EXTRA_BYTES = 136;
const BOOT_PAYLOAD_BYTES = 256;

export class Device {
  readonly #platform: Platform;
  readonly #options: DeviceOptions;
  readonly #sampler: Sampler;
  #identity!: Identity;
  #relay!: RelayPins;
  #journal!: Journal;
  #sync: Sync | undefined;
  #head: Head | undefined;
  #bootPending = false;
  #handshake: Uint8Array | undefined;
  #beacon: NonNullable<Parameters<typeof encodeMark>[0]["acknowledgement"]> | undefined;
  #clockState: ClockState;
  #clockEvents: [uptimeMs: number, before: number, after: number][] = [];
  #markTimer: Timer | undefined;
  readonly #fullness = new Fullness();
  #gaps: Gaps | undefined;
  /** Sync has said that nothing later than the head can have been sent. */
  #mayAppend = false;
  #committing: Promise<void> = Promise.resolve();
  readonly #waiting: WaitingRecord[] = [];

  constructor(platform: Platform, options: DeviceOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#clockState = platform.clock.state;
    this.#sampler = new Sampler({
      sensors: options.sensors,
      clock: platform.clock,
      timers: platform.timers,
      onPack: (pack) => this.#onPack(pack),
      ...(options.onReading && { onReading: options.onReading }),
      ...(options.maxReadings !== undefined && { maxReadings: options.maxReadings }),
      ...(options.maxAgeMs !== undefined && { maxAgeMs: options.maxAgeMs }),
    });
  }

  /**
   * Starts: key, journal, chain, sync, sampling, in this order, each in a job of its own: a board's JavaScript stack has
   * a few hundred slots in all. A failure is a refusal that needs a person: nothing is signed, and the code says what to do.
   */
  async start(): Promise<Result<void>> {
    for (const step of [this.#openIdentity, this.#openJournal, this.#resumeChain, this.#beginChain, this.#startSync]) {
      const done = step.call(this);
      if (!done.ok) {
        this.#problem(done.failure);
        return done;
      }
      await undefined;
    }
    return ok(undefined);
  }

  /** Commits what was sampled and stops; resolves when it is committed. */
  close(): Promise<void> {
    this.#sampler.close();
    this.#markTimer?.cancel();
    this.#sync?.close();
    return this.#committing;
  }

  /** A key is made only where provisioning left a token and nothing was ever sent. */
  #openIdentity(): Result<void> {
    const { keys, crypto, entropy, flash } = this.#platform;
    const relay = readRelayPins(keys, crypto.sha256);
    if (!relay.ok) return relay;
    this.#relay = relay.value;
    const opened = Identity.open({ keys, crypto });
    if (!opened.ok) return opened;
    if (opened.value) {
      this.#identity = opened.value;
      return ok(undefined);
    }
    const sent = readSentMark(keys);
    if (!sent.ok) return sent;
    if (readToken(keys) === undefined || sent.value !== undefined)
      return fail("DEVICE_NOT_PROVISIONED", "the key store holds no seed, and no token that lets the device make one");
    // Erased units of an encrypted partition read as anything: blank cannot be told from damaged. Beside a key that is
    // only now made, what cannot be read is nobody's.
    if (flash.writeUnitBytes > 1 && keys.read(FORMAT_NAME) === undefined)
      keys.write(FORMAT_NAME, Uint8Array.of(FORMAT_IF_UNREADABLE));
    const made = Identity.create({ keys, crypto, entropy });
    if (!made.ok) return made;
    this.#identity = made.value;
    this.#log(`event=key kid=${toHex(made.value.kid)}`);
    return ok(undefined);
  }

  #openJournal(): Result<void> {
    const { flash, crypto, keys } = this.#platform;
    const identity = this.#identity;
    const signer = {
      kid: identity.kid,
      sign: (message: Uint8Array) => identity.sign(message),
      verify: (message: Uint8Array, signature: Uint8Array) => identity.verify(message, signature),
    };
    const options = { flash, sha256: crypto.sha256, signers: [signer] };
    let mounted = Journal.mount(options);
    const mark = keys.read(FORMAT_NAME)?.[0];
    const code = mounted.ok ? undefined : mounted.failure.code;
    const blank = code === "JOURNAL_BLANK" || (code === "JOURNAL_UNREADABLE" && mark === FORMAT_IF_UNREADABLE);
    if (mark === FORMAT_BEGUN || blank) {
      const sent = readSentMark(keys);
      if (!sent.ok) return sent;
      // A partition is formatted where it is blank, or a formatting of ours was cut, for a device that has never sent
      // anything, and for no other reason. The mark goes before the first record is written.
      if (readToken(keys) === undefined || sent.value !== undefined)
        return fail("DEVICE_NOT_PROVISIONED", "the journal is blank, and there is no leave to begin one");
      keys.write(FORMAT_NAME, Uint8Array.of(FORMAT_BEGUN));
      const formatted = Journal.format(flash);
      if (!formatted.ok) return formatted;
      keys.delete(FORMAT_NAME);
      mounted = Journal.mount(options);
    }
    if (!mounted.ok) return mounted;
    if (keys.read(FORMAT_NAME) !== undefined) keys.delete(FORMAT_NAME);
    this.#journal = mounted.value;
    return ok(undefined);
  }

  #resumeChain(): Result<void> {
    const { keys, crypto } = this.#platform;
    this.#gaps = new Gaps({ journal: this.#journal, keys, sha256: crypto.sha256 });
    this.#gaps.resume();
    const head = this.#journal.head;
    if (!head) return ok(undefined);
    this.#head = head;
    this.#bootPending = this.#platform.resetReason !== RESET_DEEP_SLEEP;
    this.#log(`event=resumed seq=${head.seq} boot=${head.boot} kid=${toHex(this.#identity.kid)}`);
    return this.#checkGenesis();
  }

  /** While the journal still holds genesis: the key that it announces must be the one that is derived from the seed. */
  #checkGenesis(): Result<void> {
    if (this.#journal.firstSeq > 0) return ok(undefined);
    const bytes = this.#journal.record(0);
    if (!bytes.ok) return bytes;
    const record = parseRecord(bytes.value);
    if (!record.ok) return record;
    const genesis = readGenesis(record.value.payload);
    if (!genesis.ok) return genesis;
    return equalBytes(genesis.value.publicKey, this.#identity.publicKey)
      ? ok(undefined)
      : fail("KEY_MISMATCH", "the seed's public key is not the one that genesis announces");
  }

  /** Writes genesis where there is no chain yet. */
  #beginChain(): Result<void> {
    if (this.#head) return ok(undefined);
    const { model, firmware, keys } = this.#platform;
    const sent = readSentMark(keys);
    if (!sent.ok) return sent;
    if (readToken(keys) === undefined || sent.value !== undefined)
      return fail(
        "DEVICE_NOT_PROVISIONED",
        "there is a key without a chain, and no token that lets the device begin one",
      );
    const { deviceKey, recoveryKey } = this.#relay;
    return this.#append(
      Kind.genesis,
      encodeGenesis({
        publicKey: this.#identity.publicKey,
        model,
        firmware,
        quantities: this.#sampler.quantities,
        markIntervalS: this.#options.markIntervalS ?? MARK_INTERVAL_S,
        ...(this.#options.whenFilling === "thin" && { sampling: this.#samplingBounds() }),
        relayKey: deviceKey,
        ...(recoveryKey && { recoveryKey }),
      }),
    );
  }

  /** The shortest planned interval, and the longest that thinning makes of any. */
  #samplingBounds(): { readonly minMs: number; readonly maxMs: number } {
    const planned = this.#options.sensors.map(({ everyMs }) => everyMs);
    return { minMs: Math.min(...planned), maxMs: Math.max(...planned) * THIN_CRITICAL };
  }

  #startSync(): Result<void> {
    const { keys, crypto, entropy, clock, timers, transport } = this.#platform;
    const { releaseAt, pollMs } = this.#options;
    this.#sync = new Sync({
      identity: this.#identity,
      crypto,
      keys,
      entropy,
      clock,
      timers,
      transport,
      relay: this.#relay,
      chain: this.#journal,
      gapNaming: (seq) => this.#gaps!.naming(seq),
      ...(releaseAt && { releaseAt }),
      ...(pollMs !== undefined && { pollMs }),
      onReady: () => this.#onReady(),
      onHold: () => this.#onHold(),
      onAcknowledged: (acknowledgement, bytes) => this.#onAcknowledged(acknowledgement, bytes),
      onProblem: (failure) => this.#problem(failure),
    });
    return this.#sync.start();
  }

  #onReady(): void {
    // Records may have been fetched back from the relay meanwhile.
    this.#head = this.#journal.head;
    this.#mayAppend = true;
    for (let i = 0; i < this.#waiting.length; i++) this.#commitNext();
    this.#sampler.start();
    this.#planMark();
  }

  /** Sampling goes on; what becomes of the chain is known before what waits is too much. */
  #onHold(): void {
    this.#mayAppend = false;
  }

  #onPack(pack: Pack): void {
    this.#commit(Kind.readings, pack.payload, pack.uptimeMs, pack.clock);
  }

  #onAcknowledged(acknowledgement: Acknowledgement, bytes: Uint8Array): void {
    const { crypto, clock } = this.#platform;
    const { received, logged, final } = acknowledgement;
    const seqs = [received, logged, final].map((position) => position?.seq ?? "-");
    this.#log(`event=acknowledged received=${seqs[0]} logged=${seqs[1]} final=${seqs[2]}`);
    const first = this.#beacon === undefined;
    const sha256 = crypto.sha256(bytes);
    this.#handshake ??= sha256;
    const checkpoint = openCheckpoint(crypto, utf8(acknowledgement.checkpoint), this.#relay.logKey);
    if (checkpoint.ok) {
      const { size, root } = checkpoint.value;
      const timeS = Math.floor(acknowledgement.timeMs / 1000);
      this.#beacon = { sha256, logSize: size, logRoot: root, timeS };
    }
    if (clock.state !== this.#clockState) {
      // The pack that was begun under the old state is closed by the next reading; the mark tells when it changed.
      if (this.#clockEvents.length < CLOCK_EVENTS_MAX)
        this.#clockEvents.push([clock.uptimeMs(), this.#clockState, clock.state]);
      this.#clockState = clock.state;
    }
    // At once, or as soon as anything may be appended: what follows the first answer of a start is not older than it.
    if (first) this.#mark();
    // What was released may have ended a warning. In a job of its own, as commits are.
    this.#committing = this.#committing.then(() => this.#tellUsage());
    this.#options.onAcknowledged?.(acknowledgement);
  }

  #planMark(): void {
    this.#markTimer?.cancel();
    const intervalMs = (this.#options.markIntervalS ?? MARK_INTERVAL_S) * 1000;
    this.#markTimer = this.#platform.timers.after(intervalMs, () => {
      this.#mark();
      this.#planMark();
    });
  }

  #mark(): void {
    const payload = encodeMark({
      ...(this.#beacon && { acknowledgement: this.#beacon }),
      clockEvents: this.#clockEvents,
    });
    this.#clockEvents = [];
    this.#commit(Kind.mark, payload);
  }

  /**
   * Commits one record in a job of its own, right after the present one: what leads here, from a timer through sampler or
   * sync, has used much of the stack. What could not be committed is told, never retried in secret.
   */
  #commit(
    kind: Kind,
    payload: Uint8Array,
    uptimeMs = this.#platform.clock.uptimeMs(),
    clock = this.#platform.clock.state,
  ): void {
    if (this.#waiting.length >= COMMITS_MAX) {
      this.#problem(fail("DEVICE_BUSY", `${this.#waiting.length} records wait to be committed`).failure);
      return;
    }
    this.#waiting.push({ kind, payload, uptimeMs, clock });
    this.#commitNext();
  }

  #commitNext(): void {
    if (this.#options.whenFull === "gap") this.#committing = this.#committing.then(() => this.#makeRoom());
    this.#committing = this.#committing.then(() => {
      const [first] = this.#waiting;
      if (!first || !this.#mayAppend) return;
      if (this.#bootPending) {
        this.#bootPending = false;
        this.#waiting.unshift({ ...first, kind: Kind.boot, payload: this.#bootPayload() });
        this.#commitNext();
      }
      const { kind, payload, uptimeMs, clock } = this.#waiting.shift()!;
      if (this.#append(kind, payload, uptimeMs, clock).ok || kind !== Kind.boot) return;
      // Without its boot record the record that it was for has no place: it is told as lost with it.
      this.#waiting.shift();
      this.#bootPending = true;
    });
  }

  /**
   * Commits the gap that the next record needs, if it needs one. It belongs before that record: to its uptime, and where a
   * `boot` record is to come, to the start before, as the head does. Where none may be made the journal refuses the record.
   */
  async #makeRoom(): Promise<void> {
    const [next] = this.#waiting;
    if (!next || !this.#mayAppend) return;
    const payloadBytes = Math.max(next.payload.length, this.#bootPending ? BOOT_PAYLOAD_BYTES : 0);
    const payload = await this.#gaps!.compose(payloadBytes + BODY_EXTRA_BYTES);
    if (!payload.ok) {
      // That genesis holds the ring is told by the record that finds no room.
      if (payload.failure.code !== "JOURNAL_FULL") this.#problem(payload.failure);
      return;
    }
    if (payload.value === undefined || !this.#mayAppend) return;
    const uptimeMs = this.#bootPending ? this.#head!.uptimeMs : next.uptimeMs;
    await undefined;
    if (!this.#append(Kind.gap, payload.value, uptimeMs, next.clock).ok) return;
    await undefined;
    const dropped = this.#gaps!.committed(this.#head!.seq);
    if (!dropped.ok) this.#problem(dropped.failure);
    this.#tellUsage();
  }

  /** What the record before a start's first other record says. */
  #bootPayload(): Uint8Array {
    const { resetReason, firmware, flash } = this.#platform;
    const { tail, voidBytes, linear } = this.#journal.report;
    const recovery = {
      tornTail: tail === "voided" || tail === "signed",
      voidedBytes: voidBytes,
      sectorsScanned: linear ? flash.sizeBytes / flash.sectorBytes : 1,
    };
    const handshake = this.#handshake && { handshake: this.#handshake };
    return encodeBoot({ resetReason, firmware, recovery, ...handshake });
  }

  #append(
    kind: Kind,
    payload: Uint8Array,
    uptimeMs = this.#platform.clock.uptimeMs(),
    clock = this.#platform.clock.state,
  ): Result<void> {
    const { kid } = this.#identity;
    const committed = this.#journal.commit(nextBody(kid, this.#head, { kind, payload, uptimeMs, clock }));
    if (!committed.ok) {
      this.#problem(committed.failure);
      return committed;
    }
    const { seq, id } = committed.value;
    const boot = (this.#head?.boot ?? 0) + (kind === Kind.boot ? 1 : 0);
    this.#head = { kid, seq, id, boot, uptimeMs, kind };
    this.#log(`event=held seq=${seq} kind=${KIND_WORDS[kind]} id=${toHex(id)}`);
    this.#tellUsage();
    this.#options.onRecord?.({ kind, seq, id });
    this.#sync?.wake();
    return ok(undefined);
  }

  /** Early warning while the relay is away: from 75 % and from 90 % of the journal, each told once. */
  #tellUsage(): void {
    const usage = this.#journal.usage;
    if (!this.#fullness.update(usage)) return;
    const { level, used, sectors } = usage;
    this.#log(`event=journal level=${level} used=${used} of=${sectors}`);
    if (this.#options.whenFilling === "thin") this.#sampler.thin(thinningAt(level));
    const warning = this.#fullness.warning(usage);
    if (warning) this.#options.onProblem?.(warning);
  }

  #problem(failure: Failure): void {
    this.#log(`event=problem code=${failure.code} ${explain(failure)}`);
    this.#options.onProblem?.(failure);
  }

  #log(line: string): void {
    this.#platform.print(`${this.#options.label}: ${line}`);
  }
}
