import { toHex } from "tallystick/bytes/bytes";
import { CODES, type Code, fail } from "tallystick/codes/codes";
import { DATE_TOLERANCE_S } from "tallystick/evidence/dating";
import { encodeCbor } from "tallystick/record/cbor";
import { readAlert } from "tallystick/record/payload";
import { ANSWER_MAX_BYTES, type Request, readRequest } from "tallystick/sync/messages";
import { type AcknowledgerOptions, acknowledge, checkPinned } from "./acknowledge.js";
import type { Attempts } from "./attempts.js";
import { CHALLENGE_LIFETIME_S, type Challenges } from "./challenge.js";
import type { Backdated } from "./dating.js";
import { type EnrolmentOptions, enrolDevice } from "./enrolment.js";
import type { RelayEvents } from "./events.js";
import { type Ingested, openBatch } from "./ingest.js";
import type { Intake } from "./intake.js";
import { type Refusal, Refused } from "./problem.js";
import { CBOR_SEQUENCE_TYPE, CBOR_TYPE, checkedBytes, erasedRefusal } from "./routes/shapes.js";
import { heldBack } from "./standing.js";
import { isErased } from "./store/erasures.js";
import type { StoredDevice } from "./store/store.js";
import { succeedDevice } from "./succession.js";

/**
 * The calls of modules/sync/SPEC.md by which a device talks for itself, whatever brings them. Each is let in first, by what
 * is known before a byte of its body is looked at, and answered once the body is there: a face of the relay (routes/sync.ts,
 * mqtt/) calls both in this order, and `failed` with whatever came between or out of them. All of them throw: Refused with
 * what the sender is told, or what a database or a disk throws.
 */

export interface CallsOptions extends EnrolmentOptions, AcknowledgerOptions {
  readonly challenges: Challenges;
  readonly intake: Intake;
  /** The statements that changed the relay's keys after `generation`, as a CBOR sequence. */
  readonly statementsAfter: (generation: number) => Uint8Array;
  /** New records are durable: the sequencer has something to do. */
  readonly onStored: () => void;
  /** Why nothing may be taken in now; undefined in health. */
  readonly refusal: () => Refusal | undefined;
  readonly events: RelayEvents;
}

/** Who calls, as far as that is known before a signature is looked at. */
export interface Caller {
  /** What debts are counted by: an address, or a key place (attempts.ts) where addresses are hidden. */
  readonly place: string;
  /** How often that place may fail to enrol or to succeed. */
  readonly attempts: Attempts;
  readonly log: CallLog;
}

export interface CallLog {
  info(members: object, message: string): void;
  warn(members: object, message: string): void;
}

export interface CallAnswer {
  readonly type: typeof CBOR_TYPE | typeof CBOR_SEQUENCE_TYPE;
  readonly bytes: Uint8Array;
  /** It is about this moment: nobody on the way may keep it. */
  readonly isFleeting: boolean;
}

/** A call that was let in: answers its body, undefined where none came. */
export type Admitted = (body: Uint8Array | undefined) => Promise<CallAnswer>;

