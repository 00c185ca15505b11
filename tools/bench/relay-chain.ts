import { concatBytes } from "tallystick/bytes/bytes";
import { type Head, headOf, nextBody } from "tallystick/chain/chain";
import { ClockState } from "tallystick/clock/clock";
import { explain, type Result } from "tallystick/codes/codes";
import { Identity } from "tallystick/identity/identity";
import { encodeGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, readBody, toBeSigned } from "tallystick/record/record";
import { PackBuilder } from "tallystick/sampler/pack";
import { encodeEnrolment, encodeRequest, leaveOf, makePossession, NONCE_BYTES } from "tallystick/sync/messages";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";

/** A chain signed ahead of a measurement, cut into the bodies in which a device sends it. */

/** Readings of a record: one of each of three quantities, as a device packs one look at its sensors. */
const QUANTITIES = [
  ["temperature", "Cel"],
  ["humidity", "%RH"],
  ["pressure", "Pa"],
] as const;
const START_S = 1_767_225_600;
const RECORD_EVERY_S = 60;

export interface Body {
  readonly bytes: Uint8Array;
  /** Position of the last record in it. */
  readonly last: number;
  readonly records: number;
}

export class BenchChain {
  readonly identity: Identity;
  readonly genesis: Uint8Array;
  readonly #seed: Uint8Array;
  #head: Head;

  constructor(seed: Uint8Array) {
    this.#seed = seed;
    this.identity = Identity.ofSeed(seed, crypto);
    const genesis = encodeGenesis({
      publicKey: this.identity.publicKey,
      model: "bench",
      firmware: { version: "0.0.0", sha256: new Uint8Array(32) },
      quantities: QUANTITIES.map(([name, unit]) => ({ name, unit })),
      markIntervalS: 3600,
    });
    const made = this.#make(undefined, Kind.genesis, genesis, ClockState.unset);
    this.genesis = made.bytes;
    this.#head = made.head;
  }

  /** The next record: three readings of one minute, under a clock that the network has set. */
  append(): Uint8Array {
    const seq = this.#head.seq + 1;
    const pack = new PackBuilder(QUANTITIES.length, 1000);
    for (const [i, [name, unit]] of QUANTITIES.entries())
      pack.add({ name, unit, value: 20 + i + ((seq * 7) % 100) / 4, uptimeMs: seq * RECORD_EVERY_S * 1000 });
    const uptimeMs = seq * RECORD_EVERY_S * 1000;
    const payload = pack.encode(uptimeMs, START_S * 1000);
    const made = this.#make(this.#head, Kind.readings, payload, ClockState.network);
    this.#head = made.head;
    return made.bytes;
  }

  /** The next `count` records in bodies of at most `maxBytes`. */
  bodies(count: number, maxBytes: number): Body[] {
    const bodies: Body[] = [];
    const request = encodeRequest({ nonce: new Uint8Array(NONCE_BYTES), pinnedSize: 0, head: this.#head });
    let parts: Uint8Array[] = [];
    let length = request.length;
    const close = (): void => {
      if (parts.length > 0) {
        const last = (bodies[bodies.length - 1]?.last ?? first - 1) + parts.length;
        bodies.push({ bytes: concatBytes(request, ...parts), last, records: parts.length });
      }
      parts = [];
      length = request.length;
    };
    const first = this.#head.seq + 1;
    for (let n = 0; n < count; n++) {
      const record = this.append();
      if (length + record.length > maxBytes) close();
      parts.push(record);
      length += record.length;
    }
    close();
    return bodies;
  }

  /** What lets the device in where enrolment is open. */
  enrolment(origin: string, challenge: Uint8Array): Uint8Array {
    const leaveSha256 = crypto.sha256(leaveOf(undefined, undefined));
    const possession = makePossession(this.identity.kid, { origin, challenge, leaveSha256 }, (bytes) =>
      must(this.identity.sign(bytes)),
    );
    const request = { nonce: new Uint8Array(NONCE_BYTES), pinnedSize: 0, head: { seq: 0, id: this.#head.id } };
    return encodeEnrolment({ request, genesis: this.genesis, possession });
  }

  #make(head: Head | undefined, kind: Kind, payload: Uint8Array, clock: ClockState) {
    const uptimeMs = head ? (head.seq + 1) * RECORD_EVERY_S * 1000 : 0;
    const body = nextBody(this.identity.kid, head, { kind, payload, uptimeMs, clock });
    // Not by the identity, which verifies each signature that it makes: the relay will.
    const signature = crypto.ed25519.sign(toBeSigned(must(readBody(body))), this.#seed, this.identity.publicKey);
    const bytes = concatBytes(body, signature);
    return { bytes, head: headOf(crypto.sha256, must(parseRecord(bytes))) };
  }
}

export function must<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Error(explain(result.failure));
}
