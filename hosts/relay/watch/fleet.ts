import { readGenesis } from "tallystick/record/payload";
import { parseRecord } from "tallystick/record/record";
import type { Figures } from "../store/figures.js";

/**
 * When each device was heard last, in memory, kept up by what became durable since the last look: so asking costs nothing
 * of the records that are there already. About 100 bytes a device.
 *
 * What is counted from is the later of its newest record and the relay's own start: while the relay was away it heard
 * nobody, and that is no device's silence.
 */

/** Devices looked up at once when the relay starts. */
const DEVICES_AT_ONCE = 500;
/** Records that one look takes in at the most; the next one goes on. */
const ARRIVALS_AT_ONCE = 100_000;

export interface Quiet {
  readonly kid: string;
  readonly quietS: number;
  /** What the device announced in its genesis. */
  readonly markIntervalS: number;
}

interface Watched {
  readonly kid: string;
  readonly markIntervalS: number;
  heardMs: number;
}

export class Fleet {
  readonly #figures: Figures;
  readonly #startedMs: number;
  readonly #watched = new Map<number, Watched>();
  #lastDevice = 0;
  #lastEntry = 0;

  constructor(figures: Figures, startedMs: number) {
    this.#figures = figures;
    this.#startedMs = startedMs;
  }

  /** Takes in what has come since the last look. The first goes through all devices, and lets others work in between. */
  async look(): Promise<void> {
    if (this.#lastDevice === 0) this.#lastEntry = this.#figures.lastEntry();
    while (this.#addDevices()) await new Promise((resolve) => setImmediate(resolve));
    const until = Math.min(this.#figures.lastEntry(), this.#lastEntry + ARRIVALS_AT_ONCE);
    for (const { device, heardMs } of this.#figures.heardBetween(this.#lastEntry, until)) {
      const watched = this.#watched.get(device);
      if (watched && heardMs > watched.heardMs) watched.heardMs = heardMs;
    }
    this.#lastEntry = until;
    for (const device of this.#figures.ended()) this.#watched.delete(device);
  }

  /** True while there may be more. */
  #addDevices(): boolean {
    const found = this.#figures.devicesAfter(this.#lastDevice, DEVICES_AT_ONCE);
    for (const { device, kid, heardMs, genesis } of found) {
      this.#lastDevice = device;
      const markIntervalS = markIntervalOf(genesis);
      if (markIntervalS !== undefined) this.#watched.set(device, { kid, markIntervalS, heardMs });
    }
    return found.length === DEVICES_AT_ONCE;
  }

  /** Devices of which records are to come. */
  get size(): number {
    return this.#watched.size;
  }

  /** Each of them, with for how long it has been quiet. */
  *quiet(nowMs: number): IterableIterator<Quiet> {
    for (const { kid, markIntervalS, heardMs } of this.#watched.values())
      yield { kid, markIntervalS, quietS: Math.max(0, nowMs - Math.max(heardMs, this.#startedMs)) / 1000 };
  }
}

/** Undefined where the stored bytes do not say: damage is found by those who build on them. */
function markIntervalOf(bytes: Uint8Array): number | undefined {
  const record = parseRecord(new Uint8Array(bytes));
  const genesis = record.ok ? readGenesis(record.value.payload) : record;
  return genesis.ok && genesis.value.markIntervalS > 0 ? genesis.value.markIntervalS : undefined;
}
