import { isIPv6 } from "node:net";
import { type Failure, fail } from "tallystick/codes/codes";
import type { Refusal } from "./problem.js";

/**
 * Limits how often a stranger may fail to be let in. Each address has a bucket: a failed attempt takes one out, time puts
 * one back, and while it is empty nothing of a request is read. What succeeds costs nothing, so that a fleet behind one
 * address enrols as fast as it can.
 *
 * **By address, and not for all together**: a bucket for everyone would let anyone keep everyone out. Whoever shares an
 * address with an attacker waits with him; the rest of the world does not notice.
 *
 * **The table is bounded and forgets no debt.** A bucket that is full again is as good as none, and only such ones make
 * room; were the least recently used to go, whoever has many addresses could buy himself a fresh one. While all are in
 * use, an address that is not among them shares one bucket with all such addresses of its family: who fills the table,
 * which takes a failure from each of ATTEMPT_ADDRESSES_MAX addresses every ATTEMPTS_REFILL_MS, can so hold up enrolments
 * from other addresses, but not those of the other family, and never the records of devices that are let in already.
 */

/** Failed attempts that an address may make at once. */
export const ATTEMPTS_BURST = 10;
/** Milliseconds after which an address may fail once more. */
export const ATTEMPTS_REFILL_MS = 30_000;
/** Addresses in debt that are kept apart. */
export const ATTEMPT_ADDRESSES_MAX = 4096;
/** Of the bucket that all further addresses of one family share. */
export const ATTEMPTS_SHARED_BURST = 100;
export const ATTEMPTS_SHARED_REFILL_MS = 1000;

export interface AttemptsOptions {
  /** Milliseconds of a clock that is never set back. */
  readonly nowMs: () => number;
  readonly burst?: number;
  readonly refillMs?: number;
  readonly addressesMax?: number;
}

/** A bucket as what it lacks: `owed` attempts at `atMs`. */
interface Debt {
  owed: number;
  atMs: number;
}

export class Attempts {
  readonly #nowMs: () => number;
  readonly #limit: Limit;
  readonly #addressesMax: number;
  readonly #debts = new Map<string, Debt>();
  readonly #shared: Readonly<Record<Family, Debt>> = {
    ipv4: { owed: 0, atMs: 0 },
    ipv6: { owed: 0, atMs: 0 },
    key: { owed: 0, atMs: 0 },
  };
  /** Before this time no debt of the table is paid back. */
  #sweepAtMs = 0;

  constructor({ nowMs, burst, refillMs, addressesMax }: AttemptsOptions) {
    this.#nowMs = nowMs;
    this.#limit = { burst: burst ?? ATTEMPTS_BURST, refillMs: refillMs ?? ATTEMPTS_REFILL_MS };
    this.#addressesMax = addressesMax ?? ATTEMPT_ADDRESSES_MAX;
  }

  /** Addresses in debt that the table knows. */
  get size(): number {
    return this.#debts.size;
  }

  /** Why nothing of `address` is looked at now; undefined where it may try. ATTEMPTS_EXHAUSTED, with when to come again. */
  refusal(address: string): Refusal | undefined {
    const nowMs = this.#nowMs();
    const { debt, limit } = this.#find(placeOf(address), nowMs);
    if (!debt) return undefined;
    payBack(debt, limit, nowMs);
    if (debt.owed <= limit.burst - 1) return undefined;
    const retryAfterS = Math.ceil(((debt.owed - (limit.burst - 1)) * limit.refillMs) / 1000);
    return { failure: exhausted(limit), retryAfterS };
  }

  /** An attempt from `address` has failed. */
  failed(address: string): void {
    const nowMs = this.#nowMs();
    const place = placeOf(address);
    const { debt, limit } = this.#find(place, nowMs);
    if (!debt) {
      this.#debts.set(place.name, { owed: 1, atMs: nowMs });
      this.#sweepAtMs = Math.min(this.#sweepAtMs, nowMs + limit.refillMs);
      return;
    }
    payBack(debt, limit, nowMs);
    // More than the burst is never owed: the wait is for one attempt, not for all that were under way together.
    debt.owed = Math.min(limit.burst, debt.owed + 1);
  }

  /** The bucket of an address; undefined for a full one that has room in the table. */
  #find({ name, family }: Place, nowMs: number): { readonly debt: Debt | undefined; readonly limit: Limit } {
    const debt = this.#debts.get(name);
    if (debt) return { debt, limit: this.#limit };
    if (this.#debts.size >= this.#addressesMax) this.#sweep(nowMs);
    if (this.#debts.size < this.#addressesMax) return { debt: undefined, limit: this.#limit };
    return { debt: this.#shared[family], limit: SHARED_LIMIT };
  }

  /** Lets go of what is paid back. Looks at all of them, and so not before one can be. */
  #sweep(nowMs: number): void {
    if (nowMs < this.#sweepAtMs) return;
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
    for (const [name, debt] of this.#debts) {
      payBack(debt, this.#limit, nowMs);
      if (debt.owed === 0) this.#debts.delete(name);
      else this.#sweepAtMs = Math.min(this.#sweepAtMs, nowMs + debt.owed * this.#limit.refillMs);
    }
  }
}

interface Limit {
  readonly burst: number;
  readonly refillMs: number;
}

const SHARED_LIMIT: Limit = { burst: ATTEMPTS_SHARED_BURST, refillMs: ATTEMPTS_SHARED_REFILL_MS };

function payBack(debt: Debt, { refillMs }: Limit, nowMs: number): void {
  debt.owed = Math.max(0, debt.owed - Math.max(0, nowMs - debt.atMs) / refillMs);
  debt.atMs = nowMs;
}

function exhausted({ burst, refillMs }: Limit): Failure {
  const detail = `expected at most ${burst} failed attempts, and one more each ${refillMs / 1000} s`;
  return fail("ATTEMPTS_EXHAUSTED", detail).failure;
}

type Family = "ipv4" | "ipv6" | "key";

interface Place {
  readonly name: string;
  readonly family: Family;
}

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const NETWORK_GROUPS = 4;

/** No address begins with it: an address has no letter beyond f. */
const KEY_PLACE = "key:";

/** Where addresses are hidden, as behind a broker: the place of whoever speaks for a key. `kid` in hexadecimal digits. */
export function keyPlace(kid: string): string {
  return `${KEY_PLACE}${kid}`;
}

/** Whom an address stands for: itself, or of IPv6 its /64, the least that one subscriber gets (RFC 6177). A key place for itself. */
export function placeOf(address: string): Place {
  const mapped = MAPPED_IPV4.exec(address)?.[1];
  if (mapped !== undefined) return { name: mapped, family: "ipv4" };
  if (address.startsWith(KEY_PLACE)) return { name: address, family: "key" };
  if (!isIPv6(address)) return { name: address, family: "ipv4" };
  const [front = "", back] = address.replace(/%.*$/, "").split("::");
  const groups = front === "" ? [] : front.split(":");
  // Of what `::` leaves out no more than the first four groups are of interest; an embedded IPv4 address stands behind.
  const rear =
    back === undefined || back === ""
      ? []
      : back.split(":").flatMap((part) => (part.includes(".") ? ["0", "0"] : [part]));
  while (back !== undefined && groups.length + rear.length < 2 * NETWORK_GROUPS) groups.push("0");
  const network = [...groups, ...rear].slice(0, NETWORK_GROUPS).map((group) => Number.parseInt(group, 16).toString(16));
  return { name: `${network.join(":")}::/64`, family: "ipv6" };
}
