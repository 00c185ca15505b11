import { toHex } from "../bytes/bytes.js";
import { explain, type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Identity } from "../identity/identity.js";
import { beginSuccession, endSuccession, type Succession } from "../identity/succession.js";
import { Insight } from "../insight/insight.js";
import { Journal } from "../journal/journal.js";
import { encodeRotate } from "../record/payload.js";
import { Kind } from "../record/record.js";
import { Sampler } from "../sampler/sampler.js";
import type { Acknowledgement, Position } from "../sync/messages.js";
import { relayKeyLine } from "../sync/relay-key.js";
import type { RelayPins } from "../sync/relay-pins.js";
import { Sync } from "../sync/sync.js";
import { thinningAt } from "./fullness.js";
import { prepareGenesis } from "./genesis.js";
import { Marks } from "./marks.js";
import { formatWhereBlank, namesOf, openKey, openRelay, openStatement } from "./opening.js";
import { type DeviceOptions, MARK_INTERVAL_S } from "./options.js";
import { OwnChain } from "./own-chain.js";
import type { Platform } from "./platform.js";
import { Recording, type WaitingRecord } from "./recording.js";
import { ROTATION_WAITING_MAX, Rotation } from "./rotation.js";

export type { CommittedRecord, DeviceOptions } from "./options.js";

/** A step may say which ones are to be taken in place of those after it. */
type Steps = readonly (() => Result<void> | Result<Steps | undefined>)[];

/** ESP_RST_DEEPSLEEP: the board woke, it did not start. */
const RESET_DEEP_SLEEP = 8;

/**
 * The runtime that a maker's application talks to: names sensors and intervals, and the device keeps the chain. It
 * composes sampler, chain, journal and sync; data flows sensors → sampler → chain → journal → sync, and back as
 * acknowledgements. Everything can be replaced through the options and the platform.
 */
export class Device {
  readonly #platform: Platform;
  readonly #options: DeviceOptions;
  readonly #sampler: Sampler;
  readonly #marks: Marks;
  #identity!: Identity;
  /** While the key that this one succeeds is still kept. */
  #succession: Succession | undefined;
  #relay!: RelayPins;
  #journal!: Journal;
  #chain!: OwnChain;
  #sync: Sync | undefined;
  readonly #recording: Recording;
  readonly #rotation: Rotation;
  /** Sync has said that nothing later than the head can have been sent. */
  #mayAppend = false;
  /** The maker's, for a first genesis. */
  #statement: Uint8Array | undefined;
  /** Between making it and committing it. */
  #genesis: Uint8Array | undefined;
  /** A succession is decided, and its genesis does not fit yet. */
  #lacksRoom = false;
  #closed = false;

