import assert from "node:assert/strict";
import { fromHex } from "tallystick/bytes/bytes";
import { writeToken } from "tallystick/sync/enrolment";
import { writeRelayPins } from "tallystick/sync/relay-pins";
import { sentMarkOf } from "tallystick/sync/sent-mark";
import { makeEnrolmentToken } from "../../../hosts/relay/enrol.js";
import type { FlashSnapshot } from "../../../hosts/simulator/world/nor.js";
import { SeededRandom } from "../../../hosts/simulator/world/random.js";
import { must, type StartedRelay } from "../../relay/started.js";
import { Bench, type BenchOptions } from "../bench.js";
import { Oracle } from "./oracle.js";
import { Wire } from "./wire.js";

/** What a board holds at one moment of its life: all that somebody could have copied, and could put back. */
export interface Moment {
  /** Of the key in use. */
  readonly kid: string;
  /** The head that the flash holds. */
  readonly seq: number;
  readonly flash: FlashSnapshot;
  readonly keys: ReadonlyMap<string, Uint8Array>;
}

/** The newest moments, and of those before one in so many. */
const MOMENTS_NEWEST = 48;
const MOMENTS_OLDER = 48;
const OLDER_EVERY = 8;

/**
 * Two samples of three readings make a record: the first of a start comes two seconds after it. The relay's answer comes
 * sooner, also where the first one is lost and the device asks again.
 */
const EVERY_MS = 2000;
const DEVICE = { maxReadings: 6, maxAgeMs: 10_000 };

/** Looks at the relay's log while something is waited for: one each so many virtual milliseconds, at most so many. */
const LOOK_MS = 30_000;
const LOOKS_MAX = 400;

/** A bench whose flash and key store can be set back to each of its earlier moments. */
export class RollbackBoard extends Bench {
  readonly started: StartedRelay;
  readonly wire: Wire;
  readonly oracle: Oracle;
  moments: Moment[] = [];
  /** Called after each record that the device commits. */
  onCommit: (() => void) | undefined;
  /** In the order in which they came into use. */
  readonly #kids: string[] = [];
  #askedBefore = 0;
  #committed = 0;
  /** The flash ends with the record that was reported last. */
  #isCurrent = false;

  constructor(started: StartedRelay, { seed = 1, device = {}, ...rest }: BenchOptions) {
    let onRecord = () => {};
    super({ seed, everyMs: EVERY_MS, device: { ...DEVICE, onRecord: () => onRecord(), ...device }, ...rest });
    onRecord = () => this.#remember();
    this.started = started;
    this.oracle = new Oracle(this, started.relay.store);
    this.wire = new Wire({
      origin: started.url,
      random: new SeededRandom(seed),
      nowMs: () => this.time.nowMs(),
      onAnswer: (request, answer) => {
        this.oracle.heard(request, answer);
        this.#rememberSent();
      },
    });
    this.network.target = this.wire;
    const { origin, logKey } = started.relay.identity;
    writeRelayPins(this.keys, { origin, deviceKey: started.key, logKey });
    // The relay lives in virtual time.
    const { token } = must(makeEnrolmentToken(started.folder, { nowMs: this.time.nowMs() }));
    writeToken(this.keys, new Uint8Array(Buffer.from(token, "ascii")));
  }

  get isOff(): boolean {
    return this.simulation.state === "off";
  }

  /** Requests since the power came. */
  get asked(): number {
    return this.network.requests.length - this.#askedBefore;
  }

  /** A succession was decided, and the former key is still there. */
  get isSucceeding(): boolean {
    return this.keys.read("succession") !== undefined;
  }

  /** Of whose chains the device can read what its flash holds: the present key's, and while it is kept the former one's. */
  get openKids(): readonly string[] {
    const at = this.#kids.indexOf(this.kid);
    const former = this.#kids[(at < 0 ? this.#kids.length : at) - 1];
    return this.isSucceeding && former !== undefined ? [this.kid, former] : [this.kid];
  }

  /** The highest position of the present chain that the device has said, durably, to have handed out; -1 before the first. */
  get mark(): number {
    return must(sentMarkOf(this.keys, fromHex(this.kid)!, true)) ?? -1;
  }

  override async powerOn(): Promise<void> {
    this.#askedBefore = this.network.requests.length;
    this.#isCurrent = false;
    await super.powerOn();
  }

  /** Off, and nothing that was sent is on its way any more but what is held back. */
  override async cutPower(): Promise<void> {
    await super.cutPower();
    await this.wire.idle();
  }

  override async close(): Promise<void> {
    await super.close();
    await this.wire.idle();
    this.wire.close();
  }

  /** Lets time pass until `happened`, or the power goes; the relay's log goes on meanwhile. Whether it happened. */
  async pass(happened: () => boolean): Promise<boolean> {
    for (let looks = 0; looks < LOOKS_MAX && !this.isOff; looks++) {
      await this.run(LOOK_MS, () => this.isOff || happened());
      if (happened()) return true;
      await this.log();
    }
    return happened();
  }

  /** Everything that the relay has received is in its log. */
  async log(): Promise<void> {
    await this.wire.idle();
    await this.started.settled();
  }

  /** The same, where it has to happen. */
  async reach(what: string, happened: () => boolean): Promise<void> {
    assert.ok(await this.pass(happened), `${what} did not happen`);
  }

  setBackFlash({ flash, seq }: Moment): void {
    this.flash.restore(flash);
    this.#forgetUnsent(seq);
  }

  setBackTogether(moment: Moment): void {
    this.setBackFlash(moment);
    this.cells.values.clear();
    for (const [name, value] of moment.keys) this.cells.values.set(name, value);
  }

  /** As an erase of the whole chip leaves it. */
  eraseFlash(): void {
    const { cells, unstable, touched, erased } = this.flash.snapshot();
    this.flash.restore({ cells: cells.fill(0xff), unstable: unstable.fill(0), touched: touched.fill(0), erased });
    this.#forgetUnsent(-1);
  }

  /** Flash and key store as they are. */
  now(): Moment {
    const { kid, headSeq: seq } = this;
    return { kid, seq, flash: this.flash.snapshot(), keys: new Map(this.cells.values) };
  }

  #remember(): void {
    this.#isCurrent = true;
    this.onCommit?.();
    if (!this.#kids.includes(this.kid)) this.#kids.push(this.kid);
    this.moments.push(this.now());
    const over = this.moments.length - MOMENTS_NEWEST - MOMENTS_OLDER;
    if (this.moments.length > MOMENTS_NEWEST && this.#committed++ % OLDER_EVERY !== 0)
      this.moments.splice(this.moments.length - MOMENTS_NEWEST - 1, 1);
    else if (over > 0) this.moments.splice(1, over);
  }

  /** Of every second record the moment is not that of its commit, but a later one: it is sent, and the key store says so. */
  #rememberSent(): void {
    const last = this.moments.length - 1;
    const { kid, seq } = this.moments[last] ?? {};
    if (this.#isCurrent && kid === this.kid && seq === this.headSeq && seq % 2 === 1) this.moments[last] = this.now();
  }

  /**
   * What was committed, never sent, and now is gone leaves its position to another record: flash that holds it is no past
   * of this chain any more.
   */
  #forgetUnsent(held: number): void {
    const most = Math.max(held, this.oracle.sent(this.kid));
    this.moments = this.moments.filter(({ kid, seq }) => kid !== this.kid || seq <= most);
  }
}
