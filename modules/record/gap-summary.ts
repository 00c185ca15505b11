import { ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { RightEdge } from "../merkle/merkle.js";
import { CborReader } from "./cbor.js";
import { GAP_SUMMARIES_MAX, type Gap, type GapSummary, type TakenOver } from "./gap.js";
import { ID_BYTES, isMap, Kind, type Record } from "./record.js";
import { SenmlLabel } from "./senml.js";

/**
 * Gathers what a gap record says, record by record, so that a board needs room for one of them at a time and 53 hashes.
 * The records must come in their order, without one left out.
 */

/** The earlier gap record that a new one takes over. */
export interface EarlierGap {
  readonly seq: number;
  readonly id: Uint8Array;
  readonly gap: Gap;
}

interface Sum {
  readonly name: string;
  minimum: number;
  maximum: number;
  total: number;
  values: number;
}

export class GapBuilder {
  readonly #from: number;
  readonly #earlier: EarlierGap | undefined;
  readonly #edge: RightEdge;
  readonly #sums: Sum[];
  #lastId = new Uint8Array(ID_BYTES);

  /** `from`: position of the first record that will be added. */
  constructor(sha256: Sha256, from: number, earlier?: EarlierGap) {
    this.#from = from;
    this.#earlier = earlier;
    this.#edge = new RightEdge(sha256);
    this.#sums = (earlier?.gap.summaries ?? []).map(({ name, minimum, maximum, mean, values }) => ({
      name,
      minimum,
      maximum,
      total: mean * values,
      values,
    }));
  }

  /** Position of the record to be added next. */
  get next(): number {
    return this.#from + this.#edge.size;
  }

  /** Adds a record by its id, and its values where its bytes can be read. CBOR_INVALID: its payload is no pack. */
  add(id: Uint8Array, record?: Record): Result<void> {
    if (record?.header.kind === Kind.readings) {
      const summed = this.#sumUp(record.payload);
      if (!summed.ok) return summed;
    }
    this.#edge.append(id);
    this.#lastId = id.slice();
    return ok(undefined);
  }

  /** The gap over all that was added; there must be a record. */
  build(): Gap {
    const { size } = this.#edge;
    if (size === 0) throw new Error("a gap names at least one record");
    const earlier = this.#earlier;
    const takenOver: TakenOver | undefined = earlier && { seq: earlier.seq, id: earlier.id, from: this.#from };
    return {
      first: earlier ? earlier.gap.first : this.#from,
      last: this.#from + size - 1,
      count: size + (earlier ? earlier.gap.count : 0),
      lastId: this.#lastId,
      root: this.#edge.root(),
      // One that only ever had faults has nothing to tell.
      summaries: this.#sums.filter(({ values }) => values > 0).map(summaryOf),
      ...(takenOver && { takenOver }),
    };
  }

  /** One entry at a time: a board has no room for a whole pack as maps. */
  #sumUp(payload: Uint8Array): Result<void> {
    const reader = new CborReader(payload);
    const head = reader.head();
    if (!head.ok) return head;
    let sum: Sum | undefined;
    for (let left = head.value.argument; left > 0; left--) {
      const entry = reader.item();
      if (!entry.ok) return entry;
      if (!isMap(entry.value)) continue;
      const name = entry.value.get(SenmlLabel.baseName);
      const value = entry.value.get(SenmlLabel.value);
      if (typeof name === "string") sum = this.#sumOf(name);
      if (typeof value === "number" && sum !== undefined) count(sum, value);
    }
    return ok(undefined);
  }

  /** Of more quantities than a gap has room for the later ones are left out. */
  #sumOf(name: string): Sum | undefined {
    const known = this.#sums.find((sum) => sum.name === name);
    if (known !== undefined || this.#sums.length >= GAP_SUMMARIES_MAX) return known;
    const sum = { name, minimum: 0, maximum: 0, total: 0, values: 0 };
    this.#sums.push(sum);
    return sum;
  }
}

function count(sum: Sum, value: number): void {
  sum.minimum = sum.values === 0 ? value : Math.min(sum.minimum, value);
  sum.maximum = sum.values === 0 ? value : Math.max(sum.maximum, value);
  sum.total += value;
  sum.values += 1;
}

/** Rounding must not carry the mean out of its bounds. */
function summaryOf({ name, minimum, maximum, total, values }: Sum): GapSummary {
  return { name, minimum, maximum, mean: Math.min(Math.max(total / values, minimum), maximum), values };
}
