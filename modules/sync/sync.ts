import { concatBytes, equalBytes, toHex } from "../bytes/bytes.js";
import { ClockState, type Timer } from "../clock/clock.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Succession } from "../identity/succession.js";
import { recordId } from "../record/record.js";
import { STATEMENT_MAX_BYTES } from "../record/statement.js";
import { accept, readPin } from "./acceptance.js";
import type { NamingGap } from "./chain-store.js";
import { deleteLeave, enrolmentBody, hasLeave, readToken, statementIn } from "./enrolment.js";
import { Fetching } from "./fetching.js";
import {
  type Acknowledgement,
  encodeRequest,
  NONCE_BYTES,
  type Position,
  type Request,
  readAcknowledgement,
} from "./messages.js";
import { LEVELS, type Level, type SyncOptions } from "./options.js";
import { problemOf } from "./problem.js";
import { FollowedPins } from "./relay-key.js";
import { sentMarkOf, writeSentMark } from "./sent-mark.js";
import { encodeSuccessionRequest, lastWord } from "./succession.js";
import type { TransportResponse, Step as TransportStep } from "./transport.js";

/**
 * Brings a device's records to its relay, and the relay's signed acknowledgements back. One request at a time; what
 * fails is tried again, later and later; nothing here ever holds up sampling.
 */

/** Records of one batch take at most this much of the device's heap; the relay takes 64 KiB. */
const BATCH_BYTES = 8192;
const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 300_000;
const RETRY_AFTER_MAX_S = 3600;
const POLL_DEFAULT_MS = 60_000;

export class Sync {
  /** What the relay last acknowledged. */
  acknowledged: Pick<Acknowledgement, Level> = {};
  readonly #options: SyncOptions;
  readonly #path: string;
  readonly #relay: FollowedPins;
  readonly #fetching: Fetching;
  #timer: Timer | undefined;
  #busy = false;
  #closed = false;
  #ready = false;
  #greeted = false;
  #retryMs = RETRY_FIRST_MS;
  #sent = -1;
  /** Why this chain cannot go on, once it is known; the next acknowledgement then names the head that it ends at. */
  #ends: "records" | "branch" | undefined;
  /** Where the newest answer named another record than is held here. */
  #disputed: Position | undefined;
  /** What the newest answer names as received, believed or not. */
  #claimed: Position | undefined;
  /** The lowest position above the head that the relay has erased, by its newest answer that was believed. */
  #erasedSeq: number | undefined;

  constructor(options: SyncOptions) {
    this.#options = options;
    this.#relay = new FollowedPins(options);
    this.#fetching = new Fetching(options, (path) => this.#call("GET", path));
    this.#path = `/v1/devices/${toHex(options.identity.kid)}`;
  }