/** Positions of a chain, both included. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

export class Calls {
  readonly #options: CallsOptions;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Ends what is under way without taking anything more in. */
  close(): void {
    this.#options.intake.close();
  }

  /** A challenge to sign for enrolment. */
  challenge(): CallAnswer {
    const challenge = new Map<number, Uint8Array | number>([
      [1, this.#options.challenges.issue()],
      [2, CHALLENGE_LIFETIME_S],
    ]);
    return { type: CBOR_TYPE, bytes: encodeCbor(challenge), isFleeting: true };
  }

  /** Statements that changed the relay's keys. */
  relayKeys(generation: number): CallAnswer {
    return { type: CBOR_SEQUENCE_TYPE, bytes: this.#options.statementsAfter(generation), isFleeting: true };
  }

  /** Enrols a device; where `kid` is given, the one of that key and no other. */
  enrolment(caller: Caller, kid?: Uint8Array): Admitted {
    admitAttempt(caller);
    this.#admitWrites();
    return async (body) => {
      // Again now that the body is there: while many were on their way none of them had failed yet.
      admitAttempt(caller);
      const check = (sent: Request) => checkPinned(this.#options.log, sent);
      const sent = present(body);
      const enrolled = this.#options.store.alone(() => enrolDevice(this.#options, sent, check, kid));
      if ("refusal" in enrolled) throw new Refused(enrolled.refusal);
      if (enrolled.isNew) {
        const kid = toHex(enrolled.device.kid);
        this.#options.events.emit({ event: "records", kid, stored: 1, repeated: 0 });
        caller.log.info({ kid }, "device enrolled");
        this.#options.onStored();
      }
      return this.#acknowledge(enrolled.device, enrolled.request);
    };
  }

  /** Where the relay stands. */
  head(kid: Uint8Array): Admitted {
    const device = this.#admitDevice(kid);
    return async (body) => {
      const read = readRequest(present(body));
      if (!read.ok) throw new Refused(read);
      return this.#acknowledge(device, read.value, { namesHead: true });
    };
  }

  /** Records that follow the chain's head. */
  records(caller: Caller, kid: Uint8Array): Admitted {
    const { intake, store, log, events } = this.#options;
    const device = this.#admitDevice(kid);
    const held = heldBack(store, device.device);
    if (held) throw new Refused(held);
    this.#admitWrites();
    const admitBatch = (): void => {
      const refusal = intake.refusal(device, caller.place);
      if (refusal) throw new Refused(refusal);
    };
    admitBatch();
    return async (body) => {
      // Again now that the body is there: many may have come meanwhile.
      admitBatch();
      const batch = openBatch(present(body));
      if (!batch.ok) throw new Refused(batch);
      const behind = checkPinned(log, batch.value.request);
      if (behind) throw new Refused({ failure: behind });
      const { stored, repeated, backdated, refusal, alerts } = await intake.take(
        device,
        batch.value.records,
        caller.place,
      );
      const kid = toHex(device.kid);
      events.emit({ event: "records", kid, stored, repeated });
      if (backdated[0]) {
        const told = { kid, records: backdated.length, ...foundIn(backdated[0]) };
        events.emit({ event: "backdated", ...told });
        caller.log.warn(told, "record backdated");
      }
      for (const alert of alerts ?? []) this.#tellAlert(caller, kid, alert);
      if (refusal) {
        const { failure, members } = refusal;
        events.emit({ event: "refused", kid, ...failure, ...(members && { members }) });
        caller.log.warn({ kid, stored, repeated, ...failure }, "record refused");
        if (stored + repeated === 0) throw new Refused(refusal);
      }
      return this.#acknowledge(device, batch.value.request, { namesHead: true });
    };
  }

  #tellAlert(caller: Caller, kid: string, { seq, id, payload }: NonNullable<Ingested["alerts"]>[number]): void {
    const alert = readAlert(payload);
    if (!alert.ok) return;
    const { finding, quantity, text } = alert.value;
    const what = { finding, ...(quantity !== undefined && { quantity }), ...(text !== undefined && { text }) };
    caller.log.warn({ kid, seq, ...what }, "alert record");
    this.#options.events.emit({ event: "alert", kid, seq, id: toHex(id), ...what });
  }

  /** Closes the chain of `kid` in favour of a new key. */
  succession(caller: Caller, kid: Uint8Array): Admitted {
    admitAttempt(caller);
    const former = this.#admitDevice(kid);
    this.#admitWrites();
    return async (body) => {
      admitAttempt(caller);
      const check = (sent: Request) => checkPinned(this.#options.log, sent);
      const sent = present(body);
      const succeeded = this.#options.store.alone(() => succeedDevice(this.#options, former, sent, check));
      if ("refusal" in succeeded) {
        caller.log.warn({ kid: toHex(former.kid), ...succeeded.refusal.failure }, "succession refused");
        throw new Refused(succeeded.refusal);
      }
      if (succeeded.isNew) {
        const [next, before] = [toHex(succeeded.device.kid), toHex(former.kid)];
        this.#options.events.emit({ event: "records", kid: next, stored: 1, repeated: 0 });
        caller.log.info({ kid: next, former: before }, "device succeeded");
        this.#options.onStored();
      }
      return this.#acknowledge(succeeded.device, succeeded.request);
    };
  }

  /** Records of a chain, gap records that wait for their position among them. */
  page(kid: Uint8Array): (range: Range) => CallAnswer {
    const { device } = this.#admitDevice(kid);
    const { erasures } = this.#options.store;
    return (range) => {
      const page: Uint8Array[] = [];
      let length = 0;
      // From the decision on, whether the bytes are gone by now or not.
      const erasedSeq = erasures.lowestBetween(kid, range.from - 1, range.to);
      for (const record of this.#recordsWithGaps(device, range)) {
        const erased = record.seq === erasedSeq || isErased(record) ? erasures.record(record.id) : undefined;
        // A page is of records that follow each other: what was erased ends it.
        if (erased && page.length === 0) throw new Refused(erasedRefusal(erased));
        if (erased) break;
        length += record.bytes.length;
        if (length > ANSWER_MAX_BYTES) break;
        page.push(checkedBytes(this.#options.crypto, record));
      }
      return { type: CBOR_SEQUENCE_TYPE, bytes: Buffer.concat(page), isFleeting: false };
    };
  }

  /** An enrolment or a succession of `caller` has ended in `error`, before it was let in or after. */
  failed({ attempts, place }: Caller, error: unknown): void {
    if (isFailedAttempt(error)) attempts.failed(place);
  }

  /** In order. A position has either: a gap record that has come at its own waits no longer. */
  *#recordsWithGaps(device: number, { from, to }: Range) {
    const { store } = this.#options;
    const waiting = store.gaps.pending(device).filter(({ seq }) => seq >= from && seq <= to);
    for (const record of store.recordsBetween(device, from, to)) {
      while (waiting[0] && waiting[0].seq < record.seq) yield waiting.shift()!;
      yield record;
    }
    yield* waiting;
  }

  #admitDevice(kid: Uint8Array): StoredDevice {
    const device = this.#options.store.deviceByKid(kid);
    if (!device) throw new Refused(fail("DEVICE_UNKNOWN", `expected an enrolled kid, received ${toHex(kid)}`));
    return device;
  }

  #admitWrites(): void {
    const refusal = this.#options.refusal();
    if (refusal) throw new Refused(refusal);
  }

  async #acknowledge(device: StoredDevice, request: Request, { namesHead = false } = {}): Promise<CallAnswer> {
    const behind = checkPinned(this.#options.log, request);
    if (behind) throw new Refused({ failure: behind });
    const acknowledgement = await acknowledge(this.#options, device, request, namesHead);
    if (!acknowledgement.ok) throw new Refused(acknowledgement);
    return { type: CBOR_TYPE, bytes: acknowledgement.value, isFleeting: true };
  }
}

function admitAttempt({ attempts, place }: Caller): void {
  const refusal = attempts.refusal(place);
  if (refusal) throw new Refused(refusal);
}

/** What is told of a batch's first record that is dated before its beacon. */
function foundIn({ seq, id, datedMs, notBeforeMs }: Backdated) {
  const [dated, notBefore] = [datedMs, notBeforeMs].map((ms) => new Date(ms).toISOString());
  const detail = `expected a date not before ${notBefore}, less ${DATE_TOLERANCE_S} s, received ${dated}`;
  return { code: "RECORD_BACKDATED" as const, detail, seq, id: toHex(id) };
}

/** Refusals that say nothing against the sender: what it must wait for, and that this relay was set back. */
const NO_ATTEMPT: readonly Code[] = ["ATTEMPTS_EXHAUSTED", "RELAY_BEHIND"];

/** Whether the sender was at fault; a relay that cannot take anything in just now is not held against anyone. */
function isFailedAttempt(error: unknown): boolean {
  if (error instanceof Refused) {
    const { code } = error.refusal.failure;
    return CODES[code].status < 500 && !NO_ATTEMPT.includes(code);
  }
  // What Fastify found wrong with a request, by the status that it answers.
  const { statusCode } = error as { readonly statusCode?: unknown };
  return typeof statusCode === "number" && statusCode < 500;
}

function present(body: Uint8Array | undefined): Uint8Array {
  if (body) return body;
  throw new Refused(fail("MESSAGE_MALFORMED", "expected a body, received none"));
}
