import { encodeAlert } from "../record/payload.js";
import { boundsOf, WATCHES_MAX, type WatchedQuantity, type WatchOptions } from "./bounds.js";
import { type Holder, Watch } from "./watch.js";

/**
 * What a device finds in its own readings: values beyond what a sensor can measure, values that stand still, steps that no
 * weather takes. Each pack is looked at as it is closed; what was found is told, as the payload of an `alert` record, when
 * the records that it names are committed. SPEC.md has rules, words and limits.
 */

export type { Bounds, WatchOptions } from "./bounds.js";
export type { Holder } from "./watch.js";

/** A sample of one quantity, as a sampler hands it over. */
export interface Observed {
  readonly name: string;
  readonly value: number | { readonly fault: string };
  readonly uptimeMs: number;
}

export interface InsightOptions {
  readonly quantities: readonly WatchedQuantity[];
  /** In place of the defaults, by quantity; `false`: nothing is watched. */
  readonly watch?: WatchOptions | false;
}

export class Insight {
  readonly #watches = new Map<string, Watch>();

  /** Throws where the options name no quantity of the device, or are no bounds: that is a mistake in the application. */
  constructor({ quantities, watch = {} }: InsightOptions) {
    if (watch === false) return;
    for (const name of Object.keys(watch))
      if (!quantities.some((quantity) => quantity.name === name))
        throw new RangeError(
          `watch: expected names out of ${quantities.map((quantity) => quantity.name).join(", ")}, received ${name}`,
        );
    for (const quantity of quantities) {
      const bounds = boundsOf(quantity, watch[quantity.name]);
      if (!bounds) continue;
      if (this.#watches.size >= WATCHES_MAX)
        throw new RangeError(`watch: expected at most ${WATCHES_MAX} quantities, received ${quantities.length}`);
      this.#watches.set(quantity.name, new Watch(quantity.name, quantity.unit, bounds));
    }
  }

  /** Looks at the readings of one pack, in their order; what comes of the pack is then told by `settle`. */
  examine(readings: readonly Observed[]): Holder {
    const holder: Holder = { isSettled: false, id: undefined };
    for (const { name, value, uptimeMs } of readings) {
      if (typeof value !== "number" && value.fault !== "range") continue;
      this.#watches.get(name)?.see(typeof value === "number" ? value : undefined, uptimeMs, holder);
    }
    return holder;
  }

  /** The pack's record is committed under this id; or, without one, was refused. */
  settle(holder: Holder, id?: Uint8Array): void {
    holder.isSettled = true;
    holder.id = id;
  }

  /** The payload of the next alert record that may be made now, as made; undefined where there is none. */
  next(nowMs: number): Uint8Array | undefined {
    for (const watch of this.#watches.values()) {
      const alert = watch.next(nowMs);
      if (alert) return encodeAlert(alert);
    }
    return undefined;
  }
}