  /** Starts talking. KEY_UNREADABLE where the sent mark cannot be read: then nothing may be signed. */
  start(): Result<void> {
    const { keys, identity, succession } = this.#options;
    const sent = sentMarkOf(keys, identity.kid, succession !== undefined);
    if (!sent.ok) return sent;
    this.#sent = sent.value ?? -1;
    if (this.#headSeq() >= this.#sent) this.#becomeReady();
    this.wake();
    return ok(undefined);
  }

  /** There is something new to send. */
  wake(): void {
    if (!this.#busy && this.#retryMs === RETRY_FIRST_MS) this.#schedule(0);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #headSeq(): number {
    return this.#options.chain.head?.seq ?? -1;
  }

  #becomeReady(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#ends = undefined;
    this.#options.onReady();
  }

  #hold(): void {
    if (!this.#ready) return;
    this.#ready = false;
    this.#options.onHold();
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#options.timers.after(delayMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    if (this.#busy || this.#closed) return;
    this.#busy = true;
    let step = await this.#step();
    if (!step.ok && this.#relay.asksAfter(step.failure.code)) step = await this.#followKeys(step);
    if (!step.ok) this.#relay.failed(step.failure.code);
    this.#busy = false;
    if (this.#closed) return;
    if (step.ok && step.value !== "wait") {
      // A greeting alone is no progress: what failed may come after it, again and again.
      if (step.value !== "greeted") this.#retryMs = RETRY_FIRST_MS;
      this.#schedule(step.value !== "idle" ? 0 : (this.#options.pollMs ?? POLL_DEFAULT_MS));
      return;
    }
    // Whatever went wrong, or is to be waited for, where the relay stands is asked anew: it may have been set back.
    this.#greeted = false;
    if (!step.ok) this.#options.onProblem(step.failure);
    // Jitter keeps a fleet that lost its relay from coming back in one moment.
    const jitter = 0.75 + this.#options.entropy.bytes(1)[0]! / 512;
    this.#schedule(Math.max(this.#retryMs * jitter, (step.retryAfterS ?? 0) * 1000));
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  /** Asks whether the relay has a word of the pinned keys that leads to other ones. */
  async #followKeys(claim: Step): Promise<Step> {
    const answer = await this.#call("GET", `/v1/relay/keys?generation=${this.#relay.pins.generation}`);
    const followed = answer.ok ? await this.#relay.follow(answer.value.body) : ok(undefined);
    if (!followed.ok) return followed;
    if (!followed.value) return claim;
    this.#greeted = false;
    this.#options.onRelayKeys?.(this.#relay.pins);
    return { ok: true, value: followed.value === "again" ? "wait" : "greeted" };
  }

  #step(): Promise<Step> {
    // Where nothing was ever sent no relay can know the device; later an enrolment may stand whose answer was lost.
    if (this.#sent < 0 && this.#hasLeave()) return this.#enter();
    if (!this.#greeted) return this.#greet();
    if (!this.#ready) return this.#recover();
    const next = (this.acknowledged.received?.seq ?? -1) + 1;
    return next <= this.#headSeq() ? this.#send(next) : this.#greet();
  }

  #hasLeave(): boolean {
    return this.#options.succession !== undefined || hasLeave(this.#options.keys);
  }

  #enter(): Promise<Step> {
    const { succession } = this.#options;
    return succession ? this.#succeed(succession) : this.#enrol();
  }

  /** Brings the former key's statement and this key's genesis: both are the same bytes each time. */
  async #succeed(succession: Succession): Promise<Step> {
    const { chain, relay } = this.#options;
    // Jobs of their own: reading back and signing each take much of a board's stack.
    await undefined;
    const genesis = chain.record(0);
    if (!genesis.ok) return genesis;
    await undefined;
    const word = lastWord(succession, relay.origin);
    if (!word.ok) return word;
    const request = this.#request();
    if (!request.ok) return request;
    this.#markSent(0);
    const body = encodeSuccessionRequest({ request: request.value, genesis: genesis.value, ...word.value });
    const answer = await this.#call("POST", `/v1/devices/${toHex(succession.former.kid)}/succession`, body);
    if (!answer.ok) return answer;
    return this.#welcome(request.value, answer.value.body);
  }

  async #enrol(): Promise<Step> {
    const { keys, chain } = this.#options;
    const token = readToken(keys);
    const challenge = await this.#call("GET", "/v1/challenge");
    if (!challenge.ok) return challenge;
    const genesis = chain.record(0);
    if (!genesis.ok) return genesis;
    // Jobs of their own: reading genesis and signing each take much of a board's stack.
    await undefined;
    const statement = token ? ok(undefined) : statementIn(genesis.value);
    if (!statement.ok) return statement;
    await undefined;
    const request = this.#request();
    if (!request.ok) return request;
    const parts = { request: request.value, genesis: genesis.value, ...(token && { token }) };
    const body = enrolmentBody(this.#options, challenge.value.body, parts, statement.value);
    if (!body.ok) return body;
    this.#markSent(0);
    const answer = await this.#call("POST", "/v1/devices", body.value);
    if (!answer.ok) return answer;
    return this.#welcome(request.value, answer.value.body);
  }

  /** Asks where the relay stands; the answer also tells time and carries the levels. */
  async #greet(): Promise<Step> {
    const request = this.#request();
    if (!request.ok) return request;
    const answer = await this.#call("POST", `${this.#path}/head`, encodeRequest(request.value));
    if (answer.ok) return this.#welcome(request.value, answer.value.body);
    return answer.failure.code === "DEVICE_UNKNOWN" && this.#hasLeave() ? this.#enter() : answer;
  }

  /** What follows from the answer to a greeting or an enrolment. */
  #welcome(request: Request, answer: Uint8Array): Step | Promise<Step> {
    const { keys, chain } = this.#options;
    const accepted = this.#accept(request, answer);
    if (!accepted.ok && accepted.failure.code === "DEVICE_BEHIND") return this.#catchUp(accepted, this.#claimed!);
    if (!accepted.ok && this.#disputed !== undefined) return this.#askDisputed(accepted, this.#disputed);
    if (!accepted.ok) return accepted;
    // Only a relay that knows the device signs for it.
    deleteLeave(keys);
    const received = accepted.value.received?.seq ?? -1;
    // What the relay lacks and the device has not: only a gap may name it, and is sent before what follows it.
    if (received < chain.firstSeq - 1 && this.#gapFor(received + 1) === undefined)
      return fail("RELAY_BEHIND", `expected at least seq ${chain.firstSeq - 1}, received ${received}`);
    this.#greeted = true;
    if (this.#headSeq() >= this.#sent) this.#becomeReady();
    return !this.#ready || received < this.#headSeq() ? GREETED : IDLE;
  }

  async #send(from: number): Promise<Step> {
    const { chain } = this.#options;
    // A job of its own: reading records back takes much of a board's stack, and so does what led here.
    await undefined;
    const request = this.#request();
    if (!request.ok) return request;
    const parts = [encodeRequest(request.value)];
    let room = BATCH_BYTES;
    const gap = from < chain.firstSeq ? this.#gapFor(from) : undefined;
    if (gap) {
      parts.push(gap.bytes);
      room -= gap.bytes.length;
      // A job of its own again: so was the gap's reading.
      await undefined;
    }
    const first = gap ? gap.last + 1 : from;
    let last = first - 1;
    for (let seq = first; seq <= this.#headSeq(); seq++) {
      const record = chain.record(seq);
      if (!record.ok && last < first) return record;
      if (!record.ok || record.value.length > room) break;
      room -= record.value.length;
      parts.push(record.value);
      last = seq;
    }
    this.#markSent(Math.max(last, gap?.seq ?? last));
    const answer = await this.#call("POST", `${this.#path}/records`, concatBytes(...parts));
    if (!answer.ok) return answer;
    const accepted = this.#accept(request.value, answer.value.body);
    if (!accepted.ok) return accepted;
    const received = accepted.value.received?.seq ?? -1;
    if (received < first) return fail("RELAY_BEHIND", `sent seq ${first} to ${last}, the relay stands at ${received}`);
    return received < this.#headSeq() ? MORE : IDLE;
  }

  /** The gap that names `seq` and reaches up to what is still held. */
  #gapFor(seq: number): NamingGap | undefined {
    const { chain, gapNaming } = this.#options;
    const gap = gapNaming?.(seq);
    return gap && gap.last >= chain.firstSeq - 1 ? gap : undefined;
  }

  /** The device may have sent records that its flash has lost: fetches them back before anything new is signed. */
  async #recover(): Promise<Step> {
    const position = this.acknowledged.received;
    if (position === undefined)
      return fail("SUCCESSION_NEEDED", `sent up to seq ${this.#sent}, the relay stands at none`);
    if (this.#ends === "branch" || this.#headSeq() >= position.seq) return this.#end(position);
    const { head } = this.#options.chain;
    if (this.#erasedSeq !== undefined && head) return this.#endBefore(this.#erasedSeq, head);
    // Also where the chain ends: what the relay has logged makes room only for what is held, and behind the former key's
    // records alone no later key's could stand. Genesis is never erased.
    const fetched = await this.#fetchBack(position.seq);
    if (!fetched.ok) return fetched;
    if (fetched.value === 0) return this.#seekGap(position);
    // The relay's next answer is about the restored head: only that lets the device append.
    if (this.#headSeq() >= position.seq) this.#greeted = false;
    return MORE;
  }

  /**
   * The chain ends at the relay's head, which it has just signed for. What is held and the relay lacks is brought first,
   * while it still enters the chain. It is said once before it is done: what is under way may arrive meanwhile.
   */
  async #end(received: Position): Promise<Step> {
    if (this.#ends !== "branch" && received.seq < this.#headSeq()) {
      const sent = await this.#send(received.seq + 1);
      if (sent.ok) return MORE;
      if (sent.failure.code !== "JOURNAL_RECORD_DAMAGED") return sent;
      // It can never be brought, and nothing behind it has a place in the chain without it.
      this.#options.onProblem(sent.failure);
    }
    if (this.#ends === undefined) {
      this.#ends = "records";
      return fail("SUCCESSION_NEEDED", `sent up to seq ${this.#sent}, the relay stands at ${received.seq}`);
    }
    await undefined;
    const begun = this.#options.onSuccession(received);
    if (!begun.ok) return begun;
    this.close();
    return IDLE;
  }

  /**
   * The relay gives no record that follows the head. Where a gap record of the device's own, which it holds further up, names
   * what is missing, that was dropped, and is lost with the flash: nobody has it, and the chain ends at the relay's head.
   * Only that shows it: whoever is on the way can keep records back. The gap may wait above the relay's head, for it was
   * sent before its position came, but not above the sent mark.
   */
  async #seekGap({ seq: received }: Position): Promise<Step> {
    const missing = this.#headSeq() + 1;
    const dropped = await this.#fetching.isDropped(missing, Math.max(received, this.#sent));
    if (!dropped.ok) return dropped;
    if (!dropped.value) return fail("RELAY_BEHIND", `it gives no record after seq ${missing - 1}`);
    this.#ends = "branch";
    return fail("SUCCESSION_NEEDED", `the record at seq ${missing} was dropped, and is lost with the flash`);
  }

  /**
   * The relay has signed that it was asked to erase a record which this flash has lost: nobody has it, and the chain ends at
   * the relay's head. What is held has to make room for the next key's genesis, after a restart, too: so it is let go of
   * first, where the relay shows that its chain is this one.
   */
  async #endBefore(erasedSeq: number, head: Position): Promise<Step> {
    const shown = await this.#fetching.isShown(head);
    if (!shown.ok && shown.failure.code !== "RECORD_ERASED") return shown;
    // Without room the succession says so.
    if (shown.ok && shown.value) this.#fetching.release(this.#releasable);
    this.#ends = "branch";
    return fail(
      "SUCCESSION_NEEDED",
      `the record at seq ${erasedSeq} was erased on request, and is lost with the flash`,
    );
  }

