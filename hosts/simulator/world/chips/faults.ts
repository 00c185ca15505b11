import type { Conditions, Surroundings } from "../surroundings.js";
import { uniform } from "./chance.js";

export type Quantity = keyof Conditions;

/** What can be wrong with a chip, from `fromMs` (wall time, default always) until `untilMs` (default for ever). */
export type ChipFault = Span &
  (
    | {
        /** The chip, or its wire, is gone. */ readonly kind: "no-ack" /** Share of transfers that fail; default all. */;
        readonly chance?: number;
      }
    | { /** Bits flip on the bus where a checksum is to notice it. */ readonly kind: "crc"; readonly chance?: number }
    | { /** Conversions never end. */ readonly kind: "busy" }
    | {
        /** The element measures what it did when the fault began. */ readonly kind: "stuck";
        readonly quantity: Quantity;
      }
    | { readonly kind: "drift"; readonly quantity: Quantity; readonly perHour: number }
    | {
        readonly kind: "spike";
        readonly quantity: Quantity;
        readonly by: number /** Share of conversions; default all. */;
        readonly chance?: number;
      }
  );

export interface Span {
  readonly fromMs?: number;
  readonly untilMs?: number;
}

/** More faults than this on one chip are a mistake in the scenario. */
export const MAX_FAULTS = 32;

// Channels of `uniform`, apart from those of the chips' noise.
const CHANNEL_NO_ACK = 1001;
const CHANNEL_CRC = 1002;
const CHANNEL_SPIKE = 1003;

/** The faults of one chip. Whether one strikes depends on seed, time and count of transfers alone. */
export class ChipFaults {
  #faults: ChipFault[] = [];
  #transfers = 0;

  constructor(
    private readonly surroundings: Surroundings,
    private readonly seed: number,
  ) {}

  inject(fault: ChipFault): void {
    if (this.#faults.length >= MAX_FAULTS) throw new RangeError(`at most ${MAX_FAULTS} faults a chip`);
    if (fault.kind === "stuck" && fault.fromMs === undefined) throw new RangeError("stuck: fromMs is needed");
    this.#faults.push(fault);
  }

  clear(): void {
    this.#faults = [];
  }

  /** True where the chip does not acknowledge this transfer. */
  refuses(ms: number): boolean {
    this.#transfers++;
    return this.#strikes("no-ack", ms, CHANNEL_NO_ACK);
  }

  busy(ms: number): boolean {
    return this.#faults.some((fault) => fault.kind === "busy" && active(fault, ms));
  }

  /** `bytes`, with one bit flipped where a `crc` fault strikes. */
  onTheWire(bytes: Uint8Array, ms: number): Uint8Array {
    if (bytes.length === 0 || !this.#strikes("crc", ms, CHANNEL_CRC)) return bytes;
    const flipped = Uint8Array.from(bytes);
    const bit = Math.floor(uniform(this.seed ^ this.#transfers, ms, CHANNEL_CRC + 100) * bytes.length * 8);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    return flipped;
  }

  /** What the sensing element sees at `ms`. */
  conditions(ms: number): Conditions {
    const seen = { ...this.surroundings.at(ms) };
    for (const fault of this.#faults) {
      if (!active(fault, ms)) continue;
      if (fault.kind === "stuck") seen[fault.quantity] = this.surroundings.at(fault.fromMs!)[fault.quantity];
      else if (fault.kind === "drift") seen[fault.quantity] += (fault.perHour * (ms - (fault.fromMs ?? 0))) / 3_600_000;
      else if (fault.kind === "spike" && uniform(this.seed, ms, CHANNEL_SPIKE) < (fault.chance ?? 1))
        seen[fault.quantity] += fault.by;
    }
    return seen;
  }

  #strikes(kind: "no-ack" | "crc", ms: number, channel: number): boolean {
    return this.#faults.some(
      (fault) =>
        fault.kind === kind &&
        active(fault, ms) &&
        uniform(this.seed ^ this.#transfers, ms, channel) < (fault.chance ?? 1),
    );
  }
}

function active({ fromMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY }: Span, ms: number): boolean {
  return ms >= fromMs && ms < untilMs;
}
