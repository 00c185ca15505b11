import { InvalidArgumentError } from "commander";

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

/** An option's time such as 30s, 5m or 2h, in milliseconds. */
export function durationMs(text: string): number {
  const match = /^([0-9]{1,6})(s|m|h)$/.exec(text);
  if (!match) throw new InvalidArgumentError("expected a time such as 30s, 5m or 2h");
  return Number(match[1]) * UNITS[match[2]!]!;
}
