import type { Device, Step } from "./answers.js";

/** What is to be said of a device first, and which devices come first: the worst. */

/** Worst first. */
export const CONDITIONS = ["forked", "held", "silent", "missing", "revoked", "well", "closed"] as const;
export type Condition = (typeof CONDITIONS)[number];

/** What each means, for who has not met it yet. */
export const MEANING: Readonly<Record<Condition, string>> = {
  forked: "two records at one position: the key is in two places, or was set back; nothing is taken until you decide",
  held: "its key is held back: nothing is taken until you let it go on",
  silent: "not heard within the interval that it has announced",
  missing: "its own gap records name positions that are missing",
  revoked: "its key does not count from a position on",
  well: "heard, and nothing is missing",
  closed: "its chain has ended, or goes on under another key",
};

export function conditionOf(device: Device): Condition {
  if (device.revoked_from !== undefined) return "revoked";
  // Once it was let go on, its fork is there to be seen, and asks for nobody any more.
  if (device.held_since_ms !== undefined) return device.state === "forked" ? "forked" : "held";
  if (device.state === "closed") return "closed";
  if (device.silent) return "silent";
  return device.missing > 0 ? "missing" : "well";
}

/** Of one condition who has not been heard for longest comes first, then by kid, so that rows stay where they are. */
export function worstFirst(devices: readonly Device[]): Device[] {
  const rank = new Map(devices.map((device) => [device, CONDITIONS.indexOf(conditionOf(device))]));
  return devices.toSorted(
    (a, b) =>
      rank.get(a)! - rank.get(b)! || a.heard_at_ms - b.heard_at_ms || (a.kid < b.kid ? -1 : a.kid > b.kid ? 1 : 0),
  );
}

export interface Filter {
  /** Part of a kid, a model or a tenant, in whatever case. */
  readonly text: string;
  readonly condition: Condition | undefined;
}

export function matches(device: Device, { text, condition }: Filter): boolean {
  if (condition !== undefined && conditionOf(device) !== condition) return false;
  const wanted = text.toLowerCase();
  return [device.kid, device.model, device.tenant].some((each) => each.toLowerCase().includes(wanted));
}

export const STEPS: readonly Step[] = ["received", "logged", "submitted", "final"];

/** The highest step that the newest record has come to. */
export function stepOf(device: Device): Step {
  return STEPS.findLast((step) => device[step]?.seq === device.seq) ?? "received";
}