  constructor(platform: Platform, options: DeviceOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#rotation = new Rotation(platform);
    this.#marks = new Marks({
      ...platform,
      intervalMs: (options.markIntervalS ?? MARK_INTERVAL_S) * 1000,
      onMark: (payload) => this.#commit({ kind: Kind.mark, payload }),
    });
    this.#sampler = new Sampler({
      sensors: options.sensors,
      clock: platform.clock,
      timers: platform.timers,
      onPack: ({ payload, uptimeMs, clock, readings }) => {
        const holder = insight.examine(readings);
        this.#commit({ kind: Kind.readings, payload, uptimeMs, clock, holder });
      },
      ...(options.onReading && { onReading: options.onReading }),
      ...(options.maxReadings !== undefined && { maxReadings: options.maxReadings }),
      ...(options.maxAgeMs !== undefined && { maxAgeMs: options.maxAgeMs }),
    });
    const insight = new Insight({
      quantities: this.#sampler.described,
      ...(options.watch !== undefined && { watch: options.watch }),
    });
    this.#recording = new Recording({
      platform,
      options,
      insight,
      isOpen: () => this.#isOpen,
      handshake: () => this.#marks.handshake,
      onCommitted: () => this.#sync?.wake(),
      onLevel: (level) => {
        if (options.whenFilling === "thin") this.#sampler.thin(thinningAt(level));
      },
      onProblem: (failure) => this.#problem(failure),
      log: (line) => this.#log(line),
    });
  }

  /**
   * Starts: key, journal, chain, sync, sampling, in this order, each in a job of its own: a board's JavaScript stack has
   * a few hundred slots in all. A failure is a refusal that needs a person: nothing is signed, and the code says what to do.
   */
  start(): Promise<Result<void>> {
    return this.#run(this.#allSteps());
  }

  #allSteps(): Steps {
    return [
      () => this.#openIdentity(),
      () => this.#openJournal(),
      () => this.#resumeChain(),
      () => this.#finishRotation(),
      () => this.#openStatement(),
      ...this.#lastSteps(),
    ];
  }

  #lastSteps(): Steps {
    return [() => this.#prepareGenesis(), () => this.#commitGenesis(), () => this.#startSync()];
  }

  async #run(steps: Steps): Promise<Result<void>> {
    for (const step of steps) {
      const done = step();
      if (!done.ok) {
        this.#problem(done.failure);
        return done;
      }
      await undefined;
      if (this.#closed) break;
      if (done.value) return this.#run(done.value);
    }
    return ok(undefined);
  }

  /**
   * Makes the device's next key and goes on with it as soon as the relay has all that this one has signed: the chain ends
   * with a `rotate` record that names it, and the next one's genesis names that record. Asked for again it is the same
   * rotation, also after a restart. DEVICE_BUSY while another change is under way; KEY_UNREADABLE, KEY_FUSES_USED_UP.
   */
  rotate(): Result<void> {
    if (!this.#sync || this.#closed) return fail("DEVICE_BUSY", "the device has not started, or has stopped");
    if (this.#succession || this.#recording.head?.kind === Kind.rotate)
      return fail("DEVICE_BUSY", "a change of the key is under way");
    const planned = this.#rotation.plan();
    if (!planned.ok) return planned;
    this.#log(`event=rotation kid=${toHex(planned.value.kid)}`);
    this.#sync.wake();
    return ok(undefined);
  }

  /** Commits what was sampled and stops; resolves when it is committed. */
  close(): Promise<void> {
    if (this.#rotation.holding) this.#endHold();
    this.#rotation.close();
    this.#closed = true;
    this.#sampler.close();
    this.#marks.close();
    this.#sync?.close();
    return this.#recording.idle();
  }

  #openIdentity(): Result<void> {
    const relay = openRelay(this.#platform);
    if (!relay.ok) return relay;
    this.#relay = relay.value;
    const opened = openKey(this.#platform);
    if (!opened.ok) return opened;
    const { identity, succession, isNew } = opened.value;
    this.#identity = identity;
    this.#succession = succession;
    if (isNew) this.#log(`event=key ${namesOf(this.#platform, identity)}`);
    const resumed = this.#rotation.resume();
    if (!resumed.ok || !succession) return resumed;
    const { former, seq, id } = succession;
    this.#log(`event=succession kid=${toHex(identity.kid)} former=${toHex(former.kid)} seq=${seq} id=${toHex(id)}`);
    return ok(undefined);
  }

  /** With a frame as small as can be: a mount may have to sign again what a cut left, deep below. */
  #openJournal(): Result<void> {
    const { flash, crypto } = this.#platform;
    const former = this.#succession?.former;
    const options = { flash, sha256: crypto.sha256, signers: former ? [this.#identity, former] : [this.#identity] };
    let mounted = Journal.mount(options);
    const formatted = formatWhereBlank(this.#platform, mounted);
    if (!formatted.ok) return formatted;
    if (formatted.value) mounted = Journal.mount(options);
    if (!mounted.ok) return mounted;
    this.#journal = mounted.value;
    this.#chain = new OwnChain(mounted.value, this.#identity.kid);
    return ok(undefined);
  }

  #resumeChain(): Result<void> {
    const { head } = this.#chain;
    this.#recording.open(this.#journal, this.#identity.kid, head);
    if (!head) return ok(undefined);
    this.#recording.bootPending = this.#platform.resetReason !== RESET_DEEP_SLEEP;
    this.#log(`event=resumed seq=${head.seq} boot=${head.boot} kid=${toHex(this.#identity.kid)}`);
    return this.#chain.checkGenesis(this.#identity.publicKey);
  }

  /** A rotation whose record is the head goes on with the next key, whatever the power took. */
  #finishRotation(): Result<Steps | undefined> {
    const { head } = this.#chain;
    if (head?.kind !== Kind.rotate) return ok(undefined);
    const completed = this.#rotation.complete(this.#chain, head);
    if (!completed.ok) return completed;
    this.#sync?.close();
    return ok(this.#allSteps());
  }

  /** What the maker says of this device goes into a first genesis, and is looked at for that alone. */
  #openStatement(): Result<void> {
    this.#statement = undefined;
    if (this.#recording.head || this.#succession) return ok(undefined);
    const opened = openStatement(this.#platform, this.#identity);
    if (!opened.ok) return opened;
    this.#statement = opened.value;
    return ok(undefined);
  }

  /** Makes genesis where there is no chain yet: under the leave that provisioning left, or a succession's. */
  #prepareGenesis(): Result<void> {
    this.#genesis = undefined;
    if (this.#recording.head) return ok(undefined);
    const prepared = prepareGenesis({
      platform: this.#platform,
      options: this.#options,
      relay: this.#relay,
      identity: this.#identity,
      quantities: this.#sampler.quantities,
      statement: this.#statement,
      succession: this.#succession,
      isHeld: this.#journal.head !== undefined || this.#journal.report.tail === "damaged",
    });
    if (!prepared.ok) return prepared;
    this.#genesis = prepared.value;
    this.#recording.bootPending = !this.#genesis && this.#platform.resetReason !== RESET_DEEP_SLEEP;
    return ok(undefined);
  }

  /** In a job of its own, in a frame as small as can be: below it is the longest chain of calls that there is. */
  #commitGenesis(): Result<void> {
    if (!this.#genesis) return ok(undefined);
    // What was sampled while nothing could be appended follows it: uptime never falls.
    const begun = this.#recording.append(Kind.genesis, this.#genesis, this.#recording.waiting[0]?.uptimeMs);
    this.#genesis = undefined;
    // The former chain's records are in the way: only the relay's word on them makes room.
    this.#lacksRoom = !begun.ok && begun.failure.code === "JOURNAL_FULL" && this.#succession !== undefined;
    return this.#lacksRoom ? ok(undefined) : begun;
  }

  #startSync(): Result<void> {
    const { keys, crypto, entropy, clock, timers, transport } = this.#platform;
    const { releaseAt, pollMs } = this.#options;
    const succession = this.#succession;
    const former = succession && this.#lacksRoom ? succession.former : undefined;
    this.#sync = new Sync({
      identity: former ?? this.#identity,
      crypto,
      keys,
      entropy,
      clock,
      timers,
      transport,
      relay: this.#relay,
      chain: former ? new OwnChain(this.#journal, former.kid) : this.#chain,
      gapNaming: (seq) => this.#recording.gaps.naming(seq),
      ...(succession && !former && { succession }),
      ...(releaseAt && { releaseAt }),
      ...(pollMs !== undefined && { pollMs }),
      onReady: () => this.#onReady(),
      onHold: () => this.#onHold(),
      onSuccession: (head) => this.#succeed(head),
      onAcknowledged: (acknowledgement, bytes) => this.#onAcknowledged(acknowledgement, bytes),
      onRelayKeys: (relay) => {
        this.#relay = relay;
        this.#log(relayKeyLine(crypto.sha256, relay));
      },
      onProblem: (failure) => this.#problem(failure),
    });
    return this.#sync.start();
  }

  /**
   * The chain has ended at `head`. The one write of `beginSuccession` decides: from then on this start goes the way that
   * every start after a cut goes, from the key on.
   */
  #succeed(head: Position): Result<void> {
    if (this.#lacksRoom) {
      // Decided before; the relay's word on the former chain may have made the room that was lacking.
      this.#goOn(this.#lastSteps());
      return ok(undefined);
    }
    const { used, sectors } = this.#journal.usage;
    if (used > sectors) return fail("JOURNAL_FULL", `${used} of ${sectors} sectors hold records that are not released`);
    const begun = beginSuccession(this.#platform, head);
    if (!begun.ok) return begun;
    this.#mayAppend = false;
    this.#goOn(this.#allSteps());
    return ok(undefined);
  }

  /** After all that waits to be committed, and in a job of its own. */
  #goOn(steps: Steps): void {
    this.#recording.afterwards(() => {
      if (!this.#closed) void this.#run(steps);
    });
  }

  /** The relay holds what this chain begins with, and with it all that came before: the former key has no more to say. */
  #endSuccession(): void {
    this.#recording.afterwards(() => {
      if (!this.#succession) return;
      endSuccession(this.#platform);
      this.#succession = undefined;
      this.#log(`event=succeeded kid=${toHex(this.#identity.kid)}`);
    });
  }

  #onReady(): void {
    // Records may have been fetched back from the relay meanwhile.
    this.#recording.head = this.#chain.head;
    // The talk is about the former chain: nothing follows there.
    if (this.#lacksRoom) return;
    if (this.#recording.head?.kind === Kind.rotate) {
      this.#goOn([() => this.#finishRotation()]);
      return;
    }
    this.#mayAppend = true;
    this.#recording.commitWaiting();
    this.#sampler.start();
    this.#marks.plan();
  }

  /** The newest acknowledgement may be the moment for a planned rotation. */
  #considerRotation(acknowledgement: Acknowledgement): void {
    // Sync holds the device back: its levels may be those of another branch.
    if (!this.#mayAppend) return;
    const moment = this.#recording.bootPending
      ? undefined
      : this.#rotation.moment(acknowledgement, this.#chain.head, this.#journal);
    if (moment === "now") {
      const seq = this.#recording.head!.seq;
      this.#recording.afterwards(() => this.#rotateBehind(seq));
    } else if (moment === "soon") {
      this.#rotation.holding = true;
      this.#rotation.lookSoon(() => this.#sync?.wake());
    } else if (this.#rotation.holding) this.#endHold();
  }

  /** In a job of its own, as every commit; records that were committed meanwhile come first. */
  #rotateBehind(seq: number): void {
    const { next } = this.#rotation;
    if (!next || this.#closed || !this.#mayAppend || this.#recording.head?.seq !== seq) return;
    if (!this.#recording.append(Kind.rotate, encodeRotate(next.publicKey)).ok) {
      this.#endHold();
      return;
    }
    this.#mayAppend = false;
    this.#goOn([() => this.#finishRotation()]);
  }

  /** Records may follow the head now. */
  get #isOpen(): boolean {
    return this.#mayAppend && !this.#rotation.holding;
  }

  /** What waited for the moment of a rotation is committed. */
  #endHold(): void {
    this.#rotation.holding = false;
    this.#recording.commitWaiting();
  }

  /** Sampling goes on; what becomes of the chain is known before what waits is too much. */
  #onHold(): void {
    this.#mayAppend = false;
    this.#rotation.holding = false;
  }

  #onAcknowledged(acknowledgement: Acknowledgement, bytes: Uint8Array): void {
    const { received, logged, final } = acknowledgement;
    const seqs = [received, logged, final].map((position) => position?.seq ?? "-");
    this.#log(`event=acknowledged received=${seqs[0]} logged=${seqs[1]} final=${seqs[2]}`);
    // From the second record on genesis is named by another, so that no mount needs the former key any more. Flash that was
    // set back may not hold them yet.
    const isHeld = (this.#chain.head?.seq ?? 0) > 0;
    // Not at `received`: a relay that is restored from a copy takes back what is logged, and no more.
    const settled = this.#options.releaseAt === "final" ? final : logged;
    if (this.#succession && !this.#lacksRoom && isHeld && settled && settled.seq > 0) this.#endSuccession();
    this.#marks.acknowledged(acknowledgement, bytes, this.#relay);
    if (this.#lacksRoom && this.#succession?.rotation) {
      this.#sync?.close();
      this.#goOn(this.#lastSteps());
    }
    this.#considerRotation(acknowledgement);
    // What was released may have ended a warning. In a job of its own, as commits are.
    this.#recording.afterwards(() => this.#recording.tellUsage());
    this.#options.onAcknowledged?.(acknowledgement, bytes);
  }

  /** What waits is committed now, or held back for the moment of a rotation. */
  #commit(record: Omit<WaitingRecord, "uptimeMs" | "clock"> & Partial<WaitingRecord>): void {
    const { clock } = this.#platform;
    if (!this.#recording.add({ uptimeMs: clock.uptimeMs(), clock: clock.state, ...record })) return;
    if (this.#rotation.holding && this.#recording.waiting.length > ROTATION_WAITING_MAX) this.#endHold();
    else this.#recording.commitNext();
  }

  #problem(failure: Failure): void {
    this.#log(`event=problem code=${failure.code} ${explain(failure)}`);
    this.#options.onProblem?.(failure);
  }

  #log(line: string): void {
    this.#platform.print(`${this.#options.label}: ${line}`);
  }
}
