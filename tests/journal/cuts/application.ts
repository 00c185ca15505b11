import { fromHex, fromUtf8, toHex } from "tallystick/bytes/bytes";
import type { Platform } from "tallystick/device/platform";
import { Identity } from "tallystick/identity/identity";
import { act, mount, type Start, type Told } from "./session.js";

/** In the key store: what this start is there for, as JSON. */
export const PLAN_NAME = "plan";
const TOLD = "told ";

/** What a start is told. */
export interface Plan extends Start {
  readonly from: number;
}

/** A board that runs one start of a case with its own key, and prints what it learns. */
export default (platform: Platform) => ({
  start(): void {
    const { keys, crypto, flash } = platform;
    const identity = Identity.open({ keys, crypto });
    if (!identity.ok || identity.value === undefined) throw new Error("no key");
    const plan = JSON.parse(fromUtf8(keys.read(PLAN_NAME)!)!) as Plan;
    const signer = identity.value;
    const tell = (told: Told): void => platform.print(TOLD + JSON.stringify(told, hexadecimal));
    const options = { flash, sha256: crypto.sha256, signer, tell };
    const journal = mount(options);
    if (journal !== undefined) act(options, journal, plan, plan.from);
  },
});

function hexadecimal(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? { hex: toHex(value) } : value;
}

/** What a printed line tells; undefined for any other line. */
export function readTold(line: string): Told | undefined {
  if (!line.startsWith(TOLD)) return undefined;
  return JSON.parse(line.slice(TOLD.length), (_name, value: unknown) =>
    typeof value === "object" && value !== null && "hex" in value ? fromHex(String(value.hex)) : value,
  ) as Told;
}
