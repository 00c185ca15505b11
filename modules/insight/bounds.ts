/** What a quantity may do. SPEC.md has the rules and where each number is from. */

export interface Bounds {
  /** Below and above, a value is beyond the range. */
  readonly minimum: number;
  readonly maximum: number;
  /** The shortest time over which `STUCK_SAMPLES` equal values are too many. */
  readonly stuckMs: number;
  /** The most from one sample to the next, whatever the time between them, and the more for each minute of it. */
  readonly jump: number;
  readonly jumpPerMinute: number;
}

/** What an application says of a quantity in place of a default; `Number.POSITIVE_INFINITY` looks for no such thing. */
export type WatchOptions = { readonly [quantity: string]: Partial<Bounds> | false };

/** A quantity as a sampler and its driver describe it. */
export interface WatchedQuantity {
  /** Whole SenML name. */
  readonly name: string;
  readonly unit: string;
  /** ECMA-419 sensor kind: `thermometer`, … */
  readonly kind: string;
  /** Step that its values are rounded to. */
  readonly step: number;
  readonly range?: readonly [minimum: number, maximum: number];
  readonly noise?: number;
}

/** Quantities that one device watches, which is what its genesis can announce. */
export const WATCHES_MAX = 32;
/** With noise of its own a value does not stay the same for so long, however still the air. */
export const STUCK_MS = 3_600_000;
/** Without, the weather has to move it. */
export const STUCK_QUIET_MS = 172_800_000;
/** Noise of at least this many steps moves a value by itself: it stays with 68 % at the most, 64 times with 2.5e-11. */
const NOISY_STEPS = 0.5;

const JUMPS: { readonly [kind: string]: readonly [jump: number, perMinute: number] } = {
  thermometer: [10, 1],
  hygrometer: [40, 5],
  barometer: [1000, 100],
};

const OFF: Bounds = {
  minimum: Number.NEGATIVE_INFINITY,
  maximum: Number.POSITIVE_INFINITY,
  stuckMs: Number.POSITIVE_INFINITY,
  jump: Number.POSITIVE_INFINITY,
  jumpPerMinute: 0,
};

/** The bounds of a quantity; undefined where nothing is looked for. Throws where `own` is none: a mistake in the application. */
export function boundsOf(quantity: WatchedQuantity, own: Partial<Bounds> | false | undefined): Bounds | undefined {
  const { name, kind, step, range, noise = 0 } = quantity;
  if (own === false || !(range || own)) return undefined;
  const bounds = { ...OFF, ...own };
  const [jump, jumpPerMinute] = JUMPS[kind] ?? [OFF.jump, OFF.jumpPerMinute];
  const stuckMs = noise >= step * NOISY_STEPS ? STUCK_MS : STUCK_QUIET_MS;
  const all = range ? { minimum: range[0], maximum: range[1], stuckMs, jump, jumpPerMinute, ...own } : bounds;
  if (!(all.minimum < all.maximum && all.stuckMs > 0 && all.jump > 0 && all.jumpPerMinute >= 0))
    throw new RangeError(
      `watch ${name}: expected minimum < maximum, stuckMs > 0, jump > 0, jumpPerMinute >= 0, received ${JSON.stringify(all)}`,
    );
  return all;
}