  /**
   * The relay signs for records that this device knows nothing of. Either flash and key store were set back together, or
   * the relay lies: only a record there under the device's own signature tells which. Nothing is appended until it is
   * known; then so much was sent once, and the mark says so again: this is a device like any whose flash was set back.
   */
  async #catchUp(claim: Step<never>, received: Position): Promise<Step> {
    this.#hold();
    const shown = await this.#isBehind(received);
    // What cannot be asked for may still be there.
    if (!shown.ok) return shown;
    if (shown.value) {
      this.#markSent(received.seq);
      return MORE;
    }
    if (this.#headSeq() >= this.#sent) this.#becomeReady();
    return claim;
  }

  /** Where the record itself was erased, any other of the device's own above its head shows the same. */
  async #isBehind(received: Position): Promise<Step<boolean>> {
    const shown = await this.#fetching.isShown(received);
    if (shown.ok || shown.failure.code !== "RECORD_ERASED") return shown;
    const any = await this.#fetching.isAnyShown(this.#headSeq(), received.seq);
    return any.ok && !any.value ? shown : any;
  }

  /**
   * The relay names another record at a position that is held here. It lies, unless it can show one there under the
   * device's own signature: then flash and key store were set back together once, and two branches are signed.
   */
  async #askDisputed(claim: Step<never>, disputed: Position): Promise<Step> {
    const shown = await this.#fetching.isShown(disputed);
    if (!shown.ok || !shown.value) return claim;
    this.#hold();
    // Nothing beyond the head was sent; the mark keeps this chain from going on after a restart, too.
    this.#markSent(this.#headSeq() + 1);
    this.#ends = "branch";
    const { seq, id } = disputed;
    return fail("SUCCESSION_NEEDED", `two records are signed at seq ${seq}: the relay has ${toHex(id)}`);
  }

  /** Restores the records after the head, at most up to `to`; how many. SUCCESSION_NEEDED where they are another branch. */
  async #fetchBack(to: number): Promise<Step<number>> {
    const restored = await this.#fetching.restore(to, this.#releasable);
    if (!restored.ok) return restored;
    const { count, otherBranch } = restored.value;
    if (otherBranch === undefined) return ok(count);
    // The device's own signature: so much was sent once, by a start that this flash knows nothing of.
    this.#markSent(otherBranch);
    this.#ends = "branch";
    return fail(
      "SUCCESSION_NEEDED",
      `the record that was sent at seq ${otherBranch} does not follow the one held before it`,
    );
  }

  /** The relay's newest word at the level that releases. */
  get #releasable(): Position | undefined {
    return this.acknowledged[this.#options.releaseAt ?? "logged"];
  }

  #request(): Result<Request> {
    const { chain, entropy, keys } = this.#options;
    const pinned = readPin(keys);
    if (!pinned.ok) return pinned;
    const head = chain.head;
    return ok({
      nonce: entropy.bytes(NONCE_BYTES),
      pinnedSize: pinned.value?.size ?? 0,
      ...(head && { head: { seq: head.seq, id: head.id } }),
    });
  }

  #accept(request: Request, answer: Uint8Array): Result<Acknowledgement> {
    const { chain, crypto, identity, keys, clock } = this.#options;
    const relay = this.#relay.pins;
    // Looked up before, and not from within the check: reading a record back takes much of a board's stack. The head is
    // not read: to read the newest record may write.
    const read = readAcknowledgement(answer);
    if (!read.ok) return read;
    // After two branches were seen the relay's levels are the other one's: nothing is compared with this one's records.
    const isOther = this.#ends === "branch";
    const ownIds = new Map<number, Uint8Array>();
    if (chain.head && !isOther) ownIds.set(chain.head.seq, chain.head.id);
    for (const level of isOther ? [] : LEVELS) {
      const seq = read.value.acknowledgement[level]?.seq ?? -1;
      if (seq < chain.firstSeq || seq >= this.#headSeq()) continue;
      const record = chain.record(seq);
      if (record.ok) ownIds.set(seq, recordId(crypto.sha256, record.value));
    }
    const ownId = (seq: number) => ownIds.get(seq);
    this.#claimed = read.value.acknowledgement.received;
    this.#disputed = undefined;
    for (const level of LEVELS) {
      const position = read.value.acknowledgement[level];
      const own = position && ownIds.get(position.seq);
      // The highest of them: what a chain ends with is never erased, so that the relay can show it.
      if (position && own && !equalBytes(own, position.id)) this.#disputed ??= position;
    }
    const lastSeq = isOther ? Number.MAX_SAFE_INTEGER : Math.max(this.#headSeq(), this.#sent);
    const accepted = accept({ crypto, kid: identity.kid, relay, keys, ownId, lastSeq }, request, answer);
    this.#relay.judged(read.value.statement.kid, accepted);
    if (!accepted.ok) return accepted;
    const { received, logged, final, timeMs, erasedSeq } = accepted.value;
    this.#erasedSeq = erasedSeq;
    this.acknowledged = {
      ...(received && { received }),
      ...(logged && { logged }),
      ...(final && { final }),
    };
    if (clock.state < ClockState.network) clock.set(timeMs, ClockState.relay);
    const releasable = this.#releasable;
    if (!isOther && releasable && releasable.seq >= chain.firstSeq && releasable.seq <= this.#headSeq()) {
      // A record that the flash has damaged keeps its sector until a later one is released; it must not end the talk.
      const released = chain.release(releasable);
      if (!released.ok) this.#options.onProblem(released.failure);
    }
    this.#options.onAcknowledged(accepted.value, answer);
    return accepted;
  }

  /** Before each sending: after a restart the device knows what others may hold of it. */
  #markSent(seq: number): void {
    if (seq <= this.#sent) return;
    writeSentMark(this.#options.keys, this.#options.identity.kid, seq);
    this.#sent = seq;
  }

  async #call(method: "GET" | "POST", path: string, body?: Uint8Array): Promise<Step<TransportResponse>> {
    const response = await this.#options.transport.request({
      method,
      path,
      maxResponseBytes: STATEMENT_MAX_BYTES,
      ...(body && { body }),
    });
    // Whoever goes on with the same flash and key store does not expect this one to write to them.
    if (this.#closed) return fail("TRANSPORT_FAILED", "the answer came after the end");
    if (!response.ok || response.value.status === 200) return response;
    const { status, retryAfterS } = response.value;
    const problem = problemOf(response.value);
    return {
      ...(problem
        ? { ok: false, failure: problem }
        : fail("TRANSPORT_FAILED", `the relay answered with status ${status}`)),
      ...(retryAfterS !== undefined && { retryAfterS: Math.min(retryAfterS, RETRY_AFTER_MAX_S) }),
    };
  }
}

type Step<T = "more" | "greeted" | "wait" | "idle"> = TransportStep<T>;
const MORE: Step = { ok: true, value: "more" };
const GREETED: Step = { ok: true, value: "greeted" };
const IDLE: Step = { ok: true, value: "idle" };
